package balancer

import (
	"roadstead.dev/internal/balancer/l4"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
)

// Measure is what there is to be measured of a load balancer.
type Measure struct {
	// Spec is what the load balancer is.
	Spec balance.LoadBalancer
	// Nodes are its counters by zone; those of no zone in particular have the
	// zone "". The pointers stay the same as long as the load balancer runs.
	Nodes  []ZoneStats
	Groups []GroupMeasure
	// Flows are those of a network load balancer now, by the protocol's number.
	Flows map[uint8]int64
}

// ZoneStats are the counters of a zone.
type ZoneStats struct {
	Zone  string
	Stats *l7.Stats
}

// GroupMeasure is what there is to be measured of a target group.
type GroupMeasure struct {
	Spec  balance.TargetGroup
	Nodes []ZoneStats
	// Hosts by zone: of no zone where none is known of.
	Hosts map[string]Hosts
	// Open connections to the targets.
	Open int64
}

// Hosts counts targets.
type Hosts struct{ Healthy, Unhealthy int64 }

// Measure visits the load balancers.
func (b *Balancer) Measure(visit func(Measure)) {
	for _, in := range b.instances() {
		visit(in.measure())
	}
}

func (in *instance) measure() Measure {
	in.mu.Lock()
	m := Measure{Spec: in.spec, Nodes: []ZoneStats{{"", &in.stats}}}
	for _, n := range in.nodes {
		m.Nodes = append(m.Nodes, ZoneStats{n.zone, &n.stats})
	}
	for _, g := range in.groups {
		m.Groups = append(m.Groups, in.measureGroup(g))
	}
	network := in.forwarding != nil
	in.mu.Unlock()
	if network {
		m.Flows = map[uint8]int64{l4.TCP: 0, l4.UDP: 0}
		flows, err := in.b.cfg.Forwarder.Flows(in.id)
		if err != nil {
			in.b.cfg.Log.Error("flows cannot be counted", "loadBalancer", in.id, "error", err)
		}
		for f, n := range flows {
			m.Flows[f.Protocol] += n
		}
	}
	return m
}

func (in *instance) measureGroup(g *group) GroupMeasure {
	out := GroupMeasure{Spec: g.spec, Hosts: map[string]Hosts{}}
	g.l7.Nodes(func(i int, s *l7.Stats) {
		switch {
		case i == 0:
			out.Nodes = append(out.Nodes, ZoneStats{"", s})
		case i <= len(in.nodes):
			out.Nodes = append(out.Nodes, ZoneStats{in.nodes[i-1].zone, s})
		}
	})
	for _, t := range g.targets {
		out.Open += t.l7.Connections()
		h := out.Hosts[t.spec.Zone]
		switch {
		case t.spec.Draining:
		case t.state.Status == model.TargetHealthHealthy:
			h.Healthy++
		case t.state.Status == model.TargetHealthUnhealthy:
			h.Unhealthy++
		}
		out.Hosts[t.spec.Zone] = h
	}
	return out
}
