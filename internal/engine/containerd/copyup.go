package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	cfs "github.com/containerd/continuity/fs"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/image-spec/identity"

	"roadstead.dev/internal/engine"
)

// copyUp fills volumes that are empty still with what the image has at their
// mount points, owner and mode included.
func (e *Engine) copyUp(ctx context.Context, img client.Image, mounts []engine.Mount) error {
	var todo []engine.Mount
	for _, m := range mounts {
		if m.CopyUp && m.Source != "" && isEmptyDir(m.Source) {
			todo = append(todo, m)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	layers, err := img.RootFS(ctx)
	if err != nil {
		return fmt.Errorf("read the image's layers: %w", err)
	}
	s := e.client.SnapshotService(e.snapshotter)
	key := "copyup-" + filepath.Base(filepath.Dir(todo[0].Source)) + "-" + filepath.Base(todo[0].Source)
	view, err := s.View(ctx, key, identity.ChainID(layers).String())
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
			if err := cfs.CopyDir(m.Source, from); err != nil {
				return fmt.Errorf("copy %s from the image: %w", m.Target, err)
			}
		}
		return nil
	})
}

func isEmptyDir(path string) bool {
	entries, err := os.ReadDir(path)
	return err == nil && len(entries) == 0
}
