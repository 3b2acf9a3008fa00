package sni

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"
)

func generate[K crypto.Signer](t *testing.T) func(K, error) K {
	return func(k K, err error) K {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
}

func certificate(t *testing.T, key crypto.Signer, ends time.Time, hash x509.SignatureAlgorithm, names ...string) tls.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: names, SignatureAlgorithm: hash,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: ends,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// Each case names the certificates of the list in the order in which they are,
// and the one that a client gets who asks for the name.
func TestChoose(t *testing.T) {
	p256 := generate[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p384 := generate[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	rsa2 := generate[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	rsa3 := generate[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 3072))
	soon, later, past := time.Now().Add(time.Hour), time.Now().Add(24*time.Hour), time.Now().Add(-time.Hour)
	all := map[string]tls.Certificate{
		"standard":  certificate(t, p256, later, 0, "standard.test"),
		"a":         certificate(t, p256, later, 0, "a.test"),
		"wild":      certificate(t, p256, later, 0, "*.wild.test", "wild.test"),
		"ec":        certificate(t, p256, soon, x509.ECDSAWithSHA256, "b.test"),
		"ec later":  certificate(t, p256, later, x509.ECDSAWithSHA256, "b.test"),
		"ec past":   certificate(t, p256, past, x509.ECDSAWithSHA256, "b.test"),
		"ec 384":    certificate(t, p384, soon, x509.ECDSAWithSHA256, "b.test"),
		"ec sha384": certificate(t, p256, soon, x509.ECDSAWithSHA384, "b.test"),
		"rsa":       certificate(t, rsa2, later, x509.SHA256WithRSA, "b.test"),
		"rsa 3072":  certificate(t, rsa3, soon, x509.SHA256WithRSA, "b.test"),
	}
	for _, c := range []struct {
		list    []string
		name    string
		rsaOnly bool
		want    string
	}{
		{nil, "a.test", false, "standard"},
		{[]string{"a"}, "", false, "standard"},
		{[]string{"a"}, "other.test", false, "standard"},
		{[]string{"a"}, "a.test", false, "a"},
		{[]string{"a"}, "A.Test.", false, "a"},
		{[]string{"a"}, "x.a.test", false, "standard"},
		{[]string{"wild"}, "x.wild.test", false, "wild"},
		{[]string{"wild"}, "wild.test", false, "wild"},
		{[]string{"wild"}, "x.y.wild.test", false, "standard"},
		{[]string{"rsa", "ec"}, "b.test", false, "ec"},
		{[]string{"ec", "rsa"}, "b.test", true, "rsa"},
		{[]string{"ec"}, "b.test", true, "standard"},
		{[]string{"rsa", "ec past"}, "b.test", false, "ec past"},
		{[]string{"ec past", "ec"}, "b.test", false, "ec"},
		{[]string{"ec 384", "ec sha384"}, "b.test", false, "ec sha384"},
		{[]string{"ec", "ec 384"}, "b.test", false, "ec 384"},
		{[]string{"ec", "ec later"}, "b.test", false, "ec later"},
		{[]string{"rsa", "rsa 3072"}, "b.test", true, "rsa 3072"},
	} {
		var list []tls.Certificate
		for _, n := range c.list {
			list = append(list, all[n])
		}
		standard := all["standard"]
		got := shown(t, New(&standard, list), c.name, c.rsaOnly)
		if want := all[c.want].Leaf; !got.Equal(want) {
			t.Errorf("%+v: got %v until %v", c, got.DNSNames, got.NotAfter)
		}
	}
	if _, err := New(nil, nil).Choose(&tls.ClientHelloInfo{}); err == nil {
		t.Error("a listener without certificates has one")
	}
}

// shown is the certificate that a client gets; rsaOnly makes it one that
// cannot verify any other key.
func shown(t *testing.T, s *Set, name string, rsaOnly bool) *x509.Certificate {
	t.Helper()
	c, sc := net.Pipe()
	defer c.Close()
	defer sc.Close()
	var got *tls.Certificate
	server := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		var err error
		got, err = s.Choose(h)
		return got, err
	}}
	client := &tls.Config{ServerName: name, InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}
	if rsaOnly {
		client.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = tls.Server(sc, server).Handshake()
		_ = sc.Close()
	}()
	_ = tls.Client(c, client).Handshake() // fails where no certificate serves
	_ = c.Close()
	<-done
	if got == nil {
		t.Fatal("no certificate was chosen")
	}
	return got.Leaf
}
