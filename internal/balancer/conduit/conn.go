package conduit

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a client's connection.
type conn struct {
	s      *Server
	l      *Listener
	client net.Conn
	// to is its target, nil until one was chosen.
	to atomic.Pointer[netip.AddrPort]

	mu     sync.Mutex
	target net.Conn
	ended  bool
}

// dialTimeout bounds connecting to a target, and its handshake.
const dialTimeout = 10 * time.Second

func (c *conn) serve() {
	defer c.cut()
	t := c.l.table.Load()
	front := c.client
	protocol := ""
	if t.TLS != nil {
		tc := tls.Server(c.client, c.l.tls)
		ctx, cancel := context.WithTimeout(context.Background(), t.TLS.HandshakeTimeout)
		err := tc.HandshakeContext(ctx)
		cancel()
		if err != nil {
			c.s.stats.TLSErrors.Add(1)
			c.end(false) // after the alert
			return
		}
		front, protocol = tc, tc.ConnectionState().NegotiatedProtocol
		t = c.l.table.Load()
	}
	back := c.connect(t, protocol)
	if back == nil {
		return
	}
	p := pipe{idle: t.Idle, in: c.s.stats.BytesIn, out: c.s.stats.BytesOut}
	if p.join(front, back) {
		c.end(false)
	}
}

// connect chooses a target and connects to it.
func (c *conn) connect(t *Table, protocol string) net.Conn {
	client, own := addrPort(c.client.RemoteAddr()), addrPort(c.client.LocalAddr())
	pool := pick(t.Pools[own.Addr()])
	if pool == nil {
		return nil
	}
	target, ok := pool.choose(client)
	if !ok {
		return nil
	}
	c.to.Store(&target)
	source := netip.AddrPort{}
	if pool.Preserve {
		source = client
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	nc, err := c.s.dial(ctx, own.Addr(), source, target)
	if err != nil {
		c.s.stats.ConnectionErrors.Add(1)
		return nil
	}
	if !c.adopt(nc) {
		return nil
	}
	if pool.Proxy {
		if _, err := nc.Write(Header(client, own)); err != nil {
			return nil
		}
	}
	if pool.TLS == nil {
		return nc
	}
	cfg := pool.TLS
	if protocol != "" {
		cfg = cfg.Clone()
		cfg.NextProtos = []string{protocol}
	}
	tc := tls.Client(nc, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		c.s.stats.ConnectionErrors.Add(1)
		return nil
	}
	return tc
}

// adopt makes nc end with the connection.
func (c *conn) adopt(nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		_ = nc.Close()
		return false
	}
	c.target = nc
	return true
}

// cut ends both sides at once.
func (c *conn) cut() { c.end(true) }

// end ends both sides, if they have not been: with a reset, or else after what
// was sent.
func (c *conn) end(reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	for _, nc := range []net.Conn{c.client, c.target} {
		if nc == nil {
			continue
		}
		if l, ok := nc.(interface{ SetLinger(int) error }); ok && reset {
			_ = l.SetLinger(0)
		}
		_ = nc.Close()
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
