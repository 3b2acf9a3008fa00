package conduit

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
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
	// Protocols are offered for negotiation (ALPN), the preferred one first;
	// nil negotiates none.
	Protocols []string
	// HandshakeTimeout bounds handshakes; 0 means 10 seconds.
	HandshakeTimeout time.Duration

	// with negotiates a protocol and without does not.
	with, without *tls.Config
}

func (t *TLS) prepare() {
	if t.HandshakeTimeout == 0 {
		t.HandshakeTimeout = 10 * time.Second
	}
	t.without = &tls.Config{GetCertificate: t.choose}
	t.Policy.Apply(t.without)
	t.with = t.without.Clone()
	t.with.NextProtos = t.Protocols
}

// choose is Certificates.Choose, which the connection's session learns of.
func (t *TLS) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, err := t.Certificates.Choose(hello)
	if r := sessionFrom(hello); r != nil && c != nil {
		r.CertificateARN = t.Names[c.Leaf]
	}
	return c, err
}

var errNoTLS = errors.New("listener does not speak TLS any more")

// config makes what lives as long as the listener: the keys of its session
// tickets. All else comes from the table of the moment. A client with whom no
// protocol can be agreed on gets a connection without any.
func (l *Listener) config() *tls.Config {
	return &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			t := l.table.Load().TLS
			if t == nil {
				return nil, errNoTLS
			}
			sessionFrom(hello).greeted(hello, t)
			for _, p := range t.Protocols {
				if slices.Contains(hello.SupportedProtos, p) {
					return t.Policy.For(hello, t.with)
				}
			}
			return t.Policy.For(hello, t.without)
		},
	}
}
