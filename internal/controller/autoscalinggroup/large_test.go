package autoscalinggroup_test

import (
	"context"
	"flag"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
	told := make(chan string, 10)
	tell := func(what string, x *fixture, r *reads) {
		told <- what
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
	t.Logf("%s, in all %v", <-told, time.Since(lap))
}
