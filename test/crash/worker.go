package crash

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/test/rawaws"
)

// worker writes things of its own, one after the other, and remembers what was
// acknowledged. The write that the kill interrupts may have happened or not;
// of each thing there is at most one such.
type worker struct {
	name   string
	random *rand.Rand
	serial int

	revision int // of the task definition family, the newest acknowledged
	version  int // of the parameter
	// repositories and clusters that are there, and those that were deleted.
	repositories, clusters map[string]bool
	// uncertain are names of either that the interrupted write was about.
	uncertain map[string]bool
	tag       int // of the first cluster
	// tasks were acknowledged; running are those that were not stopped.
	tasks, running []string

	subnet string
}

func newWorker(i int, subnet string) *worker {
	return &worker{
		subnet: subnet, name: fmt.Sprintf("w%02d", i), random: rand.New(rand.NewPCG(uint64(i), uint64(time.Now().UnixNano()))), //nolint:gosec // no secret
		repositories: map[string]bool{}, clusters: map[string]bool{}, uncertain: map[string]bool{},
	}
}

// write goes on until a call fails, which is when the server is killed.
func (w *worker) write(ctx context.Context, c *rawaws.Client) (times []time.Duration, err error) {
	for {
		begun := time.Now()
		if err := w.one(ctx, c); err != nil {
			return times, err
		}
		times = append(times, time.Since(begun))
	}
}

func (w *worker) one(ctx context.Context, c *rawaws.Client) error {
	switch n := w.random.IntN(10); {
	case n < 3:
		var out struct{ TaskDefinition struct{ Revision int } }
		err := c.Call(ctx, rawaws.ECS, "RegisterTaskDefinition", rawaws.Object{
			"family": w.name, "networkMode": "awsvpc", "cpu": "256", "memory": "512", "requiresCompatibilities": []string{"FARGATE"},
			"containerDefinitions": []rawaws.Object{{"name": "c", "image": "busybox"}},
		}, &out)
		if err == nil {
			w.revision = out.TaskDefinition.Revision
		}
		return err
	case n < 6:
		var out struct{ Version int }
		err := c.Call(ctx, rawaws.SSM, "PutParameter", rawaws.Object{
			"Name": "/" + w.name, "Value": fmt.Sprintf("value %d", w.version+1), "Type": "String", "Overwrite": true,
		}, &out)
		if err == nil {
			w.version = out.Version
		}
		return err
	case n < 7:
		return w.toggle(w.repositories, "repository", func(name string) error {
			return c.Call(ctx, rawaws.ECR, "CreateRepository", rawaws.Object{"repositoryName": name}, nil)
		}, func(name string) error {
			return c.Call(ctx, rawaws.ECR, "DeleteRepository", rawaws.Object{"repositoryName": name}, nil)
		})
	case n < 8:
		return w.toggle(w.clusters, "cluster", func(name string) error {
			return c.Call(ctx, rawaws.ECS, "CreateCluster", rawaws.Object{"clusterName": name}, nil)
		}, func(name string) error {
			return c.Call(ctx, rawaws.ECS, "DeleteCluster", rawaws.Object{"cluster": name}, nil)
		})
	case n < 9:
		return w.retag(ctx, c)
	default:
		return w.run(ctx, c)
	}
}

// toggle makes something new, or deletes something that is there.
func (w *worker) toggle(there map[string]bool, kind string, create, remove func(string) error) error {
	name, makes := "", true
	for n, exists := range there {
		if exists && w.random.IntN(3) == 0 {
			name, makes = n, false
			break
		}
	}
	act := remove
	if makes {
		w.serial++
		name, act = fmt.Sprintf("%s-%s-%d", w.name, kind, w.serial), create
	}
	if err := act(name); err != nil {
		w.uncertain[name] = true
		return err
	}
	there[name] = makes
	return nil
}

// home is a cluster that stays, with a tag that changes and tasks.
func (w *worker) home(ctx context.Context, c *rawaws.Client) (string, error) {
	name := w.name + "-home"
	if w.tag > 0 {
		return name, nil
	}
	return name, c.Call(ctx, rawaws.ECS, "CreateCluster", rawaws.Object{"clusterName": name}, nil)
}

func (w *worker) retag(ctx context.Context, c *rawaws.Client) error {
	name, err := w.home(ctx, c)
	if err != nil {
		return err
	}
	n := strconv.Itoa(w.tag + 1)
	err = c.Call(ctx, rawaws.ECS, "TagResource", rawaws.Object{
		"resourceArn": "arn:aws:ecs:" + rawaws.Region + ":000000000000:cluster/" + name,
		"tags":        []rawaws.Object{{"key": "first", "value": n}, {"key": "second", "value": n}},
	}, nil)
	if err == nil {
		w.tag++
	}
	return err
}

// run starts two tasks, or stops one: several controllers write for each while
// the server is killed.
func (w *worker) run(ctx context.Context, c *rawaws.Client) error {
	name, err := w.home(ctx, c)
	if err != nil || w.revision == 0 {
		return err
	}
	if len(w.running) > 4 {
		err := c.Call(ctx, rawaws.ECS, "StopTask", rawaws.Object{"cluster": name, "task": w.running[0]}, nil)
		if err == nil {
			w.running = w.running[1:]
		}
		return err
	}
	var out struct{ Tasks []struct{ TaskArn string } }
	err = c.Call(ctx, rawaws.ECS, "RunTask", rawaws.Object{
		"cluster": name, "taskDefinition": w.name, "count": 2, "launchType": "FARGATE",
		"networkConfiguration": rawaws.Object{"awsvpcConfiguration": rawaws.Object{"subnets": []string{w.subnet}}},
	}, &out)
	for _, t := range out.Tasks {
		w.tasks, w.running = append(w.tasks, t.TaskArn), append(w.running, t.TaskArn)
	}
	return err
}

// check compares what is there with what was acknowledged, and goes on from
// what is there.
func (w *worker) check(ctx context.Context, c *rawaws.Client) (wrong []string, err error) {
	say := func(format string, args ...any) { wrong = append(wrong, w.name+": "+fmt.Sprintf(format, args...)) }
	err = errors.Join(
		w.checkDefinitions(ctx, c, say), w.checkParameter(ctx, c, say), w.checkRepositories(ctx, c, say),
		w.checkClusters(ctx, c, say), w.checkTasks(ctx, c, say),
	)
	clear(w.uncertain)
	return wrong, err
}

type sayer func(format string, args ...any)

// checkDefinitions: revisions have no gap, and the family's record counts them.
func (w *worker) checkDefinitions(ctx context.Context, c *rawaws.Client, say sayer) error {
	found, token := map[int]bool{}, ""
	for {
		in := rawaws.Object{"familyPrefix": w.name}
		if token != "" {
			in["nextToken"] = token
		}
		var out struct {
			TaskDefinitionArns []string
			NextToken          string
		}
		if err := c.Call(ctx, rawaws.ECS, "ListTaskDefinitions", in, &out); err != nil {
			return err
		}
		for _, arn := range out.TaskDefinitionArns {
			n, _ := strconv.Atoi(arn[strings.LastIndexByte(arn, ':')+1:])
			found[n] = true
		}
		if token = out.NextToken; token == "" {
			break
		}
	}
	newest := 0
	for n := range found {
		newest = max(newest, n)
	}
	if newest < w.revision || newest > w.revision+1 {
		say("the newest revision is %d, acknowledged was %d", newest, w.revision)
	}
	for n := 1; n <= newest; n++ {
		if !found[n] {
			say("revision %d of %d is missing", n, newest)
		}
	}
	var out struct{ TaskDefinition struct{ Revision int } }
	if newest > 0 {
		if err := c.Call(ctx, rawaws.ECS, "DescribeTaskDefinition", rawaws.Object{"taskDefinition": w.name}, &out); err != nil {
			return err
		}
		if out.TaskDefinition.Revision != newest {
			say("the family counts %d revisions, there are %d", out.TaskDefinition.Revision, newest)
		}
	}
	w.revision = newest
	return nil
}

// checkParameter: the parameter and its history are of one write.
func (w *worker) checkParameter(ctx context.Context, c *rawaws.Client, say sayer) error {
	var out struct {
		Parameter struct {
			Value   string
			Version int
		}
	}
	err := c.Call(ctx, rawaws.SSM, "GetParameter", rawaws.Object{"Name": "/" + w.name}, &out)
	if refused, ok := errors.AsType[*rawaws.Error](err); ok && strings.Contains(refused.Body, "ParameterNotFound") {
		if w.version > 0 {
			say("the parameter is missing, acknowledged was version %d", w.version)
		}
		return nil
	}
	if err != nil {
		return err
	}
	p := out.Parameter
	if p.Version < w.version || p.Version > w.version+1 || p.Value != fmt.Sprintf("value %d", p.Version) {
		say("the parameter is %q at version %d, acknowledged was %d", p.Value, p.Version, w.version)
	}
	var by struct{ Parameter struct{ Value string } }
	if err := c.Call(ctx, rawaws.SSM, "GetParameter", rawaws.Object{"Name": fmt.Sprintf("/%s:%d", w.name, p.Version)}, &by); err != nil {
		return err
	}
	if by.Parameter.Value != p.Value {
		say("the parameter's version %d is %q, the parameter %q", p.Version, by.Parameter.Value, p.Value)
	}
	w.version = p.Version
	return nil
}

func (w *worker) checkRepositories(ctx context.Context, c *rawaws.Client, say sayer) error {
	for name, exists := range w.repositories {
		err := c.Call(ctx, rawaws.ECR, "DescribeRepositories", rawaws.Object{"repositoryNames": []string{name}}, nil)
		if refused, ok := errors.AsType[*rawaws.Error](err); ok && strings.Contains(refused.Body, "RepositoryNotFound") {
			if exists && !w.uncertain[name] {
				say("repository %s is missing", name)
			}
			delete(w.repositories, name)
			continue
		}
		if err != nil {
			return err
		}
		if !exists && !w.uncertain[name] {
			say("repository %s was deleted and is there", name)
		}
		w.repositories[name] = true
	}
	return nil
}

func (w *worker) checkClusters(ctx context.Context, c *rawaws.Client, say sayer) error {
	type cluster struct {
		ClusterName, Status string
		Tags                []struct{ Key, Value string }
	}
	for names := range slices.Chunk(append(slices.Sorted(maps.Keys(w.clusters)), w.name+"-home"), 100) {
		var out struct{ Clusters []cluster }
		if err := c.Call(ctx, rawaws.ECS, "DescribeClusters", rawaws.Object{"clusters": names, "include": []string{"TAGS"}}, &out); err != nil {
			return err
		}
		active := map[string]bool{}
		for _, cl := range out.Clusters {
			active[cl.ClusterName] = cl.Status == "ACTIVE"
			if cl.ClusterName == w.name+"-home" {
				w.checkTags(len(cl.Tags), func(i int) string { return cl.Tags[i].Value }, say)
			}
		}
		for _, name := range names {
			if exists, known := w.clusters[name]; known && active[name] != exists && !w.uncertain[name] {
				say("cluster %s: it is there: %v, acknowledged: %v", name, active[name], exists)
			}
			if _, known := w.clusters[name]; known {
				w.clusters[name] = active[name]
			}
		}
		if w.tag > 0 && slices.Contains(names, w.name+"-home") && !active[w.name+"-home"] {
			say("the cluster with the tags is missing")
		}
	}
	return nil
}

// checkTags: both tags are of one write.
func (w *worker) checkTags(n int, value func(int) string, say sayer) {
	got := 0
	if n == 2 {
		got, _ = strconv.Atoi(value(0))
		if value(0) != value(1) {
			say("the tags are %s and %s", value(0), value(1))
		}
	}
	if n != 2 && n != 0 || got < w.tag || got > w.tag+1 {
		say("the tags are at %d, acknowledged was %d", got, w.tag)
	}
	w.tag = got
}

func (w *worker) checkTasks(ctx context.Context, c *rawaws.Client, say sayer) error {
	for tasks := range slices.Chunk(w.tasks, 100) {
		var out struct{ Tasks []struct{ TaskArn string } }
		if err := c.Call(ctx, rawaws.ECS, "DescribeTasks", rawaws.Object{"cluster": w.name + "-home", "tasks": tasks}, &out); err != nil {
			return err
		}
		if len(out.Tasks) != len(tasks) {
			say("%d of %d tasks are there", len(out.Tasks), len(tasks))
		}
	}
	return nil
}
