package autoscaling

import (
	"cmp"
	"slices"

	"roadstead.dev/internal/model"
)

// onDemand is how much of a capacity of total units is On-Demand: the base,
// and a percentage of the rest, rounded up.
func onDemand(a *model.ASGInstanceAllocation, total int) int {
	if total <= a.OnDemandBase {
		return total
	}
	return a.OnDemandBase + ((total-a.OnDemandBase)*a.OnDemandPercentAboveBase+99)/100
}

// shopper chooses what to launch. It counts what it has chosen.
type shopper struct {
	pools []Pool
	mixed *model.ASGInstanceAllocation
	// total and demand are units: all, and those that are On-Demand.
	total, demand int
	// counts are Spot instances by pool.
	counts []int
	// spots are the pools that Spot instances come from.
	spots []int
}

// shop makes a shopper for a group with these members.
func (p *planner) shop(members []*member) *shopper {
	s := &shopper{pools: p.Pools, mixed: p.Mixed, counts: make([]int, len(p.Pools))}
	for _, m := range members {
		s.total += m.weight()
		if !m.v.Spot {
			s.demand += m.weight()
			continue
		}
		if i := poolOf(p.Pools, &m.v); i >= 0 {
			s.counts[i]++
		}
	}
	for i := range p.Pools {
		s.spots = append(s.spots, i)
	}
	if a := p.Mixed; a != nil && a.SpotAllocationStrategy == "lowest-price" {
		// There are no prices: what is listed first counts as the cheapest.
		s.spots = s.spots[:min(len(s.spots), max(a.SpotInstancePools, 1))]
	}
	return s
}

// poolOf is the index of the pool that an instance is of, -1 for none.
func poolOf(pools []Pool, v *model.ASGInstance) int {
	return slices.IndexFunc(pools, func(p Pool) bool {
		return (p.Type == "" || p.Type == v.InstanceType) && p.Template.ID == v.Template.ID && p.Template.Version == v.Template.Version
	})
}

// next chooses one more instance.
func (s *shopper) next() (Pool, bool) {
	i, spot := 0, s.pools[0].Spot
	if s.mixed != nil {
		w := s.pools[0].Weight
		if spot = s.demand >= onDemand(s.mixed, s.total+w); spot {
			i = s.spot()
		}
	}
	s.total += s.pools[i].Weight
	if spot {
		s.counts[i]++
	} else {
		s.demand += s.pools[i].Weight
	}
	return s.pools[i], spot
}

// spot is the pool of the next Spot instance. Every pool has the same
// capacity here, so strategies that look for the most of it spread the
// instances, but for the one that has priorities.
func (s *shopper) spot() int {
	if s.mixed.SpotAllocationStrategy == "capacity-optimized-prioritized" {
		return 0
	}
	return slices.MinFunc(s.spots, func(a, b int) int { return cmp.Compare(s.counts[a], s.counts[b]) })
}
