package network

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// A load balancer's connections are forwarded by this namespace itself, which
// translates them by a table of the load balancer's own: what a direct
// connection costs is what one through a load balancer costs. They are two
// connections to groups and ACLs: the client's, whose packets are judged before
// they are translated, and the one to the target, whose are judged afterwards.
//
//	prerouting   steer   a new packet for a balancer's address is judged, and
//	                     its flow marked as addressed to it
//	             (the load balancer's table)  one so marked is sent on to a
//	                     target, and marked as forwarded
//	forward      forward lets what is forwarded pass
//	postrouting  source  gives it the load balancer's address, where it does
//	                     not keep its own
//	             passed  judges it as the load balancer's

// Where the chains stand beside others at their hooks: sources are translated
// before the VPC's own translation, which leaves what is translated alone, and
// judged after it.
var (
	prioritySource = *nftables.ChainPriorityNATSource - 1
	priorityPassed = *nftables.ChainPriorityNATSource + 10
)

// address judges what begins a connection with a balancer's address.
func (c *compiler) address(begin *nftables.Chain, numbers map[string]uint32, routes *nftables.Set) {
	private := c.set(&nftables.Set{Name: "addressed", IsMap: true, KeyType: nftables.TypeIPAddr, DataType: nftables.TypeMark})
	outside := c.set(&nftables.Set{Name: "addressed-outside", IsMap: true, KeyType: nftables.TypeIPAddr, DataType: nftables.TypeMark})
	var own, all []nftables.SetElement
	for i := range c.vpc.Interfaces {
		e := &c.vpc.Interfaces[i]
		k, ok := numbers[e.ID]
		if !ok {
			continue
		}
		for _, a := range e.addrs() {
			element := nftables.SetElement{Key: ip4(a), Val: mark32(AddressedMark(k))}
			own, all = append(own, element), append(all, element)
			if p := e.publicOf(a); p.IsValid() {
				all = append(all, nftables.SetElement{Key: ip4(p), Val: mark32(AddressedMark(k))})
			}
		}
	}
	c.fill(private, own)
	c.fill(outside, all)

	// A connection of TCP begins with its first packet alone: what is left of
	// one that is forgotten goes to the load balancer, which resets it.
	const offsetFlags, flags, syn = 13, 0x17, 0x02
	c.rule(begin, protocol(unix.IPPROTO_TCP), []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offsetFlags, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{flags}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte{syn}},
	}, accept())
	for _, by := range []struct {
		from      []expr.Any
		addresses *nftables.Set
	}{{in(hostDevice), outside}, {nil, private}} {
		c.rule(begin, by.from, []expr.Any{loadAddr(offsetDest, 1), valueOf(by.addresses), setFlowMark()}, goTo("judge"))
	}

	judge := c.chain("judge")
	c.rule(judge, takeRoutes(routes))
	if c.anyACL() {
		c.rule(judge, jump("acl-arriving"))
	}
	c.rule(judge, in(hostDevice), goTo("in"))
	c.rule(judge, verdictOf(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, c.outbound))
	c.rule(judge, drop())
}

// pass makes what a balancer forwards its own connection with the target.
func (c *compiler) pass(forwarded *nftables.Chain, numbers map[string]uint32) {
	own := c.set(&nftables.Set{Name: "balancer-addresses", IsMap: true, KeyType: nftables.TypeMark, DataType: nftables.TypeIPAddr})
	public := c.set(&nftables.Set{Name: "balancer-publics", IsMap: true, KeyType: nftables.TypeMark, DataType: nftables.TypeIPAddr})
	var privates, publics []nftables.SetElement
	for i := range c.vpc.Interfaces {
		e := &c.vpc.Interfaces[i]
		if k, ok := numbers[e.ID]; ok {
			privates = append(privates, nftables.SetElement{Key: mark32(k), Val: ip4(e.IP)})
			if p := e.publicOf(e.IP); p.IsValid() {
				publics = append(publics, nftables.SetElement{Key: mark32(k), Val: ip4(p)})
			}
		}
	}
	c.fill(own, privates)
	c.fill(public, publics)
	c.leavers = public

	source := c.base("source", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, prioritySource, nftables.ChainPolicyAccept)
	c.rule(source, flowIsNot(flowKinds, flowForwarded), accept())
	// Nothing outside knows a way back to a private address, the client's or the
	// load balancer's.
	c.rule(source, out(hostDevice), flowMark(flowNumber), []expr.Any{valueOf(public), translate(expr.NATTypeSourceNAT)})
	c.rule(source, out(hostDevice), accept())
	c.rule(source, flowIs(flowKeeps, flowKeeps), accept())
	c.rule(source, flowMark(flowNumber), []expr.Any{valueOf(own), translate(expr.NATTypeSourceNAT)})

	passed := c.base("passed", nftables.ChainTypeFilter, nftables.ChainHookPostrouting, priorityPassed, nftables.ChainPolicyAccept)
	c.rule(passed, flowIsNot(flowKinds, flowForwarded), accept())
	if c.anyACL() {
		c.balancerACLs(numbers)
		c.rule(forwarded, jump("acl-arriving"))
		c.rule(passed, jump("acl-leaving"))
	}
	c.rule(passed, ctState(expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED), accept())
	c.rule(passed, byFlow(flowNumber, c.balancerOut))
	c.rule(passed, drop())
}

// cut lets what is forwarded pass, which is judged elsewhere, and refuses what
// is to end.
func (c *compiler) cut(fwd *nftables.Chain) {
	refuse := c.chain("cut")
	const tcpReset = 1
	c.rule(refuse, protocol(unix.IPPROTO_TCP), []expr.Any{&expr.Reject{Type: tcpReset}})
	c.rule(refuse, drop())
	kinds := c.verdicts("forwarding", nftables.TypeMark)
	c.fill(kinds, []nftables.SetElement{
		{Key: mark32(flowForwarded), VerdictData: &expr.Verdict{Kind: expr.VerdictAccept}}, gotoElement(mark32(flowCut), "cut"),
	})
	c.rule(fwd, byFlow(flowKinds, kinds))
}

// balancerACLs asks the ACLs of the subnets about each packet that balancers
// forward, on its way to the balancer ("acl-arriving") and from there
// ("acl-leaving"), whoever's addresses it has.
func (c *compiler) balancerACLs(numbers map[string]uint32) {
	arriving, leaving := c.chain("acl-arriving"), c.chain("acl-leaving")
	to, from := c.verdicts("acls-arriving", nftables.TypeMark), c.verdicts("acls-leaving", nftables.TypeMark)
	var toElements, fromElements []nftables.SetElement
	made := map[string]bool{}
	for i := range c.vpc.Interfaces {
		e := &c.vpc.Interfaces[i]
		k, ok := numbers[e.ID]
		if !ok {
			continue
		}
		toElements = append(toElements, gotoElement(mark32(k), "acl-arriving-"+e.SubnetID))
		fromElements = append(fromElements, gotoElement(mark32(k), "acl-leaving-"+e.SubnetID))
		if !made[e.SubnetID] {
			made[e.SubnetID] = true
			c.subnetACLs(e.SubnetID)
		}
	}
	c.fill(to, toElements)
	c.fill(from, fromElements)
	c.rule(arriving, byFlow(flowNumber, to))
	c.rule(leaving, byFlow(flowNumber, from))
}

// subnetACLs makes the chains for packets that cross the border of a balancer's
// subnet.
func (c *compiler) subnetACLs(id string) {
	arriving, leaving := c.chain("acl-arriving-"+id), c.chain("acl-leaving-"+id)
	for _, s := range c.vpc.Subnets {
		switch {
		case s.ACLID == "":
		case s.ID == id:
			c.rule(arriving, outside(offsetSource, s), jump(aclChain(s.ACLID, false)))
			c.rule(leaving, outside(offsetDest, s), jump(aclChain(s.ACLID, true)))
		default:
			c.rule(arriving, within(offsetSource, s.CIDR), jump(aclChain(s.ACLID, true)))
			c.rule(leaving, within(offsetDest, s.CIDR), jump(aclChain(s.ACLID, false)))
		}
	}
}

func (c *compiler) anyACL() bool {
	for _, s := range c.vpc.Subnets {
		if s.ACLID != "" {
			return true
		}
	}
	return false
}
