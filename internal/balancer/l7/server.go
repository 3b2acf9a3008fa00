// Package l7 is the data plane of application load balancers: an HTTP/1.1
// proxy whose rules can be swapped while it runs.
package l7

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"roadstead.dev/internal/accept"
)

// Server serves one listener of a load balancer. Safe for concurrent use.
type Server struct {
	stats *Stats
	log   *slog.Logger
	table atomic.Pointer[Table]
	tls   *tls.Config
	// lastChance is how long a connection that is to end waits for a request
	// that the client may have sent before it could know.
	lastChance time.Duration
	// maxRequests is maxRequests, but in tests.
	maxRequests int64

	mu      sync.Mutex
	closing atomic.Bool // set with mu held
	conns   map[served]struct{}
	wg      sync.WaitGroup

	// work has a receiver for each worker that waits: one whose connection has
	// ended, and whose stack has grown already.
	work    chan job
	waiting int // guarded by mu
	workers sync.WaitGroup
}

// job is a connection to be served.
type job struct {
	c     served
	stats *Stats
}

// keptWorkers is how many workers wait at most.
const keptWorkers = 64

// NewServer makes a server that does what t says. Stats may be shared by
// several servers. It takes over t, which must not be changed any more.
func NewServer(t *Table, stats *Stats, log *slog.Logger) *Server {
	s := &Server{stats: stats, log: log, conns: map[served]struct{}{}, work: make(chan job), lastChance: lastChance, maxRequests: maxRequests}
	s.tls = s.tlsConfig()
	s.Swap(t)
	return s
}

// Swap makes requests that begin from now on see t. It takes over t.
func (s *Server) Swap(t *Table) {
	t.prepare()
	s.table.Store(t)
}

// Serve accepts connections until ctx ends or l fails, and closes l. It does
// not wait for the connections: Shutdown does.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return accept.Until(ctx, l, s.log, func(nc net.Conn) { s.start(fast(nc)) })
}

// start serves a connection in a goroutine of its own.
func (s *Server) start(nc net.Conn) {
	s.mu.Lock()
	if s.closing.Load() {
		s.mu.Unlock()
		_ = nc.Close()
		return
	}
	var c served
	t := s.table.Load()
	_, stats := t.at(nc, s.stats)
	if t.TLS != nil {
		c = &secureConn{s: s, c: nc, stats: stats}
	} else {
		c = newConn(s, nc)
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	stats.Connections.Add(1)
	stats.Active.Add(1)
	if s.waiting > 0 {
		// With mu held, as the channel must not be closed meanwhile; the worker
		// is about to receive.
		s.waiting--
		s.work <- job{c, stats}
	} else {
		s.workers.Go(func() { s.worker(job{c, stats}) })
	}
	s.mu.Unlock()
}

// worker serves connections, one after the other.
func (s *Server) worker(j job) {
	for ok := true; ok; {
		if !s.serve(j) {
			return
		}
		j, ok = <-s.work
	}
}

// serve serves a connection, and tells whether its worker is to wait for
// another.
func (s *Server) serve(j job) bool {
	switch whole := s.contain(j.c, j.c.requests); {
	case !whole:
		s.forget(j)
		s.wg.Done()
	case j.c.tunnels():
		// The stack of a goroutine that served requests is large, and a tunnel
		// lasts long: it has goroutines of its own.
		j.c.pass(func() { s.end(j) })
	default:
		s.end(j)
	}
	return s.wait()
}

// contain calls f for a connection, and tells whether it returned. Where it
// panics, that is a mistake here which costs this connection and no other.
func (s *Server) contain(c interface{ cut() }, f func()) (returned bool) {
	defer func() {
		if r := recover(); r != nil {
			s.log.Error("serving a connection failed", "error", r, "stack", string(debug.Stack()))
			c.cut()
		}
	}()
	f()
	return true
}

// served is a connection that a Server serves.
type served interface {
	// requests serves requests, until the last, which may open a tunnel.
	requests()
	tunnels() bool
	// pass serves the tunnel. It returns at once, and calls after at its end.
	pass(after func())
	// finish ends the connection.
	finish()
	// interruptIdle ends it once no request is under way. The caller has set
	// Server.closing.
	interruptIdle()
	// cut ends it at once.
	cut()
	// release comes last.
	release()
}

var (
	_ served = (*conn)(nil)
	_ served = (*secureConn)(nil)
)

// wait tells whether a worker is to wait.
func (s *Server) wait() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting >= keptWorkers || s.closing.Load() {
		return false
	}
	s.waiting++
	return true
}

// end ends a connection.
func (s *Server) end(j job) {
	defer s.wg.Done()
	j.c.finish()
	s.forget(j)
	j.c.release()
}

func (s *Server) forget(j job) {
	j.stats.Active.Add(-1)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, j.c)
}

// Shutdown lets the requests under way finish and ends all connections. When
// ctx ends first, they are cut. No connection is accepted any more.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	if !s.closing.Swap(true) {
		close(s.work)
	}
	for c := range s.conns {
		c.interruptIdle()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		s.workers.Wait()
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

func (s *Server) isClosing() bool { return s.closing.Load() }

// interrupted is isClosing for a connection that is not idle any more: when it
// is true, nobody interrupts the connection behind its back.
func (s *Server) interrupted() bool {
	if !s.closing.Load() {
		return false
	}
	s.mu.Lock() // Shutdown interrupts with it held
	defer s.mu.Unlock()
	return true
}

func peer(nc net.Conn) netip.AddrPort {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
