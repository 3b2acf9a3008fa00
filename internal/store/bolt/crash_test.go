package bolt_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/bolt"
)

// files are what a store keeps on disk, as a crash would leave them.
type files map[string][]byte

func snapshot(t testing.TB, path string) files {
	t.Helper()
	names, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	out := files{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // flushed meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimPrefix(name, path)] = b
	}
	return out
}

// restore puts files into a folder of their own.
func (f files) restore(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.db")
	for suffix, b := range f {
		if err := os.WriteFile(path+suffix, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func (f files) with(suffix string, b []byte) files {
	out := maps.Clone(f)
	if b == nil {
		delete(out, suffix)
	} else {
		out[suffix] = b
	}
	return out
}

// errIndex: what an index says is not what the records do.
var errIndex = errors.New("the index differs")

// read opens what is in path and lists all of it.
func read(t testing.TB, path string) (map[string]string, error) {
	t.Helper()
	s, err := bolt.Open(path, bolt.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	rs, _, err := s.List(t.Context(), store.Query{Kind: kind})
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, r := range rs {
		out[r.Key.ID] = string(r.Value)
		byIndex, _, err := s.List(t.Context(), store.Query{Kind: kind, Account: r.Key.Account, Index: store.Index{Name: "id", Value: r.Key.ID}})
		if err != nil {
			return nil, err
		}
		if len(byIndex) != 1 || byIndex[0].Key != r.Key {
			return nil, fmt.Errorf("%w: by index: %v", errIndex, byIndex)
		}
	}
	return out, nil
}

func indexed(id, value string) store.Op {
	return store.Op{Key: key(id), Value: []byte(value), Indexes: []store.Index{{Name: "id", Value: id}}}
}

// TestCrash takes the files away at any moment between two commits, in the
// middle of whatever flush goes on, and finds all that was acknowledged there.
func TestCrash(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(t.TempDir(), fmt.Sprint(rapid.Uint64().Draw(rt, "folder")), "s.db")
		s, err := bolt.Open(path, bolt.Options{FlushAt: rapid.Int64Range(1, 4000).Draw(rt, "flush at")})
		if err != nil {
			rt.Fatal(err)
		}
		want := map[string]string{}
		for n := range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "step") {
			case 0:
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				if s, err = bolt.Open(path, bolt.Options{FlushAt: 1000}); err != nil {
					rt.Fatal(err)
				}
			case 1:
				// Pages are copied while they may be written, so they may be torn
				// where a crash would not tear them: then, Open must say so.
				got, err := read(t, snapshot(t, path).restore(t))
				if err != nil && !errors.Is(err, bolt.ErrDamaged) {
					rt.Fatal(err)
				}
				if err == nil && !equal(got, want) {
					rt.Fatalf("found %v, acknowledged %v", got, want)
				}
			default:
				var ops []store.Op
				for i, id := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 1, 3, rapid.ID).Draw(rt, "ids") {
					if rapid.IntRange(0, 3).Draw(rt, "delete") == 0 {
						ops = append(ops, store.Op{Key: key(id)})
						delete(want, id)
						continue
					}
					want[id] = fmt.Sprintf("%d.%d", n, i) + strings.Repeat("x", rapid.IntRange(0, 500).Draw(rt, "size"))
					ops = append(ops, indexed(id, want[id]))
				}
				if _, err := s.Commit(t.Context(), nil, ops); err != nil {
					rt.Fatal(err)
				}
			}
		}
		if err := s.Close(); err != nil {
			rt.Fatal(err)
		}
		got, err := read(t, path)
		if err != nil || !equal(got, want) {
			rt.Fatalf("found %v, acknowledged %v; %v", got, want, err)
		}
	})
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

// running writes a hundred commits, the first half of which is flushed, and
// takes a snapshot while the store is open.
func running(t *testing.T) (files, map[string]string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s.db")
	want := map[string]string{}
	write := func(s store.Store, from, to int) {
		for i := from; i < to; i++ {
			id := fmt.Sprintf("%03d", i)
			want[id] = strings.Repeat(id, 50)
			if _, err := s.Commit(t.Context(), nil, []store.Op{indexed(id, want[id])}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := open(t, path)
	write(s, 0, 50)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	write(s, 50, 100)
	f := snapshot(t, path)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return f, want
}

// TestTornLog cuts and overwrites the log everywhere: a store that opens has
// all that was acknowledged, but for the very last write where that itself was
// overwritten, which looks as if it had been cut off.
func TestTornLog(t *testing.T) {
	f, want := running(t)
	const log = ".log.000002"
	whole := f[log]
	end := bytes.LastIndex(whole, []byte("099099")) + 6
	lastBegins := bytes.LastIndex(whole, []byte("098098"))
	if end < 10_000 || len(f) != 2 {
		t.Fatalf("the log ends at %d of %d; %d files", end, len(whole), len(f))
	}
	if got, err := read(t, f.restore(t)); err != nil || !equal(got, want) {
		t.Fatalf("as it was left: %d of %d, %v", len(got), len(want), err)
	}
	check := func(what string, at int, f files) {
		t.Helper()
		got, err := read(t, f.restore(t))
		switch {
		case errors.Is(err, bolt.ErrDamaged):
		case err != nil:
			t.Errorf("%s at %d: %v", what, at, err)
		case at < lastBegins && !equal(got, want):
			t.Errorf("%s at %d: opened with %d records", what, at, len(got))
		case len(got) < len(want)-1:
			t.Errorf("%s at %d: opened with %d records", what, at, len(got))
		}
	}
	for at := 0; at < end; at += 131 {
		check("cut", at, f.with(log, whole[:at]))
		b := bytes.Clone(whole)
		b[at] ^= 0xa5
		check("changed", at, f.with(log, b))
		// A sector at a time, but not the last writes and those before them at
		// once: that no crash does, since they were made durable one by one.
		if to := min(at+512, end); at >= lastBegins || to < lastBegins {
			b = bytes.Clone(whole)
			clear(b[at:to])
			check("zeroed", at, f.with(log, b))
		}
	}
	// Half of a write that nobody was told of is dropped.
	b := bytes.Clone(whole)
	frame := bytes.LastIndex(whole[:lastBegins], []byte("Rfrm"))
	copy(b[(end+7)/8*8:], whole[frame:frame+100])
	if got, err := read(t, f.with(log, b).restore(t)); err != nil || !equal(got, want) {
		t.Errorf("a torn write behind the end: %d records, %v", len(got), err)
	}
	for what, f := range map[string]files{
		"no log":           f.with(log, nil),
		"no pages":         f.with("", nil),
		"empty log":        f.with(log, []byte{}),
		"another's number": f.with(log, nil).with(".log.000003", whole),
	} {
		if _, err := read(t, f.restore(t)); !errors.Is(err, bolt.ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestTornPages overwrites each page in turn: what is read is right, or an
// error says that it is not.
func TestTornPages(t *testing.T) {
	f, want := running(t)
	page := os.Getpagesize()
	for at := 0; at < len(f[""]); at += page / 2 {
		for name, fill := range map[string]byte{"zeroed": 0, "overwritten": 0xa5} {
			b := bytes.Clone(f[""])
			for i := range page / 2 {
				b[at+i] = fill
			}
			got, err := read(t, f.with("", b).restore(t))
			// A page of an index, half overwritten, is not known for it: no crash
			// does that, since pages that count are never written to.
			if err != nil && !errors.Is(err, bolt.ErrDamaged) && !errors.Is(err, errIndex) {
				t.Errorf("%s at %d: %v", name, at, err)
			}
			if err == nil && !equal(got, want) {
				t.Errorf("%s at %d: opened with %d of %d records", name, at, len(got), len(want))
			}
		}
	}
	for at := 0; at < len(f[""]); at += page {
		if got, err := read(t, f.with("", f[""][:at]).restore(t)); !errors.Is(err, bolt.ErrDamaged) && !equal(got, want) && at > 0 {
			t.Errorf("cut at %d: %d records, %v", at, len(got), err)
		}
	}
}

// TestUpgrade opens a file of format 1, which had neither log nor index.
func TestUpgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.db")
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	number := func(n byte) []byte { return []byte{0, 0, 0, 0, 0, 0, 0, n} }
	err = db.Update(func(tx *bbolt.Tx) error {
		meta, err1 := tx.CreateBucket([]byte("meta"))
		records, err2 := tx.CreateBucket([]byte("records"))
		return errors.Join(err1, err2,
			meta.Put([]byte("format"), number(1)), meta.Put([]byte("revision"), number(7)),
			records.Put([]byte("test\x00T\x00000000000000\x00us-east-1\x00a"), []byte("\x02\x07\x01\x05color\x03red{}")))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s := open(t, path)
		rs, rev, err := s.List(t.Context(), store.Query{Kind: kind, Index: store.Index{Name: "color", Value: "red"}})
		if err != nil || rev != 7 || len(rs) != 1 || string(rs[0].Value) != "{}" || rs[0].Created != 2 || rs[0].Modified != 7 {
			t.Errorf("revision %d, %+v, %v", rev, rs, err)
		}
		_ = s.Close()
	}
}
