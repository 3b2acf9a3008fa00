package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/controller/autoscalinggroup"
	"roadstead.dev/internal/controller/capacityprovider"
	"roadstead.dev/internal/controller/ec2instance"
	"roadstead.dev/internal/controller/ecsinstance"
	"roadstead.dev/internal/instance/fake"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/machineimage"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// providers adds to a world what stands below capacity providers: Auto Scaling,
// pretended EC2 instances with a double of their agents, and the providers'
// controllers. It returns what ends them.
func (w *world) providers() (stop func()) {
	w.boxes()
	tx := store.NewTxn()
	data, err := instances.Encode(model.LaunchData{ImageID: machineimage.All(region)[0].ID, InstanceType: "t3.small"})
	if err != nil {
		w.t.Fatal(err)
	}
	tables.LaunchTemplates.Put(tx, account, region, "lt-1", &model.LaunchTemplate{ID: "lt-1", Name: "box", DefaultVersion: 1, LatestVersion: 1, LastVersion: 1})
	tables.LaunchTemplateVersions.Put(tx, account, region, model.LaunchTemplateVersionID("lt-1", 1), &model.LaunchTemplateVersion{TemplateID: "lt-1", Version: 1, Data: data})
	w.commit(tx)

	ctx, cancel := context.WithCancel(w.t.Context())
	ec2 := ec2instance.New(ec2instance.Config{Store: w.below, Clock: clock.System{}, Runtime: fake.New(nil)})
	groups := autoscalinggroup.Config{Store: w.below, Clock: clock.System{}}
	cfg := capacityprovider.Config{Store: w.below, Clock: clock.System{}, Placer: w.book}
	rt := controller.Runtime{Store: w.below, Clock: clock.System{}, Log: slog.New(logHandler{w.t, w.lags})}
	var wg sync.WaitGroup
	wg.Go(func() { ec2.Run(ctx) })
	wg.Go(func() {
		err := rt.Run(ctx, ec2.Controller(), autoscalinggroup.New(groups), autoscalinggroup.NewHistory(groups),
			ecsinstance.New(ecsinstance.Config{Store: w.below, Clock: clock.System{}}),
			capacityprovider.New(cfg), capacityprovider.NewAttachments(cfg), capacityprovider.NewWaiting(cfg), w.agents())
		if err != nil {
			w.t.Error(err)
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// agents is a double of the agents in EC2 instances: half a minute after an
// instance began to run, its agent registers it. It has room for six boxes.
func (w *world) agents() *controller.Controller {
	return &controller.Controller{
		Name: "agents", Watches: []controller.Watch{controller.Own(tables.Instances)},
		Reconcile: func(ctx context.Context, key controller.Key) (controller.Result, error) {
			row, err := tables.Instances.Get(ctx, w.below, key.Account, key.Region, key.ID)
			if errors.Is(err, store.ErrNotFound) || err == nil && row.V.State() != model.InstanceRunning {
				return controller.Result{}, nil
			}
			if err != nil {
				return controller.Result{}, err
			}
			i := row.V
			if left := time.Until(i.Status.RunningSince.Add(30 * time.Second)); left > 0 {
				return controller.Result{RequeueAfter: left}, nil
			}
			id := "agent" + strings.TrimPrefix(i.ID, "i-")
			if _, err := tables.ECSContainerInstances.Get(ctx, w.below, account, region, cluster+"/"+id); !errors.Is(err, store.ErrNotFound) {
				return controller.Result{}, err
			}
			tx := store.NewTxn()
			tables.ECSContainerInstances.Create(tx, account, region, cluster+"/"+id, &model.ContainerInstance{
				ID: id, ARN: model.ECSContainerInstanceARN(region, account, cluster, id), ClusterName: cluster, EC2InstanceID: i.ID, Status: model.ContainerInstanceActive,
				CPU: 2048, Memory: 1900, Connection: model.AgentConnection{Connected: true}, RegisteredAt: time.Now(),
				Attributes: map[string]string{model.AttributeZone: i.Spec.Zone},
			})
			_, err = tx.Commit(ctx, w.below)
			return controller.Result{}, err
		},
	}
}

// provide makes a group with a capacity provider of the same name, and gives it
// to the cluster.
func (w *world) provide(name string, change func(*model.AutoScalingGroup, *model.CapacityProvider)) {
	w.t.Helper()
	g := &model.AutoScalingGroup{
		Name: name, ARN: "arn:aws:autoscaling:us-east-1:000000000000:autoScalingGroup:u:autoScalingGroupName/" + name, CreatedAt: time.Now(),
		Spec: model.ASGSpec{
			Max: 20, LaunchTemplate: &model.ASGLaunchTemplate{ID: "lt-1", Name: "box", Version: "$Default"}, SubnetIDs: []string{"subnet-a", "subnet-b", "subnet-c"},
			HealthCheckType: "EC2", TerminationPolicies: []string{"Default"}, NewInstancesProtected: true,
		},
	}
	p := &model.CapacityProvider{
		Name: name, ARN: model.MakeARN("ecs", region, account, "capacity-provider/"+name), Status: model.ECSActive, GroupName: name, GroupARN: g.ARN,
		Scaling:               model.ManagedScaling{Enabled: true, TargetCapacity: 100, MinimumStep: 1, MaximumStep: 10000, WarmupSeconds: 300},
		TerminationProtection: true, Draining: true,
	}
	if change != nil {
		change(g, p)
	}
	tx := store.NewTxn()
	tables.AutoScalingGroups.Create(tx, account, region, name, g)
	tables.ECSCapacityProviders.Create(tx, account, region, name, p)
	tables.ECSCapacityProviderGroups.Create(tx, account, region, name, &p.Name)
	w.commit(tx)
	if _, err := tables.ECSClusters.Update(w.t.Context(), w.store, account, region, cluster, func(c *model.Cluster) error {
		c.CapacityProviders, c.AttachmentsStatus = append(c.CapacityProviders, name), model.AttachmentsUpdating
		return nil
	}); err != nil {
		w.t.Fatal(err)
	}
}

// with makes a service of boxes on a provider.
func (w *world) with(name, provider string, desired int, change func(*model.ServiceSpec)) {
	w.on(name, "box", desired, func(s *model.ServiceSpec) {
		s.LaunchType = ""
		s.CapacityProviderStrategy = []model.CapacityProviderStrategyItem{{CapacityProvider: provider, Weight: 1}}
		if change != nil {
			change(s)
		}
	})
}

func (w *world) group(name string) *model.AutoScalingGroup {
	w.t.Helper()
	row, err := tables.AutoScalingGroups.Get(w.t.Context(), w.store, account, region, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return row.V
}

// members are a group's instances by lifecycle state.
func (w *world) members(group string) map[string][]*model.ASGInstance {
	w.t.Helper()
	rows, err := tables.ASGInstances.List(w.t.Context(), w.store, store.Query{Account: account, Region: region, Prefix: group + "/"})
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string][]*model.ASGInstance{}
	for _, r := range rows {
		out[r.V.LifecycleState] = append(out[r.V.LifecycleState], r.V)
	}
	return out
}

// A service of forty tasks on an empty cluster with an empty group grows the
// group and gets placed; scaled in, it empties the group and shrinks it to
// nothing. Nobody touches anything else.
func TestServiceGrowsAndShrinksItsGroup(t *testing.T) {
	in(t, 1, func(t *testing.T, w *world) {
		defer w.providers()()
		w.provide("cp", nil)
		w.with("web", "cp", 40, nil)
		w.pass(30 * time.Second)
		waiting := 0
		for _, x := range w.tasks("web") {
			if x.Status.LastStatus == model.TaskProvisioning && x.Spec.CapacityProviderName == "cp" {
				waiting++
			}
		}
		if waiting != 40 {
			t.Fatalf("%d tasks wait", waiting)
		}
		took := w.until(12*time.Minute, "all tasks", func() bool { return len(w.running("web")) == 40 })
		t.Logf("forty tasks ran after %v", took+30*time.Second)
		w.until(2*time.Minute, "steady", w.stable("web"))
		if n := len(w.members("cp")[model.ASGInService]); n != 7 {
			t.Fatalf("%d instances for forty tasks, of which six fit on one", n)
		}
		for _, m := range w.members("cp")[model.ASGInService] {
			if !m.Protected {
				t.Errorf("%s has tasks, and may be ended", m.InstanceID)
			}
		}
		for node, n := range w.nodes("web") {
			if row, err := tables.ECSContainerInstances.Get(t.Context(), w.store, account, region, cluster+"/"+node); err != nil || row.V.CapacityProviderName != "cp" || n > 6 {
				t.Errorf("%d tasks on %s: %v", n, node, err)
			}
		}
		// No task was made twice, and it stays so.
		if n := len(w.tasks("web")); n != 40 {
			t.Errorf("%d tasks for forty", n)
		}
		w.pass(40 * time.Minute)
		if n := len(w.members("cp")[model.ASGInService]); n != 7 || len(w.running("web")) != 40 {
			t.Fatalf("%d instances and %d tasks after a while", n, len(w.running("web")))
		}

		w.update("web", func(s *model.ServiceSpec) { s.DesiredCount = 0 })
		w.until(time.Minute, "no task", func() bool { return len(w.running("web")) == 0 })
		w.pass(10 * time.Minute)
		if w.group("cp").Desired != 7 {
			t.Fatalf("it shrinks at once: %d", w.group("cp").Desired)
		}
		took = w.until(15*time.Minute, "no instance", func() bool { return len(w.members("cp")) == 0 })
		t.Logf("seven instances were gone after %v", took+10*time.Minute)
		w.pass(30 * time.Minute)
		if g := w.group("cp"); g.Desired != 0 || len(w.members("cp")) != 0 {
			t.Errorf("%d desired, %d there", g.Desired, len(w.members("cp")))
		}
		rows, err := tables.ECSContainerInstances.List(t.Context(), w.store, store.Query{Account: account, Region: region})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if r.V.Status != model.ContainerInstanceInactive {
				t.Errorf("container instance %s is %s", r.V.ID, r.V.Status)
			}
		}
		enis, err := tables.NetworkInterfaces.List(t.Context(), w.store, store.Query{Account: account, Region: region})
		if err != nil || len(enis) != 0 {
			t.Errorf("%d interfaces are left: %v", len(enis), err)
		}
	})
}

// Managed draining moves the tasks of an instance that the group ends, and no
// sooner does it end. The service keeps its tasks.
func TestManagedDraining(t *testing.T) {
	in(t, 2, func(t *testing.T, w *world) {
		defer w.providers()()
		w.provide("cp", func(g *model.AutoScalingGroup, p *model.CapacityProvider) {
			g.Spec.Min, g.Desired, g.Spec.NewInstancesProtected = 3, 3, false
			g.DesiredReason = "At X a user request created an AutoScalingGroup changing the desired capacity from 0 to 3."
			p.TerminationProtection, p.Scaling.Enabled = false, false
		})
		w.with("web", "cp", 6, nil)
		w.until(5*time.Minute, "steady", w.stable("web"))
		if _, err := tables.AutoScalingGroups.Update(t.Context(), w.store, account, region, "cp", func(g *model.AutoScalingGroup) error {
			g.Spec.Min, g.Desired = 1, 1
			g.DesiredReason = fmt.Sprintf("At %s a user request explicitly set group desired capacity changing the desired capacity from 3 to 1.", time.Now().Format(time.RFC3339))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		least, waited := 6, 0
		w.until(20*time.Minute, "one instance", func() bool {
			least = min(least, len(w.running("web")))
			waited = max(waited, len(w.members("cp")[model.ASGTerminatingWait]))
			m := w.members("cp")
			return len(m) == 1 && len(m[model.ASGInService]) == 1
		})
		if least < 6 || waited != 2 {
			t.Errorf("%d tasks ran at the least, %d instances waited", least, waited)
		}
		if n := w.nodes("web"); len(n) != 1 || len(w.running("web")) != 6 {
			t.Errorf("tasks by instance: %v", n)
		}
	})
}

// Tasks that wait are placed on what comes; those that nothing comes for end.
func TestWaitingEnds(t *testing.T) {
	in(t, 3, func(t *testing.T, w *world) {
		defer w.providers()()
		w.provide("cp", func(g *model.AutoScalingGroup, _ *model.CapacityProvider) { g.Spec.Max = 0 })
		w.with("web", "cp", 2, nil)
		w.pass(14 * time.Minute)
		if n := len(w.tasks("web")); n != 2 {
			t.Fatalf("%d tasks", n)
		}
		w.pass(2 * time.Minute)
		ended := 0
		for _, x := range w.tasks("web") {
			if x.Desired.StopCode == model.StopTaskFailedToStart && x.Desired.StoppedReason == "EMPTY CAPACITY PROVIDER" && x.Status.LastStatus == model.TaskStopped {
				ended++
			}
		}
		if ended != 2 {
			t.Errorf("%d tasks have ended", ended)
		}
		if _, err := tables.AutoScalingGroups.Update(t.Context(), w.store, account, region, "cp", func(g *model.AutoScalingGroup) error {
			g.Spec.Max = 5
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		w.until(10*time.Minute, "tasks of the service", func() bool { return len(w.running("web")) == 2 })
	})
}

// An interrupted task of FARGATE_SPOT is replaced at once, without being held
// against its service, and does not wait for its connections.
func TestSpotInterruption(t *testing.T) {
	in(t, 4, func(t *testing.T, w *world) {
		group := w.targetGroup("web")
		w.create("web", 3, func(s *model.ServiceSpec) {
			s.LaunchType = ""
			s.CapacityProviderStrategy = []model.CapacityProviderStrategyItem{{CapacityProvider: model.CapacityProviderFargateSpot, Weight: 1}}
			s.LoadBalancers = []model.ServiceLoadBalancer{{TargetGroupARN: group, ContainerName: "main", ContainerPort: new(80)}}
			s.DeploymentConfiguration.DeploymentCircuitBreaker = &model.DeploymentCircuitBreaker{Enable: true}
		})
		w.until(3*time.Minute, "steady", w.stable("web"))
		victim := w.running("web")[0].TaskID
		if _, err := tables.ECSTasks.Update(t.Context(), w.store, account, region, cluster+"/"+victim, func(x *model.Task) error {
			x.Stop(model.StopSpotInterruption, "Your Spot Task was interrupted.", time.Now())
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		took := w.until(20*time.Second, "the end of the task", func() bool {
			for _, x := range w.tasks("web") {
				if x.TaskID == victim {
					return x.Status.LastStatus == model.TaskStopped
				}
			}
			return false
		})
		if took > w.balancer.drain {
			t.Errorf("it took %v to end; its targets drain for %v", took, w.balancer.drain)
		}
		w.until(3*time.Minute, "steady", w.stable("web"))
		if s := w.service("web"); len(w.running("web")) != 3 || s.Deployments[0].FailedTasks != 0 || len(w.tasks("web")) != 4 {
			t.Errorf("%d tasks run, %d were made, %d failed", len(w.running("web")), len(w.tasks("web")), s.Deployments[0].FailedTasks)
		}
	})
}

// TestProviderHistories: whatever services ask for, tasks are on instances of
// their provider alone, groups stay within their limits, and scale-in ends no
// instance with a task. In the end all tasks run; and without any, no instance.
func TestProviderHistories(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			in(t, seed, func(t *testing.T, w *world) { providerHistory(t, w, rand.New(rand.NewPCG(seed, 5))) })
		})
	}
}

func providerHistory(t *testing.T, w *world, r *rand.Rand) {
	defer w.providers()()
	names := []string{"one", "two"}
	for _, name := range names {
		w.provide(name, func(g *model.AutoScalingGroup, p *model.CapacityProvider) {
			g.Spec.Max = 30
			p.Scaling.TargetCapacity, p.Scaling.WarmupSeconds = 50+r.IntN(51), r.IntN(400)
			p.Scaling.MinimumStep, p.Scaling.MaximumStep = 1+r.IntN(3), 3+r.IntN(20)
		})
	}
	packed := func(s *model.ServiceSpec) {
		s.PlacementStrategy = []model.ECSPlacementStrategy{{Type: "binpack", Field: "memory"}}
	}
	both := func(s *model.ServiceSpec) {
		s.CapacityProviderStrategy = []model.CapacityProviderStrategyItem{{CapacityProvider: "one", Weight: 1, Base: 2}, {CapacityProvider: "two", Weight: 3}}
	}
	w.with("a", "one", 3, packed)
	w.with("b", "two", 3, nil)
	w.with("c", "", 3, both)
	services := []string{"a", "b", "c"}
	check := func() {
		t.Helper()
		on := map[string]string{}
		rows, err := tables.ECSContainerInstances.List(t.Context(), w.store, store.Query{Account: account, Region: region})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range rows {
			on[i.V.ID] = i.V.CapacityProviderName
		}
		for _, s := range services {
			for _, x := range w.tasks(s) {
				if x.Status.Node != "" && x.Status.LastStatus != model.TaskStopped && on[x.Status.Node] != x.Spec.CapacityProviderName {
					t.Fatalf("task of %s on an instance of %q", x.Spec.CapacityProviderName, on[x.Status.Node])
				}
				if code := x.Desired.StopCode; code != "" && code != model.StopServiceSchedulerInitiated && x.Desired.StoppedReason != "Essential container in task exited" {
					t.Fatalf("task ended: %+v", x.Desired)
				}
			}
		}
		for _, name := range names {
			if g := w.group(name); g.Desired < g.Spec.Min || g.Desired > g.Spec.Max {
				t.Fatalf("%d desired of %d to %d", g.Desired, g.Spec.Min, g.Spec.Max)
			}
		}
	}
	for range 25 {
		name := services[r.IntN(3)]
		switch n := r.IntN(8); {
		case n < 4:
			w.update(name, func(s *model.ServiceSpec) { s.DesiredCount = r.IntN(40) })
		case n < 5:
			w.update(name, func(s *model.ServiceSpec) { s.TaskDefinition = taskDef("box", 1+r.IntN(9)) })
		case n < 6:
			if ts := w.running(name); len(ts) > 0 {
				if err := w.node.crash(t.Context(), cluster+"/"+ts[r.IntN(len(ts))].TaskID); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 1 + r.IntN(25) {
			w.pass(time.Minute)
			check()
		}
	}
	for _, name := range services {
		w.until(3*time.Hour, name+" settles", func() bool {
			s := w.service(name)
			return len(s.Deployments) == 1 && s.Counts.PendingCount == 0 && s.Counts.RunningCount == s.Spec.DesiredCount
		})
	}
	check()
	for _, name := range services {
		w.update(name, func(s *model.ServiceSpec) { s.DesiredCount = 0 })
	}
	w.until(3*time.Hour, "no instance", func() bool { return len(w.members("one"))+len(w.members("two")) == 0 })
	check()
}
