package ecs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/fleet"
	"roadstead.dev/internal/store/tables"
)

// onInstances is a harness with a cluster, a book, and definitions for EC2:
// "job" in bridge mode with 400 MiB and port 8080 of the host, "small" with
// 100 MiB, and "vpc" with an interface.
func onInstances(t *testing.T) *harness {
	t.Helper()
	h := start(t)
	b := fleet.New(h.store, func(int) int { return 0 })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		// One that ends at once may end before the book was read.
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	h.Service = New(Config{Store: h.store, Placer: b})
	h.cluster()
	for family, change := range map[string]func(*ecs.RegisterTaskDefinitionInput){
		"job": func(in *ecs.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions[0].Memory = new(int32(400))
			in.ContainerDefinitions[0].PortMappings = []ecs.PortMapping{{ContainerPort: new(int32(80)), HostPort: new(int32(8080))}}
		},
		"small": func(*ecs.RegisterTaskDefinitionInput) {},
		"vpc":   func(in *ecs.RegisterTaskDefinitionInput) { in.NetworkMode = ecs.NetworkModeAwsvpc },
		"picky": func(in *ecs.RegisterTaskDefinitionInput) {
			in.PlacementConstraints = []ecs.TaskDefinitionPlacementConstraint{{Type: "memberOf", Expression: new("attribute:stack == prod")}}
		},
	} {
		in := &ecs.RegisterTaskDefinitionInput{
			Family: new(family), TaskRoleArn: new(role("task")),
			ContainerDefinitions: []ecs.ContainerDefinition{{Name: new("app"), Image: new("app"), Memory: new(int32(100))}},
		}
		change(in)
		must(h.RegisterTaskDefinition(h.ctx, in))(t)
	}
	return h
}

// register puts an instance into the cluster, as an agent would.
func (h *harness) register(id string, change func(*model.ContainerInstance)) string {
	h.t.Helper()
	i := &model.ContainerInstance{
		ID: fmt.Sprintf("%032s", id), ClusterName: "c", EC2InstanceID: "i-" + id, Status: model.ContainerInstanceActive,
		CPU: 2048, Memory: 1000, ENIs: 2, Connection: model.AgentConnection{Connected: true},
		Attributes: map[string]string{model.AttributeZone: "us-east-1a"},
	}
	for _, d := range must(tables.ECSTaskDefinitions.List(h.ctx, h.store, store.Query{}))(h.t) {
		for _, a := range d.V.RequiresAttributes {
			i.Attributes[a.Name] = ""
		}
	}
	i.ARN = model.ECSContainerInstanceARN(region, account, "c", i.ID)
	if change != nil {
		change(i)
	}
	tx := store.NewTxn()
	tables.ECSContainerInstances.Put(tx, account, region, "c/"+i.ID, i)
	must(tx.Commit(h.ctx, h.store))(h.t)
	return i.ARN
}

func runOn(family string, count int32) *ecs.RunTaskInput {
	return &ecs.RunTaskInput{Cluster: new("c"), TaskDefinition: new(family), Count: &count}
}

func reasons(fs []ecs.Failure) map[string]string {
	out := map[string]string{}
	for _, f := range fs {
		out[val(f.Arn)] = val(f.Reason)
	}
	return out
}

func TestRunTaskOnInstances(t *testing.T) {
	h := onInstances(t)
	_, err := h.RunTask(h.ctx, runOn("job", 1))
	refused(t, err, "InvalidParameterException", "No Container Instances were found in your cluster.")
	h.register("d", func(i *model.ContainerInstance) { i.Status = model.ContainerInstanceDraining })
	_, err = h.RunTask(h.ctx, runOn("job", 1))
	refused(t, err, "InvalidParameterException", "No Container Instances were found in your cluster.")

	arn := map[string]string{
		"a": h.register("a", nil), "b": h.register("b", nil),
		"full": h.register("f", func(i *model.ContainerInstance) { i.Memory = 300 }),
		"cut":  h.register("9", func(i *model.ContainerInstance) { i.Connection.Connected = false }),
		"old":  h.register("e", func(i *model.ContainerInstance) { delete(i.Attributes, "com.amazonaws.ecs.capability.task-iam-role") }),
		"port": h.register("7", func(i *model.ContainerInstance) { i.ReservedPorts = []int{8080} }),
		"cpu":  h.register("8", func(i *model.ContainerInstance) { i.CPU, i.Memory = 0, 50 }),
	}
	in := runOn("job", 3)
	in.ClientToken, in.StartedBy = new("once"), new("me")
	out := must(h.RunTask(h.ctx, in))(t)
	if len(out.Tasks) != 2 {
		t.Fatalf("ran %+v", out)
	}
	var on []string
	for _, task := range out.Tasks {
		on = append(on, val(task.ContainerInstanceArn))
		if val(task.LastStatus) != "PENDING" || task.LaunchType != "EC2" || val(task.AvailabilityZone) != "us-east-1a" || len(task.Attachments) != 0 || task.PlatformVersion != nil || val(task.Group) != "family:job" {
			t.Errorf("task %+v", task)
		}
	}
	slices.Sort(on)
	if d := cmp.Diff([]string{arn["a"], arn["b"]}, on); d != "" {
		t.Error(d)
	}
	want := map[string]string{
		arn["a"]: "RESOURCE:PORTS", arn["b"]: "RESOURCE:PORTS", arn["full"]: "RESOURCE:MEMORY", arn["cut"]: "AGENT", arn["old"]: "ATTRIBUTE",
		arn["port"]: "RESOURCE:PORTS", arn["cpu"]: "RESOURCE:MEMORY",
	}
	if d := cmp.Diff(want, reasons(out.Failures)); d != "" {
		t.Error(d)
	}
	if again := must(h.RunTask(h.ctx, in))(t); len(again.Tasks) != 2 {
		t.Errorf("again: %+v", again)
	}
	// Nothing is left for the next: failures, and no error.
	in.ClientToken = nil
	if out := must(h.RunTask(h.ctx, in))(t); len(out.Tasks) != 0 || len(out.Failures) != len(want) {
		t.Errorf("ran %+v", out)
	}
	if l := must(h.ListTasks(h.ctx, &ecs.ListTasksInput{Cluster: new("c"), ContainerInstance: new(arn["a"])}))(t); len(l.TaskArns) != 1 {
		t.Errorf("on the instance: %+v", l)
	}

	c := must(h.DescribeClusters(h.ctx, &ecs.DescribeClustersInput{Clusters: []string{"c"}, Include: []ecs.ClusterField{ecs.ClusterFieldStatistics}}))(t).Clusters[0]
	stats := map[string]string{}
	for _, kv := range c.Statistics {
		stats[val(kv.Name)] = val(kv.Value)
	}
	if val(c.RegisteredContainerInstancesCount) != 8 || val(c.PendingTasksCount) != 2 || stats["pendingEC2TasksCount"] != "2" || stats["pendingFargateTasksCount"] != "0" {
		t.Errorf("cluster %+v %v", c, stats)
	}
	_, err = h.DeleteCluster(h.ctx, &ecs.DeleteClusterInput{Cluster: new("c")})
	refused(t, err, "ClusterContainsContainerInstancesException", "while Container Instances are active or draining")
}

func TestRunTaskPlacement(t *testing.T) {
	h := onInstances(t)
	a := h.register("a", func(i *model.ContainerInstance) { i.Attributes["stack"] = "prod" })
	b := h.register("b", func(i *model.ContainerInstance) { i.Memory = 2000 })
	z := h.register("c", func(i *model.ContainerInstance) { i.Attributes[model.AttributeZone] = "us-east-1b" })
	run := func(family string, count int32, change func(*ecs.RunTaskInput)) (map[string]int, map[string]string) {
		t.Helper()
		in := runOn(family, count)
		change(in)
		out := must(h.RunTask(h.ctx, in))(t)
		on := map[string]int{}
		for _, task := range out.Tasks {
			on[val(task.ContainerInstanceArn)]++
			must(h.StopTask(h.ctx, &ecs.StopTaskInput{Cluster: new("c"), Task: task.TaskArn}))(t)
		}
		return on, reasons(out.Failures)
	}
	for name, tt := range map[string]struct {
		family   string
		count    int32
		change   func(*ecs.RunTaskInput)
		on       map[string]int
		failures map[string]string
	}{
		"distinct": {"small", 4, func(in *ecs.RunTaskInput) {
			in.Group, in.PlacementConstraints = new("distinct"), []ecs.PlacementConstraint{{Type: "distinctInstance"}}
		}, map[string]int{a: 1, b: 1, z: 1}, map[string]string{
			a: "DistinctInstance placement constraint unsatisfied.", b: "DistinctInstance placement constraint unsatisfied.", z: "DistinctInstance placement constraint unsatisfied.",
		}},
		"member of": {"small", 2, func(in *ecs.RunTaskInput) {
			in.PlacementConstraints = []ecs.PlacementConstraint{{Type: "memberOf", Expression: new("attribute:ecs.availability-zone == us-east-1b")}}
		}, map[string]int{z: 2}, map[string]string{}},
		"the definition's": {"picky", 1, func(*ecs.RunTaskInput) {}, map[string]int{a: 1}, map[string]string{}},
		"spread over zones": {"small", 2, func(in *ecs.RunTaskInput) {
			in.Group = new("zones")
			in.PlacementStrategy = []ecs.PlacementStrategy{{Type: "spread", Field: new("attribute:ecs.availability-zone")}, {Type: "binpack", Field: new("memory")}}
		}, map[string]int{a: 1, z: 1}, map[string]string{}},
		"with an interface": {"vpc", 3, func(in *ecs.RunTaskInput) {
			in.NetworkConfiguration = &ecs.NetworkConfiguration{AwsvpcConfiguration: &ecs.AwsVpcConfiguration{Subnets: []string{"subnet-b"}}}
		}, map[string]int{z: 2}, map[string]string{z: "RESOURCE:ENI", a: "MemberOf placement constraint unsatisfied.", b: "MemberOf placement constraint unsatisfied."}},
	} {
		on, failed := run(tt.family, tt.count, tt.change)
		if d := cmp.Diff(tt.on, on); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if d := cmp.Diff(tt.failures, failed); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestPlacementRefusals(t *testing.T) {
	h := onInstances(t)
	h.register("a", nil)
	for name, tt := range map[string]struct {
		change  func(*ecs.RunTaskInput)
		message string
	}{
		"expression": {func(in *ecs.RunTaskInput) {
			in.PlacementConstraints = []ecs.PlacementConstraint{{Type: "memberOf", Expression: new("attribute:x ==")}}
		}, "Invalid expression"},
		"no expression": {func(in *ecs.RunTaskInput) {
			in.PlacementConstraints = []ecs.PlacementConstraint{{Type: "memberOf"}}
		}, "memberOf expression should be specified."},
		"distinct expression": {func(in *ecs.RunTaskInput) {
			in.PlacementConstraints = []ecs.PlacementConstraint{{Type: "distinctInstance", Expression: new("")}}
		}, "distinctInstance expression should not be specified."},
		"many constraints": {func(in *ecs.RunTaskInput) {
			in.PlacementConstraints = slices.Repeat([]ecs.PlacementConstraint{{Type: "distinctInstance"}}, 11)
		}, "at most 10 items"},
		"many strategies": {func(in *ecs.RunTaskInput) {
			in.PlacementStrategy = slices.Repeat([]ecs.PlacementStrategy{{Type: "random"}}, 6)
		}, "at most 5 items"},
		"field": {func(in *ecs.RunTaskInput) {
			in.PlacementStrategy = []ecs.PlacementStrategy{{Type: "binpack", Field: new("disk")}}
		}, "field"},
		"platform":   {func(in *ecs.RunTaskInput) { in.PlatformVersion = new("1.4.0") }, "The platform version must be null"},
		"no network": {func(in *ecs.RunTaskInput) { in.TaskDefinition = new("vpc") }, "Network Configuration must be provided when networkMode 'awsvpc' is specified."},
		"network":    {func(in *ecs.RunTaskInput) { in.NetworkConfiguration = network() }, "Network Configuration is not valid for the given networkMode of this task definition."},
		"public": {func(in *ecs.RunTaskInput) {
			in.TaskDefinition, in.NetworkConfiguration = new("vpc"), network()
			in.NetworkConfiguration.AwsvpcConfiguration.AssignPublicIp = "ENABLED"
		}, "Assign public IP is not supported for this launch type."},
		"fargate": {func(in *ecs.RunTaskInput) { in.LaunchType = "FARGATE" }, "Task definition does not support launch_type FARGATE."},
	} {
		in := runOn("small", 1)
		tt.change(in)
		_, err := h.RunTask(h.ctx, in)
		t.Log(name)
		refused(t, err, "InvalidParameterException", tt.message)
	}
	for _, c := range []ecs.TaskDefinitionPlacementConstraint{{Type: "distinctInstance"}, {Type: "memberOf", Expression: new("attribute:(")}} {
		in := &ecs.RegisterTaskDefinitionInput{
			Family: new("x"), PlacementConstraints: []ecs.TaskDefinitionPlacementConstraint{c},
			ContainerDefinitions: []ecs.ContainerDefinition{{Name: new("app"), Image: new("app"), Memory: new(int32(100))}},
		}
		if _, err := h.RegisterTaskDefinition(h.ctx, in); err == nil {
			t.Errorf("registered with %+v", c)
		}
	}
}

func TestStartTask(t *testing.T) {
	h := onInstances(t)
	a := h.register("a", nil)
	b := h.register("b", func(i *model.ContainerInstance) { i.Memory = 300 })
	d := h.register("d", func(i *model.ContainerInstance) { i.Status = model.ContainerInstanceDraining })
	e := h.register("e", func(i *model.ContainerInstance) { i.Connection.Connected = false })
	f := h.register("f", func(i *model.ContainerInstance) { i.Attributes = nil })
	gone := model.ECSContainerInstanceARN(region, account, "c", "0123456789abcdef0123456789abcdef")
	in := &ecs.StartTaskInput{Cluster: new("c"), TaskDefinition: new("job"), ContainerInstances: []string{a, b, d, e, f, gone, a}, StartedBy: new("me")}
	out := must(h.StartTask(h.ctx, in))(t)
	if len(out.Tasks) != 1 || val(out.Tasks[0].ContainerInstanceArn) != a || val(out.Tasks[0].LastStatus) != "PENDING" || val(out.Tasks[0].StartedBy) != "me" {
		t.Fatalf("started %+v", out)
	}
	want := map[string]string{a: "RESOURCE:PORTS", b: "RESOURCE:MEMORY", d: "INACTIVE", e: "AGENT", f: "ATTRIBUTE", gone: "MISSING"}
	if d := cmp.Diff(want, reasons(out.Failures)); d != "" {
		t.Error(d)
	}
	in.ContainerInstances = nil
	_, err := h.StartTask(h.ctx, in)
	refused(t, err, "InvalidParameterException", "Container instance cannot be empty.")
	in.ContainerInstances = slices.Repeat([]string{a}, 11)
	_, err = h.StartTask(h.ctx, in)
	refused(t, err, "InvalidParameterException", "at most 10 items")
}

func TestServiceOnInstances(t *testing.T) {
	h := onInstances(t)
	in := &ecs.CreateServiceInput{
		Cluster: new("c"), ServiceName: new("s"), TaskDefinition: new("small"), DesiredCount: new(int32(2)), LaunchType: "EC2",
		PlacementConstraints: []ecs.PlacementConstraint{{Type: "distinctInstance"}},
		PlacementStrategy:    []ecs.PlacementStrategy{{Type: "spread", Field: new("host")}},
	}
	svc := must(h.CreateService(h.ctx, in))(t).Service
	if svc.LaunchType != "EC2" || svc.PlatformVersion != nil || len(svc.PlacementConstraints) != 1 || val(svc.PlacementStrategy[0].Field) != "instanceId" || svc.AvailabilityZoneRebalancing != "DISABLED" {
		t.Errorf("service %+v", svc)
	}
	up := must(h.UpdateService(h.ctx, &ecs.UpdateServiceInput{
		Cluster: new("c"), Service: new("s"), PlacementConstraints: []ecs.PlacementConstraint{},
		PlacementStrategy: []ecs.PlacementStrategy{{Type: "binpack", Field: new("cpu")}},
	}))(t).Service
	if len(up.PlacementConstraints) != 0 || up.PlacementStrategy[0].Type != "binpack" || len(up.Deployments) != 1 {
		t.Errorf("updated %+v", up)
	}
	for name, tt := range map[string]struct {
		change        func(*ecs.CreateServiceInput)
		code, message string
	}{
		"rebalancing": {func(in *ecs.CreateServiceInput) { in.AvailabilityZoneRebalancing = "ENABLED" }, "InvalidParameterException", "Availability Zone Rebalancing only supports availability zone spread as task placement strategy."},
		"rebalancing at most once": {func(in *ecs.CreateServiceInput) {
			in.AvailabilityZoneRebalancing, in.PlacementStrategy = "ENABLED", nil
			in.DeploymentConfiguration = &ecs.DeploymentConfiguration{MaximumPercent: new(int32(100)), MinimumHealthyPercent: new(int32(50))}
		}, "InvalidParameterException", "maximumPercent must be greater than 100"},
		"rebalancing in a zone": {func(in *ecs.CreateServiceInput) {
			in.AvailabilityZoneRebalancing, in.PlacementStrategy = "ENABLED", nil
			in.PlacementConstraints = []ecs.PlacementConstraint{{Type: "memberOf", Expression: new("attribute:ecs.availability-zone == us-east-1a")}}
		}, "InvalidParameterException", "attribute:ecs.availability-zone"},
		"rebalancing daemons": {func(in *ecs.CreateServiceInput) {
			in.AvailabilityZoneRebalancing, in.PlacementStrategy, in.SchedulingStrategy, in.DesiredCount = "ENABLED", nil, "DAEMON", nil
		}, "InvalidParameterException", "daemon scheduling strategy"},
		"constraint": {func(in *ecs.CreateServiceInput) {
			in.PlacementConstraints = []ecs.PlacementConstraint{{Type: "memberOf", Expression: new("nothing")}}
		}, "InvalidParameterException", "Invalid expression"},
		"no count": {func(in *ecs.CreateServiceInput) { in.DesiredCount = nil }, "InvalidParameterException", "Desired count can not be null"},
		"address targets": {func(in *ecs.CreateServiceInput) {
			in.TaskDefinition = new("job")
			in.LoadBalancers = []ecs.LoadBalancer{{TargetGroupArn: new(groupARN("1111111111111111")), ContainerName: new("app"), ContainerPort: new(int32(80))}}
		}, "InvalidParameterException", "has target type ip, which is incompatible with the bridge network mode specified in the task definition."},
		"daemon's count":    {func(in *ecs.CreateServiceInput) { in.SchedulingStrategy = "DAEMON" }, "InvalidParameterException", "desired count"},
		"daemon's strategy": {func(in *ecs.CreateServiceInput) { in.SchedulingStrategy, in.DesiredCount = "DAEMON", nil }, "InvalidParameterException", "placement strategies"},
		"daemon's percent": {func(in *ecs.CreateServiceInput) {
			in.SchedulingStrategy, in.DesiredCount, in.PlacementStrategy = "DAEMON", nil, nil
			in.DeploymentConfiguration = &ecs.DeploymentConfiguration{MaximumPercent: new(int32(200))}
		}, "InvalidParameterException", "maximumPercent must be 100"},
	} {
		other := *in
		other.ServiceName = new("other")
		tt.change(&other)
		_, err := h.CreateService(h.ctx, &other)
		t.Log(name)
		refused(t, err, tt.code, tt.message)
	}
	balanced := must(h.CreateService(h.ctx, &ecs.CreateServiceInput{
		Cluster: new("c"), ServiceName: new("lb"), TaskDefinition: new("job"), DesiredCount: new(int32(2)), LaunchType: "EC2",
		LoadBalancers: []ecs.LoadBalancer{{TargetGroupArn: new(groupARN("2222222222222222")), ContainerName: new("app"), ContainerPort: new(int32(80))}},
	}))(t).Service
	if len(balanced.LoadBalancers) != 1 || val(balanced.HealthCheckGracePeriodSeconds) != 0 {
		t.Errorf("balanced %+v", balanced)
	}
	daemon := must(h.CreateService(h.ctx, &ecs.CreateServiceInput{Cluster: new("c"), ServiceName: new("d"), TaskDefinition: new("small"), SchedulingStrategy: "DAEMON"}))(t).Service
	if c := daemon.DeploymentConfiguration; daemon.SchedulingStrategy != "DAEMON" || val(c.MaximumPercent) != 100 || val(c.MinimumHealthyPercent) != 0 || val(daemon.DesiredCount) != 0 {
		t.Errorf("daemon %+v", daemon)
	}
	if l := must(h.ListServices(h.ctx, &ecs.ListServicesInput{Cluster: new("c"), SchedulingStrategy: "DAEMON"}))(t); len(l.ServiceArns) != 1 {
		t.Errorf("listed %+v", l)
	}
}

// Requests to two servers at once, each with a book of its own, take all the
// room that there is, and none of it twice.
func TestTwoServersPlaceAtOnce(t *testing.T) {
	h := onInstances(t)
	other := fleet.New(h.store, func(n int) int { return n - 1 })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- other.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	servers := []*Service{h.Service, New(Config{Store: h.store, Placer: other})}
	for _, id := range []string{"a", "b", "c"} {
		h.register(id, nil)
	}
	var wg sync.WaitGroup
	for n := range 12 {
		wg.Go(func() {
			out, err := servers[n%2].RunTask(h.ctx, runOn("small", 3))
			if err != nil || len(out.Tasks) < 3 && len(out.Failures) == 0 {
				t.Errorf("%+v %v", out, err)
			}
		})
	}
	wg.Wait()
	on := map[string]int{}
	for _, r := range must(tables.ECSTasks.List(h.ctx, h.store, store.Query{Account: account, Region: region, Prefix: "c/"}))(t) {
		on[r.V.Status.Node] += r.V.Reservation().Memory
	}
	for node, memory := range on {
		if memory != 1000 {
			t.Errorf("%s: %d MiB of 1000", node, memory)
		}
	}
	if len(on) != 3 {
		t.Errorf("tasks on %v", on)
	}
}
