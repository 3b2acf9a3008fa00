package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const nsfsMagic = 0x6e736673

// runIn runs f on an OS thread that is in the namespace at path. The thread
// never serves another goroutine unless it is back in its own namespace. f
// must not start goroutines that it expects to be in the namespace.
func runIn(path string, f func() error) error {
	errc := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			errc <- fmt.Errorf("this thread's network namespace: %w", err)
			return
		}
		defer func() { _ = home.Close() }()
		target, err := netns.GetFromPath(path)
		if err != nil {
			runtime.UnlockOSThread()
			errc <- fmt.Errorf("open network namespace %s: %w", path, err)
			return
		}
		defer func() { _ = target.Close() }()
		if err := netns.Set(target); err != nil {
			runtime.UnlockOSThread()
			errc <- fmt.Errorf("enter network namespace %s: %w", path, err)
			return
		}
		err = f()
		// A thread that cannot go home stays locked, and ends with its goroutine.
		if netns.Set(home) == nil {
			runtime.UnlockOSThread()
		}
		errc <- err
	}()
	return <-errc
}

// isNetns tells whether a namespace is mounted at path.
func isNetns(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == nsfsMagic
}

// makeNetns makes a namespace and mounts it at path, where it stays when this
// process ends. It reports whether it was made; one that exists is left as it
// is. Its loopback device is not up.
func makeNetns(path string) (made bool, err error) {
	if isNetns(path) {
		return false, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return false, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o444)
	if err != nil {
		return false, err
	}
	if err := file.Close(); err != nil {
		return false, err
	}
	errc := make(chan error, 1)
	go func() {
		// The thread is never unlocked: it ends with the goroutine, so that no
		// other goroutine finds itself in the new namespace.
		runtime.LockOSThread()
		errc <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("make a network namespace: %w", err)
			}
			if err := unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, ""); err != nil {
				return fmt.Errorf("mount network namespace on %s: %w", path, err)
			}
			return nil
		}()
	}()
	if err := <-errc; err != nil {
		_ = os.Remove(path)
		return false, err
	}
	return true, nil
}

// dropNetns unmounts the namespace at path and removes the file. The kernel
// ends the namespace, and all devices in it, when no process is left in it.
func dropNetns(path string) error {
	for {
		err := unix.Unmount(path, unix.MNT_DETACH)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// writeSysctls sets values under /proc/sys/net of the thread's namespace. A
// kernel without IPv6 needs none of its settings.
func writeSysctls(values map[string]string) error {
	for name, value := range values {
		err := os.WriteFile(filepath.Join("/proc/sys/net", name), []byte(value), 0o644)
		if errors.Is(err, os.ErrNotExist) && strings.HasPrefix(name, "ipv6/") {
			continue
		}
		if err != nil {
			return fmt.Errorf("set net/%s to %s: %w", name, value, err)
		}
	}
	return nil
}

// NetnsPath is where the namespace with the name is mounted.
func (n *Network) NetnsPath(name string) string { return filepath.Join(n.cfg.Dir, "ns", name) }

// CreateNetns makes a namespace for a task or a load balancer and returns its
// path, as MakeNetns does.
func (n *Network) CreateNetns(_ context.Context, name string) (string, error) {
	path := n.NetnsPath(name)
	return path, MakeNetns(path)
}

// MakeNetns makes a namespace for containers and mounts it at path. One that
// exists is kept as it is. Programs in it may bind low ports and send pings
// without privileges, as in Docker.
func MakeNetns(path string) error {
	if _, err := makeNetns(path); err != nil {
		return err
	}
	err := runIn(path, func() error {
		if err := loopbackUp(); err != nil {
			return err
		}
		return writeSysctls(map[string]string{
			"ipv4/ip_unprivileged_port_start": "0",
			"ipv4/ping_group_range":           "0 2147483647",
		})
	})
	if err != nil {
		return fmt.Errorf("set up network namespace %s: %w", path, err)
	}
	return nil
}

// DropNetns removes a namespace that MakeNetns made. Removing what is not
// there is no error.
func DropNetns(path string) error { return dropNetns(path) }

// IsNetns tells whether a namespace is mounted at path.
func IsNetns(path string) bool { return isNetns(path) }

// Sysctl sets values under /proc/sys/net of the namespace at path: by
// ipv4/ip_forward and the like.
func Sysctl(path string, values map[string]string) error {
	return runIn(path, func() error { return writeSysctls(values) })
}

// OpenHandle opens netlink in the namespace at path. The caller closes it.
func OpenHandle(path string) (*netlink.Handle, error) { return openHandle(path) }

// DeleteNetns removes a namespace that CreateNetns made. Removing what is not
// there is no error.
func (n *Network) DeleteNetns(_ context.Context, name string) error {
	return dropNetns(n.NetnsPath(name))
}

// Netns names the namespaces that CreateNetns made and that are still there.
func (n *Network) Netns() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(n.cfg.Dir, "ns"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if isNetns(filepath.Join(n.cfg.Dir, "ns", e.Name())) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// dump lists what the kernel has, again while that changes under the listing.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	const tries = 50
	for try := 1; ; try++ {
		out, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == tries {
			return out, err
		}
	}
}
