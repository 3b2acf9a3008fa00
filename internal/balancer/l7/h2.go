package l7

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"roadstead.dev/internal/balancer/h1"
)

// maxStreams is how many requests a client may have under way on a connection.
const maxStreams = 128

// multiplexed is a client's connection that speaks HTTP/2. Each of its streams
// is to the engine a connection of its own with one HTTP/1.1 request, so that
// the same rules, limits and refusals hold.
type multiplexed struct {
	s     *Server
	c     *tls.Conn
	tls   *Session
	since time.Time
	http  *http.Server

	mu      sync.Mutex
	ended   bool
	streams sync.WaitGroup
}

func newMultiplexed(s *Server, c *tls.Conn, session *Session) *multiplexed {
	return &multiplexed{
		s: s, c: c, tls: session, since: time.Now(),
		http: &http.Server{MaxHeaderBytes: h1.MaxHead, ErrorLog: log.New(io.Discard, "", 0)}, //nolint:gosec // it serves no sockets: HTTP/2's own timeouts count
	}
}

func (m *multiplexed) serve() {
	timeout := m.s.table.Load().Settings.IdleTimeout
	// http.Server has no way to serve a connection whose handshake is done.
	front := &http2.Server{ //nolint:staticcheck // see above
		MaxConcurrentStreams: maxStreams, IdleTimeout: timeout, WriteByteTimeout: timeout, PermitProhibitedCipherSuites: true, //nolint:staticcheck // see above
	}
	if err := http2.ConfigureServer(m.http, front); err == nil { //nolint:staticcheck // see above
		if m.s.isClosing() {
			m.interruptIdle()
		}
		front.ServeConn(m.c, &http2.ServeConnOpts{BaseConfig: m.http, Handler: http.HandlerFunc(m.stream)}) //nolint:staticcheck // see above
	}
	m.mu.Lock()
	m.ended = true
	m.mu.Unlock()
	m.streams.Wait()
	_ = m.c.Close()
}

// interruptIdle tells the client to open no more streams.
func (m *multiplexed) interruptIdle() { _ = m.http.Shutdown(context.Background()) }

func (m *multiplexed) cut() { _ = m.c.NetConn().Close() }

func (*multiplexed) release() {}

func (m *multiplexed) begin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.ended {
		m.streams.Add(1)
	}
	return !m.ended
}

// stream serves one request.
func (m *multiplexed) stream(w http.ResponseWriter, r *http.Request) {
	if !m.begin() {
		return
	}
	defer m.streams.Done()
	st := newStream(m.c, w, r)
	c := newConn(m.s, st)
	c.session, c.trace, c.h2 = m.tls, m.tls.trace, true
	c.r.buf = st.appendHead(c.r.buf[:0])
	c.r.w = len(c.r.buf)
	c.r.buf = c.r.buf[:cap(c.r.buf)]
	if time.Since(m.since) >= c.settings().KeepAlive {
		// The server takes this as the wish to end the connection, once the
		// streams that it has are done.
		w.Header().Set("Connection", "close")
	}
	cut := make(chan struct{})
	stop := context.AfterFunc(r.Context(), func() {
		defer close(cut)
		c.cut()
	})
	c.request()
	if !stop() {
		<-cut
	}
	c.release()
	if !st.complete() {
		panic(http.ErrAbortHandler) // resets the stream
	}
}
