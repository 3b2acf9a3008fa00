package autoscaling

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"roadstead.dev/internal/model"
)

// policy compares two members: less than zero when a goes before b.
type policy func(a, b *member) int

// policies are the group's termination policies as one.
func (p *planner) policies() policy {
	oldest := func(a, b *member) int { return a.v.LaunchedAt.Compare(b.v.LaunchedAt) }
	hour := func(a, b *member) int { return cmp.Compare(p.untilHour(a), p.untilHour(b)) }
	var chain []policy
	for _, name := range p.Group.Spec.TerminationPolicies {
		switch name {
		case "OldestInstance":
			chain = append(chain, oldest)
		case "NewestInstance":
			chain = append(chain, func(a, b *member) int { return oldest(b, a) })
		case "OldestLaunchTemplate":
			chain = append(chain, p.byTemplate)
		case "ClosestToNextInstanceHour":
			chain = append(chain, hour)
		case "AllocationStrategy":
			chain = append(chain, p.byPreference)
		case "Default":
			chain = append(chain, p.byTemplate, hour)
		}
		// OldestLaunchConfiguration tells none apart: there are no launch
		// configurations.
	}
	chain = append(chain, func(a, b *member) int { return cmp.Compare(a.InstanceID, b.InstanceID) })
	return func(a, b *member) int {
		for _, by := range chain {
			if c := by(a, b); c != 0 {
				return c
			}
		}
		return 0
	}
}

// untilHour is how long it is to the member's next full hour.
func (p *planner) untilHour(m *member) time.Duration {
	age := p.now.Sub(m.v.LaunchedAt)
	return time.Hour - age%time.Hour
}

// byTemplate puts other templates than the group's first, then older versions.
func (p *planner) byTemplate(a, b *member) int {
	current := func(m *member) bool {
		return slices.ContainsFunc(p.Pools, func(q Pool) bool { return q.Template.ID == m.v.Template.ID })
	}
	if x, y := current(a), current(b); x != y {
		if y {
			return -1
		}
		return 1
	}
	return cmp.Compare(version(a), version(b))
}

func version(m *member) int {
	n, _ := strconv.Atoi(m.v.Template.Version)
	return n
}

// byPreference puts what the allocation strategy would choose last first.
func (p *planner) byPreference(a, b *member) int {
	rank := func(m *member) int {
		if i := poolOf(p.Pools, &m.v); i >= 0 {
			return i
		}
		return len(p.Pools)
	}
	return cmp.Compare(rank(b), rank(a))
}

// bucket is where scale-in looks for an instance.
type bucket struct {
	zone string
	spot bool
}

// chooser picks members for scale-in: of the market that has too much, from
// the zone that has the most, by the termination policies.
type chooser struct {
	mixed  *model.ASGInstanceAllocation
	by     policy
	queues map[bucket][]*member
	// zones counts members, by the zones in ordered.
	zones   map[string]int
	ordered []string
	// total and demand are units: all, and those that are On-Demand.
	total, demand int
}

// choose makes a chooser among the candidates; all are the members that count.
func (p *planner) choose(candidates []*member, all []*member) *chooser {
	c := &chooser{mixed: p.Mixed, by: p.policies(), queues: map[bucket][]*member{}, zones: map[string]int{}}
	for _, m := range all {
		if c.zones[m.v.Zone] == 0 {
			c.ordered = append(c.ordered, m.v.Zone)
		}
		c.zones[m.v.Zone]++
		c.total += m.weight()
		if !m.v.Spot {
			c.demand += m.weight()
		}
	}
	slices.Sort(c.ordered)
	for _, m := range slices.SortedFunc(slices.Values(candidates), c.by) {
		k := bucket{m.v.Zone, m.v.Spot}
		c.queues[k] = append(c.queues[k], m)
	}
	return c
}

// next is who goes next, nil when nobody can.
func (c *chooser) next() *member {
	if a := c.mixed; a != nil {
		spot := c.demand <= onDemand(a, c.total-1)
		if m := c.take(&spot); m != nil {
			return m
		}
	}
	return c.take(nil)
}

// take takes one from the fullest zone, of a market if there is one given.
func (c *chooser) take(spot *bool) *member {
	var best *member
	var from bucket
	for _, z := range c.ordered {
		if best != nil && c.zones[z] <= c.zones[from.zone] {
			continue
		}
		var head *member
		for _, s := range []bool{false, true} {
			if spot != nil && s != *spot {
				continue
			}
			q := c.queues[bucket{z, s}]
			if len(q) == 0 {
				continue
			}
			if head == nil || c.by(q[0], head) < 0 {
				head = q[0]
			}
		}
		if head != nil {
			best, from = head, bucket{z, head.v.Spot}
		}
	}
	if best == nil {
		return nil
	}
	c.queues[from] = c.queues[from][1:]
	c.zones[from.zone]--
	c.total -= best.weight()
	if !from.spot {
		c.demand -= best.weight()
	}
	return best
}

// mayLeave tells whether scale-in may choose a member.
func mayLeave(m *member) bool {
	return m.live() && !m.v.Protected && m.v.Ahead == "" && m.v.Command.Name == ""
}
