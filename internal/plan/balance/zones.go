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
		return g.Attributes[crossZone] != "false"
	}
	if v := g.Attributes[crossZone]; v == "true" || v == "false" {
		return v == "true"
	}
	return lb.Attributes[crossZone] == "true"
}

// IdleZones names the zones of a load balancer in which one of its groups has
// too few healthy targets that the zone sends to, by the group's thresholds of
// DNS failover, while it has some elsewhere. None is named when all zones would
// be.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-health.html
func IdleZones(lb LoadBalancer, seen map[string]map[string]Seen) map[string]bool {
	idle := map[string]bool{}
	for _, g := range lb.Groups {
		if CrossZone(lb, g) {
			continue
		}
		healthy, all := map[string]int{}, map[string]int{}
		some := false
		for _, t := range g.Targets {
			if t.Draining {
				continue
			}
			all[t.Zone]++
			if seen[g.ID][t.Address()].Health.State == model.TargetHealthHealthy {
				healthy[t.Zone]++
				some = true
			}
		}
		if !some {
			continue
		}
		for _, i := range lb.Interfaces {
			// Those without a zone are in every one.
			if !FoundByName(g.Attributes, healthy[i.Zone]+healthy[""], all[i.Zone]+all[""]) {
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

// HealthyZones tells of each of a load balancer's zones whether each of its
// groups has enough healthy targets that the zone sends to. It is nil for one
// without groups.
func HealthyZones(lb LoadBalancer, seen map[string]map[string]Seen) map[string]bool {
	if len(lb.Groups) == 0 {
		return nil
	}
	out := map[string]bool{}
	for _, i := range lb.Interfaces {
		out[i.Zone] = true
	}
	for _, g := range lb.Groups {
		cross := CrossZone(lb, g)
		for zone := range out {
			healthy, all := 0, 0
			for _, t := range g.Targets {
				if t.Draining || !cross && t.Zone != "" && t.Zone != zone {
					continue
				}
				all++
				if seen[g.ID][t.Address()].Health.State == model.TargetHealthHealthy {
					healthy++
				}
			}
			out[zone] = out[zone] && FoundByName(g.Attributes, healthy, all)
		}
	}
	return out
}
