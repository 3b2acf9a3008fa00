package deployment

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// steadyEvery is how often a lasting steady state is announced again.
const steadyEvery = 6 * time.Hour

// planner makes one Plan.
type planner struct {
	Snapshot
	now  time.Time
	plan Plan
	// primary is the index of the primary deployment in plan.Deployments.
	primary int
	// cond is each task's condition, by id.
	cond map[string]condition
	// stopping holds the tasks that this plan stops.
	stopping map[string]bool
}

// Next decides what comes next for the service at now. It changes nothing in
// s and gives the same plan for the same arguments.
func Next(s Snapshot, now time.Time) Plan {
	p := &planner{Snapshot: s, now: now, primary: -1, stopping: map[string]bool{}}
	p.Tasks = slices.Clone(s.Tasks)
	slices.SortFunc(p.Tasks, func(a, b Task) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	p.plan.State = s.State
	p.plan.State.Tasks = maps.Clone(s.State.Tasks)
	if p.plan.State.Tasks == nil {
		p.plan.State.Tasks = map[string]TaskState{}
	}
	p.plan.Deployments = slices.Clone(s.Deployments)
	for i := range p.plan.Deployments {
		d := &p.plan.Deployments[i]
		if d.Status == Primary && p.primary < 0 {
			p.primary = i
		}
		if d.RolloutState == "" {
			d.RolloutState, d.RolloutStateReason = InProgress, inProgressReason(d.ID)
		}
	}
	p.assess()
	p.account()
	p.breakCircuit()
	p.scale()
	p.count()
	p.rollout()
	p.steady()
	return p.plan
}

// condition is how a task that is wanted and not stopped fares.
type condition int

const (
	gone     condition = iota // stopping, stopped or no longer wanted
	pending                   // not running yet
	ailing                    // running, and its health checks fail
	maturing                  // running, and not yet known to be healthy
	healthy
)

// assess finds every task's condition.
func (p *planner) assess() {
	p.cond = make(map[string]condition, len(p.Tasks))
	for _, t := range p.Tasks {
		p.cond[t.ID] = p.condition(t)
	}
}

func (p *planner) condition(t Task) condition {
	switch {
	case !t.Wanted || t.Phase >= Stopping:
		return gone
	case t.Phase == Pending:
		return pending
	}
	fails, waits := t.Health == Unhealthy, t.Health == Unknown
	for _, g := range t.Targets {
		fails = fails || g.State == TargetUnhealthy
		waits = waits || g.State == TargetInitial || g.State == TargetDraining
	}
	if fails {
		grace := t.StartedAt.Add(p.Service.HealthCheckGracePeriod)
		if p.now.Before(grace) {
			p.wake(grace)
			return maturing
		}
		return ailing
	}
	if waits {
		return maturing
	}
	if t.Health == Unchecked && len(t.Targets) == 0 {
		ripe := t.StartedAt.Add(p.Service.HealthyAfter)
		if p.now.Before(ripe) {
			p.wake(ripe)
			return maturing
		}
	}
	return healthy
}

// wake asks for another plan at t, if that is to come.
func (p *planner) wake(t time.Time) {
	if t.After(p.now) && (p.plan.Wake.IsZero() || t.Before(p.plan.Wake)) {
		p.plan.Wake = t
	}
}

// current is the primary deployment, nil when there is none.
func (p *planner) current() *Deployment {
	if p.primary < 0 {
		return nil
	}
	return &p.plan.Deployments[p.primary]
}

func (p *planner) isPrimary(t Task) bool {
	d := p.current()
	return d != nil && t.Deployment == d.ID
}

// desired is how many tasks there are to be.
func (p *planner) desired() int {
	switch {
	case p.Service.Draining:
		return 0
	case p.Service.Daemon:
		return len(p.Service.Nodes)
	}
	return p.Service.Desired
}

// floor and ceiling are the limits that the percentages set.
func (p *planner) floor() int {
	return (p.desired()*p.Service.MinimumHealthyPercent + 99) / 100
}

func (p *planner) ceiling() int {
	return max(p.desired()*p.Service.MaximumPercent/100, p.desired())
}

// count writes the counts of the service and of its deployments, and drops
// the deployments that are over.
func (p *planner) count() {
	byID := map[string]*Deployment{}
	for i := range p.plan.Deployments {
		d := &p.plan.Deployments[i]
		d.Desired, d.Pending, d.Running = 0, 0, 0
		byID[d.ID] = d
	}
	left := map[string]int{}
	for _, t := range p.Tasks {
		d := byID[t.Deployment]
		if d == nil {
			d = &Deployment{}
		}
		switch t.Phase {
		case Pending:
			p.plan.Pending++
			d.Pending++
			left[t.Deployment]++
		case Running:
			p.plan.Running++
			d.Running++
			left[t.Deployment]++
		case Stopping, Stopped:
		}
		if p.cond[t.ID] != gone && !p.stopping[t.ID] {
			d.Desired++
		}
	}
	if d := p.current(); d != nil {
		d.Desired = p.desired()
	}
}

// rollout completes the primary deployment when it has all its tasks healthy
// and no other deployment has any, and drops what is over then.
func (p *planner) rollout() {
	d := p.current()
	if d == nil {
		return
	}
	if d.RolloutState == InProgress && !p.Service.Draining && p.settled() {
		d.RolloutState, d.RolloutStateReason = Completed, completedReason(d.ID)
		p.event("(deployment %s) deployment completed.", d.ID)
	}
	// A completed deployment stays for as long as the primary might have to go
	// back to it.
	done, id := d.RolloutState == Completed || p.Service.Draining, d.ID
	p.plan.Deployments = slices.DeleteFunc(p.plan.Deployments, func(o Deployment) bool {
		return o.ID != id && o.Running+o.Pending == 0 && (done || o.RolloutState != Completed)
	})
	p.primary = slices.IndexFunc(p.plan.Deployments, func(o Deployment) bool { return o.ID == id })
	if p.Service.Draining {
		p.plan.Drained = !slices.ContainsFunc(p.Tasks, func(t Task) bool { return t.Phase != Stopped })
	}
}

// settled tells whether the service has exactly the tasks that it is to have,
// all healthy.
func (p *planner) settled() bool {
	if p.plan.Start > 0 || len(p.plan.Stops) > 0 {
		return false
	}
	n := 0
	for _, t := range p.Tasks {
		switch {
		case p.cond[t.ID] == healthy && p.isPrimary(t) && !t.Leaving:
			n++
		case t.Phase < Stopping:
			return false
		}
	}
	return n == p.desired()
}

// steady announces that the service has reached a steady state, and every six
// hours that it still is in it.
func (p *planner) steady() {
	d := p.current()
	if d == nil || p.Service.Draining || len(p.plan.Deployments) > 1 || d.RolloutState != Completed || !p.settled() {
		p.plan.State.SteadyAt = time.Time{}
		return
	}
	at := p.plan.State.SteadyAt
	if at.IsZero() || !p.now.Before(at.Add(steadyEvery)) {
		p.plan.State.SteadyAt = p.now
		p.event("has reached a steady state.")
	}
	p.wake(p.plan.State.SteadyAt.Add(steadyEvery))
}
