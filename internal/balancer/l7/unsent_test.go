package l7

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// resetDial connects to a target that has reset the connection by the time it is
// there, after sending early.
func resetDial(t testing.TB, early string) (addr string, dial Dial) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String(), func(ctx context.Context, addr string) (net.Conn, error) {
		c, err := tcpDial(ctx, addr)
		if err != nil {
			return nil, err
		}
		far, err := l.Accept()
		if err != nil {
			return nil, err
		}
		_, _ = io.WriteString(far, early)
		_ = far.(*net.TCPConn).SetLinger(0)
		_ = far.Close()
		// The reset is there once nothing can be written any more.
		for err == nil {
			_, err = io.WriteString(c, "\r\n")
		}
		return c, nil
	}
}

// A body that the target could not be sent is never taken for the next request.
func TestBodyThatWasNotSent(t *testing.T) {
	const inner = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, c := range []struct{ name, early, head, body string }{
		{"chunked", "", "Transfer-Encoding: chunked", "23\r\n" + inner + "\r\n0\r\n\r\n"},
		{"with a length", "", "Content-Length: 1000", inner + strings.Repeat("x", 1000-len(inner))},
		{"answered early", "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", "Content-Length: 1000", inner + strings.Repeat("x", 1000-len(inner))},
		{"chunked, answered early", "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n", "Transfer-Encoding: chunked", "23\r\n" + inner + "\r\n0\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, Settings{})
			addr, dial := resetDial(t, c.early)
			b.group.Set(GroupSettings{}, []*Target{NewTarget(addr, dial)})
			nc, err := net.Dial("tcp", b.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(nc, "POST / HTTP/1.1\r\nHost: x\r\n"+c.head+"\r\n\r\n")
			r := bufio.NewReader(nc)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode != http.StatusBadGateway && (c.early == "" || resp.StatusCode != http.StatusRequestEntityTooLarge) {
				t.Errorf("status %d", resp.StatusCode)
			}
			_, _ = io.WriteString(nc, c.body)
			_ = nc.(*net.TCPConn).CloseWrite()
			if more, err := http.ReadResponse(r, nil); err == nil {
				t.Errorf("the body was taken for a request, and answered with %d", more.StatusCode)
			}
			if n := b.stats.Rejected.Load(); n != 0 {
				t.Errorf("%d requests were refused", n)
			}
		})
	}
}

// What a request said is still there when its target answers, though its body
// went through the same buffers, and those are small again afterwards.
func TestRequestOutlivesItsBody(t *testing.T) {
	b := start(t, Settings{})
	app := backend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "s"})
	})
	b.group.Set(GroupSettings{Sticky: true, StickyFor: time.Hour, AppCookie: "session"}, []*Target{NewTarget(app, tcpDial)})
	o := dialOne(t, b.addr)
	body := strings.Repeat("x", 100_000)
	for i := range 3 {
		_, _ = io.WriteString(o.c, "POST / HTTP/1.1\r\nHost: x\r\nOrigin: https://a.test\r\nUser-Agent: Chrome/99.0\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n")
		if resp, err := http.ReadResponse(o.r, nil); err != nil || resp.StatusCode != http.StatusContinue {
			t.Fatal(resp, err)
		}
		_, _ = io.WriteString(o.c, body)
		resp, err := http.ReadResponse(o.r, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		found := false
		for _, k := range resp.Cookies() {
			found = found || k.Name == bindingCookie && k.SameSite == http.SameSiteNoneMode
		}
		if !found {
			t.Errorf("request %d: cookies %v", i, resp.Cookies())
		}
	}
	b.server.mu.Lock()
	defer b.server.mu.Unlock()
	for c := range b.server.conns {
		c := c.(*conn)
		for until := time.Now().Add(10 * time.Second); !c.idle.Load() && time.Now().Before(until); {
			runtime.Gosched()
		}
		if !c.idle.Load() || cap(c.r.buf) > 4*smallBuffer {
			t.Errorf("an idle connection has a buffer of %d bytes", cap(c.r.buf))
		}
	}
}
