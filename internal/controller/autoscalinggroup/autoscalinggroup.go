// Package autoscalinggroup is the controller that keeps Auto Scaling groups as
// they are wanted: it reads a group, its members and what EC2 and load
// balancers say of them, asks autoscaling.Next what to do, and does it: it
// launches and ends instances, registers targets, and writes the members,
// activities, and the group's status.
//
// A pass over a group costs time by the number of its members, so passes over a
// large one are spaced out: events that come in between are one pass.
package autoscalinggroup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/autoscaling"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Config is what the controllers need.
type Config struct {
	Store store.Store
	Clock clock.Clock
	Log   *slog.Logger
}

const (
	// small groups are looked at as often as something happens.
	small = 100
	// pace is the time between two passes, for each member.
	pace = 200 * time.Microsecond
	// attempts bounds how often a plan is made anew at once because something
	// changed while it was made.
	attempts = 5
)

// groups is the controller's work.
type groups struct {
	Config
	mu sync.Mutex
	// next is when large groups may be looked at again.
	next map[controller.Key]time.Time
}

// New makes the controller.
func New(c Config) *controller.Controller {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	g := &groups{Config: c, next: map[controller.Key]time.Time{}}
	// A full pass looks at all groups anyway.
	none := func() []store.Query { return nil }
	return &controller.Controller{
		Name: "autoscalinggroup",
		Watches: []controller.Watch{
			controller.Own(tables.AutoScalingGroups),
			controller.On(tables.ASGInstances, func(r store.Row[model.ASGInstance]) []controller.Key {
				return keyOf(r.Key, r.V.Group)
			}).Passing(none),
			controller.On(tables.InstanceRefreshes, func(r store.Row[model.InstanceRefresh]) []controller.Key {
				return keyOf(r.Key, r.V.Group)
			}).Passing(none),
			controller.On(tables.Instances, func(r store.Row[model.Instance]) []controller.Key {
				return keyOf(r.Key, r.V.Spec.AutoScalingGroup)
			}).Passing(none),
			controller.Watch{Kind: tables.Targets.Kind(), Keys: g.ofTarget}.Passing(none),
			controller.Watch{Kind: tables.TargetsHealth.Kind(), Keys: g.ofTarget}.Passing(none),
		},
		Reconcile: g.reconcile,
	}
}

func keyOf(k store.Key, group string) []controller.Key {
	if group == "" {
		return nil
	}
	return []controller.Key{{Account: k.Account, Region: k.Region, ID: group}}
}

// ofTarget names the group of the instance that a target or its health is of.
func (c *groups) ofTarget(ctx context.Context, r store.Record) ([]controller.Key, error) {
	_, target, _ := strings.Cut(r.Key.ID, "/")
	if !strings.HasPrefix(target, "i-") {
		return nil, nil
	}
	id, _, _ := strings.Cut(target, ":")
	rows, err := tables.ASGInstances.List(ctx, c.Store, store.Query{
		Account: r.Key.Account, Region: r.Key.Region, Index: store.Index{Name: tables.ByEC2Instance, Value: id},
	})
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return keyOf(r.Key, rows[0].V.Group), nil
}

// reconcile makes and carries out one plan for a group.
func (c *groups) reconcile(ctx context.Context, key controller.Key) (result controller.Result, err error) {
	if wait := c.early(key); wait > 0 {
		return controller.Result{RequeueAfter: wait}, nil
	}
	for range attempts {
		if result, err = c.step(ctx, key); !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	return result, err
}

// early is how long it is until a group may be looked at again.
func (c *groups) early(key controller.Key) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.next[key].Sub(c.Clock.Now())
}

// space notes that a group of so many members was looked at.
func (c *groups) space(key controller.Key, members int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if members <= small {
		delete(c.next, key)
		return
	}
	c.next[key] = c.Clock.Now().Add(time.Duration(members) * pace)
}

func (c *groups) step(ctx context.Context, key controller.Key) (controller.Result, error) {
	v, err := c.read(ctx, key)
	if err != nil {
		return controller.Result{}, fmt.Errorf("group %s: %w", key.ID, err)
	}
	if v == nil {
		c.space(key, 0)
		return controller.Result{}, nil
	}
	defer func() { c.space(key, len(v.members)) }()
	now := c.Clock.Now().Truncate(time.Millisecond)
	plan := autoscaling.Next(v.snapshot(), now)
	if err := c.carryOut(ctx, v, &plan, now); err != nil {
		return controller.Result{}, fmt.Errorf("group %s: %w", key.ID, err)
	}
	if plan.Wake.IsZero() {
		return controller.Result{}, nil
	}
	return controller.Result{RequeueAfter: max(plan.Wake.Sub(c.Clock.Now()), time.Millisecond)}, nil
}
