// Package edge is the endpoint's server: HTTP/1.1, HTTP/2 and TLS on one port,
// told apart by the first bytes, with bounds on connections and on the
// patience with each. What it serves is a handler's affair.
package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"roadstead.dev/internal/accept"
)

// Config of a Server. Handler is required.
type Config struct {
	Handler http.Handler
	// Certificate answers TLS clients. Without it there is no TLS.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// HTTP1Only tells the server names whose clients are not offered HTTP/2,
	// since the handler takes their connections over.
	HTTP1Only func(serverName string) bool
	// Conns bounds connections; several servers may share one. Nil means one
	// of MaxConns.
	Conns *Conns
	Log   *slog.Logger

	// HeadTimeout is how long a client may take to begin, to shake hands and to
	// send a request's head; default 10 seconds.
	HeadTimeout time.Duration
	// IdleTimeout is how long a connection may wait for its next request;
	// default two minutes.
	IdleTimeout time.Duration
	// StallTimeout is how long an answer may wait for a client that does not
	// read it; default a minute. Bodies of requests are the handler's affair.
	StallTimeout time.Duration
}

const (
	defaultHeadTimeout  = 10 * time.Second
	defaultIdleTimeout  = 2 * time.Minute
	defaultStallTimeout = time.Minute

	// maxHead bounds a request's line and headers. Signatures with session
	// tokens and presigned queries take a few kilobytes.
	maxHead = 64 << 10
	// maxStreams bounds the requests that a connection has at once.
	maxStreams = 100
	// What a connection and a stream may send ahead of the handler.
	connWindow   = 512 << 10
	streamWindow = 256 << 10
)

// tlsRecord begins a TLS connection: the record type of a handshake. No HTTP
// request begins with it.
const tlsRecord = 0x16

// Server serves any number of listeners. Safe for concurrent use.
type Server struct {
	cfg  Config
	http *http.Server
	tls  *tls.Config

	// accepting ends when no more connections are to be accepted.
	accepting context.Context
	leave     context.CancelFunc
	serving   sync.WaitGroup // of calls of Serve

	mu       sync.Mutex
	sniffing map[*conn]struct{}
	closed   bool
	cut      bool
	wg       sync.WaitGroup // of goroutines that wait for first bytes
}

// New makes a Server.
func New(cfg Config) *Server {
	if cfg.Conns == nil {
		cfg.Conns = NewConns(MaxConns())
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	for _, d := range []struct {
		to       *time.Duration
		standard time.Duration
	}{{&cfg.HeadTimeout, defaultHeadTimeout}, {&cfg.IdleTimeout, defaultIdleTimeout}, {&cfg.StallTimeout, defaultStallTimeout}} {
		if *d.to == 0 {
			*d.to = d.standard
		}
	}
	s := &Server{cfg: cfg, sniffing: map[*conn]struct{}{}}
	s.accepting, s.leave = context.WithCancel(context.Background())
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler: streams(cfg.Handler, cfg.StallTimeout), Protocols: protocols,
		ReadHeaderTimeout: cfg.HeadTimeout, IdleTimeout: cfg.IdleTimeout, MaxHeaderBytes: maxHead,
		ConnState: s.state, ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: connWindow, MaxReceiveBufferPerStream: streamWindow,
			WriteByteTimeout: cfg.StallTimeout, SendPingTimeout: cfg.IdleTimeout / 2,
		},
	}
	s.tls = tlsConfig(&cfg)
	return s
}

func tlsConfig(cfg *Config) *tls.Config {
	if cfg.Certificate == nil {
		return nil
	}
	full := &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: cfg.Certificate,
	}
	if cfg.HTTP1Only != nil {
		plain := full.Clone()
		plain.NextProtos = []string{"http/1.1"}
		full.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if cfg.HTTP1Only(hello.ServerName) {
				return plain, nil
			}
			return nil, nil
		}
	}
	return full
}

// Serve serves the connections that l accepts until l is closed, and closes
// it. Shutdown and Close end it too, with http.ErrServerClosed.
func (s *Server) Serve(l net.Listener) error {
	if !s.begin() {
		_ = l.Close()
		return http.ErrServerClosed
	}
	defer s.serving.Done()
	ready := &listener{Listener: l, conns: make(chan net.Conn), done: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(ready) }()
	err := accept.Until(s.accepting, l, s.cfg.Log, func(c net.Conn) { s.take(c, ready) })
	if s.stopped() {
		s.wg.Wait() // what clients have said by now is heard
	}
	_ = ready.Close()
	herr := <-served
	if s.stopped() {
		return http.ErrServerClosed
	}
	if !errors.Is(herr, net.ErrClosed) {
		err = errors.Join(err, herr)
	}
	return err
}

func (s *Server) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.serving.Add(1)
	return true
}

func (s *Server) stopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// take has each connection told apart on its own, so that one that says nothing
// holds up no other.
func (s *Server) take(c net.Conn, l *listener) {
	in := &conn{Conn: c, stall: s.cfg.StallTimeout, conns: s.cfg.Conns}
	if !s.cfg.Conns.admit(in, s.accepting.Done()) {
		_ = c.Close()
		return
	}
	if !s.listenTo(in) {
		return
	}
	go func() {
		defer s.wg.Done()
		s.sniff(in, l)
	}()
}

// sniff waits for the first byte, by which the connection is TLS's or not, and
// hands it to the HTTP server.
func (s *Server) sniff(c *conn, l *listener) {
	defer s.end(c)
	if s.tls != nil {
		first, err := c.peek()
		if err != nil {
			_ = c.Close()
			return
		}
		if first == tlsRecord {
			l.hand(tls.Server(c, s.tls))
			return
		}
	}
	l.hand(c)
}

// lastWord is how long a connection may take to begin once the server stops.
const lastWord = 50 * time.Millisecond

// listenTo and end keep the connections that nobody else can close yet.
func (s *Server) listenTo(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		_ = c.Close()
		return false
	}
	patience := s.cfg.HeadTimeout
	if s.closed {
		patience = lastWord
	}
	if s.tls != nil {
		_ = c.Conn.SetReadDeadline(time.Now().Add(patience))
	}
	s.sniffing[c] = struct{}{}
	s.wg.Add(1)
	return true
}

func (s *Server) end(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sniffing, c)
}

// state follows what connections do, for the bound to know.
func (s *Server) state(c net.Conn, st http.ConnState) {
	in := inner(c)
	if in == nil {
		return
	}
	switch st {
	case http.StateActive:
		s.cfg.Conns.move(in, active)
	case http.StateIdle:
		s.cfg.Conns.move(in, idle)
	case http.StateHijacked:
		in.release()
	case http.StateClosed:
		s.cfg.Conns.leave(in)
	case http.StateNew:
	}
}

// inner is the accepted connection below TLS, or below what the standard
// library makes of HTTP/2 without it.
func inner(c net.Conn) *conn {
	for c != nil {
		switch v := c.(type) {
		case *conn:
			return v
		case interface{ NetConn() net.Conn }:
			c = v.NetConn()
		case interface{ UnencryptedNetConn() net.Conn }:
			c = v.UnencryptedNetConn()
		default:
			return nil
		}
	}
	return nil
}

// stop ends accepting, once what clients have opened and said by now is taken;
// cut takes nothing more.
func (s *Server) stop(cut bool) {
	s.mu.Lock()
	s.closed = true
	s.cut = s.cut || cut
	for c := range s.sniffing {
		if s.cut {
			_ = c.Close()
		} else {
			_ = c.Conn.SetReadDeadline(time.Now().Add(lastWord))
		}
	}
	s.mu.Unlock()
	s.leave()
	s.serving.Wait()
	s.wg.Wait()
}

// Shutdown lets the requests that have been sent be served, until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop(false)
	return s.http.Shutdown(ctx)
}

// Close cuts all connections but those that a handler has taken over.
func (s *Server) Close() error {
	s.stop(true)
	return s.http.Close()
}

// listener gives the HTTP server the connections that have spoken.
type listener struct {
	net.Listener
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) hand(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.done:
		_ = inner(c).Close()
	}
}

func (l *listener) Close() error {
	var err error
	l.once.Do(func() {
		close(l.done)
		err = l.Listener.Close()
	})
	return err
}
