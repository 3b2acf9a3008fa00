package ecstask

import (
	"errors"
	"slices"
	"testing"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// binds makes the node report a container's ports.
func (x *fixture) binds(status string, bindings ...model.NetworkBinding) *model.Task {
	x.t.Helper()
	x.update(func(t *model.Task) {
		t.Observed.Status = status
		t.Observed.Containers = []model.ContainerState{{Name: "web", LastStatus: status, NetworkBindings: bindings}}
	})
	task, _ := x.reconcile()
	return task
}

func binding(container, host int, protocol string) model.NetworkBinding {
	return model.NetworkBinding{BindIP: "0.0.0.0", ContainerPort: &container, HostPort: &host, Protocol: protocol}
}

// registered are the ids of the targets that take requests.
func (x *fixture) registered() []string {
	x.t.Helper()
	rows, err := tables.Targets.List(x.t.Context(), x.store, store.Query{Account: account, Region: region})
	if err != nil {
		x.t.Fatal(err)
	}
	var ids []string
	for _, r := range rows {
		if r.V.RegisteredBy != "arn:aws:ecs:eu-west-1:000000000000:service/c/web" || r.V.AvailabilityZone != "" {
			x.t.Errorf("target %+v", r.V)
		}
		if r.V.DeregisteringAt == nil {
			ids = append(ids, r.Key.ID)
		}
	}
	return ids
}

// second adds a target group that another port of the task is for.
func (x *fixture) second() string {
	const id = "fedcba9876543210"
	g := *x.group
	g.ID, g.ARN, g.TargetType = id, "arn:aws:elasticloadbalancing:eu-west-1:000000000000:targetgroup/tg2/"+id, model.TargetTypeInstance
	tx := store.NewTxn()
	tables.TargetGroups.Put(tx, account, region, id, &g)
	x.commit(tx)
	x.update(func(t *model.Task) {
		t.Spec.LoadBalancers = append(t.Spec.LoadBalancers, model.ServiceLoadBalancer{TargetGroupARN: g.ARN, ContainerName: "web", ContainerPort: new(9090)})
	})
	return id
}

// A task in bridge mode is a target at the ports that its instance gave it, in
// each of its groups, once all are known; and is drained before it stops.
func TestInstanceTargets(t *testing.T) {
	in(t, true, func(t *testing.T, x *fixture) {
		x.onInstance("bridge")
		other := x.second()
		x.reconcile()
		x.is(x.binds(model.TaskRunning), model.TaskActivating)
		x.is(x.binds(model.TaskRunning, binding(80, 49153, "tcp"), binding(9090, 49154, "udp")), model.TaskActivating)
		if got := x.registered(); len(got) > 0 {
			t.Fatalf("registered %v", got)
		}
		x.is(x.binds(model.TaskRunning, binding(80, 49153, "tcp"), binding(9090, 49154, "udp"), binding(9090, 49155, "tcp")), model.TaskRunning)
		if got := x.registered(); !slices.Equal(got, []string{x.group.ID + "/i-1:49153", other + "/i-1:49155"}) {
			t.Fatalf("registered %v", got)
		}
		task, wait := x.stopped(model.StopServiceSchedulerInitiated)
		x.is(task, model.TaskDeactivating)
		if got := x.registered(); len(got) > 0 || wait < 60*time.Second {
			t.Fatalf("registered %v, waits %v", got, wait)
		}
		// It waits for the last of its targets, which name it.
		w := &tasks{Config{Store: x.store}}
		for n, id := range []string{x.group.ID + "/i-1:49153", other + "/i-1:49155"} {
			row, err := tables.Targets.Get(t.Context(), x.store, account, region, id)
			if err != nil {
				t.Fatal(err)
			}
			records, _, err := x.store.List(t.Context(), store.Query{Kind: tables.Targets.Kind(), Account: account, Region: region, Prefix: id})
			if err != nil || len(records) != 1 {
				t.Fatal(records, err)
			}
			if keys, err := w.ofTarget(t.Context(), records[0]); err != nil || !slices.Contains(keys, key) {
				t.Errorf("target %s names %v %v", id, keys, err)
			}
			tx := store.NewTxn()
			tables.Targets.Delete(tx, row)
			x.commit(tx)
			task, _ = x.reconcile()
			x.is(task, []string{model.TaskDeactivating, model.TaskStopping}[n])
		}
	})
}

// In host mode the container's port is the instance's.
func TestInstanceTargetInHostMode(t *testing.T) {
	in(t, true, func(t *testing.T, x *fixture) {
		x.onInstance("host")
		x.reconcile()
		x.is(x.observed(model.TaskRunning), model.TaskRunning)
		if got := x.registered(); !slices.Equal(got, []string{x.group.ID + "/i-1:80"}) {
			t.Fatalf("registered %v", got)
		}
	})
}

// A target that drains at a port which a new task was given is taken over.
func TestPortOfADrainingTargetIsTakenOver(t *testing.T) {
	in(t, true, func(t *testing.T, x *fixture) {
		x.onInstance("bridge")
		x.reconcile()
		id := model.TargetKey(x.group.ID, "i-1", 49153)
		tx := store.NewTxn()
		tables.Targets.Put(tx, account, region, id, &model.Target{
			TargetGroupARN: x.group.ARN, ID: "i-1", Port: 49153, RegisteredBy: "arn:aws:ecs:eu-west-1:000000000000:service/c/web", DeregisteringAt: new(time.Now()),
		})
		x.commit(tx)
		x.is(x.binds(model.TaskRunning, binding(80, 49153, "tcp")), model.TaskRunning)
		if got := x.registered(); !slices.Equal(got, []string{id}) {
			t.Fatalf("registered %v", got)
		}
		// A task whose instance is gone is deregistered, and waits for nothing.
		x.instance(model.ContainerInstanceInactive)
		task, _ := x.reconcile()
		x.is(task, model.TaskStopped)
		row, err := tables.Targets.Get(t.Context(), x.store, account, region, id)
		if err != nil && !errors.Is(err, store.ErrNotFound) || err == nil && row.V.DeregisteringAt == nil {
			t.Errorf("left %+v %v", row.V, err)
		}
	})
}

// A target group of another VPC does not get the instance; the service tells.
func TestTargetGroupOfAnotherVPC(t *testing.T) {
	in(t, true, func(t *testing.T, x *fixture) {
		x.onInstance("host")
		g := *x.group
		g.VpcID = "vpc-2"
		tx := store.NewTxn()
		tables.TargetGroups.Put(tx, account, region, g.ID, &g)
		x.commit(tx)
		x.reconcile()
		x.is(x.observed(model.TaskRunning), model.TaskRunning)
		if got := x.registered(); len(got) > 0 {
			t.Errorf("registered %v", got)
		}
		task, _ := x.stopped(model.StopServiceSchedulerInitiated)
		x.is(task, model.TaskStopping)
	})
}

// A task behind a classic load balancer registers its instance, whatever its
// port, once that is known.
func TestClassicTarget(t *testing.T) {
	task := &model.Task{}
	task.Spec.LoadBalancers = []model.ServiceLoadBalancer{{LoadBalancerName: "old", ClassicGroupARN: "group", ContainerName: "web", ContainerPort: new(80)}}
	task.Status.EC2InstanceID = "i-1"
	if got := task.Targets(); len(got) != 1 || got[0].Known() {
		t.Errorf("before it runs: %+v", got)
	}
	task.Spec.NetworkMode = "host"
	if got := task.Targets(); len(got) != 1 || got[0] != (model.TaskTarget{GroupARN: "group", ContainerPort: 80, ID: "i-1", Port: model.ClassicTargetPort}) {
		t.Errorf("at its instance's port: %+v", got)
	}
}
