package place

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"roadstead.dev/internal/balancer/conduit"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/network"
	"roadstead.dev/internal/plan/balance"
)

func pair(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"lb.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A listener with TLS serves at all of the load balancer's addresses; targets
// see its address there, or their client's, whose answers find their way back;
// and a security group that names the load balancer's lets both in.
func TestTLSListener(t *testing.T) {
	for _, c := range []struct {
		preserve string
		want     map[string]string
	}{
		{"false", map[string]string{lbA: "one 10.78.0.10\n", lbB: "one 10.78.16.10\n"}},
		{"true", map[string]string{lbA: "one " + client + "\n", lbB: "one " + client + "\n"}},
	} {
		t.Run("preserve "+c.preserve, func(t *testing.T) {
			w := newForwardWorld(t, false)
			w.echo(w.host("subnet-b", one, "sg-target"), "one", 80)
			g := group("TCP", "ip", target(one, "b", 80))
			g.Attributes["preserve_client_ip.enabled"] = c.preserve
			g.Attributes["load_balancing.cross_zone.enabled"] = "true"
			w.listen("TLS", g)
			l := &w.lb.Listeners[0]
			l.SSLPolicy, l.ALPNPolicy, l.Certificate = "ELBSecurityPolicy-TLS13-1-2-2021-06", "HTTP2Preferred", pair(t)
			b := w.plane()
			w.program(b)
			var open *tls.Conn
			for address, want := range c.want {
				for range 2 { // the second one at a port whose first has ended
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					nc, err := network.DialIn(ctx, w.client, "tcp", address)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = nc.Close() })
					_ = nc.SetDeadline(time.Now().Add(patience))
					tc := tls.Client(nc, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
					got, err := bufio.NewReader(tc).ReadString('\n')
					if err != nil || got != want || tc.ConnectionState().NegotiatedProtocol != "h2" {
						t.Errorf("at %s: %q %q %v, want %q", address, got, tc.ConnectionState().NegotiatedProtocol, err, want)
					}
					open = tc
				}
			}
			if _, err := w.dial(lbA, little); err == nil {
				t.Error("a client without TLS is served")
			}
			// The end of the listener is not that of its connections.
			listeners := w.lb.Listeners
			w.lb.Listeners = nil
			w.program(b)
			if _, err := w.dial(lbA, little); err == nil {
				t.Error("a listener that is gone answers")
			}
			if _, err := io.WriteString(open, "still\n"); err != nil {
				t.Error(err)
			}
			if got, err := bufio.NewReader(open).ReadString('\n'); err != nil || got != "still\n" {
				t.Errorf("a connection does not outlive its listener: %q %v", got, err)
			}
			// From TLS to the kernel and back.
			for _, protocol := range []string{"TCP", "TLS"} {
				listeners[0].Protocol = protocol
				w.lb.Listeners = listeners
				w.program(b)
				got, err := w.dial(lbB, little)
				if served := err == nil; served != (protocol == "TCP") {
					t.Errorf("%s: without TLS the client gets %+v %v", protocol, got, err)
				}
			}
		})
	}
}

// Targets are told their clients by the proxy protocol, and that a health
// check is the load balancer's own.
func TestProxyProtocol(t *testing.T) {
	w := newForwardWorld(t, false)
	path := w.host("subnet-b", one, "sg-target")
	l, err := network.ListenIn(t.Context(), path, "0.0.0.0:80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heads := make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 100)
				n, _ := io.ReadAtLeast(c, buf, len(conduit.LocalHeader()))
				heads <- string(buf[:n])
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
			}()
		}
	}()
	at := balance.Target{IP: one, Port: 80, Zone: "b", RegisteredAt: time.Unix(1, 0)}
	g := group("TCP", "ip", at)
	g.HealthCheck.Protocol, g.HealthCheck.Path, g.HealthCheck.HTTPCode = "HTTP", "/", "200-599"
	g.Attributes["proxy_protocol_v2.enabled"] = "true"
	g.Attributes["load_balancing.cross_zone.enabled"] = "true"
	w.listen("TCP", g)
	w.program(w.plane())
	select {
	case got := <-heads:
		if !strings.HasPrefix(got, string(conduit.LocalHeader())+"GET / HTTP/1.1\r\n") {
			t.Errorf("the health check says %q", got)
		}
	case <-time.After(patience):
		t.Fatal("no health check arrives")
	}
	c, err := network.DialIn(t.Context(), w.client, "tcp", lbB)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	want := string(conduit.ProxyV2(c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()))
	for timeout := time.After(patience); ; {
		select {
		case got := <-heads:
			if strings.HasPrefix(got, string(conduit.LocalHeader())) {
				continue // another check
			}
			if got != want {
				t.Errorf("got % x, want % x", got, want)
			}
			return
		case <-timeout:
			t.Fatal("nothing arrives")
		}
	}
}

// Groups share a listener's flows by their weights, each with its own settings.
func TestWeights(t *testing.T) {
	w := newForwardWorld(t, false)
	w.echo(w.host("subnet-b", one, "sg-target"), "one", 80)
	w.echo(w.host("subnet-a", two, "sg-target"), "two", 80)
	a, b := group("TCP", "ip", target(one, "b", 80)), group("TCP", "ip", target(two, "a", 80))
	b.ID, b.ARN = "h", "h"
	b.Attributes["preserve_client_ip.enabled"] = "true"
	w.listen("TCP", a)
	w.lb.Groups = append(w.lb.Groups, b)
	w.lb.Attributes = map[string]string{"load_balancing.cross_zone.enabled": "true"}
	weigh := func(of, of2 int32) {
		w.lb.Listeners[0].Rules[0].Actions[0].Forward.TargetGroups = []model.WeightedTargetGroup{
			{TargetGroupARN: "g", Weight: of}, {TargetGroupARN: "h", Weight: of2},
		}
	}
	plane := w.plane()
	count := func() map[string]int {
		w.program(plane)
		got := map[string]int{}
		for range 80 {
			got[strings.TrimSpace(w.mustDial(lbA).hello)]++
		}
		return got
	}
	weigh(30, 10)
	if got := count(); got["one 10.78.0.10"] < 45 || got["two "+client] < 6 || len(got) != 2 {
		t.Errorf("three to one: %v", got)
	}
	// A sticky action binds the client to one of them, as long as that has weight.
	bind := func(is bool) { w.lb.Listeners[0].Rules[0].Actions[0].Forward.Sticky = is }
	bind(true)
	for _, of := range []int32{999, 1} {
		weigh(of, 1000-of)
		if got := count(); len(got) != 1 {
			t.Errorf("bound to one: %v", got)
		}
	}
	weigh(999, 0)
	if got := count(); got["one 10.78.0.10"] != 80 {
		t.Errorf("bound to the first: %v", got)
	}
	weigh(0, 999)
	if got := count(); got["two "+client] != 80 {
		t.Errorf("bound to the second: %v", got)
	}
	bind(false)
	if got := count(); got["two "+client] != 80 {
		t.Errorf("all to the second: %v", got)
	}
	w.lb.Groups[1].Targets = nil
	weigh(1, 1)
	w.program(plane)
	refused := 0
	for range 40 {
		if _, err := w.dial(lbA, little); err != nil {
			refused++
		}
	}
	if refused < 8 || refused > 32 {
		t.Errorf("a group without targets refuses %d of 40", refused)
	}
}

// A listener's idle timeout is that of the flows that came by it, whatever is
// written later.
func TestIdleTimeouts(t *testing.T) {
	w := newForwardWorld(t, false)
	w.echo(w.host("subnet-b", one, "sg-target"), "one", 80)
	g := group("TCP", "ip", target(one, "b", 80))
	g.Attributes["load_balancing.cross_zone.enabled"] = "true"
	w.listen("TCP", g)
	b := w.plane()
	for _, c := range []struct {
		attribute string
		least     uint32
	}{{"6000", 5900}, {"60", 50}, {"", 340}} {
		w.lb.Listeners[0].Attributes = map[string]string{"tcp.idle_timeout.seconds": c.attribute}
		w.program(b)
		nc := w.mustDial(lbB)
		w.lb.Listeners[0].Attributes = nil
		w.program(b)
		if err := nc.ping(patience); err != nil {
			t.Fatal(err)
		}
		if left := w.timeLeft(nc.LocalAddr()); left < c.least || left > c.least+100 {
			t.Errorf("timeout %q: the flow ends in %d seconds", c.attribute, left)
		}
	}
}

// timeLeft is after how many seconds of silence the load balancer forgets a
// client's flow.
func (w *world) timeLeft(client net.Addr) uint32 {
	w.t.Helper()
	h, err := network.OpenHandle(w.n.VPCNetns(w.vpc.ID))
	if err != nil {
		w.t.Fatal(err)
	}
	defer h.Close()
	flows, err := h.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range flows {
		if f.Mark != 0 && f.Forward.SrcPort == uint16(client.(*net.TCPAddr).Port) {
			return f.TimeOut
		}
	}
	w.t.Fatal("the flow is not there")
	return 0
}

// Connections by one subnet go on when the load balancer leaves another one,
// comes back, and is run by another process meanwhile.
func TestSubnetsComeAndGo(t *testing.T) {
	w := newForwardWorld(t, false)
	w.echo(w.host("subnet-b", one, "sg-target"), "one", 80)
	g := group("TCP", "ip", target(one, "b", 80))
	g.Attributes["load_balancing.cross_zone.enabled"] = "true"
	g.Attributes["preserve_client_ip.enabled"] = "true"
	w.listen("TCP", g)
	both := w.lb.Interfaces
	w.program(w.plane())
	c := w.mustDial(lbB)
	w.restart()
	b := w.plane()
	for _, step := range []struct {
		name string
		in   []balance.Interface
	}{{"another process", both}, {"leaving", both[1:]}, {"coming back", both}} {
		w.lb.Interfaces = step.in
		w.program(b)
		if err := c.ping(patience); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		for i, address := range []string{lbA, lbB} {
			nc, err := w.dial(address, little)
			if there := i == 1 || len(step.in) == 2; there != (err == nil) {
				t.Errorf("%s: at %s: %+v %v", step.name, address, nc, err)
			}
		}
	}
}
