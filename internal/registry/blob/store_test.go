package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roadstead.dev/internal/registry/reference"
)

type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *fakeClock) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

var here = Space{"000000000000", "us-east-1"}

func open(t *testing.T, dir string, o Options) (*Store, *fakeClock) {
	t.Helper()
	c := &fakeClock{now: time.Now()}
	o.Clock = c
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func linked(int64) error { return nil }

func push(t *testing.T, s *Store, content string) reference.Digest {
	t.Helper()
	id, err := s.Start(here, "web")
	if err != nil {
		t.Fatal(err)
	}
	d := Sum([]byte(content))
	if _, err := s.Commit(t.Context(), here, "web", id, d, Part{At: 0, Body: strings.NewReader(content)}, linked); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestUploadInParts(t *testing.T) {
	for _, algorithm := range []string{reference.SHA256, reference.SHA512} {
		t.Run(algorithm, func(t *testing.T) {
			s, _ := open(t, t.TempDir(), Options{})
			id, err := s.Start(here, "web")
			if err != nil {
				t.Fatal(err)
			}
			content := bytes.Repeat([]byte("0123456789"), 1000)
			at := int64(0)
			for part := range bytes.SplitSeq(content, []byte("9")) {
				if at == int64(len(content)) {
					break
				}
				n, err := s.Append(t.Context(), here, "web", id, Part{At: at, Body: io.MultiReader(bytes.NewReader(part), strings.NewReader("9"))})
				if err != nil {
					t.Fatal(err)
				}
				at = n
			}
			d := sum(algorithm, content)
			size, err := s.Commit(t.Context(), here, "web", id, d, Part{At: -1}, linked)
			if err != nil || size != int64(len(content)) {
				t.Fatalf("%d, %v", size, err)
			}
			got, err := s.Read(here, d, size)
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
			if _, err := s.Status(here, "web", id); !errors.Is(err, ErrUploadNotFound) {
				t.Errorf("upload is still there: %v", err)
			}
		})
	}
}

func TestUploadRefuses(t *testing.T) {
	s, _ := open(t, t.TempDir(), Options{MaxSize: 10, MaxUploads: 2})
	id, err := s.Start(here, "web")
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if _, err := s.Append(ctx, here, "web", id, Part{At: 3, Body: strings.NewReader("x")}); !errors.Is(err, ErrOffset) {
		t.Errorf("gap: %v", err)
	}
	if n, err := s.Append(ctx, here, "web", id, Part{At: -1, Body: io.MultiReader(strings.NewReader("abc"), &broken{})}); n != 3 || err == nil {
		t.Errorf("broken body: %d, %v", n, err)
	}
	if n, err := s.Status(here, "web", id); n != 3 || err != nil {
		t.Errorf("after a broken body: %d, %v", n, err)
	}
	for what, try := range map[string]struct {
		space Space
		name  string
		id    string
	}{
		"another repository": {here, "other", id},
		"another region":     {Space{here.Account, "eu-west-1"}, "web", id},
		"no such upload":     {here, "web", "00000000-0000-0000-0000-000000000000"},
		"a path":             {here, "web", "../uploads/" + id},
	} {
		if _, err := s.Append(ctx, try.space, try.name, try.id, Part{At: -1}); !errors.Is(err, ErrUploadNotFound) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.Append(ctx, here, "web", id, Part{At: 3, Body: strings.NewReader("0123456789")}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := s.Status(here, "web", id); !errors.Is(err, ErrUploadNotFound) {
		t.Errorf("a too large upload stays: %v", err)
	}
	id, err = s.Start(here, "web")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(ctx, here, "web", id, Sum([]byte("x")), Part{At: 0, Body: strings.NewReader("y")}, linked); !errors.Is(err, ErrDigest) {
		t.Errorf("wrong digest: %v", err)
	}
	for range 2 {
		if _, err := s.Start(here, "web"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Start(here, "web"); !errors.Is(err, ErrTooManyUploads) {
		t.Errorf("third upload: %v", err)
	}
	if _, err := s.Start(here, "other"); err != nil {
		t.Errorf("another repository: %v", err)
	}
	if _, err := s.Start(Space{"../../x", "us-east-1"}, "web"); err == nil {
		t.Error("started in a registry that cannot be")
	}
	if _, err := s.Open(here, "sha256:../../../../etc/passwd"); !errors.Is(err, reference.ErrDigest) {
		t.Errorf("opened a path: %v", err)
	}
}

type broken struct{}

func (*broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestUploadSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir, Options{})
	id, err := s.Start(here, "web")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), here, "web", id, Part{At: 0, Body: strings.NewReader("hello ")}); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, here.Account, here.Region, "uploads", "half")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}

	s, _ = open(t, dir, Options{})
	if _, err := os.Stat(half); !os.IsNotExist(err) {
		t.Errorf("a half-made upload stays: %v", err)
	}
	if n, err := s.Status(here, "web", id); n != 6 || err != nil {
		t.Fatalf("after a restart: %d, %v", n, err)
	}
	d := Sum([]byte("hello world"))
	if _, err := s.Commit(t.Context(), here, "web", id, d, Part{At: 6, Body: strings.NewReader("world")}, linked); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Read(here, d, 100); string(got) != "hello world" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestConcurrentWritersOfAnUpload(t *testing.T) {
	s, _ := open(t, t.TempDir(), Options{})
	id, err := s.Start(here, "web")
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := s.Append(t.Context(), here, "web", id, Part{At: 0, Body: r})
		done <- err
	}()
	if _, err := w.Write([]byte("x")); err != nil { // returns once it is read
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), here, "web", id, Part{At: -1}); !errors.Is(err, ErrUploadBusy) {
		t.Errorf("second writer: %v", err)
	}
	_ = w.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestExpire(t *testing.T) {
	s, c := open(t, t.TempDir(), Options{UploadTTL: time.Hour})
	id, err := s.Start(here, "web")
	if err != nil {
		t.Fatal(err)
	}
	c.advance(50 * time.Minute)
	if _, err := s.Append(t.Context(), here, "web", id, Part{At: 0, Body: strings.NewReader("x")}); err != nil {
		t.Fatal(err)
	}
	c.advance(50 * time.Minute)
	if n := s.ExpireUploads(); n != 0 {
		t.Errorf("expired %d that moved", n)
	}
	c.advance(20 * time.Minute)
	if n := s.ExpireUploads(); n != 1 {
		t.Errorf("expired %d", n)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "*", "*", "uploads", "*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

func TestSweep(t *testing.T) {
	s, c := open(t, t.TempDir(), Options{Grace: time.Hour})
	kept, lost := push(t, s, "kept"), push(t, s, "lost")
	c.advance(2 * time.Hour)
	young := push(t, s, "young")
	n, bytes, err := s.Sweep(t.Context(), here, func(_ context.Context, d reference.Digest) (bool, error) { return d == kept, nil })
	if n != 1 || bytes != 4 || err != nil {
		t.Errorf("swept %d, %d bytes, %v", n, bytes, err)
	}
	for d, want := range map[reference.Digest]bool{kept: true, lost: false, young: true} {
		if _, err := s.Stat(here, d); (err == nil) != want {
			t.Errorf("%s: %v", d, err)
		}
	}
	if err := s.HoldBlob(here, lost, linked); !errors.Is(err, ErrNotFound) {
		t.Errorf("mounted what was swept: %v", err)
	}
}

// Pushes and mounts of one content while sweeps run: whoever was told that it
// is there, finds it there.
func TestSweepRacesWithPushes(t *testing.T) {
	s, _ := open(t, t.TempDir(), Options{Grace: time.Nanosecond})
	var links atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var sweeper sync.WaitGroup
	sweeper.Go(func() {
		for ctx.Err() == nil {
			_, _, err := s.Sweep(ctx, here, func(context.Context, reference.Digest) (bool, error) { return links.Load() > 0, nil })
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	d := Sum([]byte("content"))
	link := func(int64) error { links.Add(1); return nil }
	var pushers sync.WaitGroup
	for i := range 4 {
		pushers.Go(func() {
			for j := range 12 {
				var err error
				switch (i + j) % 3 {
				case 0:
					err = s.Put(here, d, []byte("content"), func() error { return link(0) })
				case 1:
					var id string
					if id, err = s.Start(here, "web"); err == nil {
						_, err = s.Commit(ctx, here, "web", id, d, Part{At: 0, Body: strings.NewReader("content")}, link)
					}
				case 2:
					if err = s.HoldBlob(here, d, link); errors.Is(err, ErrNotFound) {
						continue
					}
				}
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Stat(here, d); err != nil {
					t.Error(err)
				}
				links.Add(-1)
			}
		})
	}
	pushers.Wait()
	cancel()
	sweeper.Wait()
}

func BenchmarkPush(b *testing.B) {
	dir := b.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	content := make([]byte, 64<<20)
	b.SetBytes(int64(len(content)))
	b.ReportAllocs()
	for i := range b.N {
		copy(content, fmt.Sprint(i))
		d := Sum(content)
		id, err := s.Start(here, "web")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Commit(b.Context(), here, "web", id, d, Part{At: 0, Body: bytes.NewReader(content)}, linked); err != nil {
			b.Fatal(err)
		}
	}
}
