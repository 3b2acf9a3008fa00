package containerd_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/engine/containerd"
	"roadstead.dev/internal/engine/containerd/supervise"
	"roadstead.dev/internal/engine/enginetest"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/logger"
)

// daemon is the one that all tests of this package share, each in a
// namespace of its own.
var daemon struct {
	once    sync.Once
	config  supervise.Config
	address string
	err     error
}

func TestMain(m *testing.M) {
	// The shim starts this program as the logger of TestLogger's container.
	if len(os.Args) > 1 && os.Args[1] == logger.Subcommand {
		os.Exit(logger.Main(os.Args[2:]))
	}
	code := m.Run()
	if daemon.address != "" {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		if err := supervise.Stop(ctx, daemon.config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		cancel()
		if err := os.RemoveAll(daemon.config.Root); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func startDaemon(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("containers need root")
	}
	for _, b := range []string{"containerd", "runc"} {
		if _, err := exec.LookPath(b); err != nil {
			t.Skip(b + " is not installed")
		}
	}
	daemon.once.Do(func() {
		name := "rstest" + id.Hex(6)
		root, err := os.MkdirTemp("", name) //nolint:usetesting // it outlives the test
		if err != nil {
			daemon.err = err
			return
		}
		daemon.config = supervise.Config{Root: root, RunDir: filepath.Join("/run", name), Cgroup: "/" + name + ".containerd"}
		daemon.address, daemon.err = supervise.Ensure(context.Background(), daemon.config)
	})
	if daemon.err != nil {
		t.Fatal(daemon.err)
	}
	return daemon.address
}

// open makes an engine in a namespace of its own.
func open(t *testing.T, change func(*containerd.Config)) (*containerd.Engine, containerd.Config) {
	t.Helper()
	address := startDaemon(t)
	cfg := containerd.Config{Address: address, Namespace: "rs" + id.Hex(6), StateDir: t.TempDir()}
	if change != nil {
		change(&cfg)
	}
	e, err := containerd.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := e.Purge(ctx); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, cfg
}

func TestConformance(t *testing.T) {
	t.Parallel()
	init := enginetest.Init(t)
	e, cfg := open(t, func(c *containerd.Config) { c.InitCommand = init })
	registry := enginetest.NewRegistry(t)
	t.Run("suite", func(t *testing.T) {
		enginetest.Run(t, func(*testing.T) enginetest.Harness {
			return enginetest.Harness{
				Engine: e, Registry: registry, Real: true,
				Reopen: func(t *testing.T) engine.Engine {
					again, err := containerd.New(context.Background(), cfg)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() {
						if err := again.Close(); err != nil {
							t.Error(err)
						}
					})
					return again
				},
			}
		})
	})
}

// TestLogger runs the awslogs driver beside a container: lines reach the spool
// though this process only tells the shim where to.
func TestLogger(t *testing.T) {
	t.Parallel()
	e, _ := open(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ref := enginetest.NewRegistry(t).Ref("app:latest")
	if _, err := e.PullImage(ctx, engine.PullRequest{Ref: ref}); err != nil {
		t.Fatal(err)
	}
	if err := e.EnsureGroup(ctx, engine.Group{ID: "g"}); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spool := t.TempDir()
	uri := logger.URI(exe, logger.Config{Dir: spool, Account: "000000000000", Region: "us-east-1", Group: "g", Stream: "s"})
	spec := engine.ContainerSpec{ID: "c", Group: "g", Image: ref, Command: []string{"print", "hello from the container"}, LogURI: uri}
	if err := e.CreateContainer(ctx, spec); err != nil {
		t.Fatal(err)
	}
	if err := e.StartContainer(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	if x, err := e.Wait(ctx, "c"); err != nil || x.Code != 0 {
		t.Fatalf("%+v, %v", x, err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !spooled(t, spool, "hello from the container") {
		select {
		case <-ctx.Done():
			t.Fatal("the line is not in the spool")
		case <-tick.C:
		}
	}
}

// A group's limits hold once a container has started, also the share of CPU
// time that is lifted while it is made.
func TestLimitsAreInForce(t *testing.T) {
	t.Parallel()
	e, cfg := open(t, nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ref := enginetest.NewRegistry(t).Ref("app:latest")
	if _, err := e.PullImage(ctx, engine.PullRequest{Ref: ref}); err != nil {
		t.Fatal(err)
	}
	if err := e.EnsureGroup(ctx, engine.Group{ID: "g", CPUs: 0.25, Memory: 64 << 20, PIDs: 321}); err != nil {
		t.Fatal(err)
	}
	if err := e.CreateContainer(ctx, engine.ContainerSpec{ID: "c", Group: "g", Image: ref, Command: []string{"serve"}}); err != nil {
		t.Fatal(err)
	}
	if err := e.StartContainer(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"pids.max": "321", "cpu.max": "25000 100000", "cpu.cfs_quota_us": "25000"} {
		found, err := filepath.Glob("/sys/fs/cgroup/*/roadstead-" + cfg.Namespace + "/g/" + file)
		if err != nil {
			t.Fatal(err)
		}
		unified, err := filepath.Glob("/sys/fs/cgroup/roadstead-" + cfg.Namespace + "/g/" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range append(found, unified...) {
			if b, err := os.ReadFile(path); err != nil || strings.TrimSpace(string(b)) != want {
				t.Errorf("%s holds %q, %v", path, b, err)
			}
		}
		if len(found)+len(unified) == 0 && file == "pids.max" {
			t.Error("the group has no limit of processes")
		}
	}
}

func spooled(t *testing.T, dir, text string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.spool"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), text) {
			return true
		}
	}
	return false
}
