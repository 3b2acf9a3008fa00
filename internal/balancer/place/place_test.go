package place

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"time"

	"roadstead.dev/internal/balancer"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/network"
	"roadstead.dev/internal/plan/balance"
)

// world is a VPC on the real kernel: a client and a target, each in a
// namespace of its own, and two interfaces for a load balancer.
type world struct {
	t   *testing.T
	cfg network.Config
	n   *network.Network
	vpc network.VPC
	lb  balance.LoadBalancer
	// client is the path of the client's namespace.
	client string
}

func mac() string { return "02:00:0a:4d:" + id.Hex(2) + ":" + id.Hex(2) }

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	cfg := network.Config{Prefix: "rs" + id.Hex(6), Dir: t.TempDir()}
	n, err := network.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Teardown(context.Background(), cfg); err != nil {
			t.Errorf("teardown: %v", err)
		}
	})
	w := &world{t: t, cfg: cfg, n: n, vpc: network.VPC{
		ID:    id.Resource("vpc"),
		CIDRs: []netip.Prefix{netip.MustParsePrefix("10.78.0.0/16")},
		Subnets: []network.Subnet{
			{ID: "subnet-a", CIDR: netip.MustParsePrefix("10.78.0.0/20"), RouteTableID: "rtb-1"},
			{ID: "subnet-b", CIDR: netip.MustParsePrefix("10.78.16.0/20"), RouteTableID: "rtb-1"},
		},
		RouteTables: []network.RouteTable{{ID: "rtb-1"}},
		Groups: []network.Group{
			{ID: "sg-client", Rules: []network.Rule{all()}},
			{ID: "sg-lb", Rules: []network.Rule{all(), port80("sg-client")}},
			{ID: "sg-target", Rules: []network.Rule{all(), port80("sg-lb")}},
		},
	}}
	w.lb = balance.LoadBalancer{ID: id.Hex(16), VpcID: w.vpc.ID}
	for _, in := range []struct{ subnet, ip string }{{"subnet-a", "10.78.0.10"}, {"subnet-b", "10.78.16.10"}} {
		m := mac()
		eni := w.eni(in.subnet, in.ip, m, "sg-lb")
		w.lb.Interfaces = append(w.lb.Interfaces, balance.Interface{ID: eni, MAC: m, Address: in.ip + "/20"})
	}
	w.client = w.host("subnet-a", "10.78.0.20", "sg-client")
	return w
}

// all allows everything out.
func all() network.Rule {
	return network.Rule{Egress: true, Protocol: -1, From: -1, To: -1, CIDR: netip.MustParsePrefix("0.0.0.0/0")}
}

func port80(from string) network.Rule {
	return network.Rule{Protocol: 6, From: 80, To: 80, Group: from}
}

func (w *world) eni(subnet, ip, m, group string) string {
	w.t.Helper()
	hw, err := net.ParseMAC(m)
	if err != nil {
		w.t.Fatal(err)
	}
	e := network.Interface{ID: id.Resource("eni"), SubnetID: subnet, IP: netip.MustParseAddr(ip), MAC: hw, Groups: []string{group}}
	w.vpc.Interfaces = append(append([]network.Interface(nil), w.vpc.Interfaces...), e)
	if err := w.n.Apply(w.t.Context(), w.vpc); err != nil {
		w.t.Fatal(err)
	}
	return e.ID
}

// host makes a namespace with an interface and returns its path.
func (w *world) host(subnet, ip, group string) string {
	w.t.Helper()
	m := mac()
	eni := w.eni(subnet, ip, m, group)
	path, err := w.n.CreateNetns(w.t.Context(), "task-"+id.Hex(8))
	if err != nil {
		w.t.Fatal(err)
	}
	hw, _ := net.ParseMAC(m)
	if err := w.n.Attach(w.t.Context(), network.Attachment{
		VPCID: w.vpc.ID, InterfaceID: eni, Netns: path, MAC: hw, Address: netip.MustParsePrefix(ip + "/20"),
	}); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// serve answers in a namespace with the address that the request came from.
func (w *world) serve(path string) {
	w.t.Helper()
	l, err := network.ListenIn(w.t.Context(), path, "0.0.0.0:80")
	if err != nil {
		w.t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		_, _ = io.WriteString(rw, host+" for "+r.Header.Get("X-Forwarded-For"))
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	w.t.Cleanup(func() { _ = s.Close(); <-done })
}

// A packet that is sent in the moment in which a device comes up may be lost,
// and TCP sends it again after a second: what must answer gets patience. What
// must not answer gets less.
const (
	patience = 5 * time.Second
	little   = 500 * time.Millisecond
)

// get asks from the client's namespace.
func (w *world) get(address string, timeout time.Duration) (string, error) {
	w.t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, a string) (net.Conn, error) {
		return network.DialIn(ctx, w.client, "tcp", a)
	}}
	c := &http.Client{Transport: tr, Timeout: timeout}
	resp, err := c.Get("http://" + address + "/")
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func (w *world) forward(target string) {
	w.lb.Listeners = []balance.Listener{{Port: 80, Protocol: "HTTP", Rules: []model.Rule{{Default: true, Actions: []model.RuleAction{
		{Forward: &model.ForwardAction{TargetGroups: []model.WeightedTargetGroup{{TargetGroupARN: "g", Weight: 1}}}},
	}}}}}
	w.lb.Groups = []balance.TargetGroup{{
		ID: "g", ARN: "g", Targets: []balance.Target{{IP: target, Port: 80}},
		HealthCheck: model.HealthCheck{
			Enabled: true, Protocol: "HTTP", Path: "/", Port: "traffic-port", IntervalSeconds: 5, TimeoutSeconds: 2,
			HealthyThreshold: 2, UnhealthyThreshold: 2, HTTPCode: "200",
		},
	}}
}

// A load balancer answers at both its addresses, its own address is what the
// target sees, and security groups hold on both sides.
func TestBalancesInAVPC(t *testing.T) {
	w := newWorld(t)
	target := w.host("subnet-b", "10.78.16.20", "sg-target")
	w.serve(target)
	changed := make(chan struct{}, 16)
	b := balancer.New(balancer.Config{Place: New(w.n), Clock: clock.System{}, Changed: func(string) { changed <- struct{}{} }})
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		b.Close(ctx)
	}()
	w.forward("10.78.16.20")
	if err := b.Apply(t.Context(), w.lb); err != nil {
		t.Fatal(err)
	}
	for timeout := time.After(10 * time.Second); b.Targets(w.lb.ID)["g"]["10.78.16.20:80"].Health.State != "healthy"; {
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("target is %+v", b.Targets(w.lb.ID))
		}
	}
	for _, addr := range []string{"10.78.0.10", "10.78.16.10"} {
		got, err := w.get(addr, patience)
		if err != nil || (got != "10.78.0.10 for 10.78.0.20" && got != "10.78.16.10 for 10.78.0.20") {
			t.Errorf("at %s: %q %v", addr, got, err)
		}
	}
	if got, err := w.get("10.78.16.20", little); err == nil {
		t.Errorf("the target answers the client itself, against its security group: %q", got)
	}
	// The load balancer's group forbids the client from now on.
	w.vpc.Groups = []network.Group{w.vpc.Groups[0], {ID: "sg-lb", Rules: []network.Rule{all()}}, w.vpc.Groups[2]}
	if err := w.n.Apply(t.Context(), w.vpc); err != nil {
		t.Fatal(err)
	}
	if got, err := w.get("10.78.0.10", little); err == nil {
		t.Errorf("the load balancer answers against its security group: %q", got)
	}
	if err := b.Remove(t.Context(), w.lb.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(w.n.NetnsPath(name(w.lb.ID))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the namespace is left: %v", err)
	}
}

// A server that comes after one that was killed finds the load balancer's
// namespace as it was.
func TestAdoptsAfterRestart(t *testing.T) {
	w := newWorld(t)
	w.serve(w.host("subnet-b", "10.78.16.20", "sg-target"))
	w.forward("10.78.16.20")
	for range 2 {
		b := balancer.New(balancer.Config{Place: New(w.n), Clock: clock.System{}})
		if err := b.Apply(t.Context(), w.lb); err != nil {
			t.Fatal(err)
		}
		if got, err := w.get("10.78.0.10", patience); err != nil || got == "" {
			t.Errorf("got %q %v", got, err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		b.Close(ctx)
		cancel()
	}
}

// A load balancer that leaves a subnet goes on in the other one.
func TestLeavesASubnet(t *testing.T) {
	w := newWorld(t)
	w.serve(w.host("subnet-b", "10.78.16.20", "sg-target"))
	w.forward("10.78.16.20")
	b := balancer.New(balancer.Config{Place: New(w.n), Clock: clock.System{}})
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		b.Close(ctx)
	}()
	if err := b.Apply(t.Context(), w.lb); err != nil {
		t.Fatal(err)
	}
	w.lb.Interfaces = w.lb.Interfaces[1:]
	if err := b.Apply(t.Context(), w.lb); err != nil {
		t.Fatal(err)
	}
	if got, err := w.get("10.78.16.10", patience); err != nil || got != "10.78.16.10 for 10.78.0.20" {
		t.Errorf("got %q %v", got, err)
	}
	if got, err := w.get("10.78.0.10", little); err == nil {
		t.Errorf("the subnet that it left answers %q", got)
	}
}
