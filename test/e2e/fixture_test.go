package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"roadstead.dev/internal/imagebuild"
)

const (
	tasksTrust      = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	executionPolicy = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
)

// stack is what a test of tasks stands on: a cluster, a role, a log group, an
// image of the test tool, the default VPC. All bear the test's name.
type stack struct {
	*server
	t             *testing.T
	name          string
	image         string
	executionRole string
	logGroup      string
	vpc           string
	subnets       []string
}

func newStack(t *testing.T, s *server) *stack {
	t.Helper()
	ctx := t.Context()
	st := &stack{server: s, t: t, name: unique(t, "t")}
	st.logGroup = "/test/" + st.name
	st.image = s.push(t, st.name, built.tool)
	st.executionRole = st.role(st.name+"-exec", executionPolicy)
	if _, err := s.logs.CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: new(st.logGroup)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ecs.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: new(st.name)}); err != nil {
		t.Fatal(err)
	}
	vpcs, err := s.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{{Name: new("is-default"), Values: []string{"true"}}}})
	if err != nil {
		t.Fatal(err)
	}
	st.vpc = *vpcs.Vpcs[0].VpcId
	subnets, err := s.ec2.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{{Name: new("vpc-id"), Values: []string{st.vpc}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, sn := range subnets.Subnets {
		st.subnets = append(st.subnets, *sn.SubnetId)
	}
	if len(st.subnets) != 3 {
		t.Fatalf("the default VPC has %d subnets, want 3", len(st.subnets))
	}
	return st
}

// push builds an image of a binary and pushes it to a new repository.
func (s *server) push(t *testing.T, repository, binary string) string {
	t.Helper()
	ctx := t.Context()
	repo, err := s.ecr.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: new(repository)})
	if err != nil {
		t.Fatal(err)
	}
	return s.pushTo(t, *repo.Repository.RepositoryUri, binary)
}

// pushTo pushes to a repository that is there.
func (s *server) pushTo(t *testing.T, repositoryURI, binary string) string {
	t.Helper()
	ctx := t.Context()
	tok, err := s.ecr.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		t.Fatal(err)
	}
	login, err := imagebuild.ECRCredentials(*tok.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	img, err := imagebuild.Build(imagebuild.Program("tool", content))
	if err != nil {
		t.Fatal(err)
	}
	ref := repositoryURI + ":v1"
	if _, err := imagebuild.Push(ctx, ref, img, login); err != nil {
		t.Fatal(err)
	}
	return ref
}

// role makes a role that tasks may assume, with managed policies attached.
func (st *stack) role(name string, policies ...string) string {
	st.t.Helper()
	r, err := st.iam.CreateRole(st.t.Context(), &iam.CreateRoleInput{RoleName: new(name), AssumeRolePolicyDocument: new(tasksTrust)})
	if err != nil {
		st.t.Fatal(err)
	}
	for _, p := range policies {
		if _, err := st.iam.AttachRolePolicy(st.t.Context(), &iam.AttachRolePolicyInput{RoleName: new(name), PolicyArn: new(p)}); err != nil {
			st.t.Fatal(err)
		}
	}
	return *r.Role.Arn
}

// group makes a security group that lets in TCP to a port from a CIDR; port 0
// lets nothing in.
func (st *stack) group(name string, port int32, cidr string) string {
	st.t.Helper()
	g, err := st.ec2.CreateSecurityGroup(st.t.Context(), &ec2.CreateSecurityGroupInput{GroupName: new(st.name + "-" + name), Description: new(name), VpcId: new(st.vpc)})
	if err != nil {
		st.t.Fatal(err)
	}
	if port != 0 {
		st.allow(*g.GroupId, port, cidr)
	}
	return *g.GroupId
}

func (st *stack) allow(group string, port int32, cidr string) {
	st.t.Helper()
	if _, err := st.ec2.AuthorizeSecurityGroupIngress(st.t.Context(), &ec2.AuthorizeSecurityGroupIngressInput{
		GroupId: new(group), IpProtocol: new("tcp"), FromPort: new(port), ToPort: new(port), CidrIp: new(cidr),
	}); err != nil {
		st.t.Fatal(err)
	}
}

// container is the test tool with arguments, logging to the stack's group.
func (st *stack) container(args ...string) ecstypes.ContainerDefinition {
	return ecstypes.ContainerDefinition{
		Name: new("tool"), Image: new(st.image), Essential: new(true), Command: args,
		PortMappings: []ecstypes.PortMapping{{ContainerPort: new(int32(80))}},
		LogConfiguration: &ecstypes.LogConfiguration{LogDriver: ecstypes.LogDriverAwslogs, Options: map[string]string{
			"awslogs-group": st.logGroup, "awslogs-region": region, "awslogs-stream-prefix": "t",
		}},
	}
}

// register registers a Fargate task definition of 0.25 vCPU and 512 MiB.
func (st *stack) register(family string, change func(*ecs.RegisterTaskDefinitionInput), containers ...ecstypes.ContainerDefinition) string {
	st.t.Helper()
	in := &ecs.RegisterTaskDefinitionInput{
		Family: new(st.name + "-" + family), NetworkMode: ecstypes.NetworkModeAwsvpc,
		RequiresCompatibilities: []ecstypes.Compatibility{ecstypes.CompatibilityFargate},
		Cpu:                     new("256"), Memory: new("512"), ExecutionRoleArn: new(st.executionRole),
		ContainerDefinitions: containers,
	}
	if change != nil {
		change(in)
	}
	out, err := st.ecs.RegisterTaskDefinition(st.t.Context(), in)
	if err != nil {
		st.t.Fatal(err)
	}
	return *out.TaskDefinition.TaskDefinitionArn
}

func (st *stack) network(groups ...string) *ecstypes.NetworkConfiguration {
	return &ecstypes.NetworkConfiguration{AwsvpcConfiguration: &ecstypes.AwsVpcConfiguration{
		Subnets: st.subnets, SecurityGroups: groups, AssignPublicIp: ecstypes.AssignPublicIpEnabled,
	}}
}

// run runs one task and returns its ARN. The task is stopped with the test.
func (st *stack) run(definition string, groups ...string) string {
	st.t.Helper()
	out, err := st.ecs.RunTask(st.t.Context(), &ecs.RunTaskInput{
		Cluster: new(st.name), TaskDefinition: new(definition), LaunchType: ecstypes.LaunchTypeFargate,
		NetworkConfiguration: st.network(groups...),
	})
	if err != nil {
		st.t.Fatal(err)
	}
	if len(out.Failures) > 0 || len(out.Tasks) != 1 {
		st.t.Fatalf("RunTask: %d tasks, failures %+v", len(out.Tasks), out.Failures)
	}
	arn := *out.Tasks[0].TaskArn
	st.t.Cleanup(func() {
		_, _ = st.ecs.StopTask(context.Background(), &ecs.StopTaskInput{Cluster: new(st.name), Task: new(arn)})
	})
	return arn
}

func (st *stack) task(arn string) ecstypes.Task {
	st.t.Helper()
	out, err := st.ecs.DescribeTasks(st.t.Context(), &ecs.DescribeTasksInput{Cluster: new(st.name), Tasks: []string{arn}})
	if err != nil {
		st.t.Fatal(err)
	}
	if len(out.Tasks) != 1 {
		st.t.Fatalf("DescribeTasks: %+v", out.Failures)
	}
	return out.Tasks[0]
}

// await waits until a task has a status. Reaching STOPPED instead is failure.
func (st *stack) await(arn, status string) ecstypes.Task {
	st.t.Helper()
	var task ecstypes.Task
	deadline := time.Now().Add(90 * time.Second)
	for {
		task = st.task(arn)
		switch *task.LastStatus {
		case status:
			return task
		case "STOPPED":
			st.t.Fatalf("the task stopped while it should become %s: %s %s", status, task.StopCode, str(task.StoppedReason))
		}
		if time.Now().After(deadline) {
			st.t.Fatalf("the task is %s, not %s; desired %s; containers %s", *task.LastStatus, status, *task.DesiredStatus, containers(task))
		}
		<-time.After(100 * time.Millisecond)
	}
}

func containers(task ecstypes.Task) string {
	var b strings.Builder
	for _, c := range task.Containers {
		fmt.Fprintf(&b, "[%s %s %s]", *c.Name, str(c.LastStatus), str(c.Reason))
	}
	return b.String()
}

func str(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// address is the private address of a task's interface.
func address(t *testing.T, task ecstypes.Task) string {
	t.Helper()
	for _, a := range task.Attachments {
		for _, d := range a.Details {
			if *d.Name == "privateIPv4Address" {
				return *d.Value
			}
		}
	}
	t.Fatal("the task has no address")
	return ""
}

// output is all that a task's containers have written.
func (st *stack) output(arn string) string {
	st.t.Helper()
	id := arn[strings.LastIndexByte(arn, '/')+1:]
	var b strings.Builder
	var token *string
	for {
		out, err := st.logs.FilterLogEvents(st.t.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: new(st.logGroup), NextToken: token})
		if err != nil {
			st.t.Fatal(err)
		}
		for _, e := range out.Events {
			if strings.HasSuffix(*e.LogStreamName, id) {
				b.WriteString(*e.Message + "\n")
			}
		}
		if token = out.NextToken; token == nil {
			return b.String()
		}
	}
}

// keys puts an access key into a container's environment.
func keys(id, secret string) []ecstypes.KeyValuePair {
	return []ecstypes.KeyValuePair{
		{Name: new("AWS_ACCESS_KEY_ID"), Value: new(id)},
		{Name: new("AWS_SECRET_ACCESS_KEY"), Value: new(secret)},
	}
}
