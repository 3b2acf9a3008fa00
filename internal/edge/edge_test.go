package edge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/authority"
)

// endpoint is a running server on loopback.
type endpoint struct {
	*Server
	address string
	roots   *x509.CertPool
}

func start(t testing.TB, cfg Config) *endpoint {
	t.Helper()
	ca := authority.New(authority.Config{Dir: t.TempDir()})
	cfg.Certificate = ca.GetCertificate
	pem, err := ca.PEM()
	if err != nil {
		t.Fatal(err)
	}
	e := &endpoint{Server: New(cfg), roots: x509.NewCertPool()}
	e.roots.AppendCertsFromPEM(pem)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e.address = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- e.Serve(l) }()
	t.Cleanup(func() {
		_ = e.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		deadline := time.Now().Add(5 * time.Second)
		for e.cfg.Conns.Open() != 0 {
			if time.Now().After(deadline) {
				t.Fatalf("%d connections have kept their place", e.cfg.Conns.Open())
			}
			<-time.After(time.Millisecond)
		}
	})
	return e
}

// client speaks one protocol; http, https or h2c.
func (e *endpoint) client(protocol string) *http.Client {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: e.roots}, Protocols: new(http.Protocols)}
	switch protocol {
	case "http/1.1":
		tr.Protocols.SetHTTP1(true)
	case "h2":
		tr.Protocols.SetHTTP2(true)
	case "h2c":
		tr.Protocols.SetUnencryptedHTTP2(true)
	default:
		tr.Protocols = nil
		tr.ForceAttemptHTTP2 = true
	}
	return &http.Client{Transport: tr}
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, string) {
	t.Helper()
	defer c.CloseIdleConnections()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// how tells how a request came.
func how(w http.ResponseWriter, r *http.Request) {
	name := "-"
	if r.TLS != nil {
		name = r.TLS.ServerName
	}
	fmt.Fprintf(w, "%s %t %s", r.Proto, r.TLS != nil, name)
}

func TestEveryProtocolOnOnePort(t *testing.T) {
	e := start(t, Config{
		Handler:   http.HandlerFunc(how),
		HTTP1Only: func(name string) bool { return strings.HasSuffix(name, ".elb.localhost") },
	})
	_, port, _ := net.SplitHostPort(e.address)
	for _, tt := range []struct{ protocol, url, want string }{
		{"http/1.1", "http://" + e.address, "HTTP/1.1 false -"},
		{"h2c", "http://" + e.address, "HTTP/2.0 false -"},
		{"http/1.1", "https://" + e.address, "HTTP/1.1 true "},
		{"h2", "https://" + e.address, "HTTP/2.0 true "},
		{"any", "https://localhost:" + port, "HTTP/2.0 true localhost"},
	} {
		if _, got := get(t, e.client(tt.protocol), tt.url); got != tt.want {
			t.Errorf("%s to %s: %q, want %q", tt.protocol, tt.url, got, tt.want)
		}
	}
	c := e.client("any")
	c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, e.address)
	}
	if _, got := get(t, c, "https://web.elb.localhost"); got != "HTTP/1.1 true web.elb.localhost" {
		t.Errorf("a name that is HTTP/1's alone: %q", got)
	}
}

func TestConnectionsCanBeTakenOver(t *testing.T) {
	e := start(t, Config{
		StallTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			line, err := rw.ReadString('\n')
			if err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(c, strings.ToUpper(line))
		}),
	})
	for _, secure := range []bool{false, true} {
		c, err := net.Dial("tcp", e.address)
		if err != nil {
			t.Fatal(err)
		}
		if secure {
			c = tls.Client(c, &tls.Config{RootCAs: e.roots, ServerName: "localhost"})
		}
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nhello\n")
		got, err := bufio.NewReader(c).ReadString('\n')
		if err != nil || got != "HELLO\n" {
			t.Errorf("TLS %t: %q, %v", secure, got, err)
		}
		_ = c.Close()
	}
}

// Bytes of any kind arrive whole, from memory and from files.
func TestLargeAnswers(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	path := filepath.Join(t.TempDir(), "file")
	var file bytes.Buffer
	for range 9 {
		file.Write(want)
	}
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	e := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/file" {
			http.ServeFile(w, r, path)
			return
		}
		_, _ = w.Write(want)
	})})
	for _, url := range []string{"http://" + e.address, "https://" + e.address} {
		for _, protocol := range []string{"http/1.1", "h2"} {
			if protocol == "h2" && strings.HasPrefix(url, "http:") {
				protocol = "h2c"
			}
			if _, got := get(t, e.client(protocol), url+"/"); got != string(want) {
				t.Errorf("%s %s: %d bytes of %d", protocol, url, len(got), len(want))
			}
			if _, got := get(t, e.client(protocol), url+"/file"); got != file.String() {
				t.Errorf("%s %s/file: %d bytes of %d", protocol, url, len(got), file.Len())
			}
		}
	}
}

// cutOff waits for the end of a connection.
func cutOff(t *testing.T, c net.Conn, within time.Duration) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(within))
	if _, err := io.Copy(io.Discard, c); err != nil {
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			t.Errorf("the connection is still there after %v", within)
		}
	}
}

func TestSlowBeginningsAreCut(t *testing.T) {
	e := start(t, Config{Handler: http.HandlerFunc(how), HeadTimeout: 200 * time.Millisecond})
	for name, first := range map[string]string{
		"silence":         "",
		"half a head":     "GET / HTTP/1.1\r\nHost:",
		"half a hello":    "\x16\x03\x01\x02\x00\x01",
		"half a preface":  "PRI * HTTP/2.0\r\n",
		"a preface alone": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := net.Dial("tcp", e.address)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = io.WriteString(c, first)
			cutOff(t, c, 5*time.Second)
		})
	}
}

// A client that sends requests and reads no answers holds nothing for long.
func TestClientsThatDoNotReadAreCut(t *testing.T) {
	for _, protocol := range []string{"http/1.1", "h2c"} {
		t.Run(protocol, func(t *testing.T) {
			ended := make(chan error, 1)
			e := start(t, Config{
				StallTimeout: 300 * time.Millisecond,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					_, err := w.Write(make([]byte, 64<<20))
					ended <- err
				}),
			})
			resp, err := e.client(protocol).Get("http://" + e.address)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			select {
			case err := <-ended:
				if err == nil {
					t.Error("64 MB went to a client that does not read")
				}
			case <-time.After(10 * time.Second):
				t.Error("the answer still waits")
			}
		})
	}
}

// An answer may take longer than the stall time when it moves, and may pause.
func TestSlowReadersAreServed(t *testing.T) {
	const stall = 150 * time.Millisecond
	e := start(t, Config{
		StallTimeout: stall,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			control := http.NewResponseController(w)
			for range 3 {
				_, _ = w.Write(make([]byte, 1<<20))
				_ = control.Flush()
				<-time.After(stall + stall/2)
			}
		}),
	})
	for _, protocol := range []string{"http/1.1", "h2c"} {
		_, got := get(t, e.client(protocol), "http://"+e.address)
		if len(got) != 3<<20 {
			t.Errorf("%s: %d bytes", protocol, len(got))
		}
	}
}

func TestShutdownLetsRequestsEnd(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	e := start(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-end
		_, _ = io.WriteString(w, "done")
	})})
	silent, err := net.Dial("tcp", e.address)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + e.address)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		answer <- string(b)
	}()
	<-began
	down := make(chan error, 1)
	go func() { down <- e.Shutdown(t.Context()) }()
	cutOff(t, silent, 5*time.Second)
	close(end)
	if got := <-answer; got != "done" {
		t.Error(got)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

// TestShutdownHearsWhatWasSaid sends requests that nobody has accepted yet when
// the server is told to stop.
func TestShutdownHearsWhatWasSaid(t *testing.T) {
	e := start(t, Config{Handler: http.HandlerFunc(how)})
	var conns []net.Conn
	for range 20 {
		c, err := net.Dial("tcp", e.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	if err := e.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for i, c := range conns {
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 OK") {
			t.Errorf("request %d: %q %v", i, got, err)
		}
	}
}

func BenchmarkConnection(b *testing.B) {
	e := start(b, Config{Handler: http.HandlerFunc(how)})
	plain := &http.Server{Handler: http.HandlerFunc(how)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go plain.Serve(l)
	defer plain.Close()
	for name, address := range map[string]string{"edge": e.address, "net/http": l.Addr().String()} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				c, err := net.Dial("tcp", address)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}
		})
	}
}
