package frontdoor

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

type directory map[string]string

func (d directory) Resolve(_ context.Context, name string, _ int32) (vpc, address string, ok bool) {
	address, ok = d[name]
	return "vpc-1", address, ok
}

// echo answers with the request as it came.
func echo(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+" "+r.RequestURI+" "+r.Host+" "+r.Header.Get("X-A")+" "+string(body))
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func serve(t *testing.T, d *Door) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx, l, 80) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		d.Close()
	})
	return l.Addr().String()
}

func exchange(t *testing.T, addr, raw string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, raw)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	return resp.Status + " " + string(body)
}

func TestRelay(t *testing.T) {
	name := "shop-1.us-east-1.elb.localhost"
	addr := serve(t, New(Config{Directory: directory{name: echo(t), "dead.elb.localhost": "127.0.0.1:1"}}))
	for _, c := range []struct{ name, raw, want string }{
		{"by name", "GET /p?q HTTP/1.1\r\nHost: " + name + "\r\nX-A: b\r\nConnection: close\r\n\r\n", "200 OK GET /p?q " + name + " b "},
		{"case and port", "POST / HTTP/1.1\r\nHost: SHOP-1.us-east-1.ELB.localhost:8080\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", "200 OK POST / SHOP-1.us-east-1.ELB.localhost:8080  hi"},
		{"unknown", "GET / HTTP/1.1\r\nHost: other.elb.localhost\r\n\r\n", "404 Not Found Not Found\n"},
		{"garbage", "\x17\x03\x01\r\n\r\n", "400 Bad Request Bad Request\n"},
		{"dead", "GET / HTTP/1.1\r\nHost: dead.elb.localhost\r\n\r\n", "502 Bad Gateway Bad Gateway\n"},
		{"endless", "GET / HTTP/1.1\r\nHost: " + name + "\r\n" + strings.Repeat("X: "+strings.Repeat("a", 8000)+"\r\n", 9), "400 Bad Request Bad Request\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := exchange(t, addr, c.raw); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestAtTheStart asks for a load balancer that listens a little later.
func TestAtTheStart(t *testing.T) {
	const name = "shop-1.us-east-1.elb.localhost"
	target, tries := echo(t), 0
	addr := serve(t, New(Config{
		Directory: directory{name: target}, Starting: time.Minute,
		Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			if tries++; tries < 3 {
				address = "127.0.0.1:1"
			}
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
	}))
	if got := exchange(t, addr, "GET / HTTP/1.1\r\nHost: "+name+"\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "200") || tries != 3 {
		t.Errorf("%q after %d tries", got, tries)
	}
}

// TestShutdownRelaysTheLast stops a door while one request is answered, one
// client has only just connected, and one waits between two requests.
func TestShutdownRelaysTheLast(t *testing.T) {
	const name = "shop-1.us-east-1.elb.localhost"
	asked, answer := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(asked)
			<-answer
		}
		_, _ = io.WriteString(w, "whole")
	}))
	t.Cleanup(s.Close)
	d := New(Config{Directory: directory{name: s.Listener.Addr().String()}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx, l, 80) }()
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		return c
	}
	ask := func(c net.Conn, path string) {
		t.Helper()
		if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: "+name+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	read := func(r *bufio.Reader, what string) {
		t.Helper()
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "whole" {
			t.Errorf("%s: %q %v", what, body, err)
		}
	}
	idle, slow, late := dial(), dial(), dial()
	idling := bufio.NewReader(idle)
	ask(idle, "/")
	read(idling, "at first")
	ask(slow, "/slow")
	<-asked
	ask(late, "/")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	d.Settle(t.Context())
	read(bufio.NewReader(late), "sent before the end")
	left := make(chan struct{})
	go func() {
		defer close(left)
		d.Shutdown(t.Context())
	}()
	close(answer)
	read(bufio.NewReader(slow), "under way")
	s.Config.SetKeepAlivesEnabled(false)
	s.CloseClientConnections() // those that are idle by now
	<-left
	if b, err := io.ReadAll(idling); err != nil || len(b) > 0 {
		t.Errorf("an idle connection ends with %q %v", b, err)
	}
}

// TestRelaySecure speaks TLS with what the name leads to, not with the door.
func TestRelaySecure(t *testing.T) {
	const name = "shop-1.us-east-1.elb.localhost"
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host+" "+r.TLS.ServerName)
	}))
	t.Cleanup(s.Close)
	addr := serve(t, New(Config{Directory: directory{name: s.Listener.Addr().String()}}))
	get := func(host string) (string, error) {
		tr := &http.Transport{
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
			DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", addr)
			},
		}
		resp, err := (&http.Client{Transport: tr}).Get("https://" + host)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
	if got, err := get(name); err != nil || got != name+" "+name {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := get("other.elb.localhost"); err == nil {
		t.Errorf("an unknown name answers %q", got)
	}
}

func TestTakeOver(t *testing.T) {
	name := "shop-1.us-east-1.elb.localhost"
	d := New(Config{Directory: directory{name: echo(t)}})
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if IsLoadBalancer(r.Host) {
			d.ServeHTTP(w, r)
			return
		}
		_, _ = io.WriteString(w, "gateway")
	}))
	t.Cleanup(gateway.Close)
	t.Cleanup(d.Close)
	addr := gateway.Listener.Addr().String()
	big := strings.Repeat("x", 1<<20)
	for _, c := range []struct{ name, raw, want string }{
		{"get", "GET /p?q HTTP/1.1\r\nHost: " + name + ":4566\r\nX-A: b\r\nConnection: close\r\n\r\n", "200 OK GET /p?q " + name + ":4566 b "},
		{"length", "POST / HTTP/1.1\r\nHost: " + name + "\r\nContent-Length: 1048576\r\nConnection: close\r\n\r\n" + big, "200 OK POST / " + name + "  " + big},
		{"chunks", "POST / HTTP/1.1\r\nHost: " + name + "\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "200 OK POST / " + name + "  abc"},
		{"another host", "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "200 OK gateway"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := exchange(t, addr, c.raw); got != c.want {
				t.Errorf("got %.100q, want %.100q", got, c.want)
			}
		})
	}
}

func FuzzPeek(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a.elb.localhost\r\n\r\nrest"))
	f.Add([]byte("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		read, host, err := peek(strings.NewReader(string(data)), nil)
		if !strings.HasPrefix(string(data), string(read)) {
			t.Errorf("read %q of %q", read, data)
		}
		if err == nil && strings.ContainsAny(host, "\r\n /") {
			t.Errorf("host %q", host)
		}
	})
}
