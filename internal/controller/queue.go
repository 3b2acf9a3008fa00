package controller

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/store"
)

// queue holds the keys that wait for a worker, each at most once, and those
// that wait for a time. A key that is being worked on is not handed out again
// until it is done.
type queue struct {
	clock    clock.Clock
	min, max time.Duration

	mu      sync.Mutex
	ready   []Key
	items   map[Key]*item
	delayed delayed
	more    chan struct{} // holds a token when ready may not be empty
	sooner  chan struct{} // holds a token when the timer must be set anew
}

// item is what is known of a key; one that is neither queued, running, delayed
// nor failing is forgotten.
type item struct {
	key      Key
	queued   bool // stands in ready
	running  bool
	again    bool // was added while running
	failures int
	// rest is until when the key is left alone.
	rest time.Time
	// due is when it is looked at again, or, when idle, forgotten.
	due      time.Time
	idle     bool
	position int // in delayed, -1 when not there
}

func newQueue(c clock.Clock, minDelay, maxDelay time.Duration) *queue {
	return &queue{
		clock: c, min: minDelay, max: maxDelay,
		items:  map[Key]*item{},
		more:   make(chan struct{}, 1),
		sooner: make(chan struct{}, 1),
	}
}

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add makes key be looked at as soon as a worker is free, and it has rested.
func (q *queue) add(key Key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.items[key]
	if it == nil {
		it = &item{key: key, position: -1}
		q.items[key] = it
	}
	q.enqueue(it)
}

func (q *queue) enqueue(it *item) {
	if it.position >= 0 {
		heap.Remove(&q.delayed, it.position)
	}
	switch {
	case it.running:
		it.again = true
	case !it.rest.IsZero() && it.rest.After(q.clock.Now()):
		q.delay(it, it.rest, false)
	case !it.queued:
		it.queued = true
		q.ready = append(q.ready, it.key)
		token(q.more)
	}
}

// next waits for a key to work on; false when ctx ends.
func (q *queue) next(ctx context.Context) (Key, bool) {
	for {
		if ctx.Err() != nil {
			return Key{}, false
		}
		q.mu.Lock()
		if len(q.ready) > 0 {
			key := q.ready[0]
			q.ready = q.ready[1:]
			it := q.items[key]
			it.queued, it.running = false, true
			if len(q.ready) > 0 {
				token(q.more) // for another worker
			}
			q.mu.Unlock()
			return key, true
		}
		q.mu.Unlock()
		select {
		case <-q.more:
		case <-ctx.Done():
			return Key{}, false
		}
	}
}

// done tells how the work on a key ended.
func (q *queue) done(key Key, result Result, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.items[key]
	it.running, it.rest = false, time.Time{}
	var wait time.Duration
	switch {
	case err != nil:
		wait = q.backoff(it.failures)
		it.failures++
	default:
		it.failures = 0
		wait = result.RequeueAfter
		if result.Rest > 0 {
			it.rest = q.clock.Now().Add(result.Rest)
		}
	}
	// A change that came meanwhile is looked at now, after an error too: it may
	// be what was missing. Only a lost race is left to its (short) delay.
	if it.again && !errors.Is(err, store.ErrConflict) {
		it.again = false
		q.enqueue(it)
		return
	}
	it.again = false
	switch {
	case wait > 0:
		q.delay(it, q.clock.Now().Add(max(wait, result.Rest)), false)
	case !it.rest.IsZero():
		q.delay(it, it.rest, true)
	default:
		delete(q.items, key)
	}
}

func (q *queue) delay(it *item, due time.Time, idle bool) {
	it.due, it.idle = due, idle
	heap.Push(&q.delayed, it)
	if it.position == 0 {
		token(q.sooner)
	}
}

func (q *queue) backoff(failures int) time.Duration {
	d := q.min
	for range failures {
		if d *= 2; d >= q.max {
			return q.max
		}
	}
	return d
}

// runTimer moves keys whose time has come, until ctx ends.
func (q *queue) runTimer(ctx context.Context) {
	for {
		q.mu.Lock()
		now := q.clock.Now()
		for len(q.delayed) > 0 && !q.delayed[0].due.After(now) {
			it := q.delayed[0]
			if it.idle {
				heap.Remove(&q.delayed, it.position)
				delete(q.items, it.key)
				continue
			}
			it.rest = time.Time{}
			q.enqueue(it)
		}
		var due <-chan time.Time
		stop := func() bool { return false }
		if len(q.delayed) > 0 {
			t := q.clock.NewTimer(q.delayed[0].due.Sub(now))
			due, stop = t.C, t.Stop
		}
		q.mu.Unlock()
		select {
		case <-due:
		case <-q.sooner:
		case <-ctx.Done():
			stop()
			return
		}
		stop()
	}
}

// delayed is a heap by due.
type delayed []*item

var _ heap.Interface = (*delayed)(nil)

func (d delayed) Len() int           { return len(d) }
func (d delayed) Less(i, j int) bool { return d[i].due.Before(d[j].due) }
func (d delayed) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].position, d[j].position = i, j
}

func (d *delayed) Push(x any) {
	it := x.(*item)
	it.position = len(*d)
	*d = append(*d, it)
}

func (d *delayed) Pop() any {
	last := len(*d) - 1
	it := (*d)[last]
	(*d)[last] = nil
	*d = (*d)[:last]
	it.position = -1
	return it
}
