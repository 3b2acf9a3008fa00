package l7

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// drawn counts who is picked.
func drawn(g *Group, n int) map[string]int {
	got := map[string]int{}
	for range n {
		got[g.state.Load().pick(g, nil).Addr]++
	}
	return got
}

func groupOf(s GroupSettings, n int) (*Group, []*Target) {
	g := NewGroup("g")
	ts := make([]*Target, n)
	for i := range ts {
		ts[i] = NewTarget(fmt.Sprintf("t%d", i), nil)
	}
	g.Set(s, ts)
	return g, ts
}

// near tells whether a count of n trials fits the probability p: within five
// standard deviations.
func near(got, n int, p float64) bool {
	return math.Abs(float64(got)-float64(n)*p) <= 5*math.Sqrt(float64(n)*p*(1-p))+1
}

func TestWeightedRandom(t *testing.T) {
	const n = 30_000
	g, ts := groupOf(GroupSettings{Algorithm: WeightedRandom}, 4)
	for addr, got := range drawn(g, n) {
		if !near(got, n, 0.25) {
			t.Errorf("%s was drawn %d times of %d", addr, got, n)
		}
	}
	ts[0].SetWeight(0.02)
	ts[1].SetWeight(0.5)
	got := drawn(g, n)
	for i, w := range []float64{0.02, 0.5, 1, 1} {
		if k := got[ts[i].Addr]; !near(k, n, w/2.52) {
			t.Errorf("with weight %v: drawn %d times of %d", w, k, n)
		}
	}
	ts[0].SetWeight(1)
	ts[1].SetWeight(1)
	if k := drawn(g, n)["t0"]; !near(k, n, 0.25) {
		t.Errorf("at parity: drawn %d times of %d", k, n)
	}
}

// The share of a target in slow start grows in proportion to the time.
func TestSlowStartIsLinear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, slow = 20_000, 100 * time.Second
		g, ts := groupOf(GroupSettings{SlowStart: slow}, 4)
		ts[0].Warm(time.Now())
		for _, passed := range []time.Duration{0, 25 * time.Second, 50 * time.Second, 75 * time.Second, 100 * time.Second} {
			if passed > 0 {
				time.Sleep(25 * time.Second)
			}
			// A turn that is passed on goes to the next target.
			share := float64(passed) / float64(slow)
			if k := drawn(g, n)["t0"]; !near(k, n, 0.25*share) {
				t.Errorf("after %v: %d of %d", passed, k, n)
			}
		}
		ts[1].Warm(time.Now())
		if k := drawn(g, 1000)["t1"]; k != 0 {
			t.Errorf("a target that has just become healthy got %d requests", k)
		}
		ts[1].Cool()
		if k := drawn(g, 1000)["t1"]; k != 250 {
			t.Errorf("a target whose slow start ended got %d of 1000", k)
		}
	})
}

// Whatever the algorithm, one of the targets is picked, not the one to avoid
// if there is another; and the least busy one has no more than the others.
func TestPickProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := GroupSettings{
			Algorithm: rapid.SampledFrom([]Algorithm{RoundRobin, LeastOutstanding, WeightedRandom}).Draw(t, "algorithm"),
			SlowStart: rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(t, "slow start"),
		}
		g, ts := groupOf(s, rapid.IntRange(1, 5).Draw(t, "targets"))
		fewest := int64(math.MaxInt64)
		for _, x := range ts {
			x.inflight.Store(rapid.Int64Range(0, 3).Draw(t, "in flight"))
			fewest = min(fewest, x.inflight.Load())
			x.SetWeight(rapid.Float64Range(0.02, 1).Draw(t, "weight"))
			if rapid.Bool().Draw(t, "warming") {
				x.Warm(time.Now())
			}
		}
		got := g.state.Load().pick(g, nil)
		if got == nil || s.Algorithm == LeastOutstanding && got.InFlight() != fewest {
			t.Fatalf("picked %+v, the fewest are %d", got, fewest)
		}
		if other := g.state.Load().pick(g, got); len(ts) > 1 && other == got {
			t.Fatal("the target to avoid was picked")
		}
	})
}
