package storetest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"roadstead.dev/internal/store"
)

// patience is how long an event may take to come.
const patience = 30 * time.Second

func watch(t *testing.T, s store.Store, from uint64, kinds ...store.Kind) *store.Watcher {
	t.Helper()
	w, err := s.Watch(t.Context(), from, kinds...)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func next(t *testing.T, w *store.Watcher) []store.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case b, ok := <-w.Events:
		if !ok {
			t.Fatalf("the watch ended: %v", w.Err())
		}
		return b
	case <-ctx.Done():
		t.Fatal("no event came")
	}
	return nil
}

func testWatch(t *testing.T, open Open) {
	s := open(t, 0)
	early := watch(t, s, 0)
	first := commit(t, s, put(key("a"), "1"), put(key("b"), "1"))
	second := commit(t, s, put(key("a"), "2"))
	late := watch(t, s, 0)
	middle := watch(t, s, first)
	for name, w := range map[string]*store.Watcher{"early": early, "late": late} {
		b := next(t, w)
		if len(b) != 2 || b[0].Record.Key.ID != "a" || b[1].Record.Key.ID != "b" || b[0].Record.Modified != first {
			t.Errorf("%s: first batch %+v", name, b)
		}
		if b = next(t, w); len(b) != 1 || string(b[0].Record.Value) != "2" || b[0].Record.Modified != second {
			t.Errorf("%s: second batch %+v", name, b)
		}
	}
	if b := next(t, middle); len(b) != 1 || b[0].Record.Modified != second {
		t.Errorf("after %d: %+v", first, b)
	}
	// What a watch shows is there to be read.
	w := watch(t, s, second)
	go func() { _, _ = s.Commit(context.WithoutCancel(t.Context()), nil, []store.Op{put(key("c"), "3")}) }()
	ev := next(t, w)[0]
	if r, err := s.Get(t.Context(), ev.Record.Key); err != nil || r.Modified != ev.Record.Modified {
		t.Errorf("seen and not there: %+v, %v", r, err)
	}
}

func testWatchKinds(t *testing.T, open Open) {
	s := open(t, 0)
	b := key("b")
	b.Kind = kindB
	w := watch(t, s, 0, kindB)
	commit(t, s, put(key("a"), "1"))
	commit(t, s, put(key("a"), "2"), put(b, "1"))
	if got := next(t, w); len(got) != 1 || got[0].Record.Key != b {
		t.Errorf("got %+v", got)
	}
}

func testWatchWithoutGaps(t *testing.T, open Open) {
	s := open(t, 0)
	const writers, each, watchers = 6, 50, 3
	var ws []*store.Watcher
	for range watchers {
		ws = append(ws, watch(t, s, 0))
	}
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			k := key("w" + strconv.Itoa(i))
			for n := range each {
				if _, err := s.Commit(t.Context(), nil, []store.Op{put(k, strconv.Itoa(n))}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for _, w := range ws {
		last, seen := uint64(0), map[string]int{}
		for range writers * each {
			b := next(t, w)
			r := b[0].Record
			if len(b) != 1 || r.Modified != last+1 {
				t.Fatalf("after revision %d came %+v", last, b)
			}
			last = r.Modified
			if n, _ := strconv.Atoi(string(r.Value)); n != seen[r.Key.ID] {
				t.Fatalf("%s: write %d came when %d was due", r.Key.ID, n, seen[r.Key.ID])
			}
			seen[r.Key.ID]++
		}
	}
	wg.Wait()
}

func testWatchCompaction(t *testing.T, open Open) {
	s := open(t, 8)
	for i := range 50 {
		commit(t, s, put(key("a"), strconv.Itoa(i)))
	}
	for name, from := range map[string]uint64{"past": 1, "future": s.Revision() + 5} {
		w := watch(t, s, from)
		if b, ok := <-w.Events; ok || !errors.Is(w.Err(), store.ErrCompacted) {
			t.Errorf("%s: %+v, %v", name, b, w.Err())
		}
	}
	w := watch(t, s, s.Revision()-8)
	for range 8 {
		next(t, w)
	}
}

func testWatchSlowReader(t *testing.T, open Open) {
	s := open(t, 8)
	w := watch(t, s, 0)
	for i := range 100 {
		commit(t, s, put(key("a"), strconv.Itoa(i)))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	last := uint64(0)
	for {
		var b []store.Event
		var ok bool
		select {
		case b, ok = <-w.Events:
		case <-ctx.Done():
			t.Fatal("the slow watcher was not told")
		}
		if !ok {
			break
		}
		if b[0].Record.Modified != last+1 {
			t.Fatalf("a gap behind %d: %+v", last, b)
		}
		last = b[0].Record.Modified
	}
	if !errors.Is(w.Err(), store.ErrCompacted) {
		t.Errorf("ended with %v", w.Err())
	}
}

func testWatchEnds(t *testing.T, open Open) {
	s := open(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	waiting, err := s.Watch(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	commit(t, s, put(key("a"), "1"))
	next(t, waiting)
	sending, err := s.Watch(ctx, 0) // nobody reads it
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for range waiting.Events {
	}
	for range sending.Events {
	}
	if !errors.Is(waiting.Err(), context.Canceled) {
		t.Errorf("ended with %v", waiting.Err())
	}
}
