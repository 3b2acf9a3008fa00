// Package blob keeps the contents of registries on disk, addressed by digest,
// and the uploads that become contents.
//
// Contents are shared by all repositories of a registry; which repository may
// serve which content is not known here. Below the store's folder:
//
//	<account>/<region>/blobs/<algorithm>/<two digits>/<hex>
//	<account>/<region>/uploads/<id>/{data,upload.json}
//
// A content appears by rename once its digest is verified and its bytes are on
// disk, so whatever lies under blobs is whole.
package blob

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/durable"
	"roadstead.dev/internal/registry/reference"
)

// Errors of the store, wrapped.
var (
	ErrNotFound       = errors.New("blob not found")
	ErrUploadNotFound = errors.New("upload not found")
	// ErrUploadBusy: another request writes to the upload.
	ErrUploadBusy = errors.New("upload is being written")
	// ErrOffset: a part does not start where the upload ends.
	ErrOffset = errors.New("part does not continue the upload")
	// ErrDigest: the content has another digest than was said.
	ErrDigest = errors.New("digest does not match the content")
	// ErrTooLarge: the upload is larger than a content may be.
	ErrTooLarge = errors.New("blob is too large")
	// ErrTooManyUploads: the repository or its registry has as many uploads as
	// it may.
	ErrTooManyUploads = errors.New("too many uploads")
)

// Space is the registry that contents belong to.
type Space struct {
	Account string
	Region  string
}

var (
	account = regexp.MustCompile(`^[0-9]{12}$`)
	region  = regexp.MustCompile(`^[a-z0-9-]{2,25}$`)
)

// Options of a store. The zero value of each field but Clock is a default.
type Options struct {
	Clock clock.Clock
	// MaxSize of a content in bytes; default ECR's, 52,000 MiB.
	MaxSize int64
	// MaxUploads is how many uploads a repository may have open; default 1000.
	MaxUploads int
	// MaxSpaceUploads is how many all repositories of a registry may have open
	// together; default 10,000.
	MaxSpaceUploads int
	// UploadTTL is how long an upload may stand still; default a day.
	UploadTTL time.Duration
	// Grace is how long a content is kept that nothing refers to; default an
	// hour.
	Grace time.Duration
}

// Store is a folder of contents and uploads. It is safe for concurrent use.
type Store struct {
	dir  string
	opts Options

	// sweep is held for reading while a content and what refers to it come into
	// being, and for writing while an unreferenced one is removed.
	sweep sync.RWMutex

	mu      sync.Mutex
	uploads map[uploadKey]*upload
}

// Open opens the store in dir, making it when it is not there, and finds the
// uploads that were open when it was last closed.
func Open(dir string, opts Options) (*Store, error) {
	if opts.Clock == nil {
		opts.Clock = clock.System{}
	}
	if opts.MaxSize == 0 {
		opts.MaxSize = 52_000 << 20
	}
	if opts.MaxUploads == 0 {
		opts.MaxUploads = 1000
	}
	if opts.MaxSpaceUploads == 0 {
		opts.MaxSpaceUploads = 10_000
	}
	if opts.UploadTTL == 0 {
		opts.UploadTTL = 24 * time.Hour
	}
	if opts.Grace == 0 {
		opts.Grace = time.Hour
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("registry folder: %w", err)
	}
	s := &Store{dir: dir, opts: opts, uploads: map[uploadKey]*upload{}}
	if err := s.findUploads(); err != nil {
		return nil, err
	}
	return s, nil
}

// Stat tells the size of a content, or ErrNotFound.
func (s *Store) Stat(sp Space, d reference.Digest) (int64, error) {
	p, err := s.path(sp, d)
	if err != nil {
		return 0, err
	}
	fi, err := os.Stat(p)
	if err != nil {
		return 0, notFound(err, d)
	}
	return fi.Size(), nil
}

// Open opens a content for reading; the caller closes it. The content stays
// readable when it is removed meanwhile.
func (s *Store) Open(sp Space, d reference.Digest) (*os.File, error) {
	p, err := s.path(sp, d)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(p)
	if err != nil {
		return nil, notFound(err, d)
	}
	return f, nil
}

// Read reads a whole content, of limit bytes at most.
func (s *Store) Read(sp Space, d reference.Digest, limit int64) ([]byte, error) {
	f, err := s.Open(sp, d)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", d, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%w: %s", ErrTooLarge, d)
	}
	return b, nil
}

// Put stores a small content under its digest and calls link, which records
// what refers to it; the content is not removed in between. When link fails so
// does Put.
func (s *Store) Put(sp Space, d reference.Digest, content []byte, link func() error) error {
	if got := sum(d.Algorithm(), content); got != d {
		return fmt.Errorf("%w: %s, content is %s", ErrDigest, d, got)
	}
	final, err := s.path(sp, d)
	if err != nil {
		return err
	}
	s.sweep.RLock()
	defer s.sweep.RUnlock()
	if !s.touch(final) {
		if err := os.MkdirAll(filepath.Dir(final), 0o700); err != nil {
			return fmt.Errorf("blob folder: %w", err)
		}
		tmp, err := os.CreateTemp(filepath.Dir(final), ".put-*")
		if err != nil {
			return fmt.Errorf("store %s: %w", d, err)
		}
		defer func() { _ = os.Remove(tmp.Name()) }() // fails once it has been renamed
		_, err = tmp.Write(content)
		if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
			return fmt.Errorf("store %s: %w", d, err)
		}
		s.touch(tmp.Name())
		if err := rename(tmp.Name(), final); err != nil {
			return err
		}
	}
	return link()
}

// HoldBlob calls f, which records what refers to a content, while no content is
// removed; ErrNotFound when it is not there.
func (s *Store) HoldBlob(sp Space, d reference.Digest, f func(size int64) error) error {
	p, err := s.path(sp, d)
	if err != nil {
		return err
	}
	s.sweep.RLock()
	defer s.sweep.RUnlock()
	if !s.touch(p) {
		return fmt.Errorf("%w: %s", ErrNotFound, d)
	}
	fi, err := os.Stat(p)
	if err != nil {
		return notFound(err, d)
	}
	return f(fi.Size())
}

// touch begins the grace period of a content, by the store's clock, and tells
// whether it is there.
func (s *Store) touch(path string) bool {
	now := s.opts.Clock.Now()
	return os.Chtimes(path, now, now) == nil
}

func (s *Store) space(sp Space) (string, error) {
	if !account.MatchString(sp.Account) || !region.MatchString(sp.Region) {
		return "", fmt.Errorf("no registry of account %q in region %q", sp.Account, sp.Region)
	}
	return filepath.Join(s.dir, sp.Account, sp.Region), nil
}

// path of a content. Digest is checked again, since a wrong one could lead out
// of the folder.
func (s *Store) path(sp Space, d reference.Digest) (string, error) {
	dir, err := s.space(sp)
	if err != nil {
		return "", err
	}
	if _, err := reference.ParseDigest(string(d)); err != nil {
		return "", err
	}
	h := d.Hex()
	return filepath.Join(dir, "blobs", d.Algorithm(), h[:2], h), nil
}

func notFound(err error, d reference.Digest) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrNotFound, d)
	}
	return fmt.Errorf("blob %s: %w", d, err)
}

// rename moves a synced file to its final place and makes the move durable.
func rename(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("blob folder: %w", err)
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("store blob: %w", err)
	}
	// The folder, and those above it that may be new.
	for dir, n := filepath.Dir(to), 0; n < 3; dir, n = filepath.Dir(dir), n+1 {
		if err := durable.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}
