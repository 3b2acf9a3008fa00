package fleet

import (
	"context"
	"errors"
	"fmt"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// claim is a claim as the book knows it. The book's own choices make room for
// each other, so one need not fail because another was committed in between:
// it may rest on any claim of the same origin.
type claim struct {
	store.Row[model.InstanceClaim]
	// origin is the revision of the newest claim, up to this one, that somebody
	// else has written.
	origin uint64
}

// told notes a claim that a record tells of, unless it is known.
func (c *cluster) told(instance string, r store.Row[model.InstanceClaim]) {
	if c.claims[instance].Modified < r.Modified {
		c.claims[instance] = claim{r, r.Modified}
	}
}

// turns are closed when the commit that has begun last on an instance is over.
type turns map[string]chan struct{}

// line lines up behind the commits under way on the choice's instances. As it
// does so for all of them at once, none waits for one that waits for it.
func (ch *Choice) line(over chan struct{}) (ahead []chan struct{}) {
	ch.book.mu.Lock()
	defer ch.book.mu.Unlock()
	c := ch.book.at(ch.place)
	for id := range ch.claims {
		if before := c.turns[id]; before != nil {
			ahead = append(ahead, before)
		}
		c.turns[id] = over
	}
	return ahead
}

// leave ends the choice's turns.
func (ch *Choice) leave(over chan struct{}) {
	ch.book.mu.Lock()
	defer ch.book.mu.Unlock()
	c := ch.book.at(ch.place)
	for id := range ch.claims {
		if c.turns[id] == over {
			delete(c.turns, id)
		}
	}
	close(over)
}

// renew makes the choice rest on the newest claims that it may rest on.
func (ch *Choice) renew() {
	ch.book.mu.Lock()
	defer ch.book.mu.Unlock()
	c := ch.book.at(ch.place)
	for id, known := range ch.claims {
		if now, ok := c.claims[id]; ok && now.origin == known.origin {
			ch.claims[id] = now
		}
	}
}

// Commit commits tx, to which the caller has added the tasks with their
// instances, together with the claims of the choice. It fails with ErrStale
// when somebody else placed something on one of the instances, and with
// store.ErrConflict when a condition of the caller's does not hold; nothing is
// written then, and the choice is dropped. It waits for commits under way of
// this book's other choices on the same instances.
func (ch *Choice) Commit(ctx context.Context, tx *store.Txn) (uint64, error) {
	over := make(chan struct{})
	ahead := ch.line(over)
	defer ch.leave(over)
	for _, before := range ahead {
		select {
		case <-before:
		case <-ctx.Done():
			ch.Drop()
			return 0, ctx.Err()
		}
	}
	ch.renew()
	last := make(map[string]string, len(ch.claims))
	for _, p := range ch.Placed {
		last[p.Instance.ID] = p.Task.TaskID
	}
	next := make(map[string]*model.InstanceClaim, len(ch.claims))
	for id, known := range ch.claims {
		v := &model.InstanceClaim{Count: 1, TaskID: last[id]}
		if known.V == nil {
			tables.ECSInstanceClaims.Create(tx, known.Key.Account, known.Key.Region, known.Key.ID, v)
		} else {
			v.Count = known.V.Count + 1
			tables.ECSInstanceClaims.Replace(tx, known.Row, v)
		}
		next[id] = v
	}
	revision, err := tx.Commit(ctx, ch.book.store)
	if err == nil {
		ch.committed(next, revision)
		return revision, nil
	}
	ch.Drop()
	if !errors.Is(err, store.ErrConflict) {
		return 0, err
	}
	stale, newest := ch.stale(ctx)
	if !stale {
		return 0, err
	}
	// Let the book catch up with who was faster.
	if werr := ch.book.Reach(ctx, newest); werr != nil {
		return 0, werr
	}
	return 0, fmt.Errorf("%w: %w", ErrStale, err)
}

// committed notes the claims that were written, before the watch tells.
func (ch *Choice) committed(claims map[string]*model.InstanceClaim, revision uint64) {
	ch.done = true
	ch.book.mu.Lock()
	defer ch.book.mu.Unlock()
	c := ch.book.at(ch.place)
	for id, v := range claims {
		if c.claims[id].Modified <= revision {
			known := ch.claims[id]
			c.claims[id] = claim{store.Row[model.InstanceClaim]{Key: known.Key, V: v, Modified: revision}, known.origin}
		}
	}
}

// stale tells whether a claim is no longer as it was known, and the revision
// of the newest that is not.
func (ch *Choice) stale(ctx context.Context) (stale bool, newest uint64) {
	for _, known := range ch.claims {
		now, err := tables.ECSInstanceClaims.Get(ctx, ch.book.store, known.Key.Account, known.Key.Region, known.Key.ID)
		switch {
		case err == nil && now.Modified != known.Modified:
			stale, newest = true, max(newest, now.Modified)
		case errors.Is(err, store.ErrNotFound) && known.V != nil:
			stale = true // the instance is gone
		}
	}
	return stale, newest
}

// Drop gives up the room that a choice keeps. Dropping one that was committed
// or dropped does nothing.
func (ch *Choice) Drop() {
	if ch.done {
		return
	}
	ch.done = true
	ch.book.mu.Lock()
	defer ch.book.mu.Unlock()
	c := ch.book.at(ch.place)
	for _, p := range ch.Placed {
		// One that is in the records by now is not the choice's to take back.
		if c.chosen[p.Task.TaskID] {
			delete(c.chosen, p.Task.TaskID)
			c.fleet.Release(p.Task.TaskID)
		}
	}
}
