package l7

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"time"

	"roadstead.dev/internal/balancer/clientcert"
	"roadstead.dev/internal/plan/truststore"
)

// Clients tells how a listener has clients show certificates (mutual TLS). It
// never changes once it is in use.
type Clients struct {
	// Verify lets in those alone whose certificates Trust trusts. Without it
	// whatever a client shows, if anything, is passed on.
	Verify bool
	// Trust may be nil, when its trust store cannot be read: then nobody is let
	// in.
	Trust *truststore.Trust
	// IgnoreExpiry lets clients in whose certificates have run out.
	IgnoreExpiry bool
	// Advertise tells clients whom Trust trusts.
	Advertise bool
	// Names are what the fields are called that tell targets of certificates,
	// instead of their own names.
	Names map[ClientField]string

	names [fields]string
}

// ClientField is a header field that tells a target of a client's certificate.
type ClientField int

// The fields. The first is sent when certificates are passed on, the others
// when they are verified.
const (
	ClientCert ClientField = iota
	ClientCertSerialNumber
	ClientCertIssuer
	ClientCertSubject
	ClientCertValidity
	ClientCertLeaf
	fields
)

// The fields' own names.
var clientFields = [fields]string{
	"X-Amzn-Mtls-Clientcert", "X-Amzn-Mtls-Clientcert-Serial-Number", "X-Amzn-Mtls-Clientcert-Issuer",
	"X-Amzn-Mtls-Clientcert-Subject", "X-Amzn-Mtls-Clientcert-Validity", "X-Amzn-Mtls-Clientcert-Leaf",
}

// apply makes handshakes by cfg ask for certificates. Sessions are not resumed,
// as in AWS: each connection's certificate is looked at.
func (m *Clients) apply(cfg *tls.Config) {
	m.names = clientFields
	for f, name := range m.Names {
		m.names[f] = name
	}
	cfg.SessionTicketsDisabled = true
	if !m.Verify {
		cfg.ClientAuth = tls.RequestClientCert
		cfg.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error { return supported(raw) }
		return
	}
	cfg.ClientAuth = tls.RequireAnyClientCert
	if m.Advertise && m.Trust != nil {
		cfg.ClientCAs = m.Trust.Authorities()
	}
	cfg.VerifyConnection = func(st tls.ConnectionState) error {
		if m.Trust == nil {
			return truststore.Untrusted
		}
		return m.Trust.Verify(st.PeerCertificates, time.Now(), m.IgnoreExpiry)
	}
}

// supported refuses a client's certificate that targets are not told of.
func supported(raw [][]byte) error {
	if len(raw) == 0 {
		return nil
	}
	c, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return truststore.Invalid
	}
	if !truststore.Supported(c) {
		return truststore.TypeUnsupported
	}
	return nil
}

// owns tells whether a field that a client sends is not the client's to say.
func (m *Clients) owns(name []byte) bool {
	for i := range fields {
		if alike(clientFields[i], name) || alike(m.names[i], name) {
			return true
		}
	}
	return false
}

// alike tells whether programs that get fields as variables of their
// environment take one name for the other: they know neither case nor hyphens.
func alike(own string, name []byte) bool {
	if len(own) != len(name) {
		return false
	}
	for i, x := range name {
		if x == '_' {
			x = '-'
		}
		y := own[i]
		if y == '_' {
			y = '-'
		}
		if x != y && (x|0x20 != y|0x20 || y|0x20 < 'a' || y|0x20 > 'z') {
			return false
		}
	}
	return true
}

// clients is how the listener has clients show certificates; nil when it does
// not.
func (t *Table) clients() *Clients {
	if t.TLS == nil {
		return nil
	}
	return t.TLS.Clients
}

// identity is who opened a connection, by the certificates that were shown.
type identity struct {
	chain []*x509.Certificate
	// verified tells that they were, when the connection began.
	verified bool
	// told is what targets are told.
	told atomic.Pointer[told]
}

// told is header fields, written for one configuration.
type told struct {
	by   *Clients
	text []byte
}

// showed is who opened a connection whose handshake is done on terms, nil
// when none was asked for.
func showed(st *tls.ConnectionState, terms *TLS) *identity {
	if terms == nil || terms.Clients == nil {
		return nil
	}
	return &identity{chain: st.PeerCertificates, verified: terms.Clients.Verify}
}

// fields tells a target of the client. They are written once for a
// configuration: most connections see no more than one. A connection that began
// before certificates were verified says nothing that a target would take for
// verified.
func (x *identity) fields(m *Clients) []byte {
	if t := x.told.Load(); t != nil && t.by == m {
		return t.text
	}
	t := &told{by: m}
	add := func(f ClientField, value string) {
		t.text = appendField(t.text, []byte(m.names[f]), []byte(value))
	}
	switch own := x.chain[0]; {
	case !m.Verify:
		add(ClientCert, clientcert.PEM(x.chain...))
	case x.verified:
		add(ClientCertSerialNumber, clientcert.Serial(own))
		add(ClientCertIssuer, clientcert.Name(own.RawIssuer))
		add(ClientCertSubject, clientcert.Name(own.RawSubject))
		add(ClientCertValidity, clientcert.Validity(own))
		add(ClientCertLeaf, clientcert.PEM(own))
	}
	x.told.Store(t)
	return t.text
}
