package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"testing"
	"time"
)

func TestSign(t *testing.T) {
	dir := t.TempDir()
	p := Pair{Local: New(Config{Dir: dir}), Other: New(Config{Dir: filepath.Join(dir, "certificates"), Unconstrained: true})}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		names []string
		by    *Authority
	}{
		"below localhost":    {[]string{"app.localhost", "*.app.localhost"}, p.Local},
		"localhost":          {[]string{"localhost", "*.localhost"}, p.Local},
		"elsewhere":          {[]string{"example.com"}, p.Other},
		"here and elsewhere": {[]string{"app.localhost", "example.com"}, p.Other},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := p.Sign(&key.PublicKey, tt.names, 30*24*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			block, _ := pem.Decode([]byte(s.Leaf))
			leaf, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			root, err := tt.by.PEM()
			if err != nil || s.Chain != string(root) {
				t.Errorf("signed by another: %v", err)
			}
			if err := verify(t, root, &tls.Certificate{Leaf: leaf}, tt.names[0], time.Now()); err != nil {
				t.Error(err)
			}
			if !leaf.NotAfter.Equal(s.NotAfter) || leaf.Subject.CommonName != tt.names[0] || leaf.IsCA {
				t.Errorf("%+v", leaf)
			}
		})
	}
	for _, names := range [][]string{nil, {"example.com"}, {"app.localhost", "example.com"}, {"*.com"}, {"a..localhost"}} {
		if _, err := p.Local.Sign(&key.PublicKey, names, time.Hour); err == nil {
			t.Errorf("the local authority signs for %q", names)
		}
	}
	if _, err := p.Other.Sign(&key.PublicKey, []string{"a b"}, time.Hour); err == nil {
		t.Error("what is no name was signed for")
	}
}

// The authority for all names stays the same, and is another one than that
// which machines trust.
func TestUnconstrainedAuthority(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Dir: filepath.Join(dir, "certificates"), Unconstrained: true}
	first, err := New(cfg).Certificate()
	if err != nil {
		t.Fatal(err)
	}
	again, err := New(cfg).Certificate()
	if err != nil || !again.Equal(first) {
		t.Errorf("it was made anew: %v", err)
	}
	local, err := New(Config{Dir: dir}).Certificate()
	if err != nil {
		t.Fatal(err)
	}
	if len(first.PermittedDNSDomains) > 0 || len(local.PermittedDNSDomains) == 0 {
		t.Errorf("%v, %v", first.PermittedDNSDomains, local.PermittedDNSDomains)
	}
	if first.Subject.CommonName == local.Subject.CommonName {
		t.Error("the authorities have one name")
	}
}
