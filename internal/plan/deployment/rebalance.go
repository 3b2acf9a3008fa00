package deployment

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Rebalancing moves one task at a time from the availability zone with the
// most tasks to the one with the fewest: it starts one more, which is put
// where the fewest are, and scaling in takes one from where the most are once
// all are healthy.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-rebalancing.html

// byZone counts good tasks of the primary deployment in the zones where tasks
// may be. It is nil where nothing can be balanced.
func (p *planner) byZone(own fleet) map[string]int {
	if len(p.Service.Zones) < 2 {
		return nil
	}
	count := map[string]int{}
	for _, z := range p.Service.Zones {
		count[z] = 0
	}
	for _, c := range []condition{pending, maturing, healthy} {
		for _, t := range own[c] {
			count[t.Zone]++
		}
	}
	return count
}

// spreadOf is how many more tasks the fullest zone has than the emptiest.
func spreadOf(count map[string]int) int {
	if len(count) == 0 {
		return 0
	}
	n := slices.Collect(maps.Values(count))
	return slices.Max(n) - slices.Min(n)
}

// moving tells whether the one task too many is one that is to take another's
// place in a better zone, and not yet healthy.
func (p *planner) moving(own, old fleet, surplus int) bool {
	if surplus != 1 || old.size() > 0 {
		return false
	}
	count := p.byZone(own)
	for _, c := range []condition{pending, maturing} {
		for _, t := range own[c] {
			count := maps.Clone(count)
			if count == nil {
				return false
			}
			count[t.Zone]--
			if spreadOf(count) > 1 && count[t.Zone] == slices.Min(slices.Collect(maps.Values(count))) {
				return true
			}
		}
	}
	return false
}

// rebalance starts one task more when the service is steady and the zones are
// not balanced.
func (p *planner) rebalance(own, old fleet, live int) {
	d := p.current()
	if d.RolloutState != Completed || old.size() > 0 || live != p.desired() || len(own[healthy]) != p.desired() || live >= p.ceiling() {
		return
	}
	count := p.byZone(own)
	if spreadOf(count) < 2 {
		if p.plan.State.Rebalancing && len(count) > 0 {
			p.event("is AZ balanced with %s.", zoneList(count))
		}
		p.plan.State.Rebalancing = false
		return
	}
	if p.now.Before(p.plan.State.Throttle.Until) {
		return
	}
	// A zone whose tasks are all protected gives none away.
	most := slices.Max(slices.Collect(maps.Values(count)))
	if !slices.ContainsFunc(own[healthy], func(t Task) bool { return count[t.Zone] == most && !p.protected(t) }) {
		return
	}
	p.plan.Start = 1
	least := slices.Min(slices.Collect(maps.Values(count)))
	for _, z := range slices.Sorted(maps.Keys(count)) {
		if count[z] == least {
			p.plan.StartIn = append(p.plan.StartIn, z)
		}
	}
	if !p.plan.State.Rebalancing {
		p.plan.State.Rebalancing = true
		p.event("is not AZ balanced with %s. AZ Rebalancing in progress.", zoneList(count))
	}
}

func zoneList(count map[string]int) string {
	var parts []string
	for _, z := range slices.Sorted(maps.Keys(count)) {
		parts = append(parts, fmt.Sprintf("%d tasks in %s", count[z], z))
	}
	if n := len(parts); n > 1 {
		return strings.Join(parts[:n-1], ", ") + " and " + parts[n-1]
	}
	return strings.Join(parts, "")
}
