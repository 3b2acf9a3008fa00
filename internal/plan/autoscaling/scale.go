package autoscaling

import (
	"time"

	"roadstead.dev/internal/model"
)

// rate is how many units at once may be missing from the desired capacity, and
// how many may be launched beyond it, while instances are replaced.
type rate struct{ out, ahead int }

// rateOf is the rate of healthy percentages. One instance at least is always
// replaced.
func (p *planner) rateOf(minHealthy, maxHealthy, want int) rate {
	r := rate{out: want * (100 - minHealthy) / 100, ahead: want * (maxHealthy - 100) / 100}
	switch {
	case maxHealthy > 100:
		r.ahead = max(r.ahead, 1)
	case r.out == 0:
		r.out = 1
	}
	if r.out > 0 {
		// An instance that weighs more would never go.
		r.out = max(r.out, p.heaviest())
	}
	return r
}

func (p *planner) heaviest() int {
	w := 1
	for i := range p.members {
		w = max(w, p.members[i].weight())
	}
	return w
}

// margin is how many instances a group may have above its maximum while it is
// balanced.
func (p *planner) margin() int { return max(1, p.Group.Spec.Max/10) }

// want is the capacity that the group is to have.
func (p *planner) want() int {
	return min(max(p.Group.Desired, p.Group.Spec.Min), p.Group.Spec.Max)
}

// scaler holds what one plan counts.
type scaler struct {
	*planner
	want int
	// counted are the units of the capacity.
	counted int
	// owed tells for whose sake launches fill gaps, one for each.
	owed []string
	// extra are launches beyond the desired capacity.
	extra []string
	// busy: instances are being replaced. steady: the capacity is as near to
	// the desired one as it can be. hold: what is to be launched has changed.
	busy, steady, hold bool
}

// scale brings the group to its desired capacity, and replaces instances.
func (p *planner) scale() {
	s := &scaler{planner: p, want: p.want()}
	s.replaceSick()
	s.replaceNoticed()
	s.refresh()
	s.replaceOld()
	for i := range p.members {
		if m := &p.members[i]; m.live() && m.v.Ahead == "" {
			s.counted += m.weight()
		}
	}
	s.promote()
	if s.counted >= s.want {
		s.shrink()
	}
	s.balance()
	s.launch()
}

// standIns are the members that were launched ahead of others for a purpose.
func (p *planner) standIns(kind string) []*member {
	var out []*member
	for i := range p.members {
		if m := &p.members[i]; m.live() && m.v.Ahead == kind {
			out = append(out, m)
		}
	}
	return out
}

func (m *member) count() { m.v.Ahead, m.changed = "", true }

// replace lets members leave, as far as enough of those that serve stay, and
// has others launched ahead of them.
func (s *scaler) replace(kind string, list []*member, r rate, serves func(*member) bool, cause func(*member) string) {
	stand := s.standIns(kind)
	var able, coming []*member
	for _, m := range stand {
		if m.ready() {
			able = append(able, m)
		} else {
			coming = append(coming, m)
		}
	}
	left := len(list)
	if left > 0 {
		s.busy = true
	}
	if left > 0 && !s.suspended(Terminate) {
		c := s.choose(list, s.all((*member).live))
		serving := 0
		for _, m := range s.all(serves) {
			serving += m.weight()
		}
		for m := c.next(); m != nil; m = c.next() {
			if serves(m) {
				if serving-m.weight() < s.want-r.out {
					break
				}
				serving -= m.weight()
			}
			s.leave(m, cause(m))
			left--
			if len(able) > 0 {
				able[0].count()
				able = able[1:]
			} else {
				s.owed = append(s.owed, kind)
			}
		}
	}
	// Those for whom nobody is left to go count from now on.
	spare := append(coming, able...)
	for len(spare) > left {
		spare[len(spare)-1].count()
		spare = spare[:len(spare)-1]
	}
	for range min(left, r.ahead) - len(spare) {
		s.extra = append(s.extra, kind)
	}
}

func (p *planner) all(keep func(*member) bool) []*member {
	var out []*member
	for i := range p.members {
		if m := &p.members[i]; keep(m) {
			out = append(out, m)
		}
	}
	return out
}

// serves tells whether a member's instance serves, be it well or not.
func (m *member) serves() bool { return m.v.LifecycleState == model.ASGInService && !m.EC2.gone() }

// replaceSick replaces members that are unhealthy: at once, unless the group's
// maintenance policy says otherwise.
func (s *scaler) replaceSick() {
	spec := &s.Group.Spec
	var list []*member
	for i := range s.members {
		m := &s.members[i]
		switch {
		case !m.sick:
		case m.EC2.gone() || spec.MinHealthyPercentage == nil || spec.MaxHealthyPercentage == nil:
			s.leave(m, s.unfit(m))
			s.owed = append(s.owed, model.ASGAheadOfHealth)
		default:
			list = append(list, m)
		}
	}
	r := rate{}
	if len(list) > 0 {
		r = s.rateOf(*spec.MinHealthyPercentage, *spec.MaxHealthyPercentage, s.want)
	}
	s.replace(model.ASGAheadOfHealth, list, r, (*member).serves, s.unfit)
}

// replaceNoticed replaces Spot instances that have notice, before they end.
func (s *scaler) replaceNoticed() {
	var list []*member
	if s.Group.Spec.CapacityRebalance {
		list = s.all(func(m *member) bool { return m.ready() && !m.EC2.NoticeAt.IsZero() && m.v.Command.Name == "" })
	}
	s.replace(model.ASGAheadOfSpot, list, rate{ahead: max(1, s.want/10)}, (*member).ready, func(m *member) string {
		return takenOut(s.now, bySpot)
	})
}

// replaceOld replaces members that are past their lifetime.
func (s *scaler) replaceOld() {
	spec := &s.Group.Spec
	life := time.Duration(spec.MaxInstanceLifetimeSecond) * time.Second
	var list []*member
	for i := range s.members {
		m := &s.members[i]
		if life > 0 && m.ready() && mayLeave(m) && s.due(m.v.LaunchedAt.Add(life)) {
			list = append(list, m)
		}
	}
	r := rate{out: max(1, s.want/10, s.heaviest())}
	if spec.MinHealthyPercentage != nil && spec.MaxHealthyPercentage != nil {
		r = s.rateOf(*spec.MinHealthyPercentage, *spec.MaxHealthyPercentage, s.want)
	}
	s.replace(model.ASGAheadOfLifetime, list, r, (*member).ready, func(m *member) string {
		return sentences(takenOut(s.now, byAge), selected(s.now, m.InstanceID))
	})
}

// promote counts members that were launched ahead of others when the group
// lacks capacity.
func (s *scaler) promote() {
	for i := range s.members {
		if s.counted >= s.want {
			return
		}
		if m := &s.members[i]; m.live() && m.v.Ahead != "" {
			m.count()
			s.counted += m.weight()
		}
	}
}

// shrink lets go what is beyond the desired capacity.
func (s *scaler) shrink() {
	excess := s.counted - s.want
	if excess == 0 || s.suspended(Terminate) {
		s.steady = excess == 0
		s.settled()
		return
	}
	candidates := s.all(mayLeave)
	c := s.choose(candidates, s.all(func(m *member) bool { return m.live() && m.v.Ahead == "" }))
	from := s.counted
	s.steady = len(candidates) > 0
	for m := c.next(); m != nil && excess > 0; m = c.next() {
		if m.weight() > excess {
			continue
		}
		s.leave(m, s.shrinks(from, s.want, m.InstanceID))
		excess -= m.weight()
		s.counted -= m.weight()
		s.steady = false
	}
	s.settled()
	switch {
	case excess == 0 || len(candidates) > 0:
	case s.plan.Status.Stuck != s.stuck():
		s.plan.Status.Stuck = s.stuck()
		s.plan.Told = append(s.plan.Told, Activity{
			Description: "Could not scale to desired capacity because all remaining instances are protected from scale-in.",
			Cause:       sentences(s.reason(), "At "+Stamp(s.now)+" a difference between desired and actual capacity could not be resolved."),
			Progress:    Progress{Code: Cancelled, Percent: 100, Ended: true},
		})
	}
}

// stuck names the change that cannot be brought about.
func (p *planner) stuck() string {
	if p.Group.DesiredReason == "" {
		return "-"
	}
	return p.Group.DesiredReason
}

// settled notes that the desired capacity is there, and why it was wanted was
// told.
func (s *scaler) settled() {
	if !s.steady {
		return
	}
	s.plan.Status.Told, s.plan.Status.Stuck = s.Group.DesiredReason, ""
}

// balance moves members between zones: one is launched in another zone, and
// when it serves one of the fullest zone goes.
func (s *scaler) balance() {
	kind := model.ASGAheadOfRebalance
	stand := s.standIns(kind)
	var from []string
	if s.steady && !s.busy && s.Refresh == nil && !s.suspended(AZRebalance) && !s.suspended(Launch) {
		from = s.count(func(m *member) bool { return m.live() && m.v.Ahead != kind }).moves(s.margin())
	}
	for len(stand) > len(from) {
		stand[len(stand)-1].count()
		stand = stand[:len(stand)-1]
	}
	for range len(from) - len(stand) {
		s.extra = append(s.extra, kind)
	}
	if s.suspended(Terminate) {
		return
	}
	choosers := map[string]*chooser{}
	for _, m := range stand {
		if !m.ready() {
			continue
		}
		zone := from[0]
		from = from[1:]
		if choosers[zone] == nil {
			candidates := s.all(func(x *member) bool {
				return mayLeave(x) && x.v.Zone == zone && x.v.LifecycleState == model.ASGInService
			})
			choosers[zone] = s.choose(candidates, candidates)
		}
		goes := choosers[zone].next()
		if goes == nil {
			continue
		}
		s.leave(goes, s.balanced(zone, s.want+len(stand), s.want, goes.InstanceID))
		m.count()
	}
}

// launch chooses what is launched, and where.
func (s *scaler) launch() {
	st := &s.Group.Status
	lacks := s.want - s.counted
	if lacks <= 0 && len(s.extra) == 0 || s.hold || s.suspended(Launch) {
		return
	}
	if s.plan.Status.Failures > 0 {
		if s.plan.Status.Failures != st.Failures {
			s.wake(s.now.Add(Backoff(s.plan.Status.Failures)))
			return
		}
		if !s.due(st.FailedAt.Add(Backoff(st.Failures))) {
			return
		}
	}
	if len(s.Places) == 0 || len(s.Pools) == 0 {
		s.plan.Unable = s.grows(s.counted, s.want)
		return
	}
	live := s.all((*member).live)
	shop := s.shop(live)
	places := s.count((*member).live)
	from := s.counted
	for lacks > 0 && len(s.plan.Launches) < launchesAtOnce {
		pool, spot := shop.next()
		cause := s.grows(from, s.want)
		if len(s.owed) > 0 {
			if s.reason() == "" {
				cause = s.launched(s.owed[0])
			}
			s.owed = s.owed[1:]
		}
		s.plan.Launches = append(s.plan.Launches, Start{Place: places.next(), Pool: pool, Spot: spot, Cause: cause})
		lacks -= pool.Weight
	}
	if s.counted < s.want {
		return // first what is missing, then what is launched ahead of others
	}
	for _, kind := range s.extra {
		var cause string
		if kind == model.ASGAheadOfRebalance {
			cause = s.balancing(places.zones, places.zone)
		} else {
			cause = s.launched(kind)
		}
		pool, spot := shop.next()
		s.plan.Launches = append(s.plan.Launches, Start{Place: places.next(), Pool: pool, Spot: spot, Ahead: kind, Cause: cause})
	}
}
