package tables

import (
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// The tables of Secrets Manager. Ids are as model says.
var (
	Secrets      = store.NewTable[model.Secret]("secretsmanager", "Secret")
	SecretValues = store.NewTable[model.SecretValue]("secretsmanager", "Value")
)
