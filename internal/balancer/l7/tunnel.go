package l7

import (
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
		c.rec.answered(x, c.resp.Status, int64(time.Since(x.began)))
	}
	c.through = up
	return true
}

// spare gives others what only requests need: tunnels last long, and most are
// idle.
func (c *conn) spare() {
	other := new(conn)
	other.r.buf, other.out, other.req, other.resp = c.r.buf, c.out, c.req, c.resp
	conns.Put(other)
	c.through.r.lose()
	c.r, c.out, c.req, c.resp = reader{}, nil, h1.Request{}, h1.Response{}
}

// pass copies bytes both ways until both sides are done, or nothing moved for
// the idle timeout, when the last request opened a tunnel.
func (c *conn) pass() {
	up := c.through
	if up == nil {
		return
	}
	t := tunnel{timeout: c.settings().IdleTimeout}
	t.moved()
	// Closing both ends each copy that the other one still waits in.
	done := make(chan struct{})
	var out int64
	go func() {
		defer close(done)
		out = t.copy(c.c, up.c)
		c.stats.BytesOut.Add(out)
	}()
	n := t.copy(up.c, c.c)
	c.stats.BytesIn.Add(n)
	<-done
	c.received, c.sent = c.received+n, c.sent+out
	if c.rec != nil {
		c.logged()
	}
	c.through = nil
	c.up.Store(nil)
	up.target.drop(up)
	up.target.inflight.Add(-1)
}

type tunnel struct {
	timeout time.Duration
	last    atomic.Int64 // when bytes moved, Unix nanoseconds
}

func (t *tunnel) moved() { t.last.Store(time.Now().UnixNano()) }

// copy moves bytes from src to dst until src ends, then ends dst's side.
func (t *tunnel) copy(dst, src net.Conn) (total int64) {
	from := lazyReader{c: src}
	var rdl, wdl deadline
	for {
		rdl.extend(src.SetReadDeadline, t.timeout)
		p, err := from.next()
		if len(p) > 0 {
			t.moved()
			wdl.extend(dst.SetWriteDeadline, t.timeout)
			n, werr := dst.Write(p)
			total += int64(n)
			if werr != nil {
				_ = src.Close()
				_ = dst.Close()
				err = werr
			}
			from.release()
			if werr != nil {
				return total
			}
		}
		switch {
		case err == nil:
		case isTimeout(err) && time.Since(time.Unix(0, t.last.Load())) < t.timeout:
			// The other direction is alive.
			rdl = deadline{}
		case isTimeout(err):
			_ = src.Close()
			_ = dst.Close()
			return total
		default:
			half, ok := dst.(interface{ CloseWrite() error })
			if !ok || half.CloseWrite() != nil {
				_ = dst.Close()
			}
			return total
		}
	}
}

// lazyReader reads what comes, and has no buffer while nothing does where the
// connection allows that.
type lazyReader struct {
	c    net.Conn
	own  []byte  // of a connection that has to read into something
	lent *[]byte // what the latest piece is in
}

// next waits for a piece, which is valid until release.
func (l *lazyReader) next() ([]byte, error) {
	if s, ok := l.c.(*socket); ok {
		lent, n, err := s.readLent()
		l.lent = lent
		if n == 0 {
			return nil, err
		}
		return (*lent)[:n], err
	}
	if l.own == nil {
		l.own = make([]byte, smallBuffer)
	}
	n, err := l.c.Read(l.own)
	if n == len(l.own) && n < largeBuffer {
		p := l.own
		l.own = make([]byte, largeBuffer)
		return p, err
	}
	return l.own[:n], err
}

// release gives the piece's buffer back.
func (l *lazyReader) release() {
	if l.lent != nil {
		large.Put(l.lent)
		l.lent = nil
	}
}
