package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"roadstead.dev/bench/internal/report"
	"roadstead.dev/bench/internal/server"
)

// full is the scale that the times must not grow with.
var full = scale{definitions: 10_000, services: 1_000, tasks: 100_000}

// point is what was measured at one scale.
type point struct {
	scale         scale
	disk          int64
	start         report.Durations
	idle, worked  server.Memory
	operations    map[string]*report.Durations
	operationList []string
}

func measure(ctx context.Context, binary, dir string, s scale, starts, calls int) (*point, error) {
	p := &point{scale: s, operations: map[string]*report.Durations{}}
	if err := fill(ctx, binary, dir, s); err != nil {
		return nil, fmt.Errorf("fill: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "roadstead.db*"))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		st, err := os.Stat(f)
		if err != nil {
			return nil, err
		}
		p.disk += st.Size()
	}
	for i := range starts {
		srv, err := server.Start(ctx, server.Options{Binary: binary, DataDir: dir, Engine: "fake"})
		if err != nil {
			return nil, err
		}
		p.start.Add(srv.Started)
		if i < starts-1 {
			if err := srv.Stop(); err != nil {
				return nil, err
			}
			continue
		}
		if err := p.work(ctx, srv, calls); err != nil {
			srv.Log(os.Stderr)
			return nil, errors.Join(err, srv.Down())
		}
		if err := srv.Down(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// work calls each operation many times.
func (p *point) work(ctx context.Context, srv *server.Server, calls int) error {
	select { // until the first passes of the controllers are over
	case <-time.After(3 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	var err error
	if p.idle, err = srv.Memory(); err != nil {
		return err
	}
	cfg := srv.Config()
	api := ecs.NewFromConfig(cfg)
	subnets, err := ec2.NewFromConfig(cfg).DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	if err != nil {
		return err
	}
	name := aws.String(cluster)
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a load, not a secret
	stopped := &ecs.ListTasksInput{Cluster: name, DesiredStatus: types.DesiredStatusStopped, MaxResults: aws.Int32(100)}
	middleTasks, err := middle(ecs.NewListTasksPaginator(api, stopped), func(o *ecs.ListTasksOutput) *string { return o.NextToken }, ctx, p.scale.tasks/100)
	if err != nil {
		return err
	}
	definitions := &ecs.ListTaskDefinitionsInput{MaxResults: aws.Int32(100)}
	middleDefinitions, err := middle(ecs.NewListTaskDefinitionsPaginator(api, definitions), func(o *ecs.ListTaskDefinitionsOutput) *string { return o.NextToken }, ctx, p.scale.definitions/100)
	if err != nil {
		return err
	}
	some := func(n int, f func(int) string, of int) []string {
		out := make([]string, n)
		for i := range out {
			out[i] = f(r.IntN(of))
		}
		return out
	}
	for _, op := range []struct {
		name string
		call func() error
	}{
		{"ListTasks, stopped, first page", func() error { return second(api.ListTasks(ctx, stopped)) }},
		{"ListTasks, stopped, middle page", func() error {
			in := *stopped
			in.NextToken = middleTasks
			return second(api.ListTasks(ctx, &in))
		}},
		{"ListTasks, running", func() error { return second(api.ListTasks(ctx, &ecs.ListTasksInput{Cluster: name})) }},
		{"ListTasks, of a service", func() error {
			return second(api.ListTasks(ctx, &ecs.ListTasksInput{Cluster: name, ServiceName: aws.String(service(r.IntN(p.scale.services)))}))
		}},
		{"DescribeTasks, 10", func() error {
			return second(api.DescribeTasks(ctx, &ecs.DescribeTasksInput{Cluster: name, Tasks: some(10, taskID, p.scale.tasks)}))
		}},
		{"ListServices, first page", func() error {
			return second(api.ListServices(ctx, &ecs.ListServicesInput{Cluster: name, MaxResults: aws.Int32(100)}))
		}},
		{"DescribeServices, 1", func() error {
			return second(api.DescribeServices(ctx, &ecs.DescribeServicesInput{Cluster: name, Services: some(1, service, p.scale.services)}))
		}},
		{"ListTaskDefinitions, first page", func() error { return second(api.ListTaskDefinitions(ctx, definitions)) }},
		{"ListTaskDefinitions, middle page", func() error {
			in := *definitions
			in.NextToken = middleDefinitions
			return second(api.ListTaskDefinitions(ctx, &in))
		}},
		{"ListTaskDefinitions, a family's newest", func() error {
			return second(api.ListTaskDefinitions(ctx, &ecs.ListTaskDefinitionsInput{
				FamilyPrefix: aws.String(family(r.IntN(p.scale.definitions / revisions))), Sort: types.SortOrderDesc, MaxResults: aws.Int32(1),
			}))
		}},
		{"DescribeTaskDefinition", func() error {
			return second(api.DescribeTaskDefinition(ctx, &ecs.DescribeTaskDefinitionInput{TaskDefinition: aws.String(family(r.IntN(p.scale.definitions / revisions)))}))
		}},
		{"DescribeClusters", func() error {
			return second(api.DescribeClusters(ctx, &ecs.DescribeClustersInput{Clusters: []string{cluster}}))
		}},
		{"RunTask", func() error {
			return second(api.RunTask(ctx, &ecs.RunTaskInput{
				Cluster: name, TaskDefinition: aws.String(family(r.IntN(p.scale.definitions / revisions))), LaunchType: types.LaunchTypeFargate,
				NetworkConfiguration: &types.NetworkConfiguration{AwsvpcConfiguration: &types.AwsVpcConfiguration{Subnets: []string{*subnets.Subnets[0].SubnetId}}},
			}))
		}},
	} {
		times := &report.Durations{}
		for range calls {
			begun := time.Now()
			if err := op.call(); err != nil {
				return fmt.Errorf("%s: %w", op.name, err)
			}
			times.Add(time.Since(begun))
		}
		p.operations[op.name] = times
		p.operationList = append(p.operationList, op.name)
	}
	p.worked, err = srv.Memory()
	return err
}

func second[T any](_ T, err error) error { return err }

// pages is a paginator of the SDK's.
type pages[O, P any] interface {
	HasMorePages() bool
	NextPage(ctx context.Context, options ...func(*P)) (O, error)
}

// middle reads pages up to the middle of as many, and returns the token of the
// one behind.
func middle[O, P any](list pages[O, P], token func(O) *string, ctx context.Context, count int) (*string, error) { //nolint:revive // the context is passed on
	var next *string
	for i := 0; i < count/2 && list.HasMorePages(); i++ {
		out, err := list.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		next = token(out)
	}
	return next, nil
}
