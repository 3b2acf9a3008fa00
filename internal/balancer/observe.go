package balancer

import (
	"net/netip"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"roadstead.dev/internal/balancer/accesslog"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/plan/balance"
)

// Logs takes what load balancers log. It is safe for concurrent use.
type Logs interface {
	// Append takes entries of the node with an address: whole lines.
	Append(lb balance.LoadBalancer, to balance.LogOutput, node netip.Addr, lines []byte)
}

// shipEvery is how long entries stay in memory.
const shipEvery = time.Second

// node is a load balancer in one zone, with its counters.
type node struct {
	zone  string
	index int
	stats l7.Stats
}

// output is where entries wait for being shipped.
type output struct {
	spec balance.LogOutput
	*accesslog.Output
	// told counts the dropped entries that the log tells of.
	told atomic.Int64
}

// observed tells a table what it counts in, and what it logs to. The
// instance's mu is held.
func (in *instance) observed(t *l7.Table) {
	t.Nodes = in.counters(&in.nodes)
	if in.log != nil {
		t.Access, t.Connects = in.log.Access(), in.log.Connections()
	}
}

// counters are the nodes, which may be new, by the load balancer's addresses.
func (in *instance) counters(all *[]*node) []l7.Node {
	var out []l7.Node
	for _, i := range in.spec.Interfaces {
		address, err := netip.ParsePrefix(i.Address)
		if n := nodeIn(all, i.Zone); err == nil && n != nil {
			out = append(out, l7.Node{Address: address.Addr(), Index: n.index, Stats: &n.stats})
		}
	}
	return out
}

// nodeIn is the one of a zone, nil when there are too many.
func nodeIn(all *[]*node, zone string) *node {
	for _, n := range *all {
		if n.zone == zone {
			return n
		}
	}
	if len(*all) == l7.MaxNodes {
		return nil
	}
	n := &node{zone: zone, index: len(*all) + 1}
	*all = append(*all, n)
	return n
}

// applyOutputs makes the outputs what lb says. It returns those that are gone,
// which the listeners may write to until their tables are swapped. The
// instance's mu is held.
func (in *instance) applyOutputs(lb balance.LoadBalancer) (gone []*output) {
	if in.b.cfg.Logs == nil {
		return nil
	}
	wanted := make(map[string]*output, len(lb.Logs))
	var all []*accesslog.Output
	for _, spec := range lb.Logs {
		o := in.outputs[spec.ID]
		if o == nil || !reflect.DeepEqual(o.spec, spec) {
			o = &output{spec: spec, Output: accesslog.NewOutput(accesslog.Kind(spec.Type), accesslog.Format{
				JSON: spec.JSON, Fields: spec.Fields, Delimiter: spec.Delimiter,
			})}
		}
		wanted[spec.ID] = o
		all = append(all, o.Output)
	}
	for id, o := range in.outputs {
		if wanted[id] != o {
			gone = append(gone, o)
		}
	}
	in.outputs = wanted
	in.log = accesslog.NewLog(balance.ResourceID(lb.ARN), all)
	return gone
}

// fetch ships what is in an output.
func (in *instance) fetch(o *output) {
	in.mu.Lock()
	lb := in.spec
	in.mu.Unlock()
	o.Fetch(func(node netip.Addr, lines []byte) { in.b.cfg.Logs.Append(lb, o.spec, node, lines) })
	if n := o.Dropped(); n > o.told.Load() {
		in.b.cfg.Log.Warn("entries of a log were dropped: there are too many", "loadBalancer", in.id, "log", o.spec.Type, "entries", n-o.told.Swap(n))
	}
}

func (in *instance) shipAll() {
	in.mu.Lock()
	all := make([]*output, 0, len(in.outputs))
	for _, o := range in.outputs {
		all = append(all, o)
	}
	in.mu.Unlock()
	for _, o := range all {
		in.fetch(o)
	}
}

// logCheck tells of a check of the target, which is made once for the whole
// load balancer: the node that it came from logs it.
func (t *target) logCheck(p *probe, found checked, began time.Time, took time.Duration) {
	in := t.g.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.log == nil {
		return
	}
	in.log.Check(&accesslog.Check{
		Type: p.kind, Began: began, Took: took, Target: p.addr, Group: groupName(t.g.spec.ARN),
		Status: found.status, Reason: found.reason, Node: in.nodeFor(found.node, t.spec.Zone),
	})
}

// groupName is the name in a target group's ARN.
func groupName(arn string) string {
	parts := strings.Split(arn, "/")
	if len(parts) < 3 {
		return ""
	}
	return parts[len(parts)-2]
}

// nodeFor is the node at an address, else the one in a zone, else the first.
// The instance's mu is held.
func (in *instance) nodeFor(from netip.Addr, zone string) (node netip.Addr) {
	for _, i := range in.spec.Interfaces {
		p, err := netip.ParsePrefix(i.Address)
		switch {
		case err != nil:
		case p.Addr() == from:
			return from
		case !node.IsValid() || i.Zone == zone:
			node = p.Addr()
		}
	}
	return node
}

// ship hands over what load balancers log, now and then.
func (b *Balancer) ship() {
	for {
		t := b.cfg.Clock.NewTimer(shipEvery)
		select {
		case <-t.C:
		case <-b.ctx.Done():
			t.Stop()
			return
		}
		for _, in := range b.instances() {
			in.shipAll()
		}
	}
}

func (b *Balancer) instances() []*instance {
	b.mu.Lock()
	defer b.mu.Unlock()
	ins := make([]*instance, 0, len(b.lbs))
	for _, in := range b.lbs {
		ins = append(ins, in)
	}
	return ins
}
