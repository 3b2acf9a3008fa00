// Package conduit carries TCP connections to targets in user space, for
// listeners that look into no request: those of classic load balancers, and
// those of network load balancers that the kernel cannot serve since bytes must
// be read or written (TLS, and targets that are told their clients by the proxy
// protocol).
//
// A connection chooses its target when it comes, and keeps it. It goes on
// through changes of the listener and of the targets, and through the end of
// its listener, but not through the end of the process. What fails, is cut or
// says nothing for too long ends with a reset on both sides.
package conduit

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"roadstead.dev/internal/accept"
	"roadstead.dev/internal/balancer/l7"
)

// Table is what a listener does with connections.
type Table struct {
	// TLS that clients speak; nil for none.
	TLS *TLS
	// Idle is how long a connection may say nothing; 0 means a minute.
	Idle time.Duration
	// Pools share the connections by their weights: for each of the load
	// balancer's own addresses, and under the zero address for all others.
	Pools map[netip.Addr][]Pool
	// Sticky sends a client's connections to the same pool, as long as the
	// weights let it.
	Sticky bool
	// Nodes count the connections that come to their addresses; those to others
	// are the server's to count.
	Nodes []l7.Node
	// Log is told of connections at their end; nil for none.
	Log AccessLog
	// Sessions is told of connections with TLS; nil for none. Listener is the
	// id that they are logged with.
	Sessions SessionLog
	Listener string
}

// Pool is targets that get new connections.
type Pool struct {
	// Name tells a sticky listener's pools apart, and stays.
	Name string
	// Weight is the pool's share; one with 0 gets none.
	Weight int
	// Group chooses the targets and connects to them, where it is not nil: by
	// turns, the next one when one cannot be reached. Targets, BySource, Preserve
	// and TLS say nothing then.
	Group *l7.Group
	// Targets share the pool's connections. Without any they are refused.
	Targets []netip.AddrPort
	// BySource sends all connections from a client's address to one target.
	BySource bool
	// Preserve keeps the client's address as the source.
	Preserve bool
	// Header is what targets are told of a client before all else, by the proxy
	// protocol; nil for nothing.
	Header func(client, own netip.AddrPort) []byte
	// TLS that targets speak; nil for none.
	TLS *tls.Config
}

// Dial connects to a target with a source: own is the load balancer's address
// that the client came to. Client is not valid where its address is not to be
// preserved.
type Dial func(ctx context.Context, own netip.Addr, client netip.AddrPort, target netip.AddrPort) (net.Conn, error)

// Server serves listeners of one load balancer. Safe for concurrent use.
type Server struct {
	dial  Dial
	stats *l7.Stats
	log   *slog.Logger
	// ctx ends with the connections that are cut at the end.
	ctx context.Context
	end context.CancelFunc

	mu     sync.Mutex
	closed bool
	conns  map[*conn]struct{}
	wg     sync.WaitGroup
}

// NewServer makes a server. Dial may be nil where all pools have groups. Stats
// may be shared by several servers.
func NewServer(dial Dial, stats *l7.Stats, log *slog.Logger) *Server {
	s := &Server{dial: dial, stats: stats, log: log, conns: map[*conn]struct{}{}}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s
}

// Listener is a port of the load balancer.
type Listener struct {
	s     *Server
	table atomic.Pointer[Table]
	tls   *tls.Config
}

// NewListener makes a listener that does what t says. It takes over t.
func (s *Server) NewListener(t *Table) *Listener {
	l := &Listener{s: s}
	l.tls = l.config()
	l.Swap(t)
	return l
}

// Swap makes connections that come from now on see t. It takes over t.
func (l *Listener) Swap(t *Table) {
	if t.Idle == 0 {
		t.Idle = time.Minute
	}
	if t.TLS != nil {
		t.TLS.prepare()
	}
	l.table.Store(t)
}

// Serve accepts connections until ctx ends or nl fails, and closes nl. The
// connections go on: Shutdown waits for them.
func (l *Listener) Serve(ctx context.Context, nl net.Listener) error {
	return accept.Until(ctx, nl, l.s.log, func(nc net.Conn) { l.s.start(l, nc) })
}

// start serves a connection in a goroutine of its own.
func (s *Server) start(l *Listener, nc net.Conn) {
	c := &conn{s: s, l: l, client: nc}
	c.node, c.stats = l7.NodeOf(l.table.Load().Nodes, nc, s.stats)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		_ = nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	c.stats.Connections.Add(1)
	c.stats.Active.Add(1)
	go func() {
		defer s.wg.Done()
		c.serve()
		c.stats.Active.Add(-1)
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
}

// Counts tells how many connections each target has.
func (s *Server) Counts() map[netip.AddrPort]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[netip.AddrPort]int64{}
	for c := range s.conns {
		if t := c.to.Load(); t != nil {
			out[*t]++
		}
	}
	return out
}

// Cut ends the connections to a target.
func (s *Server) Cut(target netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if t := c.to.Load(); t != nil && *t == target {
			c.cut()
		}
	}
}

// Shutdown waits until all connections have ended, and cuts them when ctx ends
// first. None is accepted any more.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
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
		c.cut()
	}
}
