package local

import (
	"context"
	"fmt"
	"slices"

	"roadstead.dev/internal/store"
)

// commitEvents are the changes of one commit; a commit that deleted nothing
// that was there has none.
type commitEvents struct {
	revision uint64
	events   []store.Event
}

// history keeps the newest commits, one for every revision without gaps.
type history struct {
	max     int
	first   uint64 // the revision of commits[0], or the next one when empty
	commits []commitEvents
}

func (h *history) add(cs []commitEvents) {
	h.commits = append(h.commits, cs...)
	// Cut in big steps, so that each commit is moved once in a while only.
	if over := len(h.commits) - h.max; over > h.max/4 {
		h.commits = slices.Clone(h.commits[over:])
		h.first += uint64(over)
	}
}

// after is what follows revision from; false when part of it is gone.
func (h *history) after(from uint64) ([]commitEvents, bool) {
	next := h.first + uint64(len(h.commits))
	if from+1 < h.first || from+1 > next {
		return nil, false
	}
	return h.commits[from+1-h.first:], true
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, from uint64, kinds ...store.Kind) (*store.Watcher, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	select {
	case <-s.closing: // Close waits for watchers, so none may start behind it
		return nil, store.ErrClosed
	default:
	}
	ch := make(chan []store.Event)
	var end error // written before ch is closed, read after
	s.watchers.Go(func() {
		defer close(ch)
		end = s.feed(ctx, from, kinds, ch)
	})
	return &store.Watcher{Events: ch, Err: func() error { return end }}, nil
}

// feed sends the commits after from until something ends it.
func (s *Store) feed(ctx context.Context, from uint64, kinds []store.Kind, ch chan<- []store.Event) error {
	for {
		s.mu.RLock()
		commits, ok := s.history.after(from)
		changed := s.changed
		s.mu.RUnlock()
		if !ok {
			return fmt.Errorf("watch after %d: %w", from, store.ErrCompacted)
		}
		if len(commits) == 0 {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return ctx.Err()
			case <-s.closing:
				return store.ErrClosed
			}
		}
		// One commit at a time: while this waits for its reader the history
		// goes on, and the next look tells whether it was too slow.
		c := commits[0]
		from = c.revision
		events := filter(c.events, kinds)
		if len(events) == 0 {
			continue
		}
		select {
		case ch <- events:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closing:
			return store.ErrClosed
		}
	}
}

func filter(events []store.Event, kinds []store.Kind) []store.Event {
	if len(kinds) == 0 {
		return events
	}
	wanted := func(e store.Event) bool { return slices.Contains(kinds, e.Record.Key.Kind) }
	if !slices.ContainsFunc(events, func(e store.Event) bool { return !wanted(e) }) {
		return events
	}
	var out []store.Event
	for _, e := range events {
		if wanted(e) {
			out = append(out, e)
		}
	}
	return out
}
