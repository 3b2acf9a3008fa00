package conduit

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"roadstead.dev/internal/balancer/l7"
)

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", addr)
}

// namer answers each line with its name and the line, until its client has
// said all.
func namer(t *testing.T, name string) *l7.Target {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for lines := bufio.NewScanner(c); lines.Scan(); {
					if _, err := io.WriteString(c, name+": "+lines.Text()+"\n"); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l7.NewTarget(l.Addr().String(), dialTCP)
}

func group(targets ...*l7.Target) *l7.Group {
	g := l7.NewGroup("group")
	g.Set(l7.GroupSettings{}, targets)
	return g
}

// all leads all connections to g.
func all(g *l7.Group) map[netip.Addr][]Pool {
	return map[netip.Addr][]Pool{{}: {{Weight: 1, Group: g}}}
}

type groupWorld struct {
	addr   string
	server *Server
	port   *Listener
	stats  *l7.Stats
	stop   context.CancelFunc
}

func serveGroup(t *testing.T, table *Table) *groupWorld {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &groupWorld{addr: l.Addr().String(), stats: new(l7.Stats)}
	w.server = NewServer(nil, w.stats, slog.New(slog.DiscardHandler))
	w.port = w.server.NewListener(table)
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	done := make(chan error, 1)
	go func() { done <- w.port.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		w.server.Shutdown(ctx)
		if n := w.stats.Active.Load(); n != 0 {
			t.Errorf("%d connections are active at the end", n)
		}
	})
	return w
}

func (w *groupWorld) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := dialTCP(t.Context(), w.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// say sends a line and returns the answer.
func say(t *testing.T, c net.Conn, line string) string {
	t.Helper()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		t.Fatal(err)
	}
	got, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(got, "\n")
}

// ended fails unless the connection ends.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	if b, err := io.ReadAll(c); len(b) > 0 || (err != nil && isTimeout(err)) {
		t.Errorf("the connection goes on: %q, %v", b, err)
	}
}

func isTimeout(err error) bool {
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

func TestConnectionsTakeTurns(t *testing.T) {
	a, b := namer(t, "a"), namer(t, "b")
	w := serveGroup(t, &Table{Pools: all(group(a, b))})
	seen := map[string]int{}
	for range 6 {
		c := w.dial(t)
		name, _, _ := strings.Cut(say(t, c, "hello"), ":")
		seen[name]++
		if got := say(t, c, "again"); got != name+": again" {
			t.Errorf("one connection went to two targets: %q", got)
		}
	}
	if seen["a"] != 3 || seen["b"] != 3 {
		t.Errorf("turns %v", seen)
	}
	if a.InFlight() != 3 || b.InFlight() != 3 || w.stats.Connections.Load() != 6 || w.stats.Active.Load() != 6 {
		t.Errorf("in flight %d and %d of %d", a.InFlight(), b.InFlight(), w.stats.Connections.Load())
	}
}

// The end of what a client says reaches the target, and what the target still
// says reaches the client.
func TestHalfClose(t *testing.T) {
	one := namer(t, "a")
	w := serveGroup(t, &Table{Pools: all(group(one))})
	c := w.dial(t)
	if _, err := io.WriteString(c, "last words"); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || string(b) != "a: last words\n" {
		t.Errorf("%q, %v", b, err)
	}
	w.stop()
	w.server.Shutdown(t.Context())
	if one.InFlight() != 0 || w.stats.BytesIn.Load() != 10 || w.stats.BytesOut.Load() != 14 {
		t.Errorf("%d in flight, %d bytes in, %d out", one.InFlight(), w.stats.BytesIn.Load(), w.stats.BytesOut.Load())
	}
}

func TestUnreachableTargetIsPassedOver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	dead := l7.NewTarget(l.Addr().String(), dialTCP)
	w := serveGroup(t, &Table{Pools: all(group(dead, namer(t, "b")))})
	for range 4 {
		if got := say(t, w.dial(t), "x"); got != "b: x" {
			t.Errorf("got %q", got)
		}
	}
	if dead.InFlight() != 0 {
		t.Error("nothing is in flight at a target that cannot be reached")
	}
}

func TestNoTarget(t *testing.T) {
	for name, table := range map[string]*Table{"empty group": {Pools: all(group())}, "no group": {}} {
		t.Run(name, func(t *testing.T) {
			w := serveGroup(t, table)
			c, err := dialTCP(t.Context(), w.addr)
			if errors.Is(err, syscall.ECONNRESET) {
				return // it was before the client knew of its beginning
			} else if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			ended(t, c)
		})
	}
}

func TestSwapLeavesConnections(t *testing.T) {
	w := serveGroup(t, &Table{Pools: all(group(namer(t, "a")))})
	old := w.dial(t)
	say(t, old, "x")
	w.port.Swap(&Table{Pools: all(group(namer(t, "b")))})
	if got := say(t, old, "y"); got != "a: y" {
		t.Errorf("the connection under way got %q", got)
	}
	if got := say(t, w.dial(t), "z"); got != "b: z" {
		t.Errorf("the new connection got %q", got)
	}
}

func TestByAddress(t *testing.T) {
	pools := all(group(namer(t, "other")))
	pools[loopback] = []Pool{{Weight: 1, Group: group(namer(t, "own"))}}
	w := serveGroup(t, &Table{Pools: pools})
	if got := say(t, w.dial(t), "x"); got != "own: x" {
		t.Errorf("got %q", got)
	}
}

// What was under way with a target ends when the target is closed.
func TestTargetCloseCuts(t *testing.T) {
	one := namer(t, "a")
	w := serveGroup(t, &Table{Pools: all(group(one))})
	c := w.dial(t)
	say(t, c, "x")
	one.Close()
	ended(t, c)
	w.stop()
	w.server.Shutdown(t.Context())
	if one.InFlight() != 0 {
		t.Errorf("%d in flight", one.InFlight())
	}
}

func TestShutdown(t *testing.T) {
	w := serveGroup(t, &Table{Pools: all(group(namer(t, "a")))})
	c := w.dial(t)
	say(t, c, "x")
	w.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	w.server.Shutdown(ctx)
	if ctx.Err() == nil {
		t.Error("a connection was not waited for")
	}
	ended(t, c)
}

func TestIdleTimeout(t *testing.T) {
	w := serveGroup(t, &Table{Pools: all(group(namer(t, "a"))), Idle: 100 * time.Millisecond})
	c := w.dial(t)
	say(t, c, "x")
	ended(t, c)
}

func TestTLSEnds(t *testing.T) {
	secure := speaks(t, certificate(t, "a.test"))
	secure.HandshakeTimeout = 100 * time.Millisecond
	w := serveGroup(t, &Table{Pools: all(group(namer(t, "a"))), TLS: secure})
	c := tls.Client(w.dial(t), &tls.Config{InsecureSkipVerify: true})
	if got := say(t, c, "x"); got != "a: x" {
		t.Errorf("got %q", got)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Errorf("%q, %v", b, err)
	}
	ended(t, w.dial(t)) // who never begins a handshake
	w.stop()
	w.server.Shutdown(t.Context())
	if n := w.stats.TLSErrors.Load(); n != 1 {
		t.Errorf("%d handshakes failed", n)
	}
}

func TestProxyHeaderComesFirst(t *testing.T) {
	pools := all(group(namer(t, "a")))
	pools[netip.Addr{}][0].Header = ProxyV1
	w := serveGroup(t, &Table{Pools: pools})
	c := w.dial(t)
	lines := bufio.NewReader(c)
	got, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, clientPort, _ := net.SplitHostPort(c.LocalAddr().String())
	_, port, _ := net.SplitHostPort(w.addr)
	if want := "a: PROXY TCP4 127.0.0.1 127.0.0.1 " + clientPort + " " + port + "\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProxyV1(t *testing.T) {
	at := netip.MustParseAddrPort
	for _, c := range []struct {
		client, local netip.AddrPort
		want          string
	}{
		{at("192.0.2.1:1"), at("10.0.0.1:443"), "PROXY TCP4 192.0.2.1 10.0.0.1 1 443\r\n"},
		{at("[2001:db8::1]:65535"), at("[2001:db8::2]:80"), "PROXY TCP6 2001:db8::1 2001:db8::2 65535 80\r\n"},
		{at("[2001:db8::1]:1"), at("10.0.0.1:80"), "PROXY UNKNOWN\r\n"},
		{netip.AddrPort{}, at("10.0.0.1:80"), "PROXY UNKNOWN\r\n"},
	} {
		if got := string(ProxyV1(c.client, c.local)); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
