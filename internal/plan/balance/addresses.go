package balance

import "roadstead.dev/internal/model"

// Addresses are those at which a target of the load balancer is reached: an
// application load balancer at each of its interfaces. Unusable tells why nothing
// new may be sent there, as the target's health; it has no addresses then unless
// what is under way there can go on.
func (in *Input) Addresses(t *model.Target) (ips []string, unusable *model.TargetHealth) {
	switch {
	case model.LoadBalancerID(t.ID) != "":
		alb := in.Balancers[t.ID]
		if alb == nil || alb.DeletedAt != nil {
			return nil, unused(model.ReasonInvalidState, model.DescriptionInvalidState)
		}
		for _, i := range alb.Status.Interfaces {
			ips = append(ips, i.PrivateIPv4Address)
		}
		return ips, nil
	case t.IsInstance():
		return in.instance(in.Instances[t.ID])
	case !in.enabled(zoneOf(t.ID, in.Subnets)):
		return []string{t.ID}, unused(model.ReasonNotInUse, model.DescriptionZoneNotEnabled)
	default:
		return []string{t.ID}, nil
	}
}

func unused(reason, description string) *model.TargetHealth {
	return &model.TargetHealth{State: model.TargetHealthUnused, Reason: reason, Description: description}
}

// enabled tells whether the load balancer sends to targets in a zone. Those
// without one are outside of the VPC.
func (in *Input) enabled(zone string) bool {
	for _, z := range in.LoadBalancer.AvailabilityZones {
		if z.ZoneName == zone {
			return true
		}
	}
	return zone == ""
}

// Merge is what is seen of a target from what is seen at each of its addresses:
// it is as well as the best of them. Nil when nothing is.
func Merge(all []Seen) *Seen {
	if len(all) == 0 {
		return nil
	}
	rank := map[string]int{
		model.TargetHealthHealthy: 3, model.TargetHealthInitial: 2, model.TargetHealthUnhealthyDraining: 1,
	}
	out := all[0]
	for _, s := range all[1:] {
		n := out.InFlight + s.InFlight
		if rank[s.Health.State] > rank[out.Health.State] {
			out = s
		}
		out.InFlight = n
	}
	return &out
}
