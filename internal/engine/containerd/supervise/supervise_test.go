package supervise_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/engine/cgroup"
	"roadstead.dev/internal/engine/containerd/supervise"
	"roadstead.dev/internal/id"
)

func config(t *testing.T) supervise.Config {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("containerd needs root")
	}
	if _, err := exec.LookPath("containerd"); err != nil {
		t.Skip("containerd is not installed")
	}
	name := "rstest" + id.Hex(6)
	c := supervise.Config{Root: filepath.Join(t.TempDir(), "root"), RunDir: filepath.Join("/run", name), Cgroup: "/" + name + ".containerd"}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := supervise.Stop(ctx, c); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestEnsureFindsWhatRuns(t *testing.T) {
	t.Parallel()
	c := config(t)
	address, err := supervise.Ensure(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := os.ReadFile(filepath.Join(c.RunDir, "containerd.pid"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := supervise.Ensure(t.Context(), c)
	if err != nil || again != address || !supervise.Answers(t.Context(), address) {
		t.Errorf("%s, then %s, %v", address, again, err)
	}
	if now, err := os.ReadFile(filepath.Join(c.RunDir, "containerd.pid")); err != nil || string(now) != string(pid) {
		t.Errorf("another daemon was started: %s, then %s, %v", pid, now, err)
	}
	// A session of its own, so that nothing that ends the server ends it.
	stat, err := os.ReadFile(filepath.Join("/proc", string(pid), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	if session := strings.Fields(after)[3]; session != string(pid) {
		t.Errorf("session %s of process %s", session, pid)
	}
	h, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Processes(c.Cgroup)) == 0 {
		t.Error("not in a cgroup of its own")
	}
	if err := supervise.Stop(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if supervise.Answers(t.Context(), address) || h.Exists(c.Cgroup) {
		t.Error("something is left")
	}
	if _, err := os.Stat(c.RunDir); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := supervise.Stop(t.Context(), c); err != nil {
		t.Errorf("stop what does not run: %v", err)
	}
}

func TestDaemonThatEndsAtOnce(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Binary = "/bin/false"
	if _, err := supervise.Ensure(t.Context(), c); err == nil || !strings.Contains(err.Error(), "ended at once") {
		t.Error(err)
	}
}
