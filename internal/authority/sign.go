package authority

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// maxCommonName is X.509's bound on a common name.
const maxCommonName = 64

// Signed is a certificate that was signed on request, in PEM.
type Signed struct {
	Leaf, Chain         string
	NotBefore, NotAfter time.Time
}

// Permits tells whether the authority may sign for all of the names, which may
// begin with "*.".
func (a *Authority) Permits(names ...string) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, err := a.load()
	if err != nil {
		return false, err
	}
	return a.permits(r, names), nil
}

func (a *Authority) permits(r *root, names []string) bool {
	for _, n := range names {
		h := hostName(strings.TrimPrefix(n, "*."))
		if h == "" || !a.cfg.Unconstrained && !permitsName(r.cert, h) {
			return false
		}
	}
	return true
}

// Sign makes a server's certificate for another one's key and names. It lasts
// for life, as far as the authority itself does.
func (a *Authority) Sign(public crypto.PublicKey, names []string, life time.Duration) (*Signed, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, err := a.load()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 || !a.permits(r, names) {
		return nil, fmt.Errorf("%w for %s", errForeign, strings.Join(names, ", "))
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := a.cfg.Clock.Now()
	t := &x509.Certificate{
		SerialNumber: serial,
		DNSNames:     names,
		NotBefore:    now.Add(-backdate).Truncate(time.Second),
		NotAfter:     now.Add(life).Truncate(time.Second),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if t.NotAfter.After(r.cert.NotAfter) {
		t.NotAfter = r.cert.NotAfter
	}
	if _, ok := public.(*rsa.PublicKey); ok {
		t.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	if len(names[0]) <= maxCommonName {
		t.Subject = pkix.Name{CommonName: names[0]}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, r.cert, public, r.key)
	if err != nil {
		return nil, err
	}
	return &Signed{
		Leaf:      string(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})),
		Chain:     string(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: r.cert.Raw})),
		NotBefore: t.NotBefore, NotAfter: t.NotAfter,
	}, nil
}

var errForeign = errors.New("the authority does not sign")

// Pair signs by Local what Local may sign for, all else by Other.
type Pair struct{ Local, Other *Authority }

// Sign is Authority.Sign by one of the two.
func (p Pair) Sign(public crypto.PublicKey, names []string, life time.Duration) (*Signed, error) {
	ok, err := p.Local.Permits(names...)
	switch {
	case err != nil:
		return nil, err
	case ok:
		return p.Local.Sign(public, names, life)
	}
	return p.Other.Sign(public, names, life)
}
