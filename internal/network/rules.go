package network

import (
	"slices"
	"sort"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Registers of 32 bits, in which keys of several fields stand side by side.
const (
	reg32Name  = unix.NFT_REG32_00     // 16 bytes
	reg32Ether = unix.NFT_REG32_00 + 4 // 6 bytes in 8
	reg32IP    = unix.NFT_REG32_00 + 6
)

// compile makes the VPC's table.
//
// A packet is first checked for a source that its device may send from, and
// marked with its subnet's route table. When it is forwarded, what belongs to
// a known connection passes; the rest needs the leave of one of the sender's
// groups ("out-…") and of one of the receiver's ("in-…"), or of the route
// table to leave the VPC ("leave-…").
func compile(path string, v VPC, numbers map[string]uint32) *ruleset {
	c := compiler{ruleset: newRuleset(path, vpcTable), vpc: v, numbers: numbers}
	c.outbound, c.balancerOut, c.balancerIn = c.verdicts("outbound", nftables.TypeIFName), c.verdicts("balancer-out", nftables.TypeMark), c.verdicts("balancer-in", nftables.TypeMark)
	c.sources()
	c.steer()
	c.edge()
	c.input()
	c.forward()
	return c.ruleset
}

type compiler struct {
	*ruleset
	vpc     VPC
	numbers map[string]uint32

	// outbound are the chains of senders, and balancerOut and balancerIn those
	// of balancers by their numbers.
	outbound, balancerOut, balancerIn *nftables.Set
	// leavers are the public addresses of balancers by their numbers, nil where
	// there are no balancers.
	leavers *nftables.Set
}

func (c *compiler) mark(subnetID string) (uint32, bool) {
	for _, s := range c.vpc.Subnets {
		if s.ID == subnetID {
			k, ok := c.numbers[s.RouteTableID]
			return k, ok
		}
	}
	return 0, false
}

// sources drops what comes from an address that its device does not have, and
// marks the rest with its subnet's route table. Every packet passes here, so
// that one from a known sender meets the first rule only.
func (c *compiler) sources() {
	pre := c.base("sources", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, *nftables.ChainPriorityRaw, nftables.ChainPolicyDrop)
	mac := nftables.TypeEtherAddr
	known := c.set(&nftables.Set{
		Name: "senders", IsMap: true, Concatenation: true,
		KeyType: nftables.MustConcatSetType(nftables.TypeIFName, mac, nftables.TypeIPAddr), DataType: nftables.TypeMark,
	})
	unchecked := c.set(&nftables.Set{Name: "unchecked", IsMap: true, KeyType: nftables.TypeIFName, DataType: nftables.TypeMark})

	var senders, free []nftables.SetElement
	for i := range c.vpc.Interfaces {
		e := &c.vpc.Interfaces[i]
		name := ifname(device(e.ID))
		// None is 0, which is what packets come with.
		number, _ := c.mark(e.SubnetID)
		mark := binaryutil.NativeEndian.PutUint32(number)
		if e.NoSourceDestCheck || e.Balancer {
			free = append(free, nftables.SetElement{Key: name, Val: mark})
			continue
		}
		for _, a := range e.addrs() {
			key := slices.Concat(name, e.MAC, []byte{0, 0}, ip4(a))
			senders = append(senders, nftables.SetElement{Key: key, Val: mark})
		}
	}
	c.fill(known, senders)
	c.fill(unchecked, free)

	c.rule(pre, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: reg32Name},
		&expr.Payload{DestRegister: reg32Ether, Base: expr.PayloadBaseLLHeader, Offset: 6, Len: 6},
		loadAddr(offsetSource, reg32IP),
		&expr.Lookup{SourceRegister: reg32Name, DestRegister: 1, IsDestRegSet: true, SetName: known.Name, SetID: known.ID},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	}, accept())
	c.rule(pre, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: unchecked.Name, SetID: unchecked.ID},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	}, accept())
	c.rule(pre, in("lo"), accept())
	c.rule(pre, in(hostDevice), accept())
}

// edge translates public addresses at the link with the host.
func (c *compiler) edge() {
	toPrivate := c.set(&nftables.Set{Name: "private", IsMap: true, KeyType: nftables.TypeIPAddr, DataType: nftables.TypeIPAddr})
	toPublic := c.set(&nftables.Set{Name: "public", IsMap: true, KeyType: nftables.TypeIPAddr, DataType: nftables.TypeIPAddr})
	var private, public []nftables.SetElement
	for i := range c.vpc.Interfaces {
		e := &c.vpc.Interfaces[i]
		for _, own := range e.addrs() {
			if outside := e.publicOf(own); outside.IsValid() {
				private = append(private, nftables.SetElement{Key: ip4(outside), Val: ip4(own)})
				public = append(public, nftables.SetElement{Key: ip4(own), Val: ip4(outside)})
			}
		}
	}
	c.fill(toPrivate, private)
	c.fill(toPublic, public)

	dnat := c.base("arrive", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, *nftables.ChainPriorityNATDest, nftables.ChainPolicyAccept)
	c.rule(dnat, in(hostDevice), []expr.Any{
		loadAddr(offsetDest, 1),
		&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: toPrivate.Name, SetID: toPrivate.ID},
		translate(expr.NATTypeDestNAT),
	})

	snat := c.base("depart", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, *nftables.ChainPriorityNATSource, nftables.ChainPolicyAccept)
	byTable := c.verdicts("departures", nftables.TypeMark)
	leave := c.chain("leave")
	mayLeave := c.verdicts("leavers", nftables.TypeMark)
	var departures, leavers []nftables.SetElement
	for _, t := range c.vpc.RouteTables {
		depart, allow := c.chain("depart-"+t.ID), c.chain("leave-"+t.ID)
		for _, r := range longestFirst(t.Routes) {
			to := within(offsetDest, r.Destination)
			switch {
			case r.Target == Internet:
				lookup := []expr.Any{
					loadAddr(offsetSource, 1),
					&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: toPublic.Name, SetID: toPublic.ID},
				}
				c.rule(depart, to, lookup, []expr.Any{translate(expr.NATTypeSourceNAT)})
				c.rule(allow, to, lookup, accept())
			case r.Target == NAT && r.NATIP.IsValid():
				c.rule(depart, to, []expr.Any{&expr.Immediate{Register: 1, Data: ip4(r.NATIP)}, translate(expr.NATTypeSourceNAT)})
				c.rule(allow, to, accept())
			}
			// A route that is longer decides alone.
			c.rule(depart, to, accept())
			c.rule(allow, to, drop())
		}
		key := binaryutil.NativeEndian.PutUint32(c.numbers[t.ID])
		departures = append(departures, gotoElement(key, "depart-"+t.ID))
		leavers = append(leavers, gotoElement(key, "leave-"+t.ID))
	}
	c.fill(byTable, departures)
	c.fill(mayLeave, leavers)
	markKey := &expr.Meta{Key: expr.MetaKeyMARK, Register: 1}
	if c.leavers != nil {
		c.rule(leave, flowIs(flowKinds, flowForwarded), flowMark(flowNumber), []expr.Any{valueOf(c.leavers)}, accept())
	}
	c.rule(snat, out(hostDevice), verdictOf(markKey, byTable))
	c.rule(leave, verdictOf(markKey, mayLeave))
	c.rule(leave, drop())
}

func longestFirst(routes []Route) []Route {
	sorted := slices.Clone(routes)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].Destination.Bits() > sorted[j].Destination.Bits() })
	return sorted
}

func (c *compiler) verdicts(name string, key nftables.SetDatatype) *nftables.Set {
	return c.set(&nftables.Set{Name: name, IsMap: true, KeyType: key, DataType: nftables.TypeVerdict})
}

func gotoElement(key []byte, chain string) nftables.SetElement {
	return nftables.SetElement{Key: key, VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}
}

// input guards the VPC's own addresses: interfaces reach the services there,
// and nobody else does.
func (c *compiler) input() {
	chain := c.base("input", nftables.ChainTypeFilter, nftables.ChainHookInput, *nftables.ChainPriorityFilter, nftables.ChainPolicyDrop)
	services := c.set(&nftables.Set{Name: "services", KeyType: nftables.TypeIPAddr})
	seen := map[string]bool{}
	var elements []nftables.SetElement
	for _, a := range serviceAddrs(c.vpc) {
		if !seen[a.String()] {
			seen[a.String()] = true
			elements = append(elements, nftables.SetElement{Key: ip4(a)})
		}
	}
	c.fill(services, elements)
	c.rule(chain, in("lo"), accept())
	c.rule(chain, ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept())
	c.rule(chain, in(hostDevice), drop())
	c.rule(chain, member(offsetDest, services), accept())
}

// forward asks the security groups.
func (c *compiler) forward() {
	members, passing := c.memberSets(), c.passingSets()
	inbound := c.chain("in")
	for i := range c.vpc.Groups {
		g := &c.vpc.Groups[i]
		from, to := c.chain("from-"+g.ID), c.chain("to-"+g.ID)
		for _, r := range g.Rules {
			match, ok := ruleMatch(r, members)
			switch {
			case !ok:
			case r.Egress:
				c.rule(from, match, goTo("in"))
			default:
				c.rule(to, match, accept())
				if s := passing[r.Group]; s != nil {
					match, _ := trafficMatch(r)
					c.rule(to, flowMark(flowKinds|flowNumber), []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: s.Name, SetID: s.ID}}, match, accept())
				}
			}
		}
	}
	receivers := c.verdicts("inbound", nftables.TypeIFName)
	var outElements, inElements, balancerOut, balancerIn []nftables.SetElement
	balancers := balancerNumbers(c.vpc)
	made := map[string]bool{}
	for i := range c.vpc.Interfaces {
		e := &c.vpc.Interfaces[i]
		combo := openChains
		if len(e.Groups) > 0 || !e.Balancer {
			combo = c.groupChains(e.Groups, made)
		} else {
			c.open(made)
		}
		name := ifname(device(e.ID))
		outElements = append(outElements, gotoElement(name, "out-"+combo))
		inElements = append(inElements, gotoElement(name, "in-"+combo))
		if k, ok := balancers[e.ID]; ok {
			balancerOut = append(balancerOut, gotoElement(mark32(k), "out-"+combo))
			balancerIn = append(balancerIn, gotoElement(mark32(k), "in-"+combo))
		}
	}
	if len(balancers) > 0 {
		// Before routing no receiver is known yet: it is who is addressed.
		inElements = append(inElements, gotoElement(ifname(""), "in-addressed"))
		addressed := c.chain("in-addressed")
		c.rule(addressed, byFlow(flowNumber, c.balancerIn))
		c.rule(addressed, drop())
	}
	c.fill(c.outbound, outElements)
	c.fill(receivers, inElements)
	c.fill(c.balancerOut, balancerOut)
	c.fill(c.balancerIn, balancerIn)

	fwd := c.base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, *nftables.ChainPriorityFilter, nftables.ChainPolicyDrop)
	if len(balancers) > 0 {
		c.cut(fwd)
	}
	c.acls(fwd)
	c.rule(fwd, ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept())
	c.rule(fwd, ctState(expr.CtStateBitINVALID), drop())
	c.rule(fwd, in(hostDevice), goTo("in"))
	c.rule(fwd, verdictOf(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, c.outbound))

	c.rule(inbound, out(hostDevice), goTo("leave"))
	c.rule(inbound, verdictOf(&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, receivers))
	c.rule(inbound, drop())
}

// memberSets makes, for each group that a rule names, the set of its members'
// addresses.
func (c *compiler) memberSets() map[string]*nftables.Set {
	sets := map[string]*nftables.Set{}
	for i := range c.vpc.Groups {
		for _, r := range c.vpc.Groups[i].Rules {
			if r.Group != "" && sets[r.Group] == nil {
				sets[r.Group] = c.set(&nftables.Set{Name: "members-" + r.Group, KeyType: nftables.TypeIPAddr})
			}
		}
	}
	elements := map[string][]nftables.SetElement{}
	for i := range c.vpc.Interfaces {
		e := &c.vpc.Interfaces[i]
		for _, g := range e.Groups {
			for _, a := range e.addrs() {
				elements[g] = append(elements[g], nftables.SetElement{Key: ip4(a)})
			}
		}
	}
	for id, s := range sets {
		c.fill(s, elements[id])
	}
	return sets
}

// groupChains makes the chains for interfaces with these groups, once.
func (c *compiler) groupChains(groups []string, made map[string]bool) string {
	sorted := slices.Compact(slices.Sorted(slices.Values(groups)))
	combo := digest(strings.Join(sorted, ","))[:16]
	if made[combo] {
		return combo
	}
	made[combo] = true
	outChain, inChain := c.chain("out-"+combo), c.chain("in-"+combo)
	for _, g := range sorted {
		if slices.ContainsFunc(c.vpc.Groups, func(x Group) bool { return x.ID == g }) {
			c.rule(outChain, jump("from-"+g))
			c.rule(inChain, jump("to-"+g))
		}
	}
	c.rule(outChain, drop())
	c.rule(inChain, drop())
	return combo
}

// ruleMatch is the part of a rule that matches packets. ok is false when it
// can match none: its group has no set, or it is about IPv6.
func ruleMatch(r Rule, members map[string]*nftables.Set) (match []expr.Any, ok bool) {
	peer := uint32(offsetSource)
	if r.Egress {
		peer = offsetDest
	}
	switch {
	case r.Group != "":
		s := members[r.Group]
		if s == nil {
			return nil, false
		}
		match = member(peer, s)
	case !r.CIDR.IsValid() || !r.CIDR.Addr().Is4():
		return nil, false
	default:
		match = within(peer, r.CIDR)
	}
	traffic, ok := trafficMatch(r)
	return append(match, traffic...), ok
}

// trafficMatch is the part of a rule that is about protocols and ports.
func trafficMatch(r Rule) (match []expr.Any, ok bool) {
	if r.Protocol < 0 {
		return nil, true
	}
	match = append(match, protocol(r.Protocol)...)
	switch r.Protocol {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP:
		if r.From >= 0 && (r.From > 0 || r.To < 65535) {
			match = append(match, destPorts(r.From, r.To)...)
		}
	case unix.IPPROTO_ICMP:
		if r.From >= 0 {
			match = append(match, transportByte(0, r.From)...)
			if r.To >= 0 {
				match = append(match, transportByte(1, r.To)...)
			}
		}
	}
	return match, true
}

// acls asks the subnets' ACLs about packets that cross a subnet's border:
// for the sender's subnet by destination, for the receiver's by source.
// Unlike security groups they know of no connections.
func (c *compiler) acls(fwd *nftables.Chain) {
	inUse := map[string]bool{}
	for _, s := range c.vpc.Subnets {
		if s.ACLID != "" {
			inUse[s.ACLID] = true
		}
	}
	if len(inUse) == 0 {
		return
	}
	for _, a := range c.vpc.ACLs {
		if !inUse[a.ID] {
			continue
		}
		for _, egress := range []bool{false, true} {
			chain := c.chain(aclChain(a.ID, egress))
			for _, e := range a.Entries {
				if e.Egress != egress {
					continue
				}
				match, ok := ruleMatch(e.Rule, nil)
				switch {
				case !ok:
				case e.Deny:
					c.rule(chain, match, drop())
				default:
					c.rule(chain, match, verdict(expr.VerdictReturn))
				}
			}
			c.rule(chain, drop())
		}
	}
	for _, s := range c.vpc.Subnets {
		if s.ACLID == "" {
			continue
		}
		inside := func(offset uint32) []expr.Any { return within(offset, s.CIDR) }
		c.rule(fwd, inside(offsetSource), outside(offsetDest, s), jump(aclChain(s.ACLID, true)))
		c.rule(fwd, inside(offsetDest), outside(offsetSource, s), jump(aclChain(s.ACLID, false)))
	}
}

// outside matches addresses that are not in the subnet.
func outside(offset uint32, s Subnet) []expr.Any {
	match := within(offset, s.CIDR)
	if k := len(match) - 1; k >= 0 {
		last := *match[k].(*expr.Cmp)
		last.Op = expr.CmpOpNeq
		match[k] = &last
	}
	return match
}

func aclChain(id string, egress bool) string {
	if egress {
		return "acl-out-" + id
	}
	return "acl-in-" + id
}
