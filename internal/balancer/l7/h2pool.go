package l7

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"roadstead.dev/internal/balancer/h1"
)

const (
	// streamWindow is how much of a response a target may send that the client
	// does not take yet.
	streamWindow = 512 << 10
	// maxMultiplexed limits the connections to one target.
	maxMultiplexed = 256
)

// errNotHTTP2: a target of TLS did not agree to HTTP/2.
var errNotHTTP2 = errors.New("target does not speak HTTP/2")

// multiplexer holds the connections to a target that speaks HTTP/2: with prior
// knowledge, or by ALPN where they are of TLS. Requests share a connection
// until the target takes no more on it. Safe for concurrent use.
type multiplexer struct {
	addr      string
	scheme    string
	dialer    Dial
	transport *http.Transport

	mu     sync.Mutex
	closed bool
	conns  []*shared
	// dialing is closed when the connection that is being made is there, or
	// cannot be made; nil while none is.
	dialing chan struct{}
}

// shared is a connection that many requests may be on.
type shared struct {
	*http.ClientConn
	// idle is since when no request has been on it; zero while one is.
	idle time.Time
	// suspect connections, on which a request was not answered in time, get no
	// new ones.
	suspect bool
}

func newMultiplexer(addr string, dial Dial, secure bool) *multiplexer {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true) // what is below does not matter to it
	m := &multiplexer{addr: addr, scheme: "http", dialer: dial}
	if secure {
		m.scheme, m.dialer = "https", agreed(dial)
	}
	m.transport = &http.Transport{
		Protocols: p, DisableCompression: true, MaxResponseHeaderBytes: h1.MaxHead,
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: streamWindow},
	}
	return m
}

// agreed makes connections of TLS that agreed to HTTP/2.
func agreed(dial Dial) Dial {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		c, err := dial(ctx, addr)
		if err != nil {
			return nil, err
		}
		if tc, ok := c.(*tls.Conn); !ok || tc.ConnectionState().NegotiatedProtocol != protocolH2 {
			_ = c.Close()
			return nil, errNotHTTP2
		}
		return c, nil
	}
}

// reserve finds a connection that takes one more request, or makes one. One
// RoundTrip or Release must follow.
func (m *multiplexer) reserve(ctx context.Context) (*shared, error) {
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			return nil, errTargetClosed
		}
		if s := m.vacant(); s != nil {
			m.mu.Unlock()
			return s, nil
		}
		if m.dialing == nil {
			return m.dial(ctx)
		}
		wait := m.dialing
		m.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// vacant reserves a place on a connection that has one, and forgets those that
// ended.
func (m *multiplexer) vacant() *shared {
	m.conns = slices.DeleteFunc(m.conns, func(s *shared) bool { return s.Err() != nil })
	for _, s := range m.conns {
		if !s.suspect && s.Reserve() == nil {
			s.idle = time.Time{}
			return s
		}
	}
	return nil
}

// dial makes a connection with a place reserved. It is called with mu held, and
// releases it.
func (m *multiplexer) dial(ctx context.Context) (*shared, error) {
	if len(m.conns) >= maxMultiplexed {
		m.mu.Unlock()
		return nil, errors.New("target has too many connections")
	}
	done := make(chan struct{})
	m.dialing = done
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	cc, err := m.connect(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dialing = nil
	close(done)
	if err != nil {
		return nil, err
	}
	if m.closed {
		_ = cc.Close()
		return nil, errTargetClosed
	}
	if err := cc.Reserve(); err != nil {
		_ = cc.Close()
		return nil, err
	}
	s := &shared{ClientConn: cc}
	m.conns = append(m.conns, s)
	return s, nil
}

// connect makes a connection whose target has said what it takes: before that,
// requests would be put on it that have to wait for others.
func (m *multiplexer) connect(ctx context.Context) (*http.ClientConn, error) {
	c, err := m.dialer(ctx, m.addr)
	if err != nil {
		return nil, err
	}
	g := &greeting{Conn: c, settled: make(chan struct{}), ended: make(chan struct{})}
	tr := m.transport.Clone()
	tr.DialContext = func(context.Context, string, string) (net.Conn, error) { return g, nil }
	cc, err := tr.NewClientConn(ctx, "http", m.addr)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	select {
	case <-g.settled:
		return cc, nil
	case <-g.ended:
		err = errNotHTTP2
	case <-ctx.Done():
		err = ctx.Err()
	}
	_ = cc.Close()
	return nil, err
}

// greeting is a connection that tells when its reader has dealt with the first
// frame, which holds the peer's settings.
type greeting struct {
	net.Conn
	head           [frameHead]byte
	got, need      int
	settled, ended chan struct{}
	told           bool
	end            sync.Once
}

// frameHead is the length of a frame's head, which begins with the length of
// what follows it.
const frameHead = 9

// Read reads on: who does has dealt with what came before.
func (g *greeting) Read(p []byte) (int, error) {
	if g.told {
		return g.Conn.Read(p)
	}
	if g.need > 0 && g.got >= g.need {
		g.told = true
		close(g.settled)
		return g.Conn.Read(p)
	}
	n, err := g.Conn.Read(p)
	if g.got < frameHead {
		copy(g.head[g.got:], p[:n])
	}
	if g.got += n; g.got >= frameHead && g.need == 0 {
		g.need = frameHead + int(g.head[0])<<16 + int(g.head[1])<<8 + int(g.head[2])
	}
	if err != nil {
		g.end.Do(func() { close(g.ended) })
	}
	return n, err
}

// Close is also what its reader does that cannot make sense of what came.
func (g *greeting) Close() error {
	g.end.Do(func() { close(g.ended) })
	return g.Conn.Close()
}

// doubt keeps new requests away from a connection.
func (m *multiplexer) doubt(s *shared) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.suspect = true
}

// reap closes the connections on which nothing happened for long.
func (m *multiplexer) reap(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conns = slices.DeleteFunc(m.conns, func(s *shared) bool {
		switch {
		case s.Err() != nil:
			return true
		case s.InFlight() > 0:
			s.idle = time.Time{}
			return false
		case s.idle.IsZero():
			s.idle = now
		}
		if s.suspect || now.Sub(s.idle) > poolTime {
			_ = s.Close()
			return true
		}
		return false
	})
}

// close cuts all connections.
func (m *multiplexer) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, s := range m.conns {
		_ = s.Close()
	}
	m.conns = nil
}
