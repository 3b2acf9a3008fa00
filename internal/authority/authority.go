// Package authority is a certificate authority of one data folder. It signs
// certificates, on demand, for the names by which this machine's clients reach
// the endpoint, and its own certificate's name constraints keep it from any
// other: who trusts it trusts it for localhost, not for the internet.
package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"sync"

	"roadstead.dev/internal/clock"
)

// Config of an Authority.
type Config struct {
	// Dir holds the key and the certificate. It is made when they are.
	Dir string
	// Hosts are names and IP addresses, beyond those of loopback, that the
	// endpoint has.
	Hosts []string
	// Unconstrained makes an authority without name constraints, for what only
	// those take who trust it on purpose. It has its folder to itself.
	Unconstrained bool
	Clock         clock.Clock
}

// Authority signs. It reads or makes its key when it is first asked for
// something. Safe for concurrent use, by several processes too.
type Authority struct {
	cfg Config

	mu     sync.Mutex
	root   *root
	key    *ecdsa.PrivateKey // of all leaves; a process's own
	leaves map[string]*leaf
}

// New makes an Authority and touches nothing.
func New(cfg Config) *Authority {
	if cfg.Clock == nil {
		cfg.Clock = clock.System{}
	}
	return &Authority{cfg: cfg, leaves: map[string]*leaf{}}
}

// PEM is the authority's certificate, for clients to trust. It is made where
// there is none.
func (a *Authority) PEM() ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, err := a.load()
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: r.cert.Raw}), nil
}

// Certificate is the authority's own.
func (a *Authority) Certificate() (*x509.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, err := a.load()
	if err != nil {
		return nil, err
	}
	return r.cert, nil
}

// GetCertificate answers a TLS client: with a certificate for the name that it
// asks for, where the authority may sign that, else with one for the address
// that it has connected to.
func (a *Authority) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, err := a.load()
	if err != nil {
		return nil, err
	}
	id := hostName(hello.ServerName)
	if id == "" || !permitsName(r.cert, id) {
		id = localAddr(hello.Conn)
	}
	now := a.cfg.Clock.Now()
	if l := a.leaves[id]; l != nil && now.Before(l.renew) {
		return l.cert, nil
	}
	l, err := a.issue(r, id, now)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate for %q: %w", id, err)
	}
	if len(a.leaves) >= maxLeaves {
		clear(a.leaves)
	}
	a.leaves[id] = l
	return l.cert, nil
}

// load is called with mu held.
func (a *Authority) load() (*root, error) {
	now := a.cfg.Clock.Now()
	if a.root != nil && a.root.good(now) {
		return a.root, nil
	}
	if a.key == nil {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		a.key = key
	}
	r, err := openRoot(a.cfg, now)
	if err != nil {
		return nil, fmt.Errorf("the local certificate authority: %w", err)
	}
	a.root = r
	clear(a.leaves)
	return r, nil
}
