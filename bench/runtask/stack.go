package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"roadstead.dev/bench/internal/report"
	"roadstead.dev/bench/internal/server"
	"roadstead.dev/internal/imagebuild"
)

const (
	name            = "bench"
	tasksTrust      = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},"Action":"sts:AssumeRole"}]}`
	executionPolicy = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
	// poll is how often a client asks what became of a task.
	poll = 5 * time.Millisecond
	// patience is how long a task may take.
	patience = time.Minute
)

// stack is what a user sets up once to run tasks.
type stack struct {
	ecs        *ecs.Client
	image      string
	definition string
	network    *types.NetworkConfiguration
}

// measured is what was seen of tasks.
type measured struct {
	run, stop                          report.Durations
	toPull, pulling, toStart, recorded report.Durations
	lastRun                            time.Duration
}

func newStack(ctx context.Context, srv *server.Server) (*stack, error) {
	s := &stack{ecs: ecs.NewFromConfig(srv.Config())}
	var err error
	if s.image, err = pushImage(ctx, ecr.NewFromConfig(srv.Config())); err != nil {
		return nil, fmt.Errorf("push the image: %w", err)
	}
	if _, err := cloudwatchlogs.NewFromConfig(srv.Config()).CreateLogGroup(ctx, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: new(name)}); err != nil {
		return nil, err
	}
	execution, err := makeRole(ctx, iam.NewFromConfig(srv.Config()), "execution", executionPolicy)
	if err != nil {
		return nil, err
	}
	role, err := makeRole(ctx, iam.NewFromConfig(srv.Config()), "task", "arn:aws:iam::aws:policy/ReadOnlyAccess")
	if err != nil {
		return nil, err
	}
	if _, err := s.ecs.CreateCluster(ctx, &ecs.CreateClusterInput{ClusterName: new(name)}); err != nil {
		return nil, err
	}
	subnets, err := ec2.NewFromConfig(srv.Config()).DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{Filters: []ec2types.Filter{{Name: new("default-for-az"), Values: []string{"true"}}}})
	if err != nil {
		return nil, err
	}
	vpc := &types.AwsVpcConfiguration{AssignPublicIp: types.AssignPublicIpEnabled}
	for _, sn := range subnets.Subnets {
		vpc.Subnets = append(vpc.Subnets, *sn.SubnetId)
	}
	s.network = &types.NetworkConfiguration{AwsvpcConfiguration: vpc}
	def, err := s.ecs.RegisterTaskDefinition(ctx, &ecs.RegisterTaskDefinitionInput{
		Family: new(name), NetworkMode: types.NetworkModeAwsvpc, RequiresCompatibilities: []types.Compatibility{types.CompatibilityFargate},
		Cpu: new("256"), Memory: new("512"), ExecutionRoleArn: &execution, TaskRoleArn: &role,
		ContainerDefinitions: []types.ContainerDefinition{{
			Name: new("sleeper"), Image: &s.image, Essential: new(true), PortMappings: []types.PortMapping{{ContainerPort: new(int32(80))}},
			LogConfiguration: &types.LogConfiguration{LogDriver: types.LogDriverAwslogs, Options: map[string]string{
				"awslogs-group": name, "awslogs-region": server.Region, "awslogs-stream-prefix": "t",
			}},
		}},
	})
	if err != nil {
		return nil, err
	}
	s.definition = *def.TaskDefinition.TaskDefinitionArn
	return s, nil
}

func pushImage(ctx context.Context, client *ecr.Client) (string, error) {
	root, err := report.Root()
	if err != nil {
		return "", err
	}
	program, err := imagebuild.GoBinary(ctx, root, "./bench/runtask/sleeper", "")
	if err != nil {
		return "", err
	}
	img, err := imagebuild.Build(imagebuild.Program("sleeper", program))
	if err != nil {
		return "", err
	}
	repo, err := client.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: new(name)})
	if err != nil {
		return "", err
	}
	token, err := client.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return "", err
	}
	login, err := imagebuild.ECRCredentials(*token.AuthorizationData[0].AuthorizationToken)
	if err != nil {
		return "", err
	}
	ref := *repo.Repository.RepositoryUri + ":v1"
	_, err = imagebuild.Push(ctx, ref, img, login)
	return ref, err
}

func makeRole(ctx context.Context, client *iam.Client, role, policy string) (string, error) {
	r, err := client.CreateRole(ctx, &iam.CreateRoleInput{RoleName: &role, AssumeRolePolicyDocument: new(tasksTrust)})
	if err != nil {
		return "", err
	}
	_, err = client.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &role, PolicyArn: &policy})
	return *r.Role.Arn, err
}

// start runs n tasks with one call and returns their ARNs.
func (s *stack) start(ctx context.Context, n int) ([]string, error) {
	out, err := s.ecs.RunTask(ctx, &ecs.RunTaskInput{
		Cluster: new(name), TaskDefinition: &s.definition, LaunchType: types.LaunchTypeFargate, NetworkConfiguration: s.network, Count: new(int32(n)),
	})
	if err != nil {
		return nil, err
	}
	if len(out.Tasks) != n {
		return nil, fmt.Errorf("RunTask: %+v", out.Failures)
	}
	var arns []string
	for i := range out.Tasks {
		arns = append(arns, *out.Tasks[i].TaskArn)
	}
	return arns, nil
}

// await asks until all the tasks have a status, and returns them.
func (s *stack) await(ctx context.Context, status string, arns ...string) ([]types.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		out, err := s.ecs.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: new(name), Tasks: arns})
		if err != nil {
			return nil, err
		}
		there := 0
		for i := range out.Tasks {
			t := &out.Tasks[i]
			if *t.LastStatus == "STOPPED" && status != "STOPPED" {
				return nil, fmt.Errorf("the task stopped: %s", *t.StoppedReason)
			}
			if *t.LastStatus == status {
				there++
			}
		}
		if there == len(arns) {
			return out.Tasks, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("%d of %d tasks are %s", there, len(arns), status), ctx.Err())
		case <-tick.C:
		}
	}
}

// settle gives a program that has just been started the time to ask for
// SIGTERM: the first process of a namespace that did not gets none.
func settle() { time.Sleep(100 * time.Millisecond) }

// one runs a task, stops it, and notes how long each took.
func (s *stack) one(ctx context.Context, m *measured) error {
	begun := time.Now()
	arns, err := s.start(ctx, 1)
	if err != nil {
		return err
	}
	tasks, err := s.await(ctx, "RUNNING", arns...)
	if err != nil {
		return err
	}
	m.lastRun = time.Since(begun)
	m.run.Add(m.lastRun)
	t := tasks[0]
	m.toPull.Add(t.PullStartedAt.Sub(*t.CreatedAt))
	m.pulling.Add(t.PullStoppedAt.Sub(*t.PullStartedAt))
	m.toStart.Add(t.StartedAt.Sub(*t.PullStoppedAt))
	m.recorded.Add(t.StartedAt.Sub(*t.CreatedAt))
	settle()
	begun = time.Now()
	if err := s.stop(ctx, arns); err != nil {
		return err
	}
	m.stop.Add(time.Since(begun))
	return nil
}

func (s *stack) stop(ctx context.Context, arns []string) error {
	for _, arn := range arns {
		if _, err := s.ecs.StopTask(ctx, &ecs.StopTaskInput{Cluster: new(name), Task: &arn}); err != nil {
			return err
		}
	}
	_, err := s.await(ctx, "STOPPED", arns...)
	return err
}

// many runs n tasks, ten to a call, and tells how long it took until all ran.
func (s *stack) many(ctx context.Context, n int) (time.Duration, error) {
	begun := time.Now()
	var arns []string
	for len(arns) < n {
		more, err := s.start(ctx, min(10, n-len(arns)))
		if err != nil {
			return 0, err
		}
		arns = append(arns, more...)
	}
	if _, err := s.await(ctx, "RUNNING", arns...); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	settle()
	return took, s.stop(ctx, arns)
}
