package network

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const forwardSysctl = "/proc/sys/net/ipv4/ip_forward"

// forwardMarker says that an instance turned forwarding on, which was off.
// The last instance on the host turns it off again.
const forwardMarker = "/run/roadstead.ip_forward"

// hostState is what the instance has on the host, beside its VPCs.
type hostState struct {
	mu    sync.Mutex
	links map[string]hostLink // by VPC
	rules *ruleset            // as they were written last
}

// hostLink is what one VPC needs of the host.
type hostLink struct {
	link link
	// sources are the addresses that the VPC's packets come from.
	sources []netip.Addr
	// public are those of sources that other VPCs may send to.
	public []netip.Addr
	// conflict tells why a block of the VPC has no route.
	conflict string
}

// enableForwarding turns forwarding on. It is called again, with the host
// locked, once a link is there: an instance that ended before that has turned
// it off.
func enableForwarding() error {
	v, err := os.ReadFile(forwardSysctl)
	if err != nil {
		return err
	}
	if len(v) > 0 && v[0] == '1' {
		return nil
	}
	if err := os.WriteFile(forwardMarker, []byte("0\n"), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(forwardSysctl, []byte("1"), 0o644); err != nil {
		return fmt.Errorf("turn IP forwarding on: %w", err)
	}
	return nil
}

// restoreForwarding turns forwarding off when an instance turned it on and no
// other one needs it.
func restoreForwarding() error {
	unlock, err := lockHost()
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(forwardMarker); err != nil {
		return nil // no marker: it was on before
	}
	links, err := dump(netlink.LinkList)
	if err != nil {
		return err
	}
	for _, l := range links {
		if isLinkOfAnyInstance(l.Attrs().Name) {
			return nil
		}
	}
	if err := os.WriteFile(forwardSysctl, []byte("0"), 0o644); err != nil {
		return err
	}
	return os.Remove(forwardMarker)
}

func isLinkOfAnyInstance(name string) bool {
	return len(name) == 15 && strings.HasPrefix(name, "rs") && name[8] == 'v'
}

// setHostLink gives the host its routes to the VPC, and its rules.
func (n *Network) setHostLink(v VPC, l link) error {
	n.host.mu.Lock()
	defer n.host.mu.Unlock()
	dev, err := netlink.LinkByName(l.device)
	if err != nil {
		return err
	}
	hl := hostLink{link: l, sources: []netip.Addr{l.vpc}}
	wanted := map[netip.Prefix]bool{}
	for i := range v.Interfaces {
		for _, own := range v.Interfaces[i].addrs() {
			if p := v.Interfaces[i].publicOf(own); p.IsValid() {
				hl.public = append(hl.public, p)
				wanted[netip.PrefixFrom(p, 32)] = true
			}
		}
	}
	for _, t := range v.RouteTables {
		for _, r := range t.Routes {
			if r.Target == NAT && r.NATIP.IsValid() && !slices.Contains(hl.public, r.NATIP) {
				hl.public = append(hl.public, r.NATIP)
				wanted[netip.PrefixFrom(r.NATIP, 32)] = true
			}
		}
	}
	hl.sources = append(hl.sources, hl.public...)
	if v.HostRoute {
		for _, c := range v.CIDRs {
			if user, err := routeUser(c.Masked(), dev.Attrs().Index); err != nil {
				return err
			} else if user != "" {
				hl.conflict = fmt.Sprintf("%s is used by %s", c, user)
				continue
			}
			wanted[c.Masked()] = true
		}
	}
	taken, err := syncHostRoutes(dev, l, wanted)
	if err != nil {
		return err
	}
	if taken != "" {
		hl.conflict = taken
	}
	old, known := n.host.links[v.ID]
	if hl.conflict != "" && hl.conflict != old.conflict {
		n.cfg.Log.Warn("the host does not reach all addresses of a VPC", "vpc", v.ID, "conflict", hl.conflict)
	}
	n.host.links[v.ID] = hl
	if known && slices.Equal(old.sources, hl.sources) {
		return nil
	}
	return n.writeHostRules()
}

// routeUser names the device through which the host reaches part of p, other
// than the one with the index.
func routeUser(p netip.Prefix, index int) (string, error) {
	routes, err := dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return "", err
	}
	for i := range routes {
		r := &routes[i]
		dst, ok := prefixOf(r.Dst)
		if !ok || dst.Bits() == 0 || r.LinkIndex == index || !dst.Overlaps(p) || r.LinkIndex == 0 {
			continue
		}
		dev, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			continue // gone meanwhile
		}
		return dev.Attrs().Name, nil
	}
	return "", nil
}

// syncHostRoutes makes the host's routes to a VPC those that are wanted. A
// route that another instance has stays as it is; taken names it.
func syncHostRoutes(dev netlink.Link, l link, wanted map[netip.Prefix]bool) (taken string, err error) {
	have, err := dump(func() ([]netlink.Route, error) {
		return netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{LinkIndex: dev.Attrs().Index}, netlink.RT_FILTER_OIF)
	})
	if err != nil {
		return "", err
	}
	for i := range have {
		p, ok := prefixOf(have[i].Dst)
		if !ok || have[i].Gw == nil || wanted[p] {
			delete(wanted, p)
			continue
		}
		if err := netlink.RouteDel(&have[i]); err != nil && !errors.Is(err, unix.ESRCH) {
			return "", fmt.Errorf("remove the host's route to %s: %w", p, err)
		}
	}
	for p := range wanted {
		r := &netlink.Route{Dst: ipNet(p), LinkIndex: dev.Attrs().Index, Gw: l.vpc.AsSlice(), Src: l.host.AsSlice()}
		switch err := netlink.RouteAdd(r); {
		case errors.Is(err, unix.EEXIST):
			taken = p.String() + " is routed elsewhere"
		case err != nil:
			return "", fmt.Errorf("the host's route to %s: %w", p, err)
		}
	}
	return taken, nil
}

// writeHostRules writes the instance's table on the host: what comes from
// VPCs leaves with the host's address, and new connections to VPCs come from
// the host itself, or from another VPC to a public address.
func (n *Network) writeHostRules() error {
	rs := newRuleset("", n.cfg.Prefix)
	sources := n.addressSet(rs, "sources", func(l *hostLink) []netip.Addr { return l.sources })
	public := n.addressSet(rs, "public", func(l *hostLink) []netip.Addr { return l.public })
	post := rs.base("depart", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, *nftables.ChainPriorityNATSource, nftables.ChainPolicyAccept)
	rs.rule(post, notOutPrefix(n.linkPrefix()), member(offsetSource, sources), []expr.Any{&expr.Masq{}})
	fwd := rs.base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, *nftables.ChainPriorityFilter, nftables.ChainPolicyAccept)
	rs.rule(fwd, outPrefix(n.linkPrefix()), notInPrefix(n.linkPrefix()), ctState(expr.CtStateBitNEW), drop())
	// The host has routes to private addresses for itself, not for other VPCs.
	rs.rule(fwd, outPrefix(n.linkPrefix()), ctState(expr.CtStateBitNEW), notMember(offsetDest, public), drop())
	previous := n.host.rules
	n.host.rules = nil
	if err := rs.commit(previous); err != nil {
		return fmt.Errorf("write the host's rules: %w", err)
	}
	n.host.rules = rs
	return nil
}

// addressSet makes the set of all links' addresses of a kind.
func (n *Network) addressSet(rs *ruleset, name string, of func(*hostLink) []netip.Addr) *nftables.Set {
	set := rs.set(&nftables.Set{Name: name, KeyType: nftables.TypeIPAddr})
	seen := map[netip.Addr]bool{}
	var elements []nftables.SetElement
	for _, l := range n.host.links {
		for _, a := range of(&l) {
			if !seen[a] {
				seen[a] = true
				elements = append(elements, nftables.SetElement{Key: ip4(a)})
			}
		}
	}
	slices.SortFunc(elements, func(a, b nftables.SetElement) int { return bytes.Compare(a.Key, b.Key) })
	rs.fill(set, elements)
	return set
}

// removeHostLink removes what the host has for a VPC. Removing the device
// removes its routes.
func (n *Network) removeHostLink(vpcID string) error {
	n.host.mu.Lock()
	defer n.host.mu.Unlock()
	if dev, err := netlink.LinkByName(n.linkName(vpcID)); err == nil {
		if err := netlink.LinkDel(dev); err != nil && !isNotFound(err) {
			return fmt.Errorf("remove %s: %w", dev.Attrs().Name, err)
		}
	}
	if _, known := n.host.links[vpcID]; !known {
		return nil
	}
	delete(n.host.links, vpcID)
	return n.writeHostRules()
}

// HostConflicts tells, by VPC, why the host has no route to its addresses.
func (n *Network) HostConflicts() map[string]string {
	n.host.mu.Lock()
	defer n.host.mu.Unlock()
	conflicts := map[string]string{}
	for id, l := range n.host.links {
		if l.conflict != "" {
			conflicts[id] = l.conflict
		}
	}
	return conflicts
}
