package deployment

import (
	"roadstead.dev/internal/plan/spread"
)

// fleet holds the tasks that are wanted and not stopped, by condition.
type fleet map[condition][]Task

func (f fleet) size() int {
	n := 0
	for _, ts := range f {
		n += len(ts)
	}
	return n
}

// fleets parts the tasks into the primary deployment's and all others', to
// which those belong that are to leave their instances. busy
// counts the tasks that are pending or running but no longer wanted: they
// still count against the maximum.
func (p *planner) fleets() (own, old fleet, busy int) {
	own, old = fleet{}, fleet{}
	for _, t := range p.Tasks {
		c := p.cond[t.ID]
		switch {
		case c == gone:
			if t.Phase < Stopping {
				busy++
			}
		case p.isPrimary(t) && !t.Leaving:
			own[c] = append(own[c], t)
		default:
			old[c] = append(old[c], t)
		}
	}
	return own, old, busy
}

// scale decides what starts and what stops.
//
// Tasks of the primary deployment that are pending, maturing or healthy are
// good: they are, or may become, what is wanted. A task that fails its checks
// gets a replacement first and is stopped when that is healthy, or when the
// maximum leaves no room for a replacement. Old tasks are stopped as the new
// ones become healthy, earlier only to make room, and then never below the
// minimum.
func (p *planner) scale() {
	if p.primary < 0 && !p.Service.Draining {
		return // not a state to draw conclusions from
	}
	own, old, busy := p.fleets()
	if p.desired() == 0 {
		p.stop(scaling, own[pending], own[ailing], own[maturing], own[healthy])
		p.stop(scaling, old[pending], old[ailing], old[maturing], old[healthy])
		p.stopEvent()
		return
	}
	if p.Service.Daemon {
		p.scaleDaemon()
		p.stopEvent()
		return
	}
	want := p.desired()
	live := own.size() + old.size() + busy
	good := len(own[pending]) + len(own[maturing]) + len(own[healthy])
	if n := good - want; n > 0 && !p.moving(own, old, n) {
		good -= p.leave(n, old, own[pending], own[maturing], own[healthy])
	}
	// As stopping a good task takes the least healthy first, min holds here.
	fit := min(len(own[healthy]), want)
	ill := len(own[ailing])
	if n := min(fit+ill-want, ill); n > 0 {
		p.stop(unhealthy, own[ailing][:n])
		own[ailing] = own[ailing][n:]
	}

	p.stop(scaling, old[pending])
	serving := len(old[maturing]) + len(old[healthy])
	// What there is beyond the desired count is stopped, worst first.
	if n := fit + serving + len(old[ailing]) - want; n > 0 {
		n = min(n, serving+len(old[ailing]))
		p.leave(n, own, old[ailing], old[maturing], old[healthy])
		old = p.remaining(old)
		serving = len(old[maturing]) + len(old[healthy])
	}

	p.start(own, old, want-good, live, fit+serving, busy+len(p.plan.Stops))
	if len(p.plan.Stops)+p.plan.Start == 0 {
		p.rebalance(own, old, live)
	}
	p.stopEvent()
}

// start starts what is needed and the maximum admits, and makes room for what
// it does not admit. live counts the tasks that are pending or running, leaving
// those of them that will not be for long; available is how many serve, or will
// once they are known to be healthy.
func (p *planner) start(own, old fleet, need, live, available, leaving int) {
	d := p.current()
	if need <= 0 || d.RolloutState == Failed {
		p.plan.State.Blocked = false
		return
	}
	if until := p.plan.State.Throttle.Until; p.now.Before(until) {
		p.wake(until)
		return
	}
	room := max(p.ceiling()-live, 0)
	p.plan.Start = min(need, room)
	p.plan.Replaced = min(p.plan.Start, len(own[ailing]))
	if p.plan.Start == need {
		p.plan.State.Blocked = false
		return
	}
	short := max(need-p.plan.Start-leaving, 0)
	made := p.stop(unhealthy, own[ailing][:min(short, len(own[ailing]))])
	short -= made
	if n := min(short, len(old[ailing])); n > 0 {
		made += p.leave(n, own, old[ailing])
		short -= n
	}
	if n := min(short, available-p.floor()); n > 0 {
		made += p.leave(n, own, old[maturing], old[healthy])
	}
	idle := p.plan.Start == 0 && made == 0 && len(p.plan.Stops) == 0 && len(own[pending])+len(own[maturing])+len(old[maturing]) == 0
	p.blocked(idle && !p.somethingStops())
}

// blocked notes whether the percentages leave no way on, and announces it.
func (p *planner) blocked(is bool) {
	was := p.plan.State.Blocked
	p.plan.State.Blocked = is
	if is && !was {
		p.event("was unable to stop or start tasks during a deployment because of the service deployment configuration. Update the minimumHealthyPercent or maximumPercent value and try again.")
	}
}

// somethingStops tells whether a task is on its way out, which will change
// what can be done.
func (p *planner) somethingStops() bool {
	for _, t := range p.Tasks {
		if p.cond[t.ID] == gone && t.Phase < Stopping {
			return true
		}
	}
	return false
}

// why is the kind of reason that a task is stopped for.
type why int

const (
	scaling why = iota
	unhealthy
)

// stop stops the tasks, protected ones only for their health, and returns how
// many it stopped.
func (p *planner) stop(reason why, lists ...[]Task) int {
	n := 0
	for _, ts := range lists {
		for _, t := range ts {
			if reason == scaling && p.protected(t) {
				continue
			}
			p.plan.Stops = append(p.plan.Stops, Stop{Task: t.ID, Reason: p.reason(t, reason)})
			p.stopping[t.ID] = true
			s := p.plan.State.Tasks[t.ID]
			s.Stopped = true
			p.plan.State.Tasks[t.ID] = s
			n++
		}
	}
	return n
}

// protected tells whether t must not be stopped for scaling now.
func (p *planner) protected(t Task) bool {
	if p.Service.Draining || !p.now.Before(t.ProtectedUntil) {
		return false
	}
	p.wake(t.ProtectedUntil)
	return true
}

// leave stops n of the tasks, the earlier lists' first, then so that the
// zones stay balanced, counting the tasks of others too. It returns how many
// it stopped, fewer than n when too many are protected.
func (p *planner) leave(n int, others fleet, lists ...[]Task) int {
	stay := map[string]int{}
	for _, ts := range others {
		for _, t := range ts {
			if !p.stopping[t.ID] {
				stay[t.Zone]++
			}
		}
	}
	var leavers []spread.Leaver
	byID := map[string]Task{}
	for rank, ts := range lists {
		for _, t := range ts {
			if p.protected(t) {
				stay[t.Zone]++
				continue
			}
			leavers = append(leavers, spread.Leaver{ID: t.ID, Zone: t.Zone, Rank: rank})
			byID[t.ID] = t
		}
	}
	var chosen []Task
	for _, id := range spread.Leave(leavers, stay, n) {
		chosen = append(chosen, byID[id])
	}
	return p.stop(scaling, chosen)
}

// remaining is f without the tasks that this plan stops.
func (p *planner) remaining(f fleet) fleet {
	left := fleet{}
	for c, ts := range f {
		for _, t := range ts {
			if !p.stopping[t.ID] {
				left[c] = append(left[c], t)
			}
		}
	}
	return left
}

// reason is the stoppedReason of t.
func (p *planner) reason(t Task, w why) string {
	if w == unhealthy {
		for _, g := range t.Targets {
			if g.State == TargetUnhealthy {
				return elbReason(g.GroupARN)
			}
		}
		return containerReason
	}
	id := t.Deployment
	if d := p.current(); d != nil {
		id = d.ID
	}
	return scalingReason(id)
}

// stopEvent tells about the tasks that this plan stops.
func (p *planner) stopEvent() {
	if len(p.plan.Stops) == 0 {
		return
	}
	ids := make([]string, len(p.plan.Stops))
	for i, s := range p.plan.Stops {
		ids[i] = s.Task
	}
	p.event("has stopped %d running tasks: %s.", len(ids), taskList(ids))
}
