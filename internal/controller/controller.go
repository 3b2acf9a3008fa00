// Package controller is the loop that Roadstead's controllers run in. Each
// controller is a folder below this one.
//
// The loop is level-triggered: what changes in the store only names the keys
// to look at, Reconcile rereads everything, and a full pass at the start (and
// whenever the watch lost track) names all of them.
package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/store"
)

// Key names what a controller reconciles. Most controllers use the key of a
// record of theirs.
type Key struct {
	Account string
	Region  string
	ID      string
}

func (k Key) String() string { return k.Account + "/" + k.Region + "/" + k.ID }

// KeyOf is the key of a record.
func KeyOf(k store.Key) Key { return Key{k.Account, k.Region, k.ID} }

// Result tells when to look at the key again without an event. The zero value
// means: not before something changes.
type Result struct {
	// RequeueAfter is for waiting: for a deadline, or for something that tells
	// no event. What fails is an error, and comes again by itself.
	RequeueAfter time.Duration
	// Rest is how long the key is left alone, whatever changes: what comes
	// meanwhile is looked at once, at its end. It bounds the work for keys that
	// cost the more, the more often something about them changes.
	Rest time.Duration
}

// Controller is a loop's work.
type Controller struct {
	// Name is for logs.
	Name string
	// Watches tell which records matter, and to which keys.
	Watches []Watch
	// Reconcile brings what key names one step nearer to what is wanted. It is
	// never called twice at once for one key, and may be called for a key that
	// does not exist (any more). An error makes it be called again after a
	// delay that grows; store.ErrConflict too, without being logged as one.
	Reconcile func(ctx context.Context, key Key) (Result, error)
	// Workers is how many keys are reconciled at once; 0 means 4.
	Workers int
	// Pokes, when set, names keys to look at for what no record tells: what is
	// sent is taken while the controller runs.
	Pokes <-chan Key
	// Resync, when set, makes a full pass that often, for state outside of the
	// store that tells no events.
	Resync time.Duration
}

// Watch maps the records of a kind to keys.
type Watch struct {
	Kind store.Kind
	// Pass, when set, selects the records of the kind that a full pass looks
	// at; without it those are all. Records that it leaves out matter only when
	// they change.
	Pass func() []store.Query
	// Keys names the keys that a record matters to; of a deleted one it gets
	// the last state. An error starts the watch, and a full pass, anew.
	Keys func(ctx context.Context, r store.Record) ([]Key, error)
}

// Own watches the records that the controller's keys are the keys of.
func Own[T any](t *store.Table[T]) Watch {
	return Watch{Kind: t.Kind(), Keys: func(_ context.Context, r store.Record) ([]Key, error) {
		return []Key{KeyOf(r.Key)}, nil
	}}
}

// On watches records that matter to the keys that f names.
func On[T any](t *store.Table[T], f func(store.Row[T]) []Key) Watch {
	return Watch{Kind: t.Kind(), Keys: func(_ context.Context, r store.Record) ([]Key, error) {
		row, err := t.Row(r)
		if err != nil {
			return nil, err
		}
		return f(row), nil
	}}
}

// Passing limits what a full pass looks at: see Watch.Pass.
func (w Watch) Passing(pass func() []store.Query) Watch {
	w.Pass = pass
	return w
}

// Runtime is what controllers run on.
type Runtime struct {
	Store store.Store
	Clock clock.Clock
	Log   *slog.Logger
	// MinBackoff and MaxBackoff bound the delay after errors; 0 means 100 ms
	// and 30 s.
	MinBackoff, MaxBackoff time.Duration
}

// Run runs controllers until ctx ends or the store closes, and returns when
// all that it started has ended. The end of ctx is no error.
func (rt Runtime) Run(ctx context.Context, controllers ...*Controller) error {
	if rt.MinBackoff == 0 {
		rt.MinBackoff = 100 * time.Millisecond
	}
	if rt.MaxBackoff == 0 {
		rt.MaxBackoff = 30 * time.Second
	}
	if rt.Log == nil {
		rt.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(controllers))
	for i, c := range controllers {
		wg.Go(func() {
			errs[i] = rt.run(ctx, c)
			if errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (rt Runtime) run(ctx context.Context, c *Controller) error {
	log := rt.Log.With("controller", c.Name)
	q := newQueue(rt.Clock, rt.MinBackoff, rt.MaxBackoff)
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { q.runTimer(ctx) })
	workers := c.Workers
	if workers == 0 {
		workers = 4
	}
	for range workers {
		wg.Go(func() {
			for {
				key, ok := q.next(ctx)
				if !ok {
					return
				}
				result, err := reconcile(ctx, c, key)
				if err != nil && ctx.Err() == nil {
					level := slog.LevelError
					if errors.Is(err, store.ErrConflict) {
						level = slog.LevelDebug
					}
					log.Log(ctx, level, "reconcile failed", "key", key.String(), "error", err)
				}
				q.done(key, result, err)
			}
		})
	}
	return rt.follow(ctx, c, q, log)
}

// reconcile contains a panic: other keys go on, and this one is tried again.
func reconcile(ctx context.Context, c *Controller, key Key) (result Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return c.Reconcile(ctx, key)
}

// follow keeps the queue fed until ctx ends or the store closes.
func (rt Runtime) follow(ctx context.Context, c *Controller, q *queue, log *slog.Logger) error {
	delay := rt.MinBackoff
	for {
		began := rt.Clock.Now()
		err := rt.followOnce(ctx, c, q)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // the end of ctx is no error
		case errors.Is(err, store.ErrClosed):
			return fmt.Errorf("controller %s: %w", c.Name, err)
		case errors.Is(err, errResync):
			continue
		}
		log.WarnContext(ctx, "watch starts anew", "error", err)
		if rt.Clock.Now().Sub(began) > rt.MaxBackoff {
			delay = rt.MinBackoff
		}
		timer := rt.Clock.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
		delay = min(2*delay, rt.MaxBackoff)
	}
}

// errResync ends a watch for the sake of a full pass.
var errResync = errors.New("a full pass is due")

// followOnce makes a full pass and then follows the changes behind it.
func (rt Runtime) followOnce(ctx context.Context, c *Controller, q *queue) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	byKind := map[store.Kind][]Watch{}
	var kinds []store.Kind
	for _, w := range c.Watches {
		if byKind[w.Kind] == nil {
			kinds = append(kinds, w.Kind)
		}
		byKind[w.Kind] = append(byKind[w.Kind], w)
	}
	watcher, err := rt.Store.Watch(ctx, rt.Store.Revision(), kinds...)
	if err != nil {
		return err
	}
	feed := func(w Watch, r store.Record) error {
		keys, err := w.Keys(ctx, r)
		if err != nil {
			return fmt.Errorf("keys of %s: %w", r.Key, err)
		}
		for _, k := range keys {
			q.add(k)
		}
		return nil
	}
	var failed error
	for _, w := range c.Watches {
		pass := []store.Query{{}}
		if w.Pass != nil {
			pass = w.Pass()
		}
		for _, query := range pass {
			query.Kind = w.Kind
			records, _, err := rt.Store.List(ctx, query)
			if err != nil {
				return err
			}
			// One record that cannot be mapped must not keep the others waiting.
			for _, r := range records {
				if err := feed(w, r); err != nil && failed == nil {
					failed = err
				}
			}
		}
	}
	if failed != nil {
		return failed
	}
	var resync <-chan time.Time
	if c.Resync > 0 {
		timer := rt.Clock.NewTimer(c.Resync)
		defer timer.Stop()
		resync = timer.C
	}
	for {
		select {
		case events, ok := <-watcher.Events:
			if !ok {
				return watcher.Err()
			}
			for _, ev := range events {
				for _, w := range byKind[ev.Record.Key.Kind] {
					if err := feed(w, ev.Record); err != nil {
						return err
					}
				}
			}
		case key := <-c.Pokes:
			q.add(key)
		case <-resync:
			return errResync
		}
	}
}
