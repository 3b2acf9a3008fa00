package deployment

import (
	"slices"
)

// scaleDaemon decides what starts and stops of a DAEMON service: one task on
// each of its instances. An old task stops before the new one starts on its
// instance, as many at once as the minimum admits; a task that fails its checks
// at once, and so does one on an instance that the service is no longer to be
// on.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_services.html#service_scheduler_daemon
func (p *planner) scaleDaemon() {
	on := make(map[string][]Task)
	wanted := make(map[string]bool, len(p.Service.Nodes))
	for _, n := range p.Service.Nodes {
		wanted[n] = true
	}
	serving := 0
	for _, t := range p.Tasks {
		c := p.cond[t.ID]
		switch {
		case c == gone:
			if t.Phase < Stopped {
				on[t.Node] = append(on[t.Node], t)
			}
		case !wanted[t.Node] || t.Leaving:
			p.stop(scaling, []Task{t})
		default:
			on[t.Node] = append(on[t.Node], t)
			if c == healthy {
				serving++
			}
		}
	}
	failed := p.current().RolloutState == Failed
	var free []string
	// Nothing else happens by itself when all that is left is old and healthy.
	stuck := !failed
	for _, n := range p.Service.Nodes {
		kept, busy := p.keepOne(on[n], failed, &serving)
		if !kept && !busy {
			free = append(free, n)
		}
		stuck = stuck && !busy && !slices.ContainsFunc(on[n], func(t Task) bool { return p.cond[t.ID] != healthy || p.protected(t) })
	}
	old := slices.ContainsFunc(p.Tasks, func(t Task) bool { return p.cond[t.ID] == healthy && !p.isPrimary(t) && !p.stopping[t.ID] })
	p.blocked(stuck && old && len(free) == 0 && len(p.plan.Stops) == 0)
	until := p.plan.State.Throttle.Until
	switch {
	case failed || len(free) == 0:
	case p.now.Before(until):
		p.wake(until)
	default:
		p.plan.Start, p.plan.StartOn = len(free), free
	}
}

// keepOne stops what is not to be on an instance, of which tasks are all. It
// tells whether a task stays, and whether one that leaves is still there.
// Serving is how many healthy tasks the service has.
func (p *planner) keepOne(tasks []Task, failed bool, serving *int) (kept, busy bool) {
	// The best of the primary deployment's comes first, then the best of others'.
	tasks = slices.Clone(tasks)
	slices.SortStableFunc(tasks, func(a, b Task) int {
		if x, y := p.isPrimary(a), p.isPrimary(b); x != y {
			if x {
				return -1
			}
			return 1
		}
		return int(p.cond[b.ID]) - int(p.cond[a.ID])
	})
	for _, t := range tasks {
		c := p.cond[t.ID]
		spare := c != healthy || *serving > p.floor()
		switch {
		case c == gone:
			busy = true
		case c == ailing:
			p.stop(unhealthy, []Task{t})
			busy = true
		case kept:
			// A second one is never needed.
			p.stop(scaling, []Task{t})
			if c == healthy {
				*serving--
			}
		case p.isPrimary(t) || failed || !spare || p.protected(t):
			kept = true
		default:
			p.stop(scaling, []Task{t})
			if c == healthy {
				*serving--
			}
			busy = true
		}
	}
	return kept, busy
}
