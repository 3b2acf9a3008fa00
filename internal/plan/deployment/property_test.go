package deployment

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// healthyCount is how many tasks are healthy by the rules of the service.
func healthyCount(s Snapshot, now time.Time) int {
	p := planner{Snapshot: s, now: now}
	n := 0
	for _, t := range s.Tasks {
		if p.condition(t) == healthy {
			n++
		}
	}
	return n
}

// A service that is scaled and redeployed while its tasks start, crash, fall
// ill and recover at random is never above its maximum by a start and never
// brought below its minimum by a stop; left alone it reaches a steady state,
// and stays there.
func TestNextProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, now: t0, snap: Snapshot{
			Service: Service{
				Name:                  "web",
				Desired:               rapid.IntRange(0, 8).Draw(t, "desired"),
				MinimumHealthyPercent: rapid.SampledFrom([]int{0, 25, 50, 100}).Draw(t, "min"),
				MaximumPercent:        rapid.SampledFrom([]int{125, 150, 200}).Draw(t, "max"),
				HealthyAfter:          HealthyAfter,
				CircuitBreaker:        CircuitBreaker{Enable: rapid.Bool().Draw(t, "breaker"), Rollback: true},
			},
			Deployments: []Deployment{{ID: "ecs-svc/0", Status: Primary}},
		}}
		balanced := rapid.Bool().Draw(t, "targets")
		deployments := 0
		step := func() Plan {
			before := w.snap
			healthyBefore := healthyCount(before, w.now)
			p := w.next()
			pl := planner{Snapshot: before}
			if p.Start > 0 {
				n := 0
				for _, x := range w.snap.Tasks {
					if x.Phase <= Running {
						n++
					}
				}
				if n > pl.ceiling() {
					t.Fatalf("%d tasks with a start, at most %d are allowed", n, pl.ceiling())
				}
			}
			if len(p.Stops) > 0 && healthyBefore >= pl.floor() {
				if n := healthyCount(w.snap, w.now); n < pl.floor() {
					t.Fatalf("%d healthy after stops, at least %d must be; stops %v", n, pl.floor(), p.Stops)
				}
			}
			primaries := 0
			for _, d := range p.Deployments {
				if d.Status == Primary {
					primaries++
				}
			}
			if primaries != 1 {
				t.Fatalf("%d primary deployments", primaries)
			}
			return p
		}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			w.now = w.now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second)
			switch rapid.IntRange(0, 9).Draw(t, "event") {
			case 0:
				w.snap.Service.Desired = rapid.IntRange(0, 8).Draw(t, "desired")
			case 1:
				deployments++
				w.deploy(fmt.Sprintf("ecs-svc/%d", deployments))
			case 2:
				// An instance drains, or no longer does.
				leaving := rapid.Bool().Draw(t, "leaving")
				for i := range w.snap.Tasks {
					if rapid.Bool().Draw(t, "on it") {
						w.snap.Tasks[i].Leaving = leaving
					}
				}
			default:
				w.disturb(t, balanced)
			}
			step()
		}
		// Left alone: everything starts and nothing fails.
		for i := range 100 {
			if !w.snap.State.SteadyAt.IsZero() {
				break
			}
			// A circuit that broke with nothing to go back to, and percentages that
			// leave no way on, are the user's to mend.
			if primaryOf(w.snap).RolloutState == Failed || w.snap.State.Blocked {
				return
			}
			if i == 99 {
				t.Fatalf("does not settle: %+v", w.snap)
			}
			w.snap.Tasks = slices.DeleteFunc(w.snap.Tasks, func(x Task) bool { return x.Phase == Stopped && w.snap.State.Tasks[x.ID].Deployment == "" })
			w.recover(balanced)
			w.now = w.now.Add(HealthyAfter)
			step()
		}
		if n := w.live(""); n != w.snap.Service.Desired {
			t.Fatalf("steady with %d tasks of %d", n, w.snap.Service.Desired)
		}
		for range 5 {
			w.now = w.now.Add(time.Minute)
			w.recover(balanced)
			if p := step(); p.Start+len(p.Stops) > 0 {
				t.Fatalf("flaps: %+v", p)
			}
		}
	})
}

func primaryOf(s Snapshot) Deployment {
	for _, d := range s.Deployments {
		if d.Status == Primary {
			return d
		}
	}
	return Deployment{}
}

// disturb moves some tasks on, or to their ends.
func (w *world) disturb(t *rapid.T, balanced bool) {
	for i := range w.snap.Tasks {
		x := &w.snap.Tasks[i]
		if x.Phase == Stopped {
			continue
		}
		switch rapid.IntRange(0, 7).Draw(t, "fate") {
		case 0: // crashes
			x.Phase, x.Wanted = Stopped, false
		case 1: // falls ill
			if x.Phase == Running {
				x.Health = Unhealthy
			}
		case 2:
			x.Health = Unchecked
		case 3, 4, 5:
			w.advance(x, balanced)
		}
	}
}

// advance takes one task one phase further.
func (w *world) advance(x *Task, balanced bool) {
	switch {
	case !x.Wanted && x.Phase < Stopped:
		x.Phase = max(x.Phase+1, Stopping)
	case x.Phase == Pending:
		x.Phase, x.StartedAt = Running, w.now
		if balanced {
			x.Targets = []Target{{GroupARN: "tg", Port: 80, Registered: true}}
		}
	case x.Phase == Running && balanced:
		x.Targets = []Target{{GroupARN: "tg", Port: 80, Registered: true, State: TargetHealthy}}
	}
}

func (w *world) recover(balanced bool) {
	for i := range w.snap.Tasks {
		x := &w.snap.Tasks[i]
		x.Health = Unchecked
		if x.Phase < Stopped {
			w.advance(x, balanced)
		}
	}
}
