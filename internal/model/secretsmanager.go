package model

import (
	"slices"
	"time"
)

// Staging labels that Secrets Manager itself attaches.
const (
	StageCurrent  = "AWSCURRENT"
	StagePrevious = "AWSPREVIOUS"
	StagePending  = "AWSPENDING"
)

// Secret is a secret of Secrets Manager's, without its values. Its record's id
// is its name.
type Secret struct {
	Name string `json:"name"`
	// ARN ends in the name, a hyphen and six random characters: a secret that
	// is made again under the name has another.
	ARN         string `json:"arn"`
	Description string `json:"description,omitempty"`
	// KMSKeyID is kept and shown; the server's own key seals the values.
	KMSKeyID string `json:"kmsKeyId,omitempty"`
	Tags     Tags   `json:"tags,omitzero"`
	// Policy is the resource policy as it was put, or empty.
	Policy    string    `json:"policy,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	ChangedAt time.Time `json:"changedAt"`
	// AccessedOn is the day, midnight UTC, when a value was last read.
	AccessedOn time.Time `json:"accessedOn,omitzero"`
	// DeletionDate is when the secret ends; zero unless it is to be deleted.
	DeletionDate time.Time `json:"deletionDate,omitzero"`
	// Versions by id, which is the client request token that made each.
	Versions map[string]SecretVersion `json:"versions,omitempty"`
}

// SecretVersion tells of one value of a secret.
type SecretVersion struct {
	CreatedAt  time.Time `json:"createdAt"`
	AccessedOn time.Time `json:"accessedOn,omitzero"`
	// Stages are the staging labels, each attached to one version of a secret;
	// a version without any is deprecated.
	Stages []string `json:"stages,omitempty"`
}

// SecretValue is what a version of a secret holds. Its record's id is
// SecretValueID. It never changes.
type SecretValue struct {
	// Sealed is the value, encrypted by the server's key for the secret's ARN
	// and the version.
	Sealed string `json:"sealed"`
	// Binary: the value was given as SecretBinary, else as SecretString.
	Binary bool `json:"binary,omitempty"`
}

// SecretValueID is the id of a version's value.
func SecretValueID(arn, version string) string { return arn + "/" + version }

// Staged is the id of the version that a staging label is attached to, ""
// when there is none.
func (s *Secret) Staged(stage string) string {
	for id, v := range s.Versions {
		if slices.Contains(v.Stages, stage) {
			return id
		}
	}
	return ""
}

// Gone tells whether the secret's recovery window has passed at now.
func (s *Secret) Gone(now time.Time) bool {
	return !s.DeletionDate.IsZero() && !now.Before(s.DeletionDate)
}
