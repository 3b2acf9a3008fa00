package tables

import (
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// The tables of Parameter Store. Ids are as model says.
var (
	Parameters        = store.NewTable[model.Parameter]("ssm", "Parameter")
	ParameterVersions = store.NewTable[model.ParameterVersion]("ssm", "ParameterVersion")
)
