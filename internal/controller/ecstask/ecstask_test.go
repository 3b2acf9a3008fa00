package ecstask

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	region  = "eu-west-1"
)

var key = controller.Key{Account: account, Region: region, ID: "c/t1"}

// fixture is a store with a network, a target group and a task.
type fixture struct {
	t     *testing.T
	store store.Store
	c     *controller.Controller
	group *model.TargetGroup
}

// in runs f in a bubble with a fixture whose task is a service's, behind a
// load balancer when balanced.
func in(t *testing.T, balanced bool, f func(*testing.T, *fixture)) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		defer s.Close()
		x := &fixture{t: t, store: s, c: New(Config{Store: s, Clock: clock.System{}, FargateNode: "fargate"})}
		x.group = &model.TargetGroup{
			ID: "0123456789abcdef", ARN: "arn:aws:elasticloadbalancing:eu-west-1:000000000000:targetgroup/tg/0123456789abcdef",
			TargetType: model.TargetTypeIP, VpcID: "vpc-1", Attributes: map[string]string{"deregistration_delay.timeout_seconds": "60"},
		}
		tx := store.NewTxn()
		tables.VPCs.Put(tx, account, region, "vpc-1", &model.VPC{ID: "vpc-1", CIDR: netip.MustParsePrefix("10.0.0.0/24"), DefaultGroupID: "sg-1"})
		tables.SecurityGroups.Put(tx, account, region, "sg-1", &model.SecurityGroup{ID: "sg-1", VPCID: "vpc-1"})
		tables.Subnets.Put(tx, account, region, "subnet-1", &model.Subnet{ID: "subnet-1", VPCID: "vpc-1", Zone: "eu-west-1a", CIDR: netip.MustParsePrefix("10.0.0.0/28")})
		tables.TargetGroups.Put(tx, account, region, x.group.ID, x.group)
		p := model.NewTaskParams{
			Account: account, Region: region, TaskID: "t1", NewID: id.UUID, Now: time.Now(), LaunchType: model.LaunchTypeFargate,
			Cluster: &model.Cluster{ClusterName: "c", ClusterARN: model.ECSClusterARN(region, account, "c")},
			Definition: &model.TaskDefinition{
				NetworkMode: "awsvpc", ExecutionRoleARN: "arn:aws:iam::000000000000:role/exec",
				ContainerDefinitions: []model.ContainerDefinition{{Name: "web", Image: "web"}},
			},
			Network: &model.AwsvpcConfiguration{Subnets: []string{"subnet-1"}}, SubnetID: "subnet-1", AvailabilityZone: "eu-west-1a",
			Service: &model.Service{ServiceName: "web"}, Deployment: &model.Deployment{ID: "ecs-svc/1"},
		}
		if balanced {
			p.Deployment.LoadBalancers = []model.ServiceLoadBalancer{{TargetGroupARN: x.group.ARN, ContainerName: "web", ContainerPort: new(80)}}
		}
		tables.ECSTasks.Put(tx, account, region, key.ID, model.NewTask(p))
		x.commit(tx)
		f(t, x)
	})
}

func (x *fixture) commit(tx *store.Txn) {
	x.t.Helper()
	if _, err := tx.Commit(x.t.Context(), x.store); err != nil {
		x.t.Fatal(err)
	}
}

// reconcile reconciles the task and returns it, nil when it is gone.
func (x *fixture) reconcile() (*model.Task, time.Duration) {
	x.t.Helper()
	r, err := x.c.Reconcile(x.t.Context(), key)
	if err != nil {
		x.t.Fatal(err)
	}
	row, err := tables.ECSTasks.Get(x.t.Context(), x.store, account, region, key.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0
	}
	if err != nil {
		x.t.Fatal(err)
	}
	return row.V, r.RequeueAfter
}

func (x *fixture) update(f func(*model.Task)) {
	x.t.Helper()
	_, err := tables.ECSTasks.Update(x.t.Context(), x.store, account, region, key.ID, func(t *model.Task) error {
		f(t)
		return nil
	})
	if err != nil {
		x.t.Fatal(err)
	}
}

// observed makes the node report, and reconciles.
func (x *fixture) observed(status string) *model.Task {
	x.t.Helper()
	x.update(func(t *model.Task) { t.Observed.Status = status })
	t, _ := x.reconcile()
	return t
}

func (x *fixture) stopped(code string) (*model.Task, time.Duration) {
	x.t.Helper()
	x.update(func(t *model.Task) { t.Stop(code, "why", time.Now()) })
	return x.reconcile()
}

func (x *fixture) is(t *model.Task, status string) {
	x.t.Helper()
	if t.Status.LastStatus != status {
		x.t.Fatalf("task is %s, not %s", t.Status.LastStatus, status)
	}
}

func (x *fixture) target(t *model.Task) (store.Row[model.Target], bool) {
	x.t.Helper()
	row, err := tables.Targets.Get(x.t.Context(), x.store, account, region, model.TargetKey(x.group.ID, t.ENI().Detail("privateIPv4Address"), 80))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		x.t.Fatal(err)
	}
	return row, err == nil
}

func (x *fixture) interfaces() int {
	x.t.Helper()
	rows, err := tables.NetworkInterfaces.List(x.t.Context(), x.store, store.Query{Account: account, Region: region})
	if err != nil {
		x.t.Fatal(err)
	}
	return len(rows)
}

func TestLife(t *testing.T) {
	in(t, true, func(t *testing.T, x *fixture) {
		task, _ := x.reconcile()
		x.is(task, model.TaskPending)
		if task.Status.Node != "fargate" || task.Status.ExecutionCredentialsID == "" || task.Status.CredentialsID != "" {
			t.Fatalf("got %+v", task.Status)
		}
		if e := task.ENI(); e.Detail("privateDnsName") == "" || e.Detail("privateDnsName")[:3] != "ip-" {
			t.Fatalf("got %+v", e)
		}
		x.is(x.observed(model.TaskPending), model.TaskPending)
		task = x.observed(model.TaskRunning)
		x.is(task, model.TaskRunning)
		target, ok := x.target(task)
		if !ok || target.V.RegisteredBy != "arn:aws:ecs:eu-west-1:000000000000:service/c/web" || target.V.AvailabilityZone != "eu-west-1a" {
			t.Fatalf("got %+v", target.V)
		}
		task, wait := x.stopped(model.StopUserInitiated)
		x.is(task, model.TaskDeactivating)
		if want := 60*time.Second + drainSlack; wait > want || wait < want-time.Second {
			t.Fatalf("waits %v", wait)
		}
		target, _ = x.target(task)
		if target.V.DeregisteringAt == nil {
			t.Fatal("not deregistered")
		}
		tx := store.NewTxn()
		tables.Targets.Delete(tx, target)
		x.commit(tx)
		task, _ = x.reconcile()
		x.is(task, model.TaskStopping)
		if x.interfaces() != 1 {
			t.Fatal("the interface must stay while containers stop")
		}
		task = x.observed(model.TaskStopped)
		x.is(task, model.TaskStopped)
		if x.interfaces() != 0 || task.ENI().Status != "DELETED" || task.Status.StoppedAt.IsZero() {
			t.Fatalf("got %+v", task.Status)
		}
		if _, wait = x.reconcile(); wait != 0 {
			t.Fatalf("waits %v", wait)
		}
	})
}

// TestForget: a stopped task is forgotten once its hour is over, and within the
// next one when no server ran then.
func TestForget(t *testing.T) {
	for name, tt := range map[string]struct{ down, there, gone time.Duration }{
		"runs on":   {0, 59 * time.Minute, 62 * time.Minute},
		"was down":  {3 * time.Hour, 0, 4*time.Hour + 2*time.Minute},
		"came late": {61 * time.Minute, 0, 62 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, false, func(t *testing.T, x *fixture) {
				x.reconcile()
				x.observed(model.TaskRunning)
				x.is(x.observed(model.TaskStopped), model.TaskStopped)
				stopped := time.Now()
				time.Sleep(tt.down) // the bubble's clock, here and below
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() {
					rt := controller.Runtime{Store: x.store, Clock: clock.System{}}
					if err := rt.Run(ctx, NewForget(Config{Store: x.store, Clock: clock.System{}})); err != nil {
						t.Error(err)
					}
				})
				there := func() bool {
					synctest.Wait()
					_, err := tables.ECSTasks.Get(ctx, x.store, account, region, key.ID)
					return err == nil
				}
				if tt.there > 0 {
					time.Sleep(tt.there - time.Since(stopped))
					if !there() {
						t.Error("forgotten too early")
					}
				}
				time.Sleep(tt.gone - time.Since(stopped))
				if there() {
					t.Error("not forgotten")
				}
				cancel()
				wg.Wait()
			})
		})
	}
}

func TestDrainingHasAnEnd(t *testing.T) {
	in(t, true, func(t *testing.T, x *fixture) {
		x.reconcile()
		x.observed(model.TaskRunning)
		_, wait := x.stopped(model.StopServiceSchedulerInitiated)
		time.Sleep(wait) // the bubble's clock
		task, _ := x.reconcile()
		x.is(task, model.TaskStopping)
	})
}

func TestDeadTaskLeavesAtOnce(t *testing.T) {
	in(t, true, func(t *testing.T, x *fixture) {
		x.reconcile()
		x.observed(model.TaskRunning)
		task := x.observed(model.TaskStopped)
		x.is(task, model.TaskStopped)
		if task.Desired.StopCode != model.StopEssentialContainerExited || x.interfaces() != 0 {
			t.Fatalf("got %+v", task.Desired)
		}
		if target, ok := x.target(task); ok && target.V.DeregisteringAt == nil {
			t.Fatal("the target must be deregistered")
		}
	})
}

func TestAddressOfADrainingTargetIsTakenOver(t *testing.T) {
	in(t, true, func(t *testing.T, x *fixture) {
		task, _ := x.reconcile()
		tx := store.NewTxn()
		ip := task.ENI().Detail("privateIPv4Address")
		tables.Targets.Put(tx, account, region, model.TargetKey(x.group.ID, ip, 80), &model.Target{
			TargetGroupARN: x.group.ARN, ID: ip, Port: 80, RegisteredBy: "someone", DeregisteringAt: new(time.Now()),
		})
		x.commit(tx)
		task = x.observed(model.TaskRunning)
		x.is(task, model.TaskRunning)
		if target, _ := x.target(task); target.V.DeregisteringAt != nil || target.V.RegisteredBy == "someone" {
			t.Fatalf("got %+v", target.V)
		}
	})
}

func TestTargetGroupIsGone(t *testing.T) {
	in(t, true, func(t *testing.T, x *fixture) {
		x.reconcile()
		row, err := tables.TargetGroups.Get(t.Context(), x.store, account, region, x.group.ID)
		if err != nil {
			t.Fatal(err)
		}
		tx := store.NewTxn()
		tables.TargetGroups.Delete(tx, row)
		x.commit(tx)
		x.is(x.observed(model.TaskRunning), model.TaskRunning)
		task, _ := x.stopped(model.StopUserInitiated)
		x.is(task, model.TaskStopping)
	})
}

func TestStoppedBeforeItWasProvisioned(t *testing.T) {
	in(t, false, func(t *testing.T, x *fixture) {
		task, _ := x.stopped(model.StopUserInitiated)
		x.is(task, model.TaskStopped)
		if x.interfaces() != 0 || task.Status.Node != "" {
			t.Fatalf("got %+v", task.Status)
		}
	})
}

// A task that is stopped while its interface is made gets none: the two are
// written together or not at all.
func TestRaceWithStop(t *testing.T) {
	in(t, false, func(t *testing.T, x *fixture) {
		row, err := tables.ECSTasks.Get(t.Context(), x.store, account, region, key.ID)
		if err != nil {
			t.Fatal(err)
		}
		x.update(func(t *model.Task) { t.Stop(model.StopUserInitiated, "why", time.Now()) })
		w := &tasks{Config{Store: x.store, Clock: clock.System{}, FargateNode: "fargate"}}
		stale := row.Copy()
		if err := w.provision(context.Background(), row, stale, time.Now()); !errors.Is(err, store.ErrConflict) {
			t.Fatalf("got %v", err)
		}
		if x.interfaces() != 0 {
			t.Fatal("an interface is left over")
		}
	})
}

func TestNoAddress(t *testing.T) {
	in(t, false, func(t *testing.T, x *fixture) {
		x.update(func(t *model.Task) { t.Spec.SubnetID = "subnet-gone"; t.Spec.Network.AssignPublicIP = "ENABLED" })
		task, _ := x.reconcile()
		x.is(task, model.TaskStopped)
		const want = "Unexpected EC2 error while attempting to Create Network Interface with public IP assignment enabled in subnet 'subnet-gone': InvalidSubnetID.NotFound"
		if task.Desired.StopCode != model.StopTaskFailedToStart || task.Desired.StoppedReason != want {
			t.Fatalf("got %+v", task.Desired)
		}
	})
}
