// Package stream passes TCP connections on to targets: those of listeners that
// look into no request, with TLS ended here or without.
package stream

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"roadstead.dev/internal/balancer/l7"
)

// Table is what a listener does. It never changes once it is in use; a
// listener swaps tables.
type Table struct {
	// Group takes the connections that come to addresses which ByAddress does
	// not name. Nil takes none.
	Group *l7.Group
	// ByAddress takes those that come to the load balancer's address.
	ByAddress map[netip.Addr]*l7.Group
	// TLS is nil for a listener that ends none.
	TLS *tls.Config
	// Header tells the target, before all else, where a connection comes from
	// and where it went to; nil tells nothing. It appends to b.
	Header func(b []byte, client, local netip.AddrPort) []byte
	// IdleTimeout is how long nothing may move on a connection; 0 means a
	// minute.
	IdleTimeout time.Duration
	// HandshakeTimeout bounds TLS handshakes; 0 means 10 seconds.
	HandshakeTimeout time.Duration
	// Log is told of connections at their end; nil for none.
	Log AccessLog
}

// Server serves one listener of a load balancer. Safe for concurrent use.
type Server struct {
	stats *l7.Stats
	log   *slog.Logger
	table atomic.Pointer[Table]
	// tls lives as long as the server, with the keys of its session tickets;
	// all else comes from the table of the moment.
	tls *tls.Config
	ctx context.Context
	end context.CancelFunc
	wg  sync.WaitGroup

	mu      sync.Mutex
	closing bool
	conns   map[*conn]struct{}
}

// NewServer makes a server that does what t says, which it takes over. Stats
// may be shared by several servers.
func NewServer(t *Table, stats *l7.Stats, log *slog.Logger) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{stats: stats, log: log, ctx: ctx, end: cancel, conns: map[*conn]struct{}{}}
	s.tls = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.table.Load().TLS, nil }}
	s.Swap(t)
	return s
}

// Swap makes connections that come from now on see t. It takes over t.
func (s *Server) Swap(t *Table) {
	if t.IdleTimeout == 0 {
		t.IdleTimeout = time.Minute
	}
	if t.HandshakeTimeout == 0 {
		t.HandshakeTimeout = 10 * time.Second
	}
	s.table.Store(t)
}

// Serve accepts connections until ctx ends or l fails, and closes l. It does
// not wait for the connections: Shutdown does.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return l7.Accept(ctx, l, s.log, s.start)
}

// Shutdown waits for the connections to end, which clients and targets do.
// When ctx ends first they are cut. No connection is accepted any more.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, s.cut)
	s.wg.Wait()
	stop()
	s.end()
}

func (s *Server) cut() {
	s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.client.Close()
	}
}

// conn is a client's connection.
type conn struct{ client net.Conn }

func (s *Server) start(nc net.Conn) {
	c := &conn{client: nc}
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		_ = nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	s.stats.Connections.Add(1)
	s.stats.Active.Add(1)
	go func() {
		defer s.wg.Done()
		s.serve(nc)
		_ = nc.Close()
		s.stats.Active.Add(-1)
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
}

// serve passes a connection on.
func (s *Server) serve(nc net.Conn) {
	t := s.table.Load()
	client, local := addrPort(nc.RemoteAddr()), addrPort(nc.LocalAddr())
	var rec *Record
	if t.Log != nil {
		rec = &Record{Created: time.Now(), Node: local.Addr(), Client: client, Dispatching: -1, Connecting: -1, Passing: -1}
		defer func() { t.Log.Passed(rec) }()
	}
	g := t.Group
	if own, ok := t.ByAddress[local.Addr()]; ok {
		g = own
	}
	if g == nil {
		return
	}
	from := l7.Fast(nc)
	if t.TLS != nil {
		tc := tls.Server(nc, s.tls)
		ctx, cancel := context.WithTimeout(s.ctx, t.HandshakeTimeout)
		err := tc.HandshakeContext(ctx)
		cancel()
		if err != nil {
			s.stats.TLSErrors.Add(1)
			return
		}
		from = tc
		rec.secured(tc)
	}
	link, err := rec.connect(s.ctx, g)
	if err != nil {
		s.stats.ConnectionErrors.Add(1)
		return
	}
	defer link.Close() //nolint:errcheck // it cannot fail
	// A connection that is cut takes its target's end with it.
	to := link.Conn
	stop := context.AfterFunc(s.ctx, func() { _ = to.Close() })
	defer stop()
	s.stats.Requests.Add(1)
	if t.Header != nil {
		_ = link.SetWriteDeadline(time.Now().Add(t.IdleTimeout))
		if _, err := link.Write(t.Header(nil, client, local)); err != nil {
			return
		}
	}
	in, out := rec.pass(from, link, t.IdleTimeout)
	s.stats.BytesIn.Add(in)
	s.stats.BytesOut.Add(out)
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
