package truststore

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// List is a certificate revocation list, as compact as lookups allow. It never
// changes.
type List struct {
	// Entries is how many certificates it names.
	Entries int64

	issuer string // the name, encoded
	keyID  string // of the issuer's key, "" where the list does not tell
	// serials are the numbers without leading zeros, in order.
	serials []string
}

// ErrList tells that a revocation list cannot be used.
var ErrList = errors.New("revocation list is not valid")

// ParseList reads a revocation list in PEM. Lists of changes (delta) and those
// that speak for other issuers (indirect) are refused.
func ParseList(text []byte) (*List, error) {
	if len(text) > MaxList {
		return nil, fmt.Errorf("%w: it is larger than %d bytes", ErrList, MaxList)
	}
	block, rest := pem.Decode(text)
	switch {
	case block == nil || block.Type != "X509 CRL":
		return nil, fmt.Errorf("%w: it is not in PEM", ErrList)
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, fmt.Errorf("%w: more follows it", ErrList)
	}
	l, err := parseList(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrList, err)
	}
	return l, nil
}

var errASN1 = errors.New("its structure is broken")

// parseList reads a CertificateList (RFC 5280, 5.1). Its signature is not
// checked: who may add to a trust store vouches for the list.
func parseList(der []byte) (*List, error) {
	var list, tbs, algorithm, issuer cryptobyte.String
	in := cryptobyte.String(der)
	if !in.ReadASN1(&list, casn1.SEQUENCE) || !in.Empty() || !list.ReadASN1(&tbs, casn1.SEQUENCE) {
		return nil, errASN1
	}
	if err := checkAlgorithm(list); err != nil {
		return nil, err
	}
	var version int
	if tbs.PeekASN1Tag(casn1.INTEGER) && (!tbs.ReadASN1Integer(&version) || version != 1) {
		return nil, errors.New("its version is unknown")
	}
	if !tbs.ReadASN1(&algorithm, casn1.SEQUENCE) || !tbs.ReadASN1Element(&issuer, casn1.SEQUENCE) || !skipTime(&tbs) {
		return nil, errASN1
	}
	if isTime(tbs) && !skipTime(&tbs) {
		return nil, errASN1
	}
	l := &List{issuer: string(issuer)}
	if tbs.PeekASN1Tag(casn1.SEQUENCE) {
		if err := l.readEntries(&tbs); err != nil {
			return nil, err
		}
	}
	var extensions cryptobyte.String
	var present bool
	if !tbs.ReadOptionalASN1(&extensions, &present, casn1.Tag(0).ContextSpecific().Constructed()) || !tbs.Empty() {
		return nil, errASN1
	}
	if present {
		if err := l.readExtensions(extensions); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// The algorithms that lists may be signed with, by their identifiers: SHA-256,
// 384 and 512 with RSA, with RSA by PSS, and with ECDSA.
var algorithms = []string{
	"1.2.840.113549.1.1.11", "1.2.840.113549.1.1.12", "1.2.840.113549.1.1.13", "1.2.840.113549.1.1.10",
	"1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3", "1.2.840.10045.4.3.4",
}

func checkAlgorithm(rest cryptobyte.String) error {
	var algorithm, signature cryptobyte.String
	var id asn1.ObjectIdentifier
	if !rest.ReadASN1(&algorithm, casn1.SEQUENCE) || !algorithm.ReadASN1ObjectIdentifier(&id) ||
		!rest.ReadASN1(&signature, casn1.BIT_STRING) || !rest.Empty() {
		return errASN1
	}
	if !slices.Contains(algorithms, id.String()) {
		return fmt.Errorf("its signature algorithm %s is not supported", id)
	}
	return nil
}

func isTime(s cryptobyte.String) bool {
	return s.PeekASN1Tag(casn1.UTCTime) || s.PeekASN1Tag(casn1.GeneralizedTime)
}

func skipTime(s *cryptobyte.String) bool {
	return isTime(*s) && (s.SkipASN1(casn1.UTCTime) || s.SkipASN1(casn1.GeneralizedTime))
}

// readEntries reads the numbers of the revoked certificates. Negative ones
// count, and revoke nothing, as in AWS.
func (l *List) readEntries(tbs *cryptobyte.String) error {
	var entries cryptobyte.String
	if !tbs.ReadASN1(&entries, casn1.SEQUENCE) {
		return errASN1
	}
	// One string holds all numbers, so that many lists are few objects.
	var all []byte
	var ends []int
	for !entries.Empty() {
		var entry, serial, extensions cryptobyte.String
		if !entries.ReadASN1(&entry, casn1.SEQUENCE) || !entry.ReadASN1(&serial, casn1.INTEGER) || len(serial) == 0 || !skipTime(&entry) {
			return errASN1
		}
		if !entry.Empty() {
			if !entry.ReadASN1(&extensions, casn1.SEQUENCE) || !entry.Empty() {
				return errASN1
			}
			if err := eachExtension(extensions, refuseCritical); err != nil {
				return err
			}
		}
		if l.Entries++; l.Entries > MaxEntries {
			return fmt.Errorf("it has more than %d entries", MaxEntries)
		}
		if serial[0] < 0x80 {
			all = append(all, bytes.TrimLeft(serial, "\x00")...)
			ends = append(ends, len(all))
		}
	}
	text, begin := string(all), 0
	l.serials = make([]string, len(ends))
	for i, end := range ends {
		l.serials[i], begin = text[begin:end], end
	}
	slices.Sort(l.serials)
	return nil
}

const (
	authorityKeyID = "2.5.29.35"
	issuingPoint   = "2.5.29.28"
)

func (l *List) readExtensions(wrapped cryptobyte.String) error {
	var extensions cryptobyte.String
	if !wrapped.ReadASN1(&extensions, casn1.SEQUENCE) || !wrapped.Empty() {
		return errASN1
	}
	return eachExtension(extensions, func(id string, critical bool, value cryptobyte.String) error {
		switch id {
		case authorityKeyID:
			var keyID cryptobyte.String
			var present bool
			if !value.ReadASN1(&value, casn1.SEQUENCE) || !value.ReadOptionalASN1(&keyID, &present, casn1.Tag(0).ContextSpecific()) {
				return errASN1
			}
			l.keyID = string(keyID)
			return nil
		case issuingPoint:
			return checkIssuingPoint(value)
		default:
			return refuseCritical(id, critical, value)
		}
	})
}

// checkIssuingPoint refuses indirect lists: [4] is their mark.
func checkIssuingPoint(value cryptobyte.String) error {
	var point cryptobyte.String
	if !value.ReadASN1(&point, casn1.SEQUENCE) {
		return errASN1
	}
	for !point.Empty() {
		var part cryptobyte.String
		var tag casn1.Tag
		if !point.ReadAnyASN1(&part, &tag) {
			return errASN1
		}
		if tag == casn1.Tag(4).ContextSpecific() && len(part) == 1 && part[0] != 0 {
			return errors.New("it is an indirect list")
		}
	}
	return nil
}

// refuseCritical: what a list says by an extension that must be understood, and
// is not known, is not known (RFC 5280, 5.2).
func refuseCritical(id string, critical bool, _ cryptobyte.String) error {
	if critical {
		return fmt.Errorf("its critical extension %s is not supported", id)
	}
	return nil
}

func eachExtension(extensions cryptobyte.String, visit func(id string, critical bool, value cryptobyte.String) error) error {
	for !extensions.Empty() {
		var extension, value cryptobyte.String
		var id asn1.ObjectIdentifier
		critical := false
		if !extensions.ReadASN1(&extension, casn1.SEQUENCE) || !extension.ReadASN1ObjectIdentifier(&id) {
			return errASN1
		}
		if extension.PeekASN1Tag(casn1.BOOLEAN) && !extension.ReadASN1Boolean(&critical) {
			return errASN1
		}
		if !extension.ReadASN1(&value, casn1.OCTET_STRING) || !extension.Empty() {
			return errASN1
		}
		if err := visit(id.String(), critical, value); err != nil {
			return err
		}
	}
	return nil
}

// revokes tells whether the list, which has the issuer's name, is about a
// certificate that the issuer signed.
func (l *List) revokes(c, issuer *x509.Certificate) bool {
	if l.keyID != "" && len(issuer.SubjectKeyId) > 0 && l.keyID != string(issuer.SubjectKeyId) {
		return false // another authority of the same name
	}
	_, found := slices.BinarySearch(l.serials, string(c.SerialNumber.Bytes()))
	return found
}
