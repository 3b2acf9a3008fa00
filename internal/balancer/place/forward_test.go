package place

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"roadstead.dev/internal/balancer"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/network"
	"roadstead.dev/internal/plan/balance"
)

// newForwardWorld is a world whose load balancer forwards. open leaves it
// without security groups.
func newForwardWorld(t *testing.T, open bool) *world {
	t.Helper()
	w := newWorld(t)
	anyPort := func(protocol int, from string) network.Rule {
		return network.Rule{Protocol: protocol, From: 80, To: 81, Group: from}
	}
	w.vpc.Groups = []network.Group{
		{ID: "sg-client", Rules: []network.Rule{all()}},
		{ID: "sg-lb", Rules: []network.Rule{all(), anyPort(6, "sg-client"), anyPort(17, "sg-client")}},
		{ID: "sg-target", Rules: []network.Rule{all(), anyPort(6, "sg-lb"), anyPort(17, "sg-lb")}},
	}
	w.vpc.Interfaces = slices.Clone(w.vpc.Interfaces)
	w.lb.Type = "network"
	for i := range w.vpc.Interfaces {
		for j := range w.lb.Interfaces {
			if e := &w.vpc.Interfaces[i]; e.ID == w.lb.Interfaces[j].ID {
				e.Balancer = true
				w.lb.Interfaces[j].Zone = []string{"a", "b"}[j]
				if open {
					e.Groups = nil
				}
			}
		}
	}
	if open {
		cidr := netip.MustParsePrefix("10.78.0.0/16")
		w.vpc.Groups[2].Rules = []network.Rule{all(), {Protocol: -1, From: -1, To: -1, CIDR: cidr}}
	}
	w.apply()
	return w
}

func (w *world) apply() {
	w.t.Helper()
	if err := w.n.Apply(w.t.Context(), w.vpc); err != nil {
		w.t.Fatal(err)
	}
}

// group is a target group whose targets are healthy from the start.
func group(protocol, kind string, targets ...balance.Target) balance.TargetGroup {
	return balance.TargetGroup{
		ID: "g", ARN: "g", Protocol: protocol, TargetType: kind, Targets: targets, Attributes: map[string]string{},
		HealthCheck: model.HealthCheck{
			Enabled: true, Protocol: "TCP", Port: "traffic-port", IntervalSeconds: 5, TimeoutSeconds: 2,
			HealthyThreshold: 2, UnhealthyThreshold: 2,
		},
	}
}

func target(ip, zone string, port int32) balance.Target {
	return balance.Target{
		IP: ip, Port: port, Zone: zone, RegisteredAt: time.Unix(1, 0),
		Health: &model.TargetHealth{State: model.TargetHealthHealthy, Since: time.Unix(2, 0)},
	}
}

func (w *world) listen(protocol string, g balance.TargetGroup) {
	w.lb.Listeners = []balance.Listener{{Port: 80, Protocol: protocol, Rules: []model.Rule{{Default: true, Actions: []model.RuleAction{
		{Forward: &model.ForwardAction{TargetGroups: []model.WeightedTargetGroup{{TargetGroupARN: g.ARN, Weight: 1}}}},
	}}}}}
	w.lb.Groups = []balance.TargetGroup{g}
}

// plane runs the load balancers of a process that ends when the test does.
func (w *world) plane() *balancer.Balancer {
	w.t.Helper()
	p := New(w.n)
	b := balancer.New(balancer.Config{Place: p, Forwarder: p, Clock: clock.System{}})
	w.t.Cleanup(func() { b.Close(context.Background()) })
	return b
}

func (w *world) program(b *balancer.Balancer) {
	w.t.Helper()
	if err := b.Apply(w.t.Context(), w.lb); err != nil {
		w.t.Fatal(err)
	}
}

// echo answers in a namespace on TCP and UDP: with who it is and whom it talks
// to first, and then with what it gets.
func (w *world) echo(path, name string, port int) {
	w.t.Helper()
	address := "0.0.0.0:" + strconv.Itoa(port)
	l, err := network.ListenIn(w.t.Context(), path, address)
	if err != nil {
		w.t.Fatal(err)
	}
	pc, err := network.ListenPacketIn(w.t.Context(), path, address)
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintln(c, name, hostOf(c.RemoteAddr()))
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 1500)
		for {
			_, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = pc.WriteTo([]byte(name+" "+hostOf(from)), from)
		}
	}()
	w.t.Cleanup(func() { _, _ = l.Close(), pc.Close(); <-done; <-done })
}

func hostOf(a net.Addr) string { h, _, _ := net.SplitHostPort(a.String()); return h }

// conn is a client's connection.
type conn struct {
	net.Conn
	r *bufio.Reader
	// hello is what the target said first.
	hello string
}

func (w *world) dial(address string, timeout time.Duration) (*conn, error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), timeout)
	defer cancel()
	c, err := network.DialIn(ctx, w.client, "tcp", address)
	if err != nil {
		return nil, err
	}
	w.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(timeout))
	out := &conn{Conn: c, r: bufio.NewReader(c)}
	out.hello, err = out.r.ReadString('\n')
	return out, err
}

func (w *world) mustDial(address string) *conn {
	w.t.Helper()
	c, err := w.dial(address, patience)
	if err != nil {
		w.t.Fatalf("at %s: %v", address, err)
	}
	return c
}

// ping sends a line and waits for it.
func (c *conn) ping(timeout time.Duration) error {
	_ = c.SetDeadline(time.Now().Add(timeout))
	if _, err := io.WriteString(c, "ping\n"); err != nil {
		return err
	}
	got, err := c.r.ReadString('\n')
	if err == nil && got != "ping\n" {
		return errors.New("got " + got)
	}
	return err
}

const (
	lbA, lbB = "10.78.0.10:80", "10.78.16.10:80"
	client   = "10.78.0.20"
	one, two = "10.78.16.20", "10.78.0.21"
)

// Targets with IP addresses see the load balancer, at the interface that the
// client came to; with client addresses preserved they see the client, and
// their answers go back through the load balancer all the same.
func TestForwardsTCP(t *testing.T) {
	for _, c := range []struct {
		name, attribute string
		open            bool
		want            map[string]string
	}{
		{"own address", "false", false, map[string]string{lbA: "one 10.78.0.10\n", lbB: "one 10.78.16.10\n"}},
		{"client's address", "true", false, map[string]string{lbA: "one " + client + "\n", lbB: "one " + client + "\n"}},
		{"client's address, no security groups", "true", true, map[string]string{lbA: "one " + client + "\n", lbB: "one " + client + "\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newForwardWorld(t, c.open)
			w.echo(w.host("subnet-b", one, "sg-target"), "one", 80)
			g := group("TCP", "ip", target(one, "b", 80))
			g.Attributes["preserve_client_ip.enabled"] = c.attribute
			w.listen("TCP", g)
			w.lb.Attributes = map[string]string{"load_balancing.cross_zone.enabled": "true"}
			w.program(w.plane())
			for address, want := range c.want {
				if got := w.mustDial(address); got.hello != want {
					t.Errorf("at %s: %q, want %q", address, got.hello, want)
				} else if err := got.ping(patience); err != nil {
					t.Error(err)
				}
			}
			if _, err := w.dial("10.78.0.10:81", little); err == nil {
				t.Error("a port without a listener answers")
			}
			if got, err := w.dial(one+":80", little); err == nil && !c.open {
				t.Errorf("the target answers the client itself, against its security group: %q", got.hello)
			}
		})
	}
}
