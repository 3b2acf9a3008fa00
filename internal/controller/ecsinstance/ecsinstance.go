// Package ecsinstance is the controller that takes container instances out of
// their clusters when their EC2 instances are gone, and forgets those that are
// INACTIVE an hour later. Their tasks' ends are controller/ecstask's.
package ecsinstance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Config is what the controller needs.
type Config struct {
	Store store.Store
	Clock clock.Clock
}

type instances struct{ Config }

// New makes the controller.
func New(cfg Config) *controller.Controller {
	c := &instances{cfg}
	return &controller.Controller{
		Name: "ecsinstance",
		Watches: []controller.Watch{
			controller.Own(tables.ECSContainerInstances),
			// A full pass looks at all container instances anyway.
			controller.Watch{Kind: tables.Instances.Kind(), Keys: c.ofHost}.Passing(func() []store.Query { return nil }),
		},
		Reconcile: c.reconcile,
	}
}

// ofHost names the container instances of an EC2 instance.
func (c *instances) ofHost(ctx context.Context, r store.Record) ([]controller.Key, error) {
	rows, err := tables.ECSContainerInstances.List(ctx, c.Store, store.Query{
		Account: r.Key.Account, Region: r.Key.Region, Index: store.Index{Name: tables.ByEC2Instance, Value: r.Key.ID},
	})
	keys := make([]controller.Key, len(rows))
	for n, row := range rows {
		keys[n] = controller.KeyOf(row.Key)
	}
	return keys, err
}

func (c *instances) reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	row, err := tables.ECSContainerInstances.Get(ctx, c.Store, key.Account, key.Region, key.ID)
	if errors.Is(err, store.ErrNotFound) {
		return controller.Result{}, nil
	}
	if err != nil {
		return controller.Result{}, err
	}
	if row.V.Status == model.ContainerInstanceInactive {
		wait, err := c.forget(ctx, row)
		return controller.Result{RequeueAfter: wait}, err
	}
	gone, err := c.gone(ctx, row)
	if err != nil || !gone {
		return controller.Result{}, err
	}
	if err := c.deregister(ctx, row); err != nil {
		return controller.Result{}, fmt.Errorf("deregister %s: %w", key.ID, err)
	}
	return controller.Result{}, nil
}

// gone tells whether the EC2 instance has terminated. One that shuts down is
// still there: what runs on it ends with it.
func (c *instances) gone(ctx context.Context, row store.Row[model.ContainerInstance]) (bool, error) {
	if row.V.External || row.V.EC2InstanceID == "" {
		return false, nil
	}
	host, err := tables.Instances.Get(ctx, c.Store, row.Key.Account, row.Key.Region, row.V.EC2InstanceID)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	return err == nil && host.V.Status.State == model.InstanceTerminated, err
}

// deregister makes a container instance INACTIVE, whatever runs there. Who is
// about to place a task there finds its claim changed.
func (c *instances) deregister(ctx context.Context, row store.Row[model.ContainerInstance]) error {
	claim, err := tables.ECSInstanceClaims.Get(ctx, c.Store, row.Key.Account, row.Key.Region, row.Key.ID)
	tx := store.NewTxn()
	switch {
	case err == nil:
		tables.ECSInstanceClaims.Replace(tx, claim, &model.InstanceClaim{Count: claim.V.Count + 1})
	case errors.Is(err, store.ErrNotFound):
		tables.ECSInstanceClaims.Create(tx, row.Key.Account, row.Key.Region, row.Key.ID, &model.InstanceClaim{Count: 1})
	default:
		return err
	}
	v := row.Copy()
	v.Deregister(c.Clock.Now().UTC().Truncate(time.Millisecond))
	tables.ECSContainerInstances.Replace(tx, row, v)
	_, err = tx.Commit(ctx, c.Store)
	return err
}

// forget removes what is left of a container instance that was deregistered
// when its time has come.
func (c *instances) forget(ctx context.Context, row store.Row[model.ContainerInstance]) (time.Duration, error) {
	if left := row.V.DeregisteredAt.Add(model.ContainerInstanceRetention).Sub(c.Clock.Now()); left > 0 {
		return left, nil
	}
	tx := store.NewTxn()
	tables.ECSContainerInstances.Delete(tx, row)
	tables.ECSInstanceClaims.Erase(tx, row.Key.Account, row.Key.Region, row.Key.ID)
	_, err := tx.Commit(ctx, c.Store)
	return 0, err
}
