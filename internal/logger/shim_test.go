package logger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"roadstead.dev/internal/engine/cgroup"
	"roadstead.dev/internal/id"
)

// containerd starts one of the test's own and returns how to call ctr on it.
func containerd(t *testing.T) func(args ...string) *exec.Cmd {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root to run containers")
	}
	for _, tool := range []string{"containerd", "ctr", "runc"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	dir, err := os.MkdirTemp("", "rslog") //nolint:usetesting // sockets need a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config := filepath.Join(dir, "config.toml")
	text := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.snapshotter.v1.btrfs\", \"io.containerd.snapshotter.v1.zfs\"]\n[grpc]\naddress = %q\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), filepath.Join(dir, "sock"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	daemon := exec.Command("containerd", "--config", config) //nolint:noctx // ended below, after its containers
	daemon.Stdout, daemon.Stderr = log, log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		_ = daemon.Wait()
		// ctr makes it for its containers, and leaves it.
		h, err := cgroup.Detect()
		if err == nil {
			err = h.Remove("/rslog")
		}
		if err != nil {
			t.Error(err)
		}
	})
	ctr := func(args ...string) *exec.Cmd {
		return exec.Command("ctr", append([]string{"--address", filepath.Join(dir, "sock"), "--namespace", "rslog"}, args...)...) //nolint:noctx // short
	}
	for deadline := time.Now().Add(20 * time.Second); ctr("version").Run() != nil; {
		if time.Now().After(deadline) {
			b, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Fatalf("containerd does not answer:\n%s", b)
		}
	}
	return ctr
}

// executable copies a static program into a root file system of its own.
func rootfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	src := filepath.Join(dir, "main.go")
	program := `package main

import ("fmt"; "os")

func main() {
	for i := range 1000 { fmt.Printf("out %d\n", i) }
	fmt.Fprint(os.Stderr, "err without newline")
}
`
	if err := os.WriteFile(src, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(dir, "rootfs")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(root, "app"), src)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return root
}

// A real shim starts the logger, and every line of the container arrives.
func TestContainerdShim(t *testing.T) {
	ctr := containerd(t)
	root := rootfs(t)
	cfg := config(t)
	name := "c" + id.Hex(8)
	run := ctr("run", "--rm", "--rootfs", "--log-uri", uri(t, cfg), root, name, "/app")
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("run: %v\n%s", err, out)
	}
	want := []string{"err without newline"}
	for i := range 1000 {
		want = append(want, fmt.Sprint("out ", i))
	}
	slices.Sort(want)
	var got []string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		got, _ = spooled(t, cfg.Dir, "rslog."+name)
		if slices.Sort(got); slices.Equal(got, want) && released(t, cfg.Dir) {
			return
		}
	}
	t.Errorf("%d events, want %d; first %s", len(got), len(want), strings.Join(got[:min(3, len(got))], "|"))
}

// released tells whether the loggers have let go of all segments.
func released(t *testing.T, dir string) bool {
	t.Helper()
	segments, err := Segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range segments {
		r, err := OpenSegment(s.Path, 0)
		if err != nil {
			t.Fatal(err)
		}
		idle, err := r.Idle()
		if err = errors.Join(err, r.Close()); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if !idle {
			return false
		}
	}
	return true
}
