package local_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/local"
)

// gate is a log that waits for the test, and fails when it is told to.
type gate struct {
	open chan error
	mu   sync.Mutex
	// batches are the sizes of the writes that came.
	batches []int
	closed  bool
}

func newGate() *gate { return &gate{open: make(chan error)} }

func (g *gate) Write(changes []local.Change, _ uint64) error {
	g.mu.Lock()
	g.batches = append(g.batches, len(changes))
	g.mu.Unlock()
	return <-g.open
}

func (g *gate) Close() error {
	g.closed = true
	return nil
}

func key(id string) store.Key {
	return store.Key{Account: "1", Region: "r", Kind: store.Kind{Service: "test", Name: "T"}, ID: id}
}

func put(id string) []store.Op { return []store.Op{{Key: key(id), Value: []byte("v")}} }

// TestGroupCommit: commits that come while the log is busy are written
// together, each is decided after those before it, and nobody is told or sees
// anything before the log has it.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := local.New(local.Config{Log: g})
		var wg sync.WaitGroup
		var mu sync.Mutex
		done := map[string]error{}
		commit := func(id string, conds ...store.Condition) {
			wg.Go(func() {
				_, err := s.Commit(t.Context(), conds, put(id))
				mu.Lock()
				done[id] = err
				mu.Unlock()
			})
			synctest.Wait()
		}
		commit("first")
		for i := range 10 {
			commit(fmt.Sprint(i))
		}
		// It rests on a write that is not durable yet: refused, but not before.
		commit("late", store.Condition{Key: key("3")})
		if len(done) != 0 || s.Revision() != 0 {
			t.Errorf("acknowledged before it is durable: %v", done)
		}
		w, err := s.Watch(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		g.open <- nil
		synctest.Wait()
		if len(done) != 1 || s.Revision() != 1 {
			t.Errorf("after the first write: %v, revision %d", done, s.Revision())
		}
		if b := <-w.Events; b[0].Record.Key.ID != "first" {
			t.Errorf("watched %v", b)
		}
		synctest.Wait()
		select {
		case b := <-w.Events:
			t.Errorf("watched what is not durable: %v", b)
		default:
		}
		g.open <- nil
		wg.Wait()
		if len(g.batches) != 2 || g.batches[1] != 10 || s.Revision() != 11 {
			t.Errorf("batches %v, revision %d", g.batches, s.Revision())
		}
		for id, err := range done {
			if id == "late" != errors.Is(err, store.ErrConflict) || id != "late" && err != nil {
				t.Errorf("%s: %v", id, err)
			}
		}
		if err := s.Close(); err != nil || !g.closed {
			t.Errorf("close: %v, %v", err, g.closed)
		}
	})
}

// TestLogFails: what cannot be made durable has not happened, for anyone.
func TestLogFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := local.New(local.Config{Log: g})
		full := errors.New("no space left")
		var wg sync.WaitGroup
		errs := make([]error, 3)
		for i := range errs {
			wg.Go(func() { _, errs[i] = s.Commit(t.Context(), nil, put(fmt.Sprint(i))) })
			synctest.Wait()
		}
		g.open <- nil
		g.open <- full
		wg.Wait()
		if errs[0] != nil || !errors.Is(errs[1], full) || !errors.Is(errs[2], full) {
			t.Errorf("errors %v", errs)
		}
		rs, rev, err := s.List(t.Context(), store.Query{Kind: key("").Kind})
		if err != nil || len(rs) != 1 || rev != 1 {
			t.Errorf("left %v at %d, %v", rs, rev, err)
		}
		// The next commit goes on from there.
		wg.Go(func() { _, errs[0] = s.Commit(t.Context(), []store.Condition{{Key: key("1")}}, put("1")) })
		g.open <- nil
		wg.Wait()
		if errs[0] != nil || s.Revision() != 2 {
			t.Errorf("after the failure: %v, revision %d", errs[0], s.Revision())
		}
		_ = s.Close()
	})
}

// TestCloseWaits: a commit under way ends with its write, not with Close.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := local.New(local.Config{Log: g})
		var wg sync.WaitGroup
		var committed, closed error
		wg.Go(func() { _, committed = s.Commit(t.Context(), nil, put("a")) })
		synctest.Wait()
		wg.Go(func() { closed = s.Close() })
		synctest.Wait()
		if g.closed {
			t.Error("the log was closed under a write")
		}
		if _, err := s.Commit(t.Context(), nil, put("b")); !errors.Is(err, store.ErrClosed) {
			t.Errorf("a commit behind Close: %v", err)
		}
		g.open <- nil
		wg.Wait()
		if committed != nil || closed != nil || !g.closed {
			t.Errorf("commit %v, close %v", committed, closed)
		}
	})
}
