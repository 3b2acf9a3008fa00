// Package l4 forwards connections in the kernel: it writes a network load
// balancer's nftables, in the namespace of its VPC.
//
// The VPC marks what may reach a load balancer's address. The first packet of
// such a flow chooses a target by a hash over the flow, and connection tracking
// keeps the choice: for as long as the namespace stands a flow goes on, whatever
// becomes of the table and of the process that wrote it. Its mark tells the VPC
// that it is forwarded, and whether it keeps its source or gets the load
// balancer's address.
package l4

import (
	"hash/fnv"
	"net/netip"
	"slices"
)

// Transport protocols.
const (
	TCP uint8 = 6
	UDP uint8 = 17
)

// Table is what a load balancer forwards.
type Table struct {
	Nodes []Node
}

// Node is the load balancer's presence at one of its interfaces.
type Node struct {
	// Interface is the id of the network interface, and Number that by which the
	// VPC's marks name it, which is whoever's to set that placed it.
	Interface string
	Number    uint32
	Ports     []Port
}

// Port is a listener's port.
type Port struct {
	Protocol uint8
	Port     uint16
	// Pools share the new flows by their weights.
	Pools []Pool
	// Sticky sends the flows from a client's address to the same pool, as long
	// as the weights let it: see Assigned.
	Sticky bool
	// Idle is how many seconds a flow may say nothing; 0 means what AWS documents
	// for the protocol: 350 for TCP, and 120 for UDP.
	Idle uint32
}

func (p *Port) idle() uint32 {
	const tcp, udp = 350, 120
	switch {
	case p.Idle != 0:
		return p.Idle
	case p.Protocol == UDP:
		return udp
	default:
		return tcp
	}
}

// Pool is targets that get new flows.
type Pool struct {
	// Name tells a sticky port's pools apart, and stays.
	Name string
	// Weight is the pool's share of the flows; one with 0 gets none.
	Weight int
	// Targets share the pool's flows. Without any they are refused.
	Targets []netip.AddrPort
	// BySource sends all of the pool's flows from a client's address to the
	// same target.
	BySource bool
	// Preserve keeps the client's address as the source.
	Preserve bool
}

// live are the pools that get flows, with the weights as small as they can be.
func (p *Port) live() []Pool {
	var out []Pool
	divisor := 0
	for _, pool := range p.Pools {
		if pool.Weight > 0 {
			out = append(out, pool)
			divisor = common(divisor, pool.Weight)
		}
	}
	for i := range out {
		out[i].Weight /= divisor
	}
	return out
}

// common is the greatest common divisor.
func common(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Slots of a hash, to which targets are assigned: many times more than there
// are targets, so that each gets its share.
const (
	fewSlots  = 1021
	manySlots = 8191
	// few is how many targets share fewSlots.
	few = 100
)

// slots assigns each slot to the target with the highest score there. When
// targets come and go, only their own slots change hands.
func slots(targets []netip.AddrPort) []netip.AddrPort {
	n := fewSlots
	if len(targets) > few {
		n = manySlots
	}
	seeds := make([]uint64, len(targets))
	for i, t := range targets {
		h := fnv.New64a()
		_, _ = h.Write([]byte(t.String()))
		seeds[i] = h.Sum64()
	}
	out := make([]netip.AddrPort, n)
	for s := range out {
		var best uint64
		for i, seed := range seeds {
			if score := mix(seed ^ uint64(s)*0x9e3779b97f4a7c15); i == 0 || score > best {
				best, out[s] = score, targets[i]
			}
		}
	}
	return out
}

// Choose chooses the target of all flows from a source. When targets come and
// go, only their own sources change hands.
func Choose(targets []netip.AddrPort, source netip.Addr) netip.AddrPort {
	h := fnv.New64a()
	b := source.As16()
	_, _ = h.Write(b[:])
	from := h.Sum64()
	var out netip.AddrPort
	var best uint64
	for i, t := range targets {
		h.Reset()
		_, _ = h.Write([]byte(t.String()))
		if score := mix(h.Sum64() ^ from); i == 0 || score > best {
			best, out = score, t
		}
	}
	return out
}

// mix spreads the bits of x over all of the result.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// normal is the table with targets in an order that says nothing.
func (t Table) normal() Table {
	out := Table{Nodes: slices.Clone(t.Nodes)}
	for i := range out.Nodes {
		n := &out.Nodes[i]
		n.Ports = slices.Clone(n.Ports)
		for j := range n.Ports {
			n.Ports[j].Pools = slices.Clone(n.Ports[j].Pools)
			for k := range n.Ports[j].Pools {
				p := &n.Ports[j].Pools[k]
				p.Targets = slices.Clone(p.Targets)
				slices.SortFunc(p.Targets, netip.AddrPort.Compare)
				p.Targets = slices.Compact(p.Targets)
			}
		}
	}
	return out
}
