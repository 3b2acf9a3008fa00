package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	ecstypes "github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"roadstead.dev/internal/network"
)

// TestKillAndAdopt kills the server under a running service and starts it
// again: the same containers still run, no log line is missing, the balancer
// answers, and the next deployment works.
func TestKillAndAdopt(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "containerd")
	st := newStack(t, s)
	writer := st.container("log", "-every", "20ms")
	writer.Name, writer.PortMappings = new("writer"), nil
	b := st.balance(2, st.register("web", nil, st.container("serve", "-name", "before"), writer))
	b.stable(90 * time.Second)
	before := runtimeIDs(st)
	if len(before) != 2 {
		t.Fatalf("%d containers run, want 2", len(before))
	}
	addresses := map[string]string{}
	for arn := range before {
		addresses[arn] = address(t, st.task(arn))
	}
	instance := s.prefix(t)
	if err := s.kill(); err != nil {
		t.Fatal(err)
	}
	// The containers go on answering and writing while nobody serves.
	netns := filepath.Join("/run/roadstead", instance, "net/vpc", st.vpc)
	for arn := range before {
		conn, err := network.DialIn(t.Context(), netns, "tcp", addresses[arn]+":80")
		if err != nil {
			t.Fatalf("a task does not answer while the server is dead: %v", err)
		}
		_ = conn.Close()
	}
	<-time.After(2 * time.Second)
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	after := runtimeIDs(st)
	for task, id := range before {
		if after[task] != id {
			t.Errorf("task %s ran container %s, now %q", task, id, after[task])
		}
	}
	eventually(t, 30*time.Second, "the balancer answers again", func() error {
		if code, body, err := b.get("/"); err != nil || code != 200 {
			return errorf("%d %q %v", code, body, err)
		}
		return nil
	})
	for task := range before {
		eventually(t, 20*time.Second, "no line is missing", func() error { return contiguous(st.output(task)) })
	}
	if _, err := st.ecs.UpdateService(t.Context(), &ecs.UpdateServiceInput{
		Cluster: new(st.name), Service: new("web"), TaskDefinition: new(st.register("web", nil, st.container("serve", "-name", "after"))),
	}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Minute, "the next deployment completes", func() error {
		sv := b.service()
		if len(sv.Deployments) != 1 || sv.RunningCount != 2 || sv.Deployments[0].RolloutState != ecstypes.DeploymentRolloutStateCompleted {
			return errorf("%d deployments, %d running\n%s", len(sv.Deployments), sv.RunningCount, events(sv))
		}
		return nil
	})
	if _, body, err := b.get("/"); err != nil || !strings.Contains(body, "after") {
		t.Errorf("after the deployment: %q %v", body, err)
	}
}

// runtimeIDs maps the stack's running tasks to their container's id.
func runtimeIDs(st *stack) map[string]string {
	st.t.Helper()
	list, err := st.ecs.ListTasks(st.t.Context(), &ecs.ListTasksInput{Cluster: new(st.name), ServiceName: new("web")})
	if err != nil {
		st.t.Fatal(err)
	}
	ids := map[string]string{}
	for _, arn := range list.TaskArns {
		task := st.task(arn)
		if *task.LastStatus == "RUNNING" {
			ids[arn] = str(task.Containers[0].RuntimeId)
		}
	}
	return ids
}

var counted = regexp.MustCompile(`(?m)^line ([0-9]+)`)

// contiguous checks that the lines "line 1", "line 2", … are all there, once
// and in order, and that they go on past two seconds' worth.
func contiguous(out string) error {
	ms := counted.FindAllStringSubmatch(out, -1)
	for i, m := range ms {
		n, err := strconv.Atoi(m[1])
		if err != nil || n != i+1 {
			return fmt.Errorf("line %d is %q", i+1, m[0])
		}
	}
	if len(ms) < 150 {
		return fmt.Errorf("only %d lines", len(ms))
	}
	return nil
}

// TestDownLeavesNothing starts a server with tasks and a balancer, takes it
// down, and looks for anything of it on the machine.
func TestDownLeavesNothing(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "containerd")
	st := newStack(t, s)
	b := st.balance(1, st.register("web", nil, st.container("serve")))
	b.stable(90 * time.Second)
	st.await(st.run(st.register("other", nil, st.container("serve")), st.group("closed", 0, "")), "RUNNING")
	list, err := s.ecs.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: new(st.name), ServiceName: new("web")})
	if err != nil || len(list.TaskArns) != 1 {
		t.Fatal(list, err)
	}
	before := list.TaskArns[0]
	prefix := s.prefix(t)
	if found := remains(t, s.dataDir, prefix); len(found) == 0 {
		t.Fatal("the search finds nothing of a running server: it would find nothing ever")
	}
	if err := s.down(); err != nil {
		t.Fatal(err)
	}
	if found := remains(t, s.dataDir, prefix); len(found) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(found, "\n"))
	}
	// What was acknowledged is still known when the server comes back.
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	out, err := s.ecs.DescribeServices(t.Context(), &ecs.DescribeServicesInput{Cluster: new(st.name), Services: []string{"web"}})
	if err != nil || len(out.Services) != 1 {
		t.Fatalf("the service is not known any more: %v %v", out, err)
	}
	// Its task is gone with the machine's state; another one takes its place.
	eventually(t, 90*time.Second, "the service runs again", func() error {
		list, err := s.ecs.ListTasks(t.Context(), &ecs.ListTasksInput{Cluster: new(st.name), ServiceName: new("web")})
		if err != nil {
			return err
		}
		if len(list.TaskArns) != 1 || list.TaskArns[0] == before {
			return errorf("its tasks are %v, before %s", list.TaskArns, before)
		}
		d, err := s.ecs.DescribeTasks(t.Context(), &ecs.DescribeTasksInput{Cluster: new(st.name), Tasks: list.TaskArns})
		if err != nil {
			return err
		}
		if *d.Tasks[0].LastStatus != "RUNNING" {
			return errorf("the new task is %s", *d.Tasks[0].LastStatus)
		}
		return nil
	})
}

// prefix asks the server what its names on the machine begin with.
func (s *server) prefix(t *testing.T) string {
	t.Helper()
	out, err := exec.Command(built.roadstead, s.args("status")...).Output()
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`\brs[0-9a-f]{6}\b`).FindString(string(out))
	if m == "" {
		t.Fatalf("roadstead status names no prefix:\n%s", out)
	}
	return m
}

// remains lists what on the machine bears an instance's prefix or data folder.
func remains(t *testing.T, dataDir, prefix string) []string {
	t.Helper()
	var found []string
	add := func(what, detail string) { found = append(found, what+": "+detail) }
	mine := func(s string) bool { return strings.Contains(s, dataDir) || strings.Contains(s, prefix) }

	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		cmdline, err := os.ReadFile(p + "/cmdline")
		if err != nil || p == "/proc/"+strconv.Itoa(os.Getpid()) {
			continue
		}
		if line := string(bytes.ReplaceAll(cmdline, []byte{0}, []byte(" "))); mine(line) {
			add("process", filepath.Base(p)+" "+line)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if mine(line) {
			add("mount", strings.TrimSpace(line))
		}
	}
	links, err := filepath.Glob("/sys/class/net/" + prefix + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		add("interface", l)
	}
	if out, err := exec.Command("nft", "list", "tables").Output(); err == nil {
		for line := range strings.Lines(string(out)) {
			if mine(line) {
				add("nftables", strings.TrimSpace(line))
			}
		}
	}
	if out, err := exec.Command("ip", "route", "show", "table", "all").Output(); err == nil {
		for line := range strings.Lines(string(out)) {
			if mine(line) {
				add("route", strings.TrimSpace(line))
			}
		}
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && mine(path) {
			add("cgroup", path)
			return fs.SkipDir
		}
		return nil
	})
	for _, pattern := range []string{"/run/*" + prefix + "*", "/run/roadstead/*" + prefix + "*", "/run/netns/*" + prefix + "*", "/var/run/netns/*" + prefix + "*"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			add("file", p)
		}
	}
	for _, path := range []string{filepath.Join(dataDir, "hosts"), "/etc/hosts"} {
		if hosts, err := os.ReadFile(path); err == nil && mine(string(hosts)) {
			add("hosts", string(hosts))
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}
