package conduit

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"roadstead.dev/internal/balancer/l7"
)

// conn is a client's connection.
type conn struct {
	s      *Server
	l      *Listener
	client net.Conn
	// stats are those of the node that it came to.
	node  int
	stats *l7.Stats
	// to is its target, nil until one was chosen.
	to atomic.Pointer[netip.AddrPort]
	// rec is nil where nothing is logged.
	rec *Record

	mu     sync.Mutex
	target net.Conn // below TLS
	link   *l7.Link // to a group's target; nil for others
	ended  bool
}

// dialTimeout bounds connecting to a target, and its handshake.
const dialTimeout = 10 * time.Second

func (c *conn) serve() {
	t := c.l.table.Load()
	client, own := addrPort(c.client.RemoteAddr()), addrPort(c.client.LocalAddr())
	if log := t.Log; log != nil {
		c.rec = newRecord(client, own)
		defer func() { log.Passed(c.rec) }()
	}
	defer c.cut()
	front := c.client
	protocol := ""
	var session *Session
	if t.TLS != nil {
		session = t.session(c.client)
		defer session.log(t.Sessions)
		tc := tls.Server(l7.Fast(c.client), c.l.tls)
		ctx, cancel := context.WithTimeout(session.context(c.s.ctx), t.TLS.HandshakeTimeout)
		err := tc.HandshakeContext(ctx)
		cancel()
		front = session.settle(tc, err)
		if err != nil {
			c.stats.TLSErrors.Add(1)
			c.end(false) // after the alert
			return
		}
		c.rec.secured(tc)
		protocol = tc.ConnectionState().NegotiatedProtocol
		t = c.l.table.Load()
	}
	back := c.connect(t, client, own, protocol)
	if back == nil {
		return
	}
	session.connected(back)
	p := pipe{idle: t.Idle, in: flow{count: &c.stats.BytesIn}, out: flow{count: &c.stats.BytesOut}, under: [2]net.Conn{c.client, c.target}}
	if p.join(front, back) {
		c.end(false)
	}
	c.rec.carried(&p)
}

// connect chooses a target and connects to it. It returns nil where that
// cannot be done.
func (c *conn) connect(t *Table, client, own netip.AddrPort, protocol string) net.Conn {
	pools, ok := t.Pools[own.Addr()]
	if !ok {
		pools = t.Pools[netip.Addr{}]
	}
	pool := pick(pools)
	if t.Sticky {
		pool = stick(pools, client.Addr())
	}
	if pool == nil {
		return nil
	}
	if pool.Group != nil {
		return c.join(pool, client, own)
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
	ctx, cancel := context.WithTimeout(c.s.ctx, dialTimeout)
	defer cancel()
	began := time.Now()
	nc, err := c.s.dial(ctx, own.Addr(), source, target)
	if err != nil {
		c.stats.ConnectionErrors.Add(1)
		return nil
	}
	c.rec.connected(target.String(), began)
	if !c.adopt(nc, nil) || !pool.tell(nc, client, own) {
		return nil
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
		c.stats.TargetTLSErrors.Add(1)
		return nil
	}
	return tc
}

// join connects to a target of the pool's group.
func (c *conn) join(pool *Pool, client, own netip.AddrPort) net.Conn {
	began := time.Now()
	link, err := pool.Group.Connect(c.s.ctx, c.node)
	if err != nil {
		return nil
	}
	c.rec.connected(link.Target(), began)
	back := link.Plain()
	under := back
	if tc, ok := back.(*tls.Conn); ok {
		under = tc.NetConn()
	}
	if !c.adopt(under, link) {
		return nil
	}
	c.stats.Requests.Add(1)
	if !pool.tell(back, client, own) {
		return nil
	}
	return back
}

// tell tells a target of its client.
func (p *Pool) tell(nc net.Conn, client, own netip.AddrPort) bool {
	if p.Header == nil {
		return true
	}
	_, err := nc.Write(p.Header(client, own))
	return err == nil
}

// adopt makes nc, and the link whose it is, end with the connection.
func (c *conn) adopt(nc net.Conn, link *l7.Link) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		_ = nc.Close()
		if link != nil {
			_ = link.Close()
		}
		return false
	}
	c.target, c.link = nc, link
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
	if c.link != nil {
		_ = c.link.Close()
	}
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
