package l7

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// dialTimeout is ALB's limit for connecting to a target.
	dialTimeout = 10 * time.Second
	// poolTime is how long a connection to a target may lie idle. Many
	// servers close theirs after 5 seconds or more; those that did are found
	// when they are taken up again.
	poolTime = 30 * time.Second
	// poolSize limits the idle connections to one target.
	poolSize = 512
)

// errTargetClosed: the target was removed while a request was on its way to
// it.
var errTargetClosed = errors.New("target is deregistered")

// ErrHandshake is wrapped by what a Dial returns that connected to a target and
// could not speak TLS with it.
var ErrHandshake = errors.New("TLS handshake with target failed")

// Dial connects to an address from where the load balancer stands.
type Dial func(ctx context.Context, address string) (net.Conn, error)

// Target is one target of a group, with its connections. Safe for concurrent
// use.
type Target struct {
	// Addr is the target's ip:port.
	Addr  string
	Stats Stats

	dial Dial
	// h2 has the connections to a target that speaks HTTP/2; nil for others.
	h2       *multiplexer
	inflight atomic.Int64
	// broken counts requests that the target did not answer, or not in HTTP.
	broken atomic.Int64
	// lacking is what the target's weight lacks of 1.
	lacking atomic.Uint64 // of a float64
	// warming is when the target began to take requests, in Unix nanoseconds;
	// 0 of one that has its full share.
	warming atomic.Int64

	// epoch grows when connections that were made before are no good any more.
	epoch atomic.Uint64

	mu     sync.Mutex
	closed bool
	idle   []*upstream // latest used last
	active upstream    // sentinel of a ring
}

// upstream is a connection to a target.
type upstream struct {
	c      net.Conn
	r      *reader // nil once a tunnel began
	wdl    deadline
	reused bool
	idleAt time.Duration // by sinceStart
	// sentAt is when the latest part of a request's body was sent, in Unix
	// nanoseconds.
	sentAt atomic.Int64

	target     *Target
	epoch      uint64 // of the target, when it was made
	prev, next *upstream
}

// NewTarget makes a target without connections.
func NewTarget(addr string, dial Dial) *Target {
	t := &Target{Addr: addr, dial: dial}
	t.active.prev, t.active.next = &t.active, &t.active
	return t
}

// NewHTTP2Target makes a target that speaks HTTP/2: with prior knowledge, or
// by ALPN where it is secure, and then dial offers that.
func NewHTTP2Target(addr string, dial Dial, secure bool) *Target {
	t := NewTarget(addr, dial)
	t.h2 = newMultiplexer(addr, dial, secure)
	return t
}

// Warm tells that the target begins to take requests: for a group's time of
// slow start its share grows.
func (t *Target) Warm(now time.Time) { t.warming.Store(now.UnixNano()) }

// Cool ends a slow start.
func (t *Target) Cool() { t.warming.Store(0) }

// SetWeight gives the target another weight than 1 among those that are drawn
// at random.
func (t *Target) SetWeight(w float64) { t.lacking.Store(math.Float64bits(1 - w)) }

func (t *Target) weight() float64 { return 1 - math.Float64frombits(t.lacking.Load()) }

// Tally counts the requests that the target was sent, and those of them that
// it failed: answered with a 5xx status, not at all, or not even let connect.
func (t *Target) Tally() (requests, failed int64) {
	failed = t.Stats.ConnectionErrors.Load() + t.broken.Load()
	return t.Stats.Requests.Load() + failed, t.Stats.TargetResponses[5].Load() + failed
}

// Warming tells whether the target's share still grows.
func (t *Target) Warming(now time.Time, slowStart time.Duration) bool {
	return t.share(now, slowStart) < 1
}

// share is the part of its turns that the target takes: 1 of one that is warm.
func (t *Target) share(now time.Time, slowStart time.Duration) float64 {
	began := t.warming.Load()
	if began == 0 {
		return 1
	}
	if passed := now.UnixNano() - began; passed < int64(slowStart) {
		return float64(passed) / float64(slowStart)
	}
	return 1
}

// InFlight is the number of requests and tunnels that the target serves now.
func (t *Target) InFlight() int64 { return t.inflight.Load() }

// get takes an idle connection or makes one. Fresh always makes one. Sure
// makes certain that the target has neither closed the idle one already nor
// sent anything, which costs a system call: where that is not left to
// socket.ask.
func (t *Target) get(ctx context.Context, fresh, sure bool) (*upstream, error) {
	if t.h2 != nil {
		return t.call(ctx)
	}
	for !fresh {
		u := t.takeIdle()
		if u == nil {
			break
		}
		if _, asks := u.c.(*socket); asks && !sure {
			return u, nil
		}
		u.r.dl = deadline{} // open may set one
		if open(u.c) {
			return u, nil
		}
		t.drop(u)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	epoch := t.epoch.Load()
	c, err := t.dial(ctx, t.Addr)
	if err != nil {
		t.Stats.ConnectionErrors.Add(1)
		return nil, err
	}
	return t.adopt(fast(c), epoch)
}

// call begins a request to a target that speaks HTTP/2.
func (t *Target) call(ctx context.Context) (*upstream, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	on, err := t.h2.reserve(ctx)
	if err != nil {
		t.Stats.ConnectionErrors.Add(1)
		return nil, err
	}
	return t.adopt(newH2Call(t.h2, on), 0)
}

func (t *Target) adopt(c net.Conn, epoch uint64) (*upstream, error) {
	u := &upstream{c: c, r: new(reader), target: t, epoch: epoch}
	u.r.reset(c)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = c.Close()
		return nil, errTargetClosed
	}
	t.enlist(u)
	return u, nil
}

// open tells whether the peer has neither closed the connection nor sent
// anything.
func open(c net.Conn) bool {
	if tc, ok := c.(*tls.Conn); ok {
		// What was decrypted and not read yet lies in tc.
		_ = tc.SetReadDeadline(past)
		n, err := tc.Read(make([]byte, 1))
		_ = tc.SetReadDeadline(time.Time{})
		if n > 0 || !isTimeout(err) {
			return false
		}
		c = tc.NetConn()
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	alive := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, rerr := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		alive = rerr == syscall.EAGAIN
		return true
	})
	return err == nil && alive
}

func (t *Target) takeIdle() *upstream {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.idle)
	if n == 0 {
		return nil
	}
	u := t.idle[n-1]
	if sinceStart()-u.idleAt > poolTime {
		// The latest used is too old: so are all.
		t.dropIdle()
		return nil
	}
	t.idle[n-1] = nil
	t.idle = t.idle[:n-1]
	u.reused = true
	t.enlist(u)
	return u
}

// put gives a connection back whose response was read whole.
func (t *Target) put(u *upstream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.delist(u)
	if t.closed || t.h2 != nil || len(t.idle) >= poolSize || u.epoch != t.epoch.Load() {
		_ = u.c.Close()
		return
	}
	u.idleAt = sinceStart()
	t.idle = append(t.idle, u)
}

// drop closes a connection that cannot be used again.
func (t *Target) drop(u *upstream) {
	_ = u.c.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.delist(u)
}

// reap closes the connections that lay idle too long.
func (t *Target) reap(now time.Time) {
	if t.h2 != nil {
		t.h2.reap(now)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := 0
	for old < len(t.idle) && now.Sub(started)-t.idle[old].idleAt > poolTime {
		_ = t.idle[old].c.Close()
		old++
	}
	t.idle = append(t.idle[:0], t.idle[old:]...)
}

// Reap closes the connections to the target that lay idle too long. Its owner
// calls it now and then.
func (t *Target) Reap() { t.reap(time.Now()) }

// Close cuts all connections to the target, those in use too. What is under
// way fails.
func (t *Target) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.dropIdle()
	for u := t.active.next; u != &t.active; u = u.next {
		_ = u.c.Close()
	}
	if t.h2 != nil {
		t.h2.close()
	}
}

func (t *Target) dropIdle() {
	for _, u := range t.idle {
		_ = u.c.Close()
	}
	t.idle = nil
}

func (t *Target) enlist(u *upstream) {
	u.prev, u.next = t.active.prev, &t.active
	u.prev.next, u.next.prev = u, u
}

func (t *Target) delist(u *upstream) {
	if u.next == nil {
		return
	}
	u.prev.next, u.next.prev = u.next, u.prev
	u.prev, u.next = nil, nil
}
