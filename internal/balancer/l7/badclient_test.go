package l7

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// A client that sends a byte now and then has as long as any other for its
// head, and is answered at the end of that.
func TestSlowHead(t *testing.T) {
	rec := newRecorder(t)
	const timeout = 300 * time.Millisecond
	b := start(t, Settings{IdleTimeout: timeout}, rec.addr)
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	began := time.Now()
	var got []byte
	for _, x := range []byte("GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 1000)) {
		_, _ = c.Write([]byte{x})
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		buf := make([]byte, 1024)
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if time.Since(began) > 10*timeout {
			t.Fatal("the client is still waited for")
		}
	}
	if !strings.HasPrefix(string(got), "HTTP/1.1 408 Request Time-out\r\n") {
		t.Errorf("got %q", got)
	}
	if took := time.Since(began); took < timeout {
		t.Errorf("given up after %v", took)
	}
	if reqs := rec.take(t); len(reqs) > 0 {
		t.Errorf("the target got %q", reqs)
	}
}

// A body may come slowly, as long as something comes.
func TestSlowBody(t *testing.T) {
	rec := newRecorder(t)
	b := start(t, Settings{IdleTimeout: 400 * time.Millisecond}, rec.addr)
	o := dialOne(t, b.addr)
	_, _ = io.WriteString(o.c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n")
	for range 29 {
		_, _ = o.c.Write([]byte{'x'})
		_ = o.c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
		if _, err := o.r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("an answer before the end: %v", err)
		}
	}
	_ = o.c.SetDeadline(time.Now().Add(10 * time.Second))
	o.r.Reset(o.c)
	if status, body, _, err := o.do("POST", "x"); status != 200 || body != "ok" || err != nil {
		t.Errorf("got %d %q %v", status, body, err)
	}
	if got := rec.take(t); len(got) != 1 || got[0] != "POST / "+strings.Repeat("x", 30) {
		t.Errorf("the target got %q", got)
	}
}

// A client that goes away takes its request with it, wherever it was.
func TestClientGoesAway(t *testing.T) {
	for _, reset := range []bool{true, false} {
		for _, c := range []struct {
			name, raw string
			// answer is what the target sends, once the client has seen which
			// the client goes; empty when it goes before.
			answer string
		}{
			{"within the head", "GET / HTTP/1.1\r\nHo", ""},
			{"within the body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc", ""},
			{"within a chunk", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nabc", ""},
			{"within the response", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"},
		} {
			t.Run(fmt.Sprintf("%s, reset %v", c.name, reset), func(t *testing.T) {
				gone := make(chan error, 1)
				began := make(chan struct{}, 1)
				addr := rawBackend(t, func(conn net.Conn) {
					req, err := http.ReadRequest(bufio.NewReader(conn))
					if err != nil {
						return
					}
					began <- struct{}{}
					if c.answer == "" {
						_, err := io.Copy(io.Discard, req.Body)
						gone <- err
						return
					}
					_, err = io.WriteString(conn, c.answer)
					for err == nil {
						_, err = conn.Write(make([]byte, 64<<10))
					}
					gone <- err
				})
				b := start(t, Settings{}, addr)
				conn, err := net.Dial("tcp", b.addr)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.WriteString(conn, c.raw)
				if c.name != "within the head" {
					<-began
				}
				if c.answer != "" {
					_, _ = conn.Read(make([]byte, 10))
				}
				if reset {
					_ = conn.(*net.TCPConn).SetLinger(0)
				}
				_ = conn.Close()
				if c.name != "within the head" {
					if err := <-gone; err == nil {
						t.Error("the target took the request for whole")
					}
				}
				waitFor(t, func() bool { return b.stats.Active.Load() == 0 })
			})
		}
	}
}

// A client that closes its side once it has asked still gets its answer.
func TestHalfClosedClient(t *testing.T) {
	release := make(chan struct{})
	addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-release
		_, _ = w.Write(make([]byte, 200_000))
	})
	b := start(t, Settings{}, addr)
	for _, raw := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"} {
		o := dialOne(t, b.addr)
		_, _ = io.WriteString(o.c, raw)
		_ = o.c.(*net.TCPConn).CloseWrite()
		waitFor(t, func() bool { return b.group.state.Load().targets[0].InFlight() > 0 })
		select {
		case release <- struct{}{}:
		case <-time.After(10 * time.Second):
			t.Fatal("the target was not asked")
		}
		resp, err := http.ReadResponse(o.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); n != 200_000 || err != nil {
			t.Errorf("%d bytes came: %v", n, err)
		}
	}
}

// The load balancer itself says 100, at once; what targets say of it is
// nobody's business, and other interim responses are.
func TestExpectations(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, c := range []struct {
		name, fields, answer string
		interim              []int
	}{
		{"target says nothing", "Expect: 100-continue\r\n", ok, []int{100}},
		{"target says 100 as well", "Expect: 100-continue\r\n", "HTTP/1.1 100 Continue\r\n\r\n" + ok, []int{100}},
		{"target says 102 and 103", "Expect: 100-continue\r\n", "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + ok, []int{100, 102, 103}},
		{"in capitals", "Expect: 100-CONTINUE\r\n", ok, []int{100}},
		{"something else", "Expect: tea\r\n", ok, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := script(t, func(conn net.Conn, req *http.Request) bool {
				if e := req.Header.Get("Expect"); (e == "tea") != (c.interim == nil) {
					t.Errorf("the target got Expect: %s", e)
				}
				_, _ = io.WriteString(conn, c.answer)
				return true
			})
			b := start(t, Settings{}, s.addr)
			o := dialOne(t, b.addr)
			_, _ = io.WriteString(o.c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"+c.fields+"\r\n")
			if c.interim != nil {
				// Nothing of the body was sent yet.
				if _, err := o.r.Peek(1); err != nil {
					t.Fatal(err)
				}
			}
			status, body, interim, err := o.do("POST", "ab")
			if status != 200 || body != "ok" || err != nil || fmt.Sprint(interim) != fmt.Sprint(c.interim) {
				t.Errorf("got %d %q %v %v", status, body, interim, err)
			}
			if status, body, _, err := o.do("GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); status != 200 || body != "next" || err != nil {
				t.Errorf("the next request got %d %q %v", status, body, err)
			}
		})
	}
}

// More addresses than X-Forwarded-For may list have a status of their own, on
// a connection that goes on.
func TestForwardedTooOften(t *testing.T) {
	rec := newRecorder(t)
	b := start(t, Settings{}, rec.addr)
	list := func(n int) string { return strings.TrimSuffix(strings.Repeat("10.0.0.1, ", n), ", ") }
	o := dialOne(t, b.addr)
	for _, c := range []struct {
		fields string
		want   int
	}{
		{"X-Forwarded-For: " + list(30) + "\r\n", 200},
		{"X-Forwarded-For: " + list(31) + "\r\n", 463},
		{"X-Forwarded-For: " + list(20) + "\r\nx-forwarded-for: " + list(11) + "\r\n", 463},
		{"", 200},
	} {
		if status, _, _, err := o.do("GET", "GET / HTTP/1.1\r\nHost: a\r\n"+c.fields+"\r\n"); status != c.want || err != nil {
			t.Errorf("%q: %d %v, want %d", c.fields, status, err, c.want)
		}
	}
	if got := rec.take(t); len(got) != 2 {
		t.Errorf("the target got %q", got)
	}
}
