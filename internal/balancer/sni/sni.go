// Package sni chooses among a listener's certificates the one that a client is
// shown.
package sni

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"time"
)

// Set is the certificates of a listener. It never changes.
type Set struct {
	standard *tls.Certificate
	// byName holds the list's certificates by the names that they are for, in
	// lower case, wildcards as they are written.
	byName map[string][]*candidate
}

// candidate is a certificate with what it is judged by.
type candidate struct {
	cert *tls.Certificate
	// curve tells that the key is no RSA key.
	curve       bool
	hash, bits  int
	begin, ends time.Time
}

// New makes a set of a default certificate and the list of the others; nil
// where there is no default. Certificates without their Leaf cannot be found
// by name.
func New(standard *tls.Certificate, list []tls.Certificate) *Set {
	s := &Set{standard: standard, byName: map[string][]*candidate{}}
	for i := range list {
		leaf := list[i].Leaf
		if leaf == nil {
			continue
		}
		c := judge(&list[i])
		names := leaf.DNSNames
		if len(names) == 0 && leaf.Subject.CommonName != "" {
			names = []string{leaf.Subject.CommonName}
		}
		for _, n := range names {
			n = strings.ToLower(n)
			s.byName[n] = append(s.byName[n], c)
		}
	}
	return s
}

func judge(cert *tls.Certificate) *candidate {
	leaf := cert.Leaf
	c := &candidate{cert: cert, hash: hashBits(leaf.SignatureAlgorithm), begin: leaf.NotBefore, ends: leaf.NotAfter}
	switch k := leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		c.curve, c.bits = true, k.Curve.Params().BitSize
	case ed25519.PublicKey:
		c.curve, c.bits = true, 256
	case *rsa.PublicKey:
		c.bits = k.N.BitLen()
	}
	return c
}

func hashBits(a x509.SignatureAlgorithm) int {
	switch a {
	case x509.MD5WithRSA:
		return 1
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1:
		return 160
	case x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256:
		return 256
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		return 384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512, x509.PureEd25519:
		return 512
	default:
		return 0
	}
}

var errNone = errors.New("listener has no certificate")

// Choose finds the certificate for a client: of those in the list that are for
// the name it asks for, exactly or by a wildcard, and that it can make use of,
// the best; where there is none, the default. It is for
// tls.Config.GetCertificate.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/https-listener-certificates.html
func (s *Set) Choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	var best *candidate
	if name := strings.ToLower(strings.TrimSuffix(hello.ServerName, ".")); name != "" && len(s.byName) > 0 {
		now := time.Now()
		consider := func(cs []*candidate) {
			for _, c := range cs {
				if (best == nil || c.better(best, now)) && hello.SupportsCertificate(c.cert) == nil {
					best = c
				}
			}
		}
		consider(s.byName[name])
		if i := strings.IndexByte(name, '.'); i > 0 {
			consider(s.byName["*"+name[i:]])
		}
	}
	switch {
	case best != nil:
		return best.cert, nil
	case s.standard == nil:
		return nil, errNone
	}
	return s.standard, nil
}

// better tells whether c is preferred to d, by AWS's criteria in their order:
// the key's algorithm (ECDSA), not having run out, the longer hash, the longer
// key, and the time it still has. Of equals the earlier in the list stays.
func (c *candidate) better(d *candidate, now time.Time) bool {
	return cmp.Or(
		order(c.curve, d.curve),
		order(c.valid(now), d.valid(now)),
		cmp.Compare(c.hash, d.hash),
		cmp.Compare(c.bits, d.bits),
		c.ends.Compare(d.ends),
	) > 0
}

func (c *candidate) valid(now time.Time) bool { return !now.Before(c.begin) && now.Before(c.ends) }

func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}
