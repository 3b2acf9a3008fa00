// Package elb serves Elastic Load Balancing of version 2012-06-01: classic
// load balancers. It writes what they should be; the loadbalancer controller
// makes them so.
package elb

import (
	"context"
	"errors"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/pagetoken"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/loadbalancers"
	"roadstead.dev/internal/store/tables"
)

// Config is what a Service needs.
type Config struct {
	Store store.Store
	// Logs may be nil: no access log can be enabled then.
	Logs LogObjects
}

// Service implements elb.Handler.
type Service struct{ Config }

var (
	_ elb.Handler        = (*Service)(nil)
	_ api.ResourceScoper = (*Service)(nil)
)

// New makes a Service.
func New(c Config) *Service { return &Service{c} }

// invalid is the code-less way in which the service refuses parameters.
func invalid(format string, args ...any) error {
	return api.NewFault("ValidationError", format, args...)
}

func misconfigured(format string, args ...any) error {
	return elb.NewInvalidConfigurationRequestException(format, args...)
}

func notFound(name string) error {
	return elb.NewAccessPointNotFoundException("There is no ACTIVE Load Balancer named '%s'", name)
}

// place is the caller's part of the store.
func (s *Service) place(ctx context.Context) loadbalancers.Place {
	c := api.CallFrom(ctx)
	return loadbalancers.Place{Store: s.Store, Account: c.Account, Region: c.Region}
}

func everything(ctx context.Context) store.Query {
	c := api.CallFrom(ctx)
	return store.Query{Account: c.Account, Region: c.Region}
}

func under(ctx context.Context, id string) store.Query {
	q := everything(ctx)
	q.Prefix = id + "/"
	return q
}

// nameKey is the id of the record that holds a name.
func nameKey(name string) string { return "classic/" + name }

// balancer is a load balancer with the records that belong to it.
type balancer struct {
	row       store.Row[model.LoadBalancer]
	group     store.Row[model.TargetGroup]
	listeners []store.Row[model.Listener]
	// lb is a copy of the row's value, for changes.
	lb *model.LoadBalancer
}

// find reads a load balancer by name.
func (s *Service) find(ctx context.Context, name string) (*balancer, error) {
	c := api.CallFrom(ctx)
	n, err := tables.ELBNames.Get(ctx, s.Store, c.Account, c.Region, nameKey(name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound(name)
	}
	if err != nil {
		return nil, err
	}
	b := &balancer{}
	b.row, err = tables.LoadBalancers.Get(ctx, s.Store, c.Account, c.Region, n.V.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, notFound(name)
	}
	if err != nil {
		return nil, err
	}
	return b, s.fill(ctx, b)
}

// fill reads what belongs to the load balancer in b.row.
func (s *Service) fill(ctx context.Context, b *balancer) (err error) {
	b.lb = b.row.Copy()
	b.group, err = tables.TargetGroups.Get(ctx, s.Store, b.row.Key.Account, b.row.Key.Region, b.row.Key.ID)
	if errors.Is(err, store.ErrNotFound) {
		return notFound(b.lb.Name) // deleted meanwhile
	}
	if err != nil {
		return err
	}
	b.listeners, err = tables.Listeners.List(ctx, s.Store, under(ctx, b.row.Key.ID))
	slices.SortFunc(b.listeners, func(x, y store.Row[model.Listener]) int { return int(x.V.Port - y.V.Port) })
	return err
}

// listener is the row of the listener on a port.
func (b *balancer) listener(port int32) (store.Row[model.Listener], bool) {
	i := slices.IndexFunc(b.listeners, func(l store.Row[model.Listener]) bool { return l.V.Port == port })
	if i < 0 {
		return store.Row[model.Listener]{}, false
	}
	return b.listeners[i], true
}

// change lets alter change a load balancer, again and again while others
// change it too.
func (s *Service) change(ctx context.Context, name *string, alter func(tx *store.Txn, b *balancer) error) (*balancer, error) {
	var b *balancer
	err := store.Transact(ctx, s.Store, func(tx *store.Txn) error {
		var err error
		if b, err = s.find(ctx, value(name)); err != nil {
			return err
		}
		if err := alter(tx, b); err != nil {
			return err
		}
		b.lb.Generation++
		tables.LoadBalancers.Replace(tx, b.row, b.lb)
		return nil
	})
	return b, err
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// maxPage is how many items a page has, unless the request wants fewer.
const maxPage = 400

// page is the part of items behind the marker, and the marker of the next
// part. Items come in the order of their positions.
func page[T any](ctx context.Context, operation string, marker *string, size *int32, items []T, position func(T) string) ([]T, *string, error) {
	c := api.CallFrom(ctx)
	list := []string{c.Account, c.Region, operation}
	if m := value(marker); m != "" {
		after, ok := pagetoken.Open(m, list...)
		if !ok {
			return nil, nil, invalid("Invalid marker")
		}
		for len(items) > 0 && position(items[0]) <= after {
			items = items[1:]
		}
	}
	limit := maxPage
	if size != nil {
		limit = int(*size)
	}
	if len(items) <= limit {
		return items, nil, nil
	}
	return items[:limit], new(pagetoken.Make(position(items[limit-1]), list...)), nil
}
