package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/containerd/containerd/v2/core/mount"
	cfs "github.com/containerd/continuity/fs"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"roadstead.dev/internal/engine"
)

// copyUp fills volumes that are empty still with what the image has at their
// mount points, owner and mode included.
func (e *Engine) copyUp(ctx context.Context, chain string, mounts []engine.Mount) error {
	var todo []engine.Mount
	for _, m := range mounts {
		if m.CopyUp && m.Source != "" && isEmptyDir(m.Source) {
			todo = append(todo, m)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	s := e.client.SnapshotService(e.snapshotter)
	key := "copyup-" + filepath.Base(filepath.Dir(todo[0].Source)) + "-" + filepath.Base(todo[0].Source)
	view, err := s.View(ctx, key, chain)
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("view the image: %w", err)
	}
	if err != nil {
		if view, err = s.Mounts(ctx, key); err != nil {
			return fmt.Errorf("view the image: %w", err)
		}
	}
	defer func() {
		if err := s.Remove(context.WithoutCancel(ctx), key); err != nil && !errdefs.IsNotFound(err) {
			e.cfg.Log.Warn("remove the view of an image", "error", err)
		}
	}()
	return mount.WithTempMount(ctx, view, func(root string) error {
		for _, m := range todo {
			from, err := cfs.RootPath(root, m.Target)
			if err != nil {
				return fmt.Errorf("find %s in the image: %w", m.Target, err)
			}
			st, err := os.Stat(from)
			if errors.Is(err, fs.ErrNotExist) || err == nil && !st.IsDir() {
				continue
			}
			if err != nil {
				return fmt.Errorf("find %s in the image: %w", m.Target, err)
			}
			if err := fill(m.Source, from); err != nil {
				return fmt.Errorf("copy %s from the image: %w", m.Target, err)
			}
		}
		return nil
	})
}

// fill copies what is in the folder from into volume. Containers that have the
// volume may run already and plant links in it for a copy to follow out of it:
// so it is made beside the volume, and moved in, which follows none.
func fill(volume, from string) (err error) {
	staging := volume + ".copyup" // no volume's name has a dot
	if err := os.RemoveAll(staging); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	if err := cfs.CopyDir(staging, from); err != nil {
		return err
	}
	entries, err := os.ReadDir(staging)
	if err != nil {
		return err
	}
	for _, e := range entries {
		// What a container has made meanwhile stays.
		err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(staging, e.Name()), unix.AT_FDCWD, filepath.Join(volume, e.Name()), unix.RENAME_NOREPLACE)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return &os.LinkError{Op: "rename", Old: e.Name(), New: volume, Err: err}
		}
	}
	st, err := os.Stat(staging)
	if err != nil {
		return err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		if err := os.Chown(volume, int(sys.Uid), int(sys.Gid)); err != nil {
			return err
		}
	}
	return os.Chmod(volume, st.Mode())
}

func isEmptyDir(path string) bool {
	entries, err := os.ReadDir(path)
	return err == nil && len(entries) == 0
}
