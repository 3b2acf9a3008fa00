package l7

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
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
			if resp.StatusCode != 502 && (c.early == "" || resp.StatusCode != 413) {
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
