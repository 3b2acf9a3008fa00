package contents

import (
	"crypto/cipher"
	"fmt"
	"io"
	"os"
)

// Piece is a content that an object has, with its size.
type Piece struct {
	ID   ID    `json:"id"`
	Size int64 `json:"size"`
}

// Section opens a range of the bytes that pieces hold together. The caller
// closes it, and can read it until then whatever is removed meanwhile. It fails
// with ErrNotFound where a piece of the range is gone. One file is open at a
// time.
func (s *Store) Section(pieces []Piece, offset, length int64) (io.ReadCloser, error) {
	r := &section{store: s, left: length}
	for end := int64(0); length > 0 && len(pieces) > 0; pieces = pieces[1:] {
		p := pieces[0]
		begin := end
		end += p.Size
		if offset >= end {
			continue
		}
		if len(r.pieces) == 0 {
			r.skip = offset - begin
		}
		r.pieces = append(r.pieces, p)
		if offset+length <= end {
			length = 0
		}
	}
	s.retain(r.pieces)
	for _, p := range r.pieces {
		path, err := s.path(p.ID)
		if err == nil {
			_, err = os.Stat(path)
		}
		if err != nil {
			s.release(r.pieces)
			return nil, fmt.Errorf("%w: %s: %w", ErrNotFound, p.ID, err)
		}
	}
	r.retained = r.pieces
	return r, nil
}

// section reads pieces one after the other.
type section struct {
	store    *Store
	pieces   []Piece // not opened yet
	retained []Piece
	skip     int64 // of the first of pieces
	left     int64 // of the section
	file     *os.File
	crypt    cipher.Stream // of file
	closed   bool
}

// Read implements io.Reader.
func (r *section) Read(b []byte) (int, error) {
	for {
		switch {
		case r.closed:
			return 0, os.ErrClosed
		case r.left == 0:
			return 0, io.EOF
		case r.file == nil:
			if err := r.next(); err != nil {
				return 0, err
			}
		}
		n, err := r.file.Read(b[:min(int64(len(b)), r.left)])
		r.crypt.XORKeyStream(b[:n], b[:n])
		r.left -= int64(n)
		if err == io.EOF {
			_ = r.file.Close() // read only
			r.file, err = nil, nil
		}
		if n > 0 || err != nil || len(b) == 0 {
			return n, err
		}
	}
}

// next opens the next piece.
func (r *section) next() error {
	if len(r.pieces) == 0 {
		return io.ErrUnexpectedEOF // a file is shorter than its record says
	}
	i := r.pieces[0].ID
	f, err := r.store.open(i)
	if err != nil {
		return err
	}
	if _, err := f.Seek(r.skip, io.SeekStart); err != nil {
		_ = f.Close()
		return fmt.Errorf("read content: %w", err)
	}
	r.file, r.crypt = f, r.store.stream(i, r.skip)
	r.pieces, r.skip = r.pieces[1:], 0
	return nil
}

// Close implements io.Closer.
func (r *section) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	if r.file != nil {
		_ = r.file.Close() // read only
	}
	r.store.release(r.retained)
	return nil
}

// retain keeps contents from being removed.
func (s *Store) retain(pieces []Piece) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range pieces {
		s.read[p.ID]++
	}
}

// release ends that, and removes those that were to be removed meanwhile.
func (s *Store) release(pieces []Piece) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range pieces {
		if s.read[p.ID]--; s.read[p.ID] > 0 {
			continue
		}
		delete(s.read, p.ID)
		if _, ok := s.doomed[p.ID]; ok {
			delete(s.doomed, p.ID)
			s.unlink(p.ID)
		}
	}
}
