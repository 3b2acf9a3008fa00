package autoscaling

import (
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/model"
)

// obey carries out what the user asked of a member.
func (p *planner) obey(m *member) {
	c := m.v.Command
	if c.Name == "" || m.changed {
		return
	}
	at := "At " + Stamp(p.now) + " instance " + m.InstanceID
	state := m.v.LifecycleState
	switch {
	case c.Name == model.ASGTerminate && (m.live() || state == model.ASGStandby):
		p.asked(m, func() { p.leave(m, at+" was taken out of service in response to a user request.") })
	case c.Name == model.ASGDetach && (m.live() || state == model.ASGStandby):
		p.asked(m, func() {
			pr := p.deregister(m, Progress{Code: InProgress, Percent: 50})
			p.enter(m, model.ASGDetaching)
			m.begin(Activity{Description: "Detaching EC2 instance: " + m.InstanceID, Cause: at + " was detached in response to a user request.", Progress: pr})
		})
	case c.Name == model.ASGEnterStandby && state == model.ASGInService:
		p.asked(m, func() {
			pr := p.deregister(m, Progress{Code: InProgress, Percent: 50})
			p.enter(m, model.ASGEnteringStandby)
			m.begin(Activity{Description: "Moving EC2 instance to Standby: " + m.InstanceID, Cause: at + " was moved to standby in response to a user request.", Progress: pr})
		})
	case c.Name == model.ASGExitStandby && state == model.ASGStandby:
		p.asked(m, func() {
			p.enter(m, model.ASGPending)
			m.v.Targets = nil
			m.begin(Activity{
				Description: "Moving EC2 instance out of Standby: " + m.InstanceID, Cause: at + " was moved out of standby in response to a user request.",
				Progress: Progress{Code: PreInService, Percent: 30},
			})
		})
	case state == model.ASGEnteringStandby && c.Name == model.ASGExitStandby:
		return // once it is there
	default: // too late
		if m.leaving() && m.v.LifecycleState != model.ASGDetaching && c.Name == model.ASGTerminate {
			m.v.Command, m.changed = model.ASGCommand{}, true
			return
		}
		m.v.Command = model.ASGCommand{}
		m.progress(Progress{Code: Cancelled, Percent: 100, Ended: true})
	}
}

// asked does what was asked for, under the activity that the user was told of,
// if there is one, and with the cause that came with it.
func (p *planner) asked(m *member, do func()) {
	c := m.v.Command
	do()
	m.v.Command, m.v.Ahead = model.ASGCommand{}, ""
	if c.Cause != "" && m.step.Begin != nil {
		m.step.Begin.Cause = c.Cause
	}
	if m.v.Activity != "" && m.step.Begin != nil {
		pr := m.step.Begin.Progress
		m.step.Begin = nil
		m.progress(pr)
	}
}

// attend registers a member with the group's target groups, and takes it out
// of those that are the group's no more.
func (p *planner) attend(m *member) {
	if m.v.LifecycleState != model.ASGInService {
		return
	}
	have := m.v.Targets
	var keep []string
	for _, arn := range have {
		if slices.Contains(p.Group.Spec.TargetGroups, arn) {
			keep = append(keep, arn)
		} else {
			m.step.Deregister = append(m.step.Deregister, arn)
		}
	}
	n := len(keep)
	for _, arn := range p.Group.Spec.TargetGroups {
		if slices.Contains(keep[:n], arn) {
			continue
		}
		keep = append(keep, arn)
		if !p.suspended(AddToLoadBalancer) {
			m.step.Register = append(m.step.Register, arn)
		}
	}
	if len(keep) != n || n != len(have) {
		m.v.Targets, m.changed = keep, true
	}
}

const (
	healthy   = "Healthy"
	unhealthy = "Unhealthy"
)

// examine checks a member's health, and lets it go when that is bad.
func (p *planner) examine(m *member) {
	if m.v.LifecycleState != model.ASGInService {
		return
	}
	if !p.suspended(HealthCheck) {
		p.check(m)
	}
	if m.v.HealthStatus != unhealthy || p.suspended(ReplaceUnhealthy) || p.suspended(Terminate) {
		return
	}
	m.sick = true
}

func (p *planner) check(m *member) {
	if m.v.HealthStatus != unhealthy && m.v.HealthCause != "" {
		m.v.HealthCause, m.changed = "", true
	}
	cause := ""
	grace := m.v.StateSince.Add(time.Duration(p.Group.Spec.HealthCheckGraceSeconds) * time.Second)
	elb := m.TargetFailed && strings.Contains(p.Group.Spec.HealthCheckType, "ELB")
	if m.EC2.Impaired == m.v.ImpairedSince.IsZero() {
		m.v.ImpairedSince, m.changed = time.Time{}, true
		if m.EC2.Impaired {
			m.v.ImpairedSince = p.now
		}
	}
	switch {
	case m.EC2.gone():
		cause = byEC2
	case !m.EC2.Impaired && !elb || !p.due(grace):
	case elb:
		cause = byELB
	case p.due(m.v.ImpairedSince.Add(impairedFor)):
		cause = byStatus
	}
	if cause != "" && m.v.HealthStatus != unhealthy {
		m.v.HealthStatus, m.v.HealthCause, m.changed = unhealthy, cause, true
	}
}

// unfit is the cause of the end of a member that is sick.
func (p *planner) unfit(m *member) string {
	why := m.v.HealthCause
	if why == "" {
		why = byUser
	}
	return takenOut(p.now, why)
}
