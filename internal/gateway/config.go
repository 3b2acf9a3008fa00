// Package gateway is the HTTP edge: one handler that serves every AWS service
// on one endpoint. It finds the service and operation of a request, verifies
// its signature, decodes it, checks the model's constraints, authorizes it,
// calls the service's handler and renders what comes back, errors included.
package gateway

import (
	"context"
	"log/slog"
	"net/http"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/clock"
)

// Credentials knows the access keys.
type Credentials interface {
	// Lookup returns the secret of an access key, who it belongs to, and the
	// account. sessionToken is empty when the request carries none. It fails
	// with model.ErrUnknownAccessKey, model.ErrSecurityToken or
	// model.ErrExpiredToken.
	Lookup(ctx context.Context, accessKeyID, sessionToken string) (secret string, identity api.Identity, account string, err error)
}

// Authorizer evaluates policies.
type Authorizer interface {
	// Authorize returns nil when the caller of c may do action on every one of
	// resources (ARNs, or "*"), and a *model.Denied that names the first that
	// it may not. Conditions are condition keys beyond those that follow from
	// c, such as ecs:cluster. Any other error is an internal failure.
	Authorize(ctx context.Context, c *api.Call, action string, resources []string, conditions map[string]string) error
}

// ResourceAuthorizer is implemented by an Authorizer that weighs the policies
// of resources too. Without it they let nobody in.
type ResourceAuthorizer interface {
	// AuthorizeResource is Authorize for one resource that belongs to the
	// account owner and has the policy text, or none when text is empty.
	AuthorizeResource(ctx context.Context, c *api.Call, action, resource, owner, text string, conditions map[string]string) error
}

// Throttle limits how often an account calls an operation in a region.
type Throttle interface {
	// Allow tells whether one more request may pass now. Service is the
	// service's signing name.
	Allow(account, region, service, operation string) bool
}

// Service is an API that the gateway serves.
type Service struct {
	API *api.Service
	// Scoper tells which resources an operation touches; nil means that all
	// are authorized against "*".
	Scoper api.ResourceScoper
	// Policies knows the policies of those resources; nil means that they have
	// none and are the caller's own.
	Policies api.ResourcePolicies
	// Actions knows the actions of operations that are not called as they are;
	// nil means that all are.
	Actions api.ActionNamer
}

// Bind makes the Service of a generated API and the handler behind it, which
// may implement api.ResourceScoper, api.ResourcePolicies and api.ActionNamer.
func Bind(s *api.Service, handler any) Service {
	scoper, _ := handler.(api.ResourceScoper)
	policies, _ := handler.(api.ResourcePolicies)
	actions, _ := handler.(api.ActionNamer)
	return Service{API: s, Scoper: scoper, Policies: policies, Actions: actions}
}

// Config is what a Gateway needs. Credentials, Authorizer and Services are
// required.
type Config struct {
	Services    []Service
	Credentials Credentials
	Authorizer  Authorizer
	Clock       clock.Clock
	Log         *slog.Logger

	// Account is the account of requests that need no signature, and of the
	// loopback root key.
	Account string
	// LoopbackRootKey accepts the access key "test" with the secret "test" as
	// the root of Account. Only a server that listens on loopback alone may
	// set it. What a page of another site may have made a browser send is
	// refused, since the key is no secret.
	LoopbackRootKey bool

	// Throttle is asked once it is known who sends a request; nil lets all
	// pass.
	Throttle Throttle

	// Registry serves the OCI distribution API below /v2/.
	Registry http.Handler
	// Mounts serve paths of Roadstead's own, by prefix ("/_roadstead/console/").
	Mounts map[string]http.Handler
	// Signed serve paths of Roadstead's own to whoever signs for a service, by
	// prefix.
	Signed map[string]Signed
	// Ready tells why the server is not ready yet; nil or a nil error is ready.
	// /_roadstead/health answers with it.
	Ready func() error

	// MaxBody is the largest request body in bytes, for operations that take as
	// much; 0 means 32 MiB.
	MaxBody int64
	// BodyMemory bounds what the bodies of all requests take, in bytes; 0 means
	// 256 MiB. Who finds no room is asked to come again.
	BodyMemory int64
}
