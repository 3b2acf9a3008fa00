package ecs

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
)

func TestFargateSizes(t *testing.T) {
	for _, tt := range []struct {
		cpu, memory int
		ok          bool
	}{
		{256, 512, true},
		{256, 1024, true},
		{256, 2048, true},
		{256, 3072, false},
		{256, 768, false},
		{512, 1024, true},
		{512, 4096, true},
		{512, 512, false},
		{512, 5120, false},
		{1024, 2048, true},
		{1024, 8192, true},
		{1024, 9216, false},
		{2048, 4096, true},
		{2048, 16384, true},
		{2048, 3072, false},
		{4096, 8192, true},
		{4096, 30720, true},
		{4096, 31744, false},
		{8192, 16384, true},
		{8192, 20480, true},
		{8192, 17408, false},
		{8192, 61440, true},
		{16384, 32768, true},
		{16384, 122880, true},
		{16384, 36864, false},
		{128, 512, false},
		{0, 0, false},
	} {
		if got := validFargateSize(tt.cpu, tt.memory); got != tt.ok {
			t.Errorf("%d CPU, %d MiB: %v", tt.cpu, tt.memory, got)
		}
	}
}

func TestRegisterTaskDefinition(t *testing.T) {
	h := start(t)
	out := must(h.RegisterTaskDefinition(h.ctx, webDefinition()))(t)
	d := out.TaskDefinition
	if val(d.TaskDefinitionArn) != "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1" || val(d.Revision) != 1 || d.Status != ecs.TaskDefinitionStatusActive {
		t.Errorf("registered %+v", d)
	}
	c := d.ContainerDefinitions[0]
	if !val(c.Essential) || val(c.PortMappings[0].HostPort) != 80 || c.PortMappings[0].Protocol != "tcp" || val(c.Cpu) != 0 || c.MountPoints == nil || c.VolumesFrom == nil {
		t.Errorf("defaults: %+v", c)
	}
	if d := cmp.Diff([]ecs.Compatibility{"EC2", "FARGATE"}, d.Compatibilities); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]ecs.Tag{{Key: new("team"), Value: new("a")}}, out.Tags); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"iam:PassRole " + role("task"), "iam:PassRole " + role("execution")}, h.asked); d != "" {
		t.Error(d)
	}
	has := func(name string) bool {
		return slices.ContainsFunc(d.RequiresAttributes, func(a ecs.Attribute) bool { return val(a.Name) == name })
	}
	if !has("com.amazonaws.ecs.capability.ecr-auth") || !has("ecs.capability.task-eni") {
		t.Errorf("attributes: %v", d.RequiresAttributes)
	}
	// What is stored is what was answered.
	again := must(h.DescribeTaskDefinition(h.ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: new("web"), Include: []ecs.TaskDefinitionField{"TAGS"}}))(t)
	if diff := cmp.Diff(d, again.TaskDefinition); diff != "" {
		t.Error(diff)
	}
	h.deny = true
	_, err := h.RegisterTaskDefinition(h.ctx, webDefinition())
	refused(t, err, "AccessDeniedException", "iam:PassRole")
	// Another account's tasks may assume its roles; nobody here passes them.
	h.deny = false
	foreign := webDefinition()
	foreign.TaskRoleArn = new("arn:aws:iam::999999999999:role/task")
	_, err = h.RegisterTaskDefinition(h.ctx, foreign)
	refused(t, err, "AccessDeniedException", "Cross-account pass role is not allowed.")
}

func TestRegisterTaskDefinitionRefusals(t *testing.T) {
	app := func(in *ecs.RegisterTaskDefinitionInput) *ecs.ContainerDefinition { return &in.ContainerDefinitions[0] }
	sidecar := func(in *ecs.RegisterTaskDefinitionInput) *ecs.ContainerDefinition {
		in.ContainerDefinitions = append(in.ContainerDefinitions, ecs.ContainerDefinition{Name: new("side"), Image: new("busybox"), Essential: new(false)})
		return &in.ContainerDefinitions[1]
	}
	for message, change := range map[string]func(*ecs.RegisterTaskDefinitionInput){
		"Family contains invalid characters.": func(in *ecs.RegisterTaskDefinitionInput) { in.Family = new("a b") },
		"Container list cannot be empty.":     func(in *ecs.RegisterTaskDefinitionInput) { in.ContainerDefinitions = nil },
		"Container.name should not be null or empty.": func(in *ecs.RegisterTaskDefinitionInput) {
			app(in).Name = nil
		},
		"Container.image should not be null or empty.": func(in *ecs.RegisterTaskDefinitionInput) { app(in).Image = nil },
		"Container names should be unique.":            func(in *ecs.RegisterTaskDefinitionInput) { sidecar(in).Name = new("app") },
		"At least one container must be marked as essential.": func(in *ecs.RegisterTaskDefinitionInput) {
			app(in).Essential = new(false)
		},
		"Role is not valid": func(in *ecs.RegisterTaskDefinitionInput) { in.TaskRoleArn = new("arn:aws:s3:::bucket") },
		"Fargate requires that 'cpu' be defined at the task level.":    func(in *ecs.RegisterTaskDefinitionInput) { in.Cpu = nil },
		"Fargate requires that 'memory' be defined at the task level.": func(in *ecs.RegisterTaskDefinitionInput) { in.Memory = nil },
		"No Fargate configuration exists for given values: 256 CPU, 4096 memory.": func(in *ecs.RegisterTaskDefinitionInput) {
			in.Memory = new("4 GB")
		},
		"Invalid 'cpu' setting for task.":             func(in *ecs.RegisterTaskDefinitionInput) { in.Cpu = new("lots") },
		"Fargate only supports network mode ‘awsvpc’": func(in *ecs.RegisterTaskDefinitionInput) { in.NetworkMode = "" },
		"When networkMode=awsvpc, the host ports and container ports in port mappings must match.": func(in *ecs.RegisterTaskDefinitionInput) {
			app(in).PortMappings[0].HostPort = new(int32(8080))
		},
		"Invalid 'containerPort' setting for container 'app'.": func(in *ecs.RegisterTaskDefinitionInput) {
			app(in).PortMappings[0].ContainerPort = new(int32(70000))
		},
		"The port 80 is mapped by the containers": func(in *ecs.RegisterTaskDefinitionInput) {
			sidecar(in).PortMappings = []ecs.PortMapping{{ContainerPort: new(int32(80))}}
		},
		"Fargate requires task definition to have execution role ARN to support ECR images.": func(in *ecs.RegisterTaskDefinitionInput) {
			in.ExecutionRoleArn = nil
		},
		"Fargate requires task definition to have execution role ARN to support log driver awslogs.": func(in *ecs.RegisterTaskDefinitionInput) {
			in.ExecutionRoleArn, app(in).Image = nil, new("nginx")
		},
		"Log driver awslogs requires options: awslogs-group": func(in *ecs.RegisterTaskDefinitionInput) {
			delete(app(in).LogConfiguration.Options, "awslogs-group")
		},
		"Log driver awslogs requires options: awslogs-stream-prefix": func(in *ecs.RegisterTaskDefinitionInput) {
			delete(app(in).LogConfiguration.Options, "awslogs-stream-prefix")
		},
		"Log driver awslogs disallows options: colour": func(in *ecs.RegisterTaskDefinitionInput) {
			app(in).LogConfiguration.Options["colour"] = "red"
		},
		"Fargate compatible task definitions do not support log driver syslog": func(in *ecs.RegisterTaskDefinitionInput) {
			app(in).LogConfiguration.LogDriver = ecs.LogDriverSyslog
		},
		"Unknown volume 'v'.": func(in *ecs.RegisterTaskDefinitionInput) {
			app(in).MountPoints = []ecs.MountPoint{{SourceVolume: new("v"), ContainerPath: new("/v")}}
		},
		"Fargate compatible task definitions do not support sourcePath": func(in *ecs.RegisterTaskDefinitionInput) {
			in.Volumes = []ecs.Volume{{Name: new("v"), Host: &ecs.HostVolumeProperties{SourcePath: new("/")}}}
		},
		"Tasks using the Fargate launch type do not support ipcMode.": func(in *ecs.RegisterTaskDefinitionInput) { in.IpcMode = "task" },
		"A dependency container with SUCCESS or COMPLETE condition cannot be an essential container": func(in *ecs.RegisterTaskDefinitionInput) {
			sidecar(in).DependsOn = []ecs.ContainerDependency{{ContainerName: new("app"), Condition: "COMPLETE"}}
		},
		"Container dependencies should not have a cycle": func(in *ecs.RegisterTaskDefinitionInput) {
			sidecar(in).DependsOn = []ecs.ContainerDependency{{ContainerName: new("app"), Condition: "START"}}
			app(in).DependsOn = []ecs.ContainerDependency{{ContainerName: new("side"), Condition: "START"}}
		},
		"Cannot depend on container + 'nobody' because it does not exist": func(in *ecs.RegisterTaskDefinitionInput) {
			app(in).DependsOn = []ecs.ContainerDependency{{ContainerName: new("nobody"), Condition: "START"}}
		},
		"The secret name must be unique and not shared with any new or existing environment variables set on the container, such as 'A'.": func(in *ecs.RegisterTaskDefinitionInput) {
			app(in).Secrets = []ecs.Secret{{Name: new("A"), ValueFrom: new("p")}}
		},
		"When you are specifying container secrets, you must also specify a value for 'executionRoleArn'.": func(in *ecs.RegisterTaskDefinitionInput) {
			in.ExecutionRoleArn = nil
			app(in).Secrets = []ecs.Secret{{Name: new("B"), ValueFrom: new("p")}}
		},
		"When you are specifying environment files, you must also specify a value for 'executionRoleArn'.": func(in *ecs.RegisterTaskDefinitionInput) {
			in.ExecutionRoleArn, app(in).Image, app(in).LogConfiguration, app(in).EnvironmentFiles = nil, new("nginx"), nil, envFiles("arn:aws:s3:::b/a.env")
		},
		"The environment file 'arn:aws:s3:::b/a.txt' must be the ARN of an Amazon S3 object whose name ends in .env.": func(in *ecs.RegisterTaskDefinitionInput) {
			app(in).EnvironmentFiles = envFiles("arn:aws:s3:::b/a.env", "arn:aws:s3:::b/a.txt")
		},
		"The environment file 's3://b/a.env' must be the ARN of an Amazon S3 object whose name ends in .env.": func(in *ecs.RegisterTaskDefinitionInput) {
			app(in).EnvironmentFiles = envFiles("s3://b/a.env")
		},
		"A container may have at most 10 environment files.": func(in *ecs.RegisterTaskDefinitionInput) {
			app(in).EnvironmentFiles = envFiles(slices.Repeat([]string{"arn:aws:s3:::b/a.env"}, 11)...)
		},
		"The 'memory' setting for container 'app' is greater than for the task.": func(in *ecs.RegisterTaskDefinitionInput) {
			app(in).Memory = new(int32(1024))
		},
		"The sum of all container 'cpu' values cannot be greater than the value of the task 'cpu'.": func(in *ecs.RegisterTaskDefinitionInput) {
			app(in).Cpu = new(int32(200))
			sidecar(in).Cpu = new(int32(57))
		},
		"Invalid setting for container 'app'. At least one of 'memory' or 'memoryReservation' must be specified.": func(in *ecs.RegisterTaskDefinitionInput) {
			in.RequiresCompatibilities, in.Memory = nil, nil
		},
		"The interval must be between 5 and 300.": func(in *ecs.RegisterTaskDefinitionInput) {
			app(in).HealthCheck = &ecs.HealthCheck{Command: []string{"CMD", "true"}, Interval: new(int32(1))}
		},
		"do not support privileged containers": func(in *ecs.RegisterTaskDefinitionInput) { app(in).Privileged = new(true) },
	} {
		t.Run(message, func(t *testing.T) {
			h := start(t)
			in := webDefinition()
			change(in)
			_, err := h.RegisterTaskDefinition(h.ctx, in)
			refused(t, err, "ClientException", message)
		})
	}
}

func TestUnitsOfTaskSize(t *testing.T) {
	h := start(t)
	in := webDefinition()
	in.Cpu, in.Memory = new(".25 vCPU"), new("0.5GB")
	d := must(h.RegisterTaskDefinition(h.ctx, in))(t).TaskDefinition
	if val(d.Cpu) != "256" || val(d.Memory) != "512" {
		t.Errorf("size %s, %s", val(d.Cpu), val(d.Memory))
	}
}

func TestTaskDefinitionLife(t *testing.T) {
	h := start(t)
	for range 11 {
		h.web()
	}
	other := webDefinition()
	other.Family = new("web2")
	must(h.RegisterTaskDefinition(h.ctx, other))(t)
	list := func(in ecs.ListTaskDefinitionsInput) (revisions []string) {
		t.Helper()
		for {
			out := must(h.ListTaskDefinitions(h.ctx, &in))(t)
			for _, a := range out.TaskDefinitionArns {
				revisions = append(revisions, a[len("arn:aws:ecs:us-east-1:000000000000:task-definition/"):])
			}
			if in.NextToken = out.NextToken; in.NextToken == nil {
				return revisions
			}
		}
	}
	var want []string
	for i := range 11 {
		want = append(want, fmt.Sprintf("web:%d", i+1))
	}
	if d := cmp.Diff(want, list(ecs.ListTaskDefinitionsInput{FamilyPrefix: new("web"), MaxResults: new(int32(4))})); d != "" {
		t.Error(d)
	}
	slices.Reverse(want)
	if d := cmp.Diff(want, list(ecs.ListTaskDefinitionsInput{FamilyPrefix: new("web"), MaxResults: new(int32(4)), Sort: "DESC"})); d != "" {
		t.Error(d)
	}

	_, err := h.DeregisterTaskDefinition(h.ctx, &ecs.DeregisterTaskDefinitionInput{TaskDefinition: new("web")})
	refused(t, err, "ClientException", "revision")
	_, err = h.DeregisterTaskDefinition(h.ctx, &ecs.DeregisterTaskDefinitionInput{TaskDefinition: new("web:99")})
	refused(t, err, "ClientException", "The specified task definition does not exist.")
	d := must(h.DeregisterTaskDefinition(h.ctx, &ecs.DeregisterTaskDefinitionInput{TaskDefinition: new("web:11")}))(t).TaskDefinition
	if d.Status != "INACTIVE" || d.DeregisteredAt == nil {
		t.Errorf("deregistered: %+v", d)
	}
	if got := must(h.DescribeTaskDefinition(h.ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: new("web")}))(t); val(got.TaskDefinition.Revision) != 10 {
		t.Errorf("newest ACTIVE is %d", val(got.TaskDefinition.Revision))
	}
	if d := cmp.Diff([]string{"web:11"}, list(ecs.ListTaskDefinitionsInput{Status: "INACTIVE"})); d != "" {
		t.Error(d)
	}
	// Revisions are never given twice.
	deleted := must(h.DeleteTaskDefinitions(h.ctx, &ecs.DeleteTaskDefinitionsInput{TaskDefinitions: []string{"web:11", "web:10", "web:77"}}))(t)
	if len(deleted.TaskDefinitions) != 1 || deleted.TaskDefinitions[0].Status != "DELETE_IN_PROGRESS" || len(deleted.Failures) != 2 {
		t.Errorf("deleted: %+v", deleted)
	}
	_, err = h.DescribeTaskDefinition(h.ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: new("web:11")})
	refused(t, err, "ClientException", "Unable to describe task definition.")
	if r := val(h.web().Revision); r != 12 {
		t.Errorf("revision %d after a deletion", r)
	}
	families := must(h.ListTaskDefinitionFamilies(h.ctx, &ecs.ListTaskDefinitionFamiliesInput{FamilyPrefix: new("we"), Status: "ACTIVE"}))(t)
	if d := cmp.Diff([]string{"web", "web2"}, families.Families); d != "" {
		t.Error(d)
	}
}

// TestCircular checks the search for cycles against the definition of one.
func TestCircular(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "n")
		edges := map[string][]string{}
		var reach [6][6]bool
		for i := range n {
			for j := range n {
				if rapid.IntRange(0, 4).Draw(t, "edge") == 0 {
					edges[fmt.Sprint(i)] = append(edges[fmt.Sprint(i)], fmt.Sprint(j))
					reach[i][j] = true
				}
			}
		}
		for k := range n {
			for i := range n {
				for j := range n {
					reach[i][j] = reach[i][j] || reach[i][k] && reach[k][j]
				}
			}
		}
		want := false
		for i := range n {
			want = want || reach[i][i]
		}
		if got := circular(edges); got != want {
			t.Fatalf("%v: %v", edges, got)
		}
	})
}

func FuzzTaskDefinitionReference(f *testing.F) {
	for _, s := range []string{"web", "web:1", "arn:aws:ecs:us-east-1:000000000000:task-definition/web:1", "arn:aws:ecs", "a:b:c", ":1", "web:0", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseTaskDefinition(s)
		if err != nil || r.revision == 0 {
			return
		}
		arn := model.ECSTaskDefinitionARN(region, account, r.family, r.revision)
		if again, err := parseTaskDefinition(arn); err == nil && again != r && r.family != "" {
			t.Errorf("%q is %+v, its ARN %+v", s, r, again)
		}
	})
}

func envFiles(arns ...string) []ecs.EnvironmentFile {
	var out []ecs.EnvironmentFile
	for _, arn := range arns {
		out = append(out, ecs.EnvironmentFile{Type: ecs.EnvironmentFileTypeS3, Value: &arn})
	}
	return out
}
