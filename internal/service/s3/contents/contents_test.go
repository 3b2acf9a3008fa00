package contents

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"roadstead.dev/internal/seal"
)

func key(t *testing.T) *seal.Key {
	t.Helper()
	k, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir, key(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type fataler interface {
	Helper()
	Fatal(args ...any)
}

func put(t fataler, s *Store, content string) Piece {
	t.Helper()
	w, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	return Piece{w.ID, w.Size()}
}

func read(t fataler, s *Store, pieces []Piece, offset, length int64) string {
	t.Helper()
	r, err := s.Section(pieces, offset, length)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestContentsSurviveARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s3")
	s := open(t, dir)
	whole := put(t, s, "hello")
	half, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(half, "half")

	s = open(t, dir)
	if got := read(t, s, []Piece{whole}, 0, 5); got != "hello" {
		t.Errorf("read %q", got)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "incoming")); err != nil || len(left) != 0 {
		t.Errorf("%v is left of what was being written, %v", left, err)
	}
	if err := half.Commit(); err == nil {
		t.Error("what was thrown away was committed")
	}
}

func TestBytesOnDiskAreEncrypted(t *testing.T) {
	s := open(t, t.TempDir())
	text := bytes.Repeat([]byte("attack at dawn. "), 10_000)
	p := put(t, s, string(text))
	path, err := s.path(p.ID)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || len(b) != len(text) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if bytes.Contains(b, []byte("dawn")) || bytes.Equal(b[:1600], b[1600:3200]) {
		t.Error("the file shows what it holds")
	}
	if got := read(t, s, []Piece{p}, 70_003, 80_000); got != string(text[70_003:150_003]) {
		t.Error("a range of it is another")
	}
}

func TestAbort(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	w, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(w, "x")
	w.Abort()
	if err := w.Commit(); err == nil {
		t.Error("committed after Abort")
	}
	if _, err := s.open(w.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("opened: %v", err)
	}
}

func TestNoPathIsAnID(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "s3"))
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, i := range []ID{"", "../../secret", "/etc/passwd", "00/../../../secret", "0123456789abcdef0123456789abcdeg"} {
		if _, err := s.open(i); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", i, err)
		}
		s.Remove(i)
	}
	if _, err := os.Stat(filepath.Join(dir, "secret")); err != nil {
		t.Error(err)
	}
}

func TestSectionsAreWhatTheyCut(t *testing.T) {
	s := open(t, t.TempDir())
	rapid.Check(t, func(t *rapid.T) {
		var pieces []Piece
		var all []byte
		for range rapid.IntRange(0, 4).Draw(t, "pieces") {
			b := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "content")
			pieces = append(pieces, put(t, s, string(b)))
			all = append(all, b...)
		}
		from := rapid.IntRange(0, len(all)).Draw(t, "from")
		to := rapid.IntRange(from, len(all)).Draw(t, "to")
		if got := read(t, s, pieces, int64(from), int64(to-from)); !bytes.Equal([]byte(got), all[from:to]) {
			t.Fatalf("%d to %d of %q is %q", from, to, all, got)
		}
	})
}

func TestWhatIsReadStaysUntilItIsClosed(t *testing.T) {
	s := open(t, t.TempDir())
	pieces := []Piece{put(t, s, "hello "), put(t, s, "world")}
	r, err := s.Section(pieces, 2, 8)
	if err != nil {
		t.Fatal(err)
	}
	s.Remove(pieces[0].ID, pieces[1].ID)
	if b, err := io.ReadAll(r); string(b) != "llo worl" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	r.Close()
	r.Close()
	if _, err := s.Section(pieces, 7, 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("after it was closed: %v", err)
	}
	if len(s.read) != 0 || len(s.doomed) != 0 {
		t.Errorf("%v is read, %v doomed", s.read, s.doomed)
	}
}

func TestAShortFileIsNoEnd(t *testing.T) {
	s := open(t, t.TempDir())
	p := put(t, s, "hello")
	p.Size = 9
	r, err := s.Section([]Piece{p}, 0, 9)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

func TestSweep(t *testing.T) {
	s := open(t, t.TempDir())
	named, orphan := put(t, s, "named"), put(t, s, "orphan")
	s.Release(named.ID, orphan.ID)
	held := put(t, s, "held")
	var late Piece
	names := func() (map[ID]struct{}, error) {
		// Whoever writes while names are read is not seen.
		late = put(t, s, "late")
		s.Release(late.ID, held.ID)
		return map[ID]struct{}{named.ID: {}}, nil
	}
	if swept, err := s.Sweep(t.Context(), names); err != nil || swept != (Swept{1, 6}) {
		t.Errorf("%+v, %v", swept, err)
	}
	read(t, s, []Piece{named, held, late}, 0, 13)
	if _, err := s.open(orphan.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("the orphan is there: %v", err)
	}
	failure := errors.New("the store is closed")
	if _, err := s.Sweep(t.Context(), func() (map[ID]struct{}, error) { return nil, failure }); !errors.Is(err, failure) {
		t.Errorf("%v", err)
	}
	if swept, err := s.Sweep(t.Context(), func() (map[ID]struct{}, error) { return nil, nil }); err != nil || swept.Files != 3 {
		t.Errorf("what nothing names: %+v, %v", swept, err)
	}
}
