package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/oci"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/engine/cgroup"
)

// EnsureGroup makes the cgroup that holds the task's containers.
func (e *Engine) EnsureGroup(_ context.Context, g engine.Group) error {
	err := e.cgroups.Ensure(e.cgroupPath(g.ID), cgroup.Limits{CPUs: g.CPUs, Memory: g.Memory, PIDs: g.PIDs})
	if err == nil {
		e.quotas.set(g.ID, g.CPUs)
	}
	return err
}

// RemoveGroup removes the cgroup and what was pinned for the group.
func (e *Engine) RemoveGroup(ctx context.Context, id string) error {
	if err := e.RemoveContainer(ctx, holderID(id)); err != nil {
		return err
	}
	dir := e.groupDir(id)
	err := unix.Unmount(filepath.Join(dir, "ipc"), unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("let go of the group's namespace: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove the group's files: %w", err)
	}
	e.quotas.forget(id)
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

// labelHolder marks the container that holds a group's process namespace.
const labelHolder = labelPrefix + "holder"

func holderID(group string) string { return group + "-holder" }

// sharedPID is the path of the group's process namespace. Such a namespace
// lives as long as its first process, so a container that only waits holds it.
func (e *Engine) sharedPID(ctx context.Context, group string) (string, error) {
	if len(e.cfg.InitCommand) == 0 {
		return "", fmt.Errorf("%w: this engine has no process to hold a process namespace", engine.ErrRejected)
	}
	defer e.lock("holder of " + group)()
	id := holderID(group)
	state, err := e.InspectContainer(ctx, id)
	if errors.Is(err, engine.ErrNotFound) {
		err = e.createHolder(ctx, group)
	}
	if err == nil && state.Status != engine.Running {
		if err = e.StartContainer(ctx, id); err == nil {
			state, err = e.InspectContainer(ctx, id)
		}
	}
	if err != nil {
		return "", fmt.Errorf("make the group's process namespace: %w", err)
	}
	return fmt.Sprintf("/proc/%d/ns/pid", state.PID), nil
}

func (e *Engine) createHolder(ctx context.Context, group string) error {
	root := filepath.Join(e.groupDir(group), "holder")
	// The mount point of the executable, and those that every container has.
	for _, d := range []string{"dev", "proc", "sys"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(root, "holder"), nil, 0o600); err != nil {
		return err
	}
	_, err := e.client.NewContainer(ctx, holderID(group),
		e.runtime(),
		client.WithContainerLabels(map[string]string{labelHolder: "true", labelGroup: group}),
		client.WithNewSpec(
			oci.WithoutRunMount,
			oci.WithRootFSPath(root),
			oci.WithRootFSReadonly(),
			oci.WithProcessArgs(append(append([]string{"/holder"}, e.cfg.InitCommand[1:]...), "--pause")...),
			oci.WithCgroup(e.cgroupPath(group, holderID(group))),
			oci.WithCapabilities(nil),
			oci.WithMounts([]specs.Mount{{Destination: "/holder", Type: "bind", Source: e.cfg.InitCommand[0], Options: []string{"bind", "ro"}}}),
			defaultSeccomp,
		),
	)
	return err
}
