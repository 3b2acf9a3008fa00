package conduit

import (
	"crypto/tls"
	"net/netip"
	"time"
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

func newRecord(client, own netip.AddrPort) *Record {
	return &Record{Created: time.Now(), Node: own.Addr(), Client: client, Dispatching: -1, Connecting: -1, Passing: -1}
}

func (r *Record) secured(c *tls.Conn) {
	if r == nil {
		return
	}
	st := c.ConnectionState()
	r.Version, r.Suite = st.Version, st.CipherSuite
}

func (r *Record) connected(target string, began time.Time) {
	if r != nil {
		r.Target, r.Connecting = target, time.Since(began)
	}
}

func (r *Record) carried(p *pipe) {
	if r == nil {
		return
	}
	r.Received, r.Sent = p.in.total, p.out.total
	if !p.in.wrote.IsZero() {
		r.Dispatching = p.in.wrote.Sub(r.Created)
	}
	if !p.out.wrote.IsZero() {
		r.Passing = p.out.wrote.Sub(p.out.read)
	}
}
