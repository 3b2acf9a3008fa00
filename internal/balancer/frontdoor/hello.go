package frontdoor

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
)

// handshakeRecord is the first byte that a client sends which speaks TLS.
const handshakeRecord = 22

// errPeeked ends a handshake once its first message was read.
var errPeeked = errors.New("the name is known")

// peekHello reads a TLS client's first message, of which buf has been read
// already. It returns all that it read, and the name that the client asks for,
// "" when it names none. Nothing is sent.
func peekHello(ctx context.Context, c net.Conn, buf []byte) (read []byte, name string, err error) {
	p := &peeker{Conn: c, pending: buf, read: buf}
	err = tls.Server(p, &tls.Config{
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			name = h.ServerName
			return nil, errPeeked
		},
	}).HandshakeContext(ctx)
	if errors.Is(err, errPeeked) {
		err = nil
	}
	return p.read, name, err
}

// peeker remembers what is read and sends nothing.
type peeker struct {
	net.Conn
	pending, read []byte
}

func (p *peeker) Read(b []byte) (int, error) {
	if len(p.pending) > 0 {
		n := copy(b, p.pending)
		p.pending = p.pending[n:]
		return n, nil
	}
	n, err := p.Conn.Read(b)
	p.read = append(p.read, b[:n]...)
	return n, err
}

func (*peeker) Write(b []byte) (int, error) { return len(b), nil }
