// Package conduit is the data plane of a network load balancer's listeners that
// the kernel cannot serve, since bytes must be read or written: those with TLS,
// and those whose targets are told their clients by the proxy protocol.
//
// A connection chooses its target when it comes, and keeps it. It goes on
// through changes of the listener and of the targets, and through the end of
// its listener, but not through the end of the process.
package conduit

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Table is what a listener does with connections.
type Table struct {
	// TLS that clients speak; nil for none.
	TLS *TLS
	// Idle is how long a connection may say nothing.
	Idle time.Duration
	// Pools share the connections by their weights: for each of the load
	// balancer's own addresses.
	Pools map[netip.Addr][]Pool
}

// Pool is targets that get new connections.
type Pool struct {
	// Weight is the pool's share; one with 0 gets none.
	Weight int
	// Targets share the pool's connections. Without any they are refused.
	Targets []netip.AddrPort
	// BySource sends all connections from a client's address to one target.
	BySource bool
	// Preserve keeps the client's address as the source.
	Preserve bool
	// Proxy tells targets of their clients by the proxy protocol, version 2.
	Proxy bool
	// TLS that targets speak; nil for none.
	TLS *tls.Config
}

// Dial connects to a target with a source: own is the load balancer's address
// that the client came to. Client is not valid where its address is not to be
// preserved.
type Dial func(ctx context.Context, own netip.Addr, client netip.AddrPort, target netip.AddrPort) (net.Conn, error)

// Stats counts connections. Counts only grow, but for Active.
type Stats struct {
	Connections, Active, TLSErrors, ConnectionErrors *atomic.Int64
	// BytesIn and BytesOut are what clients sent and were sent.
	BytesIn, BytesOut *atomic.Int64
}

// Server serves the listeners of one load balancer. Safe for concurrent use.
type Server struct {
	dial  Dial
	stats Stats
	log   *slog.Logger

	mu     sync.Mutex
	closed bool
	conns  map[*conn]struct{}
	wg     sync.WaitGroup
}

// NewServer makes a server.
func NewServer(dial Dial, stats Stats, log *slog.Logger) *Server {
	return &Server{dial: dial, stats: stats, log: log, conns: map[*conn]struct{}{}}
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
	if t.TLS != nil {
		t.TLS.prepare()
	}
	l.table.Store(t)
}

// Serve accepts connections until ctx ends or nl fails, and closes nl. The
// connections go on.
func (l *Listener) Serve(ctx context.Context, nl net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = nl.Close() })
	defer stop()
	for delay := time.Duration(0); ; {
		c, err := nl.Accept()
		if err == nil {
			delay = 0
			l.s.start(l, c)
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		// Out of descriptors: wait for some to be freed.
		var te interface{ Temporary() bool }
		if !errors.As(err, &te) || !te.Temporary() {
			return err
		}
		delay = min(max(2*delay, 5*time.Millisecond), time.Second)
		l.s.log.Warn("accepting connections fails", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
	}
}

// start serves a connection in a goroutine of its own.
func (s *Server) start(l *Listener, nc net.Conn) {
	c := &conn{s: s, l: l, client: nc}
	s.mu.Lock()
	if s.closed {
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
		c.serve()
		s.stats.Active.Add(-1)
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
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		c.cut()
	}
	s.mu.Unlock()
	<-done
}
