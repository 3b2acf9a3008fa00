package containerd_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/engine/containerd"
	"roadstead.dev/internal/engine/containerd/supervise"
	"roadstead.dev/internal/engine/enginetest"
	"roadstead.dev/internal/id"
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
