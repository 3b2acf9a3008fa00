package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Priorities of the routing rules in a VPC's namespace. First come routes
// within the VPC's blocks of the table that a packet was marked with; then
// what is local, for all; then the other routes of the packet's table.
const (
	priorityInside = 50
	priorityLocal  = 100
	priorityTables = 200
)

// insideTable is the kernel's table of the routes within the VPC's blocks.
func insideTable(number uint32) int { return int(number) + 40000 }

// inside tells whether a route lies within the VPC's blocks.
func inside(v VPC, r Route) bool {
	return slices.ContainsFunc(v.CIDRs, func(c netip.Prefix) bool {
		return c.Contains(r.Destination.Addr()) && c.Bits() <= r.Destination.Bits()
	})
}

// tablesOf are the kernel's tables by the rules that lead to them: two for
// each route table, or one where it has no routes within the VPC.
func tablesOf(v VPC, numbers map[string]uint32) []*netlink.Rule {
	var rules []*netlink.Rule
	for _, t := range v.RouteTables {
		k := numbers[t.ID]
		rules = append(rules, rule(priorityTables, int(k), k))
		if slices.ContainsFunc(t.Routes, func(r Route) bool { return inside(v, r) }) {
			rules = append(rules, rule(priorityInside, insideTable(k), k))
		}
	}
	for _, k := range balancerNumbers(v) {
		rules = append(rules, rule(priorityBalancers, int(balancerTable(k)), balancerTable(k)))
	}
	return rules
}

// serviceAddrs are the addresses of the VPC's own at which services listen.
func serviceAddrs(v VPC) []netip.Addr {
	addrs := []netip.Addr{MetadataAddr, InstanceMetadataAddr, ResolverAddr}
	for _, c := range v.CIDRs {
		addrs = append(addrs, ResolverOf(c))
	}
	return addrs
}

// setLocalAddresses gives the loopback device the addresses of services and
// gateways, and takes those away that nothing needs any more.
func setLocalAddresses(h *netlink.Handle, v VPC) error {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	want := map[netip.Addr]bool{netip.AddrFrom4([4]byte{127, 0, 0, 1}): true}
	for _, a := range serviceAddrs(v) {
		want[a] = true
	}
	for _, s := range v.Subnets {
		want[GatewayOf(s.CIDR)] = true
	}
	have, err := h.AddrList(lo, netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for i := range have {
		a, ok := netip.AddrFromSlice(have[i].IP.To4())
		if ok && want[a] {
			delete(want, a)
			continue
		}
		if err := h.AddrDel(lo, &have[i]); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove address %s: %w", have[i].IP, err)
		}
	}
	for a := range want {
		if err := h.AddrReplace(lo, &netlink.Addr{IPNet: host32(a)}); err != nil {
			return fmt.Errorf("add address %s: %w", a, err)
		}
	}
	return nil
}

// setRoutes makes the VPC's routing tables.
func setRoutes(h *netlink.Handle, v VPC, numbers map[string]uint32, l link) error {
	host, err := h.LinkByName(hostDevice)
	if err != nil {
		return err
	}
	// Addresses of the VPC that no interface has lead nowhere; without these
	// they would follow the default route.
	var local []netlink.Route
	for _, c := range v.CIDRs {
		local = append(local, netlink.Route{Dst: ipNet(c.Masked()), Type: unix.RTN_UNREACHABLE, Table: unix.RT_TABLE_MAIN})
	}
	isLocal := func(r *netlink.Route) bool { return r.Type == unix.RTN_UNREACHABLE }
	if err := syncRoutes(h, unix.RT_TABLE_MAIN, local, isLocal); err != nil {
		return err
	}

	devices := map[string]int{}
	for _, t := range v.RouteTables {
		for _, r := range t.Routes {
			if r.Target == ToInterface {
				if dev, err := h.LinkByName(device(r.InterfaceID)); err == nil {
					devices[r.InterfaceID] = dev.Attrs().Index
				}
			}
		}
	}
	for _, t := range v.RouteTables {
		want := map[int][]netlink.Route{int(numbers[t.ID]): nil}
		for _, r := range t.Routes {
			nr := netlink.Route{Dst: ipNet(r.Destination.Masked()), Table: int(numbers[t.ID])}
			if inside(v, r) {
				nr.Table = insideTable(numbers[t.ID])
			}
			index, attached := devices[r.InterfaceID]
			switch {
			case r.Target == Internet || r.Target == NAT:
				nr.LinkIndex, nr.Gw = host.Attrs().Index, l.host.AsSlice()
			case r.Target == ToInterface && attached:
				nr.LinkIndex, nr.Gw = index, gatewayIP(v, r.InterfaceID)
				nr.Flags = int(netlink.FLAG_ONLINK)
			default:
				nr.Type = unix.RTN_BLACKHOLE
			}
			want[nr.Table] = append(want[nr.Table], nr)
		}
		for table, routes := range want {
			if err := syncRoutes(h, table, routes, func(*netlink.Route) bool { return true }); err != nil {
				return fmt.Errorf("route table %s: %w", t.ID, err)
			}
		}
	}
	if err := setBalancerRoutes(h, v); err != nil {
		return fmt.Errorf("route to a load balancer: %w", err)
	}
	return addRules(h, tablesOf(v, numbers))
}

func gatewayIP(v VPC, interfaceID string) []byte {
	for i := range v.Interfaces {
		if v.Interfaces[i].ID == interfaceID {
			return v.Interfaces[i].IP.AsSlice()
		}
	}
	return nil
}

// syncRoutes makes the routes of a table that are ours those that are wanted.
func syncRoutes(h *netlink.Handle, table int, want []netlink.Route, ours func(*netlink.Route) bool) error {
	have, err := h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return err
	}
	dests := map[netip.Prefix]bool{}
	for i := range want {
		if p, ok := prefixOf(want[i].Dst); ok {
			dests[p] = true
		}
		if err := h.RouteReplace(&want[i]); err != nil {
			return fmt.Errorf("route to %s: %w", want[i].Dst, err)
		}
	}
	for i := range have {
		p, ok := prefixOf(have[i].Dst)
		if !ours(&have[i]) || ok && dests[p] {
			continue
		}
		if err := h.RouteDel(&have[i]); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove route to %s: %w", have[i].Dst, err)
		}
	}
	return nil
}

func rule(priority, table int, mark uint32) *netlink.Rule {
	r := netlink.NewRule()
	r.Family, r.Priority, r.Table, r.Mark = netlink.FAMILY_V4, priority, table, mark
	return r
}

// addRules sends marked packets to their tables.
func addRules(h *netlink.Handle, want []*netlink.Rule) error {
	have, err := h.RuleList(netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	ensure := func(r *netlink.Rule) error {
		if slices.ContainsFunc(have, func(x netlink.Rule) bool {
			return x.Priority == r.Priority && x.Table == r.Table && x.Mark == r.Mark
		}) {
			return nil
		}
		if err := h.RuleAdd(r); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("routing rule for table %d: %w", r.Table, err)
		}
		return nil
	}
	if err := ensure(rule(priorityLocal, unix.RT_TABLE_MAIN, 0)); err != nil {
		return err
	}
	for _, r := range want {
		if err := ensure(r); err != nil {
			return err
		}
	}
	return nil
}

// dropStaleRules removes routing tables that are not wanted, once no packet
// is marked for them.
func dropStaleRules(h *netlink.Handle, want []*netlink.Rule) error {
	live := map[int]bool{}
	for _, r := range want {
		live[r.Table] = true
	}
	have, err := h.RuleList(netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for i := range have {
		if !slices.Contains([]int{priorityTables, priorityInside, priorityBalancers}, have[i].Priority) || live[have[i].Table] {
			continue
		}
		if err := h.RuleDel(&have[i]); err != nil && !isNotFound(err) {
			return fmt.Errorf("remove routing rule for table %d: %w", have[i].Table, err)
		}
		if err := syncRoutes(h, have[i].Table, nil, func(*netlink.Route) bool { return true }); err != nil {
			return err
		}
	}
	return nil
}
