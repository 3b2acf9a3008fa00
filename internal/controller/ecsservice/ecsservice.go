// Package ecsservice is the controller that keeps an ECS service's tasks as
// the service wants them: it reads the service, its tasks and their targets'
// health, asks deployment.Next what to do, and writes the outcome in one
// transaction: tasks to start and to stop, deployments, counts and events.
package ecsservice

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/deployment"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// States holds what the decisions remember of each service, under the
// service's id. Only this controller reads and writes them.
var States = store.NewTable[deployment.State]("ecs", "ServiceState")

// startsAtOnce bounds the tasks that one transaction makes; more follow in the
// next.
const startsAtOnce = 50

// Config is what the controller needs.
type Config struct {
	Store store.Store
	Clock clock.Clock
	// HealthyAfter is how long a task that nothing checks must run to count as
	// healthy; 0 means AWS's 40 seconds.
	HealthyAfter time.Duration
	// Placer places tasks on container instances; without it no cluster has any.
	Placer Placer
}

// services is the controller's work.
type services struct {
	Config
	room audience
}

// New makes the controller.
func New(c Config) *controller.Controller {
	if c.HealthyAfter == 0 {
		c.HealthyAfter = deployment.HealthyAfter
	}
	w := &services{Config: c}
	return &controller.Controller{
		Name: "ecsservice",
		Watches: []controller.Watch{
			controller.Own(tables.ECSServices),
			controller.On(tables.ECSTasks, func(r store.Row[model.Task]) []controller.Key {
				return append(keyOf(r.Key, r.V.TaskServiceID()), w.freed(r)...)
			}).Passing(tables.LiveTasks),
			// A full pass looks at all services anyway.
			controller.Watch{Kind: tables.ECSContainerInstances.Kind(), Keys: w.ofInstance}.Passing(func() []store.Query { return nil }),
			controller.On(tables.Targets, func(r store.Row[model.Target]) []controller.Key {
				return keyOf(r.Key, model.ECSResourceID(r.V.RegisteredBy))
			}),
			{Kind: tables.TargetsHealth.Kind(), Keys: w.ofHealth},
		},
		Reconcile: w.reconcile,
	}
}

func keyOf(k store.Key, service string) []controller.Key {
	if service == "" {
		return nil
	}
	return []controller.Key{{Account: k.Account, Region: k.Region, ID: service}}
}

// ofHealth names the service that registered a target.
func (c *services) ofHealth(ctx context.Context, r store.Record) ([]controller.Key, error) {
	target, err := tables.Targets.Get(ctx, c.Store, r.Key.Account, r.Key.Region, r.Key.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return keyOf(r.Key, model.ECSResourceID(target.V.RegisteredBy)), nil
}

// attempts bounds how often a plan is made anew at once because something
// changed while it was made.
const attempts = 5

// reconcile makes and carries out one plan for a service.
func (c *services) reconcile(ctx context.Context, key controller.Key) (result controller.Result, err error) {
	for range attempts {
		if result, err = c.step(ctx, key); !errors.Is(err, store.ErrConflict) {
			break
		}
	}
	return result, err
}

func (c *services) step(ctx context.Context, key controller.Key) (controller.Result, error) {
	v, err := c.read(ctx, key)
	if err != nil {
		return controller.Result{}, err
	}
	name, _, _ := strings.Cut(key.ID, "/")
	cluster := controller.Key{Account: key.Account, Region: key.Region, ID: name}
	if v == nil {
		c.room.leave(cluster, key)
		return controller.Result{}, nil
	}
	now := c.Clock.Now().Truncate(time.Millisecond)
	plan := deployment.Next(v.snapshot(c.HealthyAfter), now)
	more, err := c.write(ctx, v, &plan, now)
	if err != nil {
		return controller.Result{}, fmt.Errorf("service %s: %w", key.ID, err)
	}
	waits := plan.State.Unplaced != ""
	if !waits && !daemon(&v.service.V.Spec) {
		c.room.leave(cluster, key)
	}
	var again time.Duration
	if !plan.Wake.IsZero() {
		again = max(plan.Wake.Sub(c.Clock.Now()), time.Millisecond)
	}
	if more {
		return controller.Result{RequeueAfter: time.Millisecond}, nil
	}
	switch {
	case waits && (again == 0 || again > roomEvery):
		// Room tells when it appears; this is for what tells no event.
		again = roomEvery
	case len(v.zones) > 0 && onInstances(v.service.V.Primary()) && (again == 0 || again > rebalanceEvery):
		again = rebalanceEvery
	}
	rest := time.Duration(len(v.tasks)) * restForTask
	if waits {
		rest = max(rest, restWaiting)
	}
	return controller.Result{RequeueAfter: again, Rest: rest}, nil
}

// restForTask is how long a service rests after each look, for each of its
// tasks. A look costs some microseconds a task, and each task changes several
// times: without a rest, the work would grow with the square of the tasks.
const restForTask = 50 * time.Microsecond

// restWaiting is how long a service at least rests whose tasks find no room:
// each task that leaves makes it look at all instances.
const restWaiting = 100 * time.Millisecond
