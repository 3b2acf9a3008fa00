package gateway

import (
	"context"
	"fmt"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/validate"
	"roadstead.dev/internal/id"
)

// Invoker calls operations for services whose own consist of others'
// operations. Safe for concurrent use.
type Invoker struct {
	gateway Gateway
	byName  map[string]*mounted
}

// NewInvoker makes an Invoker of the services' operations.
func NewInvoker(authorizer Authorizer, services ...Service) *Invoker {
	i := &Invoker{gateway: Gateway{cfg: Config{Authorizer: authorizer}}, byName: make(map[string]*mounted, len(services))}
	for _, s := range services {
		i.byName[s.API.Name] = &mounted{api: s.API, scoper: s.Scoper, policies: s.Policies, actions: s.Actions, dialect: dialectOf(s.API)}
	}
	return i
}

// Invoke calls an operation of a service, which it names as the API's package
// is named, for the caller of ctx. As for a request from outside, constraints
// are checked, and the caller needs the operation's permission.
func (i *Invoker) Invoke(ctx context.Context, service, operation string, in any) (any, error) {
	m := i.byName[service]
	if m == nil {
		return nil, fmt.Errorf("invoke %s of %s: no such service", operation, service)
	}
	op := m.api.Operation(operation)
	if op == nil || op.Invoke == nil {
		return nil, fmt.Errorf("invoke %s of %s: it is not served", operation, service)
	}
	c := *api.CallFrom(ctx)
	c.Authorize = i.gateway.authorizer(m, &c)
	ctx = api.WithCall(ctx, &c)
	if vs := validate.Check(op.InputShape(), in); len(vs) > 0 {
		return nil, m.dialect.constraint(vs)
	}
	validate.FillTokens(op.InputShape(), in, id.UUID)
	if err := i.gateway.authorize(ctx, m, &c, op, in); err != nil {
		return nil, err
	}
	return run(ctx, op, in)
}
