package clientcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func certificate(t testing.TB, c *x509.Certificate) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFields(t *testing.T) {
	c := certificate(t, &x509.Certificate{
		SerialNumber: big.NewInt(0x3a5b1),
		NotBefore:    time.Date(2023, 9, 21, 1, 50, 17, 0, time.UTC), NotAfter: time.Date(2024, 9, 20, 3, 50, 17, 0, time.FixedZone("", 7200)),
	})
	if got := Serial(c); got != "03A5B1" {
		t.Error(got)
	}
	if got := Serial(&x509.Certificate{SerialNumber: new(big.Int)}); got != "00" {
		t.Error(got)
	}
	if got := Validity(c); got != "NotBefore=2023-09-21T01:50:17Z;NotAfter=2024-09-20T01:50:17Z" {
		t.Error(got)
	}
	got := PEM(c, c)
	if !strings.HasPrefix(got, "-----BEGIN%20CERTIFICATE-----%0AMI") || !strings.HasSuffix(got, "%0A-----END%20CERTIFICATE-----%0A") {
		t.Error(got)
	}
	text, err := url.PathUnescape(got)
	if err != nil {
		t.Fatal(err)
	}
	for rest := []byte(text); len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || string(block.Bytes) != string(c.Raw) {
			t.Fatalf("%s does not hold the certificate", text)
		}
	}
	if strings.Contains(got, "%2B") || strings.Contains(got, "%2F") || strings.Contains(got, "%3D") {
		t.Error("safe characters are encoded")
	}
}

// names are parts of names by their types.
func names(sets ...pkix.RelativeDistinguishedNameSET) []byte {
	b, err := asn1.Marshal(pkix.RDNSequence(sets))
	if err != nil {
		panic(err)
	}
	return b
}

func set(pairs ...any) (out pkix.RelativeDistinguishedNameSET) {
	for i := 0; i < len(pairs); i += 2 {
		id := asn1.ObjectIdentifier{}
		for part := range strings.SplitSeq(pairs[i].(string), ".") {
			n, _ := new(big.Int).SetString(part, 10)
			id = append(id, int(n.Int64()))
		}
		out = append(out, pkix.AttributeTypeAndValue{Type: id, Value: pairs[i+1]})
	}
	return out
}

func raw(tag int, bytes string) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassUniversal, Tag: tag, Bytes: []byte(bytes)}
}

var written = map[string][]byte{
	"CN=client_.com,OU=client-3,O=mTLS,ST=Washington,C=US": names(set("2.5.4.6", "US"), set("2.5.4.8", "Washington"), set("2.5.4.10", "mTLS"), set("2.5.4.11", "client-3"), set("2.5.4.3", raw(12, "client_.com"))),
	"":                                 names(),
	`CN=\ a\,b\+c\"d\\e\<f\>g\;h=i#\ `: names(set("2.5.4.3", raw(12, ` a,b+c"d\e<f>g;h=i# `))),
	`CN=\#1`:                           names(set("2.5.4.3", raw(12, "#1"))),
	`CN=a\0D\0AX-Evil: 1\00\7F`:        names(set("2.5.4.3", raw(12, "a\r\nX-Evil: 1\x00\x7f"))),
	`CN=J\C3\BCrgen,O=\E4\B8\AD`:       names(set("2.5.4.10", raw(30, "\x4e\x2d")), set("2.5.4.3", raw(12, "Jürgen"))),
	`L=\C3\BC`:                         names(set("2.5.4.7", raw(20, "\xfc"))),
	"UID=u+CN=a,DC=com,emailAddress=a@b.c,serialNumber=7,1.2.3.4=#0C0178": names(set("1.2.3.4", raw(12, "x")), set("2.5.4.5", "7"), set("1.2.840.113549.1.9.1", raw(22, "a@b.c")), set("0.9.2342.19200300.100.1.25", raw(22, "com")), set("2.5.4.3", "a", "0.9.2342.19200300.100.1.1", "u")),
}

func TestName(t *testing.T) {
	for want, in := range written {
		if got := Name(in); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if got := Name(names(set("2.5.4.3", 10))); got != "CN=#02010A" {
		t.Error(got)
	}
	for _, in := range []string{"", "x", "\x30\x02\x31\x05", "\x30\x00x"} {
		if got := Name([]byte(in)); got != "" {
			t.Errorf("%x: %s", in, got)
		}
	}
}

// TestNameAsOpenSSL compares with what OpenSSL writes.
func TestNameAsOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("there is no openssl")
	}
	for want, in := range written {
		c := certificate(t, &x509.Certificate{SerialNumber: big.NewInt(1), RawSubject: in})
		cmd := exec.CommandContext(t.Context(), openssl, "x509", "-inform", "DER", "-noout", "-subject", "-nameopt", "RFC2253")
		cmd.Stdin = strings.NewReader(string(c.Raw))
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSuffix(strings.TrimPrefix(string(out), "subject="), "\n"); err != nil || got != want {
			t.Errorf("OpenSSL writes %s (%v), not %s", got, err, want)
		}
	}
}

func FuzzName(f *testing.F) {
	for _, in := range written {
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, x := range []byte(Name(in)) {
			if x < ' ' || x >= 0x7f {
				t.Fatalf("%q", Name(in))
			}
		}
	})
}
