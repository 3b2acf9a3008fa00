package local

import (
	"context"
	"fmt"

	"roadstead.dev/internal/store"
)

// request is a Commit that waits in the queue. Exactly one value is sent on
// wake: true makes its goroutine lead the next batch, false tells that the
// request is done.
type request struct {
	conds []store.Condition
	ops   []store.Op
	wake  chan bool

	revision uint64
	err      error
}

// Commit implements store.Store. Commits that come while the log is written
// are written together next: the first of them leads, which means that its
// goroutine does the work for all. A commit that has begun to wait ends with
// its batch, whatever happens to ctx.
func (s *Store) Commit(ctx context.Context, conds []store.Condition, ops []store.Op) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := checkOps(ops); err != nil {
		return 0, err
	}
	r := &request{conds: conds, ops: ops, wake: make(chan bool, 1)}

	s.queueMu.Lock()
	if s.closed {
		s.queueMu.Unlock()
		return 0, store.ErrClosed
	}
	s.queue = append(s.queue, r)
	lead := !s.leading
	s.leading = true
	s.queueMu.Unlock()

	if lead || <-r.wake {
		s.lead(r)
	}
	return r.revision, r.err
}

// lead commits what is queued, own among it, and passes the lead on.
func (s *Store) lead(own *request) {
	s.queueMu.Lock()
	batch := s.queue
	s.queue = nil
	s.queueMu.Unlock()

	s.commit(batch)
	for _, r := range batch {
		if r != own {
			r.wake <- false
		}
	}
	s.startFlush()

	s.queueMu.Lock()
	defer s.queueMu.Unlock()
	if len(s.queue) > 0 {
		s.queue[0].wake <- true
		return
	}
	s.leading = false
	s.idle.Broadcast()
}

// commit decides the requests in order, each against what those before it
// leave, makes the outcome durable with one write, and then lets readers and
// watchers see it. A refusal may rest on a write of the same batch, so it is
// answered no earlier than that is durable.
func (s *Store) commit(batch []*request) {
	// Nobody else writes while this goroutine leads, so what it sees now stays
	// true; a flush that ends meanwhile moves records without changing them.
	s.mu.RLock()
	seen := s.view()
	s.mu.RUnlock()
	pending := map[store.Key]*Entry{}
	current := func(k *store.Key) (*Entry, error) {
		if e, ok := pending[*k]; ok {
			return e, nil
		}
		return seen.get(k)
	}
	revision := s.revision
	var changes []Change
	var commits []commitEvents
	for _, r := range batch {
		if r.err = check(r.conds, current); r.err != nil {
			continue
		}
		var old []*Entry
		if old, r.err = before(r.ops, current); r.err != nil {
			continue
		}
		if len(r.ops) > 0 {
			revision++
		}
		r.revision = revision
		var events []store.Event
		for i := range r.ops {
			if c, ev, changed := apply(&r.ops[i], revision, old[i]); changed {
				pending[c.Key] = c.Entry
				changes = append(changes, c)
				events = append(events, ev)
			}
		}
		if len(r.ops) > 0 {
			commits = append(commits, commitEvents{revision, events})
		}
	}
	if len(commits) == 0 {
		return
	}
	if err := s.log.Write(changes, revision); err != nil {
		for _, r := range batch {
			r.revision, r.err = 0, fmt.Errorf("commit: %w", err)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range changes {
		s.show(&changes[i])
	}
	s.revision = revision
	s.history.add(commits)
	close(s.changed)
	s.changed = make(chan struct{})
}

func check(conds []store.Condition, current func(*store.Key) (*Entry, error)) error {
	for i := range conds {
		c := &conds[i]
		e, err := current(&c.Key)
		if err != nil {
			return err
		}
		var modified uint64
		if e != nil {
			modified = e.Record.Modified
		}
		if modified != c.Modified {
			return fmt.Errorf("%s: %w", c.Key, store.ErrConflict)
		}
	}
	return nil
}

// before reads what the ops replace; nil where there is nothing.
func before(ops []store.Op, current func(*store.Key) (*Entry, error)) ([]*Entry, error) {
	old := make([]*Entry, len(ops))
	for i := range ops {
		var err error
		if old[i], err = current(&ops[i].Key); err != nil {
			return nil, err
		}
	}
	return old, nil
}

func apply(op *store.Op, revision uint64, old *Entry) (Change, store.Event, bool) {
	if op.Value == nil {
		if old == nil {
			return Change{}, store.Event{}, false
		}
		last := old.Record
		last.Modified = revision
		return Change{Key: op.Key}, store.Event{Type: store.Delete, Record: last}, true
	}
	rec := store.Record{Key: op.Key, Value: op.Value, Created: revision, Modified: revision, Decoded: new(store.Decoded)}
	if old != nil {
		rec.Created = old.Record.Created
	}
	e := &Entry{Record: rec, Indexes: op.Indexes}
	return Change{Key: op.Key, Entry: e}, store.Event{Type: store.Put, Record: rec}, true
}

func checkOps(ops []store.Op) error {
	for i := range ops {
		if err := checkKey(ops[i].Key); err != nil {
			return err
		}
		for j := range i {
			if ops[j].Key == ops[i].Key {
				return fmt.Errorf("%s: written twice in one transaction", ops[i].Key)
			}
		}
	}
	return nil
}
