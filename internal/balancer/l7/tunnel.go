package l7

import (
	"net"
	"sync/atomic"
	"time"

	"roadstead.dev/internal/balancer/h1"
)

// tunnel answers 101 and then copies bytes both ways until both sides are
// done, or nothing moved for the idle timeout. The connections cannot be used
// for requests afterwards.
func (c *conn) tunnel(x *exchange) {
	up := x.up
	defer x.target.drop(up)
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
		return
	}
	if early := c.r.buffered(); len(early) > 0 {
		if _, err := up.c.Write(early); err != nil {
			return
		}
		c.r.consume(len(early))
	}
	t := tunnel{timeout: c.settings().IdleTimeout}
	t.moved()
	// Closing both ends each copy that the other one still waits in.
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.copy(c.c, up.c)
	}()
	n := t.copy(up.c, c.c)
	c.s.stats.BytesIn.Add(n)
	<-done
}

type tunnel struct {
	timeout time.Duration
	last    atomic.Int64 // when bytes moved, Unix nanoseconds
}

func (t *tunnel) moved() { t.last.Store(time.Now().UnixNano()) }

// copy moves bytes from src to dst until src ends, then ends dst's side.
func (t *tunnel) copy(dst, src net.Conn) (total int64) {
	lent := large.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
	defer large.Put(lent)
	var rdl, wdl deadline
	for {
		rdl.extend(src.SetReadDeadline, t.timeout)
		n, err := src.Read(*lent)
		if n > 0 {
			t.moved()
			wdl.extend(dst.SetWriteDeadline, t.timeout)
			if _, werr := dst.Write((*lent)[:n]); werr != nil {
				_ = src.Close()
				_ = dst.Close()
				return total
			}
			total += int64(n)
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
