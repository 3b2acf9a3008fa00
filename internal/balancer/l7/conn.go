package l7

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"roadstead.dev/internal/balancer/h1"
)

const (
	// lingerTime and lingerBytes bound how long a connection is read from
	// after its last answer, so that the answer is not lost to a reset.
	lingerTime  = 2 * time.Second
	lingerBytes = 1 << 20
	// pumpGrace is how long a request's body may still be on its way once
	// its response is complete.
	pumpGrace  = 100 * time.Millisecond
	lastChance = 200 * time.Millisecond
	// maxForwarded is how many addresses X-Forwarded-For may list; a request
	// that has more is answered with a status of ELB's own.
	maxForwarded            = 30
	statusForwardedTooOften = 463
)

// conn is a client's connection. One goroutine serves it, but for the body of
// a request that does not come with its head: that is sent by a pump, which
// owns the reader while it runs.
type conn struct {
	s *Server
	c net.Conn
	*workspace
	wdl deadline

	// stats are those of the node that the client came to, and node is its
	// index.
	stats *Stats
	node  int
	// rec is what is logged of the current request; nil when nothing is.
	rec *Record
	// session is nil on connections without TLS, trace empty until something
	// is logged.
	session *Session
	trace   string
	h2      bool

	peer     netip.AddrPort
	peerText string // the address, as in X-Forwarded-For
	since    time.Time

	table *Table // of the current request
	// isHead and keep belong to the current request: its method is HEAD, and
	// the client may send another one on this connection.
	isHead, keep bool
	minor        byte // the current request's version
	// received and sent count the current request's bytes.
	received, sent int64
	// lone is set when no other request may follow on the current one's
	// connections, rehosted when its host is not the client's.
	lone, rehosted bool

	idle atomic.Bool // no request is under way
	cutC atomic.Bool
	// abandon ends a guard's decision that is under way.
	abandon atomic.Pointer[context.CancelFunc]
	up      atomic.Pointer[upstream] // serving the current request
	// through is the target's end of the tunnel that the last request opened.
	through *upstream
}

// workspace is what a connection needs only while it serves requests.
type workspace struct {
	r    reader
	out  []byte // scratch for what is written
	req  h1.Request
	resp h1.Response
	// extra are header lines that the client gets beside the answer's own.
	extra []byte
}

var (
	conns      = sync.Pool{New: func() any { return new(conn) }}
	workspaces = sync.Pool{New: func() any { return new(workspace) }}
)

func newConn(s *Server, nc net.Conn) *conn {
	c := conns.Get().(*conn) //nolint:forcetypeassert // the pool holds nothing else
	c.s, c.c, c.wdl = s, nc, deadline{}
	if c.workspace == nil {
		c.workspace = workspaces.Get().(*workspace) //nolint:forcetypeassert // likewise
	}
	c.r.reset(nc)
	c.peer, c.since = peer(nc), time.Now()
	c.peerText = c.peer.Addr().String()
	c.table = s.table.Load()
	c.node, c.stats = c.table.at(nc, s.stats)
	c.idle.Store(true)
	c.cutC.Store(false)
	c.up.Store(nil)
	return c
}

// release makes the connection's memory available to others.
func (c *conn) release() {
	c.s, c.c, c.table = nil, nil, nil
	c.rec, c.session, c.trace, c.h2 = nil, nil, "", false
	if c.workspace != nil {
		c.tidy()
	}
	conns.Put(c)
}

// tidy makes the workspace fit for another connection.
func (w *workspace) tidy() {
	w.r.c = nil
	if cap(w.out) > largeBuffer {
		w.out = nil
	}
}

// interruptIdle ends the connection when it waits for a request and none comes
// at once. The caller has set Server.closing, so that a request under way is the
// last.
func (c *conn) interruptIdle() {
	if c.idle.Load() {
		_ = c.c.SetReadDeadline(time.Now().Add(c.s.lastChance))
	}
}

// cut ends the connection at once, whatever is under way.
func (c *conn) cut() {
	c.cutC.Store(true)
	_ = c.c.Close()
	if cancel := c.abandon.Load(); cancel != nil {
		(*cancel)()
	}
	// Swapped, since who takes it may end it: a connection that went back to
	// its pool is not this one's any more.
	if u := c.up.Swap(nil); u != nil {
		_ = u.c.Close()
	}
}

func (c *conn) settings() *Settings { return &c.table.Settings }

// finish does what comes last.
func (c *conn) finish() { _ = c.c.Close() }

// tunnels tells whether the last request opened a tunnel.
func (c *conn) tunnels() bool { return c.through != nil }

// requests handles request after request until the last, which may have opened
// a tunnel.
func (c *conn) requests() {
	c.noteConnection()
	for c.request() {
	}
	if c.through != nil {
		c.spare()
	}
}

// request reads and answers one request. It tells whether another may follow.
func (c *conn) request() bool {
	c.lone, c.rehosted, c.extra = false, false, c.extra[:0]
	n, ok := c.readHead()
	if !ok {
		c.logged()
		return false
	}
	c.idle.Store(false)
	if c.s.interrupted() {
		c.r.dl = deadline{} // it was not set here
	}
	c.table = c.s.table.Load()
	c.isHead, c.keep, c.minor = false, false, 1
	if c.table.Access != nil {
		c.note(n)
	}
	if err := c.req.Parse(c.r.buffered()[:n]); err != nil {
		defer c.logged()
		return c.refuse(err)
	}
	if c.rec != nil {
		c.noteRequest()
	}
	// The head stays in place in the buffer, behind r, until the pump or the
	// next request fills it anew.
	c.r.r += n
	c.stats.BytesIn.Add(int64(n))
	c.received, c.sent = int64(n), 0
	c.minor = c.req.Minor
	c.isHead = string(c.req.Method) == "HEAD"
	if !c.mitigate(c.r.buf[c.r.r-n : c.r.r]) {
		defer c.logged()
		return c.refuse(h1.ErrMalformed)
	}
	c.keep = !c.lone && c.req.KeepsAlive() && time.Since(c.since) < c.settings().KeepAlive && !c.s.isClosing()
	again := c.dispatch()
	if c.through != nil {
		return false
	}
	if c.rec != nil {
		c.logged()
	}
	if c.r.r == c.r.w {
		c.r.r, c.r.w = 0, 0
	}
	c.idle.Store(true)
	// A client that announced its last request has nothing more to say.
	said := !c.req.KeepsAlive() && !c.req.HasBody() && len(c.r.buffered()) == 0
	if !again && !said && !c.cutC.Load() {
		c.linger()
	}
	return again
}

// readHead waits for a request. An idle connection may wait for as long as the
// idle timeout; once a request has begun, its head must be complete within
// another one, however slowly its bytes come.
func (c *conn) readHead() (int, bool) {
	timeout := c.s.table.Load().Settings.IdleTimeout
	if s, ok := c.c.(*socket); ok && c.r.dl == (deadline{}) {
		// The first request often comes with the connection, and needs no
		// deadline then.
		c.r.w += s.readNow(c.r.buf[c.r.w:])
	}
	for {
		// Empty lines before a request are a habit of old clients.
		b := c.r.buffered()
		if len(b) > 0 && (b[0] == '\r' || b[0] == '\n') {
			c.r.consume(1)
			continue
		}
		if len(b) > 0 {
			break
		}
		c.r.dl.extend(c.c.SetReadDeadline, timeout)
		if c.s.isClosing() {
			_ = c.r.dl.set(c.c.SetReadDeadline, c.s.lastChance)
		}
		if err := c.r.fill(); err != nil {
			return 0, false
		}
	}
	began := false
	n, err := c.r.head(func() error {
		if !began {
			began = true
			c.idle.Store(false)
			c.s.interrupted() // the deadline that follows is the last to be set
			return c.r.dl.set(c.c.SetReadDeadline, timeout)
		}
		return nil
	})
	switch {
	case err == nil:
		return n, true
	case errors.Is(err, errHeadTooLarge):
		c.idle.Store(false)
		c.isHead = false
		c.note(len(c.r.buffered()))
		return 0, c.refuse(err)
	case isTimeout(err):
		c.isHead = false
		c.note(len(c.r.buffered()))
		return 0, c.fail(408, false)
	default:
		return 0, false
	}
}

// refuse answers a request that cannot be understood, and ends the
// connection: where the next request begins is not known.
func (c *conn) refuse(err error) bool {
	c.stats.Rejected.Add(1)
	if c.rec != nil {
		c.rec.classify(err)
	}
	switch {
	case errors.Is(err, h1.ErrURITooLong):
		c.fail(414, false)
	case errors.Is(err, h1.ErrVersion):
		c.fail(505, false)
	case errors.Is(err, h1.ErrCoding):
		c.fail(501, false)
	default:
		c.fail(400, false)
	}
	c.linger()
	return false
}

// dispatch does what the rules say.
func (c *conn) dispatch() bool {
	classic := c.settings().Classic
	switch string(c.req.Method) {
	case "TRACE":
		if !classic {
			return c.fail(405, false)
		}
	case "CONNECT":
		return c.fail(400, false)
	}
	if classic && len(c.req.Method) > maxClassicMethod {
		return c.fail(405, false)
	}
	if c.req.Forwarded > maxForwarded && !classic {
		return c.fail(statusForwardedTooOften, c.skipBody())
	}
	if c.table.Callback != nil && string(c.req.Path()) == callbackPath {
		return c.turnAway(c.ask(c.table.Callback))
	}
	a := c.table.action(&c.req, c.peer.Addr())
	if a == nil {
		return c.fail(503, c.skipBody())
	}
	if a.evaluated > 0 {
		c.stats.evaluated(a.evaluated)
	}
	if c.rec != nil {
		c.rec.Matched, c.rec.Priority = true, a.Priority
	}
	if len(a.Guards) > 0 || c.table.Callback != nil {
		// Nobody but the load balancer tells who the user is.
		c.req.Drop(tellsIdentity)
	}
	if len(a.Guards) > 0 {
		if admitted, again := c.admit(a.Guards); !admitted {
			return again
		}
	}
	switch {
	case a.Fixed != nil:
		return c.fixed(a.Fixed)
	case a.Redirect != nil:
		return c.redirect(a.Redirect)
	}
	if a.Rewrites != nil && !c.rewrite(a.Rewrites) {
		return c.fail(500, c.skipBody())
	}
	if c.settings().TLSVersionField != "" {
		c.tellTLS()
	}
	return c.forward(a.Forward)
}

// skipBody drops the body of a request that is answered without it. It tells
// whether the connection can go on, which it cannot when the body is still to
// come.
func (c *conn) skipBody() bool {
	if !c.req.HasBody() {
		return c.keep
	}
	if c.req.Chunked || c.req.Length > int64(len(c.r.buffered())) {
		return false
	}
	c.took(c.req.Length)
	return c.keep
}

// write sends b to the client.
func (c *conn) write(b []byte) error {
	// A deadline is set only for what has to wait.
	n, err := 0, error(nil)
	if s, ok := c.c.(*socket); ok {
		n, err = s.writeNow(b)
	}
	if n < len(b) && err == nil {
		c.wdl.extend(c.c.SetWriteDeadline, c.settings().IdleTimeout)
		var m int
		m, err = c.c.Write(b[n:])
		n += m
	}
	c.stats.BytesOut.Add(int64(n))
	c.sent += int64(n)
	return err
}

// linger lets the client read the last answer before the connection ends: a
// connection that is closed with unread data is reset, and the answer lost.
func (c *conn) linger() {
	half, ok := c.c.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.c.SetReadDeadline(time.Now().Add(lingerTime))
	buf := c.r.buf
	for total := 0; total < lingerBytes; {
		n, err := c.c.Read(buf)
		total += n
		if err != nil {
			return
		}
	}
}

// clientText is the client as X-Forwarded-For names it.
func (c *conn) clientText(b []byte) []byte {
	if !c.settings().XFFClientPort {
		return append(b, c.peerText...)
	}
	if c.peer.Addr().Is6() {
		b = append(append(append(b, '['), c.peerText...), ']')
	} else {
		b = append(b, c.peerText...)
	}
	b = append(b, ':')
	return strconv.AppendUint(b, uint64(c.peer.Port()), 10)
}
