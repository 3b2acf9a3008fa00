package gateway

import (
	"context"
	"io"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// defaultBodyMemory is for the bodies of all requests that are being served.
	defaultBodyMemory = 256 << 20
	// The first smallBody bytes of each come from a quarter of it, so that large
	// ones do not keep small ones out.
	smallShare = 4

	// memoryPatience is how long a body waits for room.
	memoryPatience = 5 * time.Second
	// cutAfter is how old a body is before it is cut in favour of others.
	cutAfter = time.Second
)

// memory bounds what bodies take. It is taken as bytes arrive, so that who
// announces much and sends little holds little. Where there is none left, who
// sends fastest gets what becomes free, and who sends slowest is cut to make it
// free.
type memory struct {
	mu           sync.Mutex
	small, large int64 // what is left
	arriving     map[*hold]struct{}
	waiting      map[*hold]*want
}

// want is what a body waits for.
type want struct {
	small, large int64
	granted      bool
	decided      chan struct{} // closed when it is granted, or never will be
}

func newMemory(total int64) *memory {
	small := total / smallShare
	return &memory{small: small, large: total - small, arriving: map[*hold]struct{}{}, waiting: map[*hold]*want{}}
}

// hold is what one request takes, and its way of reading.
type hold struct {
	memory  *memory
	control *http.ResponseController
	body    io.Reader
	begun   time.Time
	read    atomic.Int64
	// cut is set when the body has to make room.
	cut  atomic.Bool
	done bool // its owner's alone

	// Guarded by memory.mu.
	small, large int64
}

func (m *memory) newHold(w http.ResponseWriter, body io.Reader) *hold {
	return &hold{memory: m, control: http.NewResponseController(w), body: body, begun: time.Now()}
}

// grow takes n bytes more, and waits for them for a while.
func (h *hold) grow(ctx context.Context, n int64) error {
	m := h.memory
	m.mu.Lock()
	small := min(n, smallBody-h.small)
	large := n - small
	if h.cut.Load() && !h.done {
		// Others count on what it holds: it must not wait, nor take more.
		m.mu.Unlock()
		return errBusy
	}
	if !h.done {
		m.arriving[h] = struct{}{}
	}
	if m.fits(small, large) {
		m.take(h, small, large)
		m.mu.Unlock()
		return nil
	}
	w := &want{small: small, large: large, decided: make(chan struct{})}
	m.waiting[h] = w
	m.share()
	m.mu.Unlock()

	patience := time.NewTimer(memoryPatience)
	defer patience.Stop()
	err := errBusy
	select {
	case <-w.decided:
	case <-patience.C:
	case <-ctx.Done():
		err = errUnread
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.waiting, h)
	if w.granted {
		return nil
	}
	return err
}

// The following are called with mu held.

func (m *memory) fits(small, large int64) bool { return m.small >= small && m.large >= large }

func (m *memory) take(h *hold, small, large int64) {
	m.small -= small
	m.large -= large
	h.small += small
	h.large += large
}

// share gives what is free to those who wait, the fastest first, and has the
// slowest make room for the first whom it does not suffice.
func (m *memory) share() {
	now := time.Now()
	for len(m.waiting) > 0 {
		var first *hold
		best := math.Inf(-1)
		for h := range m.waiting {
			if r := h.rate(now); r > best {
				first, best = h, r
			}
		}
		w := m.waiting[first]
		if !m.fits(w.small, w.large) {
			m.makeRoom(w, best, now)
			return
		}
		m.take(first, w.small, w.large)
		w.granted = true
		m.decide(first)
	}
}

func (m *memory) decide(h *hold) {
	if w := m.waiting[h]; w != nil {
		delete(m.waiting, h)
		close(w.decided)
	}
}

// makeRoom cuts bodies that arrive more slowly than rate, the slowest first,
// until what they hold will suffice.
func (m *memory) makeRoom(w *want, rate float64, now time.Time) {
	small, large := m.small, m.large
	for h := range m.arriving {
		if h.cut.Load() { // it will give back soon
			small, large = small+h.small, large+h.large
		}
	}
	for small < w.small || large < w.large {
		var slowest *hold
		worst := rate
		for h := range m.arriving {
			helps := small < w.small && h.small > 0 || large < w.large && h.large > 0
			if r := h.rate(now); helps && r < worst && !h.cut.Load() {
				slowest, worst = h, r
			}
		}
		if slowest == nil {
			return
		}
		small, large = small+slowest.small, large+slowest.large
		slowest.cut.Store(true)
		_ = slowest.control.SetReadDeadline(time.Unix(0, 1))
		m.decide(slowest) // it may be waiting for room itself
	}
}

// rate is how fast the body arrives, in bytes a second. A new one is given the
// benefit of the doubt.
func (h *hold) rate(now time.Time) float64 {
	age := now.Sub(h.begun)
	if age < cutAfter {
		return math.Inf(1)
	}
	return float64(h.read.Load()) / age.Seconds()
}

// doneReading tells that the body is there, or that nobody reads it on: then
// nobody waits for it either.
func (h *hold) doneReading(whole bool) {
	h.done = true
	h.memory.mu.Lock()
	delete(h.memory.arriving, h)
	h.memory.mu.Unlock()
	if whole {
		_ = h.control.SetReadDeadline(time.Time{}) // recorders have none
	}
}

// release gives everything back, when the request is answered or its body is
// of no use. It may be called again.
func (r *request) release() {
	h := r.hold
	if h == nil {
		return
	}
	m := h.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	m.small += h.small
	m.large += h.large
	h.small, h.large = 0, 0
	m.share()
}
