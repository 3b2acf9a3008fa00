package network

import (
	"net"
	"net/netip"
)

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// everywhere is all of IPv4.
var everywhere = netip.PrefixFrom(netip.IPv4Unspecified(), 0)

func host32(a netip.Addr) *net.IPNet { return ipNet(netip.PrefixFrom(a, 32)) }

func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), true
	}
	a, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	ones, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), ones), true
}

// addrs are all private addresses of an interface.
func (i *Interface) addrs() []netip.Addr {
	return append([]netip.Addr{i.IP}, i.Secondary...)
}

// publicOf is the public address of one of the interface's own, if it has one.
func (i *Interface) publicOf(a netip.Addr) netip.Addr {
	if a == i.IP {
		return i.PublicIP
	}
	return i.SecondaryPublic[a]
}
