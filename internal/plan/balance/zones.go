package balance

import "roadstead.dev/internal/model"

const crossZone = "load_balancing.cross_zone.enabled"

// CrossZone tells whether a load balancer sends from all of its zones to a
// group's targets in any of them.
func CrossZone(lb LoadBalancer, g TargetGroup) bool {
	switch lb.Type {
	case model.LoadBalancerClassic:
		return lb.Attributes[crossZone] == "true"
	case model.LoadBalancerNetwork:
	default:
		return true
	}
	if v := g.Attributes[crossZone]; v == "true" || v == "false" {
		return v == "true"
	}
	return lb.Attributes[crossZone] == "true"
}

// IdleZones names the zones of a load balancer in which one of its groups has
// no healthy target that the zone sends to, while it has one for others. None
// is named when all zones would be.
func IdleZones(lb LoadBalancer, seen map[string]map[string]Seen) map[string]bool {
	idle := map[string]bool{}
	for _, g := range lb.Groups {
		if g.Following != nil || CrossZone(lb, g) {
			continue
		}
		healthy := map[string]bool{}
		for _, t := range g.Targets {
			if !t.Draining && seen[g.ID][t.Address()].Health.State == model.TargetHealthHealthy {
				healthy[t.Zone] = true
			}
		}
		if len(healthy) == 0 || healthy[""] {
			continue
		}
		for _, i := range lb.Interfaces {
			if !healthy[i.Zone] {
				idle[i.Zone] = true
			}
		}
	}
	for _, i := range lb.Interfaces {
		if !idle[i.Zone] {
			return idle
		}
	}
	return nil
}
