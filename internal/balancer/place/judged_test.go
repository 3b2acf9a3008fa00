package place

import (
	"bufio"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/network"
	"roadstead.dev/internal/plan/balance"
)

var everywhere = netip.MustParsePrefix("0.0.0.0/0")

func cidr(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// tcp80 lets port 80 in from a block, or out to it.
func tcp80(egress bool, block string) network.Rule {
	return network.Rule{Egress: egress, Protocol: 6, From: 80, To: 80, CIDR: cidr(block)}
}

// judged is a world with a target, and a listener that preserves or does not
// preserve the client's address.
func judged(t *testing.T, preserve string) *world {
	t.Helper()
	w := newForwardWorld(t, false)
	w.echo(w.host("subnet-b", one, "sg-target"), "one", 80)
	g := group("TCP", "ip", target(one, "b", 80))
	g.Attributes["preserve_client_ip.enabled"] = preserve
	g.Attributes["load_balancing.cross_zone.enabled"] = "true"
	w.listen("TCP", g)
	w.program(w.plane())
	return w
}

func (w *world) rules(id string, rules ...network.Rule) {
	w.t.Helper()
	w.vpc.Groups = slices.Clone(w.vpc.Groups)
	for i := range w.vpc.Groups {
		if w.vpc.Groups[i].ID == id {
			w.vpc.Groups[i].Rules = rules
		}
	}
}

// Each of the security groups on the way has its say: the client's, the load
// balancer's on both sides, and the target's.
func TestGroupsOnTheWay(t *testing.T) {
	const lb, net16 = "10.78.0.10/32", "10.78.0.0/16"
	for _, preserve := range []string{"false", "true"} {
		t.Run("preserve "+preserve, func(t *testing.T) {
			t.Parallel()
			w := judged(t, preserve)
			sees := lb
			if preserve == "true" {
				sees = client + "/32"
			}
			groups := w.vpc.Groups
			for _, c := range []struct {
				name    string
				group   string
				rules   []network.Rule
				reaches bool
			}{
				{"as it was", "sg-client", []network.Rule{all()}, true},
				{"the client may reach the load balancer", "sg-client", []network.Rule{tcp80(true, lb)}, true},
				{"the client may reach the target alone", "sg-client", []network.Rule{tcp80(true, one+"/32")}, false},
				{"the load balancer lets the client in", "sg-lb", []network.Rule{all(), tcp80(false, client+"/32")}, true},
				{"the load balancer lets others in", "sg-lb", []network.Rule{all(), tcp80(false, "10.78.0.64/26")}, false},
				{"the load balancer lets itself in", "sg-lb", []network.Rule{all(), port80("sg-lb")}, false},
				{"the load balancer may reach the target", "sg-lb", []network.Rule{tcp80(true, one+"/32"), tcp80(false, net16)}, true},
				{"the load balancer may reach others", "sg-lb", []network.Rule{tcp80(true, "10.78.32.0/20"), tcp80(false, net16)}, false},
				{"the target lets in whom it sees", "sg-target", []network.Rule{all(), tcp80(false, sees)}, true},
				{"the target lets others in", "sg-target", []network.Rule{all(), tcp80(false, "10.78.0.64/26")}, false},
				{"the target lets nobody in", "sg-target", []network.Rule{all()}, false},
			} {
				w.vpc.Groups = groups
				w.rules(c.group, c.rules...)
				w.apply()
				timeout := little
				if c.reaches {
					timeout = patience
				}
				if _, err := w.dial(lbA, timeout); (err == nil) != c.reaches {
					t.Errorf("%s: %v", c.name, err)
				}
			}
		})
	}
}

// ACLs see both halves of the way, in both directions, with the addresses that
// packets have there.
func TestACLsOnTheWay(t *testing.T) {
	const out, in = true, false
	entry := func(egress bool, from, to int, block string) network.ACLEntry {
		return network.ACLEntry{Rule: network.Rule{Egress: egress, Protocol: 6, From: from, To: to, CIDR: cidr(block)}}
	}
	for _, preserve := range []string{"false", "true"} {
		t.Run("preserve "+preserve, func(t *testing.T) {
			t.Parallel()
			w := judged(t, preserve)
			sees := "10.78.0.10/32"
			if preserve == "true" {
				sees = client + "/32"
			}
			const target = one + "/32"
			// The load balancer's and the client's subnet is a, the target's b.
			a := []network.ACLEntry{entry(out, 80, 80, target), entry(in, 1024, 65535, target)}
			b := []network.ACLEntry{entry(in, 80, 80, sees), entry(out, 1024, 65535, sees)}
			for _, c := range []struct {
				name    string
				a, b    []network.ACLEntry
				reaches bool
			}{
				{"what is needed", a, b, true},
				{"the load balancer may not send", a[1:], b, false},
				{"the load balancer may not be answered", a[:1], b, false},
				{"the target may not be sent to", a, b[1:], false},
				{"the target may not answer", a, b[:1], false},
				{"the target may hear another one alone", a, []network.ACLEntry{entry(in, 80, 80, "10.78.0.64/26"), b[1]}, false},
			} {
				w.vpc.ACLs = []network.ACL{{ID: "acl-a", Entries: c.a}, {ID: "acl-b", Entries: c.b}}
				w.vpc.Subnets = slices.Clone(w.vpc.Subnets)
				w.vpc.Subnets[0].ACLID, w.vpc.Subnets[1].ACLID = "acl-a", "acl-b"
				w.apply()
				timeout := little
				if c.reaches {
					timeout = patience
				}
				got, err := w.dial(lbA, timeout)
				if (err == nil) != c.reaches {
					t.Errorf("%s: %v", c.name, err)
				}
				if err == nil {
					if err := got.ping(patience); err != nil {
						t.Errorf("%s: %v", c.name, err)
					}
				}
			}
		})
	}
}

// The world outside reaches the load balancer at its public address, and nobody
// inside does so without leaving the VPC.
func TestPublicListener(t *testing.T) {
	const public = "198.18.201.9"
	for _, preserve := range []string{"false", "true"} {
		t.Run("preserve "+preserve, func(t *testing.T) {
			w := judged(t, preserve)
			w.vpc.RouteTables = []network.RouteTable{{ID: "rtb-1", Routes: []network.Route{{Destination: everywhere, Target: network.Internet}}}}
			for i := range w.vpc.Interfaces {
				if w.vpc.Interfaces[i].IP == netip.MustParseAddr("10.78.0.10") {
					w.vpc.Interfaces[i].PublicIP = netip.MustParseAddr(public)
				}
			}
			w.rules("sg-lb", all(), tcp80(false, "0.0.0.0/0"))
			w.apply()
			c, err := net.DialTimeout("tcp", public+":80", patience)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(patience))
			hello, err := bufio.NewReader(c).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if own := hello == "one 10.78.0.10\n"; own != (preserve == "false") {
				t.Errorf("the target says %q", hello)
			}
			// The client has no public address to leave by.
			if _, err := w.dial(public+":80", little); err == nil {
				t.Error("a client inside reaches the public address without one of its own")
			}
			w.rules("sg-lb", all(), port80("sg-client"))
			w.apply()
			if c, err := net.DialTimeout("tcp", public+":80", little); err == nil {
				_ = c.Close()
				t.Error("the load balancer lets in whom its group does not")
			}
		})
	}
}

// Both ends of a connection that is terminated are told when they send
// something.
func TestBothEndsAreTold(t *testing.T) {
	for _, preserve := range []string{"false", "true"} {
		for _, end := range []string{"client", "target"} {
			t.Run(end+", preserve "+preserve, func(t *testing.T) {
				w := newForwardWorld(t, false)
				l, err := network.ListenIn(t.Context(), w.host("subnet-b", one, "sg-target"), "0.0.0.0:80")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				g := group("TCP", "ip", target(one, "b", 80))
				g.Attributes["preserve_client_ip.enabled"] = preserve
				g.Attributes["load_balancing.cross_zone.enabled"] = "true"
				g.Attributes["deregistration_delay.connection_termination.enabled"] = "true"
				w.listen("TCP", g)
				b := w.plane()
				w.program(b)
				near, err := network.DialIn(t.Context(), w.client, "tcp", lbA)
				if err != nil {
					t.Fatal(err)
				}
				defer near.Close()
				var far net.Conn
				for far == nil { // health checks connect too
					c, err := l.Accept()
					if err != nil {
						t.Fatal(err)
					}
					if c.RemoteAddr().(*net.TCPAddr).Port == near.LocalAddr().(*net.TCPAddr).Port {
						far = c
					} else {
						_ = c.Close()
					}
				}
				defer far.Close()
				if n := b.Targets(w.lb.ID)["g"][one+":80"].InFlight; n != 0 {
					t.Errorf("%d flows drain though no target does", n)
				}
				g.Targets = []balance.Target{}
				w.lb.Groups = []balance.TargetGroup{g}
				w.program(b)
				sends := near
				if end == "target" {
					sends = far
				}
				_ = sends.SetDeadline(time.Now().Add(patience))
				if _, err := sends.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				if _, err := sends.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "reset") {
					t.Errorf("the %s is not told: %v", end, err)
				}
			})
		}
	}
}
