package node_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/engine/containerd"
	"roadstead.dev/internal/engine/containerd/supervise"
	"roadstead.dev/internal/engine/enginetest"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/node"
)

// plane is a control plane that sends a task once, and keeps the last report.
type plane struct {
	mu     sync.Mutex
	out    chan acs.Message
	report acs.TaskStateChange
}

func (p *plane) Connect(context.Context) (node.Session, error) { return p, nil }
func (p *plane) Send(context.Context, acs.Message) error       { return nil }
func (p *plane) Close() error                                  { return nil }

func (p *plane) Receive(ctx context.Context) (acs.Message, error) {
	select {
	case m := <-p.out:
		return m, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *plane) SubmitTaskStateChange(_ context.Context, ch acs.TaskStateChange) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report = ch
	return nil
}

// until waits for a report that pleases.
func (p *plane) until(t *testing.T, ok func(acs.TaskStateChange) bool) acs.TaskStateChange {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		p.mu.Lock()
		ch := p.report
		p.mu.Unlock()
		if ok(ch) {
			return ch
		}
		select {
		case <-deadline.C:
			t.Fatalf("the last report is %+v", ch)
		case <-tick.C:
		}
	}
}

// fileLogs sends output to files.
type fileLogs string

func (f fileLogs) Open(_ context.Context, t node.LogTarget) (string, error) {
	return "file://" + filepath.Join(string(f), t.ContainerName), nil
}

// TestTaskOnContainerd runs a task of three containers on a real engine: its
// files, its shared volume, its health check; through a restart of the node,
// to its end, of which nothing may be left.
func TestTaskOnContainerd(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("containers need root")
	}
	for _, b := range []string{"containerd", "runc"} {
		if _, err := exec.LookPath(b); err != nil {
			t.Skip(b + " is not installed")
		}
	}
	name := "rstest" + id.Hex(6)
	daemon := supervise.Config{Root: filepath.Join(t.TempDir(), "root"), RunDir: filepath.Join("/run", name), Cgroup: "/" + name + ".containerd"}
	address, err := supervise.Ensure(t.Context(), daemon)
	if err != nil {
		t.Fatal(err)
	}
	cfg := containerd.Config{Address: address, Namespace: "rs" + id.Hex(6), StateDir: t.TempDir()}
	t.Cleanup(func() {
		if e, err := containerd.New(context.Background(), cfg); err != nil {
			t.Error(err)
		} else if err := errors.Join(e.Purge(context.Background()), e.Close()); err != nil {
			t.Error(err)
		}
		if err := supervise.Stop(context.Background(), daemon); err != nil {
			t.Error(err)
		}
	})
	registry := enginetest.NewRegistry(t)
	registry.Push(t, "seed:latest", v1.Config{Entrypoint: []string{"/app"}})
	logs, state := t.TempDir(), t.TempDir()
	p := &plane{out: make(chan acs.Message, 4)}
	start := func() (stop func()) {
		e, err := containerd.New(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		n, err := node.New(node.Config{
			Name: "test", Engine: e, Transport: p, Logs: fileLogs(logs), StateDir: state, RetryDelay: 50 * time.Millisecond,
			Clock: clock.System{}, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- n.Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	stop := start()
	defer func() { stop() }()

	ref := registry.Ref("seed:latest")
	awslogs := acs.DockerHostConfig{LogConfig: &acs.DockerLogConfig{Type: "awslogs"}}
	logged := acs.NewDockerConfig(acs.DockerContainerConfig{}, awslogs)
	checked := acs.NewDockerConfig(acs.DockerContainerConfig{Healthcheck: &acs.DockerHealthcheck{
		Test: []string{"CMD", "/app", "cat", "/shared/word"}, Interval: 100 * time.Millisecond,
	}}, awslogs)
	volume := []acs.MountPoint{{SourceVolume: "v", ContainerPath: "/shared"}}
	arn := "arn:aws:ecs:us-east-1:000000000000:task/default/" + id.Hex(32)
	task := acs.Task{
		Arn: arn, DesiredStatus: acs.DesiredRunning, LaunchType: "FARGATE", CPU: 0.5, Memory: 256, Volumes: []acs.Volume{{Name: "v"}},
		Containers: []acs.Container{
			{Name: "write", Image: ref, Command: []string{"write", "/shared/word", "hello"}, MountPoints: volume, DockerConfig: logged},
			{
				Name: "serve", Image: ref, Essential: true, Command: []string{"serve"}, MountPoints: volume, DockerConfig: checked, HealthCheckType: "docker",
				DependsOn: []acs.ContainerDependency{{ContainerName: "write", Condition: acs.ConditionSuccess}},
			},
			{
				Name: "hosts", Image: ref, Command: []string{"cat", "/etc/hosts"}, DockerConfig: logged,
				DependsOn: []acs.ContainerDependency{{ContainerName: "serve", Condition: acs.ConditionHealthy}},
			},
		},
	}
	p.out <- &acs.PayloadMessage{MessageID: "1", Tasks: []acs.Task{task}}
	running := p.until(t, func(ch acs.TaskStateChange) bool {
		return ch.Status == acs.StatusRunning && ch.HealthStatus == acs.HealthHealthy && ch.Containers[2].Status == acs.StatusStopped
	})
	for i, want := range []string{acs.StatusStopped, acs.StatusRunning, acs.StatusStopped} {
		c := running.Containers[i]
		if c.Status != want || c.Status == acs.StatusStopped && *c.ExitCode != 0 || !strings.HasPrefix(c.ImageDigest, "sha256:") {
			t.Errorf("%+v", c)
		}
	}
	contains(t, filepath.Join(logs, "hosts"), "127.0.0.1 localhost\n")

	stop()
	stop = start()
	p.out <- &acs.PayloadMessage{MessageID: "2", Tasks: []acs.Task{{Arn: arn, DesiredStatus: acs.DesiredStopped}}}
	ended := p.until(t, func(ch acs.TaskStateChange) bool { return ch.Status == acs.StatusStopped })
	if c := ended.Containers[1]; c.RuntimeID != running.Containers[1].RuntimeID || *c.ExitCode != 0 {
		t.Errorf("%+v", c)
	}
	contains(t, filepath.Join(logs, "serve"), "got terminated")
	if left, err := os.ReadDir(filepath.Join(state, "files")); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// contains waits until a log has the text: the runtime writes it a little
// after the process did.
func contains(t *testing.T, file, text string) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		b, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(b), text) {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("%s: %q, %v", file, b, err)
		case <-tick.C:
		}
	}
}
