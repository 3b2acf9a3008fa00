// Package throttle limits how many requests an account makes in a region, by
// token buckets as AWS has them: a bucket holds Burst tokens, each request
// takes one, PerSecond of them come back every second.
package throttle

import (
	"sync"
	"time"

	"roadstead.dev/internal/clock"
)

// Rate is the size of a bucket and how fast it fills.
type Rate struct {
	// Burst is how many requests may come at once; at least 1.
	Burst float64
	// PerSecond is how many may come in the long run; more than 0.
	PerSecond float64
}

// Limits tells the bucket that an operation takes its tokens from. Operations
// with the same bucket of the same service share it. ok is false for
// operations that nothing limits.
type Limits interface {
	For(service, operation string) (bucket string, rate Rate, ok bool)
}

// Limiter keeps the buckets of all accounts. It is safe for concurrent use.
type Limiter struct {
	limits Limits
	clock  clock.Clock

	mu      sync.Mutex
	buckets map[key]*bucket
	swept   time.Time
	// asked remembers what limits said of an operation.
	asked map[operation]answer
}

type operation struct{ service, name string }

type answer struct {
	bucket string
	rate   Rate
	ok     bool
}

type key struct{ account, region, service, bucket string }

// bucket holds tokens as of at.
type bucket struct {
	rate   Rate
	tokens float64
	at     time.Time
}

// Sizes of the table of buckets. One that is full again is as good as none, so
// what is kept is what was used of late.
const (
	// sweepAt is when looking for full buckets begins.
	sweepAt = 1024
	// maxBuckets bounds the table: beyond it, the operations of an account
	// share one bucket in all regions and services.
	maxBuckets = 1 << 16
	sweepEvery = time.Second
)

// New makes a Limiter. Nil limits allow everything.
func New(limits Limits, c clock.Clock) *Limiter {
	return &Limiter{limits: limits, clock: c, buckets: make(map[key]*bucket), asked: make(map[operation]answer)}
}

// Allow takes a token and tells whether there was one. The service and the
// operation are ones that there are, not what a client made up.
func (l *Limiter) Allow(account, region, service, name string) bool {
	if l == nil || l.limits == nil {
		return true
	}
	now := l.clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.ask(operation{service, name})
	if !a.ok {
		return true
	}
	b := l.find(key{account, region, service, a.bucket}, a.rate, now)
	b.fill(now)
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (l *Limiter) ask(op operation) answer {
	a, known := l.asked[op]
	if !known {
		a.bucket, a.rate, a.ok = l.limits.For(op.service, op.name)
		l.asked[op] = a
	}
	return a
}

// find is the bucket of a key, a full one where there was none. The caller
// holds mu.
func (l *Limiter) find(k key, rate Rate, now time.Time) *bucket {
	if b := l.buckets[k]; b != nil {
		return b
	}
	if len(l.buckets) >= sweepAt {
		l.sweep(now)
	}
	if len(l.buckets) >= maxBuckets {
		k = key{account: k.account}
		if b := l.buckets[k]; b != nil {
			return b
		}
	}
	b := &bucket{rate: rate, tokens: rate.Burst, at: now}
	l.buckets[k] = b
	return b
}

// sweep forgets the buckets that are full, once a second at most.
func (l *Limiter) sweep(now time.Time) {
	if d := now.Sub(l.swept); d >= 0 && d < sweepEvery {
		return
	}
	l.swept = now
	for k, b := range l.buckets {
		b.fill(now)
		if b.tokens >= b.rate.Burst {
			delete(l.buckets, k)
		}
	}
}

// fill adds what has come since. A clock that goes back adds nothing.
func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at).Seconds(); d > 0 {
		b.tokens = min(b.rate.Burst, b.tokens+d*b.rate.PerSecond)
	}
	b.at = now
}
