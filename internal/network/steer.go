package network

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
)

// priorityBalancers comes before all other routing rules in a VPC's namespace:
// answers to what a load balancer passed on go back to it, not to their
// destination.
const priorityBalancers = 40

// balancerNumbers gives each balancer's interface a number, from 1 to 65,535.
func balancerNumbers(v VPC) map[string]uint32 {
	const first, count = 1, 65535
	numbers := map[string]uint32{}
	taken := map[uint32]bool{}
	for i := range v.Interfaces {
		e := &v.Interfaces[i]
		if !e.Balancer {
			continue
		}
		k := hash32(e.ID) % count
		for taken[k] {
			k = (k + 1) % count
		}
		taken[k] = true
		numbers[e.ID] = first + k
	}
	return numbers
}

// balancerTable is the kernel's routing table that leads to a balancer's
// interface, and the mark of the packets that it is for.
func balancerTable(number uint32) uint32 {
	const above = 0x20000 // all other tables' numbers
	return above | number
}

// BalancerNumber is the number by which connections' marks name a load
// balancer's interface. ok is false when Apply has not made it.
func (n *Network) BalancerNumber(vpcID, interfaceID string) (number uint32, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	st := n.vpcs[vpcID]
	if st == nil || st.applied == nil {
		return 0, false
	}
	number, ok = balancerNumbers(*st.applied)[interfaceID]
	return number, ok
}

// steer marks what comes out of balancers, and sends the answers back; and it
// marks what is for balancers.
func (c *compiler) steer() {
	numbers := balancerNumbers(c.vpc)
	if len(numbers) == 0 {
		return
	}
	emerged := c.set(&nftables.Set{Name: "balancers", IsMap: true, KeyType: nftables.TypeIFName, DataType: nftables.TypeMark})
	tables := c.set(&nftables.Set{Name: "balancer-tables", IsMap: true, KeyType: nftables.TypeMark, DataType: nftables.TypeMark})
	routes := c.set(&nftables.Set{Name: "balancer-routes", IsMap: true, KeyType: nftables.TypeMark, DataType: nftables.TypeMark})
	var from, back, onward []nftables.SetElement
	for i := range c.vpc.Interfaces {
		e := &c.vpc.Interfaces[i]
		if k, ok := numbers[e.ID]; ok {
			from = append(from, nftables.SetElement{Key: ifname(device(e.ID)), Val: mark32(flowEmerged | k)})
			back = append(back, nftables.SetElement{Key: mark32(k), Val: mark32(balancerTable(k))})
			table, _ := c.mark(e.SubnetID)
			onward = append(onward, nftables.SetElement{Key: mark32(k), Val: mark32(table)})
		}
	}
	c.fill(emerged, from)
	c.fill(tables, back)
	c.fill(routes, onward)

	pre := c.base("steer", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, *nftables.ChainPriorityMangle, nftables.ChainPolicyAccept)
	c.rule(pre, ctState(expr.CtStateBitNEW), goTo("begin"))
	forwarded := c.chain("forwarded")
	kinds := c.verdicts("arriving", nftables.TypeMark)
	c.fill(kinds, []nftables.SetElement{
		gotoElement(mark32(flowForwarded), "forwarded"), gotoElement(mark32(flowCut), "forwarded"), gotoElement(mark32(flowEmerged), "emerged"),
	})
	c.rule(pre, byFlow(flowKinds, kinds))
	// What a balancer forwards leaves by its subnet's routes.
	c.rule(forwarded, takeRoutes(routes))
	answers := c.chain("emerged")
	const reply = 1
	c.rule(answers, []expr.Any{&expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1}, eq([]byte{reply})},
		flowMark(flowNumber), []expr.Any{valueOf(tables), setMark()})

	begin := c.chain("begin")
	c.rule(begin, []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, valueOf(emerged), setFlowMark(),
	}, accept())
	c.address(begin, numbers, routes)
	c.pass(forwarded, numbers)
}

// takeRoutes gives a packet the routes of a balancer's subnet.
func takeRoutes(routes *nftables.Set) []expr.Any {
	return append(flowMark(flowNumber), valueOf(routes), setMark())
}

// openChains names the chains of balancers without security groups.
const openChains = "open"

func (c *compiler) open(made map[string]bool) {
	if made[openChains] {
		return
	}
	made[openChains] = true
	outChain, inChain := c.chain("out-"+openChains), c.chain("in-"+openChains)
	c.rule(outChain, goTo("in"))
	c.rule(inChain, accept())
}

// passingSets makes, for each group that a rule names, the set of the marks of
// what its balancers pass on: that counts as theirs, though it comes from their
// clients' addresses.
func (c *compiler) passingSets() map[string]*nftables.Set {
	numbers := balancerNumbers(c.vpc)
	elements := map[string][]nftables.SetElement{}
	for i := range c.vpc.Interfaces {
		e := &c.vpc.Interfaces[i]
		for _, g := range e.Groups {
			if k, ok := numbers[e.ID]; ok {
				elements[g] = append(elements[g],
					nftables.SetElement{Key: mark32(flowEmerged | k)}, nftables.SetElement{Key: mark32(flowForwarded | k)})
			}
		}
	}
	sets := map[string]*nftables.Set{}
	for i := range c.vpc.Groups {
		for _, r := range c.vpc.Groups[i].Rules {
			if !r.Egress && r.Group != "" && sets[r.Group] == nil && elements[r.Group] != nil {
				s := c.set(&nftables.Set{Name: "passing-" + r.Group, KeyType: nftables.TypeMark})
				c.fill(s, elements[r.Group])
				sets[r.Group] = s
			}
		}
	}
	return sets
}

// setBalancerRoutes makes the tables that lead to balancers. One that is not
// attached yet has none.
func setBalancerRoutes(h *netlink.Handle, v VPC) error {
	for id, number := range balancerNumbers(v) {
		dev, err := h.LinkByName(device(id))
		if err != nil {
			continue
		}
		route := netlink.Route{
			Dst: ipNet(everywhere), Table: int(balancerTable(number)), LinkIndex: dev.Attrs().Index,
			Gw: gatewayIP(v, id), Flags: int(netlink.FLAG_ONLINK),
		}
		if err := h.RouteReplace(&route); err != nil {
			return fmt.Errorf("to %s: %w", id, err)
		}
	}
	return nil
}
