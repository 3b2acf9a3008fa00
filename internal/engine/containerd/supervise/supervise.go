// Package supervise runs a containerd daemon of an instance's own, for
// machines where none runs or whose own should be left alone. The daemon
// outlives the server that started it, and the next one finds it again.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"golang.org/x/sys/unix"

	"roadstead.dev/internal/engine/cgroup"
)

// DefaultAddress is the socket of the machine's own daemon.
const DefaultAddress = "/run/containerd/containerd.sock"

// Config of a daemon.
type Config struct {
	// Root holds images and snapshots: it survives restarts.
	Root string
	// RunDir holds sockets and state; short, since a socket's path may have
	// only 107 bytes. It goes with a reboot.
	RunDir string
	// Cgroup is where the daemon and what it starts live, so that ending the
	// server's own group does not end them: "/roadstead-<instance>.containerd".
	Cgroup string
	// Binary is containerd's; empty means the one in PATH.
	Binary string
	Log    *slog.Logger
}

// ErrNoBinary tells that there is no containerd to start.
var ErrNoBinary = errors.New("containerd is not installed")

func (c Config) address() string { return filepath.Join(c.RunDir, "containerd.sock") }
func (c Config) config() string  { return filepath.Join(c.RunDir, "containerd.toml") }
func (c Config) pidFile() string { return filepath.Join(c.RunDir, "containerd.pid") }
func (c Config) logFile() string { return filepath.Join(c.Root, "containerd.log") }

// Answers tells whether a daemon serves at the address.
func Answers(ctx context.Context, address string) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	c, err := client.New(address, client.WithTimeout(2*time.Second))
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ok, err := c.IsServing(ctx)
	return err == nil && ok
}

// Ensure starts the daemon unless it runs already, waits until it serves, and
// returns its socket.
func Ensure(ctx context.Context, c Config) (address string, err error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if Answers(ctx, c.address()) {
		return c.address(), nil
	}
	// ended is nil for one that another process started.
	var ended <-chan struct{}
	if pid := c.running(); pid == 0 {
		if ended, err = c.start(); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if Answers(ctx, c.address()) {
			return c.address(), nil
		}
		if ended == nil && c.running() == 0 {
			return "", fmt.Errorf("containerd ended: %s", c.lastLines())
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("containerd does not serve: %w: %s", ctx.Err(), c.lastLines())
		case <-ended:
			return "", fmt.Errorf("containerd ended at once: %s", c.lastLines())
		case <-tick.C:
		}
	}
}

// start starts the daemon in a session and a cgroup of its own. The channel is
// closed when it ends.
func (c Config) start() (<-chan struct{}, error) {
	binary := c.Binary
	if binary == "" {
		var err error
		if binary, err = exec.LookPath("containerd"); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNoBinary, err)
		}
	}
	for _, d := range []string{c.Root, c.RunDir} {
		if err := os.MkdirAll(d, 0o711); err != nil {
			return nil, fmt.Errorf("make containerd's folder: %w", err)
		}
	}
	if err := os.WriteFile(c.config(), []byte(c.toml()), 0o600); err != nil {
		return nil, fmt.Errorf("write containerd's configuration: %w", err)
	}
	log, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open containerd's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(binary, "--config", c.config())
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start containerd: %w", err)
	}
	pid := cmd.Process.Pid
	// While this process lives, it must take the exit of its child.
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	if err := os.WriteFile(c.pidFile(), []byte(strconv.Itoa(pid)), 0o600); err != nil {
		return nil, fmt.Errorf("write containerd's pid: %w", err)
	}
	if c.Cgroup != "" {
		h, err := cgroup.Detect()
		if err == nil {
			err = h.Add(c.Cgroup, pid)
		}
		if err != nil {
			c.Log.Warn("containerd stays in the server's cgroup", "error", err)
		}
	}
	c.Log.Info("started containerd", "pid", pid, "socket", c.address(), "log", c.logFile())
	return ended, nil
}

func (c Config) toml() string {
	return fmt.Sprintf(`version = 2
root = %q
state = %q
# Kubernetes' side of containerd is not used, nor what needs a device.
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime",
  "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.nri.v1.nri"]

[grpc]
  address = %q

[ttrpc]
  address = %q
`, filepath.Join(c.Root, "root"), filepath.Join(c.RunDir, "state"), c.address(), c.address()+".ttrpc")
}

// running is the pid of the daemon that was started before, 0 when it is gone.
func (c Config) running() int {
	b, err := os.ReadFile(c.pidFile())
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return 0
	}
	// The number may have gone to another process since.
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(cmdline), c.config()) {
		return 0
	}
	return pid
}

func (c Config) lastLines() string {
	b, err := os.ReadFile(c.logFile())
	if err != nil {
		return err.Error()
	}
	if len(b) > 1000 {
		b = b[len(b)-1000:]
	}
	return string(b)
}

// Stop ends the daemon, if it runs, and removes its state folder and cgroup.
// Containers must have been removed before; Root stays.
func Stop(ctx context.Context, c Config) error {
	if pid := c.running(); pid != 0 {
		if err := c.terminate(ctx, pid); err != nil {
			return err
		}
	}
	// Shims that are left keep mounts in there.
	entries, err := os.ReadFile("/proc/self/mountinfo")
	if err == nil {
		for line := range strings.SplitSeq(string(entries), "\n") {
			f := strings.Fields(line)
			if len(f) > 4 && strings.HasPrefix(f[4], c.RunDir+"/") {
				_ = unix.Unmount(f[4], unix.MNT_DETACH)
			}
		}
	}
	if err := os.RemoveAll(c.RunDir); err != nil {
		return fmt.Errorf("remove containerd's state: %w", err)
	}
	if c.Cgroup == "" {
		return nil
	}
	h, err := cgroup.Detect()
	if err != nil {
		return err
	}
	return c.empty(ctx, h)
}

// empty removes the cgroup once the shims that end with their containers are
// gone. One that does not go in five seconds is killed.
func (c Config) empty(ctx context.Context, h *cgroup.Hierarchies) error {
	kill := time.NewTimer(5 * time.Second)
	defer kill.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := h.Remove(c.Cgroup)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-kill.C:
			for _, pid := range h.Processes(c.Cgroup) {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			kill.Reset(5 * time.Second)
		case <-tick.C:
		}
	}
}

// terminate asks the daemon to end and waits until it is gone; it kills it
// when it takes longer than ten seconds.
func (c Config) terminate(ctx context.Context, pid int) error {
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop containerd: %w", err)
	}
	kill := time.NewTimer(10 * time.Second)
	defer kill.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for c.alive(pid) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("stop containerd: %w", ctx.Err())
		case <-kill.C:
			_ = syscall.Kill(pid, syscall.SIGKILL)
		case <-tick.C:
		}
	}
	return nil
}

// alive tells whether the process is there and no zombie.
func (c Config) alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) || err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(after, "Z")
}
