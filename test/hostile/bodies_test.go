package hostile

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"roadstead.dev/internal/api"
)

// ordinary is a request that any client sends all day; it must be served while
// others misbehave.
func ordinary(ctx context.Context) error {
	op := service("ecs").Operation("ListClusters")
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req := request(ctx, op, []byte("{}"))
	sign(req, op.Service(), []byte("{}"))
	a, err := send("ordinary", op, req)
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("%d %s", a.status, a.body)
	}
	return err
}

// zeros is a body of n bytes that costs nothing.
func zeros(n int64) io.Reader { return io.LimitReader(zero{}, n) }

type zero struct{}

func (zero) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

const huge = 100 << 20

// Bodies of 100 MB are refused, as each protocol does, and not kept.
func TestHugeBodies(t *testing.T) {
	operations := []*api.Operation{
		service("ecs").Operation("RegisterTaskDefinition"), service("iam").Operation("CreateRole"), service("ec2").Operation("CreateVpc"),
	}
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.Copy(z, zeros(256<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(bomb.Bytes())
	kinds := map[string]func(*http.Request){
		"declared": func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(zeros(huge)), huge },
		"chunked":  func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(zeros(huge)), -1 },
		"a bomb": func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(bomb.Bytes())), int64(bomb.Len())
			r.Header.Set("Content-Encoding", "gzip")
			r.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
		},
	}
	for i, name := range slices.Sorted(maps.Keys(kinds)) {
		prepare, some := kinds[name], operations
		if !*exhaustive {
			some = operations[i : i+1]
		}
		for _, op := range some {
			// Many at once, since each may cost memory.
			var all sync.WaitGroup
			for range 6 {
				all.Go(func() {
					req := request(t.Context(), op, nil)
					req.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
					prepare(req)
					signHashed(req, op.Service(), req.Header.Get("X-Amz-Content-Sha256"))
					begun := time.Now()
					a, err := send(op.Service().Name+" "+name, op, req)
					if err != nil && a == nil && gone(err) {
						return // refused so early that the connection ended under the body
					}
					if err != nil {
						t.Error(err)
						return
					}
					if a.status != http.StatusRequestEntityTooLarge {
						t.Errorf("%s, %s: %d %s after %v", op.Name, name, a.status, a.body, time.Since(begun))
					}
				})
			}
			all.Wait()
		}
		now, peak := target.rss()
		t.Logf("%s: the server takes %d MB, at most %d MB", name, now>>10, peak>>10)
		if peak > maxRSS {
			t.Errorf("%s: %d MB", name, peak>>10)
		}
		if err := ordinary(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// gone tells whether the server closed the connection on a client that was
// still sending.
func gone(err error) bool {
	for _, s := range []string{"connection reset", "broken pipe", "EOF", "closed network connection"} {
		if strings.Contains(err.Error(), s) {
			return true
		}
	}
	return false
}

// Thousands of connections that say nothing, half a head or half a body keep
// nobody else waiting.
func TestManyConnections(t *testing.T) {
	const each = 700
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	for name, text := range map[string]string{
		"silent":      "",
		"half a head": "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Tar",
		"half a body": "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonEC2ContainerServiceV20141113.ListClusters\r\nContent-Length: 1000000\r\n\r\n{\"a\":",
		"a chunk":     "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\nx",
	} {
		for range each {
			c, err := new(net.Dialer).DialContext(t.Context(), "tcp", target.addr)
			if err != nil {
				t.Fatalf("%s, connection %d: %v", name, len(open), err)
			}
			open = append(open, c)
			if _, err := io.WriteString(c, text); err != nil && !gone(err) {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		if err := ordinary(t.Context()); err != nil {
			t.Errorf("beside %d connections, %s the last: %v", len(open), name, err)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("beside %s: %v", name, took)
		}
	}
	now, peak := target.rss()
	t.Logf("%d connections: the server takes %d MB, at most %d MB", len(open), now>>10, peak>>10)
}

// A client that sends a byte now and then is not waited for without end, and
// keeps nobody waiting. How long it may take is tested where bodies are read.
func TestSlowBodies(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			c, err := new(net.Dialer).DialContext(t.Context(), "tcp", target.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonEC2ContainerServiceV20141113.ListClusters\r\nContent-Length: 1000000\r\n\r\n")
			for tick := time.NewTicker(100 * time.Millisecond); ; {
				select {
				case <-ctx.Done():
					tick.Stop()
					return
				case <-tick.C:
				}
				if _, err := c.Write([]byte(" ")); err != nil {
					return
				}
			}
		})
	}
	for ctx.Err() == nil {
		if err := ordinary(t.Context()); err != nil {
			t.Error(err)
			break
		}
	}
	all.Wait()
}

// What is not HTTP, or nearly, is refused or hung up on.
func TestBrokenHTTP(t *testing.T) {
	const target1 = "X-Amz-Target: AmazonEC2ContainerServiceV20141113.ListClusters\r\n"
	many := func(n int, line string) string { return strings.Repeat(line, n) }
	for name, text := range map[string]string{
		"noise":                   "\x00\x01\x02\xff\xfe\r\n\r\n",
		"TLS's hello":             "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
		"a cut TLS record":        "\x16\x03\x01\xff\xff",
		"HTTP/2's preface":        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"HTTP/2 noise":            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + strings.Repeat("\xff", 100),
		"SSH":                     "SSH-2.0-OpenSSH_9.0\r\n",
		"an empty line":           "\r\n\r\n",
		"HTTP/0.9":                "GET /\r\n\r\n",
		"HTTP/9.9":                "GET / HTTP/9.9\r\nHost: x\r\n\r\n",
		"no host":                 "POST / HTTP/1.1\r\n" + target1 + "Content-Length: 2\r\n\r\n{}",
		"two hosts":               "POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + target1 + "Content-Length: 2\r\n\r\n{}",
		"a host of noise":         "POST / HTTP/1.1\r\nHost: \x01\xff\r\n" + target1 + "Content-Length: 2\r\n\r\n{}",
		"a long method":           strings.Repeat("A", 100_000) + " / HTTP/1.1\r\nHost: x\r\n\r\n",
		"a bad method":            "P(ST / HTTP/1.1\r\nHost: x\r\n\r\n",
		"a long URI":              "GET /?Action=" + strings.Repeat("a", 4<<20) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"a long path":             "GET /" + strings.Repeat("a/", 300_000) + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"many parameters":         "GET /?" + many(100_000, "a&") + " HTTP/1.1\r\nHost: x\r\n\r\n",
		"a URI of noise":          "GET /%zz?%zz=%zz HTTP/1.1\r\nHost: x\r\n\r\n",
		"a URI with NUL":          "GET /%00/..%2f..%2f?a=%00 HTTP/1.1\r\nHost: x\r\n\r\n",
		"an absolute URI":         "GET http://169.254.169.254/latest/meta-data HTTP/1.1\r\nHost: x\r\n\r\n",
		"no URI of HTTP's":        "GET file:///etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
		"the asterisk":            "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
		"CONNECT":                 "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: x\r\n\r\n",
		"TRACE":                   "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
		"many headers":            "GET / HTTP/1.1\r\nHost: x\r\n" + many(50_000, "X-A: b\r\n") + "\r\n",
		"a long header":           "GET / HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 4<<20) + "\r\n\r\n",
		"a long name of a header": "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("a", 500_000) + ": b\r\n\r\n",
		"a folded header":         "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n",
		"a header without colon":  "GET / HTTP/1.1\r\nHost: x\r\nX-A b\r\n\r\n",
		"a space before colon":    "GET / HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n",
		"NUL in a header":         "GET / HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n",
		"two lengths":             "POST / HTTP/1.1\r\nHost: x\r\n" + target1 + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
		"a negative length":       "POST / HTTP/1.1\r\nHost: x\r\n" + target1 + "Content-Length: -1\r\n\r\n",
		"a long length":           "POST / HTTP/1.1\r\nHost: x\r\n" + target1 + "Content-Length: 99999999999999999999999\r\n\r\n",
		"a length of 2^63-1":      "POST / HTTP/1.1\r\nHost: x\r\n" + target1 + "Content-Length: 9223372036854775807\r\n\r\n{}",
		"length and chunks":       "POST / HTTP/1.1\r\nHost: x\r\n" + target1 + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"another encoding":        "POST / HTTP/1.1\r\nHost: x\r\n" + target1 + "Transfer-Encoding: gzip\r\n\r\n",
		"a bad chunk":             "POST / HTTP/1.1\r\nHost: x\r\n" + target1 + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
		"a chunk of 2^64":         "POST / HTTP/1.1\r\nHost: x\r\n" + target1 + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
		"long chunk extensions":   "POST / HTTP/1.1\r\nHost: x\r\n" + target1 + "Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("a", 1<<20) + "\r\nx\r\n0\r\n\r\n",
		"a bad expectation":       "POST / HTTP/1.1\r\nHost: x\r\n" + target1 + "Expect: 200-maybe\r\nContent-Length: 2\r\n\r\n{}",
		"an upgrade":              "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"bad compression":         "POST / HTTP/1.1\r\nHost: x\r\n" + target1 + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
		"unknown compression":     "POST / HTTP/1.1\r\nHost: x\r\n" + target1 + "Content-Encoding: br\r\nContent-Length: 2\r\n\r\n{}",
		"no operation":            "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonEC2ContainerServiceV20141113.\r\nContent-Length: 2\r\n\r\n{}",
		"no service":              "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: .\r\nContent-Length: 2\r\n\r\n{}",
		"a long target":           "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: " + strings.Repeat("A", 500_000) + "\r\nContent-Length: 2\r\n\r\n{}",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, err := exchangeRaw(t, text)
			if err != nil && !gone(err) && !errors.Is(err, context.DeadlineExceeded) {
				// Not an HTTP answer: TLS speaks so.
				t.Logf("no HTTP answer: %v", err)
			}
			if status >= 500 && status != http.StatusNotImplemented && status != http.StatusHTTPVersionNotSupported {
				t.Errorf("status %d", status)
			}
			if status >= 200 && status < 300 && !strings.HasPrefix(text, "OPTIONS") {
				t.Errorf("status %d", status)
			}
		})
	}
	t.Cleanup(func() {
		if err := ordinary(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// exchangeRaw sends bytes, closes the sending half and reads the answer.
func exchangeRaw(t *testing.T, text string) (status int, err error) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", target.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(c, text) // it may hang up
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err == nil {
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		status = resp.StatusCode
	}
	_ = c.Close()
	<-sent
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		t.Errorf("no answer and no end within the time: %v", err)
	}
	return status, err
}
