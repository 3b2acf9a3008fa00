package ecstask

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/lifecycle"
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
	tables.Instances.Put(tx, account, region, "i-1", &model.Instance{
		ID: "i-1", Spec: model.InstanceSpec{VPCID: "vpc-1", InterfaceIDs: []string{"eni-0"}}, Desired: model.InstanceDesired{State: model.InstanceRunning},
	})
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

// attached checks that the task's interface is its instance's, and reports that
// the node has found it.
func (x *fixture) attached(task *model.Task) *model.Task {
	x.t.Helper()
	x.is(task, model.TaskProvisioning)
	a := task.ENI()
	host := x.host()
	if a.Status != model.TaskAttachmentAttaching || !slices.Equal(host.Spec.InterfaceIDs, []string{"eni-0", a.Detail("networkInterfaceId")}) {
		x.t.Errorf("attachment %+v, instance %+v", a, host.Spec)
	}
	e, err := tables.NetworkInterfaces.Get(x.t.Context(), x.store, account, region, a.Detail("networkInterfaceId"))
	if err != nil {
		x.t.Fatal(err)
	}
	if at := e.V.Attachment; at.InstanceID != "i-1" || at.DeviceIndex != 1 || !at.DeleteOnTermination || !e.V.RequesterManaged {
		x.t.Errorf("interface %+v, %+v", e.V, at)
	}
	x.update(func(t *model.Task) { t.Observed.Attached = []string{a.ID} })
	task, _ = x.reconcile()
	if s := task.ENI().Status; s != model.TaskAttachmentAttached {
		x.t.Errorf("the attachment is %s", s)
	}
	return task
}

// host is the instance's record.
func (x *fixture) host() *model.Instance {
	x.t.Helper()
	row, err := tables.Instances.Get(x.t.Context(), x.store, account, region, "i-1")
	if err != nil {
		x.t.Fatal(err)
	}
	return row.V
}

// Tasks that come to one instance together each get a device of their own.
func TestInterfacesAttachedTogether(t *testing.T) {
	in(t, false, func(t *testing.T, x *fixture) {
		x.onInstance("awsvpc")
		first, err := tables.ECSTasks.Get(t.Context(), x.store, account, region, key.ID)
		if err != nil {
			t.Fatal(err)
		}
		tx := store.NewTxn()
		var keys []controller.Key
		for n := range 7 {
			v := first.Copy()
			v.TaskID = fmt.Sprint("many", n)
			tables.ECSTasks.Put(tx, account, region, "c/"+v.TaskID, v)
			keys = append(keys, controller.Key{Account: account, Region: region, ID: "c/" + v.TaskID})
		}
		x.commit(tx)
		var wg sync.WaitGroup
		for _, k := range keys {
			wg.Go(func() {
				for {
					_, err := x.c.Reconcile(context.Background(), k)
					if err == nil {
						return
					}
					if !errors.Is(err, store.ErrConflict) {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		used := map[int32]bool{}
		for _, id := range x.host().Spec.InterfaceIDs[1:] {
			e, err := tables.NetworkInterfaces.Get(t.Context(), x.store, account, region, id)
			if err != nil {
				t.Fatal(err)
			}
			used[e.V.Attachment.DeviceIndex] = true
		}
		if len(used) != 7 || !used[1] || !used[7] {
			t.Errorf("devices %v", used)
		}
	})
}

// An interface that the instance never finds is given up, and one that the
// instance has no room for is not made.
func TestInterfaceNotAttached(t *testing.T) {
	in(t, false, func(t *testing.T, x *fixture) {
		x.onInstance("awsvpc")
		task, _ := x.reconcile()
		x.is(task, model.TaskProvisioning)
		time.Sleep(lifecycle.AttachTimeout)
		task, _ = x.reconcile()
		x.is(task, model.TaskStopped)
		if task.Desired.StoppedReason != "Timeout waiting for network interface provisioning to complete." || task.Desired.StopCode != model.StopTaskFailedToStart {
			t.Errorf("stopped: %+v", task.Desired)
		}
		if ids := x.host().Spec.InterfaceIDs; !slices.Equal(ids, []string{"eni-0"}) {
			t.Errorf("the instance has %v", ids)
		}
	})
	in(t, false, func(t *testing.T, x *fixture) {
		x.onInstance("awsvpc")
		tx := store.NewTxn()
		i := x.host()
		i.Spec.Type, i.Spec.InterfaceIDs = "t3.micro", []string{"eni-0", "eni-1"} // it has two
		for n, id := range i.Spec.InterfaceIDs {
			at := &model.NetworkInterfaceAttachment{InstanceID: i.ID, DeviceIndex: int32(n)}
			tables.NetworkInterfaces.Put(tx, account, region, id, &model.NetworkInterface{ID: id, Attachment: at})
		}
		tables.Instances.Put(tx, account, region, i.ID, i)
		x.commit(tx)
		task, _ := x.reconcile()
		x.is(task, model.TaskStopped)
		if want := "Unexpected EC2 error while attempting to attach network interface to instance 'i-1': AttachmentLimitExceeded"; task.Desired.StoppedReason != want {
			t.Errorf("stopped: %+v", task.Desired)
		}
	})
}

// A task of an instance has an interface in awsvpc mode alone, and lives and
// ends as one of Fargate does.
func TestLifeOnInstance(t *testing.T) {
	for _, mode := range []string{"bridge", "host", "none", "awsvpc"} {
		t.Run(mode, func(t *testing.T) {
			in(t, false, func(_ *testing.T, x *fixture) {
				x.onInstance(mode)
				task, _ := x.reconcile()
				if mode == "awsvpc" {
					task = x.attached(task)
				}
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
						if task, _ := x.reconcile(); mode == "awsvpc" {
							x.attached(task)
						}
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
