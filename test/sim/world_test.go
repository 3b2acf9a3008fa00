// Package sim runs the real ECS controllers and plans on a memory store and a
// fake clock, with doubles of the node and of the load balancers.
package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/controller/ecsinstance"
	"roadstead.dev/internal/controller/ecsservice"
	"roadstead.dev/internal/controller/ecstask"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/fleet"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "000000000000"
	region  = "us-east-1"
	cluster = "sim"
)

// tb is the part of a test that a world needs.
type tb interface {
	Helper()
	Context() context.Context
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	FailNow()
}

// world is a store with a cluster and a network in it, and the controllers at
// work on it. It lives in a synctest bubble.
type world struct {
	t tb
	// store is what the test reads and writes; below is what the server does,
	// which may fail.
	store    store.Store
	below    store.Store
	seed     uint64
	book     *fleet.Book
	node     *node
	balancer *balancer
	seq      int
	// lags counts the watches that began anew because they lagged behind.
	lags *lagCounter
	// stop ends the controllers and waits for them.
	stop func()
}

// in runs f with a world in a bubble, in which time.Sleep waits on the fake
// clock.
func in(t *testing.T, seed uint64, f func(*testing.T, *world)) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		defer func() { _ = s.Close() }()
		w := newWorld(t, seed, s, s)
		defer func() { w.stop() }() // the server that runs at the end
		f(t, w)
	})
}

// newWorld makes a world in which a server runs. The server works on below,
// which is s or stands before it.
func newWorld(t tb, seed uint64, s, below store.Store) *world {
	w := &world{
		t: t, store: s, below: below, seed: seed, lags: &lagCounter{},
		node: newNode(below, seed), balancer: &balancer{store: below, clock: clock.System{}, drain: 5 * time.Second},
	}
	w.network()
	w.start()
	return w
}

// start runs a server: the book, the controllers, and the doubles of what
// reports to them.
func (w *world) start() {
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	rt := controller.Runtime{Store: w.below, Clock: clock.System{}, Log: slog.New(logHandler{w.t, w.lags})}
	w.book = fleet.New(w.below, rand.New(rand.NewPCG(w.seed, 2)).IntN)
	book := w.book
	wg.Go(func() {
		err := rt.Run(ctx,
			ecstask.New(ecstask.Config{Store: w.below, Clock: clock.System{}, FargateNode: nodeName}),
			ecstask.NewForget(ecstask.Config{Store: w.below, Clock: clock.System{}}),
			ecsinstance.New(ecsinstance.Config{Store: w.below, Clock: clock.System{}}),
			ecsservice.New(ecsservice.Config{Store: w.below, Clock: clock.System{}, Placer: book}),
			w.node.controller(), w.balancer.controller())
		if err != nil {
			w.t.Error(err)
		}
	})
	wg.Go(func() {
		if err := book.Run(ctx); err != nil && ctx.Err() == nil {
			w.t.Error(err)
		}
	})
	w.stop = func() {
		cancel()
		wg.Wait()
	}
}

// restart ends the server and, after a while, begins another.
func (w *world) restart(after time.Duration) {
	w.stop()
	time.Sleep(after)
	w.start()
}

// lagCounter counts.
type lagCounter struct{ n atomic.Int64 }

// logHandler fails the test with the errors that are logged, but for those that
// a store makes up, and counts watches that lag behind.
type logHandler struct {
	t    tb
	lags *lagCounter
}

func (h logHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (h logHandler) WithAttrs([]slog.Attr) slog.Handler           { return h }
func (h logHandler) WithGroup(string) slog.Handler                { return h }

func (h logHandler) Handle(_ context.Context, r slog.Record) error {
	madeUp, line := false, r.Message
	r.Attrs(func(a slog.Attr) bool {
		err, ok := a.Value.Any().(error)
		if ok && errors.Is(err, store.ErrCompacted) {
			h.lags.n.Add(1)
		}
		madeUp = madeUp || ok && errors.Is(err, errMadeUp)
		line += " " + a.String()
		return true
	})
	if r.Level >= slog.LevelError && !madeUp {
		h.t.Errorf("logged: %s", line)
	}
	return nil
}

func (w *world) commit(tx *store.Txn) {
	w.t.Helper()
	if _, err := tx.Commit(w.t.Context(), w.store); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) network() {
	tx := store.NewTxn()
	now := time.Now()
	tables.VPCs.Put(tx, account, region, "vpc-1", &model.VPC{ID: "vpc-1", Owner: account, CIDR: netip.MustParsePrefix("172.31.0.0/16"), DefaultGroupID: "sg-1", CreatedAt: now})
	tables.SecurityGroups.Put(tx, account, region, "sg-1", &model.SecurityGroup{ID: "sg-1", Owner: account, VPCID: "vpc-1", Name: "default"})
	for i, zone := range []string{"a", "b", "c"} {
		sid := "subnet-" + zone
		tables.Subnets.Put(tx, account, region, sid, &model.Subnet{
			ID: sid, Owner: account, VPCID: "vpc-1", Zone: region + zone,
			CIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 31, byte(16 * i), 0}), 20),
		})
	}
	// A subnet with room for three interfaces.
	tables.Subnets.Put(tx, account, region, "subnet-tiny", &model.Subnet{
		ID: "subnet-tiny", Owner: account, VPCID: "vpc-1", Zone: region + "a", CIDR: netip.MustParsePrefix("172.31.240.0/29"),
	})
	tables.ECSClusters.Put(tx, account, region, cluster, &model.Cluster{
		ClusterName: cluster, ClusterARN: model.ECSClusterARN(region, account, cluster), Status: model.ECSActive,
	})
	for _, image := range []string{"web", "crash", "missing"} {
		for rev := range 3 {
			d := &model.TaskDefinition{
				TaskDefinitionARN: model.ECSTaskDefinitionARN(region, account, image, rev+1),
				Family:            image, Revision: rev + 1, Status: model.ECSActive, NetworkMode: "awsvpc", CPU: "256", Memory: "512",
				TaskRoleARN:          "arn:aws:iam::" + account + ":role/task",
				ContainerDefinitions: []model.ContainerDefinition{{Name: "main", Image: fmt.Sprintf("%s:%d", image, rev+1), Essential: new(true), PortMappings: []model.PortMapping{{ContainerPort: new(80)}}}},
			}
			tables.ECSTaskDefinitions.Put(tx, account, region, model.TaskDefinitionID(image, rev+1), d)
		}
	}
	w.commit(tx)
}

// targetGroup makes a target group and returns its ARN.
func (w *world) targetGroup(name string) string {
	tg := &model.TargetGroup{ID: id.Hex(16), Name: name, Protocol: "HTTP", Port: 80, VpcID: "vpc-1", TargetType: model.TargetTypeIP}
	tg.ARN = model.MakeARN("elasticloadbalancing", region, account, "targetgroup/"+name+"/"+tg.ID)
	tx := store.NewTxn()
	tables.TargetGroups.Create(tx, account, region, tg.ID, tg)
	w.commit(tx)
	return tg.ARN
}

// deploymentOf is a new deployment of what s asks for.
func (w *world) deploymentOf(s *model.ServiceSpec) model.Deployment {
	w.seq++
	now := time.Now()
	return model.Deployment{
		ID: fmt.Sprintf("ecs-svc/%019d", w.seq), Status: model.DeploymentPrimary, TaskDefinition: s.TaskDefinition,
		LaunchType: s.LaunchType, CapacityProviderStrategy: s.CapacityProviderStrategy, NetworkConfiguration: s.NetworkConfiguration,
		LoadBalancers: s.LoadBalancers, CreatedAt: now, UpdatedAt: now, DesiredCount: s.DesiredCount, RolloutState: model.RolloutInProgress,
	}
}

// create makes a service of desired tasks as CreateService would; change may
// alter what is asked for.
func (w *world) create(name string, desired int, change func(*model.ServiceSpec)) {
	w.t.Helper()
	spec := model.ServiceSpec{
		TaskDefinition: taskDef("web", 1), DesiredCount: desired, LaunchType: model.LaunchTypeFargate, SchedulingStrategy: "REPLICA",
		NetworkConfiguration: &model.ECSNetworkConfiguration{AwsvpcConfiguration: &model.AwsvpcConfiguration{
			Subnets: []string{"subnet-a", "subnet-b", "subnet-c"}, SecurityGroups: []string{"sg-1"},
		}},
		DeploymentConfiguration: model.ServiceDeploymentConfiguration{MaximumPercent: new(200), MinimumHealthyPercent: new(100)},
	}
	if change != nil {
		change(&spec)
	}
	svc := &model.Service{
		ServiceName: name, ServiceARN: model.ECSServiceARN(region, account, cluster, name), ClusterName: cluster,
		ClusterARN: model.ECSClusterARN(region, account, cluster), Status: model.ECSActive, Spec: spec, CreatedAt: time.Now(),
		Deployments: []model.Deployment{w.deploymentOf(&spec)},
	}
	tx := store.NewTxn()
	tables.ECSServices.Put(tx, account, region, cluster+"/"+name, svc)
	w.commit(tx)
}

func taskDef(family string, rev int) string {
	return model.ECSTaskDefinitionARN(region, account, family, rev)
}

// update changes a service as UpdateService would: a changed task definition
// makes a new deployment.
func (w *world) update(name string, change func(*model.ServiceSpec)) {
	w.t.Helper()
	_, err := tables.ECSServices.Update(w.t.Context(), w.store, account, region, cluster+"/"+name, func(s *model.Service) error {
		before := s.Spec.TaskDefinition
		change(&s.Spec)
		if s.Spec.TaskDefinition != before {
			for i := range s.Deployments {
				s.Deployments[i].Status = model.DeploymentActive
			}
			s.Deployments = append([]model.Deployment{w.deploymentOf(&s.Spec)}, s.Deployments...)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// remove deletes a service as DeleteService would.
func (w *world) remove(name string) {
	w.t.Helper()
	_, err := tables.ECSServices.Update(w.t.Context(), w.store, account, region, cluster+"/"+name, func(s *model.Service) error {
		s.Status, s.Spec.DesiredCount, s.DeletedAt = model.ECSDraining, 0, time.Now()
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) service(name string) *model.Service {
	w.t.Helper()
	row, err := tables.ECSServices.Get(w.t.Context(), w.store, account, region, cluster+"/"+name)
	if err != nil {
		w.t.Fatal(err)
	}
	return row.V
}

// tasks are the service's, by id.
func (w *world) tasks(name string) []*model.Task {
	w.t.Helper()
	rows, err := tables.ECSTasks.List(w.t.Context(), w.store, store.Query{Account: account, Region: region, Prefix: cluster + "/"})
	if err != nil {
		w.t.Fatal(err)
	}
	var out []*model.Task
	for _, r := range rows {
		if r.V.TaskServiceID() == cluster+"/"+name {
			out = append(out, r.V)
		}
	}
	return out
}

func (w *world) running(name string) []*model.Task {
	var out []*model.Task
	for _, t := range w.tasks(name) {
		if t.Status.LastStatus == model.TaskRunning {
			out = append(out, t)
		}
	}
	return out
}

// events are the service's messages, oldest first.
func (w *world) events(name string) []string {
	w.t.Helper()
	row, err := tables.ECSServiceEvents.Get(w.t.Context(), w.store, account, region, cluster+"/"+name)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, e := range row.V.Events {
		out = append([]string{e.Message}, out...)
	}
	return out
}

// pass lets d go by and everything that is due happen.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// until lets time go by until f holds, at most for d.
func (w *world) until(d time.Duration, what string, f func() bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	for time.Since(began) < d {
		synctest.Wait()
		if f() {
			return time.Since(began)
		}
		time.Sleep(100 * time.Millisecond)
	}
	w.t.Fatalf("not within %v: %s", d, what)
	return 0
}

// stable is what the waiter services-stable asks for, and steadiness.
func (w *world) stable(name string) func() bool {
	return func() bool {
		s := w.service(name)
		return len(s.Deployments) == 1 && s.Counts.RunningCount == s.Spec.DesiredCount && !s.Counts.SteadySince.IsZero()
	}
}
