package lifecycle

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"roadstead.dev/internal/model"
)

var now = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

func task(last, desired, observed string) *model.Task {
	return &model.Task{
		Spec:     model.TaskSpec{Containers: []model.TaskContainer{{Name: "web", Essential: true}, {Name: "side"}}},
		Desired:  model.TaskDesired{Status: desired},
		Status:   model.TaskStatus{LastStatus: last, Version: 1},
		Observed: model.TaskObserved{Status: observed},
	}
}

func TestNext(t *testing.T) {
	const run, stop = model.TaskRunning, model.TaskStopped
	lb := Facts{Targets: 1}
	tests := []struct {
		name                    string
		last, desired, observed string
		facts                   Facts
		want                    Step
	}{
		{"provision", model.TaskProvisioning, run, "", Facts{}, Step{Status: model.TaskPending, Action: Provision}},
		{"wait for the node", model.TaskPending, run, "", lb, Step{}},
		{"wait for the containers", model.TaskPending, run, model.TaskPending, lb, Step{}},
		{"up without load balancer", model.TaskPending, run, run, Facts{}, Step{Status: run}},
		{"up with one", model.TaskPending, run, run, lb, Step{Status: model.TaskActivating}},
		{"register", model.TaskActivating, run, run, lb, Step{Status: run, Action: Register}},
		{"register when the ports are known", model.TaskActivating, run, run, Facts{Targets: 2, Unknown: 1}, Step{}},
		{"run on", run, run, run, lb, Step{}},
		{"stopped before provisioning", model.TaskProvisioning, stop, "", Facts{}, Step{Status: model.TaskDeprovisioning}},
		{"stopped while pending", model.TaskPending, stop, "", lb, Step{Status: model.TaskStopping}},
		{"drain first", run, stop, run, Facts{Targets: 1, Registered: 1}, Step{Status: model.TaskDeactivating, Action: Deregister}},
		{"draining", model.TaskDeactivating, stop, run, Facts{Targets: 1, Draining: 1, DrainUntil: now.Add(1)}, Step{Wake: now.Add(1)}},
		{"drained", model.TaskDeactivating, stop, run, Facts{Targets: 1}, Step{Status: model.TaskStopping}},
		{"drained for too long", model.TaskDeactivating, stop, run, Facts{Targets: 1, Draining: 1, DrainUntil: now}, Step{Status: model.TaskStopping}},
		{"nothing to drain", run, stop, run, lb, Step{Status: model.TaskStopping}},
		{"containers stop", model.TaskStopping, stop, run, lb, Step{}},
		{"containers stopped", model.TaskStopping, stop, stop, lb, Step{Status: model.TaskDeprovisioning}},
		{"release", model.TaskDeprovisioning, stop, stop, lb, Step{Status: stop, Action: Release}},
		{
			"died behind a load balancer", run, run, stop,
			Facts{Targets: 1, Registered: 1},
			Step{Status: model.TaskDeactivating, Action: Deregister, Stop: model.TaskDesired{
				Status: stop, StopCode: model.StopTaskFailedToStart, StoppedReason: "Task failed to start", StoppingAt: now,
			}},
		},
		{"dead tasks are not drained", model.TaskDeactivating, stop, stop, Facts{Draining: 1, DrainUntil: now.Add(1)}, Step{Status: model.TaskDeprovisioning}},
	}
	waiting := task(model.TaskProvisioning, run, "")
	waiting.Spec.LaunchType, waiting.Spec.CapacityProviderName = model.LaunchTypeEC2, "cp"
	if got := Next(waiting, Facts{}, now); got != (Step{}) {
		t.Errorf("a task that waits for an instance: %+v", got)
	}
	interrupted := task(model.TaskDeactivating, stop, run)
	interrupted.Desired.StopCode = model.StopSpotInterruption
	if got := Next(interrupted, Facts{Draining: 1, DrainUntil: now.Add(1)}, now); got.Status != model.TaskStopping {
		t.Errorf("an interrupted task that drains: %+v", got)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, Next(task(tt.last, tt.desired, tt.observed), tt.facts, now)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestStoppedTasksStayAnHour(t *testing.T) {
	x := task(model.TaskStopped, model.TaskStopped, model.TaskStopped)
	x.Status.StoppedAt = now
	if d := cmp.Diff(Step{Wake: now.Add(time.Hour)}, Next(x, Facts{}, now)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(Step{Action: Forget}, Next(x, Facts{}, now.Add(time.Hour))); d != "" {
		t.Error(d)
	}
}

func TestDeath(t *testing.T) {
	tests := []struct {
		name         string
		change       func(*model.Task)
		code, reason string
	}{
		{"exit", func(t *model.Task) {
			t.Observed.Containers = []model.ContainerState{{Name: "web", ExitCode: new(1)}}
		}, model.StopEssentialContainerExited, "Essential container in task exited"},
		{"exit, told by the node", func(t *model.Task) {
			t.Observed.Containers = []model.ContainerState{{Name: "web", ExitCode: new(137), Reason: "OutOfMemoryError: Container killed due to memory usage"}}
			t.Observed.Reason = "OutOfMemoryError: container killed due to memory usage"
		}, model.StopEssentialContainerExited, "OutOfMemoryError: container killed due to memory usage"},
		{"no image", func(t *model.Task) {
			t.Observed.Containers = []model.ContainerState{{Name: "web", Reason: "CannotPullContainerError: not found"}}
		}, model.StopTaskFailedToStart, "CannotPullContainerError: not found"},
		{"no such command", func(t *model.Task) {
			t.Observed.Containers = []model.ContainerState{{Name: "web", ExitCode: new(127), Reason: "CannotStartContainerError: exec: not found"}}
		}, model.StopTaskFailedToStart, "CannotStartContainerError: exec: not found"},
		{"ran", func(t *model.Task) { t.Status.StartedAt = now }, model.StopEssentialContainerExited, "Essential container in task exited"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := task(model.TaskRunning, model.TaskRunning, model.TaskStopped)
			tt.change(x)
			s := Next(x, Facts{}, now)
			if s.Stop.StopCode != tt.code || s.Stop.StoppedReason != tt.reason {
				t.Errorf("got %q, %q", s.Stop.StopCode, s.Stop.StoppedReason)
			}
		})
	}
}

// Whatever the node reports and whoever stops the task when, its status only
// moves forward, its times are in order, and it ends once all let it.
func TestForwardOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := task(model.TaskProvisioning, model.TaskRunning, "")
		f := Facts{Targets: rapid.IntRange(0, 2).Draw(t, "targets")}
		clock := now
		step := func() {
			s := Next(x, f, clock)
			before, v, reason := Rank(x.Status.LastStatus), x.Status.Version, x.Desired.StoppedReason
			if s.Action == Register {
				f.Registered = f.Targets
			}
			if s.Action == Deregister {
				f.Draining, f.Registered, f.DrainUntil = f.Registered, 0, clock.Add(time.Minute)
			}
			changed := Apply(x, s, clock)
			if Rank(x.Status.LastStatus) < before {
				t.Fatalf("went back from %s to %s", order[before], x.Status.LastStatus)
			}
			if changed != (x.Status.Version > v) {
				t.Fatal("version does not tell the change")
			}
			if reason != "" && x.Desired.StoppedReason != reason {
				t.Fatal("the first reason must stay")
			}
		}
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			clock = clock.Add(time.Second)
			switch rapid.IntRange(0, 5).Draw(t, "event") {
			case 0:
				if x.Observed.Status == "" && Rank(x.Status.LastStatus) >= 1 {
					x.Observed.Status = model.TaskPending
				}
			case 1:
				if x.Observed.Status == model.TaskPending {
					x.Observed.Status = model.TaskRunning
				}
			case 2:
				if x.Observed.Status != "" {
					x.Observed.Status = model.TaskStopped
				}
			case 3:
				x.Stop(model.StopUserInitiated, "by the user", clock)
			case 4:
				f.Draining = 0
			}
			step()
		}
		x.Stop(model.StopUserInitiated, "the end", clock)
		if Rank(x.Status.LastStatus) >= 1 {
			x.Observed.Status = model.TaskStopped
		}
		f.Draining = 0
		for range len(order) {
			step()
		}
		if x.Status.LastStatus != model.TaskStopped || x.Status.StoppedAt.IsZero() {
			t.Fatalf("did not end: %+v", x.Status)
		}
		if !x.Status.StartedAt.IsZero() && x.Status.StoppedAt.Before(x.Status.StartedAt) {
			t.Fatal("stopped before it started")
		}
	})
}
