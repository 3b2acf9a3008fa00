package containerd_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/engine/containerd"
	"roadstead.dev/internal/engine/containerd/supervise"
	"roadstead.dev/internal/engine/enginetest"
	"roadstead.dev/internal/id"
)

// TestDaemonDies kills the daemon under running containers: they go on, and
// whoever waits for one still learns how it ends.
func TestDaemonDies(t *testing.T) {
	t.Parallel()
	startDaemon(t) // skips where there can't be one
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	t.Cleanup(cancel)
	name := "rstest" + id.Hex(6)
	c := supervise.Config{Root: filepath.Join(t.TempDir(), "root"), RunDir: filepath.Join("/run", name), Cgroup: "/" + name + ".containerd"}
	address, err := supervise.Ensure(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := supervise.Stop(context.Background(), c); err != nil {
			t.Error(err)
		}
	})
	e, err := containerd.New(ctx, containerd.Config{Address: address, Namespace: "rs" + id.Hex(6), StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Purge(context.Background()); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	ref := enginetest.NewRegistry(t).Ref("app:latest")
	if _, err := e.PullImage(ctx, engine.PullRequest{Ref: ref}); err != nil {
		t.Fatal(err)
	}
	if err := e.EnsureGroup(ctx, engine.Group{ID: "g"}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b"} {
		if err := e.CreateContainer(ctx, engine.ContainerSpec{ID: id, Group: "g", Image: ref, StopSignal: "SIGUSR1", Command: []string{"serve"}}); err != nil {
			t.Fatal(err)
		}
		if err := e.StartContainer(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	waited := make(chan engine.Exit, 1)
	go func() {
		x, err := e.Wait(ctx, "a")
		if err != nil {
			t.Error(err)
		}
		waited <- x
	}()
	kill(t, filepath.Join(c.RunDir, "containerd.pid"))
	b, err := e.InspectContainer(ctx, "b")
	if err == nil {
		t.Errorf("the daemon is still there: %+v", b)
	}
	if _, err := supervise.Ensure(ctx, c); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for { // until the connection is back
		err := e.StopContainer(ctx, "a", time.Minute)
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-tick.C:
		}
	}
	// A process that has not installed its handler yet dies of the signal.
	if x := <-waited; x.Code != 10 && x.Code != 128+int(syscall.SIGUSR1) || x.Lost {
		t.Errorf("%+v", x)
	}
	if b, err := e.InspectContainer(ctx, "b"); err != nil || b.Status != engine.Running {
		t.Errorf("%+v, %v", b, err)
	}
}

// kill ends the process of a pid file and waits until it is gone.
func kill(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(b))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for syscall.Kill(pid, 0) == nil {
		<-tick.C
	}
}
