package l7

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"roadstead.dev/internal/balancer/h1"
)

// tunnel answers 101 and leaves the connections to pass. They cannot be used
// for requests afterwards. It tells whether the client took the answer.
func (c *conn) tunnel(x *exchange) bool {
	up := x.up
	b := appendStatus(c.out[:0], &c.resp)
	b = c.appendFields(b, false)
	b = append(b, x.cookies...)
	b = append(b, "Connection: Upgrade\r\n"...)
	for i := range c.resp.Fields {
		if f := &c.resp.Fields[i]; f.ID == h1.Upgrade {
			b = appendField(b, f.Name, f.Value)
		}
	}
	b = append(b, "\r\n"...)
	c.headed(len(b))
	b = append(b, up.r.buffered()...)
	c.out = b
	if c.write(b) != nil {
		return false
	}
	if early := c.r.buffered(); len(early) > 0 {
		if _, err := up.c.Write(early); err != nil {
			return false
		}
	}
	if c.rec != nil {
		c.rec.answered(x, c.resp.Status, int64(sinceStart()-x.began))
	}
	c.through = up
	return true
}

// spare gives others what only requests need: tunnels last long, and most are
// idle.
func (c *conn) spare() {
	c.tidy()
	workspaces.Put(c.workspace)
	c.workspace = nil
	c.through.r.lose()
	c.through.r = nil
}

// pass copies bytes both ways until both sides are done, or nothing moved for
// the idle timeout, once the last request has opened a tunnel. It returns at
// once; after is called at the end.
func (c *conn) pass(after func()) {
	up := c.through
	t := newTunnel(c.c, up.c, c.settings().IdleTimeout)
	t.left.Store(2)
	t.after = func() {
		in, out := t.in.total, t.out.total
		c.stats.BytesIn.Add(in)
		c.stats.BytesOut.Add(out)
		c.received, c.sent = c.received+in, c.sent+out
		if c.rec != nil {
			c.logged()
		}
		c.through = nil
		c.up.Store(nil)
		up.target.drop(up)
		up.target.inflight.Add(-1)
		after()
	}
	// Closing both connections ends each copy that the other one still waits in.
	go t.in.serve()
	go t.out.serve()
}

type tunnel struct {
	timeout time.Duration
	last    atomic.Int64 // when bytes moved, Unix nanoseconds
	left    atomic.Int32 // directions that are not done
	after   func()
	in, out half
}

func newTunnel(client, target net.Conn, timeout time.Duration) *tunnel {
	t := &tunnel{timeout: timeout}
	t.in = half{t: t, dst: target, src: client}
	t.out = half{t: t, dst: client, src: target}
	t.moved()
	return t
}

func (t *tunnel) moved() { t.last.Store(time.Now().UnixNano()) }

// half is one direction of a tunnel: it moves bytes from src to dst until src
// ends, and then ends dst's side. It lies on the heap, and what waits in run is
// shallow, so that the stack of an idle tunnel stays at its smallest.
type half struct {
	t        *tunnel
	dst, src net.Conn
	from     lazyReader // of src
	rdl, wdl deadline
	total    int64
}

// serve runs, and is done with the tunnel when the other direction was first.
func (h *half) serve() {
	h.run()
	if h.t.left.Add(-1) == 0 {
		h.t.after()
	}
}

func (h *half) run() {
	for {
		h.rdl.extend(h.src.SetReadDeadline, h.t.timeout)
		if !h.moved(h.from.next(h.src)) {
			return
		}
	}
}

// moved sends on what was read, and tells whether more may come.
func (h *half) moved(p []byte, err error) bool {
	if len(p) > 0 {
		h.t.moved()
		h.wdl.extend(h.dst.SetWriteDeadline, h.t.timeout)
		n, werr := h.dst.Write(p)
		h.total += int64(n)
		h.from.release()
		if werr != nil {
			_ = h.src.Close()
			_ = h.dst.Close()
			return false
		}
	}
	switch {
	case err == nil:
	case isTimeout(err) && time.Since(time.Unix(0, h.t.last.Load())) < h.t.timeout:
		// The other direction is alive.
		h.rdl = deadline{}
	case isTimeout(err):
		_ = h.src.Close()
		_ = h.dst.Close()
		return false
	default:
		half, ok := h.dst.(interface{ CloseWrite() error })
		if !ok || half.CloseWrite() != nil {
			_ = h.dst.Close()
		}
		return false
	}
	return true
}

// lazyReader reads what comes, and has no buffer while nothing does where the
// connection allows that.
type lazyReader struct {
	own   *[]byte // of a connection that has to read into something
	lent  *[]byte // what the latest piece is in
	first [1]byte
}

// next waits for a piece, which is valid until release.
func (l *lazyReader) next(from net.Conn) ([]byte, error) {
	switch c := from.(type) {
	case *socket:
		lent, n, err := c.readLent()
		l.lent = lent
		if n == 0 {
			return nil, err
		}
		return (*lent)[:n], err
	case *tls.Conn:
		if s, ok := c.NetConn().(*socket); ok {
			return l.nextSecure(c, s)
		}
	}
	if l.own == nil {
		b := make([]byte, smallBuffer)
		l.own = &b
	}
	p := *l.own
	n, err := from.Read(p)
	if n == len(p) && n < largeBuffer {
		*l.own = make([]byte, largeBuffer)
	}
	return p[:n], err
}

// nextSecure waits with room for a byte, and then takes what else is there.
func (l *lazyReader) nextSecure(c *tls.Conn, s *socket) ([]byte, error) {
	if n, err := c.Read(l.first[:]); n == 0 {
		return nil, err
	}
	l.lent = large.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	p := *l.lent
	p[0] = l.first[0]
	s.patient = false
	defer func() { s.patient = true }()
	for n := 1; ; {
		m, err := c.Read(p[n:])
		n += m
		switch {
		case isTimeout(err): // nothing else is there
			return p[:n], nil
		case err != nil || n == len(p):
			return p[:n], err
		}
	}
}

// release gives the piece's buffer back.
func (l *lazyReader) release() {
	if l.lent != nil {
		large.Put(l.lent)
		l.lent = nil
	}
}
