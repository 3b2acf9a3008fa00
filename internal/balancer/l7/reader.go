package l7

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"roadstead.dev/internal/balancer/h1"
)

const (
	// smallBuffer holds the head of nearly every message, and many bodies.
	smallBuffer = 4 << 10
	// largeBuffer is what longer bodies are copied through.
	largeBuffer = 64 << 10
)

// errHeadTooLarge: a head does not end within h1.MaxHead.
var errHeadTooLarge = errors.New("head too large")

// errEmpty: the peer closed before it sent the first byte of a message.
var errEmpty = errors.New("closed before a message")

// small keeps buffers of readers that ended.
var small = sync.Pool{New: func() any { return new([smallBuffer]byte) }}

// large lends buffers of largeBuffer bytes.
var large = sync.Pool{New: func() any { b := make([]byte, largeBuffer); return &b }}

// reader buffers what comes from one side of a connection. The zero deadline
// means that none is set.
type reader struct {
	c    net.Conn
	buf  []byte
	r, w int // buf[r:w] has been read and not consumed
	dl   deadline
	// err is what the next fill finds, where a read did before it.
	err error
}

func (b *reader) reset(c net.Conn) {
	if cap(b.buf) > 4*smallBuffer || b.buf == nil {
		b.buf = small.Get().(*[smallBuffer]byte)[:] //nolint:forcetypeassert // the pool holds nothing else
	}
	b.c, b.r, b.w, b.dl, b.err = c, 0, 0, deadline{}, nil
}

// lose makes the buffer available to others. What is in it is lost.
func (b *reader) lose() {
	if cap(b.buf) == smallBuffer {
		small.Put((*[smallBuffer]byte)(b.buf[:smallBuffer]))
	}
	*b = reader{}
}

func (b *reader) buffered() []byte { return b.buf[b.r:b.w] }

func (b *reader) consume(n int) {
	b.r += n
	if b.r == b.w {
		b.r, b.w = 0, 0
	}
}

// fill reads more behind what is buffered. It moves what is buffered, so that
// slices of it are no longer valid.
func (b *reader) fill() error {
	if b.r > 0 {
		copy(b.buf, b.buf[b.r:b.w])
		b.w -= b.r
		b.r = 0
	}
	if b.w == len(b.buf) {
		if len(b.buf) >= h1.MaxHead {
			return errHeadTooLarge
		}
		grown := make([]byte, 2*len(b.buf))
		copy(grown, b.buf[:b.w])
		b.buf = grown
	}
	if err := b.err; err != nil {
		b.err = nil
		return err
	}
	n, err := b.c.Read(b.buf[b.w:])
	b.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// head reads until the buffer begins with a whole head and returns its
// length. It waits at most until the deadline that wait sets before each read.
func (b *reader) head(wait func() error) (int, error) {
	from := 0
	for {
		if n := h1.HeadEnd(b.buffered(), from); n >= 0 {
			if n > h1.MaxHead {
				return 0, errHeadTooLarge
			}
			return n, nil
		}
		have := b.w - b.r
		from = have - 2
		if have >= h1.MaxHead {
			return 0, errHeadTooLarge
		}
		if err := wait(); err != nil {
			return 0, err
		}
		if err := b.fill(); err != nil {
			if have == 0 && errors.Is(err, io.EOF) {
				return 0, errEmpty
			}
			return 0, err
		}
	}
}

// deadline remembers what deadline a connection has, so that it is not set
// anew for every small step: that costs more than the steps themselves.
type deadline struct {
	// at is by sinceStart; 0 when none is set.
	at time.Duration
}

// started is what sinceStart counts from.
var started = time.Now()

// sinceStart is the time as deadlines have it: shorter than a time.Time, and
// read from one clock instead of two. It is never 0.
func sinceStart() time.Duration { return time.Since(started) | 1 }

// extend makes sure that at least 31/32 of d, and at most d, are left.
func (dl *deadline) extend(set func(time.Time) error, d time.Duration) {
	if dl.at != 0 {
		if left := dl.at - sinceStart(); left <= d && left >= d-d/32 {
			return
		}
	}
	_ = dl.set(set, d) // fails only on a closed connection, as the next read will
}

// set makes d what is left.
func (dl *deadline) set(set func(time.Time) error, d time.Duration) error {
	dl.at = (sinceStart() + d) | 1
	return set(time.Now().Add(d))
}

// past is a deadline that interrupts whoever waits.
var past = time.Unix(1, 0)

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
