package l7

import (
	"bytes"
	"crypto/tls"
	"sync/atomic"
	"time"

	"roadstead.dev/internal/balancer/h1"
	"roadstead.dev/internal/balancer/h2"
)

// maxStreams is how many requests a client may have under way on a connection.
const maxStreams = 128

// maxRequests is how many requests a connection that speaks HTTP/2 takes.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html#response-code-000
const maxRequests = 10_000

// multiplexed is a client's connection that speaks HTTP/2. Each of its streams
// is to the engine a connection of its own with one HTTP/1.1 request, so that
// the same rules, limits and refusals hold.
type multiplexed struct {
	s     *Server
	c     *tls.Conn
	tls   *Session
	since time.Time
	front *h2.Conn
	// asked counts the requests.
	asked atomic.Int64
}

func newMultiplexed(s *Server, c *tls.Conn, session *Session) *multiplexed {
	m := &multiplexed{s: s, c: c, tls: session, since: time.Now()}
	m.front = h2.New(c, h2.Options{
		MaxStreams: maxStreams, MaxHead: h1.MaxHead, Timeout: s.table.Load().Settings.IdleTimeout, Handle: m.stream,
	})
	return m
}

var _ served = (*multiplexed)(nil)

func (m *multiplexed) requests() {
	if m.s.isClosing() {
		m.interruptIdle()
	}
	m.front.Serve()
}

// What a tunnel would be on a connection of its own cannot be asked for.
func (*multiplexed) tunnels() bool { return false }
func (*multiplexed) pass(func())   {}

// finish has nothing left to do.
func (*multiplexed) finish() {}

// interruptIdle tells the client to open no more streams.
func (m *multiplexed) interruptIdle() { m.front.Leave() }

func (m *multiplexed) cut() { _ = m.c.NetConn().Close() }

func (*multiplexed) release() {}

// stream serves one request.
func (m *multiplexed) stream(s *h2.Stream) {
	st := &stream{Conn: m.c, s: s, isHead: bytes.HasPrefix(s.Head(), []byte("HEAD "))}
	c := newConn(m.s, st)
	c.session, c.trace, c.h2 = m.tls, m.tls.trace, true
	c.r.buf = append(c.r.buf[:0], s.Head()...)
	c.r.w = len(c.r.buf)
	c.r.buf = c.r.buf[:cap(c.r.buf)]
	if m.asked.Add(1) >= m.s.maxRequests || time.Since(m.since) >= c.settings().KeepAlive {
		m.front.Leave()
	}
	s.OnCancel(c.cut)
	sound := m.s.contain(c, func() { c.request() })
	s.OnCancel(nil)
	if sound {
		c.release()
	}
}
