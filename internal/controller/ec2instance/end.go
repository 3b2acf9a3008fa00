package ec2instance

import (
	"context"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// stop stops an instance, and keeps its files.
func (c *Instances) stop(ctx context.Context, row store.Row[model.Instance]) error {
	switch v := row.V; v.Status.State {
	case model.InstanceStopped:
		return nil
	case model.InstanceStopping:
		patience := stopPatience
		if v.Desired.Force {
			patience = 0
		}
		if err := c.Runtime.Stop(ctx, v.ID, patience); err != nil {
			return err
		}
		c.disconnected(v.ID)
		if _, moving, err := c.spec(ctx, row); err != nil {
			return err
		} else if moving {
			// The change leads back here.
			return instances.Settle(ctx, c.Store, row)
		}
		return c.update(ctx, row, func(s *model.InstanceStatus) {
			s.State, s.Impaired, s.Boots = model.InstanceStopped, "", v.Desired.Boots
		})
	}
	// The change leads back here.
	return c.update(ctx, row, func(s *model.InstanceStatus) { s.State = model.InstanceStopping })
}

// terminate ends an instance with all that is its own.
func (c *Instances) terminate(ctx context.Context, row store.Row[model.Instance]) (time.Duration, error) {
	v := row.V
	if v.Status.State != model.InstanceShuttingDown {
		return 0, c.update(ctx, row, func(s *model.InstanceStatus) { s.State = model.InstanceShuttingDown })
	}
	if err := c.Runtime.Stop(ctx, v.ID, endPatience); err != nil {
		return 0, err
	}
	if err := c.remove(ctx, v.ID); err != nil {
		return 0, err
	}
	if err := instances.Release(ctx, c.Store, instances.Place{Account: row.Key.Account, Region: row.Key.Region}, v); err != nil {
		return 0, err
	}
	now := c.Clock.Now().Truncate(time.Millisecond)
	return Retention, c.update(ctx, row, func(s *model.InstanceStatus) {
		s.State, s.Impaired, s.TerminatedAt = model.InstanceTerminated, "", now
	})
}

// forget removes a terminated instance's record when its time has come.
func (c *Instances) forget(ctx context.Context, row store.Row[model.Instance]) (time.Duration, error) {
	if left := row.V.Status.TerminatedAt.Add(Retention).Sub(c.Clock.Now()); left > 0 {
		return left, nil
	}
	tx := store.NewTxn()
	tables.Instances.Delete(tx, row)
	_, err := tx.Commit(ctx, c.Store)
	return 0, err
}
