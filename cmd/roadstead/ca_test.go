package main

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"roadstead.dev/internal/authority"
)

func TestNamesThatHTTPSAnswersTo(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		listen, names string
		want          []string // among others where it is all addresses
		all           bool
	}{
		"loopback":          {listen: "127.0.0.1:4566"},
		"localhost":         {listen: "localhost:4566"},
		"loopback, with a":  {"[::1]:4566", "roadstead, 10.0.0.7", []string{"roadstead", "10.0.0.7"}, false},
		"one address":       {"192.0.2.7:4566", "", []string{"192.0.2.7"}, false},
		"a name":            {"box.example:4566", "alias", []string{"alias", "box.example"}, false},
		"all addresses":     {"0.0.0.0:4566", "", []string{host}, true},
		"all, without them": {":4566", "alias", []string{"alias", host}, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := defaultOptions()
			o.listen, o.tlsNames = tt.listen, tt.names
			got := o.tlsHosts()
			if !tt.all && !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
			for _, w := range tt.want {
				if !slices.Contains(got, w) {
					t.Errorf("%v lacks %s", got, w)
				}
			}
		})
	}
	for _, bad := range []string{"*.example.com", "https://x", "x:443", ".example.com"} {
		if checkTLSNames(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// A server that is reachable by others has a certificate for each address by
// which they reach it.
func TestEveryAddressHasACertificate(t *testing.T) {
	o := defaultOptions()
	o.dataDir, o.listen = t.TempDir(), "0.0.0.0:4566"
	ca := o.authority()
	root, err := ca.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	for _, h := range o.tlsHosts() {
		hello := &tls.ClientHelloInfo{ServerName: h}
		if ip := net.ParseIP(h); ip != nil {
			hello.ServerName = ""
		}
		c, err := ca.GetCertificate(hello)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: h}); err != nil {
			t.Errorf("%s: %v", h, err)
		}
	}
}

func TestTheBundleIsReadableByAll(t *testing.T) {
	o := defaultOptions()
	o.dataDir = t.TempDir()
	t.Cleanup(func() { _ = os.RemoveAll(o.runDir()) })
	path, err := o.publishCA()
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", st, err)
	}
	key, err := os.Stat(filepath.Join(o.dataDir, "tls", authority.KeyFile))
	if err != nil || key.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", key, err)
	}
}

func TestPathsAreWordsOfTheShell(t *testing.T) {
	for in, want := range map[string]string{
		"/run/roadstead/rs1/ca.pem": "/run/roadstead/rs1/ca.pem", "/a b": "'/a b'", "/it's": `'/it'\''s'`, "/$HOME": "'/$HOME'",
	} {
		if got := quote(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
