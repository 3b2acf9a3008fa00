package machine

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// localBlock is the local bridge's, as the published agent has it.
var localBlock = netip.MustParsePrefix("169.254.172.0/22")

// blocks are those that the bridge may have, in Docker's order.
func blocks() []netip.Prefix {
	var out []netip.Prefix
	for b := byte(17); b < 32; b++ {
		out = append(out, netip.PrefixFrom(netip.AddrFrom4([4]byte{172, b, 0, 0}), 16))
	}
	for b := 0; b < 256; b += 16 {
		out = append(out, netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 168, byte(b), 0}), 20))
	}
	return out
}

// firstBlock is the first that overlaps nothing of what is to be avoided.
func firstBlock(avoid []netip.Prefix) (netip.Prefix, error) {
	for _, b := range blocks() {
		if !slices.ContainsFunc(avoid, b.Overlaps) {
			return b, nil
		}
	}
	return netip.Prefix{}, errors.New("could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network")
}

// gateway is the bridge's own address.
func gateway(block netip.Prefix) netip.Addr { return block.Masked().Addr().Next() }

// nextFree is the first address of the block behind last that is not used,
// counting round. The first two, and the last, are no container's.
func nextFree(block netip.Prefix, last netip.Addr, used map[netip.Addr]bool) (netip.Addr, bool) {
	first := gateway(block).Next()
	at := last
	for range 1 << (32 - block.Bits()) {
		if at = at.Next(); !block.Contains(at) || !block.Contains(at.Next()) || at.Less(first) {
			at = first
		}
		if !used[at] {
			return at, true
		}
	}
	return at, false
}

// chooseBlock gives the bridge its block of addresses, unless it has one.
func (n *Network) chooseBlock(h *netlink.Handle) error {
	if n.state.Block.IsValid() && len(n.state.Tasks) > 0 {
		return nil
	}
	avoid := slices.Concat(n.cfg.Avoid, nameservers("/etc/resolv.conf"))
	routes, err := h.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	bridge := -1
	if l, err := h.LinkByName(Bridge); err == nil {
		bridge = l.Attrs().Index
	}
	for i := range routes {
		if routes[i].Dst == nil || routes[i].LinkIndex == bridge {
			continue
		}
		if a, ok := netip.AddrFromSlice(routes[i].Dst.IP); ok {
			if ones, _ := routes[i].Dst.Mask.Size(); ones > 0 {
				avoid = append(avoid, netip.PrefixFrom(a.Unmap(), ones))
			}
		}
	}
	if n.state.Block.IsValid() && !slices.ContainsFunc(avoid, n.state.Block.Overlaps) {
		return nil
	}
	n.state.Block, err = firstBlock(avoid)
	return err
}

// nameservers are those that a file names, which containers are to reach.
func nameservers(file string) []netip.Prefix {
	b, _ := os.ReadFile(file) // without one there is nothing to reach
	var out []netip.Prefix
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil && a.Is4() && !a.IsLoopback() {
			out = append(out, netip.PrefixFrom(a, 32))
		}
	}
	return out
}
