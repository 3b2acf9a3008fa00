package edge

import (
	"container/list"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A write of these many bytes at the most has the stall time to itself.
const (
	writeStep = 256 << 10
	// sendStep is what the kernel may send of a file at a time.
	sendStep = 4 << 20
)

// conn is an accepted connection: it hands out again the bytes by which its
// protocol was told, cuts writes that get nowhere, and leaves its place in the
// bound when it is closed.
type conn struct {
	net.Conn
	stall time.Duration

	// head is what was read before anybody asked, in a buffer of heads; next is
	// the rest of it. Read alone touches them after the start.
	head *[headSize]byte
	next []byte

	// free is set once somebody else relays the connection, with limits of its
	// own.
	free atomic.Bool

	deadlines sync.Mutex
	until     time.Time // the write deadline that extend has set
	fixed     bool      // the server has set one

	conns *Conns
	// These are guarded by conns.mu.
	phase   phase
	since   time.Time
	element *list.Element
	gone    bool
}

var (
	_ net.Conn      = (*conn)(nil)
	_ io.ReaderFrom = (*conn)(nil)
)

// heads are buffers that connections have for as long as it takes to look at
// their first bytes.
var heads = sync.Pool{New: func() any { return new([headSize]byte) }}

// headSize holds most requests, so that looking costs no read of its own.
const headSize = 2 << 10

// peek waits for the first byte.
func (c *conn) peek() (byte, error) {
	c.head = heads.Get().(*[headSize]byte)
	n, err := c.Conn.Read(c.head[:])
	if n == 0 {
		heads.Put(c.head)
		c.head = nil
		return 0, errors.Join(err, io.ErrUnexpectedEOF)
	}
	c.next = c.head[:n]
	return c.head[0], nil
}

func (c *conn) Read(b []byte) (int, error) {
	if c.head == nil {
		return c.Conn.Read(b)
	}
	n := copy(b, c.next)
	if c.next = c.next[n:]; len(c.next) == 0 {
		heads.Put(c.head)
		c.head, c.next = nil, nil
	}
	return n, nil
}

// Write gives each part of b the stall time, so that a slow reader is served
// and one that does not read is cut.
func (c *conn) Write(b []byte) (int, error) {
	if c.free.Load() {
		return c.Conn.Write(b)
	}
	written := 0
	for {
		part := b[written:min(len(b), written+writeStep)]
		if err := c.extend(); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(part)
		written += n
		if err != nil || written == len(b) {
			return written, err
		}
	}
}

// ReadFrom lets the kernel send files.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	rf, ok := c.Conn.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	if c.free.Load() {
		return rf.ReadFrom(r)
	}
	// The kernel recognises one limit around a file, not two.
	left := int64(1<<63 - 1)
	limited, ok := r.(*io.LimitedReader)
	if ok {
		r, left = limited.R, limited.N
	}
	var sent int64
	for left > 0 {
		if err := c.extend(); err != nil {
			return sent, err
		}
		step := min(left, sendStep)
		n, err := rf.ReadFrom(&io.LimitedReader{R: r, N: step})
		sent += n
		left -= n
		if limited != nil {
			limited.N -= n
		}
		if err != nil || n < step {
			return sent, err
		}
	}
	return sent, nil
}

// extend moves the write deadline on, now and then.
func (c *conn) extend() error {
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	now := time.Now()
	if c.fixed || c.until.Sub(now) > c.stall/2 {
		return nil
	}
	c.until = now.Add(c.stall)
	return c.Conn.SetWriteDeadline(c.until)
}

// SetWriteDeadline sets a deadline that is not extended. Without one, that of
// the stall time holds again, from the next write on.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.deadlines.Lock()
	defer c.deadlines.Unlock()
	if t.IsZero() && !c.fixed && !c.free.Load() {
		return nil // the next write sets its own
	}
	c.fixed, c.until = !t.IsZero(), time.Time{}
	return c.Conn.SetWriteDeadline(t)
}

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// release leaves deadlines to whoever relays the connection from now on.
func (c *conn) release() {
	c.free.Store(true)
	c.conns.move(c, active)
	_ = c.Conn.SetDeadline(time.Time{})
}

func (c *conn) Close() error {
	c.conns.leave(c)
	return c.Conn.Close()
}
