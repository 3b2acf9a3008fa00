// Package truststores keeps what load balancers' trust stores are made of,
// authorities' certificates and revocation lists, and opens trust stores for
// listeners.
package truststores

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"roadstead.dev/internal/durable"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Contents keeps texts in files of a folder. Safe for concurrent use.
type Contents struct {
	dir string
	key *seal.Key
}

// Open opens a folder, which it makes if need be. Key signs URLs.
func Open(dir string, key *seal.Key) (*Contents, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("trust stores: %w", err)
	}
	return &Contents{dir, key}, nil
}

// unfinished begins the names of files that are being written.
const unfinished = ".new-"

// Put keeps a text under a new name. It is on disk when Put returns.
func (c *Contents) Put(text []byte) (name string, err error) {
	name = id.Hex(32)
	f, err := os.CreateTemp(c.dir, unfinished+"*") // mode 0600
	if err != nil {
		return "", fmt.Errorf("keep trust store: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }()
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", fmt.Errorf("keep trust store: %w", err)
	}
	if err := os.Rename(f.Name(), filepath.Join(c.dir, name)); err != nil {
		return "", fmt.Errorf("keep trust store: %w", err)
	}
	if err := durable.SyncDir(c.dir); err != nil {
		return "", fmt.Errorf("keep trust store: %w", err)
	}
	return name, nil
}

// Get reads what is kept under a name; fs.ErrNotExist when nothing is.
func (c *Contents) Get(name string) ([]byte, error) {
	if !valid(name) {
		return nil, fmt.Errorf("trust store's content %q: %w", name, fs.ErrNotExist)
	}
	return os.ReadFile(filepath.Join(c.dir, name))
}

func valid(name string) bool {
	return len(name) == 32 && strings.Trim(name, "0123456789abcdef") == ""
}

// Remove forgets what is kept under names. What cannot be removed now is when
// the program starts again.
func (c *Contents) Remove(names ...string) {
	for _, name := range names {
		if valid(name) {
			_ = os.Remove(filepath.Join(c.dir, name))
		}
	}
}

// Sweep removes what no trust store is made of. It is for the start, when
// nothing is being added.
func (c *Contents) Sweep(ctx context.Context, s store.Store) error {
	rows, err := tables.TrustStores.List(ctx, s, store.Query{})
	if err != nil {
		return fmt.Errorf("sweep trust stores: %w", err)
	}
	used := map[string]bool{}
	for _, r := range rows {
		for _, name := range r.V.Contents() {
			used[name] = true
		}
	}
	files, err := os.ReadDir(c.dir)
	if err != nil {
		return fmt.Errorf("sweep trust stores: %w", err)
	}
	for _, f := range files {
		if name := f.Name(); strings.HasPrefix(name, unfinished) || valid(name) && !used[name] {
			if err := os.Remove(filepath.Join(c.dir, name)); err != nil {
				return fmt.Errorf("sweep trust stores: %w", err)
			}
		}
	}
	return nil
}
