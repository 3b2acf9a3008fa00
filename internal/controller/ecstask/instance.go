package ecstask

import (
	"context"
	"errors"
	"fmt"
	"time"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// ofInstance names the tasks of a container instance that is gone.
func (c *tasks) ofInstance(ctx context.Context, r store.Record) ([]controller.Key, error) {
	i, err := tables.ECSContainerInstances.Row(r)
	if err != nil {
		return nil, err
	}
	if _, err := c.instance(ctx, r.Key, i.V.ClusterName, i.V.ID); !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	rows, err := tables.ECSTasks.List(ctx, c.Store, store.Query{
		Account: r.Key.Account, Region: r.Key.Region, Index: store.Index{Name: tables.ByNode, Value: i.V.ID},
	})
	if err != nil {
		return nil, err
	}
	keys := make([]controller.Key, len(rows))
	for n, row := range rows {
		keys[n] = controller.KeyOf(row.Key)
	}
	return keys, nil
}

// instance reads a container instance; one that is INACTIVE is not found.
func (c *tasks) instance(ctx context.Context, in store.Key, cluster, id string) (*model.ContainerInstance, error) {
	row, err := tables.ECSContainerInstances.Get(ctx, c.Store, in.Account, in.Region, cluster+"/"+id)
	if err != nil {
		return row.V, err
	}
	if row.V.Status == model.ContainerInstanceInactive {
		return row.V, store.ErrNotFound
	}
	return row.V, nil
}

// lost is how a task ends whose container instance is gone; zero while it is
// there, and for tasks that have none.
func (c *tasks) lost(ctx context.Context, row store.Row[model.Task], now time.Time) (model.TaskDesired, error) {
	t := row.V
	if t.Spec.LaunchType == model.LaunchTypeFargate || t.Status.Node == "" || t.Status.LastStatus == model.TaskStopped {
		return model.TaskDesired{}, nil
	}
	i, err := c.instance(ctx, row.Key, t.ClusterName, t.Status.Node)
	if !errors.Is(err, store.ErrNotFound) {
		return model.TaskDesired{}, err
	}
	end := model.TaskDesired{
		Status: model.TaskStopped, StoppingAt: now,
		StopCode: model.StopUserInitiated, StoppedReason: "Container instance deregistration forced by user",
	}
	if i == nil || i.EC2InstanceID == "" || i.External {
		return end, nil
	}
	host, err := tables.Instances.Get(ctx, c.Store, row.Key.Account, row.Key.Region, i.EC2InstanceID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return model.TaskDesired{}, err
	}
	if err != nil || host.V.Desired.State == model.InstanceTerminated {
		end.StopCode, end.StoppedReason = model.StopTerminationNotice, fmt.Sprintf("Host EC2 (instance %s) terminated.", i.EC2InstanceID)
	}
	return end, nil
}
