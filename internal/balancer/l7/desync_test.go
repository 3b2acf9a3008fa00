package l7

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// recorder is a target that keeps every byte that it gets and answers each
// request that net/http sees in them.
type recorder struct {
	addr string

	mu    sync.Mutex
	conns []*recorded
}

// recorded is what came over one connection.
type recorded struct {
	mu       sync.Mutex
	raw      []byte
	requests []string // request line and body of each
	err      error    // what net/http refused
}

func (r *recorded) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.raw = append(r.raw, p...)
	return len(p), nil
}

func newRecorder(t testing.TB) *recorder {
	t.Helper()
	rec := new(recorder)
	rec.addr = rawBackend(t, func(c net.Conn) {
		k := new(recorded)
		rec.mu.Lock()
		rec.conns = append(rec.conns, k)
		rec.mu.Unlock()
		r := bufio.NewReader(io.TeeReader(c, k))
		for {
			req, err := http.ReadRequest(r)
			var body []byte
			if err == nil {
				body, err = io.ReadAll(req.Body)
			}
			k.mu.Lock()
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					k.err = err
				}
				k.mu.Unlock()
				return
			}
			k.requests = append(k.requests, req.Method+" "+req.RequestURI+" "+string(body))
			k.mu.Unlock()
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
				return
			}
		}
	})
	return rec
}

// take returns what came since it was last called. Whatever another server
// could take the bytes for must be the same requests.
func (rec *recorder) take(t failing) (requests []string) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for _, k := range rec.conns {
		k.mu.Lock()
		if k.err != nil && !strings.Contains(k.err.Error(), "reset by peer") {
			t.Errorf("the target cannot understand %q: %v", k.raw, k.err)
		}
		for i := range 1 << 4 {
			l := lenient{preferLength: i&1 != 0, last: i&2 != 0, substring: i&4 != 0, bareLF: i&8 != 0}
			if got := l.requests(k.raw); len(got) < len(k.requests) || !equal(got[:len(k.requests)], k.requests) || len(got) > len(k.requests)+1 {
				t.Errorf("%+v understands %q as %q, net/http as %q", l, k.raw, got, k.requests)
			}
		}
		requests = append(requests, k.requests...)
		if bytes.Contains(bytes.ToLower(k.raw), []byte("\nupgrade:")) {
			t.Errorf("an upgrade reached the target: %q", k.raw)
		}
		k.raw, k.requests, k.err = nil, nil, nil
		k.mu.Unlock()
	}
	return requests
}

// failing is what tests and properties have in common.
type failing interface {
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Helper()
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// lenient is a careless server, of the kinds that smuggling preys on.
type lenient struct {
	preferLength bool // Content-Length before Transfer-Encoding
	last         bool // the last of several fields counts
	substring    bool // any coding that contains "chunked" is
	bareLF       bool // ends lines
}

// requests are those that the server sees in raw. One that is not complete is
// the last, without its body.
func (l lenient) requests(raw []byte) (out []string) {
	for len(raw) > 0 {
		head, rest, ok := bytes.Cut(raw, []byte("\r\n\r\n"))
		lines := bytes.Split(head, []byte("\r\n"))
		if l.bareLF {
			head, rest, ok = bytes.Cut(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
			lines = bytes.Split(head, []byte("\n"))
			if ok {
				// The body as it is.
				_, rest, _ = bytes.Cut(raw, []byte("\r\n\r\n"))
			}
		}
		if !ok {
			return append(out, string(raw))
		}
		length, chunked, seen := 0, false, false
		for _, line := range lines[1:] {
			name, value, _ := bytes.Cut(line, []byte(":"))
			v := strings.ToLower(strings.Trim(string(value), " \t\v\f\r\"'"))
			switch strings.ToLower(strings.Trim(string(name), " \t\v\f\r\x00")) {
			case "content-length":
				n, err := strconv.Atoi(strings.TrimLeft(v, "+"))
				if err == nil && (l.last || !seen) {
					length, seen = n, true
				}
			case "transfer-encoding":
				if is := v == "chunked" || l.substring && strings.Contains(v, "chunked"); l.last {
					chunked = is
				} else {
					chunked = chunked || is
				}
			}
		}
		if l.preferLength && seen {
			chunked = false
		}
		f := strings.Fields(string(lines[0]))
		first := strings.Join(f[:min(2, len(f))], " ")
		var body []byte
		if chunked {
			body, rest, ok = l.chunks(rest)
		} else {
			ok = len(rest) >= length
			if ok {
				body, rest = rest[:length], rest[length:]
			}
		}
		if !ok {
			return append(out, first)
		}
		out = append(out, first+" "+string(body))
		raw = rest
	}
	return out
}

// chunks decodes with as little care.
func (l lenient) chunks(b []byte) (body, rest []byte, ok bool) {
	for {
		line, after, found := bytes.Cut(b, []byte("\n"))
		if !found {
			return nil, nil, false
		}
		digits := 0
		for digits < len(line) && strings.IndexByte("0123456789abcdefABCDEF", line[digits]) >= 0 {
			digits++
		}
		n, err := strconv.ParseInt(string(line[:digits]), 16, 32)
		if err != nil {
			return nil, nil, false
		}
		if n == 0 {
			for {
				line, after, found = bytes.Cut(after, []byte("\n"))
				if !found {
					return nil, nil, false
				}
				if len(bytes.TrimSpace(line)) == 0 {
					return body, after, true
				}
			}
		}
		if len(after) < int(n)+2 {
			return nil, nil, false
		}
		body, b = append(body, after[:n]...), after[n+2:]
	}
}

// pipe sends raw bytes, says that there are no more, and reads all answers.
func pipe(t failing, addr, raw string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	go func() {
		_, _ = io.WriteString(c, raw)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if isTimeout(err) {
		t.Fatalf("after %q: %v", got, err)
	}
	return string(got)
}

// statuses are those of the answers, in order.
func statuses(t failing, got string) (out []int) {
	r := bufio.NewReader(strings.NewReader(got))
	for {
		if _, err := r.Peek(1); err != nil {
			return out
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("%v in %q", err, got)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		out = append(out, resp.StatusCode)
	}
}

// What comes after a request whose end is not beyond doubt never reaches a
// target, and what reaches it is exactly what was asked.
func TestSmuggling(t *testing.T) {
	rec := newRecorder(t)
	b := start(t, Settings{IdleTimeout: 5 * time.Second}, rec.addr)
	// What an attack wants the target to take for a request.
	const evil = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
	post := func(fields, body string) string { return "POST /p HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + body }
	length := fmt.Sprintf("Content-Length: %d\r\n", len(evil)+5)
	for _, c := range []struct {
		name, raw string
		want      []int
		requests  []string
	}{
		{"CL.TE", post(length+"Transfer-Encoding: chunked\r\n", "0\r\n\r\n"+evil), []int{400}, nil},
		{"TE.CL", post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "1f\r\n"+evil+"\r\n0\r\n\r\n"), []int{400}, nil},
		{"TE.TE, one odd", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", "0\r\n\r\n"+evil), []int{501}, nil},
		{"TE.TE, identity", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"+evil), []int{400}, nil},
		{"TE.TE, identity first", post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+evil), []int{400}, nil},
		{"TE list", post("Transfer-Encoding: identity, chunked\r\n", "0\r\n\r\n"+evil), []int{501}, nil},
		{"TE list, chunked not last", post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"+evil), []int{501}, nil},
		{"TE with space before colon", post(length+"Transfer-Encoding : chunked\r\n", "0\r\n\r\n"+evil), []int{400}, nil},
		{"TE behind a tab", post(length+"\tTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+evil), []int{400}, nil},
		{"TE folded", post(length+"X: y\r\n Transfer-Encoding: chunked\r\n", "0\r\n\r\n"+evil), []int{400}, nil},
		{"TE value folded", post(length+"Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"+evil), []int{400}, nil},
		{"TE with vertical tab", post(length+"Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"+evil), []int{400}, nil},
		{"TE quoted", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"+evil), []int{501}, nil},
		{"TE with bare CR before", post(length+"X: y\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+evil), []int{400}, nil},
		{"TE with NUL", post(length+"Transfer-Encoding\x00: chunked\r\n", "0\r\n\r\n"+evil), []int{400}, nil},
		{"TE with high byte", post(length+"Transfer-Encoding: \xffchunked\r\n", "0\r\n\r\n"+evil), []int{501}, nil},
		{"TE with underscore", post("Content-Length: 2\r\nTransfer_Encoding: chunked\r\n", "ab"), []int{200}, []string{"POST /p ab"}},
		{"TE empty", post(length+"Transfer-Encoding: \r\n", "0\r\n\r\n"+evil), []int{501}, nil},
		{"identity alone", post("Content-Length: 2\r\nTransfer-Encoding: identity\r\n", "ab"), []int{200}, []string{"POST /p ab"}},
		{"two lengths", post("Content-Length: 0\r\n"+length, "0\r\n\r\n"+evil), []int{400}, nil},
		{"two equal lengths", post("Content-Length: 2\r\nContent-Length: 2\r\n", "ab"), []int{400}, nil},
		{"list of lengths", post("Content-Length: 2, 2\r\n", "ab"), []int{400}, nil},
		{"plus length", post("Content-Length: +2\r\n", "ab"), []int{400}, nil},
		{"minus length", post("Content-Length: -2\r\n", "ab"), []int{400}, nil},
		{"length with space", post("Content-Length: 2 2\r\n", "ab"), []int{400}, nil},
		{"length with underscore", post("Content-Length: 1_0\r\n", "ab"), []int{400}, nil},
		{"length in hex", post("Content-Length: 0x2\r\n", "ab"), []int{400}, nil},
		{"length with zeros", post("Content-Length: 0002\r\n", "ab"), []int{200}, []string{"POST /p ab"}},
		{"length behind a space", post("Content-Length : 2\r\n", "ab"), []int{400}, nil},
		{"huge length", post("Content-Length: 18446744073709551618\r\n", "ab"), []int{400}, nil},
		{"GET with a body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 31\r\n\r\n" + evil, []int{200}, []string{"GET / " + evil}},
		{"length named in Connection", post("Connection: Content-Length\r\nContent-Length: 31\r\n", evil), []int{200}, []string{"POST /p " + evil}},
		{"coding named in Connection", post("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", "1f\r\n"+evil+"\r\n0\r\n\r\n"), []int{200}, []string{"POST /p " + evil}},
		{"size with a sign", post("Transfer-Encoding: chunked\r\n", "+1\r\na\r\n0\r\n\r\n"), []int{400}, nil},
		{"size in 0x", post("Transfer-Encoding: chunked\r\n", "0x1\r\na\r\n0\r\n\r\n"), []int{400}, nil},
		{"two sizes", post("Transfer-Encoding: chunked\r\n", "1 1\r\na\r\n0\r\n\r\n"), []int{400}, nil},
		{"size that overflows", post("Transfer-Encoding: chunked\r\n", "10000000000000001\r\na\r\n0\r\n\r\n"), []int{400}, nil},
		{"no size", post("Transfer-Encoding: chunked\r\n", "\r\na\r\n0\r\n\r\n"), []int{400}, nil},
		{"size with zeros", post("Transfer-Encoding: chunked\r\n", "0001\r\na\r\n000\r\n\r\n"), []int{200}, []string{"POST /p a"}},
		{"extension", post("Transfer-Encoding: chunked\r\n", "1;x=\"y\"\r\na\r\n0\r\n\r\n"), []int{200}, []string{"POST /p a"}},
		{"extension with bare LF", post("Transfer-Encoding: chunked\r\n", "1;x\nab\r\na\r\n0\r\n\r\n"), []int{400}, nil},
		{"extension with bare CR", post("Transfer-Encoding: chunked\r\n", "1;x\ra\r\na\r\n0\r\n\r\n"), []int{400}, nil},
		{"more data than its size", post("Transfer-Encoding: chunked\r\n", "1\r\nab\r\n0\r\n\r\n"), []int{400}, nil},
		{"data ends in bare LF", post("Transfer-Encoding: chunked\r\n", "1\r\na\n0\r\n\r\n"), []int{400}, nil},
		{"trailer", post("Transfer-Encoding: chunked\r\nTrailer: X\r\n", "1\r\na\r\n0\r\nX: y\r\n\r\n"), []int{200}, []string{"POST /p a"}},
		{"length as trailer", post("Transfer-Encoding: chunked\r\n", "0\r\nContent-Length: 5\r\n\r\n"), []int{400}, nil},
		{"coding as trailer", post("Transfer-Encoding: chunked\r\n", "0\r\nTransfer-Encoding: chunked\r\n\r\n"), []int{400}, nil},
		{"host as trailer", post("Transfer-Encoding: chunked\r\n", "0\r\nHost: b\r\n\r\n"), []int{400}, nil},
		{"address as trailer", post("Transfer-Encoding: chunked\r\n", "0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n"), []int{400}, nil},
		{"trailer without name", post("Transfer-Encoding: chunked\r\n", "0\r\n: x\r\n\r\n"), []int{400}, nil},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + evil, []int{400}, nil},
		{"host with a path", "GET / HTTP/1.1\r\nHost: a/../b\r\n\r\n" + evil, []int{400}, nil},
		{"host behind a space", "GET / HTTP/1.1\r\nHost : a\r\n\r\n" + evil, []int{400}, nil},
		{"target with a space", "GET /a HTTP/1.1\r\nX: /b HTTP/1.1\r\n\r\n" + evil, []int{400}, nil},
		{"two spaces", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n" + evil, []int{400}, nil},
		{"HTTP/0.9", "GET /\r\n\r\n" + evil, []int{400}, nil},
		{"lower-case version", "GET / http/1.1\r\nHost: a\r\n\r\n" + evil, []int{400}, nil},
		{"version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n" + evil, []int{505}, nil},
		{"version 1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n" + evil, []int{400}, nil},
		{"h2c", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n", []int{200}, []string{"GET / "}},
		{"H2C", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: H2C\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n", []int{200}, []string{"GET / "}},
		{"websocket, h2c", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n", []int{200}, []string{"GET / "}},
		{"pipelined", "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n" + post("Content-Length: 1\r\n", "x") + post("Transfer-Encoding: chunked\r\n", "1\r\ny\r\n0\r\n\r\n") + "HEAD /2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + evil, []int{200, 200, 200, 200}, []string{"GET /1 ", "POST /p x", "POST /p y", "HEAD /2 "}},
		{"empty lines between", "\r\n\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", []int{200, 200}, []string{"GET /1 ", "GET /2 "}},
		{"body cut off", post("Content-Length: 10\r\n", "abc"), nil, nil},
		{"chunks cut off", post("Transfer-Encoding: chunked\r\n", "5\r\nabc"), nil, nil},
		{"head cut off", "GET / HTTP/1.1\r\nHost: a\r\n", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := c.raw
			got := pipe(t, b.addr, raw)
			if c.name == "pipelined" {
				// The answer to HEAD has a length and no body.
				got += "ok"
			}
			if s := statuses(t, got); fmt.Sprint(s) != fmt.Sprint(c.want) {
				t.Errorf("answers %v to %q, want %v", s, raw, c.want)
			}
			if got := rec.take(t); !equal(got, c.requests) {
				t.Errorf("target got %q, want %q", got, c.requests)
			}
		})
	}
}

// TestSmugglingPieces puts requests together from the pieces that attacks are
// made of: whatever the target gets, it can be understood in one way alone.
func TestSmugglingPieces(t *testing.T) {
	rec := newRecorder(t)
	b := start(t, Settings{IdleTimeout: 5 * time.Second}, rec.addr)
	forwarded := 0
	rapid.Check(t, func(t *rapid.T) {
		one := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
		odd := func(label, usual string, of ...string) string {
			if rapid.IntRange(0, 7).Draw(t, label+" is odd") > 0 {
				return usual
			}
			return one(label, of...)
		}
		raw := ""
		for range rapid.IntRange(1, 3).Draw(t, "requests") {
			eol := func() string { return odd("eol", "\r\n", "\n", "\r", "\n\r", "\r\r\n") }
			raw += one("method", "GET", "POST") + " " + odd("target", "/a", "/a%0d%0aX:y", "//a", "/a#b", "/a?b", "/\xff") + " " + odd("version", "HTTP/1.1", "HTTP/1.0", "HTTP/1.10") + eol() + "Host: a" + eol()
			for range rapid.IntRange(0, 3).Draw(t, "fields") {
				raw += one("name", "Content-Length", "Transfer-Encoding", "content-length", "Connection", "Expect", "Trailer", "X") +
					odd("colon", ": ", ":", " : ", ":\t", "\x00:", ":\x0b") +
					one("value", "5", "0", "3", "chunked", "identity", "close", "keep-alive", "Content-Length", "100-continue", "5, 5", "+5") +
					odd("tail", "", " ", "\t", "\x0b", ",", ";q=1") + eol()
			}
			raw += eol() + one("body", "", "hello", "0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "3\nabc\n0\n\n", "5;x\r\nhello\r\n0\r\nX: y\r\n\r\n", "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n")
		}
		pipe(t, b.addr, raw)
		forwarded += len(rec.take(t))
	})
	if forwarded == 0 {
		t.Error("no request reached the target")
	}
}
