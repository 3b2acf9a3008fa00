package balancer

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"roadstead.dev/internal/plan/balance"
)

// stillClock fires no timer: steps are made by the test.
type stillClock struct{}

func (stillClock) Now() time.Time                     { return time.Now() }
func (stillClock) NewTimer(time.Duration) *time.Timer { return time.NewTimer(time.Hour) }

// A target that fails more than the others is found out, and gets fewer
// requests where the group says so, until it recovers.
func TestAnomaliesAreMitigated(t *testing.T) {
	w := newWorldAt(t, stillClock{})
	apps := []*app{newApp(t, "a"), newApp(t, "b"), newApp(t, "c")}
	lb := spec(apps[0].Target, apps[1].Target, apps[2].Target)
	lb.Groups[0].Attributes = map[string]string{"load_balancing.algorithm.type": "weighted_random", "load_balancing.algorithm.anomaly_mitigation": "on"}
	w.apply(lb)
	for _, a := range apps {
		w.wait(a, "healthy", "")
	}
	in := w.b.lbs["lb"]
	bad := func() (anomalous, mitigated bool) {
		h := w.b.Targets("lb")["tg"][apps[1].addr()].Health
		return h.Anomalous, h.Mitigated
	}
	apps[1].fails.Store(true)
	w.who(120)
	if !in.weigh() {
		t.Error("nothing changed")
	}
	if a, m := bad(); !a || !m {
		t.Fatalf("anomalous %v, mitigated %v", a, m)
	}
	for range 8 {
		w.who(60)
		in.weigh()
	}
	if got := w.who(300); got["b"] > 30 || got["a"] < 80 || got["c"] < 80 {
		t.Errorf("the anomalous target got %v", got)
	}
	if h := w.b.Targets("lb")["tg"][apps[1].addr()].Health; h.State != "healthy" {
		t.Errorf("its health is %+v", h)
	}
	apps[1].fails.Store(false)
	for range 40 {
		w.who(60)
		in.weigh()
	}
	if a, m := bad(); a || m {
		t.Errorf("after it recovered: anomalous %v, mitigated %v", a, m)
	}
	if got := w.who(300); got["b"] < 50 {
		t.Errorf("after it recovered it got %v", got)
	}
	// Without mitigation it is told of, and gets its share.
	delete(lb.Groups[0].Attributes, "load_balancing.algorithm.anomaly_mitigation")
	w.apply(lb)
	apps[1].fails.Store(true)
	w.who(150)
	in.weigh()
	if a, m := bad(); !a || m {
		t.Errorf("without mitigation: anomalous %v, mitigated %v", a, m)
	}
	if got := w.who(300); got["b"] < 50 {
		t.Errorf("without mitigation it got %v", got)
	}
}

// Without cross-zone load balancing each of the load balancer's addresses leads
// to the targets of its zone, the unhealthy ones too when there are no others.
func TestTargetsOfOneZone(t *testing.T) {
	w := newWorld(t)
	a, b, everywhere := newApp(t, "a"), newApp(t, "b"), newApp(t, "e")
	a.Zone, b.Zone = "z-a", "z-b"
	lb := spec(a.Target, b.Target)
	lb.Interfaces = []balance.Interface{{Address: "127.0.0.1/8", Zone: "z-a"}, {Address: "127.0.0.2/8", Zone: "z-b"}, {Address: "127.0.0.3/8", Zone: "z-c"}}
	lb.Groups[0].Attributes = map[string]string{"load_balancing.cross_zone.enabled": "false"}
	w.place.host = "0.0.0.0"
	w.apply(lb)
	w.wait(a, "healthy", "")
	w.wait(b, "healthy", "")
	at := func(address string) func(int) map[string]int {
		return func(n int) map[string]int {
			_, port, _ := net.SplitHostPort(w.place.address(80))
			tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(address, port))
			}}
			defer tr.CloseIdleConnections()
			got := map[string]int{}
			for range n {
				s, body := w.getBy(&http.Client{Transport: tr}, "")
				if s != 200 {
					body = http.StatusText(s)
				}
				got[body]++
			}
			return got
		}
	}
	if got := at("127.0.0.1")(4); got["a"] != 4 {
		t.Errorf("zone a: %v", got)
	}
	if got := at("127.0.0.2")(4); got["b"] != 4 {
		t.Errorf("zone b: %v", got)
	}
	if got := at("127.0.0.3")(1); got["Service Unavailable"] != 1 {
		t.Errorf("a zone without targets: %v", got)
	}
	b.status.Store(500)
	w.wait(b, "unhealthy", "Target.ResponseCodeMismatch")
	if got := at("127.0.0.2")(4); got["b"] != 4 {
		t.Errorf("zone b has no other target: %v", got)
	}
	lb.Groups[0].Targets = append(lb.Groups[0].Targets, everywhere.Target)
	w.apply(lb)
	w.wait(everywhere, "healthy", "")
	if got := at("127.0.0.2")(4); got["e"] != 4 {
		t.Errorf("zone b with a target of no zone: %v", got)
	}
	if got := at("127.0.0.1")(4); got["a"] != 2 || got["e"] != 2 {
		t.Errorf("zone a with a target of no zone: %v", got)
	}
	lb.Groups[0].Attributes = nil
	w.apply(lb)
	if got := at("127.0.0.2")(4); got["a"] != 2 || got["e"] != 2 {
		t.Errorf("across zones: %v", got)
	}
}
