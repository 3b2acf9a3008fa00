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
	Nodes []ZoneStats
	// Plain are those of a network load balancer's listeners without TLS whose
	// connections go through this process.
	Plain  []ZoneStats
	Groups []GroupMeasure
	// Healthy tells of each zone of a network load balancer whether it counts as
	// healthy.
	Healthy map[string]bool
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
	// Zones of an application load balancer, with what the group's health is there.
	Zones map[string]ZoneHealth
}

// Hosts counts targets, and connections to them.
type Hosts struct{ Healthy, Unhealthy, Registered, Anomalous, Mitigated, Open int64 }

// ZoneHealth tells whether a target group has enough healthy targets for a zone
// of the load balancer: for its name to lead there, and for requests not to go
// to all of them.
type ZoneHealth struct{ DNS, Routing bool }

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
	for _, n := range in.plain {
		m.Plain = append(m.Plain, ZoneStats{n.zone, &n.stats})
	}
	for _, g := range in.groups {
		m.Groups = append(m.Groups, in.measureGroup(g))
	}
	network := in.forwarding != nil
	in.mu.Unlock()
	if network {
		m.Healthy = balance.HealthyZones(m.Spec, in.seen())
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
		h, open := out.Hosts[t.spec.Zone], t.l7.Connections()
		out.Open += open
		h.Open += open
		if !t.spec.Draining {
			h.Registered++
		}
		if t.watched.state.Anomalous {
			h.Anomalous++
		}
		if t.watched.state.Mitigated() {
			h.Mitigated++
		}
		switch {
		case t.spec.Draining:
		case t.state.Status == model.TargetHealthHealthy:
			h.Healthy++
		case t.state.Status == model.TargetHealthUnhealthy:
			h.Unhealthy++
		}
		out.Hosts[t.spec.Zone] = h
	}
	if in.spec.Type == model.LoadBalancerApplication && len(g.targets) > 0 {
		out.Zones = in.zonesOf(g, out.Hosts)
	}
	return out
}

// zonesOf tells of each zone how healthy a group is there. Targets without a
// zone are in every one, and with cross-zone load balancing all are.
func (in *instance) zonesOf(g *group, hosts map[string]Hosts) map[string]ZoneHealth {
	out := map[string]ZoneHealth{}
	across := balance.CrossZone(in.spec, g.spec)
	for _, i := range in.spec.Interfaces {
		var healthy, all int
		for zone, h := range hosts {
			if across || zone == i.Zone || zone == "" {
				healthy += int(h.Healthy)
				all += int(h.Registered)
			}
		}
		out[i.Zone] = ZoneHealth{DNS: balance.FoundByName(g.spec.Attributes, healthy, all), Routing: healthy >= balance.FewestRouted(g.spec.Attributes, all)}
	}
	return out
}
