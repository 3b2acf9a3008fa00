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

// ofHost names the tasks on an EC2 instance that does not run.
func (c *tasks) ofHost(ctx context.Context, r store.Record) ([]controller.Key, error) {
	host, err := tables.Instances.Row(r)
	if err != nil || host.V.Status.State != model.InstanceStopped && host.V.Status.State != model.InstanceTerminated {
		return nil, err
	}
	of := store.Query{Account: r.Key.Account, Region: r.Key.Region, Index: store.Index{Name: tables.ByEC2Instance, Value: r.Key.ID}}
	rows, err := tables.ECSContainerInstances.List(ctx, c.Store, of)
	if err != nil {
		return nil, err
	}
	var keys []controller.Key
	for _, i := range rows {
		of.Index = store.Index{Name: tables.ByNode, Value: i.V.ID}
		on, err := tables.ECSTasks.List(ctx, c.Store, of)
		if err != nil {
			return nil, err
		}
		for _, t := range on {
			keys = append(keys, controller.KeyOf(t.Key))
		}
	}
	return keys, nil
}

// lost is how a task ends whose container instance is gone, or whose EC2
// instance has stopped; zero while it may run, and for tasks that have none.
// That the agent is not connected means nothing: the task may well run.
func (c *tasks) lost(ctx context.Context, row store.Row[model.Task], now time.Time) (model.TaskDesired, error) {
	t := row.V
	if t.Spec.LaunchType == model.LaunchTypeFargate || t.Status.Node == "" || t.Status.LastStatus == model.TaskStopped {
		return model.TaskDesired{}, nil
	}
	end := model.TaskDesired{Status: model.TaskStopped, StoppingAt: now}
	i, err := c.instance(ctx, row.Key, t.ClusterName, t.Status.Node)
	gone := errors.Is(err, store.ErrNotFound)
	if err != nil && !gone {
		return model.TaskDesired{}, err
	}
	state, err := c.hostState(ctx, row.Key, i)
	switch {
	case err != nil:
		return model.TaskDesired{}, err
	case gone && state == model.InstanceTerminated:
		end.StopCode, end.StoppedReason = model.StopTerminationNotice, fmt.Sprintf("Host EC2 (instance %s) terminated.", i.EC2InstanceID)
	case gone:
		end.StopCode, end.StoppedReason = model.StopUserInitiated, "Container instance deregistration forced by user"
	case state == model.InstanceStopped:
		end.StopCode, end.StoppedReason = model.StopTerminationNotice, fmt.Sprintf("Host EC2 (instance %s) stopped.", i.EC2InstanceID)
	default:
		return model.TaskDesired{}, nil
	}
	return end, nil
}

// hostState is the state of a container instance's EC2 instance: terminated
// from the moment that this is asked for, and when there is none any more;
// empty for external instances.
func (c *tasks) hostState(ctx context.Context, in store.Key, i *model.ContainerInstance) (string, error) {
	if i == nil || i.EC2InstanceID == "" || i.External {
		return "", nil
	}
	host, err := tables.Instances.Get(ctx, c.Store, in.Account, in.Region, i.EC2InstanceID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return model.InstanceTerminated, nil
	case err != nil:
		return "", err
	case host.V.Desired.State == model.InstanceTerminated:
		return model.InstanceTerminated, nil
	}
	return host.V.Status.State, nil
}
