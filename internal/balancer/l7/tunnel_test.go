package l7

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// Bytes pass between connections of both kinds, those that lend a buffer and
// those that need one, in pieces of all sizes.
func TestTunnelCopies(t *testing.T) {
	want := make([]byte, 1<<20)
	for i := range want {
		want[i] = byte(i * i >> 8)
	}
	for name, ends := range map[string]func() (far, near net.Conn){
		"socket": func() (net.Conn, net.Conn) { return sockets(t) },
		"other":  net.Pipe,
	} {
		t.Run(name, func(t *testing.T) {
			client, from := ends()
			to, target := sockets(t)
			tun := newTunnel(from, to, 10*time.Second)
			sent := make(chan error, 1)
			go func() {
				rest := want
				for size := 1; len(rest) > 0; size *= 2 {
					n := min(size, len(rest))
					if _, err := client.Write(rest[:n]); err != nil {
						sent <- err
						return
					}
					rest = rest[n:]
				}
				sent <- client.Close()
			}()
			copied := make(chan int64, 1)
			go func() {
				tun.in.run()
				copied <- tun.in.total
			}()
			got, err := io.ReadAll(target)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes came: %v", len(got), err)
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
			if n := <-copied; n != int64(len(want)) {
				t.Errorf("%d bytes are counted", n)
			}
		})
	}
}
