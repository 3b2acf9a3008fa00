package ecs

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/tables"
)

func TestRunTask(t *testing.T) {
	h := start(t)
	h.cluster()
	h.web()
	in := runWeb()
	in.Count, in.StartedBy, in.Tags = new(int32(3)), new("me"), []ecs.Tag{{Key: new("x"), Value: new("y")}}
	in.PropagateTags, in.EnableECSManagedTags = "TASK_DEFINITION", new(true)
	in.Overrides = &ecs.TaskOverride{ContainerOverrides: []ecs.ContainerOverride{{Name: new("app"), Command: []string{"echo"}, Memory: new(int32(100))}}}
	out := must(h.RunTask(h.ctx, in))(t)
	if len(out.Tasks) != 3 || len(out.Failures) != 0 {
		t.Fatalf("ran %+v", out)
	}
	task := out.Tasks[0]
	if val(task.LastStatus) != "PROVISIONING" || val(task.DesiredStatus) != "RUNNING" || task.LaunchType != "FARGATE" ||
		val(task.PlatformVersion) != "1.4.0" || val(task.PlatformFamily) != "Linux" || val(task.Group) != "family:web" ||
		val(task.Cpu) != "256" || val(task.Version) != 1 || val(task.StartedBy) != "me" || !task.CreatedAt.Equal(h.call.Time) {
		t.Errorf("task %+v", task)
	}
	if c := task.Containers[0]; val(c.LastStatus) != "PENDING" || val(c.Memory) != "100" || val(c.Name) != "app" {
		t.Errorf("container %+v", c)
	}
	if a := task.Attachments[0]; val(a.Status) != "PRECREATED" || val(a.Type) != "ElasticNetworkInterface" || val(a.Details[0].Value) != "subnet-a" {
		t.Errorf("attachment %+v", a)
	}
	if z := val(out.Tasks[1].AvailabilityZone); z != "us-east-1b" {
		t.Errorf("the second task is in %s", z)
	}
	if d := cmp.Diff(model.Tags{"x": "y", "team": "a", "aws:ecs:clusterName": "c"}, tagsOf(task.Tags)); d != "" {
		t.Error(d)
	}

	described := must(h.DescribeTasks(h.ctx, &ecs.DescribeTasksInput{
		Cluster: new("c"), Tasks: []string{*task.TaskArn, "0123456789abcdef0123456789abcdef"}, Include: []ecs.TaskField{"TAGS"},
	}))(t)
	if d := cmp.Diff([]ecs.Task{task}, described.Tasks); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]ecs.Failure{missing("arn:aws:ecs:us-east-1:000000000000:task/c/0123456789abcdef0123456789abcdef")}, described.Failures); d != "" {
		t.Error(d)
	}

	_, err := h.DescribeTasks(h.ctx, &ecs.DescribeTasksInput{Cluster: new("c"), Tasks: []string{"0123"}})
	refused(t, err, "InvalidParameterException", "taskId length should be one of [32,36]")
	_, err = h.DescribeTasks(h.ctx, &ecs.DescribeTasksInput{Cluster: new("c"), Tasks: make([]string, 101)})
	refused(t, err, "InvalidParameterException", "taskIds can have at most 100 items.")

	count := func(in ecs.ListTasksInput) int {
		t.Helper()
		in.Cluster, in.MaxResults = new("c"), new(int32(2))
		n := 0
		for {
			out := must(h.ListTasks(h.ctx, &in))(t)
			n += len(out.TaskArns)
			if in.NextToken = out.NextToken; in.NextToken == nil {
				return n
			}
		}
	}
	if n := count(ecs.ListTasksInput{}); n != 3 {
		t.Errorf("%d tasks", n)
	}
	stopped := must(h.StopTask(h.ctx, &ecs.StopTaskInput{Cluster: new("c"), Task: task.TaskArn, Reason: new("enough")}))(t).Task
	if val(stopped.DesiredStatus) != "STOPPED" || stopped.StopCode != "UserInitiated" || val(stopped.StoppedReason) != "enough" || stopped.StoppingAt == nil {
		t.Errorf("stopped %+v", stopped)
	}
	for name, tt := range map[string]struct {
		in   ecs.ListTasksInput
		want int
	}{
		"stopped":        {ecs.ListTasksInput{DesiredStatus: "STOPPED"}, 1},
		"running":        {ecs.ListTasksInput{}, 2},
		"family":         {ecs.ListTasksInput{Family: new("web")}, 2},
		"other family":   {ecs.ListTasksInput{Family: new("we")}, 0},
		"started by":     {ecs.ListTasksInput{StartedBy: new("me"), LaunchType: "FARGATE"}, 2},
		"ec2":            {ecs.ListTasksInput{LaunchType: "EC2"}, 0},
		"by nobody":      {ecs.ListTasksInput{StartedBy: new("you")}, 0},
		"by and stopped": {ecs.ListTasksInput{StartedBy: new("me"), DesiredStatus: "STOPPED"}, 1},
	} {
		if n := count(tt.in); n != tt.want {
			t.Errorf("%s: %d tasks, want %d", name, n, tt.want)
		}
	}
	first := must(h.ListTasks(h.ctx, &ecs.ListTasksInput{Cluster: new("c"), MaxResults: new(int32(1))}))(t)
	_, err = h.ListTasks(h.ctx, &ecs.ListTasksInput{Cluster: new("c"), Family: new("web"), NextToken: first.NextToken})
	refused(t, err, "InvalidParameterException", "Invalid token")
}

func TestRunTaskRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		change        func(*ecs.RunTaskInput)
		code, message string
	}{
		"cluster":        {func(in *ecs.RunTaskInput) { in.Cluster = nil }, "ClusterNotFoundException", "Cluster not found."},
		"definition":     {func(in *ecs.RunTaskInput) { in.TaskDefinition = new("none") }, "ClientException", "TaskDefinition not found."},
		"revision":       {func(in *ecs.RunTaskInput) { in.TaskDefinition = new("web:x") }, "InvalidParameterException", "Invalid revision number. Number: x"},
		"count":          {func(in *ecs.RunTaskInput) { in.Count = new(int32(11)) }, "InvalidParameterException", "Count cannot be greater than 10."},
		"no network":     {func(in *ecs.RunTaskInput) { in.NetworkConfiguration = nil }, "InvalidParameterException", "Network Configuration must be provided when networkMode 'awsvpc' is specified."},
		"no instances":   {func(in *ecs.RunTaskInput) { in.LaunchType = "" }, "InvalidParameterException", "No Container Instances were found in your cluster."},
		"platform":       {func(in *ecs.RunTaskInput) { in.PlatformVersion = new("9.9.9") }, "PlatformUnknownException", "9.9.9"},
		"exec":           {func(in *ecs.RunTaskInput) { in.EnableExecuteCommand = new(true) }, "UnsupportedFeatureException", "ECS Exec"},
		"external":       {func(in *ecs.RunTaskInput) { in.LaunchType = "EXTERNAL" }, "InvalidParameterException", "Task definition does not support launch_type EXTERNAL."},
		"subnet":         {func(in *ecs.RunTaskInput) { in.NetworkConfiguration.AwsvpcConfiguration.Subnets = []string{"subnet-x"} }, "InvalidParameterException", "The subnet ID 'subnet-x' does not exist"},
		"two VPCs":       {func(in *ecs.RunTaskInput) { in.NetworkConfiguration.AwsvpcConfiguration.Subnets[1] = "subnet-other" }, "InvalidParameterException", "same VPC"},
		"group":          {func(in *ecs.RunTaskInput) { in.NetworkConfiguration.AwsvpcConfiguration.SecurityGroups[0] = "sg-x" }, "InvalidParameterException", "The security group 'sg-x' does not exist"},
		"group of other": {func(in *ecs.RunTaskInput) { in.NetworkConfiguration.AwsvpcConfiguration.SecurityGroups[0] = "sg-2" }, "InvalidParameterException", "same VPC"},
		"override": {func(in *ecs.RunTaskInput) {
			in.Overrides = &ecs.TaskOverride{ContainerOverrides: []ecs.ContainerOverride{{Name: new("foo")}}}
		}, "InvalidParameterException", "Override for container named foo is not a container in the TaskDefinition."},
		"override file": {func(in *ecs.RunTaskInput) {
			in.Overrides = &ecs.TaskOverride{ContainerOverrides: []ecs.ContainerOverride{{Name: new("app"), EnvironmentFiles: envFiles("arn:aws:s3:::b/a")}}}
		}, "InvalidParameterException", "The environment file 'arn:aws:s3:::b/a' must be the ARN of an Amazon S3 object whose name ends in .env."},
		"override size": {func(in *ecs.RunTaskInput) { in.Overrides = &ecs.TaskOverride{Cpu: new("300")} }, "ClientException", "No Fargate configuration exists"},
		"role": {
			func(in *ecs.RunTaskInput) { in.Overrides = &ecs.TaskOverride{TaskRoleArn: new(role("none"))} }, "ClientException",
			"ECS was unable to assume the role 'arn:aws:iam::000000000000:role/none'",
		},
		"type and strategy": {func(in *ecs.RunTaskInput) {
			in.CapacityProviderStrategy = []ecs.CapacityProviderStrategyItem{{CapacityProvider: new("FARGATE"), Weight: new(int32(1))}}
		}, "InvalidParameterException", "Specifying both a launch type and capacity provider strategy is not supported."},
		"strategy": {func(in *ecs.RunTaskInput) {
			in.LaunchType = ""
			in.CapacityProviderStrategy = []ecs.CapacityProviderStrategyItem{{CapacityProvider: new("FARGATE"), Weight: new(int32(1))}}
		}, "InvalidParameterException", "not associated with the cluster"},
		"placement": {func(in *ecs.RunTaskInput) { in.PlacementStrategy = []ecs.PlacementStrategy{{Type: "random"}} }, "InvalidParameterException", "Placement strategies are not supported with FARGATE launch type."},
		"tags":      {func(in *ecs.RunTaskInput) { in.Tags = []ecs.Tag{{Key: new("aws:x"), Value: new("y")}} }, "InvalidParameterException", "reserved"},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t)
			h.cluster()
			h.web()
			in := runWeb()
			tt.change(in)
			_, err := h.RunTask(h.ctx, in)
			refused(t, err, tt.code, tt.message)
		})
	}
}

// TestRunTaskRefusesWhatCannotRun: such definitions can be registered.
func TestRunTaskRefusesWhatCannotRun(t *testing.T) {
	for feature, change := range map[string]func(*ecs.RegisterTaskDefinitionInput){
		"Fault injection": func(in *ecs.RegisterTaskDefinitionInput) { in.EnableFaultInjection = new(true) },
		"WINDOWS_SERVER_2022": func(in *ecs.RegisterTaskDefinitionInput) {
			in.RuntimePlatform = &ecs.RuntimePlatform{OperatingSystemFamily: "WINDOWS_SERVER_2022_CORE"}
		},
		"efsVolumeConfiguration": func(in *ecs.RegisterTaskDefinitionInput) {
			in.Volumes = []ecs.Volume{{Name: new("v"), EfsVolumeConfiguration: &ecs.EFSVolumeConfiguration{FileSystemId: new("fs-1")}}}
		},
		"FireLens": func(in *ecs.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions[0].FirelensConfiguration = &ecs.FirelensConfiguration{Type: "fluentbit"}
		},
		"log driver splunk": func(in *ecs.RegisterTaskDefinitionInput) {
			in.ContainerDefinitions[0].LogConfiguration = &ecs.LogConfiguration{LogDriver: "splunk"}
		},
	} {
		t.Run(feature, func(t *testing.T) {
			h := start(t)
			h.cluster()
			in := webDefinition()
			change(in)
			must(h.RegisterTaskDefinition(h.ctx, in))(t)
			_, err := h.RunTask(h.ctx, runWeb())
			refused(t, err, "UnsupportedFeatureException", feature)
			_, err = h.CreateService(h.ctx, serveWeb())
			refused(t, err, "UnsupportedFeatureException", feature)
		})
	}
}

func TestRunTaskClientToken(t *testing.T) {
	h := start(t)
	h.cluster()
	h.web()
	in := runWeb()
	in.ClientToken = new("once")
	one := must(h.RunTask(h.ctx, in))(t)
	two := must(h.RunTask(h.ctx, in))(t)
	if d := cmp.Diff(one, two); d != "" {
		t.Error(d)
	}
	in.Count = new(int32(2))
	_, err := h.RunTask(h.ctx, in)
	refused(t, err, "ConflictException", "clientToken")
	h.call.Time = h.call.Time.Add(25 * clientTokenLife / 24)
	if out := must(h.RunTask(h.ctx, in))(t); len(out.Tasks) != 2 {
		t.Errorf("after the token's life: %+v", out)
	}
}

func TestShowTaskObserved(t *testing.T) {
	h := start(t)
	h.cluster()
	h.web()
	arn := val(must(h.RunTask(h.ctx, runWeb()))(t).Tasks[0].TaskArn)
	must(tables.ECSTasks.Update(h.ctx, h.store, account, region, model.ECSResourceID(arn), func(v *model.Task) error {
		v.Status.LastStatus, v.Status.Connectivity = model.TaskRunning, "CONNECTED"
		v.Status.StartedAt = h.call.Time
		v.ENI().SetDetail("privateIPv4Address", "172.31.0.9")
		v.Observed.PullStartedAt = h.call.Time
		v.Observed.Containers = []model.ContainerState{{Name: "app", LastStatus: "RUNNING", RuntimeID: "r", ImageDigest: "sha256:x", HealthStatus: "HEALTHY"}}
		return nil
	}))(t)
	task := must(h.DescribeTasks(h.ctx, &ecs.DescribeTasksInput{Cluster: new("c"), Tasks: []string{arn}}))(t).Tasks[0]
	c := task.Containers[0]
	if val(task.LastStatus) != "RUNNING" || task.StartedAt == nil || task.PullStartedAt == nil || task.StoppedAt != nil || len(task.Tags) != 0 ||
		val(c.LastStatus) != "RUNNING" || val(c.RuntimeId) != "r" || val(c.NetworkInterfaces[0].PrivateIpv4Address) != "172.31.0.9" || c.HealthStatus != "HEALTHY" || c.ExitCode != nil {
		t.Errorf("task %+v\ncontainer %+v", task, c)
	}
}

func TestTaskProtection(t *testing.T) {
	h := start(t)
	h.cluster()
	h.web()
	arn := val(must(h.RunTask(h.ctx, runWeb()))(t).Tasks[0].TaskArn)
	in := &ecs.UpdateTaskProtectionInput{Cluster: new("c"), Tasks: []string{arn, "0123456789abcdef0123456789abcdef"}, ProtectionEnabled: new(true)}
	out := must(h.UpdateTaskProtection(h.ctx, in))(t)
	if len(out.ProtectedTasks) != 0 || len(out.Failures) != 2 || val(out.Failures[0].Reason) != "TASK_NOT_VALID" || val(out.Failures[1].Reason) != "MISSING" {
		t.Errorf("a task of no service: %+v", out)
	}
	must(tables.ECSTasks.Update(h.ctx, h.store, account, region, model.ECSResourceID(arn), func(v *model.Task) error {
		v.Spec.ServiceName = "s"
		return nil
	}))(t)
	out = must(h.UpdateTaskProtection(h.ctx, in))(t)
	if len(out.ProtectedTasks) != 1 || !out.ProtectedTasks[0].ExpirationDate.Equal(h.call.Time.Add(2*60*60*1e9)) {
		t.Errorf("protected: %+v", out)
	}
	if got := must(h.GetTaskProtection(h.ctx, &ecs.GetTaskProtectionInput{Cluster: new("c")}))(t); len(got.ProtectedTasks) != 1 {
		t.Errorf("got %+v", got)
	}
}

// What is accepted acts, or is refused where it would have to act.
func TestWhatCannotActIsRefused(t *testing.T) {
	h := start(t)
	h.cluster()
	in := webDefinition()
	in.ContainerDefinitions[0].VersionConsistency = ecs.VersionConsistencyEnabled
	must(h.RegisterTaskDefinition(h.ctx, in))(t)
	_, err := h.RunTask(h.ctx, runWeb())
	refused(t, err, "UnsupportedFeatureException", "versionConsistency=enabled")
	in.ContainerDefinitions[0].VersionConsistency = ecs.VersionConsistencyDisabled
	must(h.RegisterTaskDefinition(h.ctx, in))(t)
	must(h.RunTask(h.ctx, runWeb()))(t)

	for size, ok := range map[int32]bool{20: false, 21: true, 200: true, 201: false} {
		in := webDefinition()
		in.EphemeralStorage = &ecs.EphemeralStorage{SizeInGiB: new(size)}
		if _, err := h.RegisterTaskDefinition(h.ctx, in); (err == nil) != ok {
			t.Errorf("%d GiB: %v", size, err)
		}
		run := runWeb()
		run.Overrides = &ecs.TaskOverride{EphemeralStorage: &ecs.EphemeralStorage{SizeInGiB: new(size)}}
		if _, err := h.RunTask(h.ctx, run); (err == nil) != ok {
			t.Errorf("override of %d GiB: %v", size, err)
		}
	}
}
