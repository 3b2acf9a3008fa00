package conduit

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// A client that reads slowly moves something, whatever waits for it in the
// kernel.
func TestSlowReaderIsNotIdle(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<19)
	at := target(t, func(c net.Conn) { _, _ = c.Write(big) })
	w := serve(t, &Table{Idle: 400 * time.Millisecond, Pools: to(Pool{}, at)})
	c := w.dial()
	got := 0
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	for begin := time.Now(); time.Since(begin) < 1200*time.Millisecond; <-tick.C {
		n, err := io.ReadFull(c, make([]byte, 64<<10))
		got += n
		if err != nil {
			t.Fatalf("after %v and %d bytes: %v", time.Since(begin), got, err)
		}
	}
	if n, err := io.Copy(io.Discard, c); err != nil || got+int(n) != len(big) {
		t.Errorf("%d bytes, %v", got+int(n), err)
	}
}

// A target that has said all and takes nothing holds nobody for ever.
func TestWhoTakesNothingIsIdle(t *testing.T) {
	release := make(chan struct{})
	at := target(t, func(c net.Conn) {
		_ = c.(*net.TCPConn).CloseWrite()
		<-release
	})
	defer close(release)
	w := serve(t, &Table{Idle: 200 * time.Millisecond, Pools: to(Pool{}, at)})
	c := w.dial()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Fatalf("%q, %v", b, err)
	}
	for piece := make([]byte, 1<<20); ; {
		_, err := c.Write(piece)
		if err == nil {
			continue
		}
		if isTimeout(err) {
			t.Error("the connection goes on")
		}
		return
	}
}
