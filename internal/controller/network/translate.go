package network

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/network"
)

// snapshot is all records of a VPC, in the order of their ids.
type snapshot struct {
	vpc        *model.VPC
	subnets    []*model.Subnet
	tables     []*model.RouteTable
	groups     []*model.SecurityGroup
	interfaces []*model.NetworkInterface
	acls       []*model.NetworkACL
	nats       []*model.NatGateway
	gateways   []*model.InternetGateway
	// prefixLists are all of the region.
	prefixLists []*model.PrefixList
}

var anywhere = netip.MustParsePrefix("0.0.0.0/0")

// translate says what the data plane should make of the records. Equal
// records give equal results.
func (s *snapshot) translate(hostRoute bool) network.VPC {
	v := network.VPC{ID: s.vpc.ID, HostRoute: hostRoute}
	for _, c := range s.vpc.CIDRs {
		v.CIDRs = append(v.CIDRs, c.CIDR)
	}
	for _, a := range s.acls {
		if !passesAll(a) {
			v.ACLs = append(v.ACLs, aclOf(a))
		}
	}
	for _, sub := range s.subnets {
		out := network.Subnet{ID: sub.ID, CIDR: sub.CIDR, RouteTableID: s.tableOf(sub)}
		if slices.ContainsFunc(v.ACLs, func(a network.ACL) bool { return a.ID == sub.NetworkACLID }) {
			out.ACLID = sub.NetworkACLID
		}
		v.Subnets = append(v.Subnets, out)
	}
	for _, t := range s.tables {
		v.RouteTables = append(v.RouteTables, s.routesOf(t))
	}
	for _, g := range s.groups {
		out := network.Group{ID: g.ID}
		for i := range g.Rules {
			out.Rules = append(out.Rules, s.rulesOf(&g.Rules[i])...)
		}
		v.Groups = append(v.Groups, out)
	}
	for _, e := range s.interfaces {
		mac, err := net.ParseMAC(e.MAC)
		if err != nil {
			continue // only a record that eni did not make
		}
		out := network.Interface{
			ID: e.ID, SubnetID: e.SubnetID, MAC: mac, IP: e.PrivateIP, Secondary: e.SecondaryIPs,
			Groups: e.GroupIDs, NoSourceDestCheck: e.NoSourceDestCheck,
			Balancer: e.InterfaceType == model.InterfaceTypeNetworkLoadBalancer,
		}
		if len(s.gateways) > 0 {
			if e.Association != nil {
				out.PublicIP = e.Association.PublicIP
			}
			out.SecondaryPublic = publicOf(e)
		}
		v.Interfaces = append(v.Interfaces, out)
	}
	return v
}

// publicOf are the public addresses of an interface's secondary ones.
func publicOf(e *model.NetworkInterface) map[netip.Addr]netip.Addr {
	var public map[netip.Addr]netip.Addr
	for _, a := range e.SecondaryIPs {
		if as := e.AssociationOf(a); as != nil {
			if public == nil {
				public = map[netip.Addr]netip.Addr{}
			}
			public[a] = as.PublicIP
		}
	}
	return public
}

func (s *snapshot) tableOf(sub *model.Subnet) string {
	if sub.RouteTableID != "" {
		return sub.RouteTableID
	}
	return s.vpc.MainRouteTableID
}

func (s *snapshot) routesOf(t *model.RouteTable) network.RouteTable {
	out := network.RouteTable{ID: t.ID}
	taken := map[netip.Prefix]bool{}
	for _, r := range t.Routes {
		taken[r.Destination] = true
	}
	for _, r := range t.Routes {
		var nr network.Route
		switch {
		case r.GatewayID != "" && s.attached(r.GatewayID):
			nr.Target = network.Internet
		case r.NatGatewayID != "":
			if ip, ok := s.natIP(r.NatGatewayID); ok {
				nr.Target, nr.NATIP = network.NAT, ip
			}
		case r.NetworkInterfaceID != "":
			nr.Target, nr.InterfaceID = network.ToInterface, r.NetworkInterfaceID
		}
		blocks := []netip.Prefix{r.Destination}
		if r.PrefixListID != "" {
			// A block of a list gives way to a route of its own.
			blocks = slices.DeleteFunc(s.blocksOf(r.PrefixListID), func(p netip.Prefix) bool { return taken[p] })
		}
		for _, p := range blocks {
			if p.Addr().Is4() {
				taken[p] = true
				nr.Destination = p
				out.Routes = append(out.Routes, nr)
			}
		}
	}
	return out
}

func (s *snapshot) attached(gatewayID string) bool {
	return slices.ContainsFunc(s.gateways, func(g *model.InternetGateway) bool { return g.ID == gatewayID })
}

// natIP is the address of a NAT gateway that works: one whose own subnet has
// a way out.
func (s *snapshot) natIP(natID string) (netip.Addr, bool) {
	i := slices.IndexFunc(s.nats, func(n *model.NatGateway) bool { return n.ID == natID })
	if i < 0 || s.nats[i].State != model.NatGatewayAvailable || !s.nats[i].PublicIP.IsValid() {
		return netip.Addr{}, false
	}
	k := slices.IndexFunc(s.subnets, func(sub *model.Subnet) bool { return sub.ID == s.nats[i].SubnetID })
	if k < 0 {
		return netip.Addr{}, false
	}
	for _, t := range s.tables {
		if t.ID == s.tableOf(s.subnets[k]) {
			return s.nats[i].PublicIP, slices.ContainsFunc(t.Routes, func(r model.Route) bool { return s.attached(r.GatewayID) })
		}
	}
	return netip.Addr{}, false
}

// blocksOf are the blocks of a prefix list.
func (s *snapshot) blocksOf(listID string) []netip.Prefix {
	var blocks []netip.Prefix
	for _, l := range s.prefixLists {
		if l.ID == listID {
			for _, e := range l.Entries() {
				blocks = append(blocks, e.CIDR)
			}
		}
	}
	return blocks
}

// rulesOf is a rule, or one for each block of its prefix list.
func (s *snapshot) rulesOf(r *model.SecurityGroupRule) []network.Rule {
	rule := network.Rule{
		Egress: r.Egress, Protocol: protocolNumber(r.Protocol), From: int(r.FromPort), To: int(r.ToPort), CIDR: r.CIDR, Group: r.GroupID,
	}
	if r.PrefixListID == "" {
		return []network.Rule{rule}
	}
	var rules []network.Rule
	for _, p := range s.blocksOf(r.PrefixListID) {
		rule.CIDR = p
		rules = append(rules, rule)
	}
	return rules
}

// protocolNumber reads a protocol as EC2 writes it; -1 is all.
func protocolNumber(p string) int {
	switch p {
	case "tcp":
		return 6
	case "udp":
		return 17
	case "icmp":
		return 1
	case "icmpv6":
		return 58
	}
	n, err := strconv.Atoi(p)
	if err != nil {
		// Nothing has this protocol: a rule that cannot be read allows nothing.
		return 255
	}
	return n
}

// passesAll tells whether an ACL's first entries let everything pass, as the
// default one's do.
func passesAll(a *model.NetworkACL) bool {
	for _, egress := range []bool{false, true} {
		entries := sorted(a, egress)
		if len(entries) == 0 || !entries[0].Allow || entries[0].Protocol != "-1" || entries[0].CIDR != anywhere {
			return false
		}
	}
	return true
}

func sorted(a *model.NetworkACL, egress bool) []model.NetworkACLEntry {
	entries := slices.DeleteFunc(slices.Clone(a.Entries), func(e model.NetworkACLEntry) bool { return e.Egress != egress })
	slices.SortFunc(entries, func(x, y model.NetworkACLEntry) int { return cmp.Compare(x.Number, y.Number) })
	return entries
}

func aclOf(a *model.NetworkACL) network.ACL {
	out := network.ACL{ID: a.ID}
	for _, egress := range []bool{false, true} {
		for _, e := range sorted(a, egress) {
			r := network.Rule{Egress: egress, Protocol: protocolNumber(e.Protocol), From: -1, To: -1, CIDR: e.CIDR}
			switch {
			case e.HasPorts:
				r.From, r.To = int(e.FromPort), int(e.ToPort)
			case e.HasICMP:
				r.From, r.To = int(e.ICMPType), int(e.ICMPCode)
			}
			out.Entries = append(out.Entries, network.ACLEntry{Rule: r, Deny: !e.Allow})
		}
	}
	return out
}
