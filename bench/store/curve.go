package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"roadstead.dev/bench/internal/report"
	"roadstead.dev/bench/internal/server"
	"roadstead.dev/test/rawaws"
)

// full is the scale that the times must not grow with.
var full = scale{definitions: 10_000, services: 1_000, tasks: 100_000}

// memory is what a process has resident, in bytes.
type memory struct{ own, files int64 }

func (m memory) String() string { return report.Megabytes(m.own) + " + " + report.Megabytes(m.files) }

func memoryOf(pid int) (m memory, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		to := map[string]*int64{"RssAnon:": &m.own, "RssFile:": &m.files}
		if len(fields) < 2 || to[fields[0]] == nil {
			continue
		}
		n, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return m, err
		}
		*to[fields[0]] = n << 10
	}
	return m, nil
}

// point is what was measured at one scale.
type point struct {
	scale         scale
	disk          int64
	start         report.Durations
	idle, worked  memory
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
	if p.idle, err = memoryOf(srv.PID); err != nil {
		return err
	}
	subnets, err := ec2.NewFromConfig(srv.Config()).DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	if err != nil {
		return err
	}
	c := rawaws.New(srv.Endpoint, 1)
	defer c.Close()
	ask := func(operation string, in rawaws.Object) func() error {
		return func() error { return c.Call(ctx, rawaws.ECS, operation, in, nil) }
	}
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a load, not a secret
	some := func(n int, f func(int) string, of int) []string {
		out := make([]string, n)
		for i := range out {
			out[i] = f(r.IntN(of))
		}
		return out
	}
	aFamily := func() string { return family(r.IntN(p.scale.definitions / revisions)) }
	tasksToken, err := middle(ctx, c, "ListTasks", stoppedTasks(""), p.scale.tasks/100)
	if err != nil {
		return err
	}
	definitionsToken, err := middle(ctx, c, "ListTaskDefinitions", definitions(""), p.scale.definitions/100)
	if err != nil {
		return err
	}
	network := rawaws.Object{"awsvpcConfiguration": rawaws.Object{"subnets": []string{*subnets.Subnets[0].SubnetId}}}
	for _, op := range []struct {
		name string
		call func() error
	}{
		{"ListTasks, stopped, first page", ask("ListTasks", stoppedTasks(""))},
		{"ListTasks, stopped, middle page", ask("ListTasks", stoppedTasks(tasksToken))},
		{"ListTasks, running", ask("ListTasks", rawaws.Object{})},
		{"ListTasks, of a service", func() error {
			return ask("ListTasks", rawaws.Object{"serviceName": service(r.IntN(p.scale.services))})()
		}},
		{"DescribeTasks, 10", func() error {
			return ask("DescribeTasks", rawaws.Object{"tasks": some(10, taskID, p.scale.tasks)})()
		}},
		{"ListServices, first page", ask("ListServices", rawaws.Object{"maxResults": 100})},
		{"DescribeServices, 1", func() error {
			return ask("DescribeServices", rawaws.Object{"services": some(1, service, p.scale.services)})()
		}},
		{"ListTaskDefinitions, first page", ask("ListTaskDefinitions", definitions(""))},
		{"ListTaskDefinitions, middle page", ask("ListTaskDefinitions", definitions(definitionsToken))},
		{"ListTaskDefinitions, a family's newest", func() error {
			return ask("ListTaskDefinitions", rawaws.Object{"familyPrefix": aFamily(), "sort": "DESC", "maxResults": 1})()
		}},
		{"DescribeTaskDefinition", func() error {
			return ask("DescribeTaskDefinition", rawaws.Object{"taskDefinition": aFamily()})()
		}},
		{"DescribeClusters", ask("DescribeClusters", rawaws.Object{"clusters": []string{cluster}})},
		{"RunTask", func() error {
			return ask("RunTask", rawaws.Object{"taskDefinition": aFamily(), "launchType": "FARGATE", "networkConfiguration": network})()
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
	p.worked, err = memoryOf(srv.PID)
	return err
}

func stoppedTasks(token string) rawaws.Object {
	return paged(rawaws.Object{"desiredStatus": "STOPPED", "maxResults": 100}, token)
}

func definitions(token string) rawaws.Object { return paged(rawaws.Object{"maxResults": 100}, token) }

func paged(in rawaws.Object, token string) rawaws.Object {
	if token != "" {
		in["nextToken"] = token
	}
	return in
}

// middle reads pages up to the middle of as many, and returns the token of the
// one behind.
func middle(ctx context.Context, c *rawaws.Client, operation string, in rawaws.Object, pages int) (string, error) {
	token := ""
	for range pages / 2 {
		var out struct{ NextToken string }
		if err := c.Call(ctx, rawaws.ECS, operation, paged(in, token), &out); err != nil {
			return "", err
		}
		token = out.NextToken
	}
	return token, nil
}
