package autoscalinggroup_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/instance/fake"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

var seedFlag = flag.Uint64("seed", 0, "the history to live through; 0 draws some")

// flaky is a store whose commits fail at random, without or after writing.
type flaky struct {
	store.Store
	mu   sync.Mutex
	r    *rand.Rand
	rate float64
}

var errMadeUp = errors.New("made up")

func (f *flaky) Commit(ctx context.Context, conds []store.Condition, ops []store.Op) (uint64, error) {
	f.mu.Lock()
	n := f.r.Float64()
	rate := f.rate
	f.mu.Unlock()
	if n < rate/2 {
		return 0, errMadeUp
	}
	rev, err := f.Store.Commit(ctx, conds, ops)
	if err == nil && n < rate {
		err = errMadeUp // the answer is lost
	}
	return rev, err
}

func (f *flaky) set(rate float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rate = rate
}

// TestHistories: whatever happens to a group, its instances and the server,
// and whichever commits fail, the group is never larger than it may be and
// never loses track of an instance; and once nothing happens any more it has
// what is wanted, balanced over its zones, every activity has ended, and when
// the group is deleted nothing is left.
func TestHistories(t *testing.T) {
	first, n := *seedFlag, 1
	if first == 0 {
		first, n = rand.Uint64N(1<<40), 40
	}
	for i := range n {
		seed := first + uint64(i)
		synctest.Test(t, func(t *testing.T) {
			x := build(t)
			defer func() { _ = x.store.Close() }()
			f := &flaky{Store: x.store, r: rand.New(rand.NewPCG(seed, 1))}
			below := x.store
			x.store = f
			x.start()
			defer func() { x.stop() }()
			h := &history{fixture: x, r: rand.New(rand.NewPCG(seed, 2)), flaky: f, below: below}
			h.live(40)
			if t.Failed() {
				t.Logf("repeat with: go test ./internal/controller/autoscalinggroup -run TestHistories -seed %d", seed)
			}
		})
	}
}

// history is a group that things happen to.
type history struct {
	*fixture
	r     *rand.Rand
	flaky *flaky
	below store.Store
}

// surely does what the user does: the store's failures are the server's alone.
func (h *history) surely(f func()) {
	s := h.store
	h.store = h.below
	defer func() { h.store = s }()
	f()
}

func (h *history) live(steps int) {
	h.surely(func() {
		h.group(h.r.IntN(6), func(v *model.AutoScalingGroup) {
			v.Spec.Max = 5 + h.r.IntN(8)
			v.Spec.TerminationPolicies = []string{[]string{"Default", "OldestInstance", "NewestInstance"}[h.r.IntN(3)]}
			if h.r.IntN(2) == 0 {
				v.Spec.LifecycleHooks = []model.ASGHook{
					{Name: "up", Transition: "autoscaling:EC2_INSTANCE_LAUNCHING", DefaultResult: "CONTINUE", HeartbeatSeconds: 20},
					{Name: "down", Transition: "autoscaling:EC2_INSTANCE_TERMINATING", DefaultResult: "CONTINUE", HeartbeatSeconds: 20},
				}
			}
			if h.r.IntN(2) == 0 {
				v.Spec.MinHealthyPercentage, v.Spec.MaxHealthyPercentage = new(100), new(120)
			}
		})
	})
	for range steps {
		h.surely(h.disturb)
		h.pass(time.Duration(h.r.IntN(20_000)) * time.Millisecond)
		h.surely(h.check)
	}
	h.flaky.set(0)
	h.surely(func() {
		h.change(func(v *model.AutoScalingGroup) { v.Suspended = nil; v.Desired = min(v.Desired, v.Spec.Max) })
		for _, m := range h.members() {
			h.member(m.InstanceID, func(m *model.ASGInstance) { m.Protected = false })
		}
		h.pass(3 * time.Hour)
		h.check()
		h.settled()
		h.change(func(v *model.AutoScalingGroup) { v.Deleting, v.ForceDelete = true, true })
		h.pass(10 * time.Minute)
		if rows, err := tables.AutoScalingGroups.List(h.Context(), h.store, store.Query{}); err != nil || len(rows) > 0 || len(h.members()) > 0 {
			h.Errorf("left behind: %v %v %v", rows, h.members(), err)
		}
		if ids, _ := h.host.List(); len(ids) > h.detached() {
			h.Errorf("instances are left behind: %v", ids)
		}
	})
}

// detached counts the instances that run and are no group's.
func (h *history) detached() int {
	rows, err := tables.Instances.List(h.Context(), h.store, store.Query{})
	h.ok(nil, err)
	n := 0
	for _, r := range rows {
		if r.V.Spec.AutoScalingGroup == "" && r.V.Status.State != model.InstanceTerminated {
			n++
		}
	}
	return n
}

// check checks what always holds.
func (h *history) check() {
	g, err := tables.AutoScalingGroups.Get(h.Context(), h.store, account, region, name)
	if err != nil {
		h.Fatal(err)
	}
	members := map[string]bool{}
	counted, ahead := 0, 0
	for _, m := range h.members() {
		members[m.InstanceID] = true
		switch m.LifecycleState {
		case model.ASGPending, model.ASGPendingWait, model.ASGPendingProceed, model.ASGInService:
			if m.Ahead == "" {
				counted++
			} else {
				ahead++
			}
		}
	}
	// Less may be wanted than was launched, but never more than the maximum.
	if counted > g.V.Spec.Max || counted+ahead > g.V.Spec.Max+max(1, g.V.Spec.Max/5)+2 {
		h.Fatalf("%d members and %d ahead of others, at most %d may be", counted, ahead, g.V.Spec.Max)
	}
	rows, err := tables.Instances.List(h.Context(), h.store, store.Query{})
	if err != nil {
		h.Fatal(err)
	}
	for _, r := range rows {
		if r.V.Spec.AutoScalingGroup == name && r.V.State() != model.InstanceTerminated && r.V.Desired.State != model.InstanceTerminated && !members[r.V.ID] {
			h.Fatalf("instance %s is the group's, but no member of it", r.V.ID)
		}
	}
}

// settled checks what holds once nothing happens any more.
func (h *history) settled() {
	g, err := tables.AutoScalingGroups.Get(h.Context(), h.store, account, region, name)
	if err != nil {
		h.Fatal(err)
	}
	zones := map[string]int{}
	standby := 0
	for _, m := range h.members() {
		switch {
		case m.LifecycleState == model.ASGStandby:
			standby++
		case m.LifecycleState != model.ASGInService || m.Ahead != "" || m.Activity != "" || m.HealthStatus != "Healthy":
			h.Errorf("not settled: %+v", m)
		default:
			zones[m.Zone]++
		}
	}
	lowest, highest := zones["us-east-1a"], 0
	for _, z := range []string{"us-east-1a", "us-east-1b", "us-east-1c"} {
		lowest, highest = min(lowest, zones[z]), max(highest, zones[z])
	}
	if n := len(h.members()) - standby; n != g.V.Desired || highest-lowest > 1 {
		h.Errorf("%d members of %d wanted, zones %v; %+v", n, g.V.Desired, zones, g.V.Status)
	}
	for _, a := range h.activities() {
		if a.EndedAt.IsZero() {
			h.Errorf("an activity has not ended: %+v", a)
		}
	}
	refreshes, err := tables.InstanceRefreshes.List(h.Context(), h.store, store.Query{})
	h.ok(nil, err)
	for _, r := range refreshes {
		if r.V.EndedAt.IsZero() {
			h.Errorf("a refresh has not ended: %+v", r.V)
		}
	}
}

// disturb makes something happen.
func (h *history) disturb() {
	members := h.members()
	var m *model.ASGInstance
	if len(members) > 0 {
		m = members[h.r.IntN(len(members))]
	}
	switch n := h.r.IntN(16); {
	case n < 3:
		h.change(func(v *model.AutoScalingGroup) {
			v.Desired = h.r.IntN(v.Spec.Max + 1)
			v.DesiredReason = fmt.Sprintf("At %s a user.", time.Now())
		})
	case n == 3:
		h.flaky.set([]float64{0, 0.1, 0.3}[h.r.IntN(3)])
	case n == 4:
		h.stop()
		s := h.store
		h.store = h.flaky
		h.start()
		h.store = s
	case n == 5:
		for range h.r.IntN(20) {
			h.host.FailNext([]string{fake.Boot, fake.Stop, fake.Remove}[h.r.IntN(3)], errMadeUp)
		}
	case n == 6:
		h.change(func(v *model.AutoScalingGroup) {
			v.Spec.SubnetIDs = [][]string{{"subnet-a", "subnet-b", "subnet-c"}, {"subnet-b", "subnet-a", "subnet-c"}}[h.r.IntN(2)]
			v.Spec.LaunchTemplate = &model.ASGLaunchTemplate{ID: "lt-1", Version: []string{"$Latest", "1", "$Default"}[h.r.IntN(3)]}
		})
	case n == 7:
		process := []string{"Launch", "Terminate", "HealthCheck", "ReplaceUnhealthy", "AZRebalance"}[h.r.IntN(5)]
		h.change(func(v *model.AutoScalingGroup) {
			if _, ok := v.Suspended[process]; ok || v.Suspended == nil {
				v.Suspended = map[string]string{}
			} else {
				v.Suspended[process] = "x"
			}
		})
	case n == 8:
		h.refresh()
	case m == nil:
	case n == 9:
		h.host.End(m.InstanceID, "failure")
	case n == 10:
		_, err := instances.Terminate(h.Context(), h.store, here, time.Now(), instances.Why{}, m.InstanceID)
		if _, refused := errors.AsType[*instances.Error](err); !refused {
			h.ok(nil, err)
		}
	case n == 11:
		h.member(m.InstanceID, func(m *model.ASGInstance) { m.Protected = !m.Protected })
	case n == 12 && m.LifecycleState == model.ASGInService:
		h.member(m.InstanceID, func(m *model.ASGInstance) { m.HealthStatus = "Unhealthy" })
	case n > 12 && m.Command.Name == "":
		h.command(m)
	}
}

func (h *history) command(m *model.ASGInstance) {
	var can []string
	switch m.LifecycleState {
	case model.ASGInService:
		can = []string{model.ASGTerminate, model.ASGDetach, model.ASGEnterStandby}
	case model.ASGPending, model.ASGPendingWait:
		can = []string{model.ASGTerminate}
	case model.ASGStandby:
		can = []string{model.ASGExitStandby, model.ASGExitStandby, model.ASGTerminate}
	default:
		return
	}
	name := can[h.r.IntN(len(can))]
	h.member(m.InstanceID, func(v *model.ASGInstance) {
		if v.LifecycleState == m.LifecycleState {
			v.Command = model.ASGCommand{Name: name}
		}
	})
	if name == model.ASGExitStandby {
		h.change(func(v *model.AutoScalingGroup) { v.Desired = min(v.Desired+1, v.Spec.Max) })
	}
}

func (h *history) refresh() {
	rows, err := tables.InstanceRefreshes.List(h.Context(), h.store, store.Query{})
	h.ok(nil, err)
	for _, r := range rows {
		if r.V.EndedAt.IsZero() {
			_, err := tables.InstanceRefreshes.Update(h.Context(), h.store, account, region, r.Key.ID, func(v *model.InstanceRefresh) error {
				v.Cancelled, v.Rollback = v.Cancelled || h.r.IntN(2) == 0, v.Desired
				return nil
			})
			h.ok(nil, err)
			return
		}
	}
	r := &model.InstanceRefresh{
		ID: id.Newest(time.Now()), Group: name, Status: model.RefreshPending, StartedAt: time.Now(),
		MinHealthyPercentage: []int{0, 50, 90, 100}[h.r.IntN(4)], MaxHealthyPercentage: []int{100, 120}[h.r.IntN(2)], WarmupSeconds: h.r.IntN(30),
		SkipMatching: h.r.IntN(2) == 0, Desired: h.r.IntN(2) == 0, Template: model.ASGLaunchTemplate{ID: "lt-1", Version: "2"},
		Previous: &model.ASGLaunchTemplate{ID: "lt-1", Version: "1"}, ScaleInProtected: "Ignore", Standby: "Ignore",
	}
	tx := store.NewTxn()
	tables.InstanceRefreshes.Put(tx, account, region, name+"/"+r.ID, r)
	h.ok(tx.Commit(h.Context(), h.store))
}
