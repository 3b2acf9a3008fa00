package local

import "roadstead.dev/internal/store"

// Base holds, in order and on disk, what was once written. It is read by many
// goroutines at once, while one flushes.
type Base interface {
	// Get reads one entry; nil when there is none.
	Get(key *store.Key) (*Entry, error)

	// List visits the keys that q selects, whatever its limit, in the order of
	// store.Query, until visit returns false. load reads the entry visited, and
	// may be called within visit only.
	List(q *store.Query, visit func(key *store.Key, load func() (*Entry, error)) bool) error

	// Due tells whether the log has grown so much since the last Cut that it
	// should be flushed. Due, Cut and Log.Write are called by one goroutine at
	// a time.
	Due() bool
	// Cut parts what was written to the log from what will be.
	Cut() error

	// Flush takes over the changes up to revision, all that came before the
	// last Cut, makes them durable, and then lets go of the log before the Cut.
	Flush(changes []Change, revision uint64) error
}

// startFlush makes what is in memory go to the base, unless that is under way.
// The caller leads. A flush that failed is tried again when the log has grown
// by as much once more; until then, nothing is lost, the log just goes on.
func (s *Store) startFlush() {
	if s.base == nil || !s.base.Due() || s.flushActive.Load() {
		return
	}
	if s.flushing == nil {
		if err := s.base.Cut(); err != nil {
			s.failed(err)
			return
		}
		s.mu.Lock()
		s.flushing, s.top = s.top, newLayer()
		s.flushRevision = s.revision
		s.mu.Unlock()
	}
	s.flushActive.Store(true)
	s.flushes.Go(func() {
		defer s.flushActive.Store(false)
		if err := s.flush(); err != nil {
			s.failed(err)
		}
	})
}

// flush writes the frozen layer to the base and lets it go.
func (s *Store) flush() error {
	s.mu.RLock()
	frozen, revision := s.flushing, s.flushRevision
	s.mu.RUnlock()
	if frozen == nil {
		return nil
	}
	changes := frozen.changes()
	if err := s.base.Flush(changes, revision); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cache.renew(changes)
	s.flushing = nil
	return nil
}

// flushAll leaves nothing to the log, so that the next start is fast. Nobody
// commits any more.
func (s *Store) flushAll() error {
	s.flushes.Wait()
	if s.base == nil {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	if len(s.top.kinds) == 0 {
		return nil
	}
	if err := s.base.Cut(); err != nil {
		return err
	}
	s.mu.Lock()
	s.flushing, s.top = s.top, newLayer()
	s.flushRevision = s.revision
	s.mu.Unlock()
	return s.flush()
}
