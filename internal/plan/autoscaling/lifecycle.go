package autoscaling

import (
	"slices"
	"time"

	"roadstead.dev/internal/model"
)

// The transitions that hooks wait in, and the results of their actions.
const (
	launching   = "autoscaling:EC2_INSTANCE_LAUNCHING"
	terminating = "autoscaling:EC2_INSTANCE_TERMINATING"
	proceed     = "CONTINUE"
	abandon     = "ABANDON"
)

// advance takes a member one step on in its lifecycle, as far as that is due.
func (p *planner) advance(m *member) {
	if m.v.Command.Name != "" && m.live() {
		return // what the user asked for comes first
	}
	switch m.v.LifecycleState {
	case model.ASGPending, model.ASGPendingProceed:
		p.arrive(m)
	case model.ASGPendingWait:
		p.awaitLaunch(m)
	case model.ASGTerminating, model.ASGTerminatingWait, model.ASGTerminatingProceed:
		p.depart(m)
	case model.ASGDetaching:
		if m.Registered == 0 || m.EC2.gone() {
			p.enter(m, model.ASGDetached)
			m.step.Remove, m.step.Release = true, true
			m.progress(done)
		}
	case model.ASGEnteringStandby:
		switch {
		case m.EC2.Ended():
			p.leave(m, takenOut(p.now, byEC2))
		case m.Registered == 0:
			p.enter(m, model.ASGStandby)
			m.progress(done)
		}
	case model.ASGStandby:
		if m.EC2.Ended() {
			p.leave(m, takenOut(p.now, byEC2))
		}
	}
}

var done = Progress{Code: Successful, Percent: 100, Ended: true}

// arrive brings a new member nearer to service, when its instance runs.
func (p *planner) arrive(m *member) {
	if m.v.Activity == "" {
		m.begin(Activity{
			Description: "Attaching an existing EC2 instance: " + m.InstanceID,
			Cause:       sentences(p.reason(), "At "+Stamp(p.now)+" an instance was attached in response to a user request."),
			Progress:    Progress{Code: PreInService, Percent: 30},
		})
		m.step.Claim = true
		// A change of the activity is for the next step.
		return
	}
	if !m.EC2.Member && !m.EC2.gone() {
		m.step.Claim, m.changed = true, true
	}
	switch {
	case m.EC2.gone():
		p.stillborn(m)
	case m.EC2.State != model.InstanceRunning:
	case m.v.LifecycleState == model.ASGPending && p.wait(m, launching):
		p.enter(m, model.ASGPendingWait)
		m.progress(Progress{Code: MidLifecycleAction, Percent: 60})
	default:
		p.serve(m)
	}
}

// serve takes a member into service.
func (p *planner) serve(m *member) {
	p.enter(m, model.ASGInService)
	m.v.HookActions = nil
	m.progress(done)
	p.plan.Status.Failures, p.plan.Status.FailedAt = 0, time.Time{}
}

// stillborn ends a member whose instance has ended before it served.
func (p *planner) stillborn(m *member) {
	m.progress(Progress{
		Code: Failed, Percent: 100, Ended: true,
		Message: "Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: " + reasonOf(&m.EC2),
	})
	p.failed()
	p.leave(m, takenOut(p.now, byEC2))
}

func reasonOf(e *EC2) string {
	if e.Reason == "" {
		return "Server.InternalError: Internal error on launch"
	}
	return e.Reason
}

// failed notes a launch that came to nothing.
func (p *planner) failed() {
	p.plan.Status.Failures++
	p.plan.Status.FailedAt = p.now
}

// wait makes a member wait for the group's hooks of a transition, if any.
func (p *planner) wait(m *member, transition string) bool {
	m.v.HookActions = nil
	for _, h := range p.Group.Spec.LifecycleHooks {
		if h.Transition != transition {
			continue
		}
		ends := p.now.Add(time.Duration(globalTimeout(&h)) * time.Second)
		expires := p.now.Add(time.Duration(h.HeartbeatSeconds) * time.Second)
		if expires.After(ends) {
			expires = ends
		}
		m.v.HookActions = append(m.v.HookActions, model.ASGHookAction{Hook: h.Name, BegunAt: p.now, ExpiresAt: expires, EndsAt: ends})
	}
	for _, a := range m.v.HookActions {
		p.wake(a.ExpiresAt)
	}
	return len(m.v.HookActions) > 0
}

// globalTimeout is in seconds: 48 hours or 100 heartbeats, whichever is less.
func globalTimeout(h *model.ASGHook) int {
	most := min(100*h.HeartbeatSeconds, 172800)
	if h.GlobalTimeoutSeconds > 0 {
		most = min(most, h.GlobalTimeoutSeconds)
	}
	return most
}

// outcome is the result of the actions that a member waits for; empty while it
// has to wait on. The first that is abandoned decides, and says why.
func (p *planner) outcome(m *member) (result string, by *model.ASGHookAction, why string) {
	result = proceed
	for i := range m.v.HookActions {
		a := &m.v.HookActions[i]
		got, reason := a.Result, "Lifecycle Action Completed with ABANDON Result"
		if got == "" {
			end := a.ExpiresAt
			if !a.EndsAt.IsZero() && a.EndsAt.Before(end) {
				end = a.EndsAt
			}
			j := slices.IndexFunc(p.Group.Spec.LifecycleHooks, func(h model.ASGHook) bool { return h.Name == a.Hook })
			switch {
			case j < 0: // deleted: launches end, terminations go on
				got, reason = proceed, "Lifecycle Hook was deleted"
				if m.v.LifecycleState == model.ASGPendingWait {
					got = abandon
				}
			case p.now.Before(end):
				p.wake(end)
			default:
				got, reason = p.Group.Spec.LifecycleHooks[j].DefaultResult, "Heartbeat Timeout"
			}
		}
		switch got {
		case abandon:
			return abandon, a, reason
		case "":
			result = ""
		}
	}
	return result, nil, ""
}

func (p *planner) awaitLaunch(m *member) {
	if m.EC2.gone() {
		p.stillborn(m)
		return
	}
	switch result, by, why := p.outcome(m); result {
	case proceed:
		p.enter(m, model.ASGPendingProceed)
		m.v.HookActions = nil
	case abandon:
		m.progress(Progress{
			Code: Failed, Percent: 100, Ended: true,
			Message: "Instance failed to complete user's Lifecycle Action: Lifecycle Action with token " + by.Token + " was abandoned: " + why,
		})
		p.failed()
		p.leave(m, "At "+Stamp(p.now)+" an instance was taken out of service in response to a launch lifecycle action that was abandoned.")
	}
}

// leave makes a member go for good.
func (p *planner) leave(m *member, cause string) {
	if m.v.Activity != "" && m.step.End == nil && m.v.Command.Name == "" {
		m.progress(Progress{Code: Cancelled, Percent: 100, Ended: true})
	}
	m.begin(Activity{
		Description: "Terminating EC2 instance: " + m.InstanceID, Cause: cause,
		Progress: p.deregister(m, Progress{Code: InProgress, Percent: 0}),
	})
	p.enter(m, model.ASGTerminating)
	m.v.HookActions, m.v.Ahead, m.v.Command = nil, "", model.ASGCommand{}
}

// draining is how an activity goes on while targets drain.
var draining = Progress{Code: WaitingForDraining, Percent: 50, Suffix: " - Waiting For ELB Connection Draining."}

// deregister takes a member out of its target groups, and tells how the
// activity that does it goes on.
func (p *planner) deregister(m *member, pr Progress) Progress {
	if len(m.v.Targets) == 0 {
		return pr
	}
	m.step.Deregister = slices.Concat(m.step.Deregister, m.v.Targets)
	m.changed = true
	if m.Registered == 0 || m.EC2.gone() {
		return pr
	}
	return draining
}

// depart takes a member that goes one step on: its targets drain, hooks are
// waited for, the instance ends.
func (p *planner) depart(m *member) {
	if m.EC2.Ended() && m.v.LifecycleState != model.ASGTerminatingWait {
		// What EC2 ended by itself has no hooks left that could look at it.
		p.enter(m, model.ASGTerminated)
		m.step.Remove = true
		m.progress(done)
		return
	}
	force := p.Group.Deleting && p.Group.ForceDelete
	switch m.v.LifecycleState {
	case model.ASGTerminating:
		switch {
		case force:
		case m.Registered > 0 && !m.EC2.gone():
			return
		case len(m.v.HookActions) == 0 && !m.EC2.Ending && p.wait(m, terminating):
			p.enter(m, model.ASGTerminatingWait)
			m.progress(Progress{Code: MidLifecycleAction, Percent: 60})
			return
		}
	case model.ASGTerminatingWait:
		if result, _, _ := p.outcome(m); result == "" && !force {
			return
		}
		m.v.HookActions = nil
		p.enter(m, model.ASGTerminatingProceed)
		m.progress(Progress{Code: InProgress, Percent: 70})
	}
	if !m.EC2.Ending {
		p.plan.Terminate = append(p.plan.Terminate, m.InstanceID)
	}
}

// dismiss makes every member of a group that is deleted go.
func (p *planner) dismiss() {
	from := 0
	for i := range p.members {
		if p.members[i].live() {
			from += p.members[i].weight()
		}
	}
	for i := range p.members {
		m := &p.members[i]
		if m.leaving() || m.step.Remove {
			continue
		}
		p.leave(m, p.shrinks(from, 0, m.InstanceID))
		if p.Group.ForceDelete && !m.EC2.Ending {
			p.plan.Terminate = append(p.plan.Terminate, m.InstanceID)
		}
	}
}
