package node

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"roadstead.dev/internal/model/acs"
)

// TestNextBringsEveryTaskToItsEnd walks tasks with random dependencies
// through random exits: each step must be allowed, no container may start
// before what it depends on, and every task must come to its end.
func TestNextBringsEveryTaskToItsEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawTask(t)
		now := time.Unix(1e9, 0)
		stopAt := rapid.IntRange(1, 40).Draw(t, "stop after")
		for i := range 200 {
			if i == stopAt {
				s.Stop = true
			}
			d := next(s, now)
			switch d.action {
			case finished:
				for _, c := range s.Containers {
					if c.Step == stepRunning {
						t.Fatalf("container %s runs at the end", c.Name)
					}
				}
				return
			case wait:
				now = now.Add(time.Second)
				if !d.wake.IsZero() && rapid.Bool().Draw(t, "let the time pass") {
					now = d.wake
				}
				happen(t, s, now)
			default:
				apply(t, s, d, now)
			}
		}
		t.Fatalf("no end: %+v", s)
	})
}

func drawTask(t *rapid.T) *taskState {
	n := rapid.IntRange(1, 4).Draw(t, "containers")
	s := &taskState{Task: acs.Task{Arn: arn}}
	for i := range n {
		c := acs.Container{Name: fmt.Sprint(i), Essential: i == 0 || rapid.Bool().Draw(t, "essential")}
		for j := range i { // earlier ones alone: no circles
			if rapid.Bool().Draw(t, "depends") {
				condition := rapid.SampledFrom([]string{acs.ConditionStart, acs.ConditionComplete, acs.ConditionSuccess, acs.ConditionHealthy}).Draw(t, "condition")
				c.DependsOn = append(c.DependsOn, acs.ContainerDependency{ContainerName: fmt.Sprint(j), Condition: condition})
			}
		}
		if rapid.Bool().Draw(t, "restarts") {
			c.RestartPolicy = &acs.RestartPolicy{Enabled: true, RestartAttemptPeriod: 60, IgnoredExitCodes: []int32{0}}
		}
		s.Task.Containers = append(s.Task.Containers, c)
		s.Containers = append(s.Containers, containerState{Name: c.Name, Health: acs.HealthUnknown})
	}
	return s
}

// happen lets a running container end or become healthy.
func happen(t *rapid.T, s *taskState, now time.Time) {
	running := at(s, stepRunning)
	if len(running) == 0 {
		t.Fatal("waits although nothing runs")
	}
	c := s.container(rapid.SampledFrom(running).Draw(t, "container"))
	if rapid.Bool().Draw(t, "ends") {
		code := rapid.SampledFrom([]int32{0, 1}).Draw(t, "code")
		c.Step, c.ExitCode, c.FinishedAt = stepStopped, &code, now
	} else {
		c.Health = acs.HealthHealthy
	}
}

// apply does what was decided, and checks that it may be done.
func apply(t *rapid.T, s *taskState, d decision, now time.Time) {
	advance := func(from, to step) {
		for _, name := range d.containers {
			if c := s.container(name); c.Step != from {
				t.Fatalf("%v of container %s at step %v", d.action, name, c.Step)
			}
			s.container(name).Step = to
		}
	}
	if s.Stop && d.action != stopContainers && d.action != cleanUp {
		t.Fatalf("%v although the task stops", d.action)
	}
	switch d.action {
	case prepare:
		if s.Resources && len(d.containers) == 0 {
			t.Fatal("prepares nothing")
		}
		// One may be done before the other fails and is tried again.
		half := rapid.SampledFrom([]string{"both", "resources", "images"}).Draw(t, "prepared")
		if half != "images" || len(d.containers) == 0 {
			s.Resources = true
		}
		if half != "resources" {
			advance(stepNone, stepPulled)
		}
	case create:
		advance(stepPulled, stepCreated)
	case start:
		for _, name := range d.containers {
			for _, dep := range s.definition(name).DependsOn {
				if met, _ := condition(dep.Condition, s.container(dep.ContainerName)); !met {
					t.Fatalf("container %s starts before %+v", name, dep)
				}
			}
		}
		advance(stepCreated, stepRunning)
		for _, name := range d.containers {
			c := s.container(name)
			c.Started, c.StartedAt = true, now
		}
	case restart:
		advance(stepStopped, stepCreated)
	case fail:
		if d.reason == "" {
			t.Fatal("fails without a reason")
		}
		s.Stop = true
	case stopContainers:
		for _, name := range d.containers {
			for _, other := range at(s, stepRunning) {
				for _, dep := range s.definition(other).DependsOn {
					if dep.ContainerName == name {
						t.Fatalf("container %s stops before %s, which depends on it", name, other)
					}
				}
			}
		}
		advance(stepRunning, stepStopped)
	case cleanUp:
		s.Cleaned = true
	case wait, finished:
	}
}
