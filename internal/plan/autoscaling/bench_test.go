package autoscaling

import (
	"fmt"
	"testing"

	"roadstead.dev/internal/model"
)

// What one plan costs, which has to grow with the members alone.
func BenchmarkNext(b *testing.B) {
	for _, n := range []int{500, 5000} {
		w := newWorld(0, 2*n, n, "a", "b", "c")
		for i := range n {
			m := w.launch(Start{Place: w.places[i%3], Pool: w.pools[0]})
			m.v.LifecycleState, m.v.Activity, m.ec2.State = model.ASGInService, "", model.InstanceRunning
		}
		for name, change := range map[string]func(*Snapshot){
			"steady": func(*Snapshot) {},
			"grows":  func(s *Snapshot) { s.Group.Desired = 2 * n },
			"halves": func(s *Snapshot) { s.Group.Desired = n / 2 },
			"moves":  func(s *Snapshot) { s.Places = s.Places[:1] },
		} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				s := w.snapshot()
				g := *w.group
				s.Group = &g
				change(&s)
				b.ReportAllocs()
				for b.Loop() {
					Next(s, w.now)
				}
			})
		}
	}
}
