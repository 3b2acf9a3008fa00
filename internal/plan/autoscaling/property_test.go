package autoscaling

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"roadstead.dev/internal/model"
)

// A group that is scaled, refreshed and reconfigured while its instances die,
// fall ill, are protected and are moved about at random never launches above
// its maximum beyond what is documented, never chooses protected instances, and
// never goes below the healthy percentage of a refresh by its own doing; left
// alone it has the capacity wanted, balanced over its zones, and stays so.
func TestNextProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zones := []string{"a", "b", "c"}[:rapid.IntRange(1, 3).Draw(t, "zones")]
		most := rapid.IntRange(1, 25).Draw(t, "max")
		w := newWorld(0, most, rapid.IntRange(0, most).Draw(t, "desired"), zones...)
		w.group.Spec.TerminationPolicies = []string{rapid.SampledFrom([]string{"Default", "OldestInstance", "NewestInstance", "OldestLaunchTemplate", "ClosestToNextInstanceHour", "AllocationStrategy"}).Draw(t, "policy")}
		w.group.Spec.HealthCheckType = "EC2,ELB"
		if rapid.Bool().Draw(t, "hooks") {
			w.group.Spec.LifecycleHooks = []model.ASGHook{
				{Name: "l", Transition: launching, DefaultResult: proceed, HeartbeatSeconds: 30},
				{Name: "t", Transition: terminating, DefaultResult: abandon, HeartbeatSeconds: 30},
			}
		}
		if rapid.Bool().Draw(t, "maintenance") {
			w.group.Spec.MinHealthyPercentage, w.group.Spec.MaxHealthyPercentage = new(rapid.SampledFrom([]int{50, 90, 100}).Draw(t, "least")), new(rapid.SampledFrom([]int{100, 110, 200}).Draw(t, "most"))
		}
		if rapid.Bool().Draw(t, "mixed") {
			w.pools[0].Spot = false
			w.pools = append(w.pools, Pool{Type: "t3.small", Weight: 1, Template: w.pools[0].Template})
			w.mixed = &model.ASGInstanceAllocation{
				OnDemandBase: rapid.IntRange(0, 3).Draw(t, "base"), OnDemandPercentAboveBase: rapid.IntRange(0, 100).Draw(t, "percent"),
				SpotAllocationStrategy: "price-capacity-optimized",
			}
			w.group.Spec.CapacityRebalance = true
		}
		w.group.Spec.TargetGroups = []string{"tg"}
		steps := 0
		step := func() {
			steps++
			before := w.snapshot()
			checkPlan(t, &before, w.step(), w)
		}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			w.pass(time.Duration(rapid.IntRange(0, 40).Draw(t, "seconds")) * time.Second)
			w.disturb(t)
			step()
		}
		// Left alone.
		w.slow, w.drains = false, false
		w.group.Suspended = map[string]string{}
		for _, m := range w.list {
			m.v.Protected, m.failed, m.ec2.Impaired, m.registered = false, false, false, min(m.registered, 0)
		}
		if !w.settle() {
			for _, m := range w.list {
				t.Logf("%+v %+v %d", *m.v, m.ec2, m.registered)
			}
			t.Fatalf("does not settle: %+v %+v %+v", w.group, w.refresh, w.activities[max(0, len(w.activities)-10):])
		}
		live, standby := w.in(model.ASGInService), w.in(model.ASGStandby)
		if live != w.group.Desired || live+standby != len(w.list) {
			t.Fatalf("%d in service of %d wanted, %d members", live, w.group.Desired, len(w.list))
		}
		for _, m := range w.list {
			if m.v.Ahead != "" {
				t.Fatalf("%s does not count yet: %s", m.v.InstanceID, m.v.Ahead)
			}
		}
		lowest, highest := live, 0
		for _, pl := range w.places {
			lowest, highest = min(lowest, w.in(pl.Zone)), max(highest, w.in(pl.Zone))
		}
		if highest-lowest > 1 {
			t.Fatalf("zones have %d to %d", lowest, highest)
		}
		for range 3 {
			w.pass(time.Minute)
			if p := w.step(); len(p.Steps)+len(p.Launches)+len(p.Terminate) > 0 {
				t.Fatalf("flaps: %+v", p)
			}
		}
	})
}

// checkPlan checks what holds for every plan.
func checkPlan(t *rapid.T, s *Snapshot, p Plan, w *world) {
	want := min(max(s.Group.Desired, s.Group.Spec.Min), s.Group.Spec.Max)
	counted, ahead := 0, map[string]int{}
	for _, m := range w.list {
		x := member{v: *m.v}
		switch {
		case !x.live():
		case m.v.Ahead != "":
			ahead[m.v.Ahead]++
		default:
			counted++
		}
	}
	beyond := 0
	for _, l := range p.Launches {
		if l.Ahead == "" {
			beyond++
		}
	}
	if beyond > 0 && counted > want {
		t.Fatalf("%d launched up to %d, but %d are wanted", beyond, counted, want)
	}
	if len(p.Launches) > beyond {
		margin := max(1, s.Group.Spec.Max/10)
		allowed := map[string]int{model.ASGAheadOfRebalance: margin, model.ASGAheadOfSpot: max(1, want/10)}
		if s.Group.Spec.MaxHealthyPercentage != nil {
			allowed[model.ASGAheadOfHealth] = max(1, want*(*s.Group.Spec.MaxHealthyPercentage-100)/100)
		}
		if s.Refresh != nil {
			allowed[model.ASGAheadOfRefresh] = max(1, want*(s.Refresh.MaxHealthyPercentage-100)/100)
		}
		for _, l := range p.Launches {
			kind, n := l.Ahead, ahead[l.Ahead]
			if kind != "" && n > allowed[kind] {
				t.Fatalf("%d launched ahead for %s, at most %d may be", n, kind, allowed[kind])
			}
		}
		if beyond > 0 || counted < want {
			t.Fatalf("launched ahead though %d are missing", max(beyond, want-counted))
		}
	}
	ready, out := 0, 0
	for _, m := range w.list {
		if m.v.LifecycleState == model.ASGInService && m.v.HealthStatus == healthy && !m.ec2.gone() {
			ready++
		}
	}
	for _, st := range p.Steps {
		if st.Begin == nil {
			continue
		}
		var was Instance
		for i := range s.Instances {
			if s.Instances[i].InstanceID == st.V.InstanceID {
				was = s.Instances[i]
			}
		}
		chosen := strings.Contains(st.Begin.Cause, "selected for termination")
		if chosen && was.Protected && (s.Refresh == nil || s.Refresh.ScaleInProtected != "Refresh") {
			t.Fatalf("protected %s is chosen: %s", was.InstanceID, st.Begin.Cause)
		}
		if x := (member{v: *was.ASGInstance}); st.V.HealthStatus == healthy && x.live() && !was.EC2.gone() {
			ready++ // what else goes is not the refresh's doing
			if strings.Contains(st.Begin.Cause, byRefresh) {
				out++
			}
		}
	}
	if out > 0 {
		planner := planner{Snapshot: *s, members: make([]member, 0)}
		r := planner.rateOf(s.Refresh.MinHealthyPercentage, s.Refresh.MaxHealthyPercentage, want)
		if ready-out < want-r.out {
			t.Fatalf("%d of %d healthy after the refresh took out %d, at least %d must be", ready-out, want, out, want-r.out)
		}
	}
}

// disturb changes something at random.
func (w *world) disturb(t *rapid.T) {
	pick := func() *machine {
		if len(w.list) == 0 {
			return nil
		}
		return w.list[rapid.IntRange(0, len(w.list)-1).Draw(t, "instance")]
	}
	m := pick()
	switch rapid.IntRange(0, 15).Draw(t, "event") {
	case 0, 1:
		w.group.Desired = rapid.IntRange(0, w.group.Spec.Max).Draw(t, "desired")
		w.group.DesiredReason = fmt.Sprintf("At %s a user.", Stamp(w.now))
	case 2:
		if m != nil {
			m.ec2.State, m.ec2.Ending = model.InstanceTerminated, true
		}
	case 3:
		if m != nil && m.ec2.State == model.InstanceRunning {
			m.failed = !m.failed
		}
	case 4:
		if m != nil {
			m.v.Protected = !m.v.Protected
		}
	case 5:
		process := rapid.SampledFrom([]string{Launch, Terminate, HealthCheck, ReplaceUnhealthy, AZRebalance, InstanceRefresh, AddToLoadBalancer}).Draw(t, "process")
		if _, ok := w.group.Suspended[process]; ok {
			delete(w.group.Suspended, process)
		} else {
			w.group.Suspended[process] = ""
		}
	case 6:
		w.slow = !w.slow
	case 7:
		w.drains = !w.drains
	case 8:
		if n := len(w.places); n > 1 {
			w.places = append(w.places[1:n:n], w.places[0])
			w.places = w.places[:max(1, rapid.IntRange(1, n).Draw(t, "zones"))]
		}
	case 9:
		if m != nil && m.v.Command.Name == "" {
			name := ""
			switch m.v.LifecycleState {
			case model.ASGInService:
				name = rapid.SampledFrom([]string{model.ASGTerminate, model.ASGDetach, model.ASGEnterStandby}).Draw(t, "command")
			case model.ASGStandby:
				name = rapid.SampledFrom([]string{model.ASGTerminate, model.ASGDetach, model.ASGExitStandby}).Draw(t, "command")
			}
			if name != "" {
				m.v.Command, m.v.Activity = model.ASGCommand{Name: name}, "told"
			}
		}
	case 10:
		if m != nil && m.v.Spot {
			m.ec2.NoticeAt = w.now.Add(2 * time.Minute)
		}
	case 11:
		if w.refresh == nil || !w.refresh.EndedAt.IsZero() {
			w.refresh = &model.InstanceRefresh{
				ID: "r", Status: model.RefreshPending, StartedAt: w.now,
				MinHealthyPercentage: rapid.SampledFrom([]int{0, 50, 90, 100}).Draw(t, "min healthy"),
				MaxHealthyPercentage: rapid.SampledFrom([]int{100, 125, 200}).Draw(t, "max healthy"),
				WarmupSeconds:        rapid.IntRange(0, 60).Draw(t, "warm-up"),
				ScaleInProtected:     rapid.SampledFrom([]string{"Refresh", "Ignore", "Wait"}).Draw(t, "protected"),
				Standby:              rapid.SampledFrom([]string{"Terminate", "Ignore"}).Draw(t, "standby"),
			}
		} else {
			w.refresh.Cancelled = true
		}
	case 12:
		if m != nil && m.v.LifecycleState == model.ASGInService {
			m.v.HealthStatus = unhealthy
		}
	default:
		for _, x := range w.list {
			if !w.drains {
				if x.v.LifecycleState != model.ASGInService {
					x.registered = 0
				}
			}
		}
	}
}
