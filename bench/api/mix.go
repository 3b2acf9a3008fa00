package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"

	"roadstead.dev/test/rawaws"
)

type object = rawaws.Object

// step is one operation of the mix, and how often it comes, in percent.
type step struct {
	operation string
	weight    int
	writes    bool
	run       func(*worker, context.Context) error
}

// mix is what a deployment tool, a scheduler of jobs and a dashboard do
// together: two reads for one write.
var mix = []step{
	{"DescribeTasks", 20, false, (*worker).describeTasks},
	{"DescribeServices", 15, false, (*worker).describeServices},
	{"ListTasks", 10, false, (*worker).listTasks},
	{"DescribeTaskDefinition", 8, false, (*worker).describeDefinition},
	{"ListServices", 5, false, (*worker).listServices},
	{"DescribeClusters", 4, false, (*worker).describeClusters},
	{"ListTaskDefinitions", 4, false, (*worker).listDefinitions},
	{"RunTask", 9, true, (*worker).runTask},
	{"StopTask", 9, true, (*worker).stopTask},
	{"UpdateService", 6, true, (*worker).updateService},
	{"RegisterTaskDefinition", 4, true, (*worker).register},
	{"DeregisterTaskDefinition", 4, true, (*worker).deregister},
	{"CreateCluster", 1, true, (*worker).createCluster},
	{"DeleteCluster", 1, true, (*worker).deleteCluster},
}

// described is how the mix is told.
func described() string {
	var reads, writes []string
	for _, s := range mix {
		text := fmt.Sprintf("%s %d%%", s.operation, s.weight)
		if s.writes {
			writes = append(writes, text)
		} else {
			reads = append(reads, text)
		}
	}
	return "Reads: " + strings.Join(reads, ", ") + ". Writes: " + strings.Join(writes, ", ") + "."
}

// pick draws a step by weight.
func pick(r *rand.Rand) step {
	n := r.IntN(100)
	for _, s := range mix {
		if n -= s.weight; n < 0 {
			return s
		}
	}
	return mix[0]
}

// worker is one user: a cluster with a service, a family of task definitions,
// and the tasks that it started. Whoever has nothing to stop starts, so the
// operations stay in balance.
type worker struct {
	c       *rawaws.Client
	name    string
	subnet  string
	group   string
	random  *rand.Rand
	running []string // tasks
	defs    []string // revisions that may be deregistered
	empty   []string // clusters that may be deleted
	made    int
	desired int
}

// recent is how many tasks a worker keeps running, at most, and how many one
// DescribeTasks asks for.
const recent = 10

func (w *worker) definition() object {
	return object{
		"family": w.name, "networkMode": "awsvpc", "requiresCompatibilities": []string{"FARGATE"}, "cpu": "256", "memory": "512",
		"containerDefinitions": []object{{
			"name": "web", "image": "public.ecr.aws/docker/library/nginx:1.27", "essential": true, "cpu": 256, "memory": 512,
			"portMappings": []object{{"containerPort": 80, "protocol": "tcp"}},
			"environment":  []object{{"name": "STAGE", "value": "bench"}, {"name": "LOG_LEVEL", "value": "info"}},
		}},
	}
}

func (w *worker) network() object {
	return object{"awsvpcConfiguration": object{"subnets": []string{w.subnet}, "securityGroups": []string{w.group}, "assignPublicIp": "DISABLED"}}
}

// setUp makes what the worker starts with.
func (w *worker) setUp(ctx context.Context) error {
	for _, call := range []struct {
		operation string
		in        object
	}{
		{"CreateCluster", object{"clusterName": w.name}},
		{"RegisterTaskDefinition", w.definition()},
		{"CreateService", object{
			"cluster": w.name, "serviceName": w.name, "taskDefinition": w.name + ":1", "desiredCount": 1,
			"launchType": "FARGATE", "networkConfiguration": w.network(),
		}},
	} {
		if err := w.c.Call(ctx, rawaws.ECS, call.operation, call.in, nil); err != nil {
			return err
		}
	}
	w.desired = 1
	for range recent / 2 {
		if err := w.runTask(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tearDown stops what runs, so that the next measurement begins without it.
func (w *worker) tearDown(ctx context.Context) error {
	for len(w.running) > 0 {
		if err := w.stopTask(ctx); err != nil {
			return err
		}
	}
	return w.c.Call(ctx, rawaws.ECS, "DeleteService", object{"cluster": w.name, "service": w.name, "force": true}, nil)
}

func (w *worker) describeTasks(ctx context.Context) error {
	if len(w.running) == 0 {
		return w.runTask(ctx)
	}
	return w.c.Call(ctx, rawaws.ECS, "DescribeTasks", object{"cluster": w.name, "tasks": w.running}, nil)
}

func (w *worker) describeServices(ctx context.Context) error {
	return w.c.Call(ctx, rawaws.ECS, "DescribeServices", object{"cluster": w.name, "services": []string{w.name}}, nil)
}

func (w *worker) listTasks(ctx context.Context) error {
	return w.c.Call(ctx, rawaws.ECS, "ListTasks", object{"cluster": w.name}, nil)
}

func (w *worker) describeDefinition(ctx context.Context) error {
	return w.c.Call(ctx, rawaws.ECS, "DescribeTaskDefinition", object{"taskDefinition": w.name + ":1"}, nil)
}

func (w *worker) listServices(ctx context.Context) error {
	return w.c.Call(ctx, rawaws.ECS, "ListServices", object{"cluster": w.name}, nil)
}

func (w *worker) describeClusters(ctx context.Context) error {
	return w.c.Call(ctx, rawaws.ECS, "DescribeClusters", object{"clusters": []string{w.name}}, nil)
}

func (w *worker) listDefinitions(ctx context.Context) error {
	return w.c.Call(ctx, rawaws.ECS, "ListTaskDefinitions", object{"familyPrefix": w.name, "maxResults": 20}, nil)
}

func (w *worker) runTask(ctx context.Context) error {
	if len(w.running) >= recent {
		return w.stopTask(ctx)
	}
	var out struct {
		Tasks []struct {
			TaskARN string `json:"taskArn"`
		} `json:"tasks"`
	}
	in := object{
		"cluster": w.name, "taskDefinition": w.name + ":1", "launchType": "FARGATE", "count": 1,
		"networkConfiguration": w.network(), "startedBy": "bench",
	}
	if err := w.c.Call(ctx, rawaws.ECS, "RunTask", in, &out); err != nil {
		return err
	}
	if len(out.Tasks) != 1 {
		return fmt.Errorf("RunTask started %d tasks", len(out.Tasks))
	}
	w.running = append(w.running, out.Tasks[0].TaskARN)
	return nil
}

func (w *worker) stopTask(ctx context.Context) error {
	if len(w.running) == 0 {
		return w.runTask(ctx)
	}
	task := w.running[0]
	w.running = w.running[1:]
	return w.c.Call(ctx, rawaws.ECS, "StopTask", object{"cluster": w.name, "task": task, "reason": "bench"}, nil)
}

func (w *worker) updateService(ctx context.Context) error {
	w.desired = 3 - w.desired
	return w.c.Call(ctx, rawaws.ECS, "UpdateService", object{"cluster": w.name, "service": w.name, "desiredCount": w.desired}, nil)
}

func (w *worker) register(ctx context.Context) error {
	if len(w.defs) >= recent {
		return w.deregister(ctx)
	}
	var out struct {
		TaskDefinition struct {
			ARN string `json:"taskDefinitionArn"`
		} `json:"taskDefinition"`
	}
	if err := w.c.Call(ctx, rawaws.ECS, "RegisterTaskDefinition", w.definition(), &out); err != nil {
		return err
	}
	w.defs = append(w.defs, out.TaskDefinition.ARN)
	return nil
}

func (w *worker) deregister(ctx context.Context) error {
	if len(w.defs) == 0 {
		return w.register(ctx)
	}
	arn := w.defs[0]
	w.defs = w.defs[1:]
	return w.c.Call(ctx, rawaws.ECS, "DeregisterTaskDefinition", object{"taskDefinition": arn}, nil)
}

func (w *worker) createCluster(ctx context.Context) error {
	w.made++
	name := fmt.Sprintf("%s-%d", w.name, w.made)
	w.empty = append(w.empty, name)
	return w.c.Call(ctx, rawaws.ECS, "CreateCluster", object{"clusterName": name}, nil)
}

func (w *worker) deleteCluster(ctx context.Context) error {
	if len(w.empty) == 0 {
		return w.createCluster(ctx)
	}
	name := w.empty[0]
	w.empty = w.empty[1:]
	return w.c.Call(ctx, rawaws.ECS, "DeleteCluster", object{"cluster": name}, nil)
}
