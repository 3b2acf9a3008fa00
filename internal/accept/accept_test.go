package accept

import (
	"context"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"
)

// busy is a listener whose accepter is held up until it is let go.
type busy struct {
	*net.TCPListener
	held chan struct{}
}

func (b busy) Accept() (net.Conn, error) {
	<-b.held
	return b.TCPListener.Accept()
}

// Clients that go on coming, and that the system does not turn away, hold nobody
// up.
func TestClientsThatGoOnComing(t *testing.T) {
	t.Parallel()
	lc := net.ListenConfig{}
	lc.SetMultipathTCP(true) // of which the system turns no client away
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Until(ctx, l, slog.New(slog.DiscardHandler), func(c net.Conn) { _ = c.Close() })
	}()
	cancel()
	for deadline := time.After(10 * time.Second); ; {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		case <-deadline:
			t.Fatal("it goes on")
		default:
		}
		if c, err := net.DialTimeout("tcp", l.Addr().String(), time.Second); err == nil {
			_ = c.Close()
		}
	}
}

// TestTheLastConnections are those that clients had opened when no more were to
// be: they are accepted, however late.
func TestTheLastConnections(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const n = 5
	for range n {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "x"); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	b := busy{l.(*net.TCPListener), make(chan struct{})}
	got, done := 0, make(chan error, 1)
	go func() {
		done <- Until(ctx, b, slog.New(slog.DiscardHandler), func(c net.Conn) {
			got++
			_ = c.Close()
		})
	}()
	cancel()
	<-time.After(3 * last) // the deadline is over
	close(b.held)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got != n {
		t.Errorf("%d of %d connections were accepted", got, n)
	}
	if c, err := net.DialTimeout("tcp", l.Addr().String(), time.Second); err == nil {
		_ = c.Close()
		t.Error("the listener is still open")
	}
}

func TestAListenerThatFails(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := Until(t.Context(), l, slog.New(slog.DiscardHandler), func(net.Conn) {}); err == nil {
		t.Error("no error")
	}
}
