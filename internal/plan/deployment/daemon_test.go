package deployment

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A DAEMON service whose instances come and go, while its tasks start, crash,
// fall ill and are redeployed, never has a second task start where one still
// is, never stops a healthy one below its minimum for a deployment's sake, and
// left alone has one task on each instance and none elsewhere.
func TestDaemonProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{t: t, now: t0, snap: Snapshot{
			Service: Service{
				Name: "log", Daemon: true, HealthyAfter: HealthyAfter, MaximumPercent: 100,
				MinimumHealthyPercent: rapid.SampledFrom([]int{0, 50, 80}).Draw(t, "min"),
			},
			Deployments: []Deployment{{ID: "ecs-svc/0", Status: Primary}},
		}}
		step := func() {
			before := w.snap
			healthyBefore := healthyCount(before, w.now)
			at := len(w.snap.Tasks)
			p := w.next()
			if p.Start != len(p.StartOn) {
				t.Fatalf("%d starts on %v", p.Start, p.StartOn)
			}
			busy := map[string]bool{}
			for _, x := range before.Tasks {
				busy[x.Node] = busy[x.Node] || x.Phase < Stopped
			}
			for i, n := range p.StartOn {
				if busy[n] || !slices.Contains(before.Service.Nodes, n) {
					t.Fatalf("a start on %s: %+v", n, before)
				}
				busy[n] = true
				w.snap.Tasks[at+i].Node = n
			}
			forced := 0
			for _, s := range p.Stops {
				i := slices.IndexFunc(before.Tasks, func(x Task) bool { return x.ID == s.Task })
				if !slices.Contains(before.Service.Nodes, before.Tasks[i].Node) {
					forced++
				}
			}
			pl := planner{Snapshot: before}
			if n := healthyCount(w.snap, w.now); forced == 0 && n < healthyBefore && n < pl.floor() {
				t.Fatalf("%d healthy after stops of %d, at least %d must be", n, healthyBefore, pl.floor())
			}
		}
		deployments := 0
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			w.now = w.now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second)
			switch rapid.IntRange(0, 9).Draw(t, "event") {
			case 0, 1:
				nodes := rapid.SliceOfNDistinct(rapid.IntRange(0, 5), 0, 6, rapid.ID[int]).Draw(t, "nodes")
				slices.Sort(nodes)
				w.snap.Service.Nodes = nil
				for _, n := range nodes {
					w.snap.Service.Nodes = append(w.snap.Service.Nodes, fmt.Sprint(n))
				}
			case 2:
				deployments++
				w.deploy(fmt.Sprintf("ecs-svc/%d", deployments))
			default:
				w.disturb(t, false)
			}
			step()
		}
		for range 60 {
			w.recover(false)
			w.now = w.now.Add(time.Minute)
			step()
		}
		if w.snap.State.Blocked {
			return // percentages that leave no way on are the user's to mend
		}
		on := map[string]int{}
		for _, x := range w.snap.Tasks {
			if x.Phase < Stopped {
				on[x.Node]++
				if x.Deployment != primaryOf(w.snap).ID {
					t.Fatalf("an old task is left: %+v", x)
				}
			}
		}
		for _, n := range w.snap.Service.Nodes {
			if on[n] != 1 {
				t.Fatalf("%d tasks on %s", on[n], n)
			}
		}
		if len(on) != len(w.snap.Service.Nodes) || w.snap.State.SteadyAt.IsZero() && len(on) > 0 {
			t.Fatalf("tasks on %v, wanted on %v, steady at %v", on, w.snap.Service.Nodes, w.snap.State.SteadyAt)
		}
	})
}
