package model

import "errors"

// Errors of a look-up of credentials. The gateway answers them with the code
// and message that the service's protocol has for each.
var (
	// ErrUnknownAccessKey: no such access key, or it is inactive.
	ErrUnknownAccessKey = errors.New("unknown access key")
	// ErrSecurityToken: a temporary key came without its session token or with
	// one that is not its own.
	ErrSecurityToken = errors.New("invalid security token")
	// ErrExpiredToken: the temporary credentials were good once.
	ErrExpiredToken = errors.New("expired security token")
)

// Denied is the error of an authorization that refuses. The gateway writes
// IAM's sentence from it: "User: ARN is not authorized to perform: Action on
// resource: Resource Reason".
type Denied struct {
	Action   string
	Resource string
	// Reason is the sentence's end: "because no identity-based policy allows
	// the ecs:RunTask action", or "with an explicit deny in an identity-based
	// policy".
	Reason string
	// Encoded is what DecodeAuthorizationMessage decodes, of services whose
	// denials carry such a message.
	Encoded string
}

func (d *Denied) Error() string {
	return "not authorized to perform: " + d.Action + " on resource: " + d.Resource + " " + d.Reason
}
