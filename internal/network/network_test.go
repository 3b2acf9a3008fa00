package network

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roadstead.dev/internal/id"
)

// world is an instance with one VPC, for tests on the real kernel.
type world struct {
	t   *testing.T
	n   *Network
	cfg Config
	vpc VPC
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
}

// newWorld makes an instance. The VPC has two subnets, one route table with a
// way out, and no interfaces yet.
func newWorld(t *testing.T) *world {
	t.Helper()
	needRoot(t)
	cfg := Config{Prefix: "rs" + id.Hex(6), Dir: t.TempDir()}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Teardown(context.Background(), cfg); err != nil {
			t.Errorf("teardown: %v", err)
		}
		checkNothingLeft(t, cfg)
	})
	return &world{t: t, n: n, cfg: cfg, vpc: VPC{
		ID:    id.Resource("vpc"),
		CIDRs: []netip.Prefix{netip.MustParsePrefix("10.77.0.0/16")},
		Subnets: []Subnet{
			{ID: "subnet-a", CIDR: netip.MustParsePrefix("10.77.0.0/20"), RouteTableID: "rtb-1"},
			{ID: "subnet-b", CIDR: netip.MustParsePrefix("10.77.16.0/20"), RouteTableID: "rtb-1"},
		},
		RouteTables: []RouteTable{{ID: "rtb-1", Routes: []Route{{Destination: netip.MustParsePrefix("0.0.0.0/0"), Target: Internet}}}},
	}}
}

// checkNothingLeft fails when a device, a mount or a table of the instance is
// still there.
func checkNothingLeft(t *testing.T, cfg Config) {
	t.Helper()
	links, err := netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, cfg.Prefix) {
			t.Errorf("device %s is left", l.Attrs().Name)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), cfg.Dir) {
		t.Errorf("mounts are left under %s", cfg.Dir)
	}
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := conn.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if table.Name == cfg.Prefix {
			t.Errorf("nftables table %s is left", table.Name)
		}
	}
}

func (w *world) apply() {
	w.t.Helper()
	v := w.vpc
	// Apply keeps what it is given: later changes must not alias it.
	v.Interfaces = append([]Interface(nil), v.Interfaces...)
	v.Groups = append([]Group(nil), v.Groups...)
	if err := w.n.Apply(w.t.Context(), v); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) group(gid string, rules ...Rule) {
	for i := range w.vpc.Groups {
		if w.vpc.Groups[i].ID == gid {
			w.vpc.Groups[i].Rules = rules
			return
		}
	}
	w.vpc.Groups = append(w.vpc.Groups, Group{ID: gid, Rules: rules})
}

// host is a namespace with an interface.
type host struct {
	netns string
	name  string
	iface Interface
	att   Attachment
}

// add makes an interface in a namespace of its own.
func (w *world) add(subnet, ip string, groups ...string) *host {
	w.t.Helper()
	e := Interface{ID: id.Resource("eni"), SubnetID: subnet, IP: netip.MustParseAddr(ip), Groups: groups}
	e.MAC, _ = net.ParseMAC("02:00:0a:4d:" + id.Hex(2) + ":" + id.Hex(2))
	w.vpc.Interfaces = append(w.vpc.Interfaces, e)
	w.apply()
	h := &host{name: "task-" + id.Hex(8), iface: e}
	path, err := w.n.CreateNetns(w.t.Context(), h.name)
	if err != nil {
		w.t.Fatal(err)
	}
	h.netns = path
	for _, s := range w.vpc.Subnets {
		if s.ID == subnet {
			h.att = Attachment{
				VPCID: w.vpc.ID, InterfaceID: e.ID, Netns: path, MAC: e.MAC,
				Address: netip.PrefixFrom(e.IP, s.CIDR.Bits()), Gateway: GatewayOf(s.CIDR),
			}
		}
	}
	if err := w.n.Attach(w.t.Context(), h.att); err != nil {
		w.t.Fatal(err)
	}
	return h
}

// serve answers each TCP connection with the client's address.
func (w *world) serve(h *host, address string) {
	w.t.Helper()
	l, err := ListenIn(w.t.Context(), h.netns, address)
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(c.RemoteAddr().String()))
			_ = c.Close()
		}
	}()
	w.t.Cleanup(func() { _ = l.Close(); <-done })
}

// get connects from a namespace and returns what the server says.
func get(t *testing.T, netns, address string, timeout time.Duration) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	var c net.Conn
	var err error
	if netns == "" {
		c, err = new(net.Dialer).DialContext(ctx, "tcp", address)
	} else {
		c, err = DialIn(ctx, netns, "tcp", address)
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(timeout))
	b := make([]byte, 100)
	k, err := c.Read(b)
	return string(b[:k]), err
}

const (
	yes = 5 * time.Second        // for what must succeed
	no  = 300 * time.Millisecond // for what must be dropped
)

func (w *world) allowed(from *host, address, source string) {
	w.t.Helper()
	got, err := get(w.t, from.netns, address, yes)
	if err != nil {
		w.t.Fatalf("%s to %s: %v", from.iface.IP, address, err)
	}
	if a := netip.MustParseAddrPort(got).Addr().String(); source != "" && a != source {
		w.t.Errorf("%s to %s comes from %s, want %s", from.iface.IP, address, a, source)
	}
}

func (w *world) denied(from *host, address string) {
	w.t.Helper()
	got, err := get(w.t, from.netns, address, no)
	if !errors.Is(err, context.DeadlineExceeded) && !os.IsTimeout(err) {
		w.t.Fatalf("%s to %s: got %q, %v; want a timeout", from.iface.IP, address, got, err)
	}
}

var (
	anywhere  = netip.MustParsePrefix("0.0.0.0/0")
	allEgress = Rule{Egress: true, Protocol: -1, From: -1, To: -1, CIDR: anywhere}
)

func tcp(p int, cidr string) Rule {
	return Rule{Protocol: unix.IPPROTO_TCP, From: p, To: p, CIDR: netip.MustParsePrefix(cidr)}
}

func fromGroup(p int, gid string) Rule {
	return Rule{Protocol: unix.IPPROTO_TCP, From: p, To: p, Group: gid}
}

func TestSecurityGroups(t *testing.T) {
	w := newWorld(t)
	w.group("sg-web", allEgress, tcp(80, "10.77.0.0/16"))
	w.group("sg-client", allEgress)
	web := w.add("subnet-a", "10.77.0.10", "sg-web")
	near := w.add("subnet-a", "10.77.0.11", "sg-client")
	far := w.add("subnet-b", "10.77.16.12", "sg-client")
	w.serve(web, "10.77.0.10:80")
	w.serve(web, "10.77.0.10:81")
	w.serve(near, "10.77.0.11:80")

	t.Run("a rule allows, within a subnet and across", func(t *testing.T) {
		w.allowed(near, "10.77.0.10:80", "10.77.0.11")
		w.allowed(far, "10.77.0.10:80", "10.77.16.12")
	})
	t.Run("what no rule allows is dropped", func(t *testing.T) {
		w.denied(near, "10.77.0.10:81")
		w.denied(web, "10.77.0.11:80")
	})
	t.Run("a change of rules meets new connections, in both directions", func(t *testing.T) {
		w.group("sg-web", allEgress, fromGroup(81, "sg-client"))
		w.apply()
		w.denied(far, "10.77.0.10:80")
		w.allowed(far, "10.77.0.10:81", "")
		w.group("sg-client", Rule{Egress: true, Protocol: unix.IPPROTO_TCP, From: 80, To: 80, CIDR: anywhere})
		w.apply()
		w.denied(far, "10.77.0.10:81")
	})
	t.Run("a group that names itself", func(t *testing.T) {
		w.group("sg-client", allEgress, Rule{Protocol: -1, From: -1, To: -1, Group: "sg-client"})
		w.apply()
		w.allowed(far, "10.77.0.11:80", "10.77.16.12")
		w.denied(web, "10.77.0.11:80")
	})
	t.Run("an interface changes groups", func(t *testing.T) {
		w.vpc.Interfaces[0].Groups = []string{"sg-client", "sg-web"}
		w.apply()
		w.allowed(web, "10.77.0.11:80", "")
	})
	t.Run("port ranges and all ports", func(t *testing.T) {
		w.group("sg-web", allEgress, Rule{Protocol: unix.IPPROTO_TCP, From: 79, To: 80, CIDR: netip.MustParsePrefix("10.77.16.12/32")})
		w.vpc.Interfaces[0].Groups = []string{"sg-web"}
		w.apply()
		w.allowed(far, "10.77.0.10:80", "")
		w.denied(far, "10.77.0.10:81")
		w.denied(near, "10.77.0.10:80")
		w.group("sg-web", allEgress, Rule{Protocol: unix.IPPROTO_TCP, From: 0, To: 65535, CIDR: anywhere})
		w.apply()
		w.allowed(near, "10.77.0.10:81", "")
	})
	t.Run("no service there is refused, not dropped", func(t *testing.T) {
		_, err := get(t, near.netns, "10.77.0.10:82", yes)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("got %v", err)
		}
	})
}

// A connection that was allowed goes on when its rule is gone.
func TestEstablishedConnectionsSurviveRuleChanges(t *testing.T) {
	w := newWorld(t)
	w.group("sg", allEgress, tcp(80, "0.0.0.0/0"))
	a, b := w.add("subnet-a", "10.77.0.10", "sg"), w.add("subnet-b", "10.77.16.10", "sg")
	l, err := ListenIn(t.Context(), a.netns, "10.77.0.10:80")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := DialIn(t.Context(), b.netns, "tcp", "10.77.0.10:80")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	w.group("sg", allEgress)
	w.apply()
	w.denied(b, "10.77.0.10:80")
	if _, err := server.Write([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	_ = client.SetDeadline(time.Now().Add(yes))
	buf := make([]byte, 10)
	if _, err := client.Read(buf); err != nil || string(buf) != "still here" {
		t.Fatalf("read %q, %v", buf, err)
	}
}

func TestSpoofedSourceIsDropped(t *testing.T) {
	w := newWorld(t)
	w.group("sg", allEgress, tcp(80, "0.0.0.0/0"))
	a, b := w.add("subnet-a", "10.77.0.10", "sg"), w.add("subnet-a", "10.77.0.11", "sg")
	w.serve(a, "10.77.0.10:80")
	w.allowed(b, "10.77.0.10:80", "10.77.0.11")
	if err := runIn(b.netns, func() error {
		dev, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		if err := netlink.AddrDel(dev, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("10.77.0.11/20"))}); err != nil {
			return err
		}
		if err := netlink.AddrAdd(dev, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("10.77.0.99/20"))}); err != nil {
			return err
		}
		return netlink.RouteReplace(&netlink.Route{Dst: ipNet(anywhere), Gw: net.IPv4(10, 77, 0, 1), LinkIndex: dev.Attrs().Index})
	}); err != nil {
		t.Fatal(err)
	}
	w.denied(b, "10.77.0.10:80")
}

func TestHostReachesWhatGroupsAllow(t *testing.T) {
	w := newWorld(t)
	w.vpc.HostRoute = true
	w.group("sg", allEgress, tcp(80, "0.0.0.0/0"))
	a := w.add("subnet-a", "10.77.0.10", "sg")
	w.serve(a, "10.77.0.10:80")
	w.serve(a, "10.77.0.10:81")
	link := w.n.LinkAddr(w.vpc.ID).String()
	got, err := get(t, "", "10.77.0.10:80", yes)
	if err != nil || netip.MustParseAddrPort(got).Addr().String() != link {
		t.Fatalf("from the host: %q, %v; want %s", got, err, link)
	}
	if _, err := get(t, "", "10.77.0.10:81", no); !os.IsTimeout(err) && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("port 81 from the host: %v", err)
	}
	w.group("sg", allEgress, tcp(80, "10.77.0.0/16"))
	w.apply()
	if _, err := get(t, "", "10.77.0.10:80", no); !os.IsTimeout(err) && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the host is outside the VPC's addresses, and got %v", err)
	}
}

// A public address works both ways: the host reaches the interface by it, and
// the interface leaves the VPC with it.
func TestPublicAddress(t *testing.T) {
	w := newWorld(t)
	w.group("sg", allEgress, tcp(80, "0.0.0.0/0"))
	a, b := w.add("subnet-a", "10.77.0.10", "sg"), w.add("subnet-a", "10.77.0.11", "sg")
	public := "198.18." + "200.7"
	w.vpc.Interfaces[0].PublicIP = netip.MustParseAddr(public)
	w.apply()
	w.serve(a, "10.77.0.10:80")
	if _, err := get(t, "", public+":80", yes); err != nil {
		t.Fatalf("host to public address: %v", err)
	}

	// The host itself stands for the world outside.
	outside, err := net.Listen("tcp", w.n.LinkAddr(w.vpc.ID).String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = outside.Close() }()
	go func() {
		for {
			c, err := outside.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte(c.RemoteAddr().String()))
			_ = c.Close()
		}
	}()
	w.allowed(a, outside.Addr().String(), public)
	w.denied(b, outside.Addr().String()) // no public address: no way out

	t.Run("by a NAT gateway", func(t *testing.T) {
		nat := "198.18.200.8"
		w.vpc.RouteTables = append(w.vpc.RouteTables, RouteTable{ID: "rtb-2", Routes: []Route{
			{Destination: anywhere, Target: NAT, NATIP: netip.MustParseAddr(nat)},
		}})
		w.vpc.Subnets = []Subnet{w.vpc.Subnets[0], w.vpc.Subnets[1]}
		w.vpc.Subnets[1].RouteTableID = "rtb-2"
		c := w.add("subnet-b", "10.77.16.10", "sg")
		w.allowed(c, outside.Addr().String(), nat)
	})
	t.Run("a longer blackhole wins", func(t *testing.T) {
		w.vpc.RouteTables = []RouteTable{{ID: "rtb-1", Routes: []Route{
			{Destination: anywhere, Target: Internet},
			{Destination: netip.MustParsePrefix("169.254.0.0/16"), Target: Blackhole},
		}}, w.vpc.RouteTables[1]}
		w.apply()
		if _, err := get(t, a.netns, outside.Addr().String(), no); err == nil {
			t.Fatal("the blackhole let it pass")
		}
	})
	t.Run("interfaces meet by public addresses", func(t *testing.T) {
		w.vpc.RouteTables = []RouteTable{{ID: "rtb-1", Routes: []Route{{Destination: anywhere, Target: Internet}}}, w.vpc.RouteTables[1]}
		w.vpc.Interfaces[1].PublicIP = netip.MustParseAddr("198.18.200.9")
		w.apply()
		w.allowed(b, public+":80", "198.18.200.9")
	})
}

func TestServicesInsideTheVPC(t *testing.T) {
	w := newWorld(t)
	w.group("sg-closed") // allows nothing
	a := w.add("subnet-a", "10.77.0.10", "sg-closed")
	w.serve(&host{netns: w.n.VPCNetns(w.vpc.ID)}, "169.254.170.2:80")
	w.serve(&host{netns: w.n.VPCNetns(w.vpc.ID)}, "10.77.0.2:53")
	w.serve(&host{netns: w.n.VPCNetns(w.vpc.ID)}, "10.77.0.1:80")
	w.allowed(a, "169.254.170.2:80", "10.77.0.10")
	w.allowed(a, "10.77.0.2:53", "10.77.0.10")
	w.denied(a, "10.77.0.1:80")
}

func TestNetworkACL(t *testing.T) {
	w := newWorld(t)
	w.group("sg", allEgress, tcp(80, "0.0.0.0/0"))
	a, b := w.add("subnet-a", "10.77.0.10", "sg"), w.add("subnet-b", "10.77.16.10", "sg")
	c := w.add("subnet-a", "10.77.0.11", "sg")
	w.serve(a, "10.77.0.10:80")
	all := Rule{Protocol: -1, From: -1, To: -1, CIDR: anywhere}
	w.vpc.ACLs = []ACL{{ID: "acl-1", Entries: []ACLEntry{{Rule: all}, {Rule: allEgress}}}}
	w.vpc.Subnets = []Subnet{w.vpc.Subnets[0], w.vpc.Subnets[1]}
	w.vpc.Subnets[0].ACLID = "acl-1"
	w.apply()
	w.allowed(b, "10.77.0.10:80", "")
	// Stateless: without a way for replies, nothing works.
	w.vpc.ACLs = []ACL{{ID: "acl-1", Entries: []ACLEntry{{Rule: all}}}}
	w.apply()
	w.denied(b, "10.77.0.10:80")
	w.allowed(c, "10.77.0.10:80", "") // not across a border
	w.vpc.ACLs = []ACL{{ID: "acl-1", Entries: []ACLEntry{
		{Rule: tcp(80, "10.77.16.0/20"), Deny: true}, {Rule: all}, {Rule: allEgress},
	}}}
	w.apply()
	w.denied(b, "10.77.0.10:80")
}

// A server that was killed finds its kernel objects again, and traffic goes
// on in between.
func TestAdoptionAfterRestart(t *testing.T) {
	w := newWorld(t)
	w.vpc.HostRoute = true
	w.group("sg", allEgress, tcp(80, "0.0.0.0/0"))
	a, b := w.add("subnet-a", "10.77.0.10", "sg"), w.add("subnet-b", "10.77.16.10", "sg")
	w.serve(a, "10.77.0.10:80")
	link := w.n.LinkAddr(w.vpc.ID)
	l, err := ListenIn(t.Context(), a.netns, "10.77.0.10:8080")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()

	n, err := New(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.n = n
	w.allowed(b, "10.77.0.10:80", "")
	w.apply()
	if got := n.LinkAddr(w.vpc.ID); got != link {
		t.Errorf("link address %s became %s", link, got)
	}
	before := ifindex(t, a.netns)
	if err := n.Attach(t.Context(), a.att); err != nil {
		t.Fatal(err)
	}
	if after := ifindex(t, a.netns); after != before {
		t.Errorf("the interface was made anew: %d, then %d", before, after)
	}
	w.allowed(b, "10.77.0.10:80", "")
	if _, err := get(t, "", "10.77.0.10:80", yes); err != nil {
		t.Errorf("from the host: %v", err)
	}
	names, err := n.Netns()
	if err != nil || len(names) != 2 {
		t.Errorf("namespaces %v, %v", names, err)
	}
	// What is gone from the records goes from the kernel.
	w.vpc.Interfaces = w.vpc.Interfaces[:1]
	w.apply()
	if _, err := get(t, b.netns, "10.77.0.10:80", no); err == nil {
		t.Error("a removed interface still works")
	}
}

func ifindex(t *testing.T, netns string) (index int) {
	t.Helper()
	if err := runIn(netns, func() error {
		dev, err := netlink.LinkByName("eth0")
		if err == nil {
			index = dev.Attrs().Index
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return index
}

// Two servers with the same addresses live side by side.
func TestTwoInstances(t *testing.T) {
	one, two := newWorld(t), newWorld(t)
	var hosts []*host
	for _, w := range []*world{one, two} {
		w.vpc.HostRoute = true
		w.group("sg", allEgress, tcp(80, "0.0.0.0/0"))
		a := w.add("subnet-a", "10.77.0.10", "sg")
		hosts = append(hosts, w.add("subnet-b", "10.77.16.10", "sg"))
		w.serve(a, "10.77.0.10:80")
	}
	one.allowed(hosts[0], "10.77.0.10:80", "")
	two.allowed(hosts[1], "10.77.0.10:80", "")
	if len(one.n.HostConflicts()) != 0 || len(two.n.HostConflicts()) != 1 {
		t.Errorf("conflicts: %v, %v; want only the second", one.n.HostConflicts(), two.n.HostConflicts())
	}
	if err := Teardown(t.Context(), two.cfg); err != nil {
		t.Fatal(err)
	}
	one.allowed(hosts[0], "10.77.0.10:80", "")
	if _, err := get(t, "", "10.77.0.10:80", yes); err != nil {
		t.Errorf("from the host: %v", err)
	}
}

// An LB's namespace has an interface in each subnet and answers by the one
// that was asked.
func TestSeveralInterfacesInOneNamespace(t *testing.T) {
	w := newWorld(t)
	w.group("sg", allEgress, tcp(80, "0.0.0.0/0"))
	lb := w.add("subnet-a", "10.77.0.10", "sg")
	second := w.add("subnet-b", "10.77.16.10", "sg")
	if err := w.n.Detach(t.Context(), w.vpc.ID, second.iface.ID); err != nil {
		t.Fatal(err)
	}
	att := second.att
	att.Netns, att.Index = lb.netns, 1
	if err := w.n.Attach(t.Context(), att); err != nil {
		t.Fatal(err)
	}
	w.serve(lb, "0.0.0.0:80")
	// Each client is in the subnet of one of the devices and asks both.
	for _, client := range []*host{w.add("subnet-a", "10.77.0.11", "sg"), w.add("subnet-b", "10.77.16.11", "sg")} {
		w.allowed(client, "10.77.0.10:80", "")
		w.allowed(client, "10.77.16.10:80", "")
	}
	w.vpc.HostRoute = true
	w.apply()
	for _, a := range []string{"10.77.0.10:80", "10.77.16.10:80"} {
		if _, err := get(t, "", a, yes); err != nil {
			t.Errorf("host to %s: %v", a, err)
		}
	}
}

func TestRemoveVPC(t *testing.T) {
	w := newWorld(t)
	w.apply()
	if err := w.n.RemoveVPC(t.Context(), w.vpc.ID); err != nil {
		t.Fatal(err)
	}
	ids, err := w.n.VPCs()
	if err != nil || len(ids) != 0 {
		t.Errorf("VPCs %v, %v", ids, err)
	}
	w.apply() // may come back
}
