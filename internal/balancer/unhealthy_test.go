package balancer

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"roadstead.dev/internal/balancer/l4"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
)

// kernel remembers what it was told to forward and to cut.
type kernel struct {
	mu    sync.Mutex
	table l4.Table
	cut   []l4.Flow
}

func (k *kernel) Forward(_ context.Context, _ string, t l4.Table) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.table = t
	return nil
}

func (k *kernel) Flows(string) (map[l4.Flow]int64, error) { return nil, nil }

func (k *kernel) Cut(_ string, fs []l4.Flow) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut = append(k.cut, fs...)
	return nil
}

func (k *kernel) Connect(ctx context.Context, _ string, _ netip.Addr, _, target netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", target.String())
}

func (k *kernel) wasCut(at netip.AddrPort) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Contains(k.cut, l4.Flow{Protocol: l4.TCP, Target: at})
}

// jumping is a clock whose timers fire at once but for long ones, which fire
// when it is told to jump.
type jumping struct {
	mu   sync.Mutex
	by   time.Duration
	long chan struct{} // closed by a jump
	// waiting counts the long timers.
	waiting int
}

func (j *jumping) Now() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return time.Unix(1_000_000, 0).Add(j.by)
}

func (j *jumping) NewTimer(d time.Duration) *time.Timer {
	if d < time.Minute {
		return time.NewTimer(time.Millisecond)
	}
	t := time.NewTimer(time.Hour)
	j.mu.Lock()
	long := j.long
	j.waiting++
	j.mu.Unlock()
	go func() {
		<-long
		t.Reset(0)
	}()
	return t
}

func (j *jumping) waits() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.waiting > 0
}

func (j *jumping) jump(d time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.by += d
	close(j.long)
	j.long = make(chan struct{})
}

// What becomes of the flows to a target that is unhealthy: they end at once,
// not at all, or after a while in which its state says so.
func TestUnhealthyTargetsFlows(t *testing.T) {
	for _, c := range []struct {
		name            string
		terminate, wait string
		state           string
		now, later      bool
	}{
		{"at once", "true", "0", model.TargetHealthUnhealthy, true, true},
		{"never", "false", "0", model.TargetHealthUnhealthy, false, false},
		{"after a while", "false", "600", model.TargetHealthUnhealthyDraining, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, clock := new(kernel), &jumping{long: make(chan struct{})}
			w := newWorldWith(t, Config{Clock: clock, Forwarder: k})
			sick, well := newApp(t, "sick"), newApp(t, "well")
			lb := spec(sick.Target, well.Target)
			lb.Type = model.LoadBalancerNetwork
			lb.Interfaces = []balance.Interface{{ID: "eni", Address: "10.0.0.1/24"}}
			lb.Listeners[0].Protocol, lb.Groups[0].Protocol = "TCP", "TCP"
			lb.Groups[0].Attributes = map[string]string{
				"target_health_state.unhealthy.connection_termination.enabled": c.terminate,
				"target_health_state.unhealthy.draining_interval_seconds":      c.wait,
			}
			w.apply(lb)
			w.wait(sick, model.TargetHealthHealthy, "")
			w.wait(well, model.TargetHealthHealthy, "")
			at := netip.AddrPortFrom(netip.MustParseAddr(sick.IP), uint16(sick.Port))
			sick.status.Store(503)
			w.wait(sick, c.state, model.ReasonResponseCodeMismatch)
			settles := func(want bool) {
				t.Helper()
				for deadline := time.Now().Add(5 * time.Second); k.wasCut(at) != want; {
					if time.Now().After(deadline) {
						t.Fatalf("its flows were cut: %v", !want)
					}
				}
			}
			settles(c.now)
			for deadline := time.Now().Add(5 * time.Second); c.wait != "0" && !clock.waits(); {
				if time.Now().After(deadline) {
					t.Fatal("nobody waits for the end of its flows")
				}
			}
			clock.jump(time.Hour)
			if c.wait != "0" {
				w.wait(sick, model.TargetHealthUnhealthy, model.ReasonResponseCodeMismatch)
			}
			settles(c.later)
			if other := netip.AddrPortFrom(netip.MustParseAddr(well.IP), uint16(well.Port)); k.wasCut(other) {
				t.Error("a healthy target's flows are cut")
			}
		})
	}
}

// A listener that only this process can serve is not forwarded by the kernel,
// and is again when it can be.
func TestWhoServesAListener(t *testing.T) {
	k := new(kernel)
	w := newWorldWith(t, Config{Clock: hurried{}, Forwarder: k})
	a := newApp(t, "a")
	lb := spec(a.Target)
	lb.Type = model.LoadBalancerNetwork
	lb.Interfaces = []balance.Interface{{ID: "eni", Address: "127.0.0.1/8"}}
	lb.Listeners[0].Protocol, lb.Groups[0].Protocol = "TCP", "TCP"
	lb.Groups[0].HealthCheck = model.HealthCheck{Enabled: true, Protocol: "TCP", Port: "traffic-port", IntervalSeconds: 30, TimeoutSeconds: 5, HealthyThreshold: 2, UnhealthyThreshold: 2}
	for _, proxied := range []bool{false, true, false} {
		lb.Groups[0].Attributes = map[string]string{"proxy_protocol_v2.enabled": strconv.FormatBool(proxied)}
		w.apply(lb)
		k.mu.Lock()
		ports := len(k.table.Nodes[0].Ports)
		k.mu.Unlock()
		if (ports == 0) != proxied {
			t.Errorf("proxied %v: the kernel serves %d ports", proxied, ports)
		}
		w.place.mu.Lock()
		address := w.place.ports[80]
		w.place.mu.Unlock()
		if address == "" {
			continue
		}
		c, err := net.Dial("tcp", address)
		if (err == nil) != proxied {
			t.Errorf("proxied %v: dialling fails with %v", proxied, err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
}

// Where too few of a group's targets are healthy all of them get flows.
func TestFailsOpen(t *testing.T) {
	k := new(kernel)
	w := newWorldWith(t, Config{Clock: hurried{}, Forwarder: k})
	a, b := newApp(t, "a"), newApp(t, "b")
	lb := spec(a.Target, b.Target)
	lb.Type = model.LoadBalancerNetwork
	lb.Interfaces = []balance.Interface{{ID: "eni", Address: "10.0.0.1/24"}}
	lb.Listeners[0].Protocol, lb.Groups[0].Protocol = "TCP", "TCP"
	w.apply(lb)
	serve := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); ; {
			k.mu.Lock()
			got := len(k.table.Nodes[0].Ports[0].Pools[0].Targets)
			k.mu.Unlock()
			if got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d targets get flows, want %d", got, want)
			}
		}
	}
	w.wait(a, model.TargetHealthHealthy, "")
	w.wait(b, model.TargetHealthHealthy, "")
	serve(2)
	a.status.Store(503)
	w.wait(a, model.TargetHealthUnhealthy, model.ReasonResponseCodeMismatch)
	serve(1)
	b.status.Store(503)
	w.wait(b, model.TargetHealthUnhealthy, model.ReasonResponseCodeMismatch)
	serve(2)
	if at := netip.AddrPortFrom(netip.MustParseAddr(b.IP), uint16(b.Port)); k.wasCut(at) {
		t.Error("flows are cut though all targets get them")
	}
}

// What the kernel is told of a listener that shares flows among groups.
func TestStickyListener(t *testing.T) {
	k := new(kernel)
	w := newWorldWith(t, Config{Clock: hurried{}, Forwarder: k})
	lb := spec(newApp(t, "a").Target)
	lb.Type = model.LoadBalancerNetwork
	lb.Interfaces = []balance.Interface{{ID: "eni", Address: "127.0.0.1/8"}}
	lb.Listeners[0].Protocol, lb.Groups[0].Protocol = "TCP", "TCP"
	for _, sticky := range []bool{false, true} {
		lb.Listeners[0].Rules = []model.Rule{{Default: true, Actions: []model.RuleAction{{Forward: &model.ForwardAction{
			TargetGroups: []model.WeightedTargetGroup{{TargetGroupARN: lb.Groups[0].ARN, Weight: 7}, {TargetGroupARN: "gone", Weight: 3}}, Sticky: sticky,
		}}}}}
		w.apply(lb)
		k.mu.Lock()
		p := k.table.Nodes[0].Ports[0]
		k.mu.Unlock()
		if p.Sticky != sticky || len(p.Pools) != 1 || p.Pools[0].Name != lb.Groups[0].ARN {
			t.Errorf("sticky %v: %+v", sticky, p)
		}
	}
}

// The flows that end when their target has been deregistered.
func TestDeregisteredTargetsFlows(t *testing.T) {
	for _, c := range []struct {
		protocol, attribute string
		cut                 []uint8
	}{
		{"TCP", "", nil},
		{"TCP", "true", []uint8{l4.TCP}},
		{"UDP", "", []uint8{l4.UDP}},
		{"UDP", "false", nil},
		{"TCP_UDP", "", []uint8{l4.TCP, l4.UDP}},
	} {
		t.Run(c.protocol+" "+c.attribute, func(t *testing.T) {
			k := new(kernel)
			w := newWorldWith(t, Config{Clock: hurried{}, Forwarder: k})
			a := newApp(t, "a")
			lb := spec(a.Target)
			lb.Type = model.LoadBalancerNetwork
			lb.Interfaces = []balance.Interface{{ID: "eni", Address: "127.0.0.1/8"}}
			lb.Listeners[0].Protocol, lb.Groups[0].Protocol = c.protocol, c.protocol
			if c.attribute != "" {
				lb.Groups[0].Attributes = map[string]string{"deregistration_delay.connection_termination.enabled": c.attribute}
			}
			w.apply(lb)
			lb.Groups[0].Targets = nil
			w.apply(lb)
			k.mu.Lock()
			defer k.mu.Unlock()
			var got []uint8
			for _, f := range k.cut {
				got = append(got, f.Protocol)
			}
			if !slices.Equal(got, c.cut) {
				t.Errorf("cut are flows of %v", got)
			}
		})
	}
}

// Checks of a network load balancer's targets name the node and the listener.
func TestChecksNameTheNode(t *testing.T) {
	k := new(kernel)
	w := newWorldWith(t, Config{Clock: hurried{}, Forwarder: k})
	hosts := make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case hosts <- r.Host:
		default:
		}
	}))
	defer s.Close()
	at := netip.MustParseAddrPort(s.Listener.Addr().String())
	lb := spec(balance.Target{IP: at.Addr().String(), Port: int32(at.Port()), RegisteredAt: time.Unix(1, 0)})
	lb.Type = model.LoadBalancerNetwork
	lb.Interfaces = []balance.Interface{{ID: "eni", Address: "127.0.0.1/8"}}
	lb.Listeners[0].Protocol, lb.Groups[0].Protocol = "TCP", "TCP"
	w.apply(lb)
	if got, want := <-hosts, net.JoinHostPort("127.0.0.1", strconv.Itoa(int(lb.Listeners[0].Port))); got != want {
		t.Errorf("the check asks %q, not %q", got, want)
	}
}
