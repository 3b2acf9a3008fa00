package api

import (
	"context"
	"time"
)

// Call is what the gateway knows of the request that a handler serves.
type Call struct {
	// Account that the caller's credentials belong to, twelve digits.
	Account string
	// Region of the credential scope.
	Region string
	// Partition is the ARN partition of the region: aws, aws-cn, aws-us-gov.
	Partition string
	RequestID string
	// Time the request was received, by the server's clock.
	Time time.Time
	// Identity is who calls.
	Identity Identity
	// SourceIP is the caller's address without port.
	SourceIP string
	// Secure tells whether the request came over TLS.
	Secure    bool
	UserAgent string
	// Host is the authority that the client used, with the port: what it can
	// reach this server by. Registry URIs and endpoints are made from it.
	Host string

	// Authorize asks for a permission beyond the operation's own, such as
	// iam:PassRole. It is never nil in a handler.
	Authorize Authorizer
}

// Identity is an authenticated caller.
type Identity struct {
	// ARN of the user, the assumed-role session, or the account's root.
	ARN string
	// UserID is IAM's unique id, AIDA…, AROA…:session, or the account.
	UserID      string
	AccessKeyID string
	// Root is the account's root user, whom no policy restricts.
	Root bool
	// Unsigned is set for operations that need no signature.
	Unsigned bool
	// Anonymous is who sends an operation without a signature that acts on
	// resources which may let anybody in. He has no account, and may do what a
	// resource's policy allows.
	Anonymous bool
	// RoleARN of the role behind an assumed-role session, else empty.
	RoleARN string
	// SessionTags and the session policy of an assumed role.
	SessionTags   map[string]string
	SessionPolicy string
}

// Authorizer decides whether the caller may do action on resource, an ARN or
// "*". Conditions adds keys to those of the request. It returns nil or an
// error that says what was denied, ready to be answered.
type Authorizer func(ctx context.Context, action, resource string, conditions map[string]string) error

type callKey struct{}

// WithCall gives ctx the call.
func WithCall(ctx context.Context, c *Call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// CallFrom is the call that ctx belongs to. It panics where there is none:
// handlers run behind the gateway or a test that made a call.
func CallFrom(ctx context.Context) *Call { return ctx.Value(callKey{}).(*Call) }

// ResourceScoper is implemented by handlers whose operations act on resources
// that IAM policies can name. It returns the ARNs that the operation's own
// action is checked against and the service's condition keys (such as
// ecs:cluster); nil ARNs mean "*".
type ResourceScoper interface {
	ScopeOf(ctx context.Context, op *Operation, in any) (arns []string, conditions map[string]string)
}

// ActionNamer is implemented by handlers whose operations need actions of
// another name.
type ActionNamer interface {
	// ActionOf is the action that the operation needs, "s3:ListBucket"; empty
	// where the handler asks itself, by the call's Authorize.
	ActionOf(op *Operation, in any) string
}

// ResourcePolicies is implemented by handlers whose resources carry policies
// of their own, which decide together with the caller's. Only what ScopeOf
// names is asked for.
type ResourcePolicies interface {
	// PolicyOf is the policy of the resource, "" where it has none or is not
	// there, and the account that owns it.
	PolicyOf(ctx context.Context, arn string) (policy, owner string, err error)
}
