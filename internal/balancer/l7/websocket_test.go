package l7

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// wsPair are both ends of a WebSocket through a load balancer.
type wsPair struct{ client, target *websocket.Conn }

// webSockets opens a WebSocket, over TLS if secure is set.
func webSockets(t *testing.T, secured bool, compress websocket.CompressionMode) wsPair {
	t.Helper()
	accepted := make(chan *websocket.Conn, 1)
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: compress, Subprotocols: []string{"chat"}})
		if err != nil {
			t.Error(err)
			return
		}
		accepted <- c
		<-over
		_ = c.CloseNow()
	})
	b, url := start(t, Settings{}, addr), "ws://"
	if secured {
		b, url = startTLS(t, secure(t, modern, certificate(t, 1, nil, "a.test")), addr), "wss://"
	}
	c, resp, err := websocket.Dial(t.Context(), url+b.addr+"/chat?x=y", &websocket.DialOptions{
		HTTPClient: client(t, false), CompressionMode: compress, Subprotocols: []string{"chat"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || c.Subprotocol() != "chat" {
		t.Errorf("got %s, subprotocol %q", resp.Status, c.Subprotocol())
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	p := wsPair{c, <-accepted}
	p.client.SetReadLimit(-1)
	p.target.SetReadLimit(-1)
	return p
}

// What one end of a WebSocket says the other one hears, whatever it is.
func TestWebSocketMessages(t *testing.T) {
	for _, secured := range []bool{false, true} {
		for name, compress := range map[string]websocket.CompressionMode{"plain": websocket.CompressionDisabled, "deflate": websocket.CompressionContextTakeover} {
			t.Run(fmt.Sprintf("TLS %v, %s", secured, name), func(t *testing.T) {
				t.Parallel()
				p := webSockets(t, secured, compress)
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				for _, way := range []struct {
					name     string
					from, to *websocket.Conn
				}{{"up", p.client, p.target}, {"down", p.target, p.client}} {
					// Around the limits of each form of a frame's length, and
					// of buffers on the way.
					for _, size := range []int{0, 1, 125, 126, 127, 4095, 4096, 65535, 65536, 65537, 1 << 20} {
						for _, kind := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
							// In one frame and in fragments.
							for _, pieces := range []int{1, 7} {
								msg := bytes.Repeat([]byte("é"), size/2+1)[:size&^1]
								if kind == websocket.MessageBinary {
									msg = make([]byte, size)
									_, _ = rand.Read(msg)
								}
								sent := make(chan error, 1)
								go func() { sent <- writePieces(ctx, way.from, kind, msg, pieces) }()
								k, got, err := way.to.Read(ctx)
								if err != nil || k != kind || !bytes.Equal(got, msg) {
									t.Fatalf("%s, %v of %d bytes in %d: %v of %d came, %v", way.name, kind, size, pieces, k, len(got), err)
								}
								if err := <-sent; err != nil {
									t.Fatal(err)
								}
							}
						}
					}
				}
			})
		}
	}
}

func writePieces(ctx context.Context, c *websocket.Conn, kind websocket.MessageType, msg []byte, n int) error {
	if n == 1 {
		return c.Write(ctx, kind, msg)
	}
	w, err := c.Writer(ctx, kind)
	if err != nil {
		return err
	}
	for i := range n {
		if _, err := w.Write(msg[len(msg)*i/n : len(msg)*(i+1)/n]); err != nil {
			return err
		}
	}
	return w.Close()
}

// Pings are answered by the other end, and it learns why a WebSocket ends.
func TestWebSocketControl(t *testing.T) {
	for _, secured := range []bool{false, true} {
		for _, code := range []websocket.StatusCode{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
			for _, up := range []bool{true, false} {
				t.Run(fmt.Sprintf("TLS %v, %d, from the client %v", secured, code, up), func(t *testing.T) {
					t.Parallel()
					p := webSockets(t, secured, websocket.CompressionDisabled)
					from, to := p.client, p.target
					if !up {
						from, to = to, from
					}
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
					defer cancel()
					ended := make(chan error, 1)
					go func() { _, _, err := to.Read(ctx); ended <- err }()
					pinged := from.CloseRead(ctx)
					if err := from.Ping(ctx); err != nil {
						t.Fatal(err)
					}
					_ = from.Close(code, strings.Repeat("r", 123))
					var ce websocket.CloseError
					if err := <-ended; !errors.As(err, &ce) || ce.Code != code || ce.Reason != strings.Repeat("r", 123) {
						t.Errorf("the other end saw %v", err)
					}
					<-pinged.Done()
				})
			}
		}
	}
}

// upgraded opens a tunnel by hand. What the target writes and reads is up to
// the test.
func upgraded(t *testing.T, secured bool, idle time.Duration, target func(net.Conn)) (net.Conn, *bufio.Reader) {
	t.Helper()
	addr := rawBackend(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		if _, err := http.ReadRequest(r); err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		target(c)
	})
	b := start(t, Settings{IdleTimeout: idle}, addr)
	var c net.Conn
	var err error
	if secured {
		b.swapTLS(secure(t, modern, certificate(t, 1, nil, "a.test")))
		c, err = tls.Dial("tcp", b.addr, &tls.Config{InsecureSkipVerify: true})
	} else {
		c, err = net.Dial("tcp", b.addr)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	return c, r
}

// Bytes that are no WebSocket's frames pass as well, in both directions at the
// same time, and either end may close its side alone.
func TestTunnelIsTransparent(t *testing.T) {
	want := make([]byte, 5<<20)
	_, _ = rand.Read(want)
	for _, secured := range []bool{false, true} {
		for _, first := range []string{"client", "target"} {
			t.Run(fmt.Sprintf("TLS %v, %s closes first", secured, first), func(t *testing.T) {
				t.Parallel()
				got, closed := make(chan []byte, 1), make(chan struct{})
				c, r := upgraded(t, secured, time.Minute, func(c net.Conn) {
					in := make(chan []byte)
					go func() { b, _ := io.ReadAll(c); in <- b }()
					if first == "client" {
						// The client's side is closed, and still hears.
						b := <-in
						_, _ = c.Write(want)
						_ = c.(*net.TCPConn).CloseWrite()
						got <- b
						return
					}
					_, _ = c.Write(want)
					_ = c.(*net.TCPConn).CloseWrite()
					close(closed)
					got <- <-in
				})
				half := c.(interface{ CloseWrite() error })
				if first == "target" {
					<-closed
					b, err := io.ReadAll(r)
					if err != nil || !bytes.Equal(b, want) {
						t.Errorf("%d bytes came: %v", len(b), err)
					}
				}
				if _, err := c.Write(want); err != nil {
					t.Fatal(err)
				}
				if err := half.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				if b := <-got; !bytes.Equal(b, want) {
					t.Errorf("%d bytes reached the target", len(b))
				}
				if first == "client" {
					if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, want) {
						t.Errorf("%d bytes came: %v", len(b), err)
					}
				}
			})
		}
	}
}

// A tunnel ends when nothing moves for the idle timeout, and not while
// something moves in one direction.
func TestTunnelIdles(t *testing.T) {
	const idle = 300 * time.Millisecond
	for _, secured := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secured), func(t *testing.T) {
			t.Parallel()
			ended := make(chan time.Time, 1)
			c, r := upgraded(t, secured, idle, func(c net.Conn) {
				tick := time.NewTicker(idle / 5)
				defer tick.Stop()
				for range 12 { // twice the timeout, from the target alone
					<-tick.C
					if _, err := c.Write([]byte{'x'}); err != nil {
						t.Error(err)
					}
				}
				began := time.Now()
				_, _ = c.Read(make([]byte, 1))
				if took := time.Since(began); took < idle-idle/4 {
					t.Errorf("ended after %v", took)
				}
				ended <- time.Now()
			})
			b, err := io.ReadAll(r)
			if len(b) != 12 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%d bytes came: %v", len(b), err)
			}
			<-ended
			_ = c.Close()
		})
	}
}
