package autoscaling

import (
	"slices"
	"time"

	"roadstead.dev/internal/model"
)

// refreshPatience is how long a refresh may take without replacing an
// instance, beside the time that those warm up.
const refreshPatience = time.Hour

// What a refresh does with instances that scale-in must not touch.
const ignoreThem = "Ignore"

// RefreshLaunches tells whether a group launches what the refresh says, or
// what it had before: nil, nil for what the group itself says.
func RefreshLaunches(r *model.InstanceRefresh) (*model.ASGLaunchTemplate, *model.ASGMixedInstances) {
	switch {
	case r == nil || !r.Desired:
		return nil, nil
	case r.Status == model.RefreshRollbackInProgress:
		return r.Previous, r.PreviousMixed
	case r.MixedInstances != nil:
		return nil, r.MixedInstances
	}
	return &r.Template, nil
}

// refresh goes on with the group's instance refresh, if there is one.
func (s *scaler) refresh() {
	var list []*member
	r, serves := rate{}, (*member).ready
	if s.Refresh != nil && !s.suspended(InstanceRefresh) {
		v := *s.Refresh
		list = s.continueRefresh(&v)
		warm := s.warm(&v, set(v.ToReplace))
		serves = func(m *member) bool { return m.ready() && warm(m) }
		r = s.rateOf(v.MinHealthyPercentage, v.MaxHealthyPercentage, s.want)
		if !equalRefresh(&v, s.Refresh) {
			s.plan.Refresh = &v
			s.hold = v.Status != s.Refresh.Status && v.Status != model.RefreshInProgress
		}
	}
	s.replace(model.ASGAheadOfRefresh, list, r, serves, s.refreshed)
}

// refreshed is the cause of the end of a member that a refresh replaces.
func (p *planner) refreshed(m *member) string {
	return sentences(takenOut(p.now, byRefresh), selected(p.now, m.InstanceID))
}

func equalRefresh(a, b *model.InstanceRefresh) bool {
	return a.Status == b.Status && a.StatusReason == b.StatusReason && slices.Equal(a.ToReplace, b.ToReplace) && a.Total == b.Total
}

// since is when what the refresh launches began to be launched.
func since(v *model.InstanceRefresh) time.Time {
	if !v.RollbackAt.IsZero() {
		return v.RollbackAt
	}
	return v.StartedAt
}

// warm tells which members count as healthy for the refresh: those that it
// launched only after their warm-up, the old ones always.
func (s *scaler) warm(v *model.InstanceRefresh, old map[string]bool) func(*member) bool {
	begun, warmup := since(v), time.Duration(v.WarmupSeconds)*time.Second
	return func(m *member) bool {
		return old[m.InstanceID] || m.v.LaunchedAt.Before(begun) || s.due(m.v.StateSince.Add(warmup))
	}
}

// continueRefresh brings v to where it is now and gives the members that may
// be replaced.
func (s *scaler) continueRefresh(v *model.InstanceRefresh) []*member {
	end := func(status, reason string) []*member {
		v.Status, v.StatusReason, v.EndedAt = status, reason, s.now
		return nil
	}
	switch v.Status {
	case model.RefreshPending:
		if v.Cancelled {
			return end(model.RefreshCancelled, "Cancelled due to user request.")
		}
		s.beginRefresh(v)
	case model.RefreshInProgress:
		if v.Rollback && v.RollbackAt.IsZero() {
			s.rollBack(v, "Rolled back due to user request.")
		}
	}
	if v.Cancelled {
		v.Status, v.StatusReason = model.RefreshCancelling, "Cancelling due to user request."
		for i := range s.members {
			if m := &s.members[i]; m.live() && m.v.LifecycleState != model.ASGInService {
				return nil // what is launched is still to arrive
			}
		}
		return end(model.RefreshCancelled, "Cancelled due to user request.")
	}
	old := set(v.ToReplace)
	list, waits := s.account(v, old)
	if len(v.ToReplace) == 0 {
		if v.Status == model.RefreshRollbackInProgress {
			return end(model.RefreshRollbackSuccessful, v.RollbackReason)
		}
		s.plan.Adopt = v.Desired
		return end(model.RefreshSuccessful, "")
	}
	if waits != "" {
		v.StatusReason = waits
	}
	patience := refreshPatience + time.Duration(v.WarmupSeconds)*time.Second
	if s.due(latest(v.ProgressAt, since(v)).Add(patience)) {
		const reason = "Timed out waiting for instances to be replaced."
		switch {
		case v.Status == model.RefreshRollbackInProgress:
			return end(model.RefreshRollbackFailed, reason)
		case v.AutoRollback:
			s.rollBack(v, reason)
			return nil
		}
		return end(model.RefreshFailed, reason)
	}
	return list
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func set(ids []string) map[string]bool {
	out := make(map[string]bool, len(ids))
	for _, id := range ids {
		out[id] = true
	}
	return out
}

// beginRefresh settles which members are replaced.
func (s *scaler) beginRefresh(v *model.InstanceRefresh) {
	v.Status, v.ToReplace, v.ProgressAt = model.RefreshInProgress, nil, s.now
	for i := range s.members {
		m := &s.members[i]
		standby := m.v.LifecycleState == model.ASGStandby || m.v.LifecycleState == model.ASGEnteringStandby
		switch {
		case !m.live() && !standby,
			standby && (v.Standby == ignoreThem),
			m.v.Protected && v.ScaleInProtected == ignoreThem,
			v.SkipMatching && poolOf(s.Pools, &m.v) >= 0:
		default:
			v.ToReplace = append(v.ToReplace, m.InstanceID)
		}
	}
	v.Total = len(v.ToReplace)
}

// rollBack turns a refresh round: what it launched goes.
func (s *scaler) rollBack(v *model.InstanceRefresh, reason string) {
	v.Status, v.StatusReason = model.RefreshRollbackInProgress, reason
	v.RollbackAt, v.RollbackReason, v.ProgressAt = s.now, reason, s.now
	v.RollbackTotal = len(v.ToReplace)
	if v.Total > 0 {
		v.RollbackPercentage = 100 * (v.Total - len(v.ToReplace)) / v.Total
	}
	v.ToReplace = nil
	for i := range s.members {
		if m := &s.members[i]; m.live() && !m.v.LaunchedAt.Before(v.StartedAt) {
			v.ToReplace = append(v.ToReplace, m.InstanceID)
		}
	}
	v.Total = len(v.ToReplace)
}

// account drops from v.ToReplace the members that have left and whose
// successors serve. It gives those that may be replaced now, and what is waited
// for.
func (s *scaler) account(v *model.InstanceRefresh, old map[string]bool) (list []*member, waits string) {
	fresh := s.warm(v, old)
	there := map[string]bool{}
	missing, have := 0, 0
	for i := range s.members {
		m := &s.members[i]
		standby := m.v.LifecycleState == model.ASGStandby || m.v.LifecycleState == model.ASGEnteringStandby
		if old[m.InstanceID] && (standby && v.Standby == ignoreThem || m.live() && m.v.Protected && v.ScaleInProtected == ignoreThem) {
			continue
		}
		if old[m.InstanceID] && (m.live() || standby) {
			there[m.InstanceID] = true
			switch {
			case m.v.Protected && v.ScaleInProtected != "Refresh":
				waits = "Waiting for instances to be unprotected. For example: " + m.InstanceID + " is protected from scale in."
			case standby && (v.Standby != "Terminate" || s.suspended(Terminate)):
				waits = "Waiting for instances to exit standby. For example: " + m.InstanceID + " is in standby."
			case m.v.LifecycleState == model.ASGStandby:
				s.leave(m, s.refreshed(m))
				delete(there, m.InstanceID)
			case standby:
			case m.v.LifecycleState == model.ASGInService && !m.sick && m.v.Command.Name == "":
				list = append(list, m)
			}
			continue
		}
		if !m.live() {
			continue
		}
		have += m.weight()
		if !m.ready() || !fresh(m) {
			missing++
			if m.v.LifecycleState == model.ASGInService {
				waits = "Waiting for instances to warm up before continuing. For example: " + m.InstanceID + " is warming up."
			} else {
				waits = "Waiting for remaining instances to be available. For example: " + m.InstanceID + " is " + m.v.LifecycleState + "."
			}
		}
	}
	for i := range s.members {
		if m := &s.members[i]; old[m.InstanceID] && m.live() {
			have += m.weight()
		}
	}
	missing += max(0, s.want-have)
	keep := min(len(v.ToReplace), len(there)+missing)
	if keep < len(v.ToReplace) {
		var ids []string
		gone := len(v.ToReplace) - keep
		for _, id := range v.ToReplace {
			if gone > 0 && !there[id] {
				gone--
				continue
			}
			ids = append(ids, id)
		}
		v.ToReplace, v.ProgressAt, v.StatusReason = ids, s.now, ""
	}
	return list, waits
}
