// Package storetest is the suite that every backend of the store passes.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/store"
)

// Open makes an empty store that the test closes. History is how many commits
// a watcher may lag behind, at least; the store may keep up to half as many
// more.
type Open func(t *testing.T, history int) store.Store

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, Open){
		"CompareAndSwap":    testCompareAndSwap,
		"Atomicity":         testAtomicity,
		"Counter":           testCounter,
		"Validation":        testValidation,
		"List":              testList,
		"ListIndex":         testListIndex,
		"Pages":             testPages,
		"Delete":            testDelete,
		"Decoded":           testDecoded,
		"Table":             testTable,
		"Watch":             testWatch,
		"WatchKinds":        testWatchKinds,
		"WatchWithoutGaps":  testWatchWithoutGaps,
		"WatchCompaction":   testWatchCompaction,
		"WatchSlowReader":   testWatchSlowReader,
		"WatchEnds":         testWatchEnds,
		"Close":             testClose,
		"CancelledContext":  testCancelledContext,
		"ConcurrentReaders": testConcurrentReaders,
		"Model":             testModel,
	} {
		t.Run(name, func(t *testing.T) { test(t, open) })
	}
}

var (
	kindA = store.Kind{Service: "test", Name: "A"}
	kindB = store.Kind{Service: "test", Name: "B"}
)

func key(id string) store.Key {
	return store.Key{Account: "000000000000", Region: "us-east-1", Kind: kindA, ID: id}
}

func put(k store.Key, value string, indexes ...store.Index) store.Op {
	return store.Op{Key: k, Value: []byte(value), Indexes: indexes}
}

func commit(t *testing.T, s store.Store, ops ...store.Op) uint64 {
	t.Helper()
	rev, err := s.Commit(t.Context(), nil, ops)
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return rev
}

func ids(rs []store.Record) []string {
	out := []string{}
	for _, r := range rs {
		out = append(out, r.Key.ID)
	}
	return out
}

func testCompareAndSwap(t *testing.T, open Open) {
	s := open(t, 0)
	ctx := t.Context()
	k := key("one")
	if _, err := s.Get(ctx, k); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("get of nothing: %v", err)
	}
	absent := []store.Condition{{Key: k}}
	rev, err := s.Commit(ctx, absent, []store.Op{put(k, "1")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(ctx, absent, []store.Op{put(k, "2")}); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("creating twice: %v", err)
	}
	r, err := s.Get(ctx, k)
	if err != nil || string(r.Value) != "1" || r.Created != rev || r.Modified != rev || r.Key != k {
		t.Fatalf("got %+v, %v; committed at %d", r, err, rev)
	}
	rev2, err := s.Commit(ctx, []store.Condition{{Key: k, Modified: rev}}, []store.Op{put(k, "3")})
	if err != nil || rev2 <= rev {
		t.Fatalf("replace: %d, %v", rev2, err)
	}
	r, _ = s.Get(ctx, k)
	if string(r.Value) != "3" || r.Created != rev || r.Modified != rev2 {
		t.Fatalf("after replace: %+v", r)
	}
	if _, err := s.Commit(ctx, []store.Condition{{Key: k, Modified: rev}}, []store.Op{put(k, "4")}); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("replace of what changed: %v", err)
	}
	if _, err := s.Commit(ctx, []store.Condition{{Key: key("none"), Modified: 1}}, []store.Op{put(k, "4")}); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("condition on what is not there: %v", err)
	}
	if got := s.Revision(); got != rev2 {
		t.Errorf("revision is %d after refusals, want %d", got, rev2)
	}
}

func testAtomicity(t *testing.T, open Open) {
	s := open(t, 0)
	ctx := t.Context()
	rev := commit(t, s, put(key("a"), "1"), put(key("b"), "1"))
	a, _ := s.Get(ctx, key("a"))
	b, _ := s.Get(ctx, key("b"))
	if a.Modified != rev || b.Modified != rev {
		t.Errorf("one commit, two revisions: %d and %d, want %d", a.Modified, b.Modified, rev)
	}
	conds := []store.Condition{{Key: key("a"), Modified: rev}, {Key: key("b"), Modified: rev + 100}}
	if _, err := s.Commit(ctx, conds, []store.Op{put(key("a"), "2"), put(key("c"), "2"), {Key: key("b")}}); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("commit: %v", err)
	}
	rs, _, _ := s.List(ctx, store.Query{Kind: kindA})
	if d := cmp.Diff([]string{"a", "b"}, ids(rs)); d != "" {
		t.Errorf("a refused commit left something:\n%s", d)
	}
	if a, _ = s.Get(ctx, key("a")); string(a.Value) != "1" {
		t.Errorf("a refused commit wrote %s", a.Value)
	}
}

// testCounter increments one record from many goroutines.
func testCounter(t *testing.T, open Open) {
	s := open(t, 0)
	const writers, each = 8, 25
	table := store.NewTable[int]("test", "Counter")
	tx := store.NewTxn()
	table.Create(tx, "1", "r", "n", new(int))
	if _, err := tx.Commit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				if _, err := table.Update(t.Context(), s, "1", "r", "n", func(n *int) error { *n++; return nil }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	row, err := table.Get(t.Context(), s, "1", "r", "n")
	if err != nil || *row.V != writers*each {
		t.Fatalf("counted %v, %v; want %d", row.V, err, writers*each)
	}
}

func testValidation(t *testing.T, open Open) {
	s := open(t, 0)
	for name, ops := range map[string][]store.Op{
		"written twice": {put(key("x"), "1"), put(key("x"), "2")},
		"no id":         {put(key(""), "1")},
		"zero byte":     {put(key("a\x00b"), "1")},
		"a huge key":    {put(key(strings.Repeat("x", 40<<10)), "1")},
		"no kind":       {put(store.Key{Account: "1", Region: "r", ID: "x"}, "1")},
	} {
		if _, err := s.Commit(t.Context(), nil, ops); err == nil || errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.Revision() != 0 {
		t.Errorf("revision %d after refusals", s.Revision())
	}
	if _, _, err := s.List(t.Context(), store.Query{Kind: kindA, Prefix: "x"}); err == nil {
		t.Error("a prefix without account was taken")
	}
}

func testList(t *testing.T, open Open) {
	s := open(t, 0)
	at := func(account, region, id string) store.Key {
		return store.Key{Account: account, Region: region, Kind: kindA, ID: id}
	}
	global := func(id string) store.Key { return store.Key{Account: "1", Kind: kindB, ID: id} }
	commit(t, s,
		put(at("2", "eu", "c/1"), "v"), put(at("1", "us", "c/2"), "v"), put(at("1", "us", "c/1"), "v"),
		put(at("1", "us", "ca/1"), "v"), put(at("1", "eu", "c/3"), "v"), put(at("1", "us", "b"), "v"),
		put(at("1", "us", "d"), "v"), put(global("role/a"), "v"), put(global("user/a"), "v"), put(global("user/b"), "v"))
	for name, tt := range map[string]struct {
		q    store.Query
		want []string
	}{
		"all":                       {store.Query{Kind: kindA}, []string{"c/3", "b", "c/1", "c/2", "ca/1", "d", "c/1"}},
		"account":                   {store.Query{Kind: kindA, Account: "1"}, []string{"c/3", "b", "c/1", "c/2", "ca/1", "d"}},
		"region":                    {store.Query{Kind: kindA, Account: "1", Region: "eu"}, []string{"c/3"}},
		"prefix":                    {store.Query{Kind: kindA, Account: "1", Region: "us", Prefix: "c/"}, []string{"c/1", "c/2"}},
		"after":                     {store.Query{Kind: kindA, Account: "1", Region: "us", After: "c/1"}, []string{"c/2", "ca/1", "d"}},
		"after what is not there":   {store.Query{Kind: kindA, Account: "1", Region: "us", After: "c/15"}, []string{"c/2", "ca/1", "d"}},
		"after the last":            {store.Query{Kind: kindA, Account: "1", Region: "us", After: "d"}, []string{}},
		"prefix after":              {store.Query{Kind: kindA, Account: "1", Region: "us", Prefix: "c/", After: "c/1"}, []string{"c/2"}},
		"prefix after before it":    {store.Query{Kind: kindA, Account: "1", Region: "us", Prefix: "c/", After: "a"}, []string{"c/1", "c/2"}},
		"limit":                     {store.Query{Kind: kindA, Account: "1", Region: "us", Limit: 2}, []string{"b", "c/1"}},
		"nobody's account":          {store.Query{Kind: kindA, Account: "3"}, []string{}},
		"unknown kind":              {store.Query{Kind: store.Kind{Service: "x", Name: "y"}}, []string{}},
		"global prefix":             {store.Query{Kind: kindB, Account: "1", Prefix: "user/"}, []string{"user/a", "user/b"}},
		"global after":              {store.Query{Kind: kindB, Account: "1", After: "role/a", Limit: 1}, []string{"user/a"}},
		"prefix across all regions": {store.Query{Kind: kindA, Account: "1", Prefix: "c/"}, []string{"c/3", "c/1", "c/2"}},
	} {
		rs, rev, err := s.List(t.Context(), tt.q)
		if err != nil || rev != s.Revision() {
			t.Fatalf("%s: revision %d, %v", name, rev, err)
		}
		if d := cmp.Diff(tt.want, ids(rs)); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
	}
}

func testListIndex(t *testing.T, open Open) {
	s := open(t, 0)
	color := func(v string) store.Index { return store.Index{Name: "color", Value: v} }
	size := func(v string) store.Index { return store.Index{Name: "size", Value: v} }
	list := func(q store.Query) []string {
		t.Helper()
		q.Kind = kindA
		if q.Account == "" {
			q.Account = "000000000000"
		}
		rs, _, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return ids(rs)
	}
	equal := func(want, got []string) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	other := key("a")
	other.Region = "eu"
	commit(t, s, put(key("c"), "v", color("red"), size("1")), put(key("a"), "v", color("red"), color("blue")),
		put(key("b/1"), "v", color("red")), put(key("b/2"), "v", color("redder")), put(other, "v", color("red")))
	equal([]string{"a", "a", "b/1", "c"}, list(store.Query{Index: color("red")}))
	equal([]string{"a", "b/1", "c"}, list(store.Query{Region: "us-east-1", Index: color("red")}))
	equal([]string{"b/1", "c"}, list(store.Query{Region: "us-east-1", Index: color("red"), After: "a"}))
	equal([]string{"b/1"}, list(store.Query{Region: "us-east-1", Index: color("red"), Prefix: "b/"}))
	equal([]string{"a", "b/1"}, list(store.Query{Region: "us-east-1", Index: color("red"), Limit: 2}))
	equal([]string{"a"}, list(store.Query{Index: color("blue")}))
	equal([]string{"c"}, list(store.Query{Index: size("1")}))
	equal([]string{}, list(store.Query{Index: size("red")}))
	equal([]string{}, list(store.Query{Account: "9", Index: color("red")}))

	commit(t, s, put(key("a"), "v", color("green")), store.Op{Key: key("c")})
	equal([]string{"b/1"}, list(store.Query{Region: "us-east-1", Index: color("red")}))
	equal([]string{"a"}, list(store.Query{Index: color("green")}))
	equal([]string{}, list(store.Query{Index: color("blue")}))
	equal([]string{}, list(store.Query{Index: size("1")}))
}

func testPages(t *testing.T, open Open) {
	s := open(t, 0)
	var ops []store.Op
	var want []string
	for i := range 257 {
		id := fmt.Sprintf("c/%03d", i)
		want = append(want, id)
		ops = append(ops, put(key(id), "v", store.Index{Name: "parity", Value: strconv.Itoa(i % 2)}))
	}
	commit(t, s, append(ops, put(key("d"), "v"))...)
	page := func(q store.Query) []string {
		got := []string{}
		for {
			rs, _, err := s.List(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if len(rs) > q.Limit {
				t.Fatalf("%d records, limit %d", len(rs), q.Limit)
			}
			got = append(got, ids(rs)...)
			if len(rs) < q.Limit {
				return got
			}
			q.After = rs[len(rs)-1].Key.ID
		}
	}
	q := store.Query{Kind: kindA, Account: "000000000000", Region: "us-east-1", Prefix: "c/"}
	for _, q.Limit = range []int{1, 10, 256, 257, 1000} {
		if d := cmp.Diff(want, page(q)); d != "" {
			t.Errorf("limit %d:\n%s", q.Limit, d)
		}
	}
	q.Limit, q.Index = 7, store.Index{Name: "parity", Value: "1"}
	if got := page(q); len(got) != 128 || got[0] != "c/001" || got[127] != "c/255" {
		t.Errorf("index pages: %d ids: %v", len(got), got)
	}
}

func testDelete(t *testing.T, open Open) {
	s := open(t, 0)
	ctx := t.Context()
	first := commit(t, s, put(key("a"), "1"))
	w := watch(t, s, first)
	gone := commit(t, s, store.Op{Key: key("a")}, store.Op{Key: key("never")})
	if _, err := s.Get(ctx, key("a")); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("get of what was deleted: %v", err)
	}
	batch := next(t, w)
	if len(batch) != 1 || batch[0].Type != store.Delete || string(batch[0].Record.Value) != "1" ||
		batch[0].Record.Created != first || batch[0].Record.Modified != gone {
		t.Fatalf("delete event: %+v", batch)
	}
	// Created again, it is a new record.
	again, err := s.Commit(ctx, []store.Condition{{Key: key("a")}}, []store.Op{put(key("a"), "2")})
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := s.Get(ctx, key("a")); r.Created != again || r.Modified != again {
		t.Errorf("created again at %d: %+v", again, r)
	}
	if _, err := s.Commit(ctx, []store.Condition{{Key: key("a"), Modified: first}}, []store.Op{{Key: key("a")}}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("delete under an old condition: %v", err)
	}
}

func testDecoded(t *testing.T, open Open) {
	s := open(t, 0)
	commit(t, s, put(key("a"), `"x"`))
	one, _ := s.Get(t.Context(), key("a"))
	rs, _, _ := s.List(t.Context(), store.Query{Kind: kindA})
	if one.Decoded == nil || rs[0].Decoded != one.Decoded {
		t.Error("reads of one record have not one Decoded")
	}
	commit(t, s, put(key("a"), `"y"`))
	if two, _ := s.Get(t.Context(), key("a")); two.Decoded == one.Decoded {
		t.Error("the Decoded of a former value is kept")
	}
}

func testTable(t *testing.T, open Open) {
	type thing struct {
		Name   string
		Colors []string
	}
	s := open(t, 0)
	ctx := t.Context()
	table := store.NewTable[thing]("test", "Thing").WithIndex("color", func(v *thing) []string { return v.Colors })
	tx := store.NewTxn()
	table.Create(tx, "1", "r", "a", &thing{"a", []string{"red", "blue"}})
	table.Create(tx, "1", "r", "b", &thing{"b", []string{"red"}})
	if _, err := tx.Commit(ctx, s); err != nil {
		t.Fatal(err)
	}
	rows, err := table.List(ctx, s, store.Query{Account: "1", Index: store.Index{Name: "color", Value: "red"}})
	if err != nil || len(rows) != 2 || rows[1].V.Name != "b" {
		t.Fatalf("%+v, %v", rows, err)
	}
	row, err := table.Update(ctx, s, "1", "r", "a", func(v *thing) error { v.Colors = nil; return nil })
	if err != nil || row.V.Colors != nil || rows[0].V.Colors == nil {
		t.Fatalf("update: %+v, %v; what was read before: %+v", row, err, rows[0].V)
	}
	tx = store.NewTxn()
	table.Check(tx, rows[0])
	table.Delete(tx, rows[1])
	if _, err := tx.Commit(ctx, s); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("check of what changed: %v", err)
	}
}

func testClose(t *testing.T, open Open) {
	s := open(t, 0)
	rev := commit(t, s, put(key("a"), "1"))
	w := watch(t, s, rev)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := <-w.Events; ok || !errors.Is(w.Err(), store.ErrClosed) {
		t.Errorf("a watch after close: %v", w.Err())
	}
	if _, err := s.Get(t.Context(), key("a")); !errors.Is(err, store.ErrClosed) {
		t.Errorf("get: %v", err)
	}
	if _, _, err := s.List(t.Context(), store.Query{Kind: kindA}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("list: %v", err)
	}
	if _, err := s.Commit(t.Context(), nil, []store.Op{put(key("a"), "2")}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("commit: %v", err)
	}
	if _, err := s.Watch(t.Context(), rev); !errors.Is(err, store.ErrClosed) {
		t.Errorf("watch: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}

func testCancelledContext(t *testing.T, open Open) {
	s := open(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, key("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v", err)
	}
	if _, _, err := s.List(ctx, store.Query{Kind: kindA}); !errors.Is(err, context.Canceled) {
		t.Errorf("list: %v", err)
	}
	if _, err := s.Commit(ctx, nil, []store.Op{put(key("a"), "2")}); !errors.Is(err, context.Canceled) {
		t.Errorf("commit: %v", err)
	}
	if s.Revision() != 0 {
		t.Error("a cancelled commit wrote")
	}
}

// testConcurrentReaders lists while pairs of records change together: no list
// may see half of a commit.
func testConcurrentReaders(t *testing.T, open Open) {
	s := open(t, 0)
	write := func(n int) error {
		v := strconv.Itoa(n)
		_, err := s.Commit(t.Context(), nil, []store.Op{put(key("left"), v), put(key("right"), v)})
		return err
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				rs, _, err := s.List(t.Context(), store.Query{Kind: kindA})
				if err != nil || len(rs) != 2 || !slices.Equal(rs[0].Value, rs[1].Value) || rs[0].Modified != rs[1].Modified {
					t.Errorf("half a commit: %+v, %v", rs, err)
					return
				}
			}
		})
	}
	for i := range 200 {
		if err := write(i + 1); err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	wg.Wait()
}
