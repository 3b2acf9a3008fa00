package deployment

import (
	"slices"
	"testing"
	"time"
)

// zoned is a steady service with a task in each of the zones.
func zoned(t *testing.T, zones ...string) *world {
	w := newWorld(t, len(zones))
	w.settle()
	for i, z := range zones {
		w.snap.Tasks[i].Zone = z
	}
	w.snap.Service.Zones = []string{"a", "b", "c"}
	w.events = nil
	return w
}

func TestRebalance(t *testing.T) {
	w := zoned(t, "a", "a", "a", "b")
	p := w.next()
	if p.Start != 1 || len(p.Stops) != 0 || !slices.Equal(p.StartIn, []string{"c"}) {
		t.Fatalf("%+v", p)
	}
	w.task("t005").Zone = "c" // where the fewest are
	w.run()
	if p = w.next(); p.Start != 0 || len(p.Stops) != 0 {
		t.Fatalf("it is not healthy yet: %+v", p)
	}
	w.now = w.now.Add(HealthyAfter)
	p = w.next()
	if p.Start != 0 || len(p.Stops) != 1 || w.task(p.Stops[0].Task).Zone != "a" {
		t.Fatalf("%+v", p)
	}
	w.run()
	if p := w.next(); p.Start != 0 || len(p.Stops) != 0 {
		t.Fatalf("two, one and one are balanced: %+v", p)
	}
	w.next()
	if n := len(w.events) - 1; w.events[n] != "(service web) has reached a steady state." || !slices.Contains(w.events, "(service web) is AZ balanced with 2 tasks in a, 1 tasks in b and 1 tasks in c.") || len(w.events) != 5 {
		t.Errorf("%q", w.events)
	}
	if w.events[0] != "(service web) has started 1 tasks: (task t005)." ||
		w.events[1] != "(service web) is not AZ balanced with 3 tasks in a, 1 tasks in b and 0 tasks in c. AZ Rebalancing in progress." {
		t.Errorf("%q", w.events)
	}
}

func TestRebalanceDoesNot(t *testing.T) {
	for name, change := range map[string]func(*world){
		"without room":   func(w *world) { w.snap.Service.MaximumPercent = 100 },
		"when not asked": func(w *world) { w.snap.Service.Zones = nil },
		"in one zone":    func(w *world) { w.snap.Service.Zones = []string{"a"} },
		"when unhealthy": func(w *world) { w.snap.Tasks[0].Health = Unknown },
		"when all are needed": func(w *world) {
			for i := range w.snap.Tasks {
				w.snap.Tasks[i].ProtectedUntil = w.now.Add(time.Hour)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := zoned(t, "a", "a", "a", "b")
			change(w)
			if p := w.next(); p.Start != 0 || len(p.Stops) != 0 {
				t.Errorf("%+v", p)
			}
		})
	}
}

// A service that is scaled in meanwhile loses what it should.
func TestRebalanceEndsWithScaleIn(t *testing.T) {
	w := zoned(t, "a", "a", "a", "b")
	w.next()
	w.task("t005").Zone = "c"
	w.snap.Service.Desired = 2
	if p := w.next(); len(p.Stops) != 3 || !slices.ContainsFunc(p.Stops, func(s Stop) bool { return s.Task == "t005" }) {
		t.Errorf("%+v", p)
	}
}
