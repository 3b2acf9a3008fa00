package deployment

import "time"

// The circuit breaker's threshold is half of the desired count, within these.
const (
	minThreshold = 3
	maxThreshold = 200
)

// The throttle waits longer after each round of failed starts, up to fifteen
// minutes. The first failure costs nothing: the task is replaced at once.
const (
	firstDelay = 10 * time.Second
	maxDelay   = 15 * time.Minute
)

// throttleDelay is how long to wait after the level-th round of failed starts.
func throttleDelay(level int) time.Duration {
	if level < 2 {
		return 0
	}
	d := firstDelay
	for range level - 2 {
		if d *= 2; d >= maxDelay {
			return maxDelay
		}
	}
	return d
}

// threshold is how many failed tasks in a row fail a deployment.
func threshold(desired int) int {
	return min(max((desired+1)/2, minThreshold), maxThreshold)
}

// account goes through what has become of the tasks since the plan before:
// who became healthy, who fails its checks, who died. It feeds the throttle
// and the count of failed tasks, and writes the events.
func (p *planner) account() {
	st := &p.plan.State
	if d := p.current(); d != nil && st.Throttle.Deployment != d.ID {
		st.Throttle, st.Placement = Throttle{Deployment: d.ID}, ""
	}
	seen := make(map[string]bool, len(p.Tasks))
	groups := newTargetEvents()
	for _, t := range p.Tasks {
		seen[t.ID] = true
		s, known := st.Tasks[t.ID]
		if !known {
			if t.Phase == Stopped {
				continue // accounted for long ago
			}
			s = TaskState{Deployment: t.Deployment}
		}
		p.accountTask(t, &s, groups)
		if t.Phase == Stopped {
			delete(st.Tasks, t.ID)
		} else {
			st.Tasks[t.ID] = s
		}
	}
	for id := range st.Tasks {
		if !seen[id] {
			delete(st.Tasks, id)
		}
	}
	groups.emit(p)
}

func (p *planner) accountTask(t Task, s *TaskState, groups *targetEvents) {
	c := p.cond[t.ID]
	if c != gone && !s.Registered && registered(t) {
		s.Registered = true
		groups.register(t)
	}
	if c != gone && t.Phase == Running && !s.Refused {
		s.Refused = p.refused(t)
	}
	switch c {
	case healthy:
		s.Unhealthy = false
		if !s.Healthy {
			s.Healthy = true
			p.succeeded(t)
		}
	case ailing:
		if !s.Unhealthy {
			s.Unhealthy = true
			p.unhealthyEvents(t)
			p.failed(t)
		}
	case gone:
		if s.Ended {
			return
		}
		s.Ended = true
		if s.Registered {
			groups.deregister(t)
		}
		if s.Stopped || t.ByUser || s.Healthy {
			return
		}
		p.failed(t)
		p.delay(t)
		if t.StartFailure != "" && t.StartFailure != p.plan.State.Placement {
			p.plan.State.Placement = t.StartFailure
			p.event("was unable to place a task. Reason: %s", sentence(t.StartFailure))
		}
	case pending, maturing:
		s.Unhealthy = false
	}
}

// refused tells of the target groups that do not take the task, and whether
// there are any.
func (p *planner) refused(t Task) bool {
	some := false
	for _, g := range t.Targets {
		if g.Refused != "" {
			some = true
			p.event("failed to register targets in (%s) with (error %s)", balancer(g.GroupARN), g.Refused)
		}
	}
	return some
}

func registered(t Task) bool {
	for _, g := range t.Targets {
		if !g.Registered {
			return false
		}
	}
	return len(t.Targets) > 0
}

// succeeded: a task became healthy, so whatever failed before is forgotten.
func (p *planner) succeeded(t Task) {
	if !p.isPrimary(t) {
		return
	}
	p.plan.State.Throttle = Throttle{Deployment: t.Deployment}
	p.plan.State.Placement = ""
	if d := p.current(); d.RolloutState == InProgress {
		d.Failed = 0
	}
}

// failed counts a task against the deployment that is being rolled out.
func (p *planner) failed(t Task) {
	if d := p.current(); p.isPrimary(t) && d.RolloutState == InProgress {
		d.Failed++
	}
}

// delay raises the throttle for a task that ended before it was ever healthy.
// AWS delays only tasks that never ran; here a task starts so fast that one
// which crashes right away would otherwise be replaced many times a second.
func (p *planner) delay(t Task) {
	th := &p.plan.State.Throttle
	if !p.isPrimary(t) || t.CreatedAt.Before(th.RaisedAt) {
		return
	}
	th.Level++
	th.RaisedAt = p.now
	d := throttleDelay(th.Level)
	th.Until = p.now.Add(d)
	if d > 0 {
		p.event("is unable to consistently start tasks successfully. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.")
	}
}

// unhealthyEvents tells which checks of t fail.
func (p *planner) unhealthyEvents(t Task) {
	if t.Health == Unhealthy {
		p.event("(task %s) failed container health checks.", t.ID)
	}
	for _, g := range t.Targets {
		if g.State == TargetUnhealthy {
			p.event("(task %s) (port %d) is unhealthy in (%s) due to (reason %s).", t.ID, g.Port, balancer(g.GroupARN), g.Reason)
		}
	}
}

// breakCircuit fails the primary deployment when too many of its tasks failed
// in a row, and goes back to the last one that completed if that is asked for.
func (p *planner) breakCircuit() {
	d, cb := p.current(), p.Service.CircuitBreaker
	if d == nil || !cb.Enable || p.Service.Draining || d.RolloutState != InProgress || d.Failed < threshold(p.desired()) {
		return
	}
	d.RolloutState, d.RolloutStateReason = Failed, failedReason
	p.event("(deployment %s) deployment failed: tasks failed to start.", d.ID)
	if !cb.Rollback {
		return
	}
	for i := range p.plan.Deployments {
		to := &p.plan.Deployments[i]
		if i == p.primary || to.RolloutState != Completed {
			continue
		}
		d.Status = Active
		to.Status, to.RolloutState, to.RolloutStateReason, to.Failed = Primary, InProgress, rollingBackReason(to.ID), 0
		p.primary = i
		p.plan.RollBack = to.ID
		p.plan.State.Throttle = Throttle{Deployment: to.ID}
		p.event("rolling back to deployment %s.", to.ID)
		return
	}
}

// sentence ends s with one full stop.
func sentence(s string) string {
	if s != "" && s[len(s)-1] == '.' {
		return s
	}
	return s + "."
}
