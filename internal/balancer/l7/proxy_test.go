package l7

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"roadstead.dev/internal/balancer/rules"
	"roadstead.dev/internal/model"
)

func tcpDial(ctx context.Context, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

// lb is a listener with one group, and what a test needs of it.
type lb struct {
	addr   string
	server *Server
	group  *Group
	stats  *Stats
}

// start serves settings with a default rule that forwards to targets.
func start(t testing.TB, settings Settings, targets ...string) *lb {
	t.Helper()
	g := NewGroup("arn:group")
	var ts []*Target
	for _, a := range targets {
		ts = append(ts, NewTarget(a, tcpDial))
	}
	g.Set(GroupSettings{}, ts)
	return serve(t, settings, g, Action{Forward: &Forward{Groups: []WeightedGroup{{g, 1}}}})
}

func serve(t testing.TB, settings Settings, g *Group, a Action) *lb {
	t.Helper()
	rs := []rules.Rule{{Default: true}}
	compiled, err := rules.Compile(rs)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &lb{addr: l.Addr().String(), group: g, stats: new(Stats)}
	if settings.Port == 0 {
		settings.Port = 80
	}
	b.server = NewServer(&Table{Rules: compiled, Actions: []Action{a}, Settings: settings}, b.stats, slog.New(slog.DiscardHandler))
	b.server.lastChance = time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.server.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		// What still runs at the end of a test is cut.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		b.server.Shutdown(ctx)
		for _, target := range g.state.Load().targets {
			target.Close()
			if n := target.InFlight(); n != 0 {
				t.Errorf("%d requests in flight at %s at the end", n, target.Addr)
			}
		}
	})
	return b
}

func backend(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// rawBackend answers each connection by f.
func rawBackend(t testing.TB, f func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// talk sends raw bytes and reads until the load balancer closes.
func talk(t testing.TB, addr, raw string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("after %q: %v", b, err)
	}
	return string(b)
}

func TestForwardsHead(t *testing.T) {
	var got atomic.Pointer[http.Request]
	addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
		got.Store(r.Clone(context.Background()))
		w.Header().Set("X-From", "target")
		w.Header().Add("Set-Cookie", "a=1")
		w.Header().Add("Set-Cookie", "b=2")
		_, _ = io.WriteString(w, "hello")
	})
	b := start(t, Settings{}, addr)
	req, _ := http.NewRequest(http.MethodGet, "http://"+b.addr+"/p/%20x?q=1&r", nil)
	req.Host = "shop.example.com"
	req.Header.Set("X-Forwarded-For", "203.0.113.7")
	req.Header.Set("X-Forwarded-Proto", "https")
	req.Header.Set("X-Custom", "kept")
	req.Header.Set("Connection", "X-Hop")
	req.Header.Set("X-Hop", "dropped")
	req.Header.Set("Keep-Alive", "dropped")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || string(body) != "hello" || resp.Header.Get("X-From") != "target" || len(resp.Header["Set-Cookie"]) != 2 {
		t.Errorf("got %v %q %v", resp.Status, body, resp.Header)
	}
	r := got.Load()
	if r.Host != "shop.example.com" || r.RequestURI != "/p/%20x?q=1&r" || r.Proto != "HTTP/1.1" {
		t.Errorf("target saw %s %s %s", r.Host, r.RequestURI, r.Proto)
	}
	for k, want := range map[string]string{
		"X-Forwarded-For": "203.0.113.7, 127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Port": "80",
		"X-Custom": "kept", "X-Hop": "", "Keep-Alive": "", "Connection": "",
	} {
		if v := r.Header.Get(k); v != want {
			t.Errorf("%s: got %q, want %q", k, v, want)
		}
	}
	if v := r.Header.Get("X-Amzn-Trace-Id"); !strings.HasPrefix(v, "Root=1-") || len(v) != len("Root=1-67891233-abcdef012345678912345678") {
		t.Errorf("X-Amzn-Trace-Id: %q", v)
	}
}

func TestHostHeader(t *testing.T) {
	addr := backend(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) })
	for _, c := range []struct {
		name     string
		settings Settings
		raw      string
		want     string
	}{
		{"standard port", Settings{Port: 80}, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "a.test"},
		{"port appended", Settings{Port: 8080}, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "a.test:8080"},
		{"port given", Settings{Port: 8080}, "GET / HTTP/1.1\r\nHost: a.test:4566\r\nConnection: close\r\n\r\n", "a.test:4566"},
		{"preserved", Settings{Port: 8080, PreserveHost: true}, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "a.test"},
		{"HTTP/1.0 without", Settings{Name: "lb.test"}, "GET / HTTP/1.0\r\n\r\n", "lb.test"},
		{"absolute target", Settings{}, "GET http://b.test/x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "b.test"},
		{"absolute target of HTTPS", Settings{}, "GET HTTPS://b.test?x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "400"},
		{"absolute HTTPS", Settings{}, "GET https://b.test/x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "b.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, c.settings, addr)
			got := talk(t, b.addr, c.raw)
			if !strings.HasSuffix(got, "\r\n\r\n"+c.want) && !strings.HasPrefix(got, "HTTP/1.1 "+c.want+" ") {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestOwnAnswers(t *testing.T) {
	refused := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}()
	hangs := rawBackend(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	closes := rawBackend(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1000)) })
	garbage := rawBackend(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1000))
		_, _ = io.WriteString(c, "SSH-2.0-OpenSSH\r\n\r\n")
	})
	ok := backend(t, func(http.ResponseWriter, *http.Request) {})
	get := "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	for _, c := range []struct {
		name, target, raw string
		want              string
	}{
		{"no target", "", get, "503 Service Temporarily Unavailable"},
		{"refused", refused, get, "502 Bad Gateway"},
		{"closed", closes, get, "502 Bad Gateway"},
		{"garbage", garbage, get, "502 Bad Gateway"},
		{"timeout", hangs, get, "504 Gateway Time-out"},
		{"body too slow", hangs, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", "408 Request Time-out"},
		{"head too slow", ok, "GET / HTTP/1.1\r\nHost: a\r\n", "408 Request Time-out"},
		{"no host", ok, "GET / HTTP/1.1\r\n\r\n", "400 Bad Request"},
		{"two hosts", ok, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400 Bad Request"},
		{"length and chunks", ok, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 Bad Request"},
		{"two lengths", ok, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "400 Bad Request"},
		{"plus length", ok, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n12345", "400 Bad Request"},
		{"other coding", ok, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501 Not Implemented"},
		{"coding twice", ok, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 Bad Request"},
		{"chunked in 1.0", ok, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 Bad Request"},
		{"bad chunk", hangs, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n", "400 Bad Request"},
		{"bare LF chunk", hangs, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n", "400 Bad Request"},
		{"space before colon", ok, "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400 Bad Request"},
		{"folded", ok, "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", "400 Bad Request"},
		{"NUL", ok, "GET / HTTP/1.1\r\nHost: a\r\nX: b\x00c\r\n\r\n", "400 Bad Request"},
		{"bare CR", ok, "GET / HTTP/1.1\r\nHost: a\r\nX: b\rc\r\n\r\n", "400 Bad Request"},
		{"HTTP/2", ok, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 HTTP Version Not Supported"},
		{"trace", ok, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "405 Not Allowed"},
		{"connect", ok, "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", "400 Bad Request"},
		{"long target", ok, "GET /" + strings.Repeat("a", 17<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", "414 Request-URI Too Large"},
		{"long line", ok, "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 17<<10) + "\r\n\r\n", "400 Bad Request"},
		{"long head", ok, "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: "+strings.Repeat("a", 8<<10)+"\r\n", 9) + "\r\n", "400 Bad Request"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var targets []string
			if c.target != "" {
				targets = []string{c.target}
			}
			b := start(t, Settings{IdleTimeout: 200 * time.Millisecond}, targets...)
			got := talk(t, b.addr, c.raw)
			head, body, _ := strings.Cut(got, "\r\n\r\n")
			if !strings.HasPrefix(head, "HTTP/1.1 "+c.want+"\r\nServer: awselb/2.0\r\n") {
				t.Fatalf("got %q, want %s", got, c.want)
			}
			want := "<html>\r\n<head><title>" + c.want + "</title></head>\r\n<body>\r\n<center><h1>" + c.want + "</h1></center>\r\n</body>\r\n</html>\r\n"
			if body != want || !strings.Contains(head, fmt.Sprintf("Content-Length: %d", len(want))) {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestBodies(t *testing.T) {
	big := make([]byte, 3<<20)
	_, _ = rand.Read(big)
	echo := backend(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.URL.Query().Get("length") != "" {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		}
		w.Header().Set("Trailer", "X-Sum")
		_, _ = w.Write(b)
		w.Header().Set("X-Sum", fmt.Sprint(len(b), r.Trailer.Get("X-In")))
	})
	b := start(t, Settings{}, echo)
	for _, size := range []int{0, 1, 100, 4 << 10, 5000, 64 << 10, 70_000, len(big)} {
		for _, chunked := range []bool{false, true} {
			for _, length := range []string{"", "1"} {
				name := fmt.Sprintf("%d bytes, chunked %v, length %q", size, chunked, length)
				t.Run(name, func(t *testing.T) {
					var body io.Reader = bytes.NewReader(big[:size])
					if chunked {
						body = struct{ io.Reader }{body}
					}
					req, _ := http.NewRequest(http.MethodPost, "http://"+b.addr+"/?length="+length, body)
					if chunked {
						req.Trailer = http.Header{"X-In": {" in"}}
					}
					resp, err := http.DefaultClient.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					got, err := io.ReadAll(resp.Body)
					if err != nil || !bytes.Equal(got, big[:size]) {
						t.Fatalf("%d bytes came back, %v", len(got), err)
					}
					if length == "" && chunked && size > 0 && resp.Trailer.Get("X-Sum") != fmt.Sprint(size, "in") {
						t.Errorf("trailers %v", resp.Trailer)
					}
				})
			}
		}
	}
	if n := b.stats.OwnResponses[4].Load() + b.stats.OwnResponses[5].Load(); n != 0 {
		t.Errorf("%d own errors", n)
	}
}

func TestBodilessResponses(t *testing.T) {
	addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/head":
			w.Header().Set("Content-Length", "1234")
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		case "/304":
			w.Header().Set("Etag", `"x"`)
			w.WriteHeader(http.StatusNotModified)
		}
	})
	b := start(t, Settings{}, addr)
	// All on one connection, so that a body that is not there would be seen.
	got := talk(t, b.addr, "HEAD /head HTTP/1.1\r\nHost: a\r\n\r\nGET /204 HTTP/1.1\r\nHost: a\r\n\r\n"+
		"GET /304 HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	r := bufio.NewReader(strings.NewReader(got))
	for i, want := range []int{200, 204, 304, 200} {
		method := http.MethodGet
		if i == 0 {
			method = http.MethodHead
		}
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil || resp.StatusCode != want {
			t.Fatalf("response %d: %v %v in %q", i, resp, err, got)
		}
		if i == 0 && resp.ContentLength != 1234 {
			t.Errorf("length %d of HEAD", resp.ContentLength)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
	}
}

func TestOldClientsAndServers(t *testing.T) {
	chunks := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one")
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "two")
	})
	old := rawBackend(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1000))
		_, _ = io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nuntil close")
	})
	for _, c := range []struct{ name, target, raw, want string }{
		{"1.0 client, chunked", chunks, "GET / HTTP/1.0\r\n\r\n", "Connection: close\r\n\r\nonetwo"},
		{"1.1 client, chunked", chunks, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"},
		{"1.0 client, until close", old, "GET / HTTP/1.0\r\n\r\n", "Connection: close\r\n\r\nuntil close"},
		{"1.1 client, until close", old, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "b\r\nuntil close\r\n0\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, Settings{}, c.target)
			if got := talk(t, b.addr, c.raw); !strings.HasSuffix(got, c.want) || !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestExpectContinue(t *testing.T) {
	addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Expect") != "" {
			t.Error("Expect was forwarded")
		}
		_, _ = io.Copy(w, r.Body)
	})
	b := start(t, Settings{}, addr)
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n")
	r := bufio.NewReader(c)
	line, _ := r.ReadString('\n')
	if line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q", line)
	}
	_, _ = r.ReadString('\n')
	_, _ = io.WriteString(c, "data")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(resp.Body); string(body) != "data" {
		t.Errorf("got %q", body)
	}
}

func TestTunnel(t *testing.T) {
	addr := rawBackend(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		req, err := http.ReadRequest(r)
		if err != nil || req.Header.Get("Upgrade") != "websocket" || req.Header.Get("Connection") != "Upgrade" {
			t.Errorf("target got %v %v", req, err)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nfirst ")
		_, _ = io.Copy(c, r)
	})
	b := start(t, Settings{}, addr)
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\nearly ")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != "websocket" || resp.Header.Get("Sec-WebSocket-Accept") != "x" {
		t.Fatalf("got %v %v", resp, err)
	}
	_, _ = io.WriteString(c, "late")
	_ = c.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(r)
	if err != nil || string(got) != "first early late" {
		t.Errorf("got %q %v", got, err)
	}
}

func TestEarlyResponseToUpload(t *testing.T) {
	addr := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	})
	b := start(t, Settings{}, addr)
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\nbegin")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Fatalf("got %v %v", resp, err)
	}
}

func TestStaleConnectionIsReplaced(t *testing.T) {
	// A target that closes each connection after one answer, without saying
	// so: what is pooled is dead when it is taken up again.
	var served atomic.Int64
	addr := rawBackend(t, func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		served.Add(1)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	b := start(t, Settings{}, addr)
	for i := range 20 {
		method := []string{http.MethodGet, http.MethodPost}[i%2]
		req, _ := http.NewRequest(method, "http://"+b.addr+"/", strings.NewReader("x"))
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK || string(body) != "ok" {
			// A POST on a connection that dies in flight is not repeated, as
			// nobody knows whether the target acted on it.
			if method == http.MethodGet || resp.StatusCode != http.StatusBadGateway {
				t.Fatalf("request %d, %s: %s", i, method, resp.Status)
			}
		}
	}
}

func TestRoundRobinAndFailedConnect(t *testing.T) {
	var hits [3]atomic.Int64
	var addrs []string
	for i := range hits {
		addrs = append(addrs, backend(t, func(http.ResponseWriter, *http.Request) { hits[i].Add(1) }))
	}
	b := start(t, Settings{}, addrs...)
	for range 30 {
		resp, err := http.Get("http://" + b.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	for i := range hits {
		if n := hits[i].Load(); n != 10 {
			t.Errorf("target %d got %d of 30", i, n)
		}
	}
	dead := NewTarget("127.0.0.1:1", tcpDial)
	b.group.Set(GroupSettings{}, []*Target{dead, NewTarget(addrs[0], tcpDial)})
	for range 10 {
		resp, err := http.Get("http://" + b.addr)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("got %v %v beside a dead target", resp, err)
		}
		_ = resp.Body.Close()
	}
}

func TestStickiness(t *testing.T) {
	var addrs []string
	for i := range 3 {
		addrs = append(addrs, backend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, i) }))
	}
	b := start(t, Settings{}, addrs...)
	b.group.Set(GroupSettings{Sticky: true, StickyFor: time.Hour}, b.group.state.Load().targets)
	cookie, first := "", ""
	for i := range 10 {
		req, _ := http.NewRequest(http.MethodGet, "http://"+b.addr, nil)
		if cookie != "" {
			req.Header.Set("Cookie", "other=1; "+cookie)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if i == 0 {
			first = string(body)
		}
		if string(body) != first {
			t.Fatalf("request %d went to %s, not to %s", i, body, first)
		}
		set := resp.Cookies()
		if len(set) != 2 || set[0].Name != "AWSALB" || set[1].Name != "AWSALBCORS" || set[1].SameSite != http.SameSiteNoneMode {
			t.Fatalf("cookies %v", set)
		}
		cookie = "AWSALB=" + set[0].Value
	}
}

func TestFixedAndRedirect(t *testing.T) {
	g := NewGroup("none")
	fixed := serve(t, Settings{}, g, Action{Fixed: &model.FixedResponseAction{StatusCode: "404", ContentType: "application/json", MessageBody: `{"no":1}`}})
	got := talk(t, fixed.addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab")
	if strings.Count(got, "HTTP/1.1 404 Not Found\r\nServer: awselb/2.0\r\n") != 2 || !strings.HasSuffix(got, "\r\n\r\n{\"no\":1}") {
		t.Errorf("got %q", got)
	}
	for _, c := range []struct {
		a    model.RedirectAction
		raw  string
		want string
	}{
		{
			model.RedirectAction{Protocol: "HTTPS", Port: "443", Host: "#{host}", Path: "/#{path}", Query: "#{query}", StatusCode: "HTTP_301"},
			"GET /a/b?c=d HTTP/1.1\r\nHost: x.test:8080\r\nConnection: close\r\n\r\n", "https://x.test:443/a/b?c=d",
		},
		{
			model.RedirectAction{Protocol: "#{protocol}", Port: "#{port}", Host: "new.#{host}", Path: "/v2/#{path}", Query: "", StatusCode: "HTTP_302"},
			"GET /a?c HTTP/1.1\r\nHost: x.test\r\nConnection: close\r\n\r\n", "http://new.x.test:80/v2/a",
		},
	} {
		b := serve(t, Settings{}, g, Action{Redirect: &c.a})
		got := talk(t, b.addr, c.raw)
		if !strings.HasPrefix(got, "HTTP/1.1 "+c.a.StatusCode[5:]) || !strings.Contains(got, "\r\nLocation: "+c.want+"\r\n") {
			t.Errorf("got %q, want %s", got, c.want)
		}
	}
}

func TestShutdownFinishesRequests(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan struct{})
	addr := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-release
		_, _ = io.WriteString(w, "finished")
	})
	b := start(t, Settings{}, addr)
	idle, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	type result struct {
		body string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		resp, err := http.Get("http://" + b.addr)
		if err != nil {
			done <- result{"", err}
			return
		}
		body, err := io.ReadAll(resp.Body)
		done <- result{string(body), err}
	}()
	<-entered
	down := make(chan struct{})
	go func() {
		b.server.Shutdown(context.Background())
		close(down)
	}()
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("idle connection: %v", err)
	}
	close(release)
	if r := <-done; r.err != nil || r.body != "finished" {
		t.Errorf("got %+v", r)
	}
	<-down
}
