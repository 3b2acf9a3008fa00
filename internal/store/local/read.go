package local

import (
	"context"
	"fmt"

	"roadstead.dev/internal/store"
)

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key store.Key) (store.Record, error) {
	if err := s.usable(ctx); err != nil {
		return store.Record{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, err := s.view().get(&key)
	if err != nil {
		return store.Record{}, err
	}
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
	out, err := s.view().list(&q)
	if err != nil {
		return nil, 0, err
	}
	return out, s.revision, nil
}

// view is what is read at one revision: the newest records, those that are
// being flushed, and the base.
type view struct {
	top, flushing *layer
	base          Base
	cache         *cache
}

// view takes what is there now. It is whole for as long as s.mu is held, or
// while the caller leads.
func (s *Store) view() view { return view{s.top, s.flushing, s.base, s.cache} }

// get finds a record; nil when there is none.
func (v view) get(key *store.Key) (*Entry, error) {
	e := v.top.get(key)
	if e == nil {
		e = v.flushing.get(key)
	}
	if e != nil {
		if e.deleted {
			return nil, nil
		}
		return e, nil
	}
	if v.base == nil {
		return nil, nil
	}
	if e := v.cache.get(key); e != nil {
		return e, nil
	}
	e, err := v.base.Get(key)
	if err != nil || e == nil {
		return nil, err
	}
	return v.cache.add(e), nil
}

// list merges the records of all layers, in order.
func (v view) list(q *store.Query) ([]store.Record, error) {
	upper := merge(v.top.list(q, nil), v.flushing.list(q, v.top))
	var out []store.Record
	full := func() bool { return q.Limit > 0 && len(out) >= q.Limit }
	// before takes the upper entries that stand before key, or all.
	before := func(key *store.Key) {
		for len(upper) > 0 && !full() && (key == nil || compareKeys(&upper[0].Record.Key, key) < 0) {
			out = append(out, upper[0].Record)
			upper = upper[1:]
		}
	}
	if v.base != nil {
		var failed error
		err := v.base.List(q, func(key *store.Key, load func() (*Entry, error)) bool {
			before(key)
			if full() {
				return false
			}
			if v.top.get(key) != nil || v.flushing.get(key) != nil {
				return true // the upper entry counts, or it was deleted
			}
			e := v.cache.get(key)
			if e == nil {
				if e, failed = load(); failed != nil {
					return false
				}
				e = v.cache.add(e)
			}
			out = append(out, e.Record)
			return !full()
		})
		if failed != nil {
			err = failed
		}
		if err != nil {
			return nil, err
		}
	}
	before(nil)
	return out, nil
}

// merge joins two ordered lists without common keys.
func merge(a, b []*Entry) []*Entry {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	out := make([]*Entry, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		if compareKeys(&a[0].Record.Key, &b[0].Record.Key) < 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out, b = append(out, b[0]), b[1:]
		}
	}
	return append(append(out, a...), b...)
}
