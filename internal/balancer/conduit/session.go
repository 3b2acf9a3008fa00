package conduit

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"time"
)

// SessionLog is told of the connections of TLS listeners when they have ended.
// It must not block.
type SessionLog interface{ Secured(*Session) }

// Session is what is logged of a connection. Methods of nil log nothing.
type Session struct {
	// Listener is its id.
	Listener       string
	Created, Ended time.Time
	// Client connected to Destination.
	Client, Destination netip.AddrPort
	// Handshake is how long it took, negative when it failed.
	Handshake time.Duration
	// Received and Sent count what was encrypted, decrypted.
	Received, Sent int64
	// Alert is what the client sent, negative for none.
	Alert          int
	CertificateARN string
	// Version and Suite are 0 when they were not agreed on.
	Version, Suite uint16
	ServerName     string
	// Front and Back are the protocols agreed on with the client and with the
	// target, Asked those that the client knows. They are empty where the
	// listener negotiates none.
	Front, Back string
	Asked       []string
}

// session begins a connection's session, if it is to be logged.
func (t *Table) session(nc net.Conn) *Session {
	if t.Sessions == nil {
		return nil
	}
	return &Session{
		Listener: t.Listener, Created: time.Now(), Client: addrPort(nc.RemoteAddr()), Destination: addrPort(nc.LocalAddr()), Handshake: -1, Alert: -1,
	}
}

// log hands it over.
func (r *Session) log(to SessionLog) {
	if r != nil {
		r.Ended = time.Now()
		to.Secured(r)
	}
}

type sessionKey struct{}

// context is what the handshake runs in, so that the session learns of it.
func (r *Session) context(ctx context.Context) context.Context {
	if r == nil {
		return ctx
	}
	return context.WithValue(ctx, sessionKey{}, r)
}

func sessionFrom(hello *tls.ClientHelloInfo) *Session {
	r, _ := hello.Context().Value(sessionKey{}).(*Session)
	return r
}

// greeted takes over what the client wants.
func (r *Session) greeted(hello *tls.ClientHelloInfo, t *TLS) {
	if r == nil {
		return
	}
	r.ServerName = hello.ServerName
	if len(t.Protocols) > 0 {
		r.Asked = slices.Clone(hello.SupportedProtos)
	}
}

// settle takes over what the handshake came to, and gives what the client is
// to be spoken to over.
func (r *Session) settle(c *tls.Conn, err error) net.Conn {
	if r == nil {
		return c
	}
	r.heed(err)
	if err == nil {
		st := c.ConnectionState()
		r.Handshake, r.Version, r.Suite, r.Front = time.Since(r.Created), st.Version, st.CipherSuite, st.NegotiatedProtocol
	}
	return &recorded{c, r}
}

// heed notes an alert of the client's.
func (r *Session) heed(err error) {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" {
		return
	}
	// What is in it is an alert's number, of a type that is not exported.
	if v := reflect.ValueOf(op.Err); v.Kind() == reflect.Uint8 {
		r.Alert = int(v.Uint())
	}
}

// connected notes how the target is spoken to.
func (r *Session) connected(back net.Conn) {
	if tc, ok := back.(*tls.Conn); ok && r != nil {
		r.Back = tc.ConnectionState().NegotiatedProtocol
	}
}

// recorded counts what goes through a client's connection. Each direction is
// used by one goroutine.
type recorded struct {
	*tls.Conn
	r *Session
}

func (c *recorded) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.r.Received += int64(n)
	if err != nil {
		c.r.heed(err)
	}
	return n, err
}

func (c *recorded) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.r.Sent += int64(n)
	return n, err
}
