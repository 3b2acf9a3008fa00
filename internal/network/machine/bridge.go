package machine

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"roadstead.dev/internal/network"
)

// mtu of all devices, as of the machine's interfaces.
const mtu = 1500

// ensureBridge makes the containers' bridge.
func (n *Network) ensureBridge(h *netlink.Handle) error {
	return n.makeBridge(h, Bridge, netip.PrefixFrom(gateway(n.state.Block), n.state.Block.Bits()))
}

// makeBridge makes a bridge with an address, from whatever is there. What comes
// from it may be led to the machine's own loopback: the agent is there, and
// published ports are reached from there.
func (n *Network) makeBridge(h *netlink.Handle, name string, address netip.Prefix) error {
	l, err := h.LinkByName(name)
	if isNotFound(err) {
		attrs := netlink.NewLinkAttrs()
		// With an address of its own it does not change with what is joined to it.
		attrs.Name, attrs.MTU, attrs.HardwareAddr = name, mtu, macOf(address.Addr())
		if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
			return fmt.Errorf("make %s: %w", name, err)
		}
		l, err = h.LinkByName(name)
	}
	if err != nil {
		return err
	}
	have, err := h.AddrList(l, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for i := range have {
		if p, ok := prefix(have[i].IPNet); !ok || p != address {
			if err := h.AddrDel(l, &have[i]); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				return fmt.Errorf("remove address %s of %s: %w", have[i].IPNet, name, err)
			}
		}
	}
	if err := h.AddrReplace(l, &netlink.Addr{IPNet: ipNet(address)}); err != nil {
		return fmt.Errorf("address %s of %s: %w", address, name, err)
	}
	if err := network.Sysctl(n.cfg.Netns, map[string]string{
		"ipv4/ip_forward":                       "1",
		"ipv4/conf/" + name + "/route_localnet": "1",
		"ipv4/conf/" + name + "/send_redirects": "0",
		"ipv6/conf/" + name + "/disable_ipv6":   "1",
	}); err != nil {
		return err
	}
	return h.LinkSetUp(l)
}

// ensurePlace makes a container's namespace with its interface on the bridge.
func (n *Network) ensurePlace(h *netlink.Handle, p *Place) error {
	if err := network.MakeNetns(p.Netns); err != nil {
		return err
	}
	inner, err := network.OpenHandle(p.Netns)
	if err != nil {
		return err
	}
	defer inner.Close()
	dev, err := join(h, inner, Bridge, "veth"+digest(p.Netns), p.Netns, "eth0", p.Address.Addr(), false)
	if err != nil {
		return err
	}
	if err := inner.AddrReplace(dev, &netlink.Addr{IPNet: ipNet(p.Address)}); err != nil {
		return fmt.Errorf("address %s: %w", p.Address, err)
	}
	if err := inner.LinkSetUp(dev); err != nil {
		return err
	}
	return defaultRoute(inner, dev, p.Gateway)
}

// join makes a pair of devices: outer, which is on a bridge of the machine's,
// and name in a namespace. One that is whole is left as it is. Isolated ones
// reach the bridge alone, and not each other.
func join(h, inner *netlink.Handle, bridge, outer, path, name string, address netip.Addr, isolated bool) (netlink.Link, error) {
	br, err := h.LinkByName(bridge)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", bridge, err)
	}
	o, oerr := h.LinkByName(outer)
	i, ierr := inner.LinkByName(name)
	if oerr == nil && ierr == nil && o.Attrs().ParentIndex == i.Attrs().Index && i.Attrs().ParentIndex == o.Attrs().Index && o.Attrs().MasterIndex == br.Attrs().Index {
		return i, h.LinkSetUp(o)
	}
	for _, old := range []struct {
		h   *netlink.Handle
		l   netlink.Link
		err error
	}{{h, o, oerr}, {inner, i, ierr}} {
		if old.err != nil {
			continue
		}
		if err := old.h.LinkDel(old.l); err != nil && !isNotFound(err) {
			return nil, fmt.Errorf("remove %s: %w", old.l.Attrs().Name, err)
		}
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = ns.Close() }()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.MasterIndex = outer, mtu, br.Attrs().Index
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: name, PeerHardwareAddr: macOf(address), PeerNamespace: netlink.NsFd(int(ns))}
	if err := h.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("make %s: %w", outer, err)
	}
	if o, err = h.LinkByName(outer); err != nil {
		return nil, err
	}
	set := h.LinkSetHairpin // a container reaches its own published ports
	if isolated {
		set = h.LinkSetIsolated
	}
	if err := set(o, true); err != nil {
		return nil, fmt.Errorf("join %s to %s: %w", outer, bridge, err)
	}
	if err := network.Sysctl(path, map[string]string{"ipv6/conf/" + name + "/disable_ipv6": "1"}); err != nil {
		return nil, err
	}
	if err := h.LinkSetUp(o); err != nil {
		return nil, err
	}
	return inner.LinkByName(name)
}

func defaultRoute(h *netlink.Handle, dev netlink.Link, gateway netip.Addr) error {
	err := h.RouteReplace(&netlink.Route{
		Dst: ipNet(netip.PrefixFrom(netip.IPv4Unspecified(), 0)), Gw: gateway.AsSlice(), LinkIndex: dev.Attrs().Index, Flags: int(netlink.FLAG_ONLINK),
	})
	if err != nil {
		return fmt.Errorf("route by %s: %w", gateway, err)
	}
	return nil
}

// removePlace removes a container's namespace and its interface.
func removePlace(h *netlink.Handle, p *Place) error {
	if err := removeLink(h, "veth"+digest(p.Netns)); err != nil {
		return err
	}
	return network.DropNetns(p.Netns)
}

func removeLink(h *netlink.Handle, name string) error {
	l, err := h.LinkByName(name)
	if err == nil {
		err = h.LinkDel(l)
	}
	if err != nil && !isNotFound(err) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// forget drops tracked connections of addresses that nobody has any more, so
// that a new holder does not inherit them.
func (n *Network) forget(h *netlink.Handle, a *allots) {
	gone := map[netip.Addr]bool{}
	for _, p := range a.Places {
		gone[p.Address.Addr()] = true
	}
	if a.Local.IsValid() {
		gone[a.Local] = true
	}
	if len(gone) > 0 {
		// Best effort: entries also end by themselves.
		_, _ = h.ConntrackDeleteFilters(netlink.ConntrackTable, netlink.FAMILY_V4, flowsOf{addresses: gone})
	}
}

// forgetUDP drops tracked flows to ports that have just been published: their
// packets would not meet the rules, and a sender that goes on keeps them alive.
func (n *Network) forgetUDP(h *netlink.Handle, a *allots) {
	ports := map[uint16]bool{}
	for _, p := range a.Places {
		for _, b := range p.Bindings {
			for i := range b.Count {
				if b.UDP {
					ports[uint16(b.Host+i)] = true
				}
			}
		}
	}
	if len(ports) > 0 {
		_, _ = h.ConntrackDeleteFilters(netlink.ConntrackTable, netlink.FAMILY_V4, flowsOf{ports: ports}) // best effort
	}
}

// flowsOf matches flows of any of the addresses, and those of UDP to one of the
// ports that lead to no container.
type flowsOf struct {
	addresses map[netip.Addr]bool
	ports     map[uint16]bool
}

func (f flowsOf) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	for _, ip := range [][]byte{flow.Forward.SrcIP, flow.Forward.DstIP, flow.Reverse.SrcIP, flow.Reverse.DstIP} {
		if a, ok := netip.AddrFromSlice(ip); ok && f.addresses[a.Unmap()] {
			return true
		}
	}
	return flow.Forward.Protocol == unix.IPPROTO_UDP && f.ports[flow.Forward.DstPort] && flow.Forward.DstIP.Equal(flow.Reverse.SrcIP)
}

// macOf is the address of a device that has ip, as Docker makes it.
func macOf(ip netip.Addr) net.HardwareAddr {
	b := ip.As4()
	return net.HardwareAddr{0x02, 0x42, b[0], b[1], b[2], b[3]}
}

// digest tells namespaces apart in the names of devices.
func digest(path string) string {
	h := sha256.Sum256([]byte(filepath.Base(path)))
	return hex.EncodeToString(h[:5])
}

func isNotFound(err error) bool {
	_, ok := errors.AsType[netlink.LinkNotFoundError](err)
	return ok || errors.Is(err, unix.ENODEV)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones), ok
}
