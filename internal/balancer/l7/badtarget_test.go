package l7

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// scripted is a target that answers the first request with what the test says,
// and all others with "next".
type scripted struct {
	addr  string
	conns atomic.Int64
}

// next is the answer to all requests but the first.
const next = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"

// script makes a target. First gets the connection once the request is read
// and tells whether it goes on.
func script(t testing.TB, first func(net.Conn, *http.Request) bool) *scripted {
	t.Helper()
	s := new(scripted)
	var served atomic.Bool
	s.addr = rawBackend(t, func(c net.Conn) {
		s.conns.Add(1)
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			if !served.Swap(true) {
				if !first(c, req) {
					return
				}
				continue
			}
			if _, err := io.WriteString(c, next); err != nil {
				return
			}
		}
	})
	return s
}

// one is a client's connection on which requests are sent one after the other.
type one struct {
	t testing.TB
	c net.Conn
	r *bufio.Reader
}

func dialOne(t testing.TB, addr string) *one {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return &one{t, c, bufio.NewReader(c)}
}

// do sends a request and reads the final answer with its body.
func (o *one) do(method, raw string) (status int, body string, interim []int, err error) {
	o.t.Helper()
	if _, err := io.WriteString(o.c, raw); err != nil {
		return 0, "", nil, err
	}
	for {
		resp, err := http.ReadResponse(o.r, &http.Request{Method: method})
		if err != nil {
			return 0, "", interim, err
		}
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			interim = append(interim, resp.StatusCode)
			continue
		}
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b), interim, err
	}
}

// Whatever a target answers, the client gets it whole, or 502, or an answer
// that visibly breaks off; and the next request gets its own answer.
func TestBadTargets(t *testing.T) {
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	const ok = "HTTP/1.1 200 OK\r\n"
	big := strings.Repeat("x", 1000)
	for _, c := range []struct {
		name, answer string
		method       string // GET when empty
		status       int    // 0 where the connection just ends
		body         string
		broken       bool // the body breaks off
		interim      []int
	}{
		{name: "nothing", answer: "", status: 502},
		{name: "HTTP/0.9", answer: "hello", status: 502},
		{name: "HTTP/2 preface", answer: "PRI * HTTP/2.0\r\n\r\n", status: 502},
		{name: "half a head", answer: ok + "Content-Le", status: 502},
		{name: "status of two digits", answer: "HTTP/1.1 20 OK\r\n\r\n", status: 502},
		{name: "status below 100", answer: "HTTP/1.1 099 OK\r\n\r\n", status: 502},
		{name: "version 3", answer: "HTTP/3.0 200 OK\r\n\r\n", status: 502},
		{name: "field without colon", answer: ok + "Content-Length 0\r\n\r\n", status: 502},
		{name: "field without name", answer: ok + ": 0\r\n\r\n", status: 502},
		{name: "space before colon", answer: ok + "Content-Length : 2\r\n\r\nok", status: 502},
		{name: "folded field", answer: ok + "X: a\r\n b\r\nContent-Length: 2\r\n\r\nok", status: 502},
		{name: "NUL in a field", answer: ok + "X: a\x00\r\nContent-Length: 2\r\n\r\nok", status: 502},
		{name: "bare CR in a field", answer: ok + "X: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok", status: 502},
		{name: "bare CR in the reason", answer: "HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\nok", status: 502},
		{name: "bare LF", answer: "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", status: 200, body: "ok"},
		{name: "two lengths", answer: ok + "Content-Length: 2\r\nContent-Length: 4\r\n\r\nokok", status: 502},
		{name: "length and chunks", answer: ok + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", status: 502},
		{name: "length with sign", answer: ok + "Content-Length: +2\r\n\r\nok", status: 502},
		{name: "other coding", answer: ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", status: 502},
		{name: "head of 33 KB", answer: ok + strings.Repeat("X: "+big+"\r\n", 33) + "Content-Length: 2\r\n\r\nok", status: 502},
		{name: "head without end", answer: ok + strings.Repeat("X: "+big+"\r\n", 100), status: 502},
		{name: "line of 17 KB", answer: ok + "X: " + strings.Repeat(big, 17) + "\r\nContent-Length: 2\r\n\r\nok", status: 502},
		{name: "many fields", answer: ok + strings.Repeat("X: y\r\n", 300) + "Content-Length: 2\r\n\r\nok", status: 502},
		{name: "head of 31 KB", answer: ok + strings.Repeat("X: "+big+"\r\n", 30) + "Content-Length: 2\r\n\r\nok", status: 200, body: "ok"},
		{name: "less than its length", answer: ok + "Content-Length: 10\r\n\r\nok", status: 200, body: "ok", broken: true},
		{name: "no byte of its length", answer: ok + "Content-Length: 10\r\n\r\n", status: 200, broken: true},
		{name: "more than its length", answer: ok + "Content-Length: 2\r\n\r\nok" + next, status: 200, body: "ok"},
		{name: "chunks without end", answer: ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", status: 200, body: "ok", broken: true},
		{name: "chunk cut off", answer: ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nok", status: 200, body: "ok", broken: true},
		{name: "malformed chunk at once", answer: ok + "Transfer-Encoding: chunked\r\n\r\nxx\r\nok\r\n", status: 502},
		{name: "chunks and more", answer: ok + "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nX: y\r\n\r\n" + next, status: 200, body: "ok"},
		{name: "length as trailer", answer: ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nContent-Length: 2\r\n\r\n", status: 502},
		{name: "until it closes", answer: ok + "\r\nok", status: 200, body: "ok"},
		{name: "until it closes, 1.0", answer: "HTTP/1.0 200 OK\r\n\r\nok", status: 200, body: "ok"},
		{name: "chunks in 1.0", answer: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 502},
		{name: "204 with a body", answer: "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", status: 204},
		{name: "204 with chunks", answer: "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", status: 204},
		{name: "304 with a body", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok", status: 304},
		{name: "HEAD with a body", method: "HEAD", answer: ok + "Content-Length: 2\r\n\r\nok", status: 200},
		{name: "HEAD with chunks", method: "HEAD", answer: ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", status: 200},
		{name: "100 and then", answer: "HTTP/1.1 100 Continue\r\n\r\n" + ok + "Content-Length: 2\r\n\r\nok", status: 200, body: "ok"},
		{name: "102 and 103", answer: "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + "Content-Length: 2\r\n\r\nok", status: 200, body: "ok", interim: []int{102, 103}},
		{name: "interim with a length", answer: "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + ok + "Content-Length: 2\r\n\r\nok", status: 200, body: "ok", interim: []int{103}},
		{name: "only 100", answer: "HTTP/1.1 100 Continue\r\n\r\n", status: 502},
		{name: "flood of 100", answer: strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 10_000) + ok + "Content-Length: 2\r\n\r\nok", status: 502},
		{name: "101 without being asked", answer: "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + next, status: 502},
		{name: "length named in Connection", answer: ok + "Connection: Content-Length, Set-Cookie\r\nContent-Length: 2\r\n\r\nok", status: 200, body: "ok"},
		{name: "status 600", answer: "HTTP/1.1 600 X\r\nContent-Length: 2\r\n\r\nok", status: 600, body: "ok"},
	} {
		// Target that goes on, which only a length can end, and one that closes.
		for _, closes := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, closes %v", c.name, closes), func(t *testing.T) {
				t.Parallel()
				s := script(t, func(conn net.Conn, _ *http.Request) bool {
					_, err := io.WriteString(conn, c.answer)
					return err == nil && !closes
				})
				b := start(t, Settings{IdleTimeout: 300 * time.Millisecond}, s.addr)
				method, raw := "GET", get
				if c.method != "" {
					method, raw = c.method, strings.Replace(get, "GET", c.method, 1)
				}
				o := dialOne(t, b.addr)
				status, body, interim, err := o.do(method, raw)
				want := c.status
				if want == 502 && !closes && unfinished(c.answer) {
					want = 504 // nothing more comes
				}
				broken := c.broken || !closes && strings.HasPrefix(c.name, "until it closes")
				if status != want || fmt.Sprint(interim) != fmt.Sprint(c.interim) || broken != (err != nil) {
					t.Fatalf("got %d %q %v %v, want %d", status, body, interim, err, want)
				}
				if want == c.status && status < 500 && body != c.body {
					t.Errorf("body is %q, want %q", body, c.body)
				}
				// On the same connection, or on another where it had to end.
				for range 3 {
					status, body, _, err := o.do("GET", get)
					if err != nil {
						o = dialOne(t, b.addr)
						status, body, _, err = o.do("GET", get)
					}
					if status != 200 || body != "next" || err != nil {
						t.Fatalf("the next request got %d %q %v", status, body, err)
					}
				}
			})
		}
	}
}

// unfinished tells whether the answer holds no whole head of a final response.
func unfinished(answer string) bool {
	answer = strings.TrimPrefix(answer, "HTTP/1.1 100 Continue\r\n\r\n")
	return !strings.Contains(answer, "\r\n\r\n") && len(answer) < 64<<10
}

// What a target sends while nobody asks it is never taken for the answer to
// the next request.
func TestUnaskedAnswer(t *testing.T) {
	for name, extra := range map[string]string{
		"an answer": "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
		"a timeout": "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
		"a byte":    "x",
	} {
		for _, method := range []string{"GET", "POST"} {
			t.Run(name+" before "+method, func(t *testing.T) {
				got, sent := make(chan struct{}), make(chan struct{})
				s := script(t, func(conn net.Conn, _ *http.Request) bool {
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
					<-got
					_, _ = io.WriteString(conn, extra)
					close(sent)
					return true
				})
				b := start(t, Settings{}, s.addr)
				o := dialOne(t, b.addr)
				if status, body, _, err := o.do("GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); status != 200 || body != "first" || err != nil {
					t.Fatal(status, body, err)
				}
				waitFor(t, func() bool { return b.group.state.Load().targets[0].InFlight() == 0 })
				close(got)
				<-sent
				status, body, _, err := o.do(method, method+" / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
				if status != 200 || body != "next" || err != nil {
					t.Errorf("got %d %q %v", status, body, err)
				}
			})
		}
	}
}

// A target that hangs, resets, or breaks off, at each step of a request.
func TestTargetBreaksOff(t *testing.T) {
	reset := func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }
	for _, c := range []struct {
		name   string
		first  func(net.Conn)
		hang   bool
		status int
		body   string
	}{
		{"hangs before the head", func(net.Conn) {}, true, 504, ""},
		{"hangs within the head", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX") }, true, 504, ""},
		{"hangs behind the head", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n") }, true, 200, ""},
		{"hangs within the body", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab") }, true, 200, "ab"},
		{"resets before the head", reset, false, 502, ""},
		{"resets within the head", func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nX"); reset(c) }, false, 502, ""},
		{"closes before the head", func(net.Conn) {}, false, 502, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			end := make(chan struct{})
			defer close(end)
			addr := rawBackend(t, func(conn net.Conn) {
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
					return
				}
				c.first(conn)
				if c.hang {
					<-end
				}
			})
			b := start(t, Settings{IdleTimeout: 200 * time.Millisecond}, addr)
			o := dialOne(t, b.addr)
			status, body, _, err := o.do("GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			if status != c.status || status == 200 && (body != c.body || !errors.Is(err, io.ErrUnexpectedEOF)) || status != 200 && err != nil {
				t.Errorf("got %d %q %v", status, body, err)
			}
			// The target alone is to blame.
			class := b.stats.OwnResponses[5].Load()
			if want := int64(1); status == 200 && class != 0 || status != 200 && class != want {
				t.Errorf("%d own answers are counted", class)
			}
		})
	}
}

// A target that is gone costs no request that may be repeated, also where a
// connection to it was kept.
func TestKeptConnectionToTargetThatIsGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		c, err := l.Accept()
		_ = l.Close() // nobody listens from now on
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.WriteString(c, next)
		}
	}()
	other := backend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "other") })
	b := start(t, Settings{}, l.Addr().String())
	o := dialOne(t, b.addr)
	if status, body, _, err := o.do("GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil || status != 200 || body != "next" {
		t.Fatal(status, body, err)
	}
	gone := b.group.state.Load().targets[0]
	b.group.Set(GroupSettings{Algorithm: LeastOutstanding}, []*Target{gone, NewTarget(other, tcpDial)})
	for range 4 {
		if status, body, _, err := o.do("GET", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil || status != 200 || body != "other" {
			t.Fatal(status, body, err)
		}
	}
	if got, want := b.group.Stats.ConnectionErrors.Load(), gone.Stats.ConnectionErrors.Load(); got == 0 || got != want {
		t.Errorf("the group has %d connection errors, the target %d", got, want)
	}
}

// A body that comes where there can be none is not taken for the next response.
func TestBodyWhereNoneIs(t *testing.T) {
	for _, head := range []string{"204 No Content\r\nContent-Length: 40", "204 No Content\r\nTransfer-Encoding: chunked"} {
		s := script(t, func(c net.Conn, _ *http.Request) bool {
			_, _ = io.WriteString(c, "HTTP/1.1 "+head+"\r\n\r\n")
			return true
		})
		b := start(t, Settings{}, s.addr)
		o := dialOne(t, b.addr)
		get := "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
		if _, body, _, err := o.do("GET", get); err != nil || body != "" {
			t.Fatal(body, err)
		}
		if status, body, _, err := o.do("GET", get); err != nil || status != 200 || body != "next" {
			t.Fatal(status, body, err)
		}
		if n := s.conns.Load(); n != 2 {
			t.Errorf("%q: %d connections", head, n)
		}
	}
}
