package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"

	"roadstead.dev/internal/balancer/l7"
)

// AccessLog is told of connections when they have ended. It must not block.
type AccessLog interface{ Passed(*Record) }

// Record is what is logged of a connection. Methods of nil log nothing.
type Record struct {
	Created time.Time
	Node    netip.Addr
	Client  netip.AddrPort
	// Target is empty when none was reached.
	Target string
	// Dispatching is the time until the first byte was sent to the target,
	// Connecting what connecting to it took, Passing the time between its first
	// byte and when that began to be sent on. Negative ones never came to be.
	Dispatching, Connecting, Passing time.Duration
	Received, Sent                   int64
	// Version and Suite of TLS are 0 where it is not spoken.
	Version, Suite uint16
}

func (r *Record) secured(c *tls.Conn) {
	if r == nil {
		return
	}
	st := c.ConnectionState()
	r.Version, r.Suite = st.Version, st.CipherSuite
}

// connect is Group.Connect.
func (r *Record) connect(ctx context.Context, g *l7.Group) (*l7.Link, error) {
	if r == nil {
		return g.Connect(ctx)
	}
	began := time.Now()
	link, err := g.Connect(ctx)
	if err == nil {
		r.Target, r.Connecting = link.Target(), time.Since(began)
	}
	return link, err
}

// pass is l7.Pass.
func (r *Record) pass(client net.Conn, target *l7.Link, idle time.Duration) (in, out int64) {
	if r == nil {
		return l7.Pass(client, target, idle)
	}
	front, back := &watched{Conn: client}, &watched{Conn: target.Conn}
	target.Conn = back
	r.Received, r.Sent = l7.Pass(front, target, idle)
	if !back.wrote.IsZero() {
		r.Dispatching = back.wrote.Sub(r.Created)
	}
	if !back.read.IsZero() && !front.wrote.IsZero() {
		r.Passing = front.wrote.Sub(back.read)
	}
	return r.Received, r.Sent
}

// watched is a connection that remembers when its first byte was read, and
// when the first one was about to be written.
type watched struct {
	net.Conn
	read, wrote time.Time
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if n > 0 && w.read.IsZero() {
		w.read = time.Now()
	}
	return n, err
}

func (w *watched) Write(b []byte) (int, error) {
	if w.wrote.IsZero() {
		w.wrote = time.Now()
	}
	return w.Conn.Write(b)
}

// CloseWrite tells the peer that nothing else comes.
func (w *watched) CloseWrite() error {
	half, ok := w.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}
