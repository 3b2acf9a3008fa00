package sim

import (
	"testing"
	"time"

	api_ecs "roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/service/ecs"
)

// The API's handlers and the controllers agree on the records: a service, an
// update, a task of its own, and the end of all.
func TestThroughTheAPI(t *testing.T) {
	in(t, 13, func(t *testing.T, w *world) {
		h := ecs.New(ecs.Config{Store: w.store})
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		_, err := h.CreateCluster(rootCall(t), &api_ecs.CreateClusterInput{ClusterName: new("api")})
		must(err)
		var defs []string
		for _, image := range []string{"web:1", "web:2"} {
			d, err := h.RegisterTaskDefinition(rootCall(t), &api_ecs.RegisterTaskDefinitionInput{
				Family: new("site"), NetworkMode: api_ecs.NetworkModeAwsvpc, Cpu: new("256"), Memory: new("512"),
				RequiresCompatibilities: []api_ecs.Compatibility{api_ecs.CompatibilityFargate},
				ContainerDefinitions:    []api_ecs.ContainerDefinition{{Name: new("main"), Image: new(image), PortMappings: []api_ecs.PortMapping{{ContainerPort: new(int32(80))}}}},
			})
			must(err)
			defs = append(defs, *d.TaskDefinition.TaskDefinitionArn)
		}
		network := &api_ecs.NetworkConfiguration{AwsvpcConfiguration: &api_ecs.AwsVpcConfiguration{Subnets: []string{"subnet-a", "subnet-b"}}}
		_, err = h.CreateService(rootCall(t), &api_ecs.CreateServiceInput{
			Cluster: new("api"), ServiceName: new("web"), TaskDefinition: new("site:1"), DesiredCount: new(int32(2)),
			LaunchType: api_ecs.LaunchTypeFargate, NetworkConfiguration: network,
		})
		must(err)
		describe := func() *api_ecs.Service {
			t.Helper()
			out, err := h.DescribeServices(rootCall(t), &api_ecs.DescribeServicesInput{Cluster: new("api"), Services: []string{"web"}})
			must(err)
			return &out.Services[0]
		}
		// What the waiter services-stable asks for.
		stable := func() bool {
			s := describe()
			return len(s.Deployments) == 1 && *s.RunningCount == *s.DesiredCount
		}
		if d := w.until(time.Minute, "stable", stable); d > 10*time.Second {
			t.Errorf("stable after %v", d)
		}
		w.until(time.Minute, "completed", func() bool {
			return describe().Deployments[0].RolloutState == api_ecs.DeploymentRolloutStateCompleted
		})
		_, err = h.UpdateService(rootCall(t), &api_ecs.UpdateServiceInput{Cluster: new("api"), Service: new("web"), TaskDefinition: new("site:2")})
		must(err)
		if stable() {
			t.Fatal("stable right after an update")
		}
		w.until(2*time.Minute, "stable again", stable)
		s := describe()
		if *s.TaskDefinition != defs[1] || *s.Deployments[0].TaskDefinition != defs[1] || len(s.Events) == 0 {
			t.Errorf("got %+v", s)
		}
		if first, last := *s.Events[0].CreatedAt, *s.Events[len(s.Events)-1].CreatedAt; first.Before(last) {
			t.Error("events are not newest first")
		}

		run, err := h.RunTask(rootCall(t), &api_ecs.RunTaskInput{
			Cluster: new("api"), TaskDefinition: new("site"), LaunchType: api_ecs.LaunchTypeFargate, NetworkConfiguration: network,
		})
		must(err)
		arn := *run.Tasks[0].TaskArn
		task := func() *api_ecs.Task {
			t.Helper()
			out, err := h.DescribeTasks(rootCall(t), &api_ecs.DescribeTasksInput{Cluster: new("api"), Tasks: []string{arn}})
			must(err)
			return &out.Tasks[0]
		}
		w.until(time.Minute, "task runs", func() bool { return *task().LastStatus == model.TaskRunning })
		_, err = h.StopTask(rootCall(t), &api_ecs.StopTaskInput{Cluster: new("api"), Task: new(arn)})
		must(err)
		w.until(time.Minute, "task stops", func() bool { return *task().LastStatus == model.TaskStopped })
		if x := task(); x.StopCode != api_ecs.TaskStopCodeUserInitiated || x.StoppedAt == nil || x.StartedAt == nil {
			t.Errorf("got %+v", x)
		}

		gone, err := h.DeleteService(rootCall(t), &api_ecs.DeleteServiceInput{Cluster: new("api"), Service: new("web"), Force: new(true)})
		must(err)
		if s := gone.Service; *s.Status != model.ECSDraining {
			t.Errorf("service is %s", *s.Status)
		}
		w.until(time.Minute, "service goes", func() bool { return *describe().Status == model.ECSInactive })
		_, err = h.DeleteCluster(rootCall(t), &api_ecs.DeleteClusterInput{Cluster: new("api")})
		must(err)
	})
}
