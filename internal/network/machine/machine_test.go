package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"roadstead.dev/internal/network"
)

// lab is a machine in a network with one neighbour, all in namespaces of their
// own.
type lab struct {
	t                       *testing.T
	dir, machine, neighbour string
	n                       *Network
}

const (
	machineIP   = "10.99.0.2"
	neighbourIP = "10.99.0.1"
)

func newLab(t *testing.T) *lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	x := &lab{t: t, dir: t.TempDir()}
	x.machine, x.neighbour = filepath.Join(x.dir, "machine"), filepath.Join(x.dir, "neighbour")
	x.makeNetns(x.neighbour)
	x.boot()
	x.begin()
	t.Cleanup(func() {
		x.end()
		left, err := filepath.Glob(filepath.Join(x.dir, "ns", "*"))
		if err != nil {
			t.Error(err)
		}
		for _, path := range left {
			_ = network.DropNetns(path)
		}
	})
	return x
}

func (x *lab) makeNetns(path string) {
	x.t.Helper()
	if err := network.MakeNetns(path); err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = network.DropNetns(path) })
}

// boot makes the machine's namespace, with eth0.
func (x *lab) boot() {
	x.t.Helper()
	x.makeNetns(x.machine)
	x.wire("eth0", "10.99.0.0", "", true)
}

// wire joins the machine and its neighbour by a device: the first is the
// machine's. Addresses are the block's second and first.
func (x *lab) wire(name, block, mac string, up bool) {
	x.t.Helper()
	near, err := network.OpenHandle(x.machine)
	must(x.t, err)
	defer near.Close()
	far, err := network.OpenHandle(x.neighbour)
	must(x.t, err)
	defer far.Close()
	ns, err := netns.GetFromPath(x.machine)
	must(x.t, err)
	defer func() { _ = ns.Close() }()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "to" + name + mac[max(0, len(mac)-2):]
	if old, err := far.LinkByName(attrs.Name); err == nil {
		must(x.t, far.LinkDel(old))
	}
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: name, PeerNamespace: netlink.NsFd(int(ns))}
	if mac != "" {
		veth.PeerHardwareAddr, err = net.ParseMAC(mac)
		must(x.t, err)
	}
	must(x.t, far.LinkAdd(veth))
	base := netip.MustParseAddr(block)
	o, err := far.LinkByName(attrs.Name)
	must(x.t, err)
	must(x.t, far.AddrAdd(o, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(base.Next(), 24))}))
	must(x.t, far.LinkSetUp(o))
	if !up {
		return
	}
	i, err := near.LinkByName(name)
	must(x.t, err)
	must(x.t, near.AddrAdd(i, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(base.Next().Next(), 24))}))
	must(x.t, near.LinkSetUp(i))
	must(x.t, defaultRoute(near, i, base.Next()))
}

// begin starts the agent's network, as a new process.
func (x *lab) begin() {
	x.t.Helper()
	n, err := New(Config{Netns: x.machine, Dir: filepath.Join(x.dir, "ns"), StateDir: filepath.Join(x.dir, "state")})
	must(x.t, err)
	must(x.t, n.Restore(x.t.Context()))
	x.n = n
}

// end ends it, as a process that is killed: its sockets close.
func (x *lab) end() {
	for _, held := range x.n.held {
		for _, c := range held {
			_ = c.Close()
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve answers each TCP connection, and each UDP packet, with the address that
// it came from.
func (x *lab) serve(path, address string) {
	x.t.Helper()
	l, err := network.ListenIn(context.Background(), path, address)
	must(x.t, err)
	x.t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			from, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			fmt.Fprintf(c, "%s\n", from)
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	p, err := network.ListenPacketIn(context.Background(), path, address)
	must(x.t, err)
	x.t.Cleanup(func() { _ = p.Close() })
	go func() {
		b := make([]byte, 100)
		for {
			_, from, err := p.ReadFrom(b)
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(from.String())
			_, _ = p.WriteTo([]byte(host+"\n"), from)
		}
	}()
}

// ask is who the server at an address takes the asker in a namespace for.
func (x *lab) ask(path, protocol, address string) (string, error) {
	ctx, cancel := context.WithTimeout(x.t.Context(), 2*time.Second)
	defer cancel()
	c, err := network.DialIn(ctx, path, protocol, address)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	if protocol == "udp" {
		if _, err := c.Write([]byte("x")); err != nil {
			return "", err
		}
	}
	b := make([]byte, 100)
	n, err := c.Read(b)
	if err != nil {
		return "", err
	}
	from, err := netip.ParseAddr(string(b[:n-1]))
	return from.Unmap().String(), err
}

func (x *lab) reaches(what, path, protocol, address, as string) {
	x.t.Helper()
	if from, err := x.ask(path, protocol, address); err != nil || from != as {
		x.t.Errorf("%s: %s %s answers to %q, %v; want %q", what, protocol, address, from, err, as)
	}
}

func (x *lab) bridged(task string, cs ...Container) []Place {
	x.t.Helper()
	places, err := x.n.Bridged(x.t.Context(), task, cs)
	must(x.t, err)
	return places
}

func TestBridge(t *testing.T) {
	x := newLab(t)
	places := x.bridged("t1",
		Container{"web", []Mapping{{Container: 80}, {Container: 53, Host: 5353, UDP: true}, {Container: 9000, Count: 3}}}, Container{Name: "client"})
	web, client := places[0], places[1]
	if web.Address.String() != "172.17.0.2/16" || client.Address.String() != "172.17.0.3/16" || web.Gateway.String() != "172.17.0.1" {
		t.Errorf("places %+v", places)
	}
	want := []Binding{{80, 49153, 1, false}, {53, 5353, 1, true}, {9000, 49154, 3, false}}
	if d := cmp.Diff(want, web.Bindings); d != "" {
		t.Error(d)
	}
	x.serve(web.Netns, "0.0.0.0:80")
	x.serve(web.Netns, "0.0.0.0:53")
	x.serve(web.Netns, "0.0.0.0:9002")
	x.serve(x.neighbour, "0.0.0.0:7000")
	check := func(when string) {
		t.Helper()
		x.reaches(when+", from outside", x.neighbour, "tcp", machineIP+":49153", neighbourIP)
		x.reaches(when+", from outside", x.neighbour, "udp", machineIP+":5353", neighbourIP)
		x.reaches(when+", a range's last", x.neighbour, "tcp", machineIP+":49156", neighbourIP)
		x.reaches(when+", from loopback", x.machine, "tcp", "127.0.0.1:49153", "172.17.0.1")
		x.reaches(when+", from loopback", x.machine, "udp", "127.0.0.1:5353", "172.17.0.1")
		x.reaches(when+", from the machine by its address", x.machine, "tcp", machineIP+":49153", machineIP)
		x.reaches(when+", hairpin from another container", client.Netns, "tcp", machineIP+":49153", "172.17.0.1")
		x.reaches(when+", hairpin", web.Netns, "tcp", machineIP+":49153", "172.17.0.1")
		x.reaches(when+", hairpin", web.Netns, "udp", "172.17.0.1:5353", "172.17.0.1")
		x.reaches(when+", on the bridge", client.Netns, "tcp", "172.17.0.2:80", "172.17.0.3")
		x.reaches(when+", to the world", client.Netns, "tcp", neighbourIP+":7000", machineIP)
		x.reaches(when+", to the world", client.Netns, "udp", neighbourIP+":7000", machineIP)
	}
	check("at first")

	// What is not published is not reached, even by who knows the way.
	far, err := network.OpenHandle(x.neighbour)
	must(t, err)
	defer far.Close()
	must(t, far.RouteAdd(&netlink.Route{Dst: ipNet(netip.MustParsePrefix("172.17.0.0/16")), Gw: net.ParseIP(machineIP)}))
	if _, err := x.ask(x.neighbour, "tcp", "172.17.0.2:80"); err == nil {
		t.Error("a container is reached past its published ports")
	}

	// The agent is killed, and another one takes over.
	x.end()
	x.begin()
	if d := cmp.Diff(places, x.bridged("t1"), cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
	check("after a restart")
	if _, err := network.ListenIn(t.Context(), x.machine, "0.0.0.0:49153"); err == nil {
		t.Error("a published port is free")
	}
	if next := x.bridged("t2", Container{Name: "c"}); next[0].Address.String() != "172.17.0.4/16" {
		t.Errorf("the next address is %s", next[0].Address)
	}

	must(t, x.n.Release(t.Context(), "t1"))
	must(t, x.n.Release(t.Context(), "t1"))
	if network.IsNetns(web.Netns) || network.IsNetns(client.Netns) {
		t.Error("a namespace is left")
	}
	l, err := network.ListenIn(t.Context(), x.machine, "0.0.0.0:49153")
	must(t, err)
	_ = l.Close()
	if _, err := x.ask(x.neighbour, "tcp", machineIP+":49153"); err == nil {
		t.Error("the port is reached still")
	}
	must(t, x.n.Release(t.Context(), "t2"))
	near, err := network.OpenHandle(x.machine)
	must(t, err)
	defer near.Close()
	links, err := near.LinkList()
	must(t, err)
	for _, l := range links {
		if _, veth := l.(*netlink.Veth); veth && l.Attrs().Name != "eth0" {
			t.Errorf("device %s is left", l.Attrs().Name)
		}
	}
}

func TestConflicts(t *testing.T) {
	x := newLab(t)
	l, err := network.ListenIn(t.Context(), x.machine, "0.0.0.0:8080")
	must(t, err)
	defer func() { _ = l.Close() }()
	dynamic, err := network.ListenPacketIn(t.Context(), x.machine, "0.0.0.0:49153")
	must(t, err)
	defer func() { _ = dynamic.Close() }()
	try := func(task string, m ...Mapping) error {
		_, err := x.n.Bridged(t.Context(), task, []Container{{Name: "c", Mappings: m}})
		return err
	}
	conflict := func(err error, want string) {
		t.Helper()
		e, ok := errors.AsType[*PortError](err)
		if !ok || e.Container != "c" || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	// A dynamic port that another program has is passed over, and a task that
	// cannot have all its ports has none.
	conflict(try("t1", Mapping{Container: 53, UDP: true}, Mapping{Container: 80, Host: 8080}),
		"Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use")
	if err := try("t2", Mapping{Container: 53, UDP: true}, Mapping{Container: 80, Host: 80}); err != nil {
		t.Error(err)
	}
	if b := x.n.state.Tasks["t2"].Places[0].Bindings[0]; b.Host != 49154 {
		t.Errorf("the dynamic port is %d", b.Host)
	}
	conflict(try("t3", Mapping{Container: 81, Host: 80}), "Bind for 0.0.0.0:80 failed: port is already allocated")
	must(t, x.n.Release(t.Context(), "t2"))
	if err := try("t3", Mapping{Container: 81, Host: 80}); err != nil {
		t.Error(err)
	}
}

// After a reboot nothing is in the kernel, and all of it is made again.
func TestReboot(t *testing.T) {
	x := newLab(t)
	before := x.bridged("t1", Container{"web", []Mapping{{Container: 80}}})
	x.end()
	must(t, network.DropNetns(before[0].Netns))
	must(t, network.DropNetns(x.machine))
	x.boot()
	x.begin()
	x.serve(before[0].Netns, "0.0.0.0:80")
	x.reaches("after the reboot", x.neighbour, "tcp", machineIP+":49153", neighbourIP)
	must(t, x.n.Release(t.Context(), "t1"))
}

func TestOwnInterface(t *testing.T) {
	x := newLab(t)
	const mac = "02:00:00:aa:bb:cc"
	undo, err := Redirect(x.machine, 51679)
	must(t, err)
	defer undo()
	x.serve(x.machine, "127.0.0.1:51679")
	// What the VPC has at the other ports of the same address.
	far, err := network.OpenHandle(x.neighbour)
	must(t, err)
	defer far.Close()
	lo, err := far.LinkByName("lo")
	must(t, err)
	must(t, far.AddrAdd(lo, &netlink.Addr{IPNet: ipNet(netip.MustParsePrefix("169.254.170.2/32"))}))
	x.serve(x.neighbour, "0.0.0.0:4566")
	x.serve(x.neighbour, "0.0.0.0:7000")

	// The task waits for its interface.
	e := Interface{MAC: mac, Address: netip.MustParsePrefix("10.99.1.2/24"), Gateway: netip.MustParseAddr("10.99.1.1")}
	type result struct {
		path string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		path, err := x.n.Own(t.Context(), "t1", e)
		done <- result{path, err}
	}()
	x.wire("eth1", "10.99.1.0", mac, false)
	got := <-done
	must(t, got.err)
	second := Interface{MAC: "02:00:00:aa:bb:cd", Address: netip.MustParsePrefix("10.99.2.2/24"), Gateway: netip.MustParseAddr("10.99.2.1")}
	x.wire("eth1", "10.99.2.0", second.MAC, false)
	other, err := x.n.Own(t.Context(), "t2", second)
	must(t, err)
	bridge := x.bridged("t3", Container{Name: "c"})[0].Netns

	check := func(when string) {
		t.Helper()
		x.reaches(when+", to the world", got.path, "tcp", neighbourIP+":7000", "10.99.1.2")
		x.reaches(when+", to the agent", got.path, "tcp", "169.254.170.2:80", "169.254.172.2")
		x.reaches(when+", to the API", got.path, "tcp", "169.254.170.2:4566", "10.99.1.2")
		x.reaches(when+", to the agent", bridge, "tcp", "169.254.170.2:80", "172.17.0.2")
		x.reaches(when+", to the API", bridge, "tcp", "169.254.170.2:4566", machineIP)
		x.reaches(when+", from the machine", x.machine, "tcp", "169.254.170.2:80", machineIP)
	}
	check("at first")
	x.serve(got.path, "0.0.0.0:8000")
	x.reaches("from the neighbour", x.neighbour, "tcp", "10.99.1.2:8000", "10.99.1.1")

	// Tasks do not reach each other past their interfaces, nor the machine.
	if _, err := x.ask(other, "tcp", "169.254.172.2:8000"); err == nil {
		t.Error("a task is reached past its interface")
	}
	x.serve(x.machine, "0.0.0.0:6000")
	if _, err := x.ask(got.path, "tcp", "169.254.172.1:6000"); err == nil {
		t.Error("a task reaches the machine's services")
	}
	x.end()
	x.begin()
	check("after a restart")
	if path, err := x.n.Own(t.Context(), "t1", e); err != nil || path != got.path {
		t.Errorf("%s, %v", path, err)
	}
	must(t, x.n.WaitInterface(t.Context(), mac))

	for _, task := range []string{"t1", "t2", "t3", "t1"} {
		must(t, x.n.Release(t.Context(), task))
	}
	near, err := network.OpenHandle(x.machine)
	must(t, err)
	defer near.Close()
	if dev, err := byMAC(near, mac); err != nil || dev == nil {
		t.Errorf("the interface was not given back: %v", err)
	}
	// The next task takes it from there.
	path, err := x.n.Own(t.Context(), "t4", e)
	must(t, err)
	x.reaches("again", path, "tcp", neighbourIP+":7000", "10.99.1.2")
	must(t, x.n.Release(t.Context(), "t4"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.n.WaitInterface(ctx, "02:00:00:00:00:01"); !errors.Is(err, context.Canceled) {
		t.Errorf("an interface that is not there: %v", err)
	}
}
