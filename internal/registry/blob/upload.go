package blob

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/registry/reference"
)

type uploadKey struct {
	space Space
	id    string
}

// upload is an upload that this process knows. The file's length is how far it
// is; the rest is kept so that it need not be read again.
type upload struct {
	mu         sync.Mutex
	repository string
	dir        string
	// hash is the running SHA-256 of the first hashed bytes of data, nil when
	// the bytes were written by an earlier process.
	hash   hash.Hash
	hashed int64
	// touched is when the upload last moved. Guarded by Store.mu.
	touched time.Time
}

// uploadInfo is what upload.json holds.
type uploadInfo struct {
	Repository string    `json:"repository"`
	StartedAt  time.Time `json:"startedAt"`
}

// Part is a piece of an upload.
type Part struct {
	// At is the offset at which the part must start, or -1 for wherever the
	// upload ends.
	At   int64
	Body io.Reader
}

// buffers are what contents are copied with: large enough to make system
// calls rare, small enough for hundreds of pushes at once.
var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// Start begins an upload to a repository and returns its id.
func (s *Store) Start(sp Space, repository string) (string, error) {
	base, err := s.space(sp)
	if err != nil {
		return "", err
	}
	key := uploadKey{sp, id.UUID()}
	now := s.opts.Clock.Now()
	u := &upload{repository: repository, dir: filepath.Join(base, "uploads", key.id), hash: sha256.New(), touched: now}
	// Reserve the place before writing, so that concurrent starts are counted.
	s.mu.Lock()
	here, n := 0, 0
	for k, other := range s.uploads {
		if k.space == sp {
			here++
			if other.repository == repository {
				n++
			}
		}
	}
	if n >= s.opts.MaxUploads || here >= s.opts.MaxSpaceUploads {
		s.mu.Unlock()
		return "", fmt.Errorf("%w: %s has %d, its registry %d", ErrTooManyUploads, repository, n, here)
	}
	s.uploads[key] = u
	s.mu.Unlock()

	if err := u.create(uploadInfo{repository, now}); err != nil {
		s.forget(key)
		return "", err
	}
	return key.id, nil
}

func (u *upload) create(info uploadInfo) error {
	if err := os.MkdirAll(u.dir, 0o700); err != nil {
		return fmt.Errorf("start upload: %w", err)
	}
	b, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("start upload: %w", err)
	}
	if err := os.WriteFile(u.data(), nil, 0o600); err != nil {
		return fmt.Errorf("start upload: %w", err)
	}
	// Last, so that an upload with its description is complete.
	if err := os.WriteFile(u.info(), b, 0o600); err != nil {
		return fmt.Errorf("start upload: %w", err)
	}
	return nil
}

func (u *upload) data() string { return filepath.Join(u.dir, "data") }
func (u *upload) info() string { return filepath.Join(u.dir, "upload.json") }

// Status tells how many bytes of an upload have arrived.
func (s *Store) Status(sp Space, repository, uploadID string) (int64, error) {
	_, u, err := s.find(sp, repository, uploadID)
	if err != nil {
		return 0, err
	}
	fi, err := os.Stat(u.data())
	if err != nil {
		return 0, uploadGone(err, uploadID)
	}
	return fi.Size(), nil
}

// Append adds a part to an upload and returns how many bytes it has now. What
// arrived before the body failed is kept, so that a client can go on from
// there. ErrOffset comes with the offset that is expected.
func (s *Store) Append(ctx context.Context, sp Space, repository, uploadID string, part Part) (int64, error) {
	key, u, err := s.lock(sp, repository, uploadID)
	if err != nil {
		return 0, err
	}
	defer u.mu.Unlock()
	defer s.moved(key)
	size, err := s.append(ctx, u, part)
	if errors.Is(err, ErrTooLarge) {
		s.remove(key, u)
	}
	return size, err
}

func (s *Store) append(ctx context.Context, u *upload, part Part) (int64, error) {
	f, err := os.OpenFile(u.data(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return 0, uploadGone(err, filepath.Base(u.dir))
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("write upload: %w", err)
	}
	size := fi.Size()
	if part.At >= 0 && part.At != size {
		return size, fmt.Errorf("%w: at %d, expected %d", ErrOffset, part.At, size)
	}
	if part.Body == nil {
		return size, nil
	}
	if u.hashed != size {
		u.hash = nil // another process wrote the beginning
	}
	body := &io.LimitedReader{R: readerOf(ctx, part.Body), N: s.opts.MaxSize - size + 1}
	n, err := copyHashed(f, u.hash, body)
	size += n
	u.hashed = size
	if fi, serr := f.Stat(); serr != nil || fi.Size() != size {
		u.hash = nil // a short write: the file is what counts
	}
	if err != nil {
		return size, fmt.Errorf("write upload: %w", err)
	}
	if size > s.opts.MaxSize {
		return size, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, s.opts.MaxSize)
	}
	return size, nil
}

type onlyWriter struct{ io.Writer }

// copyHashed copies src to dst, and to h unless it is nil. Hashing takes as long
// as the rest, so it runs beside it, one buffer behind.
func copyHashed(dst io.Writer, h hash.Hash, src io.Reader) (int64, error) {
	if h == nil {
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		return io.CopyBuffer(onlyWriter{dst}, onlyReader{src}, *buf)
	}
	free, full := make(chan *[]byte, 2), make(chan chunk, 1)
	for range cap(free) {
		b := buffers.Get().(*[]byte)
		defer buffers.Put(b)
		free <- b
	}
	var hasher sync.WaitGroup
	defer hasher.Wait() // before the buffers go back
	defer close(full)
	hasher.Go(func() {
		for c := range full {
			h.Write((*c.buf)[:c.n])
			free <- c.buf
		}
	})
	var total int64
	for {
		b := <-free
		n, rerr := src.Read(*b)
		if n > 0 {
			w, err := dst.Write((*b)[:n])
			total += int64(w)
			full <- chunk{b, w}
			if err != nil {
				return total, err
			}
		} else {
			free <- b
		}
		switch {
		case errors.Is(rerr, io.EOF):
			return total, nil
		case rerr != nil:
			return total, rerr
		}
	}
}

// chunk is a piece that was written and is to be hashed.
type chunk struct {
	buf *[]byte
	n   int
}

// readerOf ends when ctx does.
func readerOf(ctx context.Context, r io.Reader) io.Reader { return ctxReader{ctx, r} }

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// Commit adds a last part, if it has a body, verifies that the upload's
// content has the digest, and makes it a content. It calls link, which
// records what refers to the content, before anybody could remove it. A body
// that fails leaves the upload; a wrong digest and a failing link end it.
func (s *Store) Commit(ctx context.Context, sp Space, repository, uploadID string, d reference.Digest, last Part, link func(size int64) error) (int64, error) {
	final, err := s.path(sp, d)
	if err != nil {
		return 0, err
	}
	key, u, err := s.lock(sp, repository, uploadID)
	if err != nil {
		return 0, err
	}
	defer u.mu.Unlock()
	defer s.moved(key)
	size, err := s.append(ctx, u, last)
	if errors.Is(err, ErrTooLarge) {
		s.remove(key, u)
	}
	if err != nil {
		return size, err
	}
	got, err := u.digest(ctx, d.Algorithm())
	if err != nil {
		return size, err
	}
	if got != d {
		s.remove(key, u)
		return size, fmt.Errorf("%w: %s, content is %s", ErrDigest, d, got)
	}
	s.sweep.RLock()
	defer s.sweep.RUnlock()
	if !s.touch(final) {
		if err := syncFile(u.data()); err != nil {
			return size, err
		}
		s.touch(u.data())
		if err := rename(u.data(), final); err != nil {
			return size, err
		}
		u.hash = nil
	}
	err = link(size)
	// The content is in its place: were the upload kept, its data would be
	// gone.
	s.remove(key, u)
	return size, err
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("sync upload: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync upload: %w", err)
	}
	return nil
}

// digest of what has arrived, read again only when it was not hashed while it
// came.
func (u *upload) digest(ctx context.Context, algorithm string) (reference.Digest, error) {
	h := u.hash
	if h == nil || algorithm != reference.SHA256 {
		h = newHash(algorithm)
		f, err := os.Open(u.data())
		if err != nil {
			return "", uploadGone(err, filepath.Base(u.dir))
		}
		defer func() { _ = f.Close() }()
		buf := buffers.Get().(*[]byte)
		defer buffers.Put(buf)
		if _, err := io.CopyBuffer(onlyWriter{h}, readerOf(ctx, onlyReader{f}), *buf); err != nil {
			return "", fmt.Errorf("read upload: %w", err)
		}
	}
	return reference.Digest(algorithm + ":" + hex.EncodeToString(h.Sum(nil))), nil
}

type onlyReader struct{ io.Reader }

func newHash(algorithm string) hash.Hash {
	if algorithm == reference.SHA512 {
		return sha512.New()
	}
	return sha256.New()
}

func sum(algorithm string, content []byte) reference.Digest {
	h := newHash(algorithm)
	h.Write(content)
	return reference.Digest(algorithm + ":" + hex.EncodeToString(h.Sum(nil)))
}

// Sum is the SHA-256 digest of a content.
func Sum(content []byte) reference.Digest { return sum(reference.SHA256, content) }

// Digest of what has arrived of an upload, in SHA-256.
func (s *Store) Digest(ctx context.Context, sp Space, repository, uploadID string) (reference.Digest, error) {
	_, u, err := s.lock(sp, repository, uploadID)
	if err != nil {
		return "", err
	}
	defer u.mu.Unlock()
	return u.digest(ctx, reference.SHA256)
}

// Cancel ends an upload and removes what has arrived.
func (s *Store) Cancel(sp Space, repository, uploadID string) error {
	key, u, err := s.lock(sp, repository, uploadID)
	if err != nil {
		return err
	}
	defer u.mu.Unlock()
	s.remove(key, u)
	return nil
}

// remove ends an upload that the caller has locked.
func (s *Store) remove(key uploadKey, u *upload) {
	s.forget(key)
	// What cannot be removed now is found and expired later.
	_ = os.RemoveAll(u.dir)
}

func (s *Store) forget(key uploadKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uploads, key)
}

func (s *Store) moved(key uploadKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if u := s.uploads[key]; u != nil {
		u.touched = s.opts.Clock.Now()
	}
}

// find returns an upload to the repository. One to another repository is not
// found, whoever asks.
func (s *Store) find(sp Space, repository, uploadID string) (uploadKey, *upload, error) {
	key := uploadKey{sp, uploadID}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.uploads[key]
	if u == nil || u.repository != repository {
		return key, nil, fmt.Errorf("%w: %q", ErrUploadNotFound, uploadID)
	}
	return key, u, nil
}

// lock finds an upload and locks it, or fails when another request has it.
func (s *Store) lock(sp Space, repository, uploadID string) (uploadKey, *upload, error) {
	key, u, err := s.find(sp, repository, uploadID)
	if err != nil {
		return key, nil, err
	}
	if !u.mu.TryLock() {
		return key, nil, fmt.Errorf("%w: %q", ErrUploadBusy, uploadID)
	}
	// It may have ended between the two.
	if _, _, err := s.find(sp, repository, uploadID); err != nil {
		u.mu.Unlock()
		return key, nil, err
	}
	return key, u, nil
}

func uploadGone(err error, uploadID string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %q", ErrUploadNotFound, uploadID)
	}
	return fmt.Errorf("upload %q: %w", uploadID, err)
}

// findUploads reads what an earlier process left open.
func (s *Store) findUploads() error {
	dirs, err := filepath.Glob(filepath.Join(s.dir, "*", "*", "uploads", "*"))
	if err != nil {
		return fmt.Errorf("find uploads: %w", err)
	}
	for _, dir := range dirs {
		regionDir := filepath.Dir(filepath.Dir(dir))
		key := uploadKey{Space{filepath.Base(filepath.Dir(regionDir)), filepath.Base(regionDir)}, filepath.Base(dir)}
		u := &upload{dir: dir}
		var info uploadInfo
		b, err := os.ReadFile(u.info())
		if err == nil {
			err = json.Unmarshal(b, &info)
		}
		fi, statErr := os.Stat(u.data())
		if err != nil || statErr != nil || !reference.IsUploadID(key.id) {
			// The process ended while it started or finished the upload.
			if err := os.RemoveAll(dir); err != nil {
				return fmt.Errorf("remove broken upload: %w", err)
			}
			continue
		}
		u.repository, u.touched = info.Repository, fi.ModTime()
		s.uploads[key] = u
	}
	return nil
}
