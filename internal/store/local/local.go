// Package local is a store that one process holds: an ordered index in memory
// over a Log that makes commits durable. The bolt and memory backends are this
// package over different logs.
package local

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"roadstead.dev/internal/store"
)

// Log makes commits durable.
type Log interface {
	// Write keeps all changes, or none and returns an error. Once it returns
	// nil they survive a crash. It is called by one goroutine at a time, with
	// revisions that grow.
	Write(changes []Change, revision uint64) error
	Close() error
}

// Change is one write of a batch: an entry that is put, or a key that is
// deleted when Entry is nil. A key may occur more than once; the last counts.
type Change struct {
	Key   store.Key
	Entry *Entry
}

// DefaultHistory is how many commits a watcher may lag behind.
const DefaultHistory = 16384

// Store is a store in memory over a Log.
type Store struct {
	log Log

	// mu guards what readers see: only durable commits.
	mu       sync.RWMutex
	index    *index
	revision uint64
	history  history
	changed  chan struct{} // closed and replaced when revision grows
	watchers sync.WaitGroup

	// queueMu guards the commits that wait, and who leads.
	queueMu sync.Mutex
	queue   []*request
	leading bool
	closed  bool
	idle    *sync.Cond // signalled when nobody leads any more

	closing chan struct{}
}

var _ store.Store = (*Store)(nil)

// New makes a store of what a log holds. A history of 0 means DefaultHistory.
func New(log Log, entries []*Entry, revision uint64, historyLen int) *Store {
	if historyLen <= 0 {
		historyLen = DefaultHistory
	}
	s := &Store{
		log:      log,
		index:    newIndex(),
		revision: revision,
		history:  history{max: historyLen, first: revision + 1},
		changed:  make(chan struct{}),
		closing:  make(chan struct{}),
	}
	s.idle = sync.NewCond(&s.queueMu)
	for _, e := range entries {
		s.index.put(e)
	}
	return s
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key store.Key) (store.Record, error) {
	if err := s.usable(ctx); err != nil {
		return store.Record{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.index.get(&key)
	if e == nil {
		return store.Record{}, fmt.Errorf("%s: %w", key, store.ErrNotFound)
	}
	return e.Record, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, q store.Query) ([]store.Record, uint64, error) {
	if err := s.usable(ctx); err != nil {
		return nil, 0, err
	}
	if q.Account == "" && (q.Region != "" || q.Prefix != "" || q.After != "") {
		return nil, 0, fmt.Errorf("list %s: region, prefix and after need an account", q.Kind)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index.list(&q), s.revision, nil
}

// Revision implements store.Store.
func (s *Store) Revision() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.revision
}

// Close waits for the commits under way, ends the watchers and closes the log.
func (s *Store) Close() error {
	s.queueMu.Lock()
	if s.closed {
		s.queueMu.Unlock()
		return nil
	}
	s.closed = true
	for s.leading {
		s.idle.Wait()
	}
	s.queueMu.Unlock()

	s.mu.Lock()
	close(s.closing)
	s.mu.Unlock()
	s.watchers.Wait()
	return s.log.Close()
}

func (s *Store) usable(ctx context.Context) error {
	select {
	case <-s.closing:
		return store.ErrClosed
	default:
		return ctx.Err()
	}
}

// maxKey is the size of a key that every log can hold. A larger one is refused
// before it fails the writes that it shares a batch with.
const maxKey = 16 << 10

func checkKey(k store.Key) error {
	if n := len(k.Account) + len(k.Region) + len(k.Kind.Service) + len(k.Kind.Name) + len(k.ID); n > maxKey {
		return fmt.Errorf("key of %d bytes: at most %d may be", n, maxKey)
	}
	if k.ID == "" || k.Kind.Service == "" || k.Kind.Name == "" {
		return fmt.Errorf("key %s: kind and id must not be empty", k)
	}
	for _, part := range []string{k.Account, k.Region, k.Kind.Service, k.Kind.Name, k.ID} {
		if strings.IndexByte(part, 0) >= 0 {
			return fmt.Errorf("key %q: holds a zero byte", k.String())
		}
	}
	return nil
}
