package dispatch_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/dispatch"
	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/engine/fake"
	"roadstead.dev/internal/identity"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/node"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	region  = "us-east-1"
	taskID  = "0123456789abcdef0123456789abcdef"
	key     = "default/" + taskID
)

// minter makes credentials, or refuses.
type minter struct {
	minted atomic.Int64
	refuse atomic.Bool
}

func (m *minter) MintRoleSession(_ context.Context, role, session, service string, d time.Duration, _ map[string]string) (identity.Credentials, error) {
	if m.refuse.Load() || session != taskID {
		return identity.Credentials{}, &identity.CannotAssume{Role: role, Service: service, Exists: true}
	}
	m.minted.Add(1)
	return identity.Credentials{AccessKeyID: "ASIA", Secret: "s", SessionToken: "t", Expires: time.Now().Add(d)}, nil
}

// world is a control plane and a Fargate node with a fake engine.
type world struct {
	t      *testing.T
	store  store.Store
	minter *minter
	engine *fake.State
	d      *dispatch.Dispatcher
	stop   func()
}

func run(t *testing.T, f func(w *world)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, store: memory.New(), minter: &minter{}, engine: fake.NewState()}
		defer w.store.Close()
		w.records()
		w.d = dispatch.New(dispatch.Config{Store: w.store, Clock: clock.System{}, Credentials: w.minter, Log: slog.New(slog.DiscardHandler)})
		n, err := node.New(node.Config{
			Name: "fargate", Engine: fake.New(w.engine, nil), Transport: w.d.Node("fargate"), StateDir: dir,
			Clock: clock.System{}, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 2)
		go func() { done <- w.d.Run(ctx) }()
		go func() { done <- n.Run(ctx) }()
		w.stop = func() {
			cancel()
			for range 2 {
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		}
		defer func() { w.stop() }()
		synctest.Wait()
		f(w)
	})
}

// records writes what a task's message is made of, and the task itself, which
// is PROVISIONING.
func (w *world) records() {
	def := &model.TaskDefinition{
		TaskDefinitionARN: model.ECSTaskDefinitionARN(region, account, "web", 1), Family: "web", Revision: 1, NetworkMode: "awsvpc",
		CPU: "256", Memory: "512", TaskRoleARN: "arn:aws:iam::000000000000:role/task", ExecutionRoleARN: "arn:aws:iam::000000000000:role/exec",
		ContainerDefinitions: []model.ContainerDefinition{{Name: "web", Image: "example.com/web:1"}},
	}
	task := model.NewTask(model.NewTaskParams{
		Account: account, Region: region, Definition: def, TaskID: taskID, NewID: func() string { return "id" }, Now: time.Now(),
		Cluster:    &model.Cluster{ClusterName: "default", ClusterARN: model.ECSClusterARN(region, account, "default")},
		LaunchType: model.LaunchTypeFargate, SubnetID: "subnet-1",
	})
	tx := store.NewTxn()
	tables.ECSTaskDefinitions.Put(tx, account, region, model.TaskDefinitionID("web", 1), def)
	tables.ECSTasks.Put(tx, account, region, key, task)
	tables.VPCs.Put(tx, account, region, "vpc-1", &model.VPC{ID: "vpc-1", CIDR: netip.MustParsePrefix("172.31.0.0/16")})
	tables.Subnets.Put(tx, account, region, "subnet-1", &model.Subnet{ID: "subnet-1", VPCID: "vpc-1", CIDR: netip.MustParsePrefix("172.31.16.0/20")})
	tables.NetworkInterfaces.Put(tx, account, region, "eni-1", &model.NetworkInterface{
		ID: "eni-1", VPCID: "vpc-1", SubnetID: "subnet-1", MAC: "0a:00:00:00:00:01", PrivateIP: netip.MustParseAddr("172.31.16.9"),
	})
	if _, err := tx.Commit(context.Background(), w.store); err != nil {
		w.t.Fatal(err)
	}
}

// update is what a controller writes.
func (w *world) update(change func(*model.Task)) {
	w.t.Helper()
	_, err := tables.ECSTasks.Update(context.Background(), w.store, account, region, key, func(t *model.Task) error {
		change(t)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
}

// provision is what the task's controller does first.
func (w *world) provision() {
	w.update(func(t *model.Task) {
		t.Status.LastStatus, t.Status.Node = model.TaskPending, "fargate"
		t.Status.CredentialsID, t.Status.ExecutionCredentialsID = "c1", "c2"
		t.ENI().SetDetail("networkInterfaceId", "eni-1")
	})
}

func (w *world) task() *model.Task {
	w.t.Helper()
	row, err := tables.ECSTasks.Get(context.Background(), w.store, account, region, key)
	if err != nil {
		w.t.Fatal(err)
	}
	return row.V
}

func TestTaskRunsAndStops(t *testing.T) {
	run(t, func(w *world) {
		if o := w.task().Observed; o.Status != "" {
			t.Errorf("a task that is PROVISIONING was dispatched: %+v", o)
		}
		w.provision()
		o := w.task().Observed
		if o.Status != "RUNNING" || len(o.Containers) != 1 || o.Containers[0].LastStatus != "RUNNING" || o.Containers[0].ImageDigest == "" ||
			o.PullStartedAt.IsZero() || o.Containers[0].StartedAt.IsZero() {
			t.Fatalf("%+v", o)
		}
		spec, _ := w.engine.Spec(o.Containers[0].RuntimeID)
		if spec.Image != "example.com/web:1" || spec.Hostname != "ip-172-31-16-9" {
			t.Errorf("%+v", spec)
		}
		w.update(func(t *model.Task) {
			t.Stop(model.StopUserInitiated, "enough", time.Now())
			t.Status.LastStatus = model.TaskDeactivating
		})
		if o := w.task().Observed; o.Status != "RUNNING" {
			t.Errorf("stopped while it drains: %+v", o)
		}
		w.update(func(t *model.Task) { t.Status.LastStatus = model.TaskStopping })
		if o := w.task().Observed; o.Status != "STOPPED" || *o.Containers[0].ExitCode != 143 || o.ExecutionStoppedAt.IsZero() {
			t.Errorf("%+v", o)
		}
	})
}

func TestTaskEndsByItself(t *testing.T) {
	run(t, func(w *world) {
		w.provision()
		w.engine.Exit(w.task().Observed.Containers[0].RuntimeID, engine.Exit{Code: 2, At: time.Now()})
		synctest.Wait()
		if o := w.task().Observed; o.Status != "STOPPED" || *o.Containers[0].ExitCode != 2 || o.Reason != "Essential container in task exited" {
			t.Errorf("%+v", o)
		}
	})
}

func TestRoleCannotBeAssumed(t *testing.T) {
	run(t, func(w *world) {
		w.minter.refuse.Store(true)
		w.provision()
		want := "ECS was unable to assume the role 'arn:aws:iam::000000000000:role/task' that was provided for this task. Please verify that the role " +
			"being passed has the proper trust relationship and permissions and that your IAM user has permissions to pass this role."
		if o := w.task().Observed; o.Status != "STOPPED" || o.Reason != want {
			t.Errorf("%+v", o)
		}
	})
}

func TestCredentialsAreRefreshed(t *testing.T) {
	run(t, func(w *world) {
		w.provision()
		if n := w.minter.minted.Load(); n != 2 {
			t.Errorf("%d sets of credentials", n)
		}
		time.Sleep(4*time.Hour + 50*time.Minute)
		if n := w.minter.minted.Load(); n != 2 {
			t.Errorf("refreshed too early: %d", n)
		}
		time.Sleep(15 * time.Minute)
		if n := w.minter.minted.Load(); n != 4 {
			t.Errorf("%d sets of credentials", n)
		}
	})
}

func TestForgottenTaskIsStopped(t *testing.T) {
	run(t, func(w *world) {
		w.provision()
		row, err := tables.ECSTasks.Get(context.Background(), w.store, account, region, key)
		if err != nil {
			t.Fatal(err)
		}
		tx := store.NewTxn()
		tables.ECSTasks.Delete(tx, row)
		if _, err := tx.Commit(context.Background(), w.store); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(w.engine.Groups()) != 0 {
			t.Error("something is left")
		}
	})
}

func TestSubmitChecksTheNode(t *testing.T) {
	run(t, func(w *world) {
		w.provision()
		ctx := context.Background()
		for arn, node := range map[string]string{
			w.task().TaskARN: "another",
			"arn:aws:ecs:us-east-1:000000000000:task/default/ffff": "fargate",
			"arn:aws:ecs:us-east-1:000000000000:cluster/default":   "fargate",
			"nonsense": "fargate",
		} {
			err := w.d.Submit(ctx, node, acs.TaskStateChange{Task: arn, Status: "STOPPED"})
			if !errors.Is(err, acs.ErrUnknownTask) {
				t.Errorf("%s of node %s: %v", arn, node, err)
			}
		}
		if w.task().Observed.Status != "RUNNING" {
			t.Error("changed all the same")
		}
	})
}
