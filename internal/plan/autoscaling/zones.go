package autoscaling

import (
	"roadstead.dev/internal/model"
)

// census counts members by zone and by subnet.
type census struct {
	places       []Place
	zone, subnet map[string]int
	// movable are those that may leave for balance, by zone.
	movable map[string]int
	// zones are launched in; they are in used, too.
	zones []string
	used  map[string]bool
}

// count counts the members that keep says.
func (p *planner) count(keep func(*member) bool) *census {
	c := &census{places: p.Places, zone: map[string]int{}, subnet: map[string]int{}, movable: map[string]int{}, used: map[string]bool{}}
	for _, pl := range p.Places {
		if !c.used[pl.Zone] {
			c.used[pl.Zone] = true
			c.zones = append(c.zones, pl.Zone)
		}
	}
	for i := range p.members {
		m := &p.members[i]
		if !keep(m) {
			continue
		}
		c.zone[m.v.Zone]++
		c.subnet[m.v.SubnetID]++
		if m.v.LifecycleState == model.ASGInService && mayLeave(m) {
			c.movable[m.v.Zone]++
		}
	}
	return c
}

// next is the place of one more: the zone with the fewest, in it the subnet
// with the fewest, ties in the group's order.
func (c *census) next() Place {
	best := c.places[0]
	for _, pl := range c.places[1:] {
		a, b := c.zone[pl.Zone], c.zone[best.Zone]
		if a < b || a == b && pl.Zone == best.Zone && c.subnet[pl.SubnetID] < c.subnet[best.SubnetID] {
			best = pl
		}
	}
	c.zone[best.Zone]++
	c.subnet[best.SubnetID]++
	return best
}

// moves is how many instances have to move to another zone until all zones
// are within one, but at most most: whence, in order.
func (c *census) moves(most int) []string {
	n, free := map[string]int{}, map[string]int{}
	for z, k := range c.zone {
		n[z], free[z] = k, c.movable[z]
	}
	var from []string
	for len(from) < most && len(c.zones) > 0 {
		src, dst := "", c.zones[0]
		for _, z := range c.zones {
			if n[z] < n[dst] {
				dst = z
			}
		}
		for z, k := range n {
			if k == 0 || free[z] == 0 {
				continue
			}
			switch better := c.used[z] != c.used[src]; {
			case src == "",
				better && !c.used[z],
				!better && (k > n[src] || k == n[src] && z < src):
				src = z
			}
		}
		if src == "" || c.used[src] && n[src]-n[dst] <= 1 {
			break
		}
		n[src]--
		free[src]--
		n[dst]++
		from = append(from, src)
	}
	return from
}
