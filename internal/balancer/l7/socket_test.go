package l7

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// sockets are both ends of a TCP connection.
func sockets(t *testing.T) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a, b = fast(dialed), fast(accepted)
	if _, ok := a.(*socket); !ok {
		t.Fatalf("%T", a)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// More than the kernel takes at once gets through in both directions at the
// same time, and ends where the sender ends.
func TestSocketBothWays(t *testing.T) {
	a, b := sockets(t)
	want := make([]byte, 8<<20)
	for i := range want {
		want[i] = byte(i * i >> 8)
	}
	done := make(chan error, 4)
	for _, c := range []net.Conn{a, b} {
		go func() {
			n, err := c.Write(want)
			if err == nil && n != len(want) {
				err = io.ErrShortWrite
			}
			done <- errors.Join(err, c.(interface{ CloseWrite() error }).CloseWrite())
		}()
		go func() {
			got, err := io.ReadAll(struct{ io.Reader }{c})
			if err == nil && !bytes.Equal(got, want) {
				err = errors.New("other bytes came")
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestSocketErrors(t *testing.T) {
	a, b := sockets(t)
	buf := make([]byte, 10)
	if n, err := a.Read(nil); n != 0 || err != nil {
		t.Errorf("reading nothing: %d %v", n, err)
	}
	_ = a.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := a.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	_ = a.SetReadDeadline(time.Time{})
	if _, err := a.Write(buf); err != nil {
		t.Fatal(err)
	}
	_ = b.(*socket).SetLinger(0)
	_ = b.Close()
	if _, err := a.Read(buf); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("after a reset: %v", err)
	}
	if _, err := a.Write(buf); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("after a reset: %v", err)
	}
	if _, err := b.Read(buf); !errors.Is(err, net.ErrClosed) {
		t.Errorf("once closed: %v", err)
	}
}
