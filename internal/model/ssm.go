package model

import (
	"fmt"
	"strings"
	"time"
)

// Types of Parameter.
const (
	ParameterString       = "String"
	ParameterStringList   = "StringList"
	ParameterSecureString = "SecureString"
)

// Parameter is a parameter of Systems Manager's Parameter Store, with its
// newest version. Its record's id is its name.
type Parameter struct {
	Name string `json:"name"`
	Tags Tags   `json:"tags,omitzero"`
	// Latest is the newest version. Each version has a record of its own too.
	Latest ParameterVersion `json:"latest"`
	// Oldest is the number of the oldest version that is kept.
	Oldest int64 `json:"oldest"`
	// Labels name versions.
	Labels map[string]int64 `json:"labels,omitempty"`
}

// ParameterVersion is one version of a parameter. Its record's id is
// ParameterVersionID.
type ParameterVersion struct {
	Version int64  `json:"version"`
	Type    string `json:"type"`
	// Value of a SecureString is encrypted by the server's key for the
	// parameter's ARN.
	Value          string `json:"value"`
	Description    string `json:"description,omitempty"`
	AllowedPattern string `json:"allowedPattern,omitempty"`
	DataType       string `json:"dataType"`
	// KeyID is kept and shown for SecureStrings.
	KeyID string `json:"keyId,omitempty"`
	// Tier is Standard or Advanced.
	Tier       string    `json:"tier"`
	ModifiedAt time.Time `json:"modifiedAt"`
	// ModifiedBy is the ARN of who put the version.
	ModifiedBy string `json:"modifiedBy"`
}

// ParameterVersionPrefix begins the ids of a parameter's versions. Names hold
// no colon.
func ParameterVersionPrefix(name string) string { return name + ":" }

// ParameterVersionID is the id of a version's record; ids sort as versions do.
func ParameterVersionID(name string, version int64) string {
	return fmt.Sprintf("%s%019d", ParameterVersionPrefix(name), version)
}

// ParameterARN is a parameter's ARN: the slash that a hierarchical name begins
// with stands in it once.
func ParameterARN(region, account, name string) string {
	return MakeARN("ssm", region, account, "parameter/"+strings.TrimPrefix(name, "/"))
}
