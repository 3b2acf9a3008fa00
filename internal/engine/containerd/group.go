package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/engine/cgroup"
)

// EnsureGroup makes the cgroup that holds the task's containers.
func (e *Engine) EnsureGroup(_ context.Context, g engine.Group) error {
	return e.cgroups.Ensure(e.cgroupPath(g.ID), cgroup.Limits{CPUs: g.CPUs, Memory: g.Memory})
}

// RemoveGroup removes the cgroup and what was pinned for the group.
func (e *Engine) RemoveGroup(_ context.Context, id string) error {
	dir := e.groupDir(id)
	err := unix.Unmount(filepath.Join(dir, "ipc"), unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("let go of the group's namespace: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the group's files: %w", err)
	}
	return e.cgroups.Remove(e.cgroupPath(id))
}

func (e *Engine) groupDir(id string) string { return filepath.Join(e.cfg.StateDir, "ns", id) }

// sharedIPC is the path of the group's IPC namespace, which is made on first
// use and pinned by a bind mount, so that it needs no process.
func (e *Engine) sharedIPC(group string) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	path := filepath.Join(e.groupDir(group), "ipc")
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err == nil && st.Type == unix.NSFS_MAGIC {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", fmt.Errorf("make the group's files: %w", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return "", fmt.Errorf("make the group's files: %w", err)
	}
	result := make(chan error)
	go func() {
		// The thread has left the process's namespace and ends with the
		// goroutine, since it stays locked.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWIPC)
		if err == nil {
			self := fmt.Sprintf("/proc/self/task/%d/ns/ipc", unix.Gettid())
			err = unix.Mount(self, path, "", unix.MS_BIND, "")
		}
		result <- err
	}()
	if err := <-result; err != nil {
		return "", fmt.Errorf("make the group's IPC namespace: %w", err)
	}
	return path, nil
}
