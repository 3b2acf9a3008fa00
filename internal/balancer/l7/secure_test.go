package l7

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"roadstead.dev/internal/balancer/sni"
	"roadstead.dev/internal/plan/sslpolicy"
)

var rsaKey = sync.OnceValue(func() crypto.Signer {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// certificate is self-signed.
func certificate(t testing.TB, serial int64, key crypto.Signer, names ...string) tls.Certificate {
	t.Helper()
	if key == nil {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key = k
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
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

func policy(t testing.TB, name string) sslpolicy.Policy {
	t.Helper()
	p, ok := sslpolicy.Lookup(name)
	if !ok {
		t.Fatalf("no policy %s", name)
	}
	return p
}

func secure(t testing.TB, name string, standard tls.Certificate, list ...tls.Certificate) *TLS {
	t.Helper()
	return &TLS{Policy: policy(t, name), Certificates: sni.New(&standard, list), HTTP2: true}
}

const modern = "ELBSecurityPolicy-TLS13-1-2-2021-06"

// swapTLS gives the listener another way to speak TLS.
func (b *lb) swapTLS(s *TLS) {
	t := *b.server.table.Load()
	t.TLS = s
	b.server.Swap(&t)
}

func startTLS(t testing.TB, s *TLS, targets ...string) *lb {
	t.Helper()
	b := start(t, Settings{Port: 443, Scheme: "https"}, targets...)
	b.swapTLS(s)
	return b
}

// client speaks HTTP/2 when h2, else HTTP/1.1, and takes any certificate.
func client(t testing.TB, h2 bool) *http.Client {
	t.Helper()
	p := new(http.Protocols)
	p.SetHTTP1(!h2)
	p.SetHTTP2(h2)
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: p, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestSecureRequests(t *testing.T) {
	target := backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, "%s %s %s %s %s %s %q", r.Method, r.Proto, r.Host, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-Port"), r.Header.Get("X-Forwarded-For"), body)
	})
	b := startTLS(t, secure(t, modern, certificate(t, 1, nil, "a.test")), target)
	for _, h2 := range []bool{false, true} {
		c := client(t, h2)
		for range 3 {
			req, _ := http.NewRequest(http.MethodPost, "https://"+b.addr+"/x?y=z", strings.NewReader("hello"))
			req.Host = "a.test"
			resp, err := c.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if want := `POST HTTP/1.1 a.test https 443 127.0.0.1 "hello"`; string(got) != want {
				t.Errorf("h2 %v: got %s, want %s", h2, got, want)
			}
			if want := 1; resp.ProtoMajor != want && !h2 || h2 && resp.ProtoMajor != 2 {
				t.Errorf("response is %s", resp.Proto)
			}
		}
	}
}

func TestPolicies(t *testing.T) {
	target := backend(t, func(http.ResponseWriter, *http.Request) {})
	b := startTLS(t, secure(t, modern, certificate(t, 1, rsaKey(), "a.test")), target)
	for _, c := range []struct {
		policy   string
		min, max uint16
		suites   []uint16
		curves   []tls.CurveID
		version  uint16 // 0 when refused
	}{
		{policy: "ELBSecurityPolicy-2016-08", version: tls.VersionTLS12},
		{policy: "ELBSecurityPolicy-2016-08", min: tls.VersionTLS13},
		{policy: "ELBSecurityPolicy-2016-08", min: tls.VersionTLS10, max: tls.VersionTLS10, version: tls.VersionTLS10},
		{policy: "ELBSecurityPolicy-2016-08", max: tls.VersionTLS12, suites: []uint16{tls.TLS_RSA_WITH_AES_256_CBC_SHA}, version: tls.VersionTLS12},
		{policy: "ELBSecurityPolicy-FS-1-2-Res-2020-10", max: tls.VersionTLS12, suites: []uint16{tls.TLS_RSA_WITH_AES_256_CBC_SHA}},
		{policy: "ELBSecurityPolicy-FS-1-2-Res-2020-10", max: tls.VersionTLS12, suites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256}},
		{policy: "ELBSecurityPolicy-FS-1-2-Res-2019-08", max: tls.VersionTLS12, suites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256}, version: tls.VersionTLS12},
		{policy: "ELBSecurityPolicy-TLS-1-0-2015-04", max: tls.VersionTLS12, suites: []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}, version: tls.VersionTLS12},
		{policy: "ELBSecurityPolicy-TLS-1-1-2017-01", min: tls.VersionTLS10, max: tls.VersionTLS10},
		{policy: "ELBSecurityPolicy-TLS13-1-3-2021-06", max: tls.VersionTLS12},
		{policy: "ELBSecurityPolicy-TLS13-1-3-2021-06", version: tls.VersionTLS13},
		{policy: modern, version: tls.VersionTLS13},
		{policy: modern, min: tls.VersionTLS10, max: tls.VersionTLS11},
		{policy: modern, curves: []tls.CurveID{tls.X25519MLKEM768}},
		{policy: "ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", curves: []tls.CurveID{tls.X25519MLKEM768}, version: tls.VersionTLS13},
	} {
		b.swapTLS(secure(t, c.policy, certificate(t, 1, rsaKey(), "a.test")))
		conn, err := tls.Dial("tcp", b.addr, &tls.Config{
			InsecureSkipVerify: true, MinVersion: c.min, MaxVersion: c.max, CipherSuites: c.suites, CurvePreferences: c.curves,
		})
		switch {
		case c.version == 0 && err == nil:
			t.Errorf("%+v: handshake succeeded with %+v", c, conn.ConnectionState())
		case c.version != 0 && err != nil:
			t.Errorf("%+v: %v", c, err)
		case err == nil && conn.ConnectionState().Version != c.version:
			t.Errorf("%+v: version is %x", c, conn.ConnectionState().Version)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

// Certificates change while requests run: none fails, connections stay, and
// sessions are resumed.
func TestSwapCertificates(t *testing.T) {
	target := backend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	b := startTLS(t, secure(t, modern, certificate(t, 1, nil, "a.test")), target)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			c := client(t, i%2 == 0)
			c.Transport.(*http.Transport).MaxConnsPerHost = 1
			var first string
			tr := c.Transport.(*http.Transport)
			tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				nc, err := new(net.Dialer).DialContext(ctx, network, addr)
				if err == nil && first != "" {
					t.Error("a connection was cut")
				}
				first = addr
				return nc, err
			}
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := c.Get("https://" + b.addr)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
		})
	}
	cache := tls.NewLRUClientSessionCache(1)
	for serial := int64(2); serial < 30; serial++ {
		b.swapTLS(secure(t, modern, certificate(t, serial, nil, "a.test")))
		conn, err := tls.Dial("tcp", b.addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != serial {
			t.Errorf("certificate %d is shown, want %d", got, serial)
		}
		_ = conn.Close()
		conn, err = tls.Dial("tcp", b.addr, &tls.Config{InsecureSkipVerify: true, ClientSessionCache: cache, NextProtos: []string{"http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		// The ticket comes with the first answer.
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		_, _ = bufio.NewReader(conn).ReadByte()
		if serial > 2 && !conn.ConnectionState().DidResume {
			t.Error("the session was not resumed")
		}
		_ = conn.Close()
	}
	close(stop)
	wg.Wait()
}

func TestSlowHandshake(t *testing.T) {
	s := secure(t, modern, certificate(t, 1, nil, "a.test"))
	s.HandshakeTimeout = 50 * time.Millisecond
	b := startTLS(t, s)
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte{22, 3, 1, 2}) // the beginning of a hello
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadAll(c); err != nil && isTimeout(err) {
		t.Error("the connection was not closed")
	}
	waitFor(t, func() bool { return b.stats.TLSErrors.Load() == 1 })
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to pass")
		}
	}
}

func TestPlainToSecure(t *testing.T) {
	b := startTLS(t, secure(t, modern, certificate(t, 1, nil, "a.test")))
	resp, err := http.Get("http://" + b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusBadRequest || !bytes.Contains(body, []byte("The plain HTTP request was sent to HTTPS port")) {
		t.Errorf("%s %s", resp.Status, body)
	}
}

// flushed sends what is written at once.
type flushed struct {
	w  io.Writer
	rc *http.ResponseController
}

func (f flushed) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	return n, errors.Join(err, f.rc.Flush())
}

// A body in both directions at once, larger than any window, with trailers.
func TestHTTP2Streaming(t *testing.T) {
	target := backend(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusOK)
		_ = rc.Flush()
		n, err := io.Copy(flushed{w, rc}, r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("X-Sum", fmt.Sprint(n, " ", r.Trailer.Get("X-End")))
	})
	b := startTLS(t, secure(t, modern, certificate(t, 1, nil, "a.test")), target)
	pr, pw := io.Pipe()
	req, _ := http.NewRequest(http.MethodPost, "https://"+b.addr, pr)
	req.Trailer = http.Header{"X-End": nil}
	resp, err := client(t, true).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	// Each message comes back before the next one is sent.
	buf := make([]byte, 5)
	for i := range 20 {
		msg := fmt.Sprintf("%05d", i)
		_, _ = io.WriteString(pw, msg)
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != msg {
			t.Fatalf("got %q, %v, want %s", buf, err, msg)
		}
	}
	const large = 20 << 20
	go func() {
		_, _ = io.CopyN(pw, zeros{}, large)
		req.Trailer.Set("X-End", "yes")
		_ = pw.Close()
	}()
	if n, err := io.Copy(io.Discard, resp.Body); n != large || err != nil {
		t.Errorf("%d bytes came back, %v", n, err)
	}
	if got, want := resp.Trailer.Get("X-Sum"), fmt.Sprint(large+100, " yes"); got != want {
		t.Errorf("trailer is %q, want %q", got, want)
	}
}

// A client that gives up ends the request at the target, and a target that
// breaks off ends the stream alone.
func TestHTTP2Cancel(t *testing.T) {
	began, ended := make(chan struct{}, 1), make(chan struct{})
	target := backend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/wait":
			began <- struct{}{}
			<-r.Context().Done()
			close(ended)
		case "/break":
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "part")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	b := startTLS(t, secure(t, modern, certificate(t, 1, nil, "a.test")), target)
	c := client(t, true)
	get := func(path string) error {
		resp, err := c.Get("https://" + b.addr + path)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	if err := get("/"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-began; cancel() }()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+b.addr+"/wait", http.NoBody)
	if _, err := c.Do(req); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-ended
	if err := get("/break"); err == nil {
		t.Error("a response that broke off was whole")
	}
	if err := get("/"); err != nil {
		t.Error(err)
	}
	if n := b.stats.Connections.Load(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

// Shutdown lets streams finish and the client open a new connection elsewhere.
func TestHTTP2Shutdown(t *testing.T) {
	release, began := make(chan struct{}), make(chan struct{})
	target := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-release
		_, _ = io.WriteString(w, "done")
	})
	b := startTLS(t, secure(t, modern, certificate(t, 1, nil, "a.test")), target)
	got := make(chan string, 1)
	go func() {
		resp, err := client(t, true).Get("https://" + b.addr)
		if err != nil {
			got <- err.Error()
			return
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		got <- string(body)
	}()
	<-began
	done := make(chan struct{})
	go func() { defer close(done); b.server.Shutdown(context.Background()) }()
	waitFor(t, b.server.isClosing)
	close(release)
	if g := <-got; g != "done" {
		t.Error(g)
	}
	<-done
}

func BenchmarkHTTP2(b *testing.B) {
	s := startTLS(b, secure(b, modern, certificate(b, 1, nil, "a.test")), rawBackend(b, respond))
	c := client(b, true)
	b.SetParallelism(32)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := c.Get("https://" + s.addr)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
}
