package l7

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync"
	"time"

	"roadstead.dev/internal/balancer/sni"
	"roadstead.dev/internal/plan/sslpolicy"
)

// TLS is how a listener speaks TLS.
type TLS struct {
	Policy       sslpolicy.Policy
	Certificates *sni.Set
	// Names are the ARNs of the certificates, by their leaves.
	Names map[*x509.Certificate]string
	// HTTP2 is offered to clients.
	HTTP2 bool
	// Clients tells how clients show certificates of theirs; nil when they are
	// not asked.
	Clients *Clients
	// HandshakeTimeout bounds handshakes; 0 means 10 seconds.
	HandshakeTimeout time.Duration

	config *tls.Config
}

func (t *TLS) prepare() {
	if t.HandshakeTimeout == 0 {
		t.HandshakeTimeout = 10 * time.Second
	}
	t.config = &tls.Config{GetCertificate: t.choose, NextProtos: []string{"http/1.1"}}
	if t.HTTP2 {
		t.config.NextProtos = []string{protocolH2, "http/1.1"}
	}
	t.Policy.Apply(t.config)
	if t.Clients != nil {
		t.Clients.apply(t.config)
	}
}

const protocolH2 = "h2"

var errNoTLS = errors.New("listener does not speak TLS any more")

// tlsConfig makes what lives as long as the server: the keys of its session
// tickets, so that sessions outlive changes of certificates. All else comes
// from the table of the moment.
func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			t := s.table.Load().TLS
			if t == nil {
				return nil, errNoTLS
			}
			if session, ok := hello.Context().Value(sessionKey{}).(*Session); ok {
				session.terms = t
			}
			return t.Policy.For(hello, t.config)
		},
	}
}

// secureConn is a connection that begins with a handshake.
type secureConn struct {
	s     *Server
	c     net.Conn
	stats *Stats

	mu sync.Mutex
	// inner serves the requests once the handshake is done.
	inner served
	ended bool
}

// requests shakes hands and serves requests, until the last.
func (x *secureConn) requests() {
	t := x.s.table.Load().TLS
	if t == nil {
		return
	}
	tc := tls.Server(x.c, x.s.tls)
	session := &Session{}
	ctx, cancel := context.WithTimeout(session.context(), t.HandshakeTimeout)
	began := time.Now()
	err := tc.HandshakeContext(ctx)
	cancel()
	session.settle(tc, time.Since(began), err)
	x.s.noteHandshake(x.c, session)
	if err != nil {
		x.stats.TLSErrors.Add(1)
		if he, ok := errors.AsType[tls.RecordHeaderError](err); ok && he.Conn != nil && isHTTP(he.RecordHeader) {
			refusePlain(he.Conn)
		}
		return
	}
	var inner served
	if tc.ConnectionState().NegotiatedProtocol == protocolH2 {
		inner = newMultiplexed(x.s, tc, session)
	} else {
		c := newConn(x.s, tc)
		c.session, c.trace = session, session.trace
		inner = c
	}
	x.mu.Lock()
	ended := x.ended
	x.inner = inner
	x.mu.Unlock()
	if !ended {
		inner.requests()
	}
}

func (x *secureConn) tunnels() bool { return x.inner != nil && x.inner.tunnels() }

func (x *secureConn) pass(after func()) { x.inner.pass(after) }

func (x *secureConn) finish() {
	x.mu.Lock()
	inner := x.inner
	x.inner = nil
	x.mu.Unlock()
	if inner != nil {
		inner.finish()
		inner.release()
	}
	_ = x.c.Close()
}

func (x *secureConn) interruptIdle() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.inner != nil {
		x.inner.interruptIdle()
		return
	}
	// The client sends its request as soon as the handshake is done.
	_ = x.c.SetReadDeadline(time.Now().Add(lastHandshake))
}

// lastHandshake is how long a handshake may still take once its connection is to
// end.
const lastHandshake = time.Second

func (x *secureConn) cut() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ended = true
	if x.inner != nil {
		x.inner.cut()
	}
	_ = x.c.Close()
}

func (*secureConn) release() {}

// isHTTP tells whether what should be a TLS record begins as a request does.
func isHTTP(b [5]byte) bool {
	for _, x := range b[:3] {
		if x < 'A' || x > 'Z' {
			return false
		}
	}
	return true
}

// refusePlain answers a client that speaks no TLS.
func refusePlain(c net.Conn) {
	const body = "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>\r\n<body>\r\n" +
		"<center><h1>400 Bad Request</h1></center>\r\n<center>The plain HTTP request was sent to HTTPS port</center>\r\n</body>\r\n</html>\r\n"
	_ = c.SetDeadline(time.Now().Add(lingerTime))
	_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\nServer: awselb/2.0\r\nContent-Type: text/html\r\nContent-Length: " +
		portText(int32(len(body))) + "\r\nConnection: close\r\n\r\n" + body))
	if half, ok := c.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		var rest [4 << 10]byte
		for {
			if _, err := c.Read(rest[:]); err != nil {
				return
			}
		}
	}
}
