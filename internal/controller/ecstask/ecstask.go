// Package ecstask is the controller that takes ECS tasks through their lives:
// it gives them a network interface and a node, registers them with target
// groups, drains and frees all that again when they end, and forgets them an
// hour later. What comes next is lifecycle.Next's decision.
package ecstask

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/lifecycle"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/eni"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// Config is what a Controller needs.
type Config struct {
	Store store.Store
	Clock clock.Clock
	// FargateNode is the name of the node that Fargate tasks run on.
	FargateNode string
}

// tasks is the controller's work.
type tasks struct{ Config }

// New makes the controller.
func New(c Config) *controller.Controller {
	w := &tasks{c}
	return &controller.Controller{
		Name: "ecstask",
		Watches: []controller.Watch{
			controller.Own(tables.ECSTasks).Passing(tables.LiveTasks),
			{Kind: tables.Targets.Kind(), Keys: w.ofTarget},
			{Kind: tables.ECSContainerInstances.Kind(), Keys: w.ofInstance},
			// A full pass looks at all live tasks anyway.
			controller.Watch{Kind: tables.Instances.Kind(), Keys: w.ofHost}.Passing(func() []store.Query { return nil }),
		},
		Reconcile: w.reconcile,
	}
}

// ofTarget names the tasks that may wait for a target to be drained.
func (c *tasks) ofTarget(ctx context.Context, r store.Record) ([]controller.Key, error) {
	target, err := tables.Targets.Row(r)
	if err != nil {
		return nil, err
	}
	service := model.ECSResourceID(target.V.RegisteredBy)
	if service == "" || target.V.DeregisteringAt == nil {
		return nil, nil
	}
	rows, err := tables.ECSTasks.List(ctx, c.Store, store.Query{
		Account: r.Key.Account, Region: r.Key.Region, Index: store.Index{Name: tables.ByService, Value: service},
	})
	if err != nil {
		return nil, err
	}
	var keys []controller.Key
	for _, row := range rows {
		if row.V.Status.LastStatus == model.TaskDeactivating && slices.ContainsFunc(row.V.Targets(), func(t model.TaskTarget) bool { return t.ID == target.V.ID && t.Port == target.V.Port }) {
			keys = append(keys, controller.KeyOf(row.Key))
		}
	}
	return keys, nil
}

// attempts bounds how often in a row a step is made anew at once because
// someone else wrote meanwhile.
const attempts = 5

// reconcile takes a task as far as it can get now.
func (c *tasks) reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	lost := 0
	for {
		wake, again, err := c.step(ctx, key)
		switch {
		case errors.Is(err, store.ErrConflict) && lost < attempts && ctx.Err() == nil:
			lost++
		case err != nil:
			return controller.Result{}, fmt.Errorf("task %s: %w", key.ID, err)
		case !again:
			if wake.IsZero() {
				return controller.Result{}, nil
			}
			return controller.Result{RequeueAfter: max(wake.Sub(c.Clock.Now()), time.Millisecond)}, nil
		default:
			lost = 0
		}
	}
}

// step makes one step. again tells that another may follow at once.
func (c *tasks) step(ctx context.Context, key controller.Key) (wake time.Time, again bool, err error) {
	row, err := tables.ECSTasks.Get(ctx, c.Store, key.Account, key.Region, key.ID)
	if errors.Is(err, store.ErrNotFound) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, err
	}
	targets, err := c.targets(ctx, row)
	if err != nil {
		return time.Time{}, false, err
	}
	now := c.Clock.Now().Truncate(time.Millisecond)
	facts := targets.facts(row.V)
	if facts.Lost, err = c.lost(ctx, row, now); err != nil {
		return time.Time{}, false, err
	}
	s := lifecycle.Next(row.V, facts, now)
	if s.Action == lifecycle.None && !lifecycle.Changes(row.V, s) {
		if row.V.Status.LastStatus == model.TaskStopped {
			return time.Time{}, false, nil // NewForget's
		}
		return s.Wake, false, nil
	}
	t := row.Copy()
	lifecycle.Apply(t, s, now)

	switch s.Action {
	case lifecycle.Provision:
		return time.Time{}, true, c.provision(ctx, row, t, now)
	case lifecycle.Release:
		return time.Time{}, true, c.release(ctx, row, t)
	case lifecycle.Forget:
		tx := store.NewTxn()
		tables.ECSTasks.Delete(tx, row)
		_, err := tx.Commit(ctx, c.Store)
		return time.Time{}, false, err
	case lifecycle.Register, lifecycle.Deregister, lifecycle.None:
	}
	tx := store.NewTxn()
	switch s.Action {
	case lifecycle.Register:
		targets.register(tx, row.V, now)
	case lifecycle.Deregister:
		targets.deregister(tx, now)
	case lifecycle.Provision, lifecycle.Release, lifecycle.Forget, lifecycle.None:
	}
	tables.ECSTasks.Replace(tx, row, t)
	_, err = tx.Commit(ctx, c.Store)
	return time.Time{}, true, err
}

// release frees the task's interface and writes t, in which it is stopped.
func (c *tasks) release(ctx context.Context, row store.Row[model.Task], t *model.Task) error {
	id := ""
	if a := t.ENI(); a != nil {
		id = a.Detail("networkInterfaceId")
		a.Status = model.TaskAttachmentDeleted
	}
	write := func(tx *store.Txn) error {
		tables.ECSTasks.Replace(tx, row, t)
		return nil
	}
	if id != "" {
		e, err := tables.NetworkInterfaces.Get(ctx, c.Store, row.Key.Account, row.Key.Region, id)
		if err == nil {
			return c.deleteInterface(ctx, row, id, func(tx *store.Txn) error {
				if at := e.V.Attachment; at != nil && at.InstanceID != "" {
					place := instances.Place{Account: row.Key.Account, Region: row.Key.Region}
					if err := instances.RemoveInterface(ctx, c.Store, tx, place, at.InstanceID, id); err != nil {
						return err
					}
				}
				return write(tx)
			})
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	tx := store.NewTxn()
	_ = write(tx)
	_, err := tx.Commit(ctx, c.Store)
	return err
}

// deleteInterface frees the interface together with what write adds. A
// conflict about the task itself ends the attempts: the task is read again.
func (c *tasks) deleteInterface(ctx context.Context, row store.Row[model.Task], id string, write func(*store.Txn) error) error {
	return eni.Delete(ctx, c.Store, row.Key.Account, row.Key.Region, id, func(tx *store.Txn) error {
		if err := c.unchanged(ctx, row); err != nil {
			return err
		}
		return write(tx)
	})
}

// errStale stops a retry that could only conflict again.
var errStale = fmt.Errorf("task changed: %w", store.ErrConflict)

// unchanged fails when the task is no longer as row was read.
func (c *tasks) unchanged(ctx context.Context, row store.Row[model.Task]) error {
	now, err := tables.ECSTasks.Get(ctx, c.Store, row.Key.Account, row.Key.Region, row.Key.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && now.Modified != row.Modified {
		return errStale
	}
	return err
}
