package ecs

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
)

// external is an instance that is the user's own machine.
func external(i *model.ContainerInstance) {
	i.EC2InstanceID, i.External = "", true
	delete(i.Attributes, model.AttributeZone)
}

// External instances take the tasks for such, and no others; and those run
// nowhere else.
func TestExternalInstances(t *testing.T) {
	h := onInstances(t)
	run := func(launchType ecs.LaunchType) *ecs.RunTaskOutput {
		t.Helper()
		in := runOn("small", 1)
		in.LaunchType = launchType
		return must(h.RunTask(h.ctx, in))(t)
	}
	mine := h.register("x", external)
	in := runOn("small", 1)
	_, err := h.RunTask(h.ctx, in)
	refused(t, err, "InvalidParameterException", "No Container Instances were found in your cluster.")
	out := run("EXTERNAL")
	if len(out.Tasks) != 1 || *out.Tasks[0].ContainerInstanceArn != mine || out.Tasks[0].LaunchType != "EXTERNAL" || out.Tasks[0].AvailabilityZone != nil {
		t.Fatalf("ran %+v, failures %+v", out.Tasks, out.Failures)
	}
	aws := h.register("a", nil)
	if out := run("EC2"); len(out.Tasks) != 1 || *out.Tasks[0].ContainerInstanceArn != aws {
		t.Errorf("ran %+v", out.Tasks)
	}
	started := must(h.StartTask(h.ctx, &ecs.StartTaskInput{Cluster: new("c"), TaskDefinition: new("small"), ContainerInstances: []string{mine, aws}}))(t)
	if len(started.Tasks) != 2 || started.Tasks[0].LaunchType != "EXTERNAL" || started.Tasks[1].LaunchType != "EC2" {
		t.Errorf("started %+v, failures %+v", started.Tasks, started.Failures)
	}
	stats := map[string]string{}
	for _, s := range must(h.DescribeClusters(h.ctx, &ecs.DescribeClustersInput{Clusters: []string{"c"}, Include: []ecs.ClusterField{"STATISTICS"}}))(t).Clusters[0].Statistics {
		stats[*s.Name] = *s.Value
	}
	if stats["pendingExternalTasksCount"] != "2" || stats["pendingEC2TasksCount"] != "2" {
		t.Errorf("statistics %v", stats)
	}
}

func TestExternalRefusals(t *testing.T) {
	h := onInstances(t)
	in := runOn("vpc", 1)
	in.LaunchType = "EXTERNAL"
	_, err := h.RunTask(h.ctx, in)
	refused(t, err, "InvalidParameterException", "Task definition does not support launch_type EXTERNAL.")
	in = runOn("small", 1)
	in.LaunchType, in.PlatformVersion = "EXTERNAL", new("LATEST")
	_, err = h.RunTask(h.ctx, in)
	refused(t, err, "InvalidParameterException", "The platform version must be null when specifying an EXTERNAL launch type.")

	serve := func(change func(*ecs.CreateServiceInput)) (*ecs.CreateServiceOutput, error) {
		in := &ecs.CreateServiceInput{Cluster: new("c"), ServiceName: new("s"), TaskDefinition: new("job"), DesiredCount: new(int32(1)), LaunchType: "EXTERNAL"}
		if change != nil {
			change(in)
		}
		return h.CreateService(h.ctx, in)
	}
	_, err = serve(func(in *ecs.CreateServiceInput) {
		in.LoadBalancers = []ecs.LoadBalancer{{TargetGroupArn: new(groupARN("2222222222222222")), ContainerName: new("app"), ContainerPort: new(int32(80))}}
	})
	refused(t, err, "InvalidParameterException", "Load balancers are not supported with EXTERNAL launch type.")
	_, err = serve(func(in *ecs.CreateServiceInput) { in.AvailabilityZoneRebalancing = "ENABLED" })
	refused(t, err, "InvalidParameterException", "EXTERNAL")
	if s := must(serve(nil))(t).Service; s.LaunchType != "EXTERNAL" || s.AvailabilityZoneRebalancing != "DISABLED" {
		t.Errorf("service %+v", s)
	}
	must(h.CreateService(h.ctx, &ecs.CreateServiceInput{Cluster: new("c"), ServiceName: new("d"), TaskDefinition: new("job"), SchedulingStrategy: "DAEMON", LaunchType: "EXTERNAL"}))(t)
	if l := must(h.ListServices(h.ctx, &ecs.ListServicesInput{Cluster: new("c"), LaunchType: "EXTERNAL"}))(t); len(l.ServiceArns) != 2 {
		t.Errorf("listed %v", l.ServiceArns)
	}
}

func TestExternalDefinitions(t *testing.T) {
	h := start(t)
	register := func(change func(*ecs.RegisterTaskDefinitionInput)) (*ecs.RegisterTaskDefinitionOutput, error) {
		in := &ecs.RegisterTaskDefinitionInput{
			Family: new("x"), RequiresCompatibilities: []ecs.Compatibility{"EXTERNAL"},
			ContainerDefinitions: []ecs.ContainerDefinition{{Name: new("app"), Image: new("app"), Memory: new(int32(100))}},
		}
		change(in)
		return h.RegisterTaskDefinition(h.ctx, in)
	}
	for _, mode := range []ecs.NetworkMode{"", "bridge", "host", "none"} {
		d := must(register(func(in *ecs.RegisterTaskDefinitionInput) { in.NetworkMode = mode }))(t).TaskDefinition
		if d := cmp.Diff([]ecs.Compatibility{"EXTERNAL", "EC2"}, d.Compatibilities); d != "" {
			t.Errorf("%s: %s", mode, d)
		}
	}
	_, err := register(func(in *ecs.RegisterTaskDefinitionInput) { in.NetworkMode = "awsvpc" })
	refused(t, err, "ClientException", "awsvpc")
	// One that does not ask for it is not for such machines.
	d := must(register(func(in *ecs.RegisterTaskDefinitionInput) { in.NetworkMode, in.RequiresCompatibilities = "awsvpc", nil }))(t).TaskDefinition
	if slices.Contains(d.Compatibilities, "EXTERNAL") {
		t.Errorf("compatible with %v", d.Compatibilities)
	}
	_, err = register(func(in *ecs.RegisterTaskDefinitionInput) {
		in.Volumes = []ecs.Volume{{Name: new("v"), EfsVolumeConfiguration: &ecs.EFSVolumeConfiguration{FileSystemId: new("fs-1")}}}
	})
	refused(t, err, "ClientException", "efsVolumeConfiguration")
}
