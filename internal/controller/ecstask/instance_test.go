package ecstask

import (
	"testing"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// onInstance puts the task on a container instance, as whoever makes it does.
func (x *fixture) onInstance(mode string) {
	x.t.Helper()
	tx := store.NewTxn()
	i := &model.ContainerInstance{
		ID: "i1", ARN: model.ECSContainerInstanceARN(region, account, "c", "i1"), ClusterName: "c", EC2InstanceID: "i-1",
		Status: model.ContainerInstanceActive, Attributes: map[string]string{model.AttributeZone: "eu-west-1a"},
	}
	tables.ECSContainerInstances.Put(tx, account, region, "c/i1", i)
	tables.Instances.Put(tx, account, region, "i-1", &model.Instance{ID: "i-1", Desired: model.InstanceDesired{State: model.InstanceRunning}})
	x.commit(tx)
	x.update(func(t *model.Task) {
		t.Spec.LaunchType, t.Spec.NetworkMode = model.LaunchTypeEC2, mode
		if mode != "awsvpc" {
			t.Status.Attachments = nil
		}
		t.PlaceOn(i, []string{"subnet-1"}, id.UUID)
	})
}

func (x *fixture) instance(status string) {
	x.t.Helper()
	_, err := tables.ECSContainerInstances.Update(x.t.Context(), x.store, account, region, "c/i1", func(i *model.ContainerInstance) error {
		i.Status = status
		return nil
	})
	if err != nil {
		x.t.Fatal(err)
	}
}

// A task of an instance has an interface in awsvpc mode alone, and lives and
// ends as one of Fargate does.
func TestLifeOnInstance(t *testing.T) {
	for _, mode := range []string{"bridge", "host", "none", "awsvpc"} {
		t.Run(mode, func(t *testing.T) {
			in(t, false, func(_ *testing.T, x *fixture) {
				x.onInstance(mode)
				task, _ := x.reconcile()
				x.is(task, model.TaskPending)
				if task.Status.Node != "i1" || task.Status.ExecutionCredentialsID == "" || task.Spec.AvailabilityZone != "eu-west-1a" {
					x.t.Errorf("status %+v, zone %s", task.Status, task.Spec.AvailabilityZone)
				}
				if has := task.ENI() != nil && task.ENI().Detail("networkInterfaceId") != ""; has != (mode == "awsvpc") {
					x.t.Errorf("attachments %+v", task.Status.Attachments)
				}
				x.is(x.observed(model.TaskRunning), model.TaskRunning)
				// Draining is the service's affair, and a deregistering instance is there.
				x.instance(model.ContainerInstanceDraining)
				task, _ = x.reconcile()
				x.is(task, model.TaskRunning)
				task, _ = x.stopped(model.StopUserInitiated)
				x.is(task, model.TaskStopping)
				x.is(x.observed(model.TaskStopped), model.TaskStopped)
			})
		})
	}
}

// The tasks of an instance that is gone have stopped, for the reason that it
// is gone for, and whatever they waited for.
func TestInstanceGone(t *testing.T) {
	for name, tt := range map[string]struct {
		gone         func(*fixture)
		code, reason string
	}{
		"deregistered": {func(x *fixture) { x.instance(model.ContainerInstanceInactive) }, model.StopUserInitiated, "Container instance deregistration forced by user"},
		"terminated": {func(x *fixture) {
			_, err := tables.Instances.Update(x.t.Context(), x.store, account, region, "i-1", func(i *model.Instance) error {
				i.Desired.State = model.InstanceTerminated
				return nil
			})
			if err != nil {
				x.t.Fatal(err)
			}
			x.instance(model.ContainerInstanceInactive)
		}, model.StopTerminationNotice, "Host EC2 (instance i-1) terminated."},
		"forgotten": {func(x *fixture) {
			row, err := tables.ECSContainerInstances.Get(x.t.Context(), x.store, account, region, "c/i1")
			if err != nil {
				x.t.Fatal(err)
			}
			tx := store.NewTxn()
			tables.ECSContainerInstances.Delete(tx, row)
			x.commit(tx)
		}, model.StopUserInitiated, "Container instance deregistration forced by user"},
	} {
		for _, mode := range []string{"bridge", "awsvpc"} {
			for _, stopping := range []bool{false, true} {
				t.Run(name+" "+mode, func(t *testing.T) {
					in(t, false, func(_ *testing.T, x *fixture) {
						x.onInstance(mode)
						x.reconcile()
						x.is(x.observed(model.TaskRunning), model.TaskRunning)
						code, reason := tt.code, tt.reason
						if stopping {
							x.stopped(model.StopServiceSchedulerInitiated)
							code, reason = model.StopServiceSchedulerInitiated, "why"
						}
						tt.gone(x)
						task, _ := x.reconcile()
						x.is(task, model.TaskStopped)
						if task.Desired.StopCode != code || task.Desired.StoppedReason != reason {
							x.t.Errorf("desired %+v", task.Desired)
						}
						left, err := tables.NetworkInterfaces.List(x.t.Context(), x.store, store.Query{Account: account, Region: region})
						if err != nil || len(left) > 0 {
							x.t.Errorf("interfaces %v %v", left, err)
						}
					})
				})
			}
		}
	}
}
