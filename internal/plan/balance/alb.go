package balance

import "roadstead.dev/internal/model"

// addresses are those at which a target of the load balancer is reached, or
// why it cannot be: see Locate. An application load balancer has several.
func addresses(t *model.Target, in Input) (ips []string, unusable *model.TargetHealth) {
	return Addresses(t, in.Instances, in.Balancers, in.LoadBalancer)
}

// Addresses is Locate for targets that may be application load balancers, which
// are reached at each of their interfaces.
func Addresses(t *model.Target, instances map[string]*model.Instance, balancers map[string]*model.LoadBalancer, lb *model.LoadBalancer) (ips []string, unusable *model.TargetHealth) {
	if model.LoadBalancerID(t.ID) == "" {
		ip, unusable := Locate(t, instances, lb)
		if unusable != nil {
			return nil, unusable
		}
		return []string{ip}, nil
	}
	alb := balancers[t.ID]
	if alb == nil || alb.DeletedAt != nil {
		return nil, &model.TargetHealth{State: model.TargetHealthUnused, Reason: model.ReasonInvalidState, Description: model.DescriptionInvalidState}
	}
	for _, i := range alb.Status.Interfaces {
		ips = append(ips, i.PrivateIPv4Address)
	}
	return ips, nil
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
