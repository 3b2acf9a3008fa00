// Package elbv2 serves Elastic Load Balancing v2. It writes what load
// balancers, listeners, rules and target groups should be; the loadbalancer
// controller makes them so.
//
// Served are application and network load balancers, with target groups of IP
// addresses and instances. What AWS offers beyond that is refused.
package elbv2

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/objects"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/loadbalancers"
	"roadstead.dev/internal/store/tables"
)

// Config is what a Service needs. Trust stores cannot be without Contents;
// the rest is required but for Objects.
type Config struct {
	Store store.Store
	// Objects are those of S3; nil means that there are none.
	Objects objects.Reader
	// Key seals the secrets of actions that authenticate users.
	Key *seal.Key
	// Logs are where load balancers' logs go; nil means that they cannot.
	Logs LogObjects
	// Contents keeps what trust stores are made of.
	Contents Contents
}

// Contents keeps texts under names that it makes up.
type Contents interface {
	Put(text []byte) (name string, err error)
	Remove(names ...string)
	// URL is where anybody may get a text until a time, at the scheme and
	// authority origin.
	URL(origin, name string, expires time.Time) string
}

// Service implements elbv2.Handler.
type Service struct{ Config }

var (
	_ elbv2.Handler      = (*Service)(nil)
	_ api.ResourceScoper = (*Service)(nil)
)

// New makes a Service.
func New(c Config) *Service { return &Service{c} }

// commit runs f, which fills a transaction from what it reads, and commits it,
// again and again while others change what was read.
func (s *Service) commit(ctx context.Context, f func(tx *store.Txn) error) error {
	return store.Transact(ctx, s.Store, f)
}

// invalid is the code-less way in which the service refuses parameters.
func invalid(format string, args ...any) error {
	return api.NewFault("ValidationError", format, args...)
}

// unsupported refuses what AWS offers and this server does not yet.
func unsupported(format string, args ...any) error {
	return elbv2.NewInvalidConfigurationRequestException(format, args...)
}

// newID makes what ends the ARNs of the service's resources.
func newID() string { return id.Hex(16) }

// maxARNs is how many load balancers, or resources with their tags, a request
// may ask for by name.
const maxARNs = 20

// checkARNs refuses too many ARNs, in the words of a constraint, though the
// model knows none.
func checkARNs(member string, arns []string) error {
	if len(arns) <= maxARNs {
		return nil
	}
	return invalid("1 validation error detected: Value '[%s]' at '%s' failed to satisfy constraint: Member must have length less than or equal to %d", strings.Join(arns, ", "), member, maxARNs)
}

func loadBalancerARN(c *api.Call, lb *model.LoadBalancer) string {
	kind := "app"
	if lb.Type == model.LoadBalancerNetwork {
		kind = "net"
	}
	return model.MakeARN("elasticloadbalancing", c.Region, c.Account, "loadbalancer/"+kind+"/"+lb.Name+"/"+lb.ID)
}

// under is the ARN of something that belongs to the resource with the ARN.
func under(arn, kind, child string) string {
	a, err := model.ParseARN(arn)
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(a.Resource, "/")
	a.Resource = kind + "/" + rest + "/" + child
	return a.String()
}

// loadBalancer finds a load balancer by ARN.
func (s *Service) loadBalancer(ctx context.Context, arn string) (store.Row[model.LoadBalancer], error) {
	c := api.CallFrom(ctx)
	lb := model.LoadBalancerID(arn)
	if lb == "" {
		return store.Row[model.LoadBalancer]{}, invalid("'%s' is not a valid load balancer ARN", arn)
	}
	row, err := tables.LoadBalancers.Get(ctx, s.Store, c.Account, c.Region, lb)
	if errors.Is(err, store.ErrNotFound) || err == nil && (row.V.ARN != arn || row.V.DeletedAt != nil) {
		return row, elbv2.NewLoadBalancerNotFoundException("Load balancer '%s' not found", arn)
	}
	return row, err
}

// listener finds a listener by ARN.
func (s *Service) listener(ctx context.Context, arn string) (store.Row[model.Listener], error) {
	c := api.CallFrom(ctx)
	l := model.ListenerID(arn)
	if l == "" {
		return store.Row[model.Listener]{}, invalid("'%s' is not a valid listener ARN", arn)
	}
	row, err := tables.Listeners.Get(ctx, s.Store, c.Account, c.Region, l)
	if errors.Is(err, store.ErrNotFound) || err == nil && row.V.ARN != arn {
		return row, elbv2.NewListenerNotFoundException("One or more listeners not found")
	}
	return row, err
}

// rule finds a rule by ARN.
func (s *Service) rule(ctx context.Context, arn string) (store.Row[model.Rule], error) {
	c := api.CallFrom(ctx)
	r := model.RuleID(arn)
	if r == "" {
		return store.Row[model.Rule]{}, invalid("'%s' is not a valid listener rule ARN", arn)
	}
	row, err := tables.Rules.Get(ctx, s.Store, c.Account, c.Region, r)
	if errors.Is(err, store.ErrNotFound) || err == nil && row.V.ARN != arn {
		return row, elbv2.NewRuleNotFoundException("One or more rules not found")
	}
	return row, err
}

// targetGroup finds a target group by ARN.
func (s *Service) targetGroup(ctx context.Context, arn string) (store.Row[model.TargetGroup], error) {
	c := api.CallFrom(ctx)
	g := model.TargetGroupID(arn)
	if g == "" {
		return store.Row[model.TargetGroup]{}, invalid("'%s' is not a valid target group ARN", arn)
	}
	row, err := tables.TargetGroups.Get(ctx, s.Store, c.Account, c.Region, g)
	if errors.Is(err, store.ErrNotFound) || err == nil && (row.V.ARN != arn || row.V.Classic) {
		return row, elbv2.NewTargetGroupNotFoundException("One or more target groups not found")
	}
	return row, err
}

// place is the caller's part of the store.
func (s *Service) place(ctx context.Context) loadbalancers.Place {
	c := api.CallFrom(ctx)
	return loadbalancers.Place{Store: s.Store, Account: c.Account, Region: c.Region}
}

// children selects what belongs to the record with the id.
func children(ctx context.Context, parent string) store.Query {
	c := api.CallFrom(ctx)
	return store.Query{Account: c.Account, Region: c.Region, Prefix: parent + "/"}
}

// everything selects all records of the caller's region.
func everything(ctx context.Context) store.Query {
	c := api.CallFrom(ctx)
	return store.Query{Account: c.Account, Region: c.Region}
}

// loadBalancers are those of the caller's region. Classic ones are another
// API's.
func (s *Service) loadBalancers(ctx context.Context) ([]store.Row[model.LoadBalancer], error) {
	rows, err := tables.LoadBalancers.List(ctx, s.Store, everything(ctx))
	return slices.DeleteFunc(rows, func(r store.Row[model.LoadBalancer]) bool { return r.V.Classic != nil }), err
}

// targetGroups are those of the caller's region.
func (s *Service) targetGroups(ctx context.Context) ([]store.Row[model.TargetGroup], error) {
	rows, err := tables.TargetGroups.List(ctx, s.Store, everything(ctx))
	return slices.DeleteFunc(rows, func(r store.Row[model.TargetGroup]) bool { return r.V.Classic }), err
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// text is nil for "", which is how absent strings are answered.
func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// validName checks the name of a load balancer or a target group.
func validName(what, name string) error {
	switch {
	case name == "":
		return invalid("%s name cannot be empty", what)
	case len(name) > 32:
		return invalid("%s name '%s' cannot be longer than '32' characters", what, name)
	case strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "":
		return invalid("%s name '%s' can only contain characters that are alphanumeric characters and hyphens(-)", what, name)
	case strings.HasPrefix(name, "-") || strings.HasSuffix(name, "-"):
		return invalid("%s name '%s' cannot begin or end with '-'", what, name)
	}
	return nil
}
