package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// shape is an event without ids.
func shape(events []string) []string {
	var out []string
	for _, e := range events {
		for _, mark := range []string{"(task ", "(deployment ", "(target-group ", "taskSet "} {
			rest, done := e, ""
			for {
				before, after, ok := strings.Cut(rest, mark)
				done += before
				if !ok {
					break
				}
				end := strings.IndexByte(after, ')')
				done += strings.TrimSpace(mark)
				rest = after[end:]
			}
			e = done
		}
		out = append(out, e)
	}
	return out
}

func TestServiceComesUp(t *testing.T) {
	in(t, 1, func(t *testing.T, w *world) {
		w.create("web", 3, func(s *model.ServiceSpec) { s.NetworkConfiguration.AwsvpcConfiguration.AssignPublicIP = "ENABLED" })
		w.until(time.Minute, "steady", w.stable("web"))
		zones := map[string]bool{}
		for _, x := range w.tasks("web") {
			zones[x.Spec.AvailabilityZone] = true
			e := x.ENI()
			row, err := tables.NetworkInterfaces.Get(t.Context(), w.store, account, region, e.Detail("networkInterfaceId"))
			if err != nil {
				t.Fatal(err)
			}
			v := row.V
			want := []model.ECSNameValue{
				{Name: "subnetId", Value: x.Spec.SubnetID},
				{Name: "networkInterfaceId", Value: v.ID},
				{Name: "macAddress", Value: v.MAC},
				{Name: "privateDnsName", Value: "ip-" + strings.ReplaceAll(v.PrivateIP.String(), ".", "-") + ".ec2.internal"},
				{Name: "privateIPv4Address", Value: v.PrivateIP.String()},
			}
			if d := cmp.Diff(want, e.Details); d != "" || e.Status != "ATTACHED" {
				t.Errorf("attachment %s: %s", e.Status, d)
			}
			if v.Association == nil || v.Description != "arn:aws:ecs:us-east-1:"+account+":attachment/"+e.ID || !v.RequesterManaged {
				t.Errorf("interface: %+v", v)
			}
			if x.Status.StartedAt.IsZero() || x.Status.Connectivity != "CONNECTED" || x.Status.CredentialsID == "" || x.Status.ExecutionCredentialsID != "" {
				t.Errorf("status: %+v", x.Status)
			}
		}
		if len(zones) != 3 {
			t.Errorf("zones: %v", zones)
		}
		if d := w.service("web").Deployments[0]; d.RolloutState != model.RolloutCompleted || d.RunningCount != 3 || d.RolloutStateReason != "ECS deployment "+d.ID+" completed." {
			t.Errorf("got %+v", d)
		}
		if d := cmp.Diff([]string{
			"(service web) has started 3 tasks: (task) (task) (task).",
			"(service web) (deployment) deployment completed.",
			"(service web) has reached a steady state.",
		}, shape(w.events("web"))); d != "" {
			t.Error(d)
		}
	})
}

func TestRollingUpdateBehindLoadBalancer(t *testing.T) {
	in(t, 2, func(t *testing.T, w *world) {
		arn := w.targetGroup("web")
		w.create("web", 2, func(s *model.ServiceSpec) {
			s.LoadBalancers = []model.ServiceLoadBalancer{{TargetGroupARN: arn, ContainerName: "main", ContainerPort: new(80)}}
		})
		w.until(time.Minute, "steady", w.stable("web"))
		targets := func() []store.Row[model.Target] {
			rows, err := tables.Targets.List(t.Context(), w.store, store.Query{Account: account, Region: region})
			if err != nil {
				t.Fatal(err)
			}
			return rows
		}
		if n := len(targets()); n != 2 {
			t.Fatalf("%d targets", n)
		}
		before := len(w.events("web"))
		w.update("web", func(s *model.ServiceSpec) { s.TaskDefinition = taskDef("web", 2) })
		w.until(time.Minute, "old tasks drain", func() bool {
			return slices.ContainsFunc(w.tasks("web"), func(t *model.Task) bool { return t.Status.LastStatus == model.TaskDeactivating })
		})
		if n := len(w.running("web")); n < 2 {
			t.Fatalf("%d run while the old drain", n)
		}
		w.until(time.Minute, "steady", w.stable("web"))
		for _, x := range w.running("web") {
			if x.Spec.Revision != 2 {
				t.Errorf("revision %d runs", x.Spec.Revision)
			}
		}
		w.until(time.Minute, "old targets go", func() bool { return len(targets()) == 2 })
		if d := cmp.Diff([]string{
			"(service web) has started 2 tasks: (task) (task).",
			"(service web) registered 1 targets in (target-group)",
			"(service web) registered 1 targets in (target-group)",
			"(service web) has stopped 1 running tasks: (task).",
			"(service web) deregistered 1 targets in (target-group)",
			"(service web, taskSet) has begun draining connections on 1 tasks.",
			"(service web) has stopped 1 running tasks: (task).",
			"(service web) deregistered 1 targets in (target-group)",
			"(service web, taskSet) has begun draining connections on 1 tasks.",
			"(service web) (deployment) deployment completed.",
			"(service web) has reached a steady state.",
		}, shape(w.events("web")[before:])); d != "" {
			t.Error(d)
		}
		for _, x := range w.tasks("web") {
			if x.Desired.Status == model.TaskStopped && (x.Desired.StopCode != model.StopServiceSchedulerInitiated ||
				!strings.HasPrefix(x.Desired.StoppedReason, "Scaling activity initiated by (deployment ecs-svc/")) {
				t.Errorf("stopped: %+v", x.Desired)
			}
		}
	})
}

func TestScale(t *testing.T) {
	in(t, 3, func(t *testing.T, w *world) {
		w.create("web", 1, nil)
		w.until(time.Minute, "steady", w.stable("web"))
		w.update("web", func(s *model.ServiceSpec) { s.DesiredCount = 120 })
		w.until(2*time.Minute, "scaled out", w.stable("web"))
		w.update("web", func(s *model.ServiceSpec) { s.DesiredCount = 3 })
		w.until(2*time.Minute, "scaled in", w.stable("web"))
		zones := map[string]int{}
		for _, x := range w.running("web") {
			zones[x.Spec.AvailabilityZone]++
		}
		if len(zones) != 3 {
			t.Errorf("zones: %v", zones)
		}
		w.update("web", func(s *model.ServiceSpec) { s.DesiredCount = 0 })
		w.until(2*time.Minute, "scaled to nothing", w.stable("web"))
	})
}

func TestCrashLoopSlowsDown(t *testing.T) {
	in(t, 4, func(t *testing.T, w *world) {
		w.create("bad", 1, func(s *model.ServiceSpec) { s.TaskDefinition = taskDef("crash", 1) })
		w.pass(30 * time.Minute)
		n := len(w.tasks("bad"))
		if n < 5 || n > 10 {
			t.Errorf("%d tasks in half an hour", n)
		}
		x := w.tasks("bad")[0]
		if x.Status.LastStatus != model.TaskStopped || x.Desired.StopCode != model.StopEssentialContainerExited || x.Desired.StoppedReason != "Essential container in task exited" || x.Status.StartedAt.IsZero() {
			t.Errorf("got %+v %+v", x.Desired, x.Status)
		}
		if !slices.Contains(w.events("bad"), "(service bad) is unable to consistently start tasks successfully. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.") {
			t.Errorf("events: %v", w.events("bad"))
		}
		// A good revision starts at once.
		w.update("bad", func(s *model.ServiceSpec) { s.TaskDefinition = taskDef("web", 1) })
		w.until(2*time.Minute, "steady", w.stable("bad"))
		w.pass(2 * time.Hour)
		if n := len(w.tasks("bad")); n != 1 {
			t.Errorf("%d tasks are left", n)
		}
		enis, err := tables.NetworkInterfaces.List(t.Context(), w.store, store.Query{Account: account, Region: region})
		if err != nil || len(enis) != 1 {
			t.Errorf("%d interfaces are left, %v", len(enis), err)
		}
	})
}

func TestCircuitBreakerRollsBack(t *testing.T) {
	in(t, 5, func(t *testing.T, w *world) {
		w.create("web", 2, func(s *model.ServiceSpec) {
			s.DeploymentConfiguration.DeploymentCircuitBreaker = &model.DeploymentCircuitBreaker{Enable: true, Rollback: true}
		})
		w.until(time.Minute, "steady", w.stable("web"))
		good := w.service("web").Deployments[0].ID
		before := len(w.events("web"))
		w.update("web", func(s *model.ServiceSpec) { s.TaskDefinition = taskDef("missing", 1) })
		w.until(5*time.Minute, "rolled back", func() bool { return w.service("web").Spec.TaskDefinition == taskDef("web", 1) })
		w.until(5*time.Minute, "steady", w.stable("web"))
		if d := w.service("web").Deployments[0]; d.ID != good || d.RolloutState != model.RolloutCompleted {
			t.Errorf("got %+v", d)
		}
		events := w.events("web")[before:]
		for _, want := range []string{
			"deployment failed: tasks failed to start.",
			"rolling back to deployment " + good + ".",
			"was unable to place a task. Reason: CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref missing:1.",
		} {
			if !slices.ContainsFunc(events, func(e string) bool { return strings.HasSuffix(e, want) }) {
				t.Errorf("no event %q in %s", want, strings.Join(events, "\n"))
			}
		}
	})
}

func TestSubnetWithoutAddresses(t *testing.T) {
	in(t, 6, func(t *testing.T, w *world) {
		w.create("big", 4, func(s *model.ServiceSpec) {
			s.NetworkConfiguration.AwsvpcConfiguration.Subnets = []string{"subnet-tiny"}
		})
		w.pass(time.Minute)
		if n := len(w.running("big")); n != 3 {
			t.Errorf("%d run in a subnet with three addresses", n)
		}
		const reason = "Unexpected EC2 error while attempting to Create Network Interface in subnet 'subnet-tiny': InsufficientFreeAddressesInSubnet"
		for _, x := range w.tasks("big") {
			if x.Status.LastStatus == model.TaskStopped && (x.Desired.StopCode != model.StopTaskFailedToStart || x.Desired.StoppedReason != reason) {
				t.Errorf("got %+v", x.Desired)
			}
		}
		if !slices.Contains(w.events("big"), "(service big) was unable to place a task. Reason: "+reason+".") {
			t.Errorf("events: %v", w.events("big"))
		}
	})
}

func TestSickTargetIsReplaced(t *testing.T) {
	in(t, 7, func(t *testing.T, w *world) {
		arn := w.targetGroup("web")
		w.create("web", 2, func(s *model.ServiceSpec) {
			s.LoadBalancers = []model.ServiceLoadBalancer{{TargetGroupARN: arn, ContainerName: "main", ContainerPort: new(80)}}
			s.HealthCheckGracePeriodSeconds = new(30)
		})
		w.until(time.Minute, "steady", w.stable("web"))
		w.pass(time.Minute)
		victim := w.running("web")[0]
		if err := w.balancer.sicken(t.Context(), victim); err != nil {
			t.Fatal(err)
		}
		w.until(2*time.Minute, "stopped", func() bool {
			row, err := tables.ECSTasks.Get(t.Context(), w.store, account, region, cluster+"/"+victim.TaskID)
			return err == nil && row.V.Status.LastStatus == model.TaskStopped &&
				row.V.Desired.StoppedReason == "Task failed ELB health checks in (target-group "+arn+")"
		})
		w.until(time.Minute, "steady", w.stable("web"))
	})
}

func TestDeleteService(t *testing.T) {
	in(t, 8, func(t *testing.T, w *world) {
		arn := w.targetGroup("web")
		w.create("web", 3, func(s *model.ServiceSpec) {
			s.LoadBalancers = []model.ServiceLoadBalancer{{TargetGroupARN: arn, ContainerName: "main", ContainerPort: new(80)}}
		})
		w.until(time.Minute, "steady", w.stable("web"))
		w.remove("web")
		w.until(time.Minute, "inactive", func() bool { return w.service("web").Status == model.ECSInactive })
		if s := w.service("web"); len(s.Deployments) != 0 || s.Counts.RunningCount != 0 {
			t.Errorf("got %+v", s)
		}
		enis, err := tables.NetworkInterfaces.List(t.Context(), w.store, store.Query{Account: account, Region: region})
		if err != nil || len(enis) != 0 {
			t.Errorf("%d interfaces are left, %v", len(enis), err)
		}
		// Again under the same name.
		w.create("web", 1, nil)
		w.until(time.Minute, "steady again", w.stable("web"))
		w.pass(2 * time.Hour)
		if n := len(w.tasks("web")); n != 1 {
			t.Errorf("%d tasks on record", n)
		}
	})
}

func TestFargateSpotStrategy(t *testing.T) {
	in(t, 9, func(t *testing.T, w *world) {
		w.create("web", 6, func(s *model.ServiceSpec) {
			s.LaunchType = ""
			s.CapacityProviderStrategy = []model.CapacityProviderStrategyItem{
				{CapacityProvider: model.CapacityProviderFargate, Base: 1, Weight: 1},
				{CapacityProvider: model.CapacityProviderFargateSpot, Weight: 4},
			}
		})
		w.until(time.Minute, "steady", w.stable("web"))
		got := map[string]int{}
		for _, x := range w.running("web") {
			got[x.Spec.CapacityProviderName+" "+x.Spec.LaunchType]++
		}
		if d := cmp.Diff(map[string]int{"FARGATE FARGATE": 2, "FARGATE_SPOT FARGATE": 4}, got); d != "" {
			t.Error(d)
		}
	})
}

func TestStoppedByUserIsReplacedWithoutBlame(t *testing.T) {
	in(t, 10, func(t *testing.T, w *world) {
		w.create("web", 1, nil)
		w.until(time.Minute, "running", func() bool { return len(w.running("web")) == 1 })
		victim := w.running("web")[0]
		_, err := tables.ECSTasks.Update(t.Context(), w.store, account, region, cluster+"/"+victim.TaskID, func(x *model.Task) error {
			x.Stop(model.StopUserInitiated, "Task stopped by user", time.Now())
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		w.until(2*time.Minute, "steady", w.stable("web"))
		if d := w.service("web").Deployments[0]; d.FailedTasks != 0 {
			t.Errorf("got %+v", d)
		}
	})
}

func TestEC2WithoutInstances(t *testing.T) {
	in(t, 11, func(t *testing.T, w *world) {
		w.create("web", 2, func(s *model.ServiceSpec) { s.LaunchType = model.LaunchTypeEC2 })
		w.pass(time.Hour)
		if d := cmp.Diff([]string{
			"(service web) was unable to place a task because no container instance met all of its requirements. Reason: No Container Instances were found in your cluster. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.",
		}, w.events("web")); d != "" {
			t.Error(d)
		}
		w.remove("web")
		w.until(time.Minute, "inactive", func() bool { return w.service("web").Status == model.ECSInactive })
	})
}

// Controllers that stop at any moment go on where they were: half-way through
// a deployment the tasks that run stay.
func TestRestartDuringDeployment(t *testing.T) {
	in(t, 12, func(t *testing.T, w *world) {
		w.create("web", 4, nil)
		w.until(time.Minute, "steady", w.stable("web"))
		w.update("web", func(s *model.ServiceSpec) { s.TaskDefinition = taskDef("web", 2) })
		w.until(time.Minute, "some new tasks run", func() bool { return len(w.running("web")) > 5 })
		w.stop()
		ids := map[string]bool{}
		for _, x := range w.tasks("web") {
			ids[x.TaskID] = true
		}
		w.pass(time.Hour)
		w.start()
		w.until(2*time.Minute, "steady", w.stable("web"))
		for _, x := range w.running("web") {
			if !ids[x.TaskID] {
				t.Errorf("%s was started for nothing", x.TaskID)
			}
		}
	})
}
