package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Attach puts an interface into a namespace, once Apply has its security
// groups in force: until then it waits. Attaching again what is attached
// changes nothing; one that is attached elsewhere moves.
func (n *Network) Attach(ctx context.Context, a Attachment) error {
	if err := n.WaitInterface(ctx, a.VPCID, a.InterfaceID); err != nil {
		return err
	}
	st := n.state(a.VPCID)
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := n.attach(a); err != nil {
		return fmt.Errorf("attach %s: %w", a.InterfaceID, err)
	}
	if st.applied != nil && routesTo(*st.applied, a.InterfaceID) {
		return n.apply(st, *st.applied)
	}
	return nil
}

func routesTo(v VPC, interfaceID string) bool {
	for i := range v.Interfaces {
		if v.Interfaces[i].Balancer && v.Interfaces[i].ID == interfaceID {
			return true
		}
	}
	for _, t := range v.RouteTables {
		for _, r := range t.Routes {
			if r.Target == ToInterface && r.InterfaceID == interfaceID {
				return true
			}
		}
	}
	return false
}

func (n *Network) attach(a Attachment) error {
	vpc, err := openHandle(n.VPCNetns(a.VPCID))
	if err != nil {
		return err
	}
	defer vpc.Close()
	task, err := openHandle(a.Netns)
	if err != nil {
		return err
	}
	defer task.Close()

	outer, inner := device(a.InterfaceID), "eth"+strconv.Itoa(a.Index)
	made := paired(vpc, task, outer, inner, a.MAC)
	if a.Bare && !made {
		// Its other end may have been moved on: with that it would be gone.
		_, err := vpc.LinkByName(outer)
		made = err == nil
	}
	if !made {
		if err := n.makePair(vpc, task, a, outer, inner); err != nil {
			return err
		}
	}
	if !a.Bare {
		if err := setInner(task, a, inner); err != nil {
			return fmt.Errorf("set up %s: %w", inner, err)
		}
	}
	if err := setOuter(vpc, a, outer); err != nil {
		return fmt.Errorf("set up %s: %w", outer, err)
	}
	if err := runIn(n.VPCNetns(a.VPCID), func() error {
		return writeSysctls(map[string]string{
			"ipv4/conf/" + outer + "/proxy_arp":    "1",
			"ipv4/neigh/" + outer + "/proxy_delay": "0",
		})
	}); err != nil {
		return err
	}
	return nil
}

// paired tells whether the two devices are there and are each other's ends.
func paired(vpc, task *netlink.Handle, outer, inner string, mac []byte) bool {
	o, err := vpc.LinkByName(outer)
	if err != nil {
		return false
	}
	i, err := task.LinkByName(inner)
	if err != nil {
		return false
	}
	return o.Attrs().ParentIndex == i.Attrs().Index && i.Attrs().ParentIndex == o.Attrs().Index &&
		bytes.Equal(i.Attrs().HardwareAddr, mac)
}

func (n *Network) makePair(vpc, task *netlink.Handle, a Attachment, outer, inner string) error {
	for _, old := range []struct {
		h    *netlink.Handle
		name string
	}{{vpc, outer}, {task, inner}} {
		if l, err := old.h.LinkByName(old.name); err == nil {
			if err := old.h.LinkDel(l); err != nil && !isNotFound(err) {
				return fmt.Errorf("remove %s: %w", old.name, err)
			}
		}
	}
	ns, err := netns.GetFromPath(a.Netns)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = outer, mtu
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: inner, PeerHardwareAddr: a.MAC, PeerNamespace: netlink.NsFd(int(ns))}
	if err := vpc.LinkAdd(veth); err != nil {
		return fmt.Errorf("make %s: %w", outer, err)
	}
	// No IPv6 link-local address on either end.
	return runIn(a.Netns, func() error {
		return writeSysctls(map[string]string{"ipv6/conf/" + inner + "/disable_ipv6": "1"})
	})
}

// setInner gives the task's end its addresses and routes.
func setInner(h *netlink.Handle, a Attachment, name string) error {
	dev, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	if dev.Attrs().MTU != mtu {
		if err := h.LinkSetMTU(dev, mtu); err != nil {
			return err
		}
	}
	addrs := []netip.Prefix{a.Address}
	for _, s := range a.Secondary {
		addrs = append(addrs, netip.PrefixFrom(s, a.Address.Bits()))
	}
	for _, p := range addrs {
		if err := h.AddrReplace(dev, &netlink.Addr{IPNet: ipNet(p)}); err != nil {
			return fmt.Errorf("address %s: %w", p, err)
		}
	}
	if err := h.LinkSetUp(dev); err != nil {
		return err
	}
	gw := a.Gateway
	if !gw.IsValid() {
		gw = GatewayOf(a.Address)
	}
	route := netlink.Route{Dst: ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0)), Gw: gw.AsSlice(), LinkIndex: dev.Attrs().Index, Flags: int(netlink.FLAG_ONLINK)}
	if a.Index == 0 {
		if err := h.RouteReplace(&route); err != nil {
			return err
		}
	}
	// What comes in by a device is answered by it, even where another one is
	// in the receiver's subnet: the VPC drops packets whose source is not the
	// device's.
	route.Table = InterfaceTable(a.Index)
	if err := h.RouteReplace(&route); err != nil {
		return err
	}
	for _, p := range addrs {
		r := netlink.NewRule()
		r.Family, r.Priority, r.Table = netlink.FAMILY_V4, 100+a.Index, route.Table
		r.Src = host32(p.Addr())
		if err := h.RuleAdd(r); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
	}
	return nil
}

// LeadOut makes an attached interface carry its namespace's default route, as
// device 0 does.
func LeadOut(a Attachment) error {
	h, err := openHandle(a.Netns)
	if err != nil {
		return err
	}
	defer h.Close()
	dev, err := h.LinkByName("eth" + strconv.Itoa(a.Index))
	if err != nil {
		return err
	}
	gw := a.Gateway
	if !gw.IsValid() {
		gw = GatewayOf(a.Address)
	}
	return h.RouteReplace(&netlink.Route{
		Dst: ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0)), Gw: gw.AsSlice(), LinkIndex: dev.Attrs().Index, Flags: int(netlink.FLAG_ONLINK),
	})
}

// Devices are the interfaces in the namespace at path: their Attachment.Index by
// hardware address.
func Devices(path string) (map[string]int, error) {
	h, err := openHandle(path)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	links, err := dump(h.LinkList)
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for _, l := range links {
		if number, ok := strings.CutPrefix(l.Attrs().Name, "eth"); ok {
			if n, err := strconv.Atoi(number); err == nil {
				out[l.Attrs().HardwareAddr.String()] = n
			}
		}
	}
	return out, nil
}

// InterfaceTable is the routing table of a namespace that leads out by the
// device with the index.
func InterfaceTable(index int) int { return 100 + index }

// setOuter brings the VPC's end up and routes the interface's addresses to
// it. The neighbour is fixed, so that nobody can answer for it.
func setOuter(h *netlink.Handle, a Attachment, name string) error {
	dev, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	if err := h.LinkSetUp(dev); err != nil {
		return err
	}
	for _, ip := range append([]netip.Addr{a.Address.Addr()}, a.Secondary...) {
		if err := h.NeighSet(&netlink.Neigh{
			LinkIndex: dev.Attrs().Index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT,
			IP: ip.AsSlice(), HardwareAddr: a.MAC,
		}); err != nil {
			return fmt.Errorf("neighbour %s: %w", ip, err)
		}
		if err := h.RouteReplace(&netlink.Route{Dst: host32(ip), LinkIndex: dev.Attrs().Index, Scope: netlink.SCOPE_LINK}); err != nil {
			return fmt.Errorf("route to %s: %w", ip, err)
		}
	}
	return nil
}

// Detach takes an interface out of the namespace that it is in. Detaching
// what is not attached is no error.
func (n *Network) Detach(ctx context.Context, vpcID, interfaceID string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !isNetns(n.VPCNetns(vpcID)) {
		return nil
	}
	st := n.state(vpcID)
	st.mu.Lock()
	defer st.mu.Unlock()
	h, err := openHandle(n.VPCNetns(vpcID))
	if err != nil {
		return err
	}
	defer h.Close()
	dev, err := h.LinkByName(device(interfaceID))
	if err != nil {
		if isNotFound(err) {
			return nil
		}
		return err
	}
	if err := h.LinkDel(dev); err != nil && !isNotFound(err) {
		return fmt.Errorf("detach %s: %w", interfaceID, err)
	}
	return nil
}

// removeStaleDevices removes the devices of interfaces that the VPC no longer
// has.
func removeStaleDevices(h *netlink.Handle, v VPC) error {
	live := map[string]bool{}
	for i := range v.Interfaces {
		live[device(v.Interfaces[i].ID)] = true
	}
	links, err := dump(h.LinkList)
	if err != nil {
		return err
	}
	for _, l := range links {
		if name := l.Attrs().Name; isInterfaceDevice(name) && !live[name] {
			if err := h.LinkDel(l); err != nil && !isNotFound(err) {
				return fmt.Errorf("remove %s: %w", name, err)
			}
		}
	}
	return nil
}

// forgetConnections drops tracked connections of addresses that changed
// hands, so that a new holder does not inherit them.
func forgetConnections(h *netlink.Handle, old *VPC, v VPC) {
	if old == nil {
		return
	}
	now := map[netip.Addr]string{}
	for i := range v.Interfaces {
		for _, a := range v.Interfaces[i].addrs() {
			now[a] = v.Interfaces[i].ID
		}
	}
	gone := map[netip.Addr]bool{}
	for i := range old.Interfaces {
		for _, a := range old.Interfaces[i].addrs() {
			if now[a] != old.Interfaces[i].ID {
				gone[a] = true
			}
		}
	}
	if len(gone) > 0 {
		// Best effort: entries also end by themselves.
		_, _ = h.ConntrackDeleteFilters(netlink.ConntrackTable, netlink.FAMILY_V4, goneFilter(gone))
	}
}

// goneFilter matches flows of any of the addresses.
type goneFilter map[netip.Addr]bool

func (g goneFilter) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	for _, ip := range [][]byte{f.Forward.SrcIP, f.Forward.DstIP, f.Reverse.SrcIP, f.Reverse.DstIP} {
		if a, ok := netip.AddrFromSlice(ip); ok && g[a.Unmap()] {
			return true
		}
	}
	return false
}
