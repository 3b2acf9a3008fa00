package e2e

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

const (
	ecsImage       = "resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
	instancePolicy = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
)

// nodes are container instances of a stack's cluster.
type nodes struct {
	*stack
	fleet   *fleet
	profile string
}

// newNodes makes a stack whose tasks run on instances, with the instance
// profile that they need.
func newNodes(t *testing.T, s *server) *nodes {
	t.Helper()
	n := &nodes{stack: newStack(t, s), fleet: &fleet{s, t}}
	n.profile = n.fleet.profile(n.name + "-node")
	if _, err := s.iam.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: new(n.profile), PolicyArn: new(instancePolicy)}); err != nil {
		t.Fatal(err)
	}
	return n
}

// boot launches an instance of Amazon ECS's image that joins the cluster.
func (n *nodes) boot(config string, change func(*ec2.RunInstancesInput)) string {
	n.t.Helper()
	userData := "#!/bin/bash\ncat <<'EOF' >> /etc/ecs/ecs.config\nECS_CLUSTER=" + n.name + "\n" + config + "\nEOF\n"
	return *n.fleet.launch(userData, func(in *ec2.RunInstancesInput) {
		in.ImageId, in.InstanceType = new(ecsImage), ec2types.InstanceTypeT3Small
		in.IamInstanceProfile = &ec2types.IamInstanceProfileSpecification{Name: new(n.profile)}
		if change != nil {
			change(in)
		}
	}).InstanceId
}

// joined waits until an instance is a container instance whose agent is
// connected.
func (n *nodes) joined(instance string) ecstypes.ContainerInstance {
	n.t.Helper()
	var got ecstypes.ContainerInstance
	eventually(n.t, 60*time.Second, instance+" joins the cluster", func() error {
		ctx := n.t.Context()
		list, err := n.ecs.ListContainerInstances(ctx, &ecs.ListContainerInstancesInput{Cluster: new(n.name), Filter: new("ec2InstanceId == " + instance)})
		if err != nil {
			return err
		}
		if len(list.ContainerInstanceArns) != 1 {
			return fmt.Errorf("it is not registered: %s", n.fleet.read(instance, "var/log/ecs/ecs-agent.log"))
		}
		out, err := n.ecs.DescribeContainerInstances(ctx, &ecs.DescribeContainerInstancesInput{Cluster: new(n.name), ContainerInstances: list.ContainerInstanceArns})
		if err != nil {
			return err
		}
		if got = out.ContainerInstances[0]; !got.AgentConnected {
			return errors.New("its agent is not connected")
		}
		return nil
	})
	return got
}

// inside runs a command in an instance.
func (n *nodes) inside(instance string, command ...string) (string, error) {
	args := append([]string{"-t", fmt.Sprint(n.fleet.first(instance)), "-m", "-p", "-n"}, command...)
	out, err := exec.CommandContext(n.t.Context(), "nsenter", args...).CombinedOutput()
	return string(out), err
}

// place runs a task on the cluster's instances.
func (n *nodes) place(definition string, change func(*ecs.RunTaskInput)) string {
	n.t.Helper()
	in := &ecs.RunTaskInput{Cluster: new(n.name), TaskDefinition: new(definition), LaunchType: ecstypes.LaunchTypeEc2}
	if change != nil {
		change(in)
	}
	out, err := n.ecs.RunTask(n.t.Context(), in)
	if err != nil {
		n.t.Fatal(err)
	}
	if len(out.Failures) > 0 || len(out.Tasks) != 1 {
		n.t.Fatalf("RunTask: %d tasks, failures %+v", len(out.Tasks), out.Failures)
	}
	arn := *out.Tasks[0].TaskArn
	n.t.Cleanup(func() {
		_, _ = n.ecs.StopTask(context.Background(), &ecs.StopTaskInput{Cluster: new(n.name), Task: new(arn)})
	})
	return arn
}

// onInstances makes a task definition one for the EC2 launch type.
func onInstances(mode ecstypes.NetworkMode) func(*ecs.RegisterTaskDefinitionInput) {
	return func(in *ecs.RegisterTaskDefinitionInput) {
		in.NetworkMode, in.RequiresCompatibilities = mode, []ecstypes.Compatibility{ecstypes.CompatibilityEc2}
		in.Cpu, in.Memory = nil, new("128")
	}
}

// logged waits for a line in the stack's log group.
func (st *stack) logged(line string) {
	st.t.Helper()
	eventually(st.t, 30*time.Second, "a log line "+line, func() error {
		out, err := st.logs.FilterLogEvents(st.t.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: new(st.logGroup)})
		if err != nil {
			return err
		}
		var all []string
		for _, e := range out.Events {
			if strings.Contains(*e.Message, line) {
				return nil
			}
			all = append(all, *e.Message)
		}
		return fmt.Errorf("there are %q", all)
	})
}

// TestContainerInstances is the EC2 launch type on one instance: it registers by
// its user data and its profile, runs tasks, and survives the ends of the
// server, of its agent, and of its agent's permission.
func TestContainerInstances(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"nsenter", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs " + program)
		}
	}
	n := newNodes(t, ownServer(t, "containerd"))
	ctx := t.Context()

	began := time.Now()
	id := n.boot("ECS_INSTANCE_ATTRIBUTES={\"stack\":\"blue\"}\nECS_RESERVED_MEMORY=256\nECS_CONTAINER_INSTANCE_PROPAGATE_TAGS_FROM=ec2_instance", func(in *ec2.RunInstancesInput) {
		in.TagSpecifications = []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeInstance, Tags: []ec2types.Tag{{Key: new("team"), Value: new("a")}}}}
	})
	node := n.joined(id)
	t.Logf("the instance joined after %v", time.Since(began).Round(time.Millisecond))
	remaining := func() map[string]int32 {
		out, err := n.ecs.DescribeContainerInstances(ctx, &ecs.DescribeContainerInstancesInput{Cluster: new(n.name), ContainerInstances: []string{*node.ContainerInstanceArn}})
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int32{}
		for _, r := range out.ContainerInstances[0].RemainingResources {
			got[*r.Name] = r.IntegerValue
		}
		return got
	}
	if got := remaining(); got["CPU"] != 2048 || got["MEMORY"] != 2048-256 {
		t.Errorf("a t3.small offers %v", got)
	}

	tags, err := n.ecs.ListTagsForResource(ctx, &ecs.ListTagsForResourceInput{ResourceArn: node.ContainerInstanceArn})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Value != "a" {
		t.Errorf("the container instance's tags: %+v, %v", tags, err)
	}
	if out, err := n.inside(id, "curl", "-s", "http://localhost:51678/v1/metadata"); err != nil || !strings.Contains(out, *node.ContainerInstanceArn) {
		t.Errorf("introspection: %s, %v", out, err)
	}

	// A task that says who it is: its role by its credentials, its secret, what a
	// file in a bucket of another region sets.
	if _, err := ssm.NewFromConfig(n.cfg).PutParameter(ctx, &ssm.PutParameterInput{Name: new("/" + n.name + "/p"), Value: new("hush"), Type: ssmtypes.ParameterTypeSecureString}); err != nil {
		t.Fatal(err)
	}
	if _, err := n.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: new(n.name + "-exec"), PolicyName: new("p"), PolicyDocument: new(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ssm:GetParameters","Resource":"*"}}`)}); err != nil {
		t.Fatal(err)
	}
	role := n.role(n.name + "-task")
	c := n.container("seq", "caller", "--", "env", "SECRET", "FILED", "--", "metadata", "task", "--", "sleep")
	c.PortMappings = nil
	c.Secrets = []ecstypes.Secret{{Name: new("SECRET"), ValueFrom: new("/" + n.name + "/p")}}
	c.EnvironmentFiles = []ecstypes.EnvironmentFile{{Type: ecstypes.EnvironmentFileTypeS3, Value: new(n.envFile("eu-west-1", n.name+"-exec", "a b+/ü.env", "FILED=from a file\n"))}}
	definition := n.register("who", func(in *ecs.RegisterTaskDefinitionInput) {
		onInstances(ecstypes.NetworkModeHost)(in)
		in.TaskRoleArn = new(role)
	}, c)
	began = time.Now()
	task := n.place(definition, func(in *ecs.RunTaskInput) {
		in.PlacementConstraints = []ecstypes.PlacementConstraint{{Type: ecstypes.PlacementConstraintTypeMemberOf, Expression: new("attribute:stack == blue")}}
	})
	if got := n.await(task, "RUNNING"); str(got.ContainerInstanceArn) != *node.ContainerInstanceArn || got.LaunchType != ecstypes.LaunchTypeEc2 {
		t.Errorf("it runs on %s as %s", str(got.ContainerInstanceArn), got.LaunchType)
	}
	t.Logf("the first task ran after %v", time.Since(began).Round(time.Millisecond))
	for _, line := range []string{":assumed-role/" + n.name + "-task/", "hush", "from a file", `"LaunchType":"EC2"`} {
		n.logged(line)
	}
	if got := remaining(); got["MEMORY"] != 2048-256-128 {
		t.Errorf("with a task of 128 MiB %v is left", got)
	}

	// Tasks of the instance share a volume by its name.
	shared := func(in *ecs.RegisterTaskDefinitionInput) {
		onInstances(ecstypes.NetworkModeNone)(in)
		in.Volumes = []ecstypes.Volume{{Name: new("common"), DockerVolumeConfiguration: &ecstypes.DockerVolumeConfiguration{Scope: ecstypes.ScopeShared, Autoprovision: new(true)}}}
	}
	w := n.container("write", "/common/proof")
	w.PortMappings, w.MountPoints = nil, []ecstypes.MountPoint{{SourceVolume: new("common"), ContainerPath: new("/common")}}
	writer := n.await(n.place(n.register("writer", shared, w), nil), "STOPPED")
	if code := writer.Containers[0].ExitCode; code == nil || *code != 0 || n.fleet.read(id, "var/lib/ecs/volumes/common/proof") == "" {
		t.Errorf("the shared volume: exit %v, %q", code, n.fleet.read(id, "var/lib/ecs/volumes/common/proof"))
	}

	// The server is killed; the agent is killed. The task goes on.
	if err := n.kill(); err != nil {
		t.Fatal(err)
	}
	if err := n.server.start(); err != nil {
		t.Fatal(err)
	}
	n.joined(id)
	if out, err := n.inside(id, "pkill", "-9", "-f", "roadstead node"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, 30*time.Second, "the agent's second start", func() error {
		if got := n.fleet.read(id, "var/log/ecs/ecs-agent.log"); strings.Count(got, "registered") < 2 {
			return errors.New(got)
		}
		return nil
	})
	n.joined(id)
	before := n.task(task)
	if *before.LastStatus != "RUNNING" || !before.StartedAt.Before(time.Now()) {
		t.Errorf("after the kills the task is %s", *before.LastStatus)
	}
	if _, err := n.ecs.StopTask(ctx, &ecs.StopTaskInput{Cluster: new(n.name), Task: new(task)}); err != nil {
		t.Fatal(err)
	}
	if got := n.await(task, "STOPPED"); got.StopCode != ecstypes.TaskStopCodeUserInitiated {
		t.Errorf("it stopped for %s: %s", got.StopCode, str(got.StoppedReason))
	}
	if got := remaining(); got["MEMORY"] != 2048-256 {
		t.Errorf("without tasks %v is left", got)
	}

	// User data that never ends keeps its instance from the cluster, and nothing
	// else: it runs, and terminates.
	endless := *n.fleet.launch("#!/bin/bash\necho ECS_CLUSTER="+n.name+" >> /etc/ecs/ecs.config\necho begun > /var/begun\nexec sleep infinity\n", func(in *ec2.RunInstancesInput) {
		in.ImageId, in.IamInstanceProfile = new(ecsImage), &ec2types.IamInstanceProfileSpecification{Name: new(n.profile)}
	}).InstanceId
	n.fleet.is(endless, ec2types.InstanceStateNameRunning)
	n.fleet.wrote(endless, "var/begun")

	// An instance without permission says which it lacks.
	n.profile = n.fleet.profile(n.name + "-powerless")
	powerless := n.boot("", nil)
	eventually(t, 60*time.Second, "the refusal in the agent's log", func() error {
		if got := n.fleet.read(powerless, "var/log/ecs/ecs-agent.log"); !strings.Contains(got, "is not authorized to perform: ecs:RegisterContainerInstance") {
			console, _ := n.ec2.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: new(powerless)})
			text, _ := base64.StdEncoding.DecodeString(str(console.Output))
			return fmt.Errorf("%s; the console: %s", got, text)
		}
		return nil
	})
	all, err := n.ecs.ListContainerInstances(ctx, &ecs.ListContainerInstancesInput{Cluster: new(n.name)})
	if err != nil || len(all.ContainerInstanceArns) != 1 {
		t.Errorf("the container instances are %+v, %v", all, err)
	}
	if _, err := n.ec2.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{id, powerless, endless}}); err != nil {
		t.Fatal(err)
	}
	for _, i := range []string{id, powerless, endless} {
		n.fleet.is(i, ec2types.InstanceStateNameTerminated)
		if err := n.fleet.left(i); err != nil {
			t.Error(err)
		}
	}
}

// TestPretendedContainerInstances is the same on the fake engine: instances
// register by their user data and their profiles, and take tasks, without root.
func TestPretendedContainerInstances(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	n := newNodes(t, s)
	a, b := n.boot("", nil), n.boot("ECS_INSTANCE_ATTRIBUTES={\"stack\":\"blue\"}", nil)
	n.joined(a)
	blue := n.joined(b)
	c := n.container("sleep")
	c.PortMappings = nil
	definition := n.register("sleeper", onInstances(ecstypes.NetworkModeHost), c)
	task := n.place(definition, func(in *ecs.RunTaskInput) {
		in.PlacementConstraints = []ecstypes.PlacementConstraint{{Type: ecstypes.PlacementConstraintTypeMemberOf, Expression: new("attribute:stack == blue")}}
	})
	if got := n.await(task, "RUNNING"); str(got.ContainerInstanceArn) != *blue.ContainerInstanceArn {
		t.Errorf("it runs on %s", str(got.ContainerInstanceArn))
	}
	if out, err := exec.CommandContext(t.Context(), built.roadstead, s.args("status")...).Output(); err != nil || !strings.Contains(string(out), "2, 2 with agent connected") {
		t.Errorf("status: %s, %v", out, err)
	}
	if err := n.kill(); err != nil {
		t.Fatal(err)
	}
	if err := n.server.start(); err != nil {
		t.Fatal(err)
	}
	n.joined(b)
	n.await(task, "RUNNING")
	if _, err := n.ecs.StopTask(t.Context(), &ecs.StopTaskInput{Cluster: new(n.name), Task: new(task)}); err != nil {
		t.Fatal(err)
	}
	n.await(task, "STOPPED")
}
