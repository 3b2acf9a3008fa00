package place

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/network"
	"roadstead.dev/internal/plan/balance"
)

// restart puts a new process's network and load balancers in the place of the
// ones there are, which are left as a kill leaves them.
func (w *world) restart() {
	w.t.Helper()
	n, err := network.New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.n = n
	w.apply()
}

// A connection goes on through all that happens to the load balancer: another
// process, other targets, no listener; and its target drains for as long as it
// is there.
func TestFlowsSurvive(t *testing.T) {
	for _, preserve := range []string{"false", "true"} {
		t.Run("preserve "+preserve, func(t *testing.T) {
			w := newForwardWorld(t, false)
			w.echo(w.host("subnet-b", one, "sg-target"), "one", 80)
			w.echo(w.host("subnet-a", two, "sg-target"), "two", 80)
			g := group("TCP", "ip", target(one, "b", 80))
			g.Attributes["preserve_client_ip.enabled"] = preserve
			g.Attributes["load_balancing.cross_zone.enabled"] = "true"
			w.listen("TCP", g)
			w.program(w.plane())
			// By the second interface, which the default route does not lead to.
			c := w.mustDial(lbB)
			goesOn := func(after string) {
				t.Helper()
				if err := c.ping(patience); err != nil {
					t.Fatalf("after %s: %v", after, err)
				}
			}

			w.restart()
			b := w.plane()
			w.program(b)
			goesOn("a restart")

			draining := target(one, "b", 80)
			draining.Draining = true
			g.Targets = []balance.Target{draining, target(two, "a", 80)}
			w.listen("TCP", g)
			w.program(b)
			for range 5 {
				if got := w.mustDial(lbB).hello; !strings.HasPrefix(got, "two ") {
					t.Errorf("a target that drains gets a connection: %q", got)
				}
			}
			if n := b.Targets(w.lb.ID)["g"][one+":80"].InFlight; n != 1 {
				t.Errorf("%d flows to the target that drains", n)
			}
			goesOn("its target's deregistration")

			listeners := w.lb.Listeners
			w.lb.Listeners = nil
			w.program(b)
			if _, err := w.dial(lbB, little); err == nil {
				t.Error("a listener that is gone answers")
			}
			goesOn("the end of its listener")

			w.lb.Listeners = listeners
			g.Targets = g.Targets[1:]
			w.lb.Groups = []balance.TargetGroup{g}
			w.program(b)
			goesOn("the end of its target's registration")

			other := w.mustDial(lbA)
			g.Attributes["deregistration_delay.connection_termination.enabled"] = "true"
			g.Targets = nil
			w.lb.Groups = []balance.TargetGroup{g}
			w.program(b)
			if err := other.ping(2 * time.Second); err == nil {
				t.Error("a connection outlives its target where it is to be terminated")
			} else if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				t.Error("the client is not told of its connection's end")
			}
		})
	}
}

// Without cross-zone load balancing an interface sends to its own zone.
func TestZonesAreIsolated(t *testing.T) {
	w := newForwardWorld(t, false)
	w.echo(w.host("subnet-b", one, "sg-target"), "one", 80)
	w.echo(w.host("subnet-a", two, "sg-target"), "two", 80)
	g := group("TCP", "ip", target(one, "b", 80), target(two, "a", 80))
	w.listen("TCP", g)
	b := w.plane()
	w.program(b)
	for range 8 {
		for address, want := range map[string]string{lbA: "two ", lbB: "one "} {
			if got := w.mustDial(address).hello; !strings.HasPrefix(got, want) {
				t.Errorf("at %s: %q", address, got)
			}
		}
	}
	g.Targets = g.Targets[:1]
	w.listen("TCP", g)
	w.program(b)
	if got, err := w.dial(lbA, little); err == nil {
		t.Errorf("a zone without targets answers %q", got.hello)
	}
}

// A source's flows go to one target where the group is sticky, and to all
// where it is not.
func TestSpreadsFlows(t *testing.T) {
	w := newForwardWorld(t, false)
	w.echo(w.host("subnet-b", one, "sg-target"), "one", 80)
	w.echo(w.host("subnet-a", two, "sg-target"), "two", 80)
	g := group("TCP", "ip", target(one, "b", 80), target(two, "a", 80))
	g.Attributes["load_balancing.cross_zone.enabled"] = "true"
	b := w.plane()
	for _, sticky := range []string{"false", "true"} {
		g.Attributes["stickiness.enabled"] = sticky
		w.listen("TCP", g)
		w.program(b)
		got := map[string]int{}
		for range 40 {
			name, _, _ := strings.Cut(w.mustDial(lbA).hello, " ")
			got[name]++
		}
		if one := sticky == "true"; one != (len(got) == 1) {
			t.Errorf("sticky %s: %v", sticky, got)
		}
	}
}

// Datagrams are forwarded with their clients' addresses, those of one flow to
// one target; a flow whose target is deregistered goes to another one.
func TestForwardsUDP(t *testing.T) {
	w := newForwardWorld(t, false)
	w.echo(w.host("subnet-b", one, "sg-target"), "one", 81)
	w.echo(w.host("subnet-a", two, "sg-target"), "two", 81)
	g := group("UDP", "ip", target(one, "b", 81), target(two, "a", 81))
	g.Attributes["load_balancing.cross_zone.enabled"] = "true"
	w.listen("UDP", g)
	b := w.plane()
	w.program(b)
	c, err := network.DialIn(t.Context(), w.client, "udp", lbA)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ask := func() string {
		t.Helper()
		buf := make([]byte, 100)
		for range 10 {
			_ = c.SetDeadline(time.Now().Add(time.Second))
			if _, err := c.Write([]byte("who")); err != nil {
				continue
			}
			if n, err := c.Read(buf); err == nil {
				return string(buf[:n])
			}
		}
		t.Fatal("no answer")
		return ""
	}
	first := ask()
	if !strings.HasSuffix(first, " "+client) {
		t.Errorf("the target sees %q", first)
	}
	for range 10 {
		if got := ask(); got != first {
			t.Errorf("the flow goes to %q after %q", got, first)
		}
	}
	rest := g.Targets[:1]
	if strings.HasPrefix(first, "one") {
		rest = g.Targets[1:]
	}
	g.Targets = rest
	w.listen("UDP", g)
	w.program(b)
	// What was asked twice for want of patience is answered twice.
	for buf := make([]byte, 100); ; {
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := c.Read(buf); err != nil {
			break
		}
	}
	if got := ask(); got == first {
		t.Errorf("a target that is gone answers %q", got)
	}
}
