package network

import (
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
)

// priorityBalancers comes before all other routing rules in a VPC's namespace:
// answers to what a load balancer passed on go back to it, not to their
// destination.
const priorityBalancers = 40

// balancerNumbers gives each balancer's interface a number, which is the mark
// of its connections and the kernel's routing table that leads to it.
func balancerNumbers(v VPC) map[string]uint32 {
	const first, count = 100000, 60000
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

// steer marks what comes out of balancers, and sends the answers back.
func (c *compiler) steer() {
	numbers := balancerNumbers(c.vpc)
	if len(numbers) == 0 {
		return
	}
	from := c.set(&nftables.Set{Name: "balancers", IsMap: true, KeyType: nftables.TypeIFName, DataType: nftables.TypeMark})
	var elements []nftables.SetElement
	for i := range c.vpc.Interfaces {
		e := &c.vpc.Interfaces[i]
		if k, ok := numbers[e.ID]; ok {
			elements = append(elements, nftables.SetElement{Key: ifname(device(e.ID)), Val: binaryutil.NativeEndian.PutUint32(k)})
		}
	}
	c.fill(from, elements)
	pre := c.base("steer", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, *nftables.ChainPriorityMangle, nftables.ChainPolicyAccept)
	c.rule(pre, ctState(expr.CtStateBitNEW), []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1},
		&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: from.Name, SetID: from.ID},
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true},
	})
	const reply = 1
	c.rule(pre, []expr.Any{
		&expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1}, eq([]byte{reply}),
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	})
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

// passingSets makes, for each group that a rule names, the set of the
// balancers' devices that are in it: what they pass on counts as theirs,
// though it comes from their clients' addresses.
func (c *compiler) passingSets() map[string]*nftables.Set {
	elements := map[string][]nftables.SetElement{}
	for i := range c.vpc.Interfaces {
		e := &c.vpc.Interfaces[i]
		for _, g := range e.Groups {
			if e.Balancer {
				elements[g] = append(elements[g], nftables.SetElement{Key: ifname(device(e.ID))})
			}
		}
	}
	sets := map[string]*nftables.Set{}
	for i := range c.vpc.Groups {
		for _, r := range c.vpc.Groups[i].Rules {
			if !r.Egress && r.Group != "" && sets[r.Group] == nil && elements[r.Group] != nil {
				s := c.set(&nftables.Set{Name: "passing-" + r.Group, KeyType: nftables.TypeIFName})
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
			Dst: ipNet(everywhere), Table: int(number), LinkIndex: dev.Attrs().Index,
			Gw: gatewayIP(v, id), Flags: int(netlink.FLAG_ONLINK),
		}
		if err := h.RouteReplace(&route); err != nil {
			return err
		}
	}
	return nil
}
