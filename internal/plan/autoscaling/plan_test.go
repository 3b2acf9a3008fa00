package autoscaling

import (
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/model"
)

func settled(t *testing.T, w *world) {
	t.Helper()
	if !w.settle() {
		for _, m := range w.list {
			t.Logf("%+v %+v", *m.v, m.ec2)
		}
		t.Fatalf("does not settle: %+v", w.group.Status)
	}
}

func TestScaleOutAndIn(t *testing.T) {
	w := newWorld(0, 10, 5, "a", "b", "c")
	w.group.DesiredReason = "At X a user request created an AutoScalingGroup changing the desired capacity from 0 to 5."
	settled(t, w)
	if w.in("a") != 2 || w.in("b") != 2 || w.in("c") != 1 {
		t.Errorf("zones %d %d %d", w.in("a"), w.in("b"), w.in("c"))
	}
	want := w.group.DesiredReason + "  At 2026-01-02T03:04:05Z an instance was started in response to a difference between desired and actual capacity, increasing the capacity from 0 to 5."
	if !w.told(want) {
		t.Errorf("activities %q", w.activities)
	}
	w.group.Desired, w.group.DesiredReason = 2, "At Y it was less."
	w.step()
	if w.in(model.ASGInService) != 2 || w.in("c") == 0 && w.in("a") == 2 {
		t.Errorf("zones %d %d %d", w.in("a"), w.in("b"), w.in("c"))
	}
	if !w.told("Terminating EC2 instance: i-") || !w.told("At Y it was less.  At 2026-01-02T03:04:20Z an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from 5 to 2.  At 2026-01-02T03:04:20Z instance i-") {
		t.Errorf("activities %q", w.activities)
	}
	settled(t, w)
	if w.group.Status.Told != w.group.DesiredReason || w.group.Status.ScaledAt.IsZero() {
		t.Errorf("%+v", w.group.Status)
	}
	// What follows has causes of its own.
	w.list[0].ec2.State = model.InstanceTerminated
	w.activities = nil
	w.step()
	if !w.told("in response to an EC2 health check indicating it has been terminated or stopped.") || !w.told("an instance was launched in response to an unhealthy instance needing to be replaced.") || w.told("At Y") {
		t.Errorf("activities %q", w.activities)
	}
}

func TestTerminationPolicies(t *testing.T) {
	type of struct {
		zone, version, lt string
		age               time.Duration
		protected         bool
	}
	for name, tt := range map[string]struct {
		policies []string
		list     []of
		goes     int
	}{
		"the fullest zone first":           {[]string{"OldestInstance"}, []of{{zone: "a", age: 9 * time.Hour}, {zone: "b", age: time.Hour}, {zone: "b", age: 2 * time.Hour}}, 2},
		"default: the oldest template":     {[]string{"Default"}, []of{{version: "2", age: 59 * time.Minute}, {version: "1", age: time.Minute}}, 1},
		"default: closest to the hour":     {[]string{"Default"}, []of{{age: 61 * time.Minute}, {age: 58 * time.Minute}, {age: 5 * time.Minute}}, 1},
		"another template before the old":  {[]string{"OldestLaunchTemplate"}, []of{{version: "1"}, {lt: "lt-2", version: "9"}}, 1},
		"oldest instance":                  {[]string{"OldestInstance"}, []of{{age: time.Minute}, {age: time.Hour}}, 1},
		"newest instance":                  {[]string{"NewestInstance"}, []of{{age: time.Hour}, {age: time.Minute}}, 1},
		"the next policy breaks ties":      {[]string{"OldestLaunchTemplate", "NewestInstance"}, []of{{age: time.Hour}, {age: time.Minute}, {version: "2", age: time.Second}}, 1},
		"no launch configurations":         {[]string{"OldestLaunchConfiguration", "OldestInstance"}, []of{{age: time.Minute}, {age: time.Hour}}, 1},
		"hour":                             {[]string{"ClosestToNextInstanceHour"}, []of{{age: 70 * time.Minute}, {age: 110 * time.Minute}}, 1},
		"protected in the fullest zone":    {[]string{"OldestInstance"}, []of{{zone: "a"}, {zone: "b", age: time.Hour, protected: true}, {zone: "b", age: time.Minute}}, 2},
		"only the fullest zone's are safe": {[]string{"OldestInstance"}, []of{{zone: "a"}, {zone: "b", protected: true}, {zone: "b", protected: true}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(0, 9, len(tt.list)-1, "a", "b")
			w.group.Suspended[AZRebalance] = ""
			w.group.Spec.TerminationPolicies = tt.policies
			for _, o := range tt.list {
				if o.zone == "" {
					o.zone = "a"
				}
				m := w.launch(Start{Place: Place{Zone: o.zone}, Pool: w.pools[0]})
				m.v.LifecycleState, m.v.LaunchedAt, m.v.Protected, m.ec2.State = model.ASGInService, w.now.Add(-o.age), o.protected, model.InstanceRunning
				m.v.Activity = ""
				if o.version != "" {
					m.v.Template.Version = o.version
				}
				if o.lt != "" {
					m.v.Template.ID = o.lt
				}
			}
			w.step()
			for i, m := range w.list {
				if leaves := m.v.LifecycleState == model.ASGTerminating; leaves != (i == tt.goes) {
					t.Errorf("%d: %s", i, m.v.LifecycleState)
				}
			}
		})
	}
}

func TestAllProtected(t *testing.T) {
	w := newWorld(0, 9, 3, "a")
	w.group.Spec.NewInstancesProtected = true
	settled(t, w)
	w.group.Desired, w.group.DesiredReason = 1, "At X."
	w.activities = nil
	settled(t, w)
	n := 0
	for _, a := range w.activities {
		if a == "Could not scale to desired capacity because all remaining instances are protected from scale-in." {
			n++
		}
	}
	if n != 1 || w.in(model.ASGInService) != 3 {
		t.Errorf("%q", w.activities)
	}
	w.list[1].v.Protected = false
	settled(t, w)
	if w.in(model.ASGInService) != 2 {
		t.Errorf("%d in service", w.in(model.ASGInService))
	}
}

func TestBalanceLaunchesFirst(t *testing.T) {
	w := newWorld(1, 4, 4, "a")
	settled(t, w)
	w.places = append(w.places, Place{Zone: "b", SubnetID: "subnet-b"})
	w.slow, w.activities = true, nil
	w.step()
	w.pass(time.Second)
	w.step()
	if w.in(model.ASGPending) != 1 || w.in(model.ASGInService) != 4 {
		t.Fatalf("%d pending, %d in service", w.in(model.ASGPending), w.in(model.ASGInService))
	}
	if !w.told("availability zones a b had 4 0 instances respectively. An instance was launched to aid in balancing the group's zones.") {
		t.Errorf("%q", w.activities)
	}
	w.slow = false
	settled(t, w)
	if w.in("a") != 2 || w.in("b") != 2 || !w.told("instances were launched to balance instances in zones a with other zones") {
		t.Errorf("%d %d %q", w.in("a"), w.in("b"), w.activities)
	}
	// A zone that is no longer the group's is left.
	w.places = w.places[1:]
	settled(t, w)
	if w.in("b") != 4 || len(w.list) != 4 {
		t.Errorf("%d of %d", w.in("b"), len(w.list))
	}
}

// What was launched ahead of others is not what scale-in chooses.
func TestScaleInSparesStandIns(t *testing.T) {
	w := newWorld(0, 9, 3, "a")
	w.group.Spec.TerminationPolicies = []string{"NewestInstance"}
	settled(t, w)
	m := w.launch(Start{Place: w.places[0], Pool: w.pools[0], Ahead: model.ASGAheadOfRebalance})
	w.group.Desired = 2
	if w.step(); m.v.LifecycleState != model.ASGPending || w.in(model.ASGTerminating) != 1 {
		t.Errorf("%+v", m.v)
	}
}

func TestHooks(t *testing.T) {
	hook := func(name, transition, result string) model.ASGHook {
		return model.ASGHook{Name: name, Transition: transition, DefaultResult: result, HeartbeatSeconds: 60, GlobalTimeoutSeconds: 6000}
	}
	start := func(hooks ...model.ASGHook) *world {
		w := newWorld(0, 3, 1, "a")
		w.group.Spec.LifecycleHooks = hooks
		w.step()
		w.pass(time.Second)
		w.step()
		return w
	}
	t.Run("continue", func(t *testing.T) {
		w := start(hook("h", launching, abandon), hook("k", launching, abandon))
		if w.in(model.ASGPendingWait) != 1 || len(w.list[0].v.HookActions) != 2 {
			t.Fatalf("%+v", w.list[0].v)
		}
		w.list[0].v.HookActions[0].Result = proceed
		w.step()
		if w.in(model.ASGPendingWait) != 1 {
			t.Fatal("went on with one of two")
		}
		w.list[0].v.HookActions[1].Result = proceed
		w.step()
		if w.in(model.ASGPendingProceed) != 1 {
			t.Fatalf("%+v", w.list[0].v)
		}
		w.step()
		if w.in(model.ASGInService) != 1 {
			t.Fatalf("%+v", w.list[0].v)
		}
	})
	t.Run("abandon", func(t *testing.T) {
		w := start(hook("h", launching, proceed), hook("k", launching, proceed))
		w.list[0].v.HookActions[1].Result = abandon
		w.step()
		if w.in(model.ASGTerminating) != 1 || !w.told("Instance failed to complete user's Lifecycle Action: Lifecycle Action with token token was abandoned: Lifecycle Action Completed with ABANDON Result") {
			t.Fatalf("%+v %q", w.list[0].v, w.activities)
		}
		if p := w.step(); len(p.Launches) != 0 || p.Wake.IsZero() {
			t.Errorf("no pause after a failure: %+v", p)
		}
	})
	t.Run("heartbeat timeout", func(t *testing.T) {
		w := start(hook("h", launching, abandon))
		if p := w.step(); !p.Wake.Equal(w.list[0].v.HookActions[0].ExpiresAt) {
			t.Fatalf("wake %v", p.Wake)
		}
		w.pass(time.Minute)
		w.step()
		if !w.told("was abandoned: Heartbeat Timeout") {
			t.Errorf("%q", w.activities)
		}
	})
	t.Run("global timeout", func(t *testing.T) {
		w := start(hook("h", launching, proceed))
		w.list[0].v.HookActions[0].ExpiresAt = w.now.Add(100 * time.Hour) // heartbeats
		w.pass(99 * time.Minute)
		if w.step(); w.in(model.ASGPendingWait) != 1 {
			t.Fatal("too early")
		}
		w.pass(time.Minute)
		if w.step(); w.in(model.ASGPendingProceed) != 1 {
			t.Fatalf("%+v", w.list[0].v)
		}
	})
	t.Run("terminating", func(t *testing.T) {
		w := start(hook("h", terminating, abandon))
		settled(t, w)
		w.group.Desired = 0
		w.step()
		w.step()
		if w.in(model.ASGTerminatingWait) != 1 || w.list[0].ec2.Ending {
			t.Fatalf("%+v", w.list[0].v)
		}
		w.list[0].v.HookActions[0].Result = abandon
		w.step()
		if w.in(model.ASGTerminatingProceed) != 1 || !w.list[0].ec2.Ending {
			t.Fatalf("%+v", w.list[0].v)
		}
		settled(t, w)
		if len(w.list) != 0 {
			t.Error("still there")
		}
	})
	t.Run("deleted hooks", func(t *testing.T) {
		w := start(hook("h", launching, proceed))
		w.group.Spec.LifecycleHooks = nil
		if w.step(); w.in(model.ASGTerminating) != 1 {
			t.Errorf("%+v", w.list[0].v)
		}
	})
}

func TestHealth(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*world, *machine)
		wait   time.Duration
		cause  string
	}{
		"stopped":                 {func(_ *world, m *machine) { m.ec2.State = model.InstanceStopped }, 0, byEC2},
		"forgotten":               {func(_ *world, m *machine) { m.ec2.State = "" }, 0, byEC2},
		"set by the user":         {func(_ *world, m *machine) { m.v.HealthStatus = unhealthy }, 0, byUser},
		"impaired in the grace":   {func(_ *world, m *machine) { m.ec2.Impaired = true }, 4 * time.Minute, ""},
		"impaired":                {func(_ *world, m *machine) { m.ec2.Impaired = true }, 7 * time.Minute, byStatus},
		"ELB in the grace":        {func(_ *world, m *machine) { m.failed = true }, 4 * time.Minute, ""},
		"ELB":                     {func(_ *world, m *machine) { m.failed = true }, 6 * time.Minute, byELB},
		"ELB does not count":      {func(w *world, m *machine) { m.failed, w.group.Spec.HealthCheckType = true, "EC2" }, 6 * time.Minute, ""},
		"checks are suspended":    {func(w *world, m *machine) { m.failed, w.group.Suspended[HealthCheck] = true, "" }, 6 * time.Minute, ""},
		"replacing is suspended":  {func(w *world, m *machine) { m.failed, w.group.Suspended[ReplaceUnhealthy] = true, "" }, 6 * time.Minute, ""},
		"protected all the same":  {func(_ *world, m *machine) { m.failed, m.v.Protected = true, true }, 6 * time.Minute, byELB},
		"terminate is suspended":  {func(w *world, m *machine) { m.failed, w.group.Suspended[Terminate] = true, "" }, 6 * time.Minute, ""},
		"well in spite of notice": {func(_ *world, m *machine) { m.ec2.NoticeAt = t0.Add(time.Hour) }, time.Minute, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(0, 4, 2, "a", "b")
			w.group.Spec.HealthCheckType, w.group.Spec.HealthCheckGraceSeconds = "EC2,ELB", 300
			settled(t, w)
			m := w.list[0]
			w.activities = nil
			tt.change(w, m)
			w.step()
			for range int(tt.wait / time.Minute) {
				w.pass(time.Minute)
				w.step()
			}
			if tt.cause == "" {
				if w.at(m.v.InstanceID) == nil || len(w.activities) != 0 {
					t.Errorf("%q", w.activities)
				}
				return
			}
			settled(t, w)
			if w.at(m.v.InstanceID) != nil || !w.told("an instance was taken out of service "+tt.cause) || w.in(model.ASGInService) != 2 {
				t.Errorf("%q", w.activities)
			}
		})
	}
}

// A maintenance policy with 100 % has the replacement serve first.
func TestMaintenancePolicy(t *testing.T) {
	w := newWorld(0, 4, 4, "a", "b")
	w.group.Spec.MinHealthyPercentage, w.group.Spec.MaxHealthyPercentage = new(100), new(125)
	settled(t, w)
	w.list[0].v.HealthStatus = unhealthy
	w.step()
	if w.in(model.ASGInService) != 4 || w.in(model.ASGPending) != 1 {
		t.Fatalf("%d in service, %d pending", w.in(model.ASGInService), w.in(model.ASGPending))
	}
	settled(t, w)
	if w.in(model.ASGInService) != 4 || w.at("i-0001") != nil {
		t.Errorf("%d in service", w.in(model.ASGInService))
	}
	// What is gone has no reason to wait.
	w.list[0].ec2.State = model.InstanceTerminated
	if w.step(); w.in(model.ASGInService) != 3 || w.in(model.ASGPending) != 1 {
		t.Fatalf("%d in service, %d pending", w.in(model.ASGInService), w.in(model.ASGPending))
	}
}

func TestCommands(t *testing.T) {
	w := newWorld(0, 4, 3, "a")
	settled(t, w)
	ask := func(i int, name string) *machine {
		m := w.list[i]
		m.v.Command, m.v.Activity = model.ASGCommand{Name: name}, "told"
		w.activities = nil
		w.step()
		return m
	}
	m := ask(0, model.ASGEnterStandby)
	w.group.Desired = 2
	settled(t, w)
	if m.v.LifecycleState != model.ASGStandby || len(w.list) != 3 {
		t.Fatalf("%+v", m.v)
	}
	m.failed = true // nobody looks
	settled(t, w)
	m.failed = false
	w.group.Desired = 3
	m = ask(slicesIndex(w, m), model.ASGExitStandby)
	settled(t, w)
	if m.v.LifecycleState != model.ASGInService || len(w.list) != 3 {
		t.Fatalf("%+v", m.v)
	}
	m = ask(0, model.ASGDetach)
	settled(t, w)
	if w.at(m.v.InstanceID) != nil || m.ec2.Ending || w.in(model.ASGInService) != 3 {
		t.Fatalf("%+v", m.v)
	}
	m = ask(0, model.ASGTerminate)
	if !strings.HasPrefix(w.activities[0], m.v.InstanceID+" "+InProgress) {
		t.Errorf("%q", w.activities)
	}
	settled(t, w)
	if w.at(m.v.InstanceID) != nil || !m.ec2.Ending || w.in(model.ASGInService) != 3 {
		t.Fatalf("%+v", m.v)
	}
	// Attached: a record without an activity.
	x := w.launch(Start{Place: w.places[0], Pool: w.pools[0]})
	x.v.Activity, x.ec2 = "", EC2{State: model.InstanceRunning}
	w.group.Desired = 4
	w.activities = nil
	settled(t, w)
	if x.v.LifecycleState != model.ASGInService || !x.ec2.Member || !w.told("Attaching an existing EC2 instance: "+x.v.InstanceID) || len(w.list) != 4 {
		t.Errorf("%+v %q", x.v, w.activities)
	}
}

func slicesIndex(w *world, m *machine) int {
	for i := range w.list {
		if w.list[i] == m {
			return i
		}
	}
	return -1
}

func TestTargets(t *testing.T) {
	w := newWorld(0, 4, 1, "a")
	w.group.Spec.TargetGroups = []string{"tg1", "tg2"}
	settled(t, w)
	m := w.list[0]
	if m.registered != 2 {
		t.Fatalf("registered %d times", m.registered)
	}
	w.group.Suspended[AddToLoadBalancer] = ""
	w.group.Desired = 2
	settled(t, w)
	delete(w.group.Suspended, AddToLoadBalancer)
	settled(t, w)
	if w.list[1].registered != 0 {
		t.Error("one that came while it was suspended is registered later")
	}
	w.drains = true
	w.group.Desired = 0
	w.step()
	w.step()
	if m.v.LifecycleState != model.ASGTerminating || m.ec2.Ending || !w.list[1].ec2.Ending {
		t.Fatalf("%+v", m.v)
	}
	m.registered = 0
	settled(t, w)
	if len(w.list) != 0 {
		t.Error("still there")
	}
}

func TestFailedLaunches(t *testing.T) {
	w := newWorld(0, 4, 1, "a")
	w.step()
	w.list[0].ec2 = EC2{State: model.InstanceTerminated, Ending: true, Reason: "Server.InternalError: Internal error on launch"}
	w.step()
	if !w.told("Instance became unhealthy while waiting for instance to be in InService state. Termination Reason: Server.InternalError") || w.group.Status.Failures != 1 {
		t.Fatalf("%q %+v", w.activities, w.group.Status)
	}
	p := w.step()
	if len(p.Launches) != 0 || !p.Wake.Equal(w.group.Status.FailedAt.Add(Backoff(1))) {
		t.Fatalf("%+v", p)
	}
	w.pass(Backoff(1))
	settled(t, w)
	if w.in(model.ASGInService) != 1 || w.group.Status.Failures != 0 {
		t.Errorf("%+v", w.group.Status)
	}
	if Backoff(1) != 15*time.Second || Backoff(2) != 30*time.Second || Backoff(50) != 5*time.Minute {
		t.Errorf("%v %v %v", Backoff(1), Backoff(2), Backoff(50))
	}
}

func TestOnDemand(t *testing.T) {
	a := model.ASGInstanceAllocation{OnDemandBase: 2, OnDemandPercentAboveBase: 30}
	for total, want := range map[int]int{0: 0, 1: 1, 2: 2, 3: 3, 5: 3, 6: 4, 12: 5, 13: 6} {
		if got := onDemand(&a, total); got != want {
			t.Errorf("%d of %d are On-Demand, want %d", got, total, want)
		}
	}
}

func TestMixed(t *testing.T) {
	w := newWorld(0, 20, 10, "a", "b")
	lt := w.pools[0].Template
	w.pools = []Pool{{Type: "t3.micro", Weight: 1, Template: lt}, {Type: "t3.small", Weight: 1, Template: lt}}
	w.mixed = &model.ASGInstanceAllocation{OnDemandBase: 2, OnDemandPercentAboveBase: 25, SpotAllocationStrategy: "capacity-optimized"}
	settled(t, w)
	count := func() (demand, spot, small int) {
		for _, m := range w.list {
			switch {
			case !m.v.Spot:
				demand++
			case m.v.InstanceType == "t3.small":
				spot++
				small++
			default:
				spot++
			}
		}
		return
	}
	if d, s, small := count(); d != 4 || s != 6 || small != 3 {
		t.Errorf("%d On-Demand, %d Spot, %d of them small", d, s, small)
	}
	w.group.Desired = 6
	settled(t, w)
	if d, s, _ := count(); d != 3 || s != 3 {
		t.Errorf("%d On-Demand, %d Spot", d, s)
	}
	// Weights: the capacity is in units.
	w = newWorld(0, 20, 5, "a")
	w.pools = []Pool{{Type: "t3.large", Weight: 2, Template: lt}}
	w.mixed = &model.ASGInstanceAllocation{OnDemandPercentAboveBase: 100}
	settled(t, w)
	if len(w.list) != 3 {
		t.Errorf("%d instances of weight 2 for a capacity of 5", len(w.list))
	}
	w.group.Desired = 4
	settled(t, w)
	if len(w.list) != 2 {
		t.Errorf("%d instances of weight 2 for a capacity of 4", len(w.list))
	}
	w.group.Desired = 3
	settled(t, w)
	if len(w.list) != 2 {
		t.Errorf("%d instances of weight 2 for a capacity of 3", len(w.list))
	}
}

func TestSpotNotice(t *testing.T) {
	w := newWorld(0, 4, 2, "a", "b")
	w.pools[0].Spot = true
	w.group.Spec.CapacityRebalance = true
	settled(t, w)
	w.list[0].ec2.NoticeAt = w.now.Add(2 * time.Minute)
	w.step()
	if w.in(model.ASGInService) != 2 || w.in(model.ASGPending) != 1 || !w.told("an instance was launched in response to an EC2 instance rebalance recommendation.") {
		t.Fatalf("%q", w.activities)
	}
	settled(t, w)
	if w.at("i-0001") != nil || w.in(model.ASGInService) != 2 {
		t.Errorf("%d in service", w.in(model.ASGInService))
	}
}

func TestMaximumLifetime(t *testing.T) {
	w := newWorld(0, 4, 3, "a", "b", "c")
	w.group.Spec.MaxInstanceLifetimeSecond = 86400
	settled(t, w)
	p := w.step()
	if want := t0.Add(24 * time.Hour); !p.Wake.Equal(want) {
		t.Errorf("wake %v, want %v", p.Wake, want)
	}
	w.list[1].v.Protected = true
	w.pass(24 * time.Hour)
	w.step()
	if w.in(model.ASGInService) != 2 || w.in(model.ASGPending) != 1 {
		t.Fatalf("%d in service, %d pending", w.in(model.ASGInService), w.in(model.ASGPending))
	}
	settled(t, w)
	if w.at("i-0001") != nil || w.at("i-0002") == nil || w.at("i-0003") != nil {
		t.Error("the wrong ones are left")
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(0, 4, 3, "a")
	w.group.Spec.LifecycleHooks = []model.ASGHook{{Name: "h", Transition: terminating, HeartbeatSeconds: 3600}}
	settled(t, w)
	w.group.Deleting, w.group.ForceDelete = true, true
	w.drains = true
	for range 5 {
		w.step()
		w.pass(time.Second)
	}
	if p := w.step(); len(w.list) != 0 || !p.Gone {
		t.Errorf("%d left, gone %v", len(w.list), p.Gone)
	}
}

func TestSuspended(t *testing.T) {
	w := newWorld(0, 4, 2, "a")
	w.group.Suspended[Launch] = ""
	settled(t, w)
	if len(w.list) != 0 {
		t.Fatal("launched")
	}
	delete(w.group.Suspended, Launch)
	settled(t, w)
	w.group.Suspended[Terminate] = ""
	w.group.Desired = 0
	settled(t, w)
	if len(w.list) != 2 {
		t.Fatal("terminated")
	}
	// What the user asks for is done all the same.
	w.list[0].v.Command = model.ASGCommand{Name: model.ASGTerminate}
	settled(t, w)
	if len(w.list) != 1 {
		t.Fatalf("%d left", len(w.list))
	}
}
