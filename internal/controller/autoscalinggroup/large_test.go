package autoscalinggroup_test

import (
	"context"
	"flag"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/instance"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

var largeFlag = flag.Int("large", 1000, "how many instances the large group has")

// reads counts how often the members of groups are listed.
type reads struct {
	store.Store
	members, rows atomic.Int64
}

func (r *reads) List(ctx context.Context, q store.Query) ([]store.Record, uint64, error) {
	records, rev, err := r.Store.List(ctx, q)
	if q.Kind == tables.ASGInstances.Kind() && q.Prefix != "" {
		r.members.Add(1)
		r.rows.Add(int64(len(records)))
	}
	return records, rev, err
}

// A large group costs passes by the time that it takes, not by its events: as
// many as instances would make it quadratic.
func TestLargeGroup(t *testing.T) {
	n := *largeFlag
	lap := time.Now()
	tell := func(what string, x *fixture, r *reads) {
		x.Logf("%s: %d passes over %d members", what, r.members.Swap(0), r.rows.Swap(0))
	}
	synctest.Test(t, func(t *testing.T) {
		x := build(t)
		defer func() { _ = x.store.Close() }()
		r := &reads{Store: x.store}
		x.store = r
		x.start()
		defer func() { x.stop() }()
		x.group(n, func(v *model.AutoScalingGroup) { v.Spec.Max = 2 * n })
		begun := time.Now()
		for x.in(model.ASGInService) != n {
			x.pass(time.Second)
			if time.Since(begun) > 10*time.Minute {
				t.Fatalf("%d of %d in service", x.in(model.ASGInService), n)
			}
		}
		took := time.Since(begun)
		passes := r.members.Load()
		tell("launched", x, r)
		// Every pass launches hundreds; each instance has six changes or more.
		if most := int64(60 + n/20); passes > most {
			t.Errorf("%d passes for %d instances, want at most %d", passes, n, most)
		}
		if took > time.Minute {
			t.Errorf("took %v", took)
		}
		x.pass(time.Hour)
		if idle := r.members.Load(); idle > 5 {
			t.Errorf("%d passes while nothing happened", idle)
		}
		// Instances that end one after the other are not a pass each.
		for _, m := range x.members()[:n/5] {
			x.host.End(m.InstanceID, instance.EndedByFailure)
			x.pass(5 * time.Millisecond)
		}
		if passes, most := r.members.Load(), int64(20+n/25); passes > most {
			t.Errorf("%d passes for %d ends, want at most %d", passes, n/5, most)
		}
		tell("ended", x, r)
		x.pass(time.Minute)
		if k := x.in(model.ASGInService); k != n {
			t.Errorf("%d of %d in service", k, n)
		}
		r.members.Store(0)
		x.change(func(v *model.AutoScalingGroup) { v.Desired = n / 2 })
		begun = time.Now()
		for len(x.members()) != n/2 {
			x.pass(time.Second)
			if time.Since(begun) > 10*time.Minute {
				t.Fatalf("%d members of %d", len(x.members()), n/2)
			}
		}
		tell("shrunk", x, r)
	})
	t.Logf("in all %v", time.Since(lap))
}
