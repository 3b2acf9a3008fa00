package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"roadstead.dev/internal/registry/reference"
)

// ExpireUploads removes the uploads that have stood still for too long, and
// returns how many.
func (s *Store) ExpireUploads() int {
	limit := s.opts.Clock.Now().Add(-s.opts.UploadTTL)
	s.mu.Lock()
	var old []uploadKey
	for key, u := range s.uploads {
		if u.touched.Before(limit) {
			old = append(old, key)
		}
	}
	s.mu.Unlock()
	n := 0
	for _, key := range old {
		s.mu.Lock()
		u := s.uploads[key]
		s.mu.Unlock()
		if u == nil || !u.mu.TryLock() {
			continue // it ended, or moves again
		}
		s.remove(key, u)
		u.mu.Unlock()
		n++
	}
	return n
}

// CancelUploads ends all uploads to a repository, as when it is deleted.
func (s *Store) CancelUploads(sp Space, repository string) {
	s.mu.Lock()
	var ids []string
	for key, u := range s.uploads {
		if key.space == sp && u.repository == repository {
			ids = append(ids, key.id)
		}
	}
	s.mu.Unlock()
	for _, id := range ids {
		// One that is being written finds its repository gone, or expires.
		_ = s.Cancel(sp, repository, id)
	}
}

// Spaces lists the registries that have contents.
func (s *Store) Spaces() ([]Space, error) {
	dirs, err := filepath.Glob(filepath.Join(s.dir, "*", "*", "blobs"))
	if err != nil {
		return nil, fmt.Errorf("list registries: %w", err)
	}
	var out []Space
	for _, d := range dirs {
		r := filepath.Dir(d)
		out = append(out, Space{filepath.Base(filepath.Dir(r)), filepath.Base(r)})
	}
	return out, nil
}

// Sweep removes the contents of a registry that are older than the grace
// period and that nothing refers to, as referenced tells. It returns how many
// and how many bytes.
//
// A content that is pushed again meanwhile is kept: what makes a content and
// what refers to it excludes the removal of one, and referenced is asked
// under that exclusion.
func (s *Store) Sweep(ctx context.Context, sp Space, referenced func(context.Context, reference.Digest) (bool, error)) (removed int, freed int64, err error) {
	base, err := s.space(sp)
	if err != nil {
		return 0, 0, err
	}
	limit := s.opts.Clock.Now().Add(-s.opts.Grace)
	root := filepath.Join(base, "blobs")
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || e.IsDir() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		size, err := s.sweepOne(ctx, path, limit.UnixNano(), referenced)
		if size >= 0 && err == nil {
			removed++
			freed += size
		}
		return err
	})
	if err != nil {
		return removed, freed, fmt.Errorf("sweep registry %s/%s: %w", sp.Account, sp.Region, err)
	}
	return removed, freed, nil
}

// sweepOne removes one file if it may go, and returns its size, or -1.
func (s *Store) sweepOne(ctx context.Context, path string, limit int64, referenced func(context.Context, reference.Digest) (bool, error)) (int64, error) {
	old := func() (int64, bool) {
		fi, err := os.Stat(path)
		if err != nil || fi.ModTime().UnixNano() >= limit {
			return 0, false
		}
		return fi.Size(), true
	}
	// Without the lock first: most contents stay.
	if _, ok := old(); !ok {
		return -1, nil
	}
	name := filepath.Base(path)
	var d reference.Digest
	if !strings.HasPrefix(name, ".put-") {
		var err error
		d, err = reference.ParseDigest(filepath.Base(filepath.Dir(filepath.Dir(path))) + ":" + name)
		if err != nil {
			return -1, nil // not ours
		}
		if used, err := referenced(ctx, d); used || err != nil {
			return -1, err
		}
	}
	s.sweep.Lock()
	defer s.sweep.Unlock()
	size, ok := old()
	if !ok {
		return -1, nil
	}
	if d != "" {
		if used, err := referenced(ctx, d); used || err != nil {
			return -1, err
		}
	}
	if err := os.Remove(path); err != nil {
		return -1, fmt.Errorf("remove blob: %w", err)
	}
	return size, nil
}
