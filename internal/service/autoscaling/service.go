// Package autoscaling serves Amazon EC2 Auto Scaling. It writes what groups
// should be; controller/autoscalinggroup makes them so.
package autoscaling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// Config is what a Service needs. All of it is required.
type Config struct {
	Store store.Store
}

// Service implements autoscaling.Handler.
type Service struct{ Config }

var (
	_ autoscaling.Handler = (*Service)(nil)
	_ api.ResourceScoper  = (*Service)(nil)
)

// New makes a Service.
func New(c Config) *Service { return &Service{c} }

// commit runs f, which fills a transaction from what it reads, and commits it,
// again and again while others change what was read.
func (s *Service) commit(ctx context.Context, f func(tx *store.Txn) error) error {
	err := store.Transact(ctx, s.Store, f)
	if errors.Is(err, store.ErrContended) {
		return autoscaling.NewResourceContentionFault("You already have a pending update to an Auto Scaling resource.")
	}
	return err
}

// invalid is how the service refuses what constraints cannot say.
func invalid(format string, args ...any) error {
	return api.NewFault("ValidationError", format, args...)
}

// unsupported refuses what AWS offers and this server does not yet.
func unsupported(what string) error {
	return invalid("The requested configuration is currently not supported: %s.", what)
}

// constraint words a refusal as the model's constraints are worded.
func constraint(value any, member, rule string, args ...any) error {
	return invalid("1 validation error detected: Value '%v' at '%s' failed to satisfy constraint: Member must %s", value, member, fmt.Sprintf(rule, args...))
}

func placeOf(c *api.Call) instances.Place {
	return instances.Place{Account: c.Account, Region: c.Region}
}

// everything selects all records of the caller's region.
func everything(c *api.Call) store.Query {
	return store.Query{Account: c.Account, Region: c.Region}
}

// groupRow is a group's record.
type groupRow = store.Row[model.AutoScalingGroup]

// memberRow is the record of an instance in a group.
type memberRow = store.Row[model.ASGInstance]

// group finds a group by its name.
func (s *Service) group(ctx context.Context, name string) (groupRow, error) {
	c := api.CallFrom(ctx)
	row, err := tables.AutoScalingGroups.Get(ctx, s.Store, c.Account, c.Region, name)
	if errors.Is(err, store.ErrNotFound) {
		return row, invalid("AutoScalingGroup name not found - AutoScalingGroup %s not found", name)
	}
	return row, err
}

// live finds a group that is not on its way out.
func (s *Service) live(ctx context.Context, name string) (groupRow, error) {
	row, err := s.group(ctx, name)
	if err == nil && row.V.Deleting {
		return row, invalid("AutoScalingGroup %s is pending delete and cannot be changed", name)
	}
	return row, err
}

// change alters a group that is not on its way out. When f leaves it as it is,
// nothing is written.
func (s *Service) change(ctx context.Context, name string, f func(v *model.AutoScalingGroup) error) error {
	return s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.live(ctx, name)
		if err != nil {
			return err
		}
		v := row.Copy()
		if err := f(v); errors.Is(err, store.ErrUnchanged) {
			return nil
		} else if err != nil {
			return err
		}
		tables.AutoScalingGroups.Replace(tx, row, v)
		return nil
	})
}

// members are the instances of a group, by their ids.
func (s *Service) members(ctx context.Context, c *api.Call, group string) ([]memberRow, error) {
	return under(ctx, s.Store, c, tables.ASGInstances, group, func(v *model.ASGInstance) string { return v.Group })
}

// under lists what belongs to a group. A group's name may hold slashes, so a
// prefix alone does not tell.
func under[T any](ctx context.Context, s store.Store, c *api.Call, table *store.Table[T], group string, of func(*T) string) ([]store.Row[T], error) {
	rows, err := table.List(ctx, s, store.Query{Account: c.Account, Region: c.Region, Prefix: group + "/"})
	return slices.DeleteFunc(rows, func(r store.Row[T]) bool { return of(r.V) != group }), err
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

func number(n int) *int32 { return new(int32(n)) }

// optional is nil for nil.
func optional(n *int) *int32 {
	if n == nil {
		return nil
	}
	return number(*n)
}

// stamp writes a time as the causes of activities do.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
