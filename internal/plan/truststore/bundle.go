// Package truststore decides whether a load balancer trusts a client's
// certificate: by the authorities of a trust store, and by the revocation lists
// that were added to it.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/mutual-authentication.html
package truststore

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Quotas of a trust store:
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
const (
	// MaxCertificates is how many authorities a bundle may hold.
	MaxCertificates = 25
	// MaxCertificate bounds one authority's certificate in bytes.
	MaxCertificate = 16 << 10
	// MaxSubjects bounds the names of a bundle's authorities together.
	MaxSubjects = 10_000
	// MaxBundle is what a bundle of that many certificates can take in PEM, with
	// comments.
	MaxBundle = 1 << 20
	// MaxLists is how many revocation lists there may be.
	MaxLists = 30
	// MaxList bounds one of them in bytes.
	MaxList = 50 << 20
	// MaxEntries is how many certificates all of them may revoke.
	MaxEntries = 500_000
	// MaxDepth is how many certificates lead from a client's to a trusted
	// authority's, both counted.
	MaxDepth = 4
)

// ErrBundle tells that a bundle of authorities cannot be used.
var ErrBundle = errors.New("bundle of certificates is not valid")

// ParseBundle reads the certificates of authorities in PEM. Nothing may stand
// between them but comments, lines that begin with #.
func ParseBundle(text []byte) ([]*x509.Certificate, error) {
	if len(text) > MaxBundle {
		return nil, fmt.Errorf("%w: it is too large", ErrBundle)
	}
	var out []*x509.Certificate
	subjects := 0
	for rest := text; ; {
		var err error
		if rest, err = skipComments(rest); err != nil {
			return nil, err
		}
		if len(rest) == 0 {
			break
		}
		block, after := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" || len(block.Headers) > 0 {
			return nil, fmt.Errorf("%w: what is not a certificate is in it", ErrBundle)
		}
		// Decode skips what it cannot read up to the next block.
		if n := bytes.Count(rest[:len(rest)-len(after)], []byte("-----BEGIN")); n != 1 {
			return nil, fmt.Errorf("%w: a certificate is incomplete", ErrBundle)
		}
		if len(block.Bytes) > MaxCertificate {
			return nil, fmt.Errorf("%w: a certificate is larger than %d bytes", ErrBundle, MaxCertificate)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBundle, err)
		}
		subjects += len(c.RawSubject)
		if out = append(out, c); len(out) > MaxCertificates {
			return nil, fmt.Errorf("%w: it has more than %d certificates", ErrBundle, MaxCertificates)
		}
		rest = after
	}
	switch {
	case len(out) == 0:
		return nil, fmt.Errorf("%w: it has no certificate", ErrBundle)
	case subjects > MaxSubjects:
		return nil, fmt.Errorf("%w: the subjects of its certificates are larger than %d bytes", ErrBundle, MaxSubjects)
	}
	return out, nil
}

// skipComments finds the next block. Blank lines are allowed at the end alone.
func skipComments(b []byte) ([]byte, error) {
	for len(b) > 0 && !bytes.HasPrefix(b, []byte("-----BEGIN ")) {
		if b[0] != '#' {
			if len(bytes.TrimSpace(b)) == 0 {
				return nil, nil
			}
			return nil, fmt.Errorf("%w: a line is neither of a certificate nor a comment", ErrBundle)
		}
		line := b
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		if bytes.IndexByte(line, '-') >= 0 {
			return nil, fmt.Errorf("%w: a comment has a hyphen", ErrBundle)
		}
	}
	return b, nil
}
