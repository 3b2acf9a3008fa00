// Package contents keeps the bytes of objects in files, under random names of
// its own. What an object is called is not known here, so nothing that a client
// sends becomes part of a path. Below the folder:
//
//	incoming/<id>          being written; of no use after a restart
//	whole/<two digits>/<id>
//
// A file appears under whole by rename, once its bytes are on disk. Which files
// an object has is its record's to say: a file that no record names is an
// orphan, which Sweep removes.
//
// The bytes on disk are encrypted, AES-256 in counter mode, each file by a key
// of its own.
package contents

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"roadstead.dev/internal/durable"
	"roadstead.dev/internal/id"
)

// ErrNotFound is returned for a content that is not there, wrapped.
var ErrNotFound = errors.New("content not found")

// ID names a content: 32 hexadecimal digits.
type ID string

var ids = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Store is a folder of contents, of which there is one Store at a time. Safe
// for concurrent use.
type Store struct {
	dir  string
	keys Keys

	mu sync.Mutex
	// held are contents that are whole and that no record names yet.
	held map[ID]struct{}
	// fresh are, while Sweep runs, the contents that were held when it began, and
	// since: what names them may have been committed after it asked.
	fresh map[ID]struct{}
	// read counts the sections that read a content; doomed are those that are
	// removed once it is zero.
	read   map[ID]int
	doomed map[ID]struct{}
}

// Keys gives the secrets that contents are encrypted by: 32 bytes for each
// purpose, always the same.
type Keys interface{ Derive(purpose string) []byte }

// Open opens the folder, making it when it is not there, and throws away what
// was being written when it was last closed.
func Open(dir string, keys Keys) (*Store, error) {
	s := &Store{dir: dir, keys: keys, held: map[ID]struct{}{}, read: map[ID]int{}, doomed: map[ID]struct{}{}}
	if err := os.RemoveAll(s.incoming()); err != nil {
		return nil, fmt.Errorf("unfinished contents: %w", err)
	}
	for _, d := range []string{s.incoming(), filepath.Join(dir, "whole")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("folder of contents: %w", err)
		}
	}
	return s, errors.Join(durable.SyncDir(dir), durable.SyncDir(filepath.Dir(dir)))
}

func (s *Store) incoming() string { return filepath.Join(s.dir, "incoming") }

func (s *Store) path(i ID) (string, error) {
	if !ids.MatchString(string(i)) {
		return "", fmt.Errorf("%w: %q is no content's id", ErrNotFound, i)
	}
	return filepath.Join(s.dir, "whole", string(i[:2]), string(i)), nil
}

// Writer writes a content. Commit or Abort ends it.
type Writer struct {
	// ID is the content's.
	ID ID

	store  *Store
	file   *os.File
	crypt  cipher.Stream
	buffer []byte
	size   int64
	done   bool
}

// bufferSize is what a writer holds in memory.
const bufferSize = 64 << 10

// Create begins a content.
func (s *Store) Create() (*Writer, error) {
	w := &Writer{ID: ID(id.Hex(32)), store: s}
	f, err := os.OpenFile(filepath.Join(s.incoming(), string(w.ID)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create content: %w", err)
	}
	w.file, w.crypt, w.buffer = f, s.stream(w.ID, 0), make([]byte, 0, bufferSize)
	return w, nil
}

// Write implements io.Writer.
func (w *Writer) Write(b []byte) (int, error) {
	for written := 0; ; {
		free := w.buffer[len(w.buffer):cap(w.buffer)]
		n := min(len(free), len(b)-written)
		w.crypt.XORKeyStream(free[:n], b[written:written+n])
		w.buffer = w.buffer[:len(w.buffer)+n]
		written += n
		if written == len(b) {
			w.size += int64(written)
			return written, nil
		}
		if err := w.flush(); err != nil {
			return written, err
		}
	}
}

func (w *Writer) flush() error {
	_, err := w.file.Write(w.buffer)
	w.buffer = w.buffer[:0]
	return err
}

// stream encrypts and decrypts a content from an offset on.
func (s *Store) stream(i ID, offset int64) cipher.Stream {
	block, err := aes.NewCipher(s.keys.Derive("s3/" + string(i)))
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	var counter [aes.BlockSize]byte // a key is used once, so it begins at zero
	binary.BigEndian.PutUint64(counter[8:], uint64(offset/aes.BlockSize))
	c := cipher.NewCTR(block, counter[:])
	var skip [aes.BlockSize]byte
	n := offset % aes.BlockSize
	c.XORKeyStream(skip[:n], skip[:n])
	return c
}

// Size is how many bytes were written.
func (w *Writer) Size() int64 { return w.size }

// Commit makes the content durable. It is not swept until Release is called,
// after the record that names it is committed, or will not be.
func (w *Writer) Commit() (err error) {
	if w.done {
		return errors.New("commit content: it has ended")
	}
	defer func() {
		if err != nil {
			w.Abort()
		}
	}()
	if err := errors.Join(w.flush(), w.file.Sync()); err != nil {
		return fmt.Errorf("write content: %w", err)
	}
	final, err := w.store.path(w.ID)
	if err != nil {
		return err
	}
	folder := filepath.Dir(final)
	made := os.Mkdir(folder, 0o700)
	if made != nil && !errors.Is(made, fs.ErrExist) {
		return fmt.Errorf("folder of contents: %w", made)
	}
	w.store.hold(w.ID)
	if err := os.Rename(w.file.Name(), final); err != nil {
		w.store.Release(w.ID)
		return fmt.Errorf("keep content: %w", err)
	}
	w.done = true
	err = errors.Join(w.file.Close(), durable.SyncDir(folder))
	if made == nil {
		err = errors.Join(err, durable.SyncDir(filepath.Dir(folder)))
	}
	if err != nil {
		w.store.Release(w.ID)
		w.store.Remove(w.ID)
		return fmt.Errorf("keep content: %w", err)
	}
	return nil
}

// Abort throws away what was written; after Commit it does nothing.
func (w *Writer) Abort() {
	if w.done {
		return
	}
	w.done = true
	_ = w.file.Close()
	_ = os.Remove(w.file.Name()) // the next Open removes it otherwise
}

func (s *Store) hold(i ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[i] = struct{}{}
	if s.fresh != nil {
		s.fresh[i] = struct{}{}
	}
}

// Release lets Sweep have contents that no record names.
func (s *Store) Release(list ...ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range list {
		delete(s.held, i)
	}
}

// open opens a content's file.
func (s *Store) open(i ID) (*os.File, error) {
	path, err := s.path(i)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, i)
	}
	if err != nil {
		return nil, fmt.Errorf("open content: %w", err)
	}
	return f, nil
}

// Remove removes contents that no record names any more: those that are being
// read, afterwards. What cannot be removed is left to Sweep.
func (s *Store) Remove(list ...ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range list {
		if s.read[i] > 0 {
			s.doomed[i] = struct{}{}
		} else {
			s.unlink(i)
		}
	}
}

func (s *Store) unlink(i ID) {
	if path, err := s.path(i); err == nil {
		_ = os.Remove(path)
	}
}

// Swept tells what Sweep removed.
type Swept struct {
	Files int
	Bytes int64
}

// Sweep removes the contents that are not named. named is asked once, and must
// list at least what was named when it was called and still is. One sweep runs
// at a time.
func (s *Store) Sweep(ctx context.Context, named func() (map[ID]struct{}, error)) (Swept, error) {
	var swept Swept
	s.mu.Lock()
	s.fresh = maps.Clone(s.held)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.fresh = nil
	}()
	keep, err := named()
	if err != nil {
		return swept, err
	}
	err = filepath.WalkDir(filepath.Join(s.dir, "whole"), func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return err
		case d.IsDir():
			return nil
		}
		i := ID(d.Name())
		if _, ok := keep[i]; ok || s.inUse(i) {
			return nil
		}
		fi, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && //nolint:gosec // the folder is the server's alone
			!errors.Is(err, fs.ErrNotExist) {
			return err
		}
		swept.Files++
		swept.Bytes += fi.Size()
		return nil
	})
	if err != nil {
		return swept, fmt.Errorf("sweep contents: %w", err)
	}
	return swept, nil
}

func (s *Store) inUse(i ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, held := s.held[i]
	_, fresh := s.fresh[i]
	return held || fresh || s.read[i] > 0
}
