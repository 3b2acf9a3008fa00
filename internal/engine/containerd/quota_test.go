package containerd

import (
	"slices"
	"testing"
)

func TestQuotas(t *testing.T) {
	var applied []float64
	q := quotas{groups: map[string]*quota{}, apply: func(_ string, cpus float64) { applied = append(applied, cpus) }}
	expect := func(what string, want ...float64) {
		t.Helper()
		if !slices.Equal(applied, want) {
			t.Errorf("%s: applied %v, want %v", what, applied, want)
		}
		applied = nil
	}
	q.lift("unknown")()
	q.set("free", 0)
	q.lift("free")()
	expect("groups without a quota")

	q.set("g", 0.25)
	first, second := q.lift("g"), q.lift("g")
	expect("two begin", 0)
	first()
	first() // only counts once
	expect("one is done")
	second()
	expect("both are done", 0.25)

	restore := q.lift("g")
	q.set("g", 0.5)
	restore()
	expect("the quota changed meanwhile", 0, 0.5)

	restore = q.lift("g")
	q.forget("g")
	restore()
	expect("the group is gone", 0)
}
