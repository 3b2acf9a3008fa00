// Package managedscaling decides how many instances the Auto Scaling group of
// an ECS capacity provider should have. Next is a pure function of a Snapshot
// and the time.
//
// On AWS the decision is spread over three: ECS publishes the metric
// CapacityProviderReservation every minute, two alarms watch it, and a target
// tracking policy, ECSManagedAutoScalingPolicy-…, changes the group's desired
// capacity. Here the metric is applied where it is computed, as the alarms and
// the policy would.
//
// AWS's rules: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/managed-scaling-behavior.html
// and https://aws.amazon.com/blogs/containers/deep-dive-on-amazon-ecs-cluster-auto-scaling/
package managedscaling

import (
	"time"

	"roadstead.dev/internal/model"
)

const (
	// Period is how often AWS has a datapoint, and so a decision.
	Period = time.Minute
	// datapoints below the target in a row let the group shrink.
	datapoints = 15
	// fromNothing is the reservation of a group without instances that tasks
	// wait for.
	fromNothing = 200
)

// Snapshot is all that a decision rests on.
type Snapshot struct {
	// Settings are the provider's; it scales.
	Settings model.ManagedScaling
	// Min, Max and Desired are the group's.
	Min, Max, Desired int
	// Instances are the group's that are not on their way out.
	Instances []Instance
	// Waiting are the tasks that wait for an instance of the provider.
	Waiting []Task
	// Sizes are those that the group's instances may have; empty where nobody
	// knows.
	Sizes []Size
	State State
	// Period is how often there is a decision; zero means Period.
	Period time.Duration
}

// Instance is an instance of the group.
type Instance struct {
	// InService: it is there, and not still launching.
	InService  bool
	LaunchedAt time.Time
	// Busy: a task is on it that is no daemon's.
	Busy bool
}

// State is what a decision must remember of the ones before.
type State struct {
	// LowSince is when the first of the datapoints in a row was that are below
	// the target; zero while the last was not.
	LowSince time.Time `json:"lowSince,omitzero"`
}

// Plan is what follows.
type Plan struct {
	// Reservation is the CapacityProviderReservation, in percent.
	Reservation float64
	// Desired is the capacity that the group should have: what it has, mostly.
	Desired int
	State   State
}

// Next decides what the group's desired capacity should be at now. It is asked
// once a period.
//
// With N instances that are past their warm-up, of which M are needed, the
// reservation is M / N × 100, and the group gets as many instances as bring it
// to the target capacity. M counts the instances that have tasks, or, when
// tasks wait, all N and those that the waiting tasks need besides. A group
// without instances is at its target while no task waits, and at 200 when one
// does. AWS has 100 for the former, and so keeps making and ending instances
// of an idle group whose target is less.
func Next(s Snapshot, now time.Time) Plan {
	if s.Period == 0 {
		s.Period = Period
	}
	target := float64(s.Settings.TargetCapacity)
	p := Plan{Desired: s.Desired, Reservation: target}
	warm, busy, warming := s.count(now)
	more := s.clamp(needed(s.Waiting, s.Sizes))
	need := busy
	switch {
	case more > 0 && warm == 0:
		p.Reservation = fromNothing
	case more > 0:
		need = warm + more
		fallthrough
	case warm > 0:
		p.Reservation = float64(need) / float64(warm) * 100
	}
	// What brings the reservation to the target, or just below.
	want := ratio(max(warm, 1), p.Reservation, target)
	if warm == 0 && more == 0 {
		want = 0
	}
	switch {
	case p.Reservation > target:
		if more == 0 {
			want = warm + s.clamp(want-warm)
		}
		// Instances that warm up are the capacity that is on its way: nobody
		// knows yet what will still be needed beside them.
		if warming == 0 {
			p.Desired = max(s.Desired, min(want, s.Max))
		}
	case want < warm:
		p.State.LowSince = s.State.LowSince
		if p.State.LowSince.IsZero() {
			p.State.LowSince = now
		}
		if now.Sub(p.State.LowSince) >= (datapoints-1)*s.Period {
			// At least one, and at most half of them at once.
			leave := min(warm-want, max(warm/2, 1))
			p.Desired = min(s.Desired, max(warm+warming-leave, s.Min))
		}
	}
	return p
}

// count tells how many instances count, how many of those are busy, and how
// many warm up: they are launching, or have been there for less than the
// warm-up period.
func (s *Snapshot) count(now time.Time) (warm, busy, warming int) {
	for _, i := range s.Instances {
		switch {
		case !i.InService || now.Sub(i.LaunchedAt) < time.Duration(s.Settings.WarmupSeconds)*time.Second:
			warming++
		case i.Busy:
			busy++
			warm++
		default:
			warm++
		}
	}
	return warm, busy, warming
}

// clamp holds a number of instances to add to the step sizes; none stays none.
func (s *Snapshot) clamp(n int) int {
	if n <= 0 {
		return 0
	}
	return min(max(n, s.Settings.MinimumStep), s.Settings.MaximumStep)
}

// ratio is the number of instances that brings a reservation of n instances
// to the target, rounded up.
func ratio(n int, reservation, target float64) int {
	exact := float64(n) * reservation / target
	up := int(exact)
	if exact-float64(up) > 1e-9 {
		up++
	}
	return up
}
