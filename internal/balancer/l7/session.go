package l7

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"time"
)

// Session is what is logged of a connection that speaks TLS.
type Session struct {
	// Version and Suite are 0 until they were agreed on.
	Version, Suite uint16
	// ServerName is what the client asked for, when a certificate is for it.
	ServerName string
	// CertificateARN is that of the certificate that the client was shown;
	// empty when the session was resumed.
	CertificateARN string
	Resumed        bool
	// Curve of the key exchange, 0 when there was none.
	Curve tls.CurveID
	// Handshake is how long it took.
	Handshake time.Duration
	// Client is the certificate that the client showed.
	Client *x509.Certificate
	// Failed tells why there is no session, in the words of connection logs.
	Failed string

	shown *tls.Certificate
	trace string
	// terms are what the handshake went by, and identity who the client is by
	// the certificates that it showed on them, nil when it showed none.
	terms    *TLS
	identity *identity
}

type sessionKey struct{}

// context is what the handshake runs in, so that choose knows the session.
func (s *Session) context() context.Context {
	return context.WithValue(context.Background(), sessionKey{}, s)
}

// choose is Certificates.Choose, which remembers the choice.
func (t *TLS) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, err := t.Certificates.Choose(hello)
	if s, ok := hello.Context().Value(sessionKey{}).(*Session); ok && c != nil {
		s.shown = c
		s.CertificateARN = t.Names[c.Leaf]
	}
	return c, err
}

// connectionReason is implemented by errors that have a name in connection
// logs, such as ClientCertUntrusted.
type connectionReason interface {
	error
	ConnectionLogReason() string
}

// settle takes over what the handshake came to.
func (s *Session) settle(c *tls.Conn, took time.Duration, err error) {
	s.Handshake = took
	st := c.ConnectionState()
	if len(st.PeerCertificates) > 0 {
		s.Client = st.PeerCertificates[0]
		s.identity = showed(&st, s.terms)
	}
	if err != nil {
		s.Failed = "UnmappedConnectionError"
		if r, ok := errors.AsType[connectionReason](err); ok {
			s.Failed = r.ConnectionLogReason()
		}
		return
	}
	s.Version, s.Suite, s.Curve, s.Resumed = st.Version, st.CipherSuite, st.CurveID, st.DidResume
	if s.Resumed {
		s.CertificateARN = ""
	}
	if s.shown != nil && s.shown.Leaf != nil && s.shown.Leaf.VerifyHostname(st.ServerName) == nil {
		s.ServerName = st.ServerName
	}
	s.shown = nil
}

// Connection is what a connection log tells of a connection. It is valid
// during the call that it is handed over with.
type Connection struct {
	At     time.Time
	Node   netip.Addr
	Client netip.AddrPort
	// Port of the listener.
	Port int32
	// Session is nil where no TLS is spoken.
	Session *Session
	// Trace is the connection's id, which entries of the access log have too.
	Trace string
}

// ConnectionLog is told of connections once they are established, or could not
// be. It must not block.
type ConnectionLog interface{ Connection(*Connection) }

// noteConnection logs a connection without TLS.
func (c *conn) noteConnection() {
	log := c.table.Connects
	if log == nil || c.session != nil {
		return
	}
	c.trace = newTrace()
	log.Connection(&Connection{At: c.since, Node: local(c.c), Client: c.peer, Port: c.settings().Port, Trace: c.trace})
}

// noteHandshake names a connection that speaks TLS, or should, and logs it.
func (s *Server) noteHandshake(nc net.Conn, session *Session) {
	t := s.table.Load()
	if t.Connects == nil && t.Access == nil {
		return
	}
	session.trace = newTrace()
	if t.Connects == nil {
		return
	}
	t.Connects.Connection(&Connection{
		At: time.Now(), Node: local(nc), Client: peer(nc), Port: t.Settings.Port, Session: session, Trace: session.trace,
	})
}

func local(nc net.Conn) netip.Addr {
	if a, ok := nc.LocalAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
