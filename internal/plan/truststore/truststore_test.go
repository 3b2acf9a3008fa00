package truststore

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestParseBundle(t *testing.T) {
	a, b := newAuthority(t, "a"), newAuthority(t, "b")
	one, two := inPEM(a.cert), inPEM(b.cert)
	var many []*x509.Certificate
	for range MaxCertificates {
		many = append(many, a.cert)
	}
	long := newAuthority(t, "long")
	longNames := make([]*x509.Certificate, 0, 11)
	for range 11 {
		c := *long.cert
		c.RawSubject = nil
		c.Subject = pkix.Name{CommonName: strings.Repeat("n", 1000)}
		longNames = append(longNames, create(t, &c, &c, long.key.Public(), long.key))
	}
	large := *long.cert
	large.DNSNames = []string{strings.Repeat("n", MaxCertificate)}
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"one":                     {one, 1},
		"two":                     {one + two, 2},
		"no line break at end":    {strings.TrimSpace(one), 1},
		"line breaks of Windows":  {strings.ReplaceAll(one+two, "\n", "\r\n"), 2},
		"comments":                {"# first\n" + one + "#\n# second one\n" + two + "# end", 2},
		"blank at the end":        {one + "\n\n", 1},
		"most":                    {inPEM(many...), MaxCertificates},
		"nothing":                 {"", 0},
		"comment alone":           {"# none\n", 0},
		"blank line between":      {one + "\n" + two, 0},
		"comment with a hyphen":   {"# a-b\n" + one, 0},
		"text":                    {"Certificate:\n" + one, 0},
		"text behind":             {one + "more", 0},
		"binary":                  {string(a.cert.Raw), 0},
		"another type":            {strings.ReplaceAll(one, "CERTIFICATE", "PUBLIC KEY"), 0},
		"headers":                 {strings.Replace(one, "-----\n", "-----\nProc-Type: x\n\n", 1), 0},
		"cut short":               {one[:len(one)/2], 0},
		"cut short before a good": {one[:len(one)/2] + "\n" + two, 0},
		"no certificate in it":    {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0},
		"too many":                {inPEM(many...) + two, 0},
		"long names":              {inPEM(longNames...), 0},
		"large":                   {inPEM(create(t, &large, &large, long.key.Public(), long.key)), 0},
		"huge":                    {strings.Repeat("#\n", MaxBundle/2) + one, 0},
	} {
		got, err := ParseBundle([]byte(c.text))
		if len(got) != c.want || (err != nil) != (c.want == 0) || err != nil && !errors.Is(err, ErrBundle) {
			t.Errorf("%s: %d certificates, %v", name, len(got), err)
		}
	}
}

func TestParseList(t *testing.T) {
	a := newAuthority(t, "a")
	good := a.list(7, 3, 1<<40, 0)
	l, err := ParseList(good)
	if err != nil || l.Entries != 4 || l.issuer != string(a.cert.RawSubject) || l.keyID != string(a.cert.SubjectKeyId) {
		t.Fatalf("%+v, %v", l, err)
	}
	for serial, want := range map[int64]bool{0: true, 3: true, 7: true, 1 << 40: true, 1: false, 4: false, 256 * 3: false} {
		if got := l.revokes(&x509.Certificate{SerialNumber: big.NewInt(serial)}, a.cert); got != want {
			t.Errorf("revokes %d: %v", serial, got)
		}
	}
	if empty, err := ParseList(a.list()); err != nil || empty.Entries != 0 {
		t.Errorf("empty list: %+v, %v", empty, err)
	}
	block, _ := pem.Decode(good)
	extended := func(e pkix.Extension) []byte {
		der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			Number: big.NewInt(1), ThisUpdate: noon, NextUpdate: noon, ExtraExtensions: []pkix.Extension{e},
		}, a.cert, a.key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: noon, NextUpdate: noon},
		&x509.Certificate{Subject: pkix.Name{CommonName: "ed"}, SubjectKeyId: []byte{1}, PublicKey: edKey.Public(), KeyUsage: x509.KeyUsageCRLSign}, edKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"nothing":         nil,
		"binary":          block.Bytes,
		"two":             append(bytes.Clone(good), good...),
		"a certificate":   []byte(inPEM(a.cert)),
		"cut":             pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: block.Bytes[:len(block.Bytes)-1]}),
		"longer":          pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: append(bytes.Clone(block.Bytes), 0)}),
		"Ed25519":         pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}),
		"delta":           extended(pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}),
		"indirect":        extended(pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 3, 0x84, 1, 0xff}}),
		"broken location": extended(pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 3, 0x84, 9, 0xff}}),
	} {
		if _, err := ParseList(text); !errors.Is(err, ErrList) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseList(extended(pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 3, 0x81, 1, 0xff}})); err != nil {
		t.Errorf("list of users' certificates: %v", err)
	}
}

func TestNegativeSerialsRevokeNothing(t *testing.T) {
	a := newAuthority(t, "a")
	l, err := ParseList(a.list(5))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(a.list(5))
	// The one entry's number becomes negative.
	i := bytes.Index(block.Bytes, []byte{2, 1, 5, 0x17})
	block.Bytes[i+2] = 0x85
	negative, err := ParseList(pem.EncodeToMemory(block))
	if err != nil || negative.Entries != 1 {
		t.Fatalf("%+v, %v", negative, err)
	}
	for _, serial := range []int64{5, 0x85, 0x7b} {
		c := &x509.Certificate{SerialNumber: big.NewInt(serial)}
		if negative.revokes(c, a.cert) || l.revokes(c, a.cert) != (serial == 5) {
			t.Errorf("serial %d", serial)
		}
	}
}

func TestVerify(t *testing.T) {
	root := newAuthority(t, "root")
	middle := sign(t, root, "middle")
	lower := sign(t, middle, "lower")
	lowest := sign(t, lower, "lowest")
	other, twin := newAuthority(t, "other"), newAuthority(t, "root")
	client := root.issue(nil)
	below := middle.issue(nil)
	deep := lowest.issue(nil)
	deepest := lower.issue(nil)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed := create(t, &x509.Certificate{SerialNumber: big.NewInt(5), NotBefore: noon, NotAfter: noon}, root.cert, edKey.Public(), root.key)
	old := root.issue(func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Second) })
	parsed := func(text []byte) *List {
		l, err := ParseList(text)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	lists := []*List{
		parsed(root.list(client.SerialNumber.Int64())),
		parsed(middle.list(1000)),
		parsed(root.list(old.SerialNumber.Int64(), 2000)),
	}
	chain := func(c ...*x509.Certificate) []*x509.Certificate { return c }
	trusts := func(c ...*x509.Certificate) *Trust { return New(c, nil) }
	for name, c := range map[string]struct {
		trust     *Trust
		presented []*x509.Certificate
		ignore    bool
		want      error
	}{
		"signed by the root":       {trusts(root.cert), chain(client), false, nil},
		"with the root":            {trusts(root.cert), chain(client, root.cert), false, nil},
		"by way of an authority":   {trusts(root.cert), chain(below, middle.cert), false, nil},
		"authority is in store":    {trusts(root.cert, middle.cert), chain(below), false, nil},
		"authority alone":          {trusts(middle.cert), chain(below), false, nil},
		"four":                     {trusts(root.cert), chain(deepest, lower.cert, middle.cert), false, nil},
		"five":                     {trusts(root.cert), chain(deep, lowest.cert, lower.cert, middle.cert), false, DepthExceeded},
		"five presented":           {trusts(lowest.cert), chain(deep, lowest.cert, lower.cert, middle.cert, root.cert), false, DepthExceeded},
		"nearer authority trusted": {trusts(lower.cert), chain(deep, lowest.cert, lower.cert, middle.cert), false, nil},
		"none":                     {trusts(root.cert), nil, false, Rejected},
		"unknown":                  {trusts(other.cert), chain(client), false, Untrusted},
		"nobody trusted":           {trusts(), chain(client), false, Untrusted},
		"link is missing":          {trusts(root.cert), chain(below), false, Untrusted},
		"authority's namesake":     {trusts(twin.cert), chain(client), false, Untrusted},
		"expired":                  {trusts(root.cert), chain(old), false, Expired},
		"expired, ignored":         {trusts(root.cert), chain(old), true, nil},
		"not yet valid":            {trusts(root.cert), chain(root.issue(func(c *x509.Certificate) { c.NotBefore = noon.Add(time.Second) })), true, NotYetValid},
		"for servers":              {trusts(root.cert), chain(root.issue(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })), false, PurposeInvalid},
		"for anything":             {trusts(root.cert), chain(root.issue(func(c *x509.Certificate) { c.ExtKeyUsage = nil })), false, nil},
		"Ed25519":                  {trusts(root.cert), chain(ed), false, TypeUnsupported},
		"by no authority":          {trusts(root.cert), chain(signedBy(t, client), client), false, Untrusted},
		"critical and unknown": {trusts(root.cert), chain(root.issue(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		})), false, Invalid},
		"revoked":                   {New(chain(root.cert), lists), chain(client), false, Revoked},
		"revoked and expired":       {New(chain(root.cert), lists), chain(old), true, Revoked},
		"other is revoked":          {New(chain(root.cert), lists), chain(below, middle.cert), false, nil},
		"authority is revoked":      {New(chain(root.cert), []*List{parsed(root.list(middle.cert.SerialNumber.Int64()))}), chain(below, middle.cert), false, Revoked},
		"revoked authority trusted": {New(chain(root.cert, middle.cert), []*List{parsed(root.list(middle.cert.SerialNumber.Int64()))}), chain(below, middle.cert), false, nil},
		"namesake revokes":          {New(chain(root.cert), []*List{parsed(twin.list(client.SerialNumber.Int64()))}), chain(client), false, nil},
		"revokes itself":            {New(chain(root.cert), []*List{parsed(root.list(1))}), chain(root.cert), false, Revoked},
	} {
		if err := c.trust.Verify(c.presented, noon, c.ignore); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

// signedBy is a certificate that says to be signed by one that is no authority.
func signedBy(t *testing.T, by *x509.Certificate) *x509.Certificate {
	t.Helper()
	key := newKey(t)
	parent := *by
	parent.PublicKey = key.Public()
	return create(t, &x509.Certificate{SerialNumber: big.NewInt(9), NotBefore: noon, NotAfter: noon.Add(time.Hour)}, &parent, key.Public(), key)
}

func FuzzParseBundle(f *testing.F) {
	f.Add([]byte("# c\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		cs, err := ParseBundle(text)
		if (err == nil) != (len(cs) > 0) || len(cs) > MaxCertificates {
			t.Fatalf("%d certificates, %v", len(cs), err)
		}
	})
}

// FuzzParseList compares with crypto/x509, of which it accepts no more than
// that does, but for what neither numbers nor extensions tell.
func FuzzParseList(f *testing.F) {
	t := &testing.T{}
	a := newAuthority(t, "a")
	for _, text := range [][]byte{a.list(), a.list(1, 2, 3), a.list(1 << 60)} {
		block, _ := pem.Decode(text)
		f.Add(block.Bytes)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		l, err := parseList(der)
		if err != nil {
			return
		}
		known, err := x509.ParseRevocationList(der)
		if err != nil {
			return // versions and times, which do not matter here
		}
		if int64(len(known.RevokedCertificateEntries)) != l.Entries || string(known.RawIssuer) != l.issuer || string(known.AuthorityKeyId) != l.keyID {
			t.Fatalf("%+v, want %+v", l, known)
		}
		for _, e := range known.RevokedCertificateEntries {
			if e.SerialNumber.Sign() >= 0 && !l.revokes(&x509.Certificate{SerialNumber: e.SerialNumber}, &x509.Certificate{}) {
				t.Fatalf("%s is not revoked", e.SerialNumber)
			}
		}
	})
}
