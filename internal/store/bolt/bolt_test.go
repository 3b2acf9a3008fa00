package bolt_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/bolt"
	"roadstead.dev/internal/store/storetest"
)

// childEnv makes the test binary write to the store it names until it is
// killed.
const childEnv = "ROADSTEAD_TEST_BOLT_WRITER"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		if err := writeForever(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// TestConformance runs with a log that is flushed rarely, after every batch,
// and every few batches.
func TestConformance(t *testing.T) {
	for _, flushAt := range []int64{0, 1, 1000} {
		t.Run(fmt.Sprintf("flush at %d", flushAt), func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T, history int) store.Store {
				s, err := bolt.Open(filepath.Join(t.TempDir(), "s.db"), bolt.Options{History: history, FlushAt: flushAt})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				})
				return s
			})
		})
	}
}

var kind = store.Kind{Service: "test", Name: "T"}

func key(id string) store.Key {
	return store.Key{Account: "000000000000", Region: "us-east-1", Kind: kind, ID: id}
}

func open(t testing.TB, path string) store.Store {
	t.Helper()
	s, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "er", "s.db")
	s := open(t, path)
	red := store.Index{Name: "color", Value: "red"}
	ctx := t.Context()
	first, err := s.Commit(ctx, nil, []store.Op{
		{Key: key("a"), Value: []byte(`{"n":1}`), Indexes: []store.Index{red, {Name: "size", Value: ""}}},
		{Key: key("b"), Value: []byte(`2`)},
		{Key: key("c"), Value: []byte(`3`), Indexes: []store.Index{red}},
	})
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Commit(ctx, nil, []store.Op{{Key: key("c")}, {Key: key("b"), Value: []byte(`22`)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = open(t, path)
	defer s.Close()
	if s.Revision() != second {
		t.Errorf("revision %d, want %d", s.Revision(), second)
	}
	b, err := s.Get(ctx, key("b"))
	if err != nil || string(b.Value) != "22" || b.Created != first || b.Modified != second {
		t.Errorf("b is %+v, %v", b, err)
	}
	rs, _, err := s.List(ctx, store.Query{Kind: kind, Account: "000000000000", Index: red})
	if err != nil || len(rs) != 1 || string(rs[0].Value) != `{"n":1}` {
		t.Errorf("by index: %+v, %v", rs, err)
	}
	// What happened before is not kept for watchers; what comes is.
	w, err := s.Watch(ctx, first)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := <-w.Events; ok || !errors.Is(w.Err(), store.ErrCompacted) {
		t.Errorf("watch of what is gone: %v", w.Err())
	}
	if w, err = s.Watch(ctx, second); err != nil {
		t.Fatal(err)
	}
	third, err := s.Commit(ctx, []store.Condition{{Key: key("b"), Modified: second}}, []store.Op{{Key: key("b"), Value: []byte(`222`)}})
	if err != nil || third != second+1 {
		t.Fatalf("commit: %d, %v", third, err)
	}
	if ev := <-w.Events; ev[0].Record.Modified != third {
		t.Errorf("event %+v", ev)
	}
}

func TestOpenInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	s := open(t, path)
	defer s.Close()
	_, err := bolt.Open(path, bolt.Options{LockTimeout: 50 * time.Millisecond})
	if !errors.Is(err, bolt.ErrInUse) || !strings.Contains(err.Error(), "another roadstead uses") || !strings.Contains(err.Error(), path) {
		t.Errorf("second open: %v", err)
	}
}

func TestOpenDamaged(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole.db")
	s := open(t, whole)
	for i := range 40 {
		if _, err := s.Commit(t.Context(), nil, []store.Op{{Key: key(strconv.Itoa(i)), Value: []byte(strings.Repeat("x", 3000))}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(whole + ".log.000002")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	overwrite := func(from, to int) []byte {
		b := append([]byte(nil), content...)
		for i := from; i < to && i < len(b); i++ {
			b[i] = 0xa5
		}
		return b
	}
	for name, data := range map[string][]byte{
		"text":             []byte(strings.Repeat("not a store\n", 10000)),
		"cut after header": content[:2*page],
		"cut":              content[:12*page],
		"meta pages":       overwrite(0, 2*page),
		"all but meta":     overwrite(2*page, len(content)),
	} {
		path := filepath.Join(t.TempDir(), "s.db")
		if err := errors.Join(os.WriteFile(path, data, 0o600), os.WriteFile(path+".log.000002", log, 0o600)); err != nil {
			t.Fatal(err)
		}
		s, err := bolt.Open(path, bolt.Options{LockTimeout: time.Second})
		if !errors.Is(err, bolt.ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if s != nil {
			_ = s.Close()
		}
	}
	// One torn meta page is what a power cut leaves: the other one counts.
	path := filepath.Join(t.TempDir(), "s.db")
	if err := errors.Join(os.WriteFile(path, overwrite(0, page), 0o600), os.WriteFile(path+".log.000002", log, 0o600)); err != nil {
		t.Fatal(err)
	}
	s, err = bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatalf("one torn meta page: %v", err)
	}
	_ = s.Close()
}

func TestOpenOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	update := func(f func(*bbolt.Tx) error) {
		t.Helper()
		if err := db.Update(f); err != nil {
			t.Fatal(err)
		}
	}
	update(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("somebody's")); return err })
	_ = db.Close()
	if _, err := bolt.Open(path, bolt.Options{}); !errors.Is(err, bolt.ErrDamaged) {
		t.Errorf("another program's file: %v", err)
	}

	path = filepath.Join(t.TempDir(), "s.db")
	_ = open(t, path).Close()
	if db, err = bbolt.Open(path, 0o600, nil); err != nil {
		t.Fatal(err)
	}
	update(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("meta")).Put([]byte("format"), binary.BigEndian.AppendUint64(nil, 99))
	})
	_ = db.Close()
	if _, err := bolt.Open(path, bolt.Options{}); !errors.Is(err, bolt.ErrNewer) {
		t.Errorf("a newer format: %v", err)
	}
}

// writeForever commits from several goroutines and tells on standard output
// of each write that was acknowledged.
func writeForever(path string) error {
	s, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("w%d/%d", w, n)
				pair := key("pair/" + id)
				rev, err := s.Commit(context.Background(), nil, []store.Op{{Key: key(id), Value: []byte(id)}, {Key: pair, Value: []byte(id)}})
				mu.Lock()
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Printf("%s %d\n", id, rev)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return nil
}

// TestKill ends a writer with kill -9 again and again: whatever it
// acknowledged is there, and no commit is there by half.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	acked, total := map[string]uint64{}, 0
	for round := range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), childEnv+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(out)
		for n := 0; ; n++ {
			if n == 100+round*37 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
			line, err := in.ReadString('\n')
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			total++
			id, rev, _ := strings.Cut(strings.TrimSpace(line), " ")
			if acked[id], err = strconv.ParseUint(rev, 10, 64); err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
		}
		_ = cmd.Wait() // killed

		s := open(t, path)
		highest := uint64(0)
		for id, rev := range acked {
			highest = max(highest, rev)
			r, err := s.Get(t.Context(), key(id))
			if err != nil || string(r.Value) != id || r.Modified < rev {
				t.Errorf("acknowledged %s at %d, found %+v, %v", id, rev, r, err)
			}
		}
		if s.Revision() < highest {
			t.Errorf("revision %d, acknowledged %d", s.Revision(), highest)
		}
		rs, _, err := s.List(t.Context(), store.Query{Kind: kind, Account: "000000000000", Region: "us-east-1"})
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]uint64{}
		for _, r := range rs {
			found[r.Key.ID] = r.Modified
		}
		for id, rev := range found {
			other, isPair := strings.CutPrefix(id, "pair/")
			if !isPair {
				other = "pair/" + id
			}
			if found[other] != rev {
				t.Errorf("%s was written at %d, %s at %d", id, rev, other, found[other])
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if total < 300 {
		t.Errorf("only %d writes were acknowledged", total)
	}
}

func BenchmarkCommit(b *testing.B) {
	value := []byte(strings.Repeat("x", 1000))
	for _, writers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := open(b, filepath.Join(b.TempDir(), "s.db"))
			defer s.Close()
			var wg sync.WaitGroup
			work := make(chan int)
			for range writers {
				wg.Go(func() {
					for i := range work {
						if _, err := s.Commit(b.Context(), nil, []store.Op{{Key: key(strconv.Itoa(i % 10000)), Value: value}}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for i := 0; b.Loop(); i++ {
				work <- i
			}
			close(work)
			wg.Wait()
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "s.db")
	s := open(b, path)
	value := []byte(strings.Repeat("x", 1000))
	const records = 10000
	for i := 0; i < records; i += 1000 {
		var ops []store.Op
		for j := range 1000 {
			ops = append(ops, store.Op{Key: key(strconv.Itoa(i + j)), Value: value, Indexes: []store.Index{{Name: "mod", Value: strconv.Itoa(j % 10)}}})
		}
		if _, err := s.Commit(b.Context(), nil, ops); err != nil {
			b.Fatal(err)
		}
	}
	_ = s.Close()
	for b.Loop() {
		_ = open(b, path).Close()
	}
	b.ReportMetric(records, "records")
}

func BenchmarkGet(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "s.db"))
	defer s.Close()
	if _, err := s.Commit(b.Context(), nil, []store.Op{{Key: key("a"), Value: []byte("{}")}}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Get(b.Context(), key("a")); err != nil {
			b.Fatal(err)
		}
	}
}
