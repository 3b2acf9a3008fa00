package truststore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"time"
)

// Trust is a trust store's content. It never changes, and is safe for
// concurrent use.
type Trust struct {
	authorities *x509.CertPool
	// lists are the revocation lists by their issuers' names.
	lists map[string][]*List
}

// New makes the trust in authorities, of which each is trusted by itself, with
// revocation lists.
func New(authorities []*x509.Certificate, lists []*List) *Trust {
	t := &Trust{authorities: x509.NewCertPool(), lists: map[string][]*List{}}
	for _, c := range authorities {
		t.authorities.AddCert(c)
	}
	for _, l := range lists {
		t.lists[l.issuer] = append(t.lists[l.issuer], l)
	}
	return t
}

// Authorities are those that are trusted. The pool must not be changed.
func (t *Trust) Authorities() *x509.CertPool { return t.authorities }

// Refusal tells why a certificate is not trusted, in the words of connection
// logs:
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-connection-logs.html
type Refusal string

// The reasons.
const (
	DepthExceeded   Refusal = "ClientCertMaxChainDepthExceeded"
	Revoked         Refusal = "ClientCertCrlHit"
	Untrusted       Refusal = "ClientCertUntrusted"
	NotYetValid     Refusal = "ClientCertNotYetValid"
	Expired         Refusal = "ClientCertExpired"
	TypeUnsupported Refusal = "ClientCertTypeUnsupported"
	Invalid         Refusal = "ClientCertInvalid"
	PurposeInvalid  Refusal = "ClientCertPurposeInvalid"
	Rejected        Refusal = "ClientCertRejected"
)

func (r Refusal) Error() string { return "client's certificate: " + string(r) }

// ConnectionLogReason is what connection logs call it.
func (r Refusal) ConnectionLogReason() string { return string(r) }

// Verify tells whether the certificates that a client presents, its own first,
// are trusted at a time. IgnoreExpiry takes a client's certificate that has run
// out for one that has not. The error is a Refusal.
func (t *Trust) Verify(presented []*x509.Certificate, now time.Time, ignoreExpiry bool) error {
	switch {
	case len(presented) == 0:
		return Rejected
	case len(presented) > MaxDepth:
		return DepthExceeded
	}
	for _, c := range presented {
		if !Supported(c) {
			return TypeUnsupported
		}
	}
	own := presented[0]
	if ignoreExpiry && now.After(own.NotAfter) {
		now = own.NotAfter
	}
	opts := x509.VerifyOptions{
		Roots: t.authorities, Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, c := range presented[1:] {
		opts.Intermediates.AddCert(c)
	}
	chains, err := own.Verify(opts)
	if err != nil {
		return refusal(err, now)
	}
	refused := DepthExceeded
	for _, chain := range chains {
		switch {
		case len(chain) > MaxDepth:
		case t.revoked(chain):
			refused = Revoked
		default:
			return nil
		}
	}
	return refused
}

// revoked tells whether a list revokes a certificate of a chain, the trusted
// one at its end aside.
func (t *Trust) revoked(chain []*x509.Certificate) bool {
	if len(t.lists) == 0 {
		return false
	}
	for i := range max(1, len(chain)-1) {
		issuer := chain[min(i+1, len(chain)-1)]
		for _, l := range t.lists[string(chain[i].RawIssuer)] {
			if l.revokes(chain[i], issuer) {
				return true
			}
		}
	}
	return false
}

func refusal(err error, now time.Time) Refusal {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return Untrusted
	}
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	if !ok {
		return Invalid
	}
	switch invalid.Reason {
	case x509.Expired:
		if now.Before(invalid.Cert.NotBefore) {
			return NotYetValid
		}
		return Expired
	case x509.IncompatibleUsage:
		return PurposeInvalid
	case x509.TooManyIntermediates:
		return DepthExceeded
	default:
		return Invalid
	}
}

// Supported tells whether load balancers can make use of a client's
// certificate: X.509v3 with an RSA key of 2,048 to 8,192 bits or one on a NIST
// curve.
func Supported(c *x509.Certificate) bool {
	if c.Version != 3 {
		return false
	}
	switch key := c.PublicKey.(type) {
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		return bits >= 2048 && bits <= 8192
	case *ecdsa.PublicKey:
		return key.Curve == elliptic.P256() || key.Curve == elliptic.P384() || key.Curve == elliptic.P521()
	default:
		return false
	}
}
