package deployment

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var t0 = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

// world is a service whose plans are carried out at once, with tasks that the
// test moves on.
type world struct {
	t interface {
		Helper()
		Fatalf(string, ...any)
	}
	snap Snapshot
	now  time.Time
	// events of all plans.
	events []string
	plans  int
	made   int
}

func newWorld(t *testing.T, desired int) *world {
	return &world{t: t, now: t0, snap: Snapshot{
		Service: Service{
			Name: "web", Desired: desired, MinimumHealthyPercent: 100, MaximumPercent: 200, HealthyAfter: HealthyAfter,
		},
		Deployments: []Deployment{{ID: "ecs-svc/1", Status: Primary}},
	}}
}

// deploy puts a new primary deployment in front.
func (w *world) deploy(id string) {
	for i := range w.snap.Deployments {
		w.snap.Deployments[i].Status = Active
	}
	w.snap.Deployments = slices.Insert(w.snap.Deployments, 0, Deployment{ID: id, Status: Primary})
}

// next makes a plan and carries it out.
func (w *world) next() Plan {
	w.t.Helper()
	p := Next(w.snap, w.now)
	if again := Next(w.snap, w.now); !cmp.Equal(p, again) {
		w.t.Fatalf("not deterministic: %s", cmp.Diff(p, again))
	}
	primary := ""
	for _, d := range p.Deployments {
		if d.Status == Primary {
			primary = d.ID
		}
	}
	var ids []string
	for range p.Start {
		w.made++
		id := fmt.Sprintf("t%03d", w.made)
		ids = append(ids, id)
		p.Started(id, primary)
		w.snap.Tasks = append(w.snap.Tasks, Task{ID: id, Deployment: primary, Wanted: true, CreatedAt: w.now, Zone: fmt.Sprint("z", w.made%3)})
	}
	if len(ids) > 0 {
		w.events = append(w.events, StartedEvent("web", ids, p.Replaced))
	}
	w.events = append(w.events, p.Events...)
	for _, s := range p.Stops {
		t := w.task(s.Task)
		if !t.Wanted {
			w.t.Fatalf("%s is stopped twice", s.Task)
		}
		t.Wanted = false
	}
	w.snap.Deployments, w.snap.State = p.Deployments, p.State
	w.plans++
	return p
}

func (w *world) task(id string) *Task {
	w.t.Helper()
	for i := range w.snap.Tasks {
		if w.snap.Tasks[i].ID == id {
			return &w.snap.Tasks[i]
		}
	}
	w.t.Fatalf("no task %s", id)
	return nil
}

// run makes every wanted task run, and every unwanted one stop.
func (w *world) run() {
	for i := range w.snap.Tasks {
		t := &w.snap.Tasks[i]
		switch {
		case !t.Wanted:
			t.Phase = Stopped
		case t.Phase == Pending:
			t.Phase, t.StartedAt = Running, w.now
		}
	}
}

// settle goes on until the service is steady.
func (w *world) settle() {
	w.t.Helper()
	for range 100 {
		w.next()
		if !w.snap.State.SteadyAt.IsZero() {
			return
		}
		w.run()
		w.now = w.now.Add(HealthyAfter)
	}
	w.t.Fatalf("does not settle: %+v", w.snap)
}

func (w *world) live(deployment string) int {
	n := 0
	for _, t := range w.snap.Tasks {
		if t.Wanted && t.Phase <= Running && (deployment == "" || t.Deployment == deployment) {
			n++
		}
	}
	return n
}

func (w *world) fail(id, why string) {
	t := w.task(id)
	t.Phase, t.Wanted, t.StartFailure = Stopped, false, why
}

func (w *world) sawEvents(want ...string) {
	w.t.Helper()
	if d := cmp.Diff(want, w.events); d != "" {
		w.t.Fatalf("events: %s", d)
	}
	w.events = nil
}

func TestCreateService(t *testing.T) {
	w := newWorld(t, 2)
	p := w.next()
	if p.Start != 2 {
		t.Fatalf("starts %d", p.Start)
	}
	w.run()
	p = w.next()
	if p.Running != 2 || p.Deployments[0].Running != 2 || p.Deployments[0].RolloutState != InProgress {
		t.Fatalf("got %+v", p)
	}
	if want := w.now.Add(HealthyAfter); !p.Wake.Equal(want) {
		t.Fatalf("wakes at %v, want %v", p.Wake, want)
	}
	w.now = p.Wake
	p = w.next()
	if d := p.Deployments[0]; d.RolloutState != Completed || d.RolloutStateReason != "ECS deployment ecs-svc/1 completed." {
		t.Fatalf("got %+v", d)
	}
	w.sawEvents(
		"(service web) has started 2 tasks: (task t001) (task t002).",
		"(service web) (deployment ecs-svc/1) deployment completed.",
		"(service web) has reached a steady state.",
	)
	w.now = w.now.Add(time.Hour)
	if p = w.next(); len(p.Events)+p.Start+len(p.Stops) > 0 {
		t.Fatalf("not steady: %+v", p)
	}
	w.now = p.Wake
	w.next()
	w.sawEvents("(service web) has reached a steady state.")
}

// AWS's documented example: four tasks at 100/200 start four new ones first.
func TestRollingUpdateStartsFirst(t *testing.T) {
	w := newWorld(t, 4)
	w.settle()
	w.events = nil
	w.deploy("ecs-svc/2")
	p := w.next()
	if p.Start != 4 || len(p.Stops) != 0 {
		t.Fatalf("got %d starts, %v", p.Start, p.Stops)
	}
	w.run()
	if p = w.next(); p.Start != 0 || len(p.Stops) != 0 {
		t.Fatalf("new tasks are not healthy yet, but %+v", p)
	}
	w.now = w.now.Add(HealthyAfter)
	p = w.next()
	if len(p.Stops) != 4 || p.Stops[0].Reason != "Scaling activity initiated by (deployment ecs-svc/2)" {
		t.Fatalf("got %v", p.Stops)
	}
	w.run()
	p = w.next()
	if len(p.Deployments) != 1 || p.Deployments[0].RolloutState != Completed {
		t.Fatalf("got %+v", p.Deployments)
	}
	w.sawEvents(
		"(service web) has started 4 tasks: (task t005) (task t006) (task t007) (task t008).",
		"(service web) has stopped 4 running tasks: (task t001) (task t002) (task t003) (task t004).",
		"(service web) (deployment ecs-svc/2) deployment completed.",
		"(service web) has reached a steady state.",
	)
}

// The other one: at 50/100 two tasks stop before two start.
func TestRollingUpdateStopsFirst(t *testing.T) {
	w := newWorld(t, 4)
	w.snap.Service.MinimumHealthyPercent, w.snap.Service.MaximumPercent = 50, 100
	w.settle()
	w.deploy("ecs-svc/2")
	p := w.next()
	if p.Start != 0 || len(p.Stops) != 2 {
		t.Fatalf("got %d starts, %v", p.Start, p.Stops)
	}
	w.run()
	if p = w.next(); p.Start != 2 || len(p.Stops) != 0 {
		t.Fatalf("got %d starts, %v", p.Start, p.Stops)
	}
	w.settle()
	if w.live("ecs-svc/1") != 0 || w.live("ecs-svc/2") != 4 {
		t.Fatal("not replaced")
	}
}

func TestPercentages(t *testing.T) {
	tests := []struct {
		desired, min, max, floor, ceiling int
	}{
		{4, 50, 200, 2, 8},
		{3, 50, 150, 2, 4},
		{1, 50, 100, 1, 1},
		{1, 100, 150, 1, 1},
		{10, 0, 125, 0, 12},
		{0, 100, 200, 0, 0},
		{7, 100, 100, 7, 7},
	}
	for _, tt := range tests {
		p := planner{Snapshot: Snapshot{Service: Service{Desired: tt.desired, MinimumHealthyPercent: tt.min, MaximumPercent: tt.max}}}
		if p.floor() != tt.floor || p.ceiling() != tt.ceiling {
			t.Errorf("%d at %d/%d: %d to %d, want %d to %d", tt.desired, tt.min, tt.max, p.floor(), p.ceiling(), tt.floor, tt.ceiling)
		}
	}
}

func TestBlockedByPercentages(t *testing.T) {
	w := newWorld(t, 1)
	w.snap.Service.MinimumHealthyPercent, w.snap.Service.MaximumPercent = 100, 100
	w.settle()
	w.events = nil
	w.deploy("ecs-svc/2")
	w.next()
	w.next()
	w.sawEvents("(service web) was unable to stop or start tasks during a deployment because of the service deployment configuration. Update the minimumHealthyPercent or maximumPercent value and try again.")
	if w.live("ecs-svc/1") != 1 {
		t.Fatal("the old task must go on")
	}
}

func TestScaleInKeepsBalanceAndTakesTheWorst(t *testing.T) {
	w := newWorld(t, 3)
	w.settle()
	w.snap.Service.Desired = 5
	w.next() // two more, pending
	w.snap.Service.Desired = 2
	p := w.next()
	var ids []string
	for _, s := range p.Stops {
		ids = append(ids, s.Task)
	}
	slices.Sort(ids)
	if d := cmp.Diff([]string{"t001", "t004", "t005"}, ids); d != "" {
		t.Fatal(d)
	}
}

func TestProtectedTasksStay(t *testing.T) {
	w := newWorld(t, 2)
	w.settle()
	until := w.now.Add(time.Minute)
	w.task("t001").ProtectedUntil = until
	w.task("t002").ProtectedUntil = until
	w.snap.Service.Desired = 1
	p := w.next()
	if len(p.Stops) != 0 || !p.Wake.Equal(until) {
		t.Fatalf("got %+v, wake %v", p.Stops, p.Wake)
	}
	w.now = until
	if p = w.next(); len(p.Stops) != 1 {
		t.Fatalf("got %+v", p.Stops)
	}
}

func TestDeadTaskIsReplaced(t *testing.T) {
	w := newWorld(t, 2)
	w.settle()
	w.events = nil
	w.fail("t001", "")
	if p := w.next(); p.Start != 1 || !p.State.Throttle.Until.IsZero() {
		t.Fatalf("got %+v", p)
	}
	w.sawEvents("(service web) has started 1 tasks: (task t003).")
}

// A crash loop is retried at once, then after 10 s, 20 s, 40 s … 15 min.
func TestStartThrottle(t *testing.T) {
	w := newWorld(t, 2)
	var delays []time.Duration
	for range 10 {
		p := w.next()
		if p.Start != 2 {
			t.Fatalf("starts %d at %v", p.Start, w.now)
		}
		w.now = w.now.Add(time.Second)
		for i := range w.snap.Tasks {
			w.fail(w.snap.Tasks[i].ID, "CannotPullContainerError: no such image")
		}
		// What the plan after the failure would start is not carried out.
		failed := Next(w.snap, w.now)
		until := failed.State.Throttle.Until
		delays = append(delays, max(until.Sub(w.now), 0))
		if !until.After(w.now) {
			continue
		}
		if p = w.next(); p.Start != 0 || !p.Wake.Equal(until) {
			t.Fatalf("starts %d before %v, wakes at %v", p.Start, until, p.Wake)
		}
		w.now = until
	}
	var want []time.Duration
	for _, seconds := range []int{0, 10, 20, 40, 80, 160, 320, 640, 900, 900} {
		want = append(want, time.Duration(seconds)*time.Second)
	}
	if d := cmp.Diff(want, delays); d != "" {
		t.Fatal(d)
	}
	if !slices.Contains(w.events, "(service web) was unable to place a task. Reason: CannotPullContainerError: no such image.") {
		t.Fatal(w.events)
	}
	if n := strings.Count(strings.Join(w.events, "\n"), "unable to consistently start tasks successfully"); n != 9 {
		t.Fatalf("%d throttle events", n)
	}
	if w.snap.Deployments[0].Failed != 20 || w.snap.Deployments[0].RolloutState != InProgress {
		t.Fatalf("got %+v", w.snap.Deployments[0])
	}
	// One that stays up ends it.
	w.settle()
	if !w.snap.State.Throttle.Until.IsZero() || w.snap.Deployments[0].Failed != 0 {
		t.Fatalf("got %+v", w.snap)
	}
}

func TestThreshold(t *testing.T) {
	for desired, want := range map[int]int{1: 3, 6: 3, 7: 4, 25: 13, 400: 200, 800: 200} {
		if got := threshold(desired); got != want {
			t.Errorf("%d: %d, want %d", desired, got, want)
		}
	}
}

func TestCircuitBreakerRollsBack(t *testing.T) {
	w := newWorld(t, 2)
	w.snap.Service.CircuitBreaker = CircuitBreaker{Enable: true, Rollback: true}
	w.settle()
	w.events = nil
	w.deploy("ecs-svc/2")
	var p Plan
	for range 10 {
		if p = w.next(); p.RollBack != "" {
			break
		}
		for i := range w.snap.Tasks {
			if x := &w.snap.Tasks[i]; x.Deployment == "ecs-svc/2" {
				x.Phase, x.Wanted = Stopped, false
			}
		}
		w.now = w.now.Add(time.Minute)
	}
	if p.RollBack != "ecs-svc/1" {
		t.Fatalf("no rollback: %+v", p)
	}
	want := []Deployment{
		{ID: "ecs-svc/2", Status: Active, RolloutState: Failed, RolloutStateReason: "ECS deployment circuit breaker: tasks failed to start.", Failed: 4},
		{ID: "ecs-svc/1", Status: Primary, RolloutState: Completed, RolloutStateReason: "ECS deployment ecs-svc/1 completed.", Desired: 2, Running: 2},
	}
	if d := cmp.Diff(want[1:], p.Deployments); d != "" {
		t.Fatal(d)
	}
	w.sawEvents(
		"(service web) has started 2 tasks: (task t003) (task t004).",
		"(service web) has started 2 tasks: (task t005) (task t006).",
		"(service web) is unable to consistently start tasks successfully. For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.",
		"(service web) (deployment ecs-svc/2) deployment failed: tasks failed to start.",
		"(service web) rolling back to deployment ecs-svc/1.",
		"(service web) (deployment ecs-svc/1) deployment completed.",
		"(service web) has reached a steady state.",
	)
}

func TestCircuitBreakerWithoutRollbackStops(t *testing.T) {
	w := newWorld(t, 1)
	w.snap.Service.CircuitBreaker.Enable = true
	for range 20 {
		w.next()
		for i := range w.snap.Tasks {
			w.snap.Tasks[i].Phase, w.snap.Tasks[i].Wanted = Stopped, false
		}
		w.now = w.now.Add(time.Hour)
	}
	if d := w.snap.Deployments[0]; d.RolloutState != Failed || d.Failed != 3 || w.made != 3 {
		t.Fatalf("got %+v after %d tasks", d, w.made)
	}
}

// That a target group refuses a task is told once, and the deployment waits.
func TestRefusedTarget(t *testing.T) {
	w := newWorld(t, 1)
	w.next()
	w.run()
	w.events = nil
	w.task("t001").Targets = []Target{{GroupARN: "arn:tg", Port: 80, Refused: "The following targets are not in the target group VPC 'vpc-1': 'i-1'"}}
	for range 3 {
		if p := w.next(); p.Start != 0 || len(p.Stops) != 0 || p.Deployments[0].RolloutState != InProgress {
			t.Fatalf("got %+v", p)
		}
		w.now = w.now.Add(time.Hour)
	}
	w.sawEvents("(service web) failed to register targets in (target-group arn:tg) with (error The following targets are not in the target group VPC 'vpc-1': 'i-1')")
}

func TestUnhealthyTargetIsReplacedFirst(t *testing.T) {
	w := newWorld(t, 1)
	w.snap.Service.HealthCheckGracePeriod = time.Minute
	w.next()
	w.run()
	target := func(id string, s TargetState) {
		w.task(id).Targets = []Target{{GroupARN: "arn:tg", Port: 80, State: s, Registered: true, Reason: "Health checks failed with these codes: [502]"}}
	}
	target("t001", TargetUnhealthy)
	if p := w.next(); p.Start != 0 || !p.Wake.Equal(w.now.Add(time.Minute)) {
		t.Fatalf("does not heed the grace period: %+v", p)
	}
	target("t001", TargetHealthy)
	w.next()
	w.events = nil
	w.now = w.now.Add(time.Minute)
	target("t001", TargetUnhealthy)
	if p := w.next(); p.Start != 1 || len(p.Stops) != 0 {
		t.Fatalf("got %+v", p)
	}
	w.run()
	target("t002", TargetInitial)
	if p := w.next(); p.Start != 0 || len(p.Stops) != 0 {
		t.Fatalf("got %+v", p)
	}
	target("t002", TargetHealthy)
	if p := w.next(); !cmp.Equal(p.Stops, []Stop{{"t001", "Task failed ELB health checks in (target-group arn:tg)"}}) {
		t.Fatalf("got %+v", p)
	}
	w.run()
	w.next()
	w.sawEvents(
		"(service web) has started 1 tasks: (task t002). Amazon ECS replaced 1 tasks due to an unhealthy status.",
		"(service web) (task t001) (port 80) is unhealthy in (target-group arn:tg) due to (reason Health checks failed with these codes: [502]).",
		"(service web) registered 1 targets in (target-group arn:tg)",
		"(service web) has stopped 1 running tasks: (task t001).",
		"(service web) deregistered 1 targets in (target-group arn:tg)",
		"(service web, taskSet ecs-svc/1) has begun draining connections on 1 tasks.",
		"(service web) has reached a steady state.",
	)
}

func TestDelete(t *testing.T) {
	w := newWorld(t, 2)
	w.settle()
	w.snap.Service.Draining, w.snap.Service.Desired = true, 0
	if p := w.next(); len(p.Stops) != 2 || p.Drained {
		t.Fatalf("got %+v", p)
	}
	w.run()
	if p := w.next(); !p.Drained {
		t.Fatalf("got %+v", p)
	}
}

func TestFailedContainerHealthChecks(t *testing.T) {
	w := newWorld(t, 2)
	w.next()
	w.run()
	for i := range w.snap.Tasks {
		w.snap.Tasks[i].Health = Healthy
	}
	if p := w.next(); p.Deployments[0].RolloutState != Completed {
		t.Fatalf("tasks that pass their checks are healthy at once: %+v", p)
	}
	w.events = nil
	w.task("t002").Health = Unhealthy
	w.next()
	w.run()
	w.task("t003").Health = Unknown
	if p := w.next(); len(p.Stops) != 0 {
		t.Fatalf("got %+v", p.Stops)
	}
	w.task("t003").Health = Healthy
	if p := w.next(); !cmp.Equal(p.Stops, []Stop{{"t002", "Task failed container health checks"}}) {
		t.Fatalf("got %+v", p.Stops)
	}
	w.sawEvents(
		"(service web) has started 1 tasks: (task t003). Amazon ECS replaced 1 tasks due to an unhealthy status.",
		"(service web) (task t002) failed container health checks.",
		"(service web) has stopped 1 running tasks: (task t002).",
	)
}

// A task that recovers before its replacement is healthy stays; the
// replacement goes.
func TestRecoveredTaskStays(t *testing.T) {
	w := newWorld(t, 1)
	w.settle()
	w.task("t001").Health = Unhealthy
	w.next()
	w.task("t001").Health = Healthy
	if p := w.next(); len(p.Stops) != 1 || p.Stops[0].Task != "t002" {
		t.Fatalf("got %+v", p.Stops)
	}
}

// Without a primary deployment nothing is concluded, unless the service goes.
func TestNoPrimary(t *testing.T) {
	w := newWorld(t, 1)
	w.settle()
	w.snap.Deployments = nil
	if p := Next(w.snap, w.now); len(p.Stops)+p.Start > 0 {
		t.Fatalf("got %+v", p)
	}
	w.snap.Service.Draining = true
	if p := Next(w.snap, w.now); len(p.Stops) != 1 {
		t.Fatalf("got %+v", p)
	}
}
