package l7

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"roadstead.dev/internal/plan/truststore"
)

// signer issues clients' certificates.
type signer struct {
	t    testing.TB
	cert *x509.Certificate
	key  crypto.Signer
}

func newSigner(t testing.TB, name string) *signer {
	c := certificate(t, 1, nil, name)
	s := &signer{t: t, key: c.PrivateKey.(crypto.Signer)}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: c.Leaf.NotBefore, NotAfter: c.Leaf.NotAfter, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	s.cert = s.create(authority, authority, s.key)
	return s
}

func (s *signer) create(c, parent *x509.Certificate, key crypto.Signer) *x509.Certificate {
	s.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *signer) issue(serial int64, ends time.Duration) tls.Certificate {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	c := s.create(&x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "client", Organization: []string{"mTLS"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(ends),
	}, s.cert, key)
	return tls.Certificate{Certificate: [][]byte{c.Raw, s.cert.Raw}, PrivateKey: key, Leaf: c}
}

// revoking is the trust in the signer with a list of revoked certificates.
func (s *signer) revoking(serials ...int64) *truststore.Trust {
	s.t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	for _, n := range serials {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, s.cert, s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	list, err := truststore.ParseList(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
	if err != nil {
		s.t.Fatal(err)
	}
	return truststore.New([]*x509.Certificate{s.cert}, []*truststore.List{list})
}

func mutual(t testing.TB, m *Clients) *TLS {
	s := secure(t, modern, certificate(t, 1, nil, "a.test"))
	s.Clients = m
	return s
}

// tellClients answers with the fields that tell of clients' certificates.
func tellClients(t testing.TB) string {
	return backend(t, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			if strings.Contains(strings.ToLower(name), "clientcert") || name == "X-Who" {
				_, _ = fmt.Fprintf(w, "%s: %s\n", name, strings.Join(r.Header[name], "|"))
			}
		}
	})
}

// as is a client with a certificate.
func as(t testing.TB, h2 bool, version uint16, cs ...tls.Certificate) *http.Client {
	c := client(t, h2)
	cfg := c.Transport.(*http.Transport).TLSClientConfig
	cfg.MaxVersion, cfg.Certificates, cfg.ClientSessionCache = version, cs, tls.NewLRUClientSessionCache(1)
	return c
}

func fetch(c *http.Client, url string) (string, error) {
	req, err := http.NewRequest(http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	for _, name := range clientFields {
		req.Header.Set(strings.ToLower(name), "forged")
		req.Header[strings.ToUpper(name)] = []string{"forged"}
		req.Header[strings.ReplaceAll(name, "-", "_")] = []string{"forged"}
	}
	req.Header.Set("X-Who", "forged")
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestClientsAreVerified(t *testing.T) {
	ca, other := newSigner(t, "ca"), newSigner(t, "other")
	good, revoked, old := ca.issue(0x3a5b1, time.Hour), ca.issue(7, time.Hour), ca.issue(8, -time.Minute)
	b := startTLS(t, nil, tellClients(t))
	want := "X-Amzn-Mtls-Clientcert-Issuer: CN=ca\n" +
		"X-Amzn-Mtls-Clientcert-Leaf: " + encoded(good.Leaf) + "\n" +
		"X-Amzn-Mtls-Clientcert-Serial-Number: 03A5B1\n" +
		"X-Amzn-Mtls-Clientcert-Subject: CN=client,O=mTLS\n" +
		"X-Amzn-Mtls-Clientcert-Validity: NotBefore=" + good.Leaf.NotBefore.Format(time.RFC3339) + ";NotAfter=" + good.Leaf.NotAfter.Format(time.RFC3339) + "\n" +
		"X-Who: forged\n"
	for _, h2 := range []bool{false, true} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			b.swapTLS(mutual(t, &Clients{Verify: true, Trust: ca.revoking(7)}))
			// A session would be resumed if it could be.
			c := as(t, h2, version, good)
			for range 2 {
				if got, err := fetch(c, "https://"+b.addr); err != nil || got != want {
					t.Errorf("h2 %v, %x: %s (%v), want %s", h2, version, got, err, want)
				}
				c.CloseIdleConnections()
			}
			for name, cs := range map[string][]tls.Certificate{"none": nil, "another authority's": {other.issue(1, time.Hour)}, "revoked": {revoked}, "expired": {old}} {
				before := b.stats.TLSErrors.Load()
				if got, err := fetch(as(t, h2, version, cs...), "https://"+b.addr); err == nil {
					t.Errorf("h2 %v, %x, %s certificate: let in, %s", h2, version, name, got)
				}
				waitFor(t, func() bool { return b.stats.TLSErrors.Load() > before })
			}
			b.swapTLS(mutual(t, &Clients{Verify: true, Trust: ca.revoking(7), IgnoreExpiry: true}))
			if got, err := fetch(as(t, h2, version, old), "https://"+b.addr); err != nil || !strings.Contains(got, "Serial-Number: 08\n") {
				t.Errorf("h2 %v, %x: expiry is not ignored: %s, %v", h2, version, got, err)
			}
			b.swapTLS(mutual(t, &Clients{Verify: true}))
			if _, err := fetch(as(t, h2, version, good), "https://"+b.addr); err == nil {
				t.Errorf("h2 %v, %x: let in without a trust store", h2, version)
			}
		}
	}
}

func encoded(cs ...*x509.Certificate) string {
	text := ""
	for _, c := range cs {
		text += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	text = strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
	return strings.NewReplacer("%2B", "+", "%2F", "/", "%3D", "=").Replace(text)
}

func TestClientsArePassedThrough(t *testing.T) {
	ca := newSigner(t, "ca")
	c := ca.issue(5, -time.Minute)
	b := startTLS(t, mutual(t, &Clients{}), tellClients(t))
	for _, h2 := range []bool{false, true} {
		got, err := fetch(as(t, h2, 0, c), "https://"+b.addr)
		if want := "X-Amzn-Mtls-Clientcert: " + encoded(c.Leaf, ca.cert) + "\nX-Who: forged\n"; err != nil || got != want {
			t.Errorf("h2 %v: %s (%v), want %s", h2, got, err, want)
		}
		if got, err := fetch(as(t, h2, 0), "https://"+b.addr); err != nil || got != "X-Who: forged\n" {
			t.Errorf("h2 %v, no certificate: %s (%v)", h2, got, err)
		}
	}
	b.swapTLS(mutual(t, &Clients{Names: map[ClientField]string{ClientCert: "X-Who"}}))
	if got, err := fetch(as(t, false, 0, c), "https://"+b.addr); err != nil || got != "X-Who: "+encoded(c.Leaf, ca.cert)+"\n" {
		t.Errorf("renamed: %s (%v)", got, err)
	}
	if got, err := fetch(as(t, true, 0), "https://"+b.addr); err != nil || got != "" {
		t.Errorf("renamed, no certificate: %s (%v)", got, err)
	}
}

func TestAuthoritiesAreAdvertised(t *testing.T) {
	ca := newSigner(t, "ca")
	for _, advertise := range []bool{false, true} {
		b := startTLS(t, mutual(t, &Clients{Verify: true, Trust: ca.revoking(), Advertise: advertise}))
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			var names [][]byte
			conn, err := tls.Dial("tcp", b.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: version, GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				names = r.AcceptableCAs
				c := ca.issue(2, time.Hour)
				return &c, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
			if advertise && (len(names) != 1 || string(names[0]) != string(ca.cert.RawSubject)) || !advertise && len(names) > 0 {
				t.Errorf("advertise %v, %x: %q", advertise, version, names)
			}
		}
	}
}

// What a listener asks for changes while connections are open: they stay, and
// are told of as they began.
func TestSwapClients(t *testing.T) {
	ca := newSigner(t, "ca")
	c := ca.issue(5, time.Hour)
	trust := ca.revoking()
	b := startTLS(t, mutual(t, &Clients{Verify: true, Trust: trust}), tellClients(t))
	for _, h2 := range []bool{false, true} {
		opened := func() int64 { return b.stats.Connections.Load() }
		b.swapTLS(mutual(t, &Clients{Verify: true, Trust: trust}))
		verified := as(t, h2, 0, c)
		ask := func(who string, hc *http.Client, want string) {
			t.Helper()
			before := opened()
			got, err := fetch(hc, "https://"+b.addr)
			if err != nil || !strings.HasPrefix(got, want) || want == "" && got != "X-Who: forged\n" {
				t.Errorf("h2 %v, %s: %s (%v), want %s", h2, who, got, err, want)
			}
			if n := opened() - before; n != 0 {
				t.Errorf("h2 %v, %s: the connection was not kept", h2, who)
			}
		}
		first := func(hc *http.Client) {
			t.Helper()
			if _, err := fetch(hc, "https://"+b.addr); err != nil {
				t.Fatal(err)
			}
		}
		first(verified)
		b.swapTLS(mutual(t, &Clients{}))
		passed := as(t, h2, 0, c)
		first(passed)
		ask("verified, passed on now", verified, "X-Amzn-Mtls-Clientcert: --")
		b.swapTLS(mutual(t, nil))
		plain := as(t, h2, 0)
		first(plain)
		b.swapTLS(mutual(t, &Clients{Verify: true, Trust: ca.revoking(5)}))
		ask("revoked since", verified, "X-Amzn-Mtls-Clientcert-Issuer: CN=ca\n")
		ask("never verified", passed, "")
		ask("never asked", plain, "")
		if _, err := fetch(as(t, h2, 0, c), "https://"+b.addr); err == nil {
			t.Error("a revoked certificate was let in")
		}
	}
}

// Trust changes under load: no request of a client that both states trust fails.
func TestSwapTrustUnderLoad(t *testing.T) {
	ca := newSigner(t, "ca")
	b := startTLS(t, mutual(t, &Clients{Verify: true, Trust: ca.revoking()}), tellClients(t))
	done := make(chan error, 4)
	stop := make(chan struct{})
	for i := range 4 {
		cert := ca.issue(int64(100+i), time.Hour)
		go func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				c := as(t, i%2 == 0, 0, cert)
				for range 5 {
					if _, err := fetch(c, "https://"+b.addr); err != nil {
						done <- err
						return
					}
				}
				c.CloseIdleConnections()
			}
		}()
	}
	for n := range int64(100) {
		b.swapTLS(mutual(t, &Clients{Verify: true, Trust: ca.revoking(n), IgnoreExpiry: n%2 == 0, Advertise: n%3 == 0}))
	}
	close(stop)
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A tunnel's request tells of the client too.
func TestClientsOpenTunnels(t *testing.T) {
	ca := newSigner(t, "ca")
	target := backend(t, func(w http.ResponseWriter, r *http.Request) {
		nc, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer nc.Close()
		_, _ = fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n%s\n", r.Header.Get("X-Amzn-Mtls-Clientcert-Subject"))
		_ = rw.Flush()
		_, _ = io.Copy(nc, rw)
	})
	b := startTLS(t, mutual(t, &Clients{Verify: true, Trust: ca.revoking()}), target)
	conn, err := tls.Dial("tcp", b.addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{ca.issue(1, time.Hour)}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%+v, %v", resp, err)
	}
	if line, err := r.ReadString('\n'); err != nil || line != "CN=client,O=mTLS\n" {
		t.Errorf("%q, %v", line, err)
	}
	// Trust that is gone does not end it.
	b.swapTLS(mutual(t, &Clients{Verify: true}))
	_, _ = io.WriteString(conn, "still here\n")
	if line, err := r.ReadString('\n'); err != nil || line != "still here\n" {
		t.Errorf("%q, %v", line, err)
	}
}

func TestRefusalsAreNamed(t *testing.T) {
	var reason interface{ ConnectionLogReason() string }
	if err := error(truststore.Revoked); !errors.As(err, &reason) || reason.ConnectionLogReason() != "ClientCertCrlHit" {
		t.Errorf("%v", err)
	}
}

// Targets that speak HTTP/2 are told as others are.
func TestClientsAtHTTP2Targets(t *testing.T) {
	ca := newSigner(t, "ca")
	c := ca.issue(5, time.Hour)
	target := h2cBackend(t, new(atomic.Int64), nil, func(w http.ResponseWriter, r *http.Request) {
		for _, name := range clientFields {
			if v := r.Header[http.CanonicalHeaderKey(name)]; v != nil {
				_, _ = fmt.Fprintf(w, "%s: %s\n", name, strings.Join(v, "|"))
			}
		}
	})
	b := startTLS(t, mutual(t, &Clients{}))
	b.group.Set(GroupSettings{Version: HTTP2}, []*Target{NewHTTP2Target(target, tcpDial, false)})
	if got, err := fetch(as(t, true, 0, c), "https://"+b.addr); err != nil || got != "X-Amzn-Mtls-Clientcert: "+encoded(c.Leaf, ca.cert)+"\n" {
		t.Errorf("%s (%v)", got, err)
	}
	if got, err := fetch(as(t, true, 0), "https://"+b.addr); err != nil || got != "" {
		t.Errorf("without a certificate: %s (%v)", got, err)
	}
}
