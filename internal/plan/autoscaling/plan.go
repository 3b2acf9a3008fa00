package autoscaling

import (
	"time"

	"roadstead.dev/internal/model"
)

const (
	// impairedFor is how long status checks must fail to count.
	impairedFor = 2 * time.Minute
	// launchesAtOnce bounds the launches of one plan; more follow in the next.
	launchesAtOnce = 250
	// firstBackoff and lastBackoff bound the pause after failed launches.
	firstBackoff = 15 * time.Second
	lastBackoff  = 5 * time.Minute
)

// Backoff is how long launches pause after so many that failed in a row.
func Backoff(failures int) time.Duration {
	d := firstBackoff
	for range failures - 1 {
		if d *= 2; d >= lastBackoff {
			return lastBackoff
		}
	}
	return d
}

// Next decides what is to be done at the time of now.
func Next(s Snapshot, now time.Time) Plan {
	p := &planner{Snapshot: s, now: now}
	p.plan.Status = s.Group.Status
	p.members = make([]member, len(s.Instances))
	for i := range s.Instances {
		p.members[i] = member{Instance: &s.Instances[i], v: *s.Instances[i].ASGInstance}
		p.advance(&p.members[i])
	}
	if s.Group.Deleting {
		p.dismiss()
	} else {
		for i := range p.members {
			p.obey(&p.members[i])
			p.attend(&p.members[i])
			p.examine(&p.members[i])
		}
		p.scale()
	}
	p.finish()
	return p.plan
}

// planner makes one plan.
type planner struct {
	Snapshot
	now     time.Time
	members []member
	plan    Plan
}

// member is an instance of the group, as it becomes.
type member struct {
	*Instance
	v       model.ASGInstance
	changed bool
	step    Step
	// sick: it is unhealthy, and that is for the group to mend.
	sick bool
}

func (p *planner) suspended(process string) bool {
	_, ok := p.Group.Suspended[process]
	return ok
}

// wake makes sure that there is a plan at the time of t.
func (p *planner) wake(t time.Time) {
	if !t.After(p.now) {
		t = p.now.Add(time.Millisecond)
	}
	if p.plan.Wake.IsZero() || t.Before(p.plan.Wake) {
		p.plan.Wake = t
	}
}

// due tells whether the time of t has come; else there is a plan then.
func (p *planner) due(t time.Time) bool {
	if p.now.Before(t) {
		p.wake(t)
		return false
	}
	return true
}

func (m *member) weight() int { return max(m.v.Weight, 1) }

// enter changes a member's state.
func (p *planner) enter(m *member, state string) {
	m.v.LifecycleState, m.v.StateSince, m.changed = state, p.now, true
}

func (m *member) progress(pr Progress) {
	m.step.End, m.changed = &pr, true
	if pr.Ended {
		m.v.Activity = ""
	}
}

// begin begins an activity; the one before it is over.
func (m *member) begin(a Activity) {
	m.step.Begin, m.changed = &a, true
}

// live members are in the group's capacity, or come to be.
func (m *member) live() bool {
	switch m.v.LifecycleState {
	case model.ASGPending, model.ASGPendingWait, model.ASGPendingProceed, model.ASGInService:
		return true
	}
	return false
}

func (m *member) leaving() bool {
	switch m.v.LifecycleState {
	case model.ASGTerminating, model.ASGTerminatingWait, model.ASGTerminatingProceed, model.ASGDetaching:
		return true
	}
	return false
}

// ready members serve, and are well.
func (m *member) ready() bool {
	return m.v.LifecycleState == model.ASGInService && m.v.HealthStatus != unhealthy && !m.EC2.gone()
}

// finish gathers what has changed.
func (p *planner) finish() {
	left := 0
	for i := range p.members {
		m := &p.members[i]
		if !m.step.Remove {
			left++
		}
		if !m.changed {
			continue
		}
		v := m.v
		m.step.V = &v
		p.plan.Steps = append(p.plan.Steps, m.step)
		if e := m.step.End; e != nil && e.Ended {
			p.plan.Status.ScaledAt = p.now
		}
	}
	p.plan.Gone = p.Group.Deleting && left == 0
}
