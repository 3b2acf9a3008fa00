package authority

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"roadstead.dev/internal/clock"
)

// stopped is a clock that tests set.
type stopped struct {
	clock.Clock
	now time.Time
}

func (s *stopped) Now() time.Time { return s.now }

// connected is a connection to an address.
type connected struct {
	net.Conn
	to string
}

func (c connected) LocalAddr() net.Addr {
	a, err := net.ResolveTCPAddr("tcp", c.to)
	if err != nil {
		panic(err)
	}
	return a
}

func hello(name, address string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{ServerName: name, Conn: connected{to: address}}
}

// verify does what a client that trusts only the authority's PEM does.
func verify(t *testing.T, pem []byte, c *tls.Certificate, host string, at time.Time) error {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("the PEM holds no certificate")
	}
	_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: host, CurrentTime: at})
	return err
}

func TestClientsAcceptTheNamesOfTheEndpoint(t *testing.T) {
	a := New(Config{Dir: t.TempDir(), Hosts: []string{"192.0.2.7", "box.example", "2001:db8::7"}})
	pem, err := a.PEM()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ sni, address, host string }{
		{"localhost", "127.0.0.1:4566", "localhost"},
		{"LOCALHOST.", "127.0.0.1:4566", "localhost"},
		{"000000000000.dkr.ecr.us-east-1.localhost", "127.0.0.1:4566", "000000000000.dkr.ecr.us-east-1.localhost"},
		{"web-123.us-east-1.elb.localhost", "127.0.0.1:4566", "web-123.us-east-1.elb.localhost"},
		{"", "127.0.0.1:4566", "127.0.0.1"},
		{"", "127.0.3.4:4566", "127.0.3.4"},
		{"", "[::1]:4566", "::1"},
		{"", "[::ffff:127.0.0.1]:4566", "127.0.0.1"},
		{"", "169.254.170.2:4566", "169.254.170.2"},
		{"", "192.0.2.7:4566", "192.0.2.7"},
		{"", "[2001:db8::7]:4566", "2001:db8::7"},
		{"box.example", "192.0.2.7:4566", "box.example"},
		{"api.box.example", "192.0.2.7:4566", "api.box.example"},
		// A forwarded port: the client's address is not the server's.
		{"", "172.17.0.2:4566", "127.0.0.1"},
		{"", "172.17.0.2:4566", "192.0.2.7"},
	} {
		c, err := a.GetCertificate(hello(tt.sni, tt.address))
		if err != nil {
			t.Errorf("%+v: %v", tt, err)
			continue
		}
		if err := verify(t, pem, c, tt.host, time.Now()); err != nil {
			t.Errorf("%+v: %v", tt, err)
		}
		if life := c.Leaf.NotAfter.Sub(c.Leaf.NotBefore); life > 397*24*time.Hour {
			t.Errorf("a certificate for %v", life)
		}
	}
}

// What the authority must not do, it cannot: clients refuse it.
func TestForeignNamesGetNoCertificate(t *testing.T) {
	a := New(Config{Dir: t.TempDir()})
	pem, err := a.PEM()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ecs.us-east-1.amazonaws.com", "example.com", "localhost.example.com", "notlocalhost", "a..localhost", "-.localhost"} {
		c, err := a.GetCertificate(hello(name, "127.0.0.1:4566"))
		if err != nil {
			t.Fatal(err)
		}
		if verify(t, pem, c, name, time.Now()) == nil {
			t.Errorf("a client takes the endpoint for %s", name)
		}
		if err := verify(t, pem, c, "127.0.0.1", time.Now()); err != nil {
			t.Errorf("%s: what is answered instead is not the endpoint's: %v", name, err)
		}
	}
	// Were the key stolen, the constraints would still hold.
	forged := *a.root.cert
	forged.PermittedDNSDomains, forged.PermittedIPRanges = []string{"amazonaws.com"}, nil
	l, err := a.issue(&root{key: a.root.key, cert: &forged}, "sts.amazonaws.com", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if verify(t, pem, l.cert, "sts.amazonaws.com", time.Now()) == nil {
		t.Error("the constraints do not keep the key from signing for others")
	}
}

func TestAuthorityIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	const n = 8
	pems := make([][]byte, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var err error
			if pems[i], err = New(Config{Dir: dir}).PEM(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, p := range pems {
		if !bytes.Equal(p, pems[0]) {
			t.Fatal("two authorities in one folder")
		}
	}
	for file, mode := range map[string]os.FileMode{KeyFile: 0o600, CertificateFile: 0o644} {
		st, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != mode {
			t.Errorf("%s has mode %o", file, st.Mode().Perm())
		}
	}
}

// A further host changes the certificate and not the key: who trusts the
// former certificate still trusts the server by its former names.
func TestFurtherHostsKeepTheKey(t *testing.T) {
	dir := t.TempDir()
	before, err := New(Config{Dir: dir}).PEM()
	if err != nil {
		t.Fatal(err)
	}
	a := New(Config{Dir: dir, Hosts: []string{"10.1.2.3", "box"}})
	after, err := a.PEM()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(before, after) {
		t.Fatal("the certificate does not permit the host")
	}
	again, err := New(Config{Dir: dir}).PEM()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, after) {
		t.Error("what was permitted once was taken back")
	}
	byName, err := a.GetCertificate(hello("x.localhost", "10.1.2.3:1"))
	if err != nil {
		t.Fatal(err)
	}
	byAddress, err := a.GetCertificate(hello("", "10.1.2.3:1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(t, before, byName, "x.localhost", time.Now()); err != nil {
		t.Errorf("by the former certificate: %v", err)
	}
	if err := verify(t, after, byAddress, "10.1.2.3", time.Now()); err != nil {
		t.Errorf("by the new certificate: %v", err)
	}
	if verify(t, before, byAddress, "10.1.2.3", time.Now()) == nil {
		t.Error("the former certificate permits a host that it did not know")
	}
}

func TestCertificatesAreRenewed(t *testing.T) {
	clk := &stopped{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	a := New(Config{Dir: t.TempDir(), Clock: clk})
	first, err := a.GetCertificate(hello("localhost", "127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	clk.now = clk.now.Add(50 * 24 * time.Hour)
	if same, _ := a.GetCertificate(hello("localhost", "127.0.0.1:1")); same != first {
		t.Error("a good certificate was replaced")
	}
	// Nearly the authority's whole life: leaves and authority are made anew.
	for range 12 * 10 {
		clk.now = clk.now.Add(30 * 24 * time.Hour)
		c, err := a.GetCertificate(hello("localhost", "127.0.0.1:1"))
		if err != nil {
			t.Fatal(err)
		}
		pem, err := a.PEM()
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []time.Time{clk.now, clk.now.Add(29 * 24 * time.Hour)} {
			if err := verify(t, pem, c, "localhost", at); err != nil {
				t.Fatalf("at %v: %v", at, err)
			}
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	a := New(Config{Dir: t.TempDir()})
	for i := range maxLeaves + 10 {
		if _, err := a.GetCertificate(hello(fmt.Sprintf("n%d.localhost", i), "127.0.0.1:1")); err != nil {
			t.Fatal(err)
		}
		if len(a.leaves) > maxLeaves {
			t.Fatalf("%d certificates are kept", len(a.leaves))
		}
	}
}

func TestAForeignCertificateIsNotTaken(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	for _, dir := range []string{one, two} {
		if _, err := New(Config{Dir: dir}).PEM(); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(one, CertificateFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(two, CertificateFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Config{Dir: two}).PEM(); err == nil {
		t.Error("a certificate of another key was taken")
	}
}

func BenchmarkFirstUse(b *testing.B) {
	for b.Loop() {
		if _, err := New(Config{Dir: b.TempDir()}).GetCertificate(hello("localhost", "127.0.0.1:1")); err != nil {
			b.Fatal(err)
		}
	}
}
