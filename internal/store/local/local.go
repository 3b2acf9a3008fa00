// Package local is a store that one process holds. What was written lately is
// in memory, ordered, and in a Log that made it durable; from time to time it
// is flushed to a Base, where it is read from later. The bolt backend is this
// package over a file of log and one of pages; the memory backend has neither.
package local

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"roadstead.dev/internal/model"
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

// Defaults of Config.
const (
	DefaultHistory = 8192
	DefaultCache   = 48 << 20
)

// Config is what a Store stands on.
type Config struct {
	Log Log
	// Base may be nil: everything stays in memory.
	Base Base
	// Replayed are the changes that the log holds and the base does not, and
	// Revision is the newest of both.
	Replayed []Change
	Revision uint64
	// History is how many commits a watcher may lag behind; 0 means
	// DefaultHistory.
	History int
	// Cache is how many bytes of the base's records to keep decoded, about; 0
	// means DefaultCache.
	Cache int
	// Failed is told when a flush failed; may be nil.
	Failed func(error)
}

// Store keeps records in layers: those written since the last flush, those
// being flushed, and the base.
type Store struct {
	log  Log
	base Base

	// mu guards what readers see: only durable commits. Only the leading
	// goroutine writes top; a frozen layer never changes.
	mu       sync.RWMutex
	top      *layer
	flushing *layer // nil when no flush is due
	cache    *cache
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

	// flushRevision is the revision of flushing, guarded by mu.
	flushRevision uint64
	flushActive   atomic.Bool
	flushes       sync.WaitGroup
	failed        func(error)

	closing chan struct{}
}

var _ store.Store = (*Store)(nil)

// New makes a store of what a log and a base hold.
func New(c Config) *Store {
	if c.History <= 0 {
		c.History = DefaultHistory
	}
	if c.Cache <= 0 {
		c.Cache = DefaultCache
	}
	if c.Failed == nil {
		c.Failed = func(error) {}
	}
	s := &Store{
		log:      c.Log,
		base:     c.Base,
		top:      newLayer(),
		cache:    newCache(c.Cache),
		revision: c.Revision,
		history:  history{max: c.History, first: c.Revision + 1},
		changed:  make(chan struct{}),
		failed:   c.Failed,
		closing:  make(chan struct{}),
	}
	s.idle = sync.NewCond(&s.queueMu)
	for i := range c.Replayed {
		s.show(&c.Replayed[i])
	}
	return s
}

// show makes a change visible to readers.
func (s *Store) show(c *Change) {
	switch {
	case c.Entry != nil:
		s.top.put(c.Entry)
	case s.base != nil:
		s.top.put(&Entry{Record: store.Record{Key: c.Key}, deleted: true})
	default:
		s.top.remove(&c.Key)
	}
}

// Revision implements store.Store.
func (s *Store) Revision() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.revision
}

// Close waits for the commits under way, ends the watchers, flushes what is in
// memory and closes the log.
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
	return errors.Join(s.flushAll(), s.log.Close())
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
		return fmt.Errorf("key of %d bytes, at most %d may be: %w", n, maxKey, model.ErrName)
	}
	if k.Kind.Service == "" || k.Kind.Name == "" {
		return fmt.Errorf("key %s: kind must not be empty", k)
	}
	if k.ID == "" {
		return fmt.Errorf("key %s has no id: %w", k, model.ErrName)
	}
	for _, part := range []string{k.Account, k.Region, k.Kind.Service, k.Kind.Name, k.ID} {
		if strings.IndexByte(part, 0) >= 0 {
			return fmt.Errorf("key %q holds a zero byte: %w", k.String(), model.ErrName)
		}
	}
	return nil
}
