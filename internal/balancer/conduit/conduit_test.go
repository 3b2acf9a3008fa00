package conduit

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/balancer/sni"
	"roadstead.dev/internal/plan/sslpolicy"
)

var loopback = netip.MustParseAddr("127.0.0.1")

func certificate(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func speaks(t *testing.T, certificates ...tls.Certificate) *TLS {
	t.Helper()
	policy, ok := sslpolicy.Lookup("ELBSecurityPolicy-TLS13-1-2-2021-06")
	if !ok {
		t.Fatal("the policy is gone")
	}
	return &TLS{Policy: policy, Certificates: sni.New(&certificates[0], certificates[1:])}
}

type world struct {
	t       *testing.T
	s       *Server
	l       *Listener
	address string
	stats   *l7.Stats
}

// serve serves a listener on a free port. Sources are not kept: they are tested
// where there are namespaces.
func serve(t *testing.T, table *Table) *world {
	t.Helper()
	w := &world{t: t, stats: new(l7.Stats)}
	w.s = NewServer(func(ctx context.Context, _ netip.Addr, _, target netip.AddrPort) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", target.String())
	}, w.stats, slog.New(slog.DiscardHandler))
	w.l = w.s.NewListener(table)
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = nl.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.l.Serve(ctx, nl) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		w.s.Shutdown(ctx)
	})
	return w
}

func (w *world) dial() net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.address)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

// target serves connections with f, one after the other.
func target(t *testing.T, f func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			f(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// echo answers what it got once the client is done.
func echo(c net.Conn) {
	all, err := io.ReadAll(c)
	if err == nil {
		_, _ = c.Write(append([]byte("got "), all...))
	}
}

func to(p Pool, targets ...netip.AddrPort) map[netip.Addr][]Pool {
	p.Weight, p.Targets = 1, targets
	return map[netip.Addr][]Pool{loopback: {p}}
}

func TestCarriesBothWaysAndHalves(t *testing.T) {
	front, back := certificate(t, "front.test"), certificate(t, "back.test")
	big := strings.Repeat("0123456789abcdef", 1<<16)
	for _, c := range []struct {
		name     string
		tls      bool
		toTarget *tls.Config
	}{
		{"TCP to TCP", false, nil},
		{"TLS to TCP", true, nil},
		{"TLS to TLS", true, &tls.Config{InsecureSkipVerify: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := target(t, func(nc net.Conn) {
				if c.toTarget != nil {
					nc = tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{back}})
					defer nc.Close()
				}
				echo(nc)
			})
			table := &Table{Idle: time.Minute, Pools: to(Pool{TLS: c.toTarget}, at)}
			if c.tls {
				table.TLS = speaks(t, front)
			}
			w := serve(t, table)
			nc := w.dial()
			if c.tls {
				nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
			}
			if _, err := io.WriteString(nc, big); err != nil {
				t.Fatal(err)
			}
			if err := nc.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(nc)
			if err != nil || string(got) != "got "+big {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

func TestNegotiatesProtocols(t *testing.T) {
	at := target(t, func(c net.Conn) { _, _ = io.WriteString(c, "hello") })
	for _, c := range []struct {
		offered, asked []string
		want           string
	}{
		{[]string{"h2", "http/1.1", "http/1.0"}, []string{"http/1.1", "h2"}, "h2"},
		{[]string{"http/1.1", "http/1.0", "h2"}, []string{"h2", "http/1.1"}, "http/1.1"},
		{[]string{"http/1.1", "http/1.0"}, []string{"h2", "http/1.0"}, "http/1.0"},
		{[]string{"h2"}, []string{"http/1.1"}, ""},
		{[]string{"h2"}, nil, ""},
		{nil, []string{"h2"}, ""},
	} {
		table := &Table{Idle: time.Minute, Pools: to(Pool{}, at), TLS: speaks(t, certificate(t, "a.test"), certificate(t, "b.test"))}
		table.TLS.Protocols = c.offered
		w := serve(t, table)
		nc := tls.Client(w.dial(), &tls.Config{InsecureSkipVerify: true, ServerName: "b.test", NextProtos: c.asked})
		if err := nc.Handshake(); err != nil {
			t.Fatalf("%v asked for %v: %v", c.offered, c.asked, err)
		}
		s := nc.ConnectionState()
		if s.NegotiatedProtocol != c.want || s.PeerCertificates[0].DNSNames[0] != "b.test" {
			t.Errorf("%v asked for %v: %q, certificate for %v", c.offered, c.asked, s.NegotiatedProtocol, s.PeerCertificates[0].DNSNames)
		}
		if got, err := io.ReadAll(nc); err != nil || string(got) != "hello" {
			t.Errorf("got %q %v", got, err)
		}
	}
}

func TestFailedHandshakeIsTold(t *testing.T) {
	w := serve(t, &Table{Idle: time.Minute, TLS: speaks(t, certificate(t, "a.test"))})
	nc := tls.Client(w.dial(), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS10, MinVersion: tls.VersionTLS10})
	err := nc.Handshake()
	if err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("got %v", err)
	}
	w.s.Shutdown(t.Context())
	if w.stats.TLSErrors.Load() != 1 {
		t.Error("the failure is not counted")
	}
}

// The header comes before all else, TLS too, and says who the client is.
func TestTellsTargetsOfTheirClients(t *testing.T) {
	heads := make(chan []byte, 1)
	back := certificate(t, "back.test")
	for _, secure := range []bool{false, true} {
		at := target(t, func(c net.Conn) {
			head := make([]byte, headLength)
			_, _ = io.ReadFull(c, head)
			rest := make([]byte, binary.BigEndian.Uint16(head[headLength-2:]))
			_, _ = io.ReadFull(c, rest)
			heads <- append(head, rest...)
			if secure {
				c = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{back}})
				defer c.Close()
			}
			echo(c)
		})
		p := Pool{Header: ProxyV2}
		if secure {
			p.TLS = &tls.Config{InsecureSkipVerify: true}
		}
		w := serve(t, &Table{Idle: time.Minute, Pools: to(p, at)})
		nc := w.dial().(*net.TCPConn)
		_, _ = io.WriteString(nc, "x")
		_ = nc.CloseWrite()
		if got, err := io.ReadAll(nc); err != nil || string(got) != "got x" {
			t.Errorf("got %q %v", got, err)
		}
		want := ProxyV2(addrPort(nc.LocalAddr()), addrPort(nc.RemoteAddr()))
		if head := <-heads; !bytes.Equal(head, want) {
			t.Errorf("header % x, want % x", head, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	h := ProxyV2(netip.MustParseAddrPort("192.0.2.1:1000"), netip.MustParseAddrPort("10.0.0.1:80"))
	want := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x13\xc0\x00\x02\x01\x0a\x00\x00\x01\x03\xe8\x00\x50\x03\x00\x04"
	if string(h[:len(h)-4]) != want {
		t.Errorf("got % x", h)
	}
	// A receiver checks the sum over the header with the sum's place empty.
	sum := binary.BigEndian.Uint32(h[len(h)-4:])
	if clear(h[len(h)-4:]); binary.BigEndian.Uint32(checked(h[:len(h)-7])[len(h)-4:]) != sum {
		t.Error("the checksum is wrong")
	}
	if l := LocalHeader(); l[12] != 0x20 || l[13] != 0 || len(l) != 16+7 {
		t.Errorf("got % x", l)
	}
}

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

func TestEnds(t *testing.T) {
	held := make(chan struct{}, 8)
	hold := func(c net.Conn) { held <- struct{}{}; _, _ = io.Copy(io.Discard, c) }
	t.Run("idle", func(t *testing.T) {
		w := serve(t, &Table{Idle: 200 * time.Millisecond, Pools: to(Pool{}, target(t, hold))})
		c := w.dial()
		begin := time.Now()
		// What moves keeps it alive.
		for range 6 {
			if _, err := io.WriteString(c, "x"); err != nil {
				t.Fatalf("after %v: %v", time.Since(begin), err)
			}
			_ = c.SetReadDeadline(time.Now().Add(60 * time.Millisecond))
			_, _ = c.Read(make([]byte, 1))
		}
		if time.Since(begin) < 300*time.Millisecond {
			t.Fatal("the test is too short")
		}
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, 1)); !isReset(err) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cut", func(t *testing.T) {
		at := target(t, hold)
		w := serve(t, &Table{Idle: time.Minute, Pools: to(Pool{}, at)})
		for len(held) > 0 {
			<-held
		}
		c := w.dial()
		<-held
		if n := w.s.Counts()[at]; n != 1 {
			t.Errorf("%d connections", n)
		}
		w.s.Cut(netip.MustParseAddrPort("127.0.0.1:1"))
		w.s.Cut(at)
		if _, err := c.Read(make([]byte, 1)); !isReset(err) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no target", func(t *testing.T) {
		w := serve(t, &Table{Idle: time.Minute})
		if err := w.first(); !isReset(err) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		w := serve(t, &Table{Idle: time.Minute, Pools: to(Pool{}, netip.MustParseAddrPort("127.0.0.1:1"))})
		if err := w.first(); !isReset(err) {
			t.Errorf("got %v", err)
		}
	})
}

// first is what becomes of a connection that waits for the target's first byte.
func (w *world) first() error {
	c, err := net.Dial("tcp", w.address)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = c.Read(make([]byte, 1))
	return err
}

func TestChooses(t *testing.T) {
	a, b := netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("10.0.0.2:80")
	got := map[netip.AddrPort]int{}
	for range 1000 {
		p := pick([]Pool{{Weight: 3, Targets: []netip.AddrPort{a}}, {Weight: 1, Targets: []netip.AddrPort{b}}, {Weight: 0}})
		got[p.Targets[0]]++
	}
	if got[a] < 650 || got[a] > 850 || got[a]+got[b] != 1000 {
		t.Errorf("by weight: %v", got)
	}
	if pick([]Pool{{}}) != nil {
		t.Error("a pool without weight is chosen")
	}
	both := Pool{Targets: []netip.AddrPort{a, b}, BySource: true}
	spread := map[netip.AddrPort]int{}
	for i := range 200 {
		source := netip.AddrFrom4([4]byte{10, 1, 0, byte(i)})
		first, _ := both.choose(netip.AddrPortFrom(source, 1))
		spread[first]++
		if other, _ := both.choose(netip.AddrPortFrom(source, 2)); other != first {
			t.Fatal("a source goes to two targets")
		}
		if alone := (Pool{Targets: []netip.AddrPort{a}, BySource: true}); first == a {
			if after, _ := alone.choose(netip.AddrPortFrom(source, 1)); after != a {
				t.Fatal("a source leaves a target that stays")
			}
		}
	}
	if spread[a] < 50 || spread[b] < 50 {
		t.Errorf("by source: %v", spread)
	}
}

// A sticky listener's clients keep to a pool, and are shared by the weights.
func TestSticks(t *testing.T) {
	pools := []Pool{{Name: "a", Weight: 3}, {Name: "b", Weight: 1}, {Name: "c"}}
	got := map[string]int{}
	for i := range 1000 {
		source := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		first := stick(pools, source)
		got[first.Name]++
		if again := stick(pools, source); again != first {
			t.Fatal("a client goes to two pools")
		}
	}
	if got["a"] < 650 || got["a"] > 850 || got["c"] != 0 {
		t.Errorf("by weight: %v", got)
	}
	if stick([]Pool{{}}, netip.IPv4Unspecified()) != nil {
		t.Error("a pool without weight is chosen")
	}
}
