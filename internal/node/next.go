package node

import (
	"fmt"
	"slices"
	"time"

	"roadstead.dev/internal/model/acs"
)

// What comes next for a task.
type action int

const (
	// wait for an exit, a health check, a stop, or the time of the decision.
	wait action = iota
	// prepare makes the task's resources, unless they are there, and at the
	// same time pulls the images of the containers.
	prepare
	create
	start
	restart
	// fail ends the task for the decision's reason.
	fail
	stopContainers
	cleanUp
	finished
)

// decision is one step. Containers are the names of those that it is about.
type decision struct {
	action     action
	containers []string
	reason     string
	// wake is when to decide again although nothing happened; zero for never.
	wake time.Time
}

const (
	essentialExited = "Essential container in task exited"
	// startTimeout is Fargate's, of containers that set none.
	startTimeout = 3 * time.Minute
	// defaultRestartPeriod is AWS's, of restart policies that set none.
	defaultRestartPeriod = 300 * time.Second
)

// next decides the next step of a task from what is known of it at now. It
// changes nothing.
func next(s *taskState, now time.Time) decision {
	if s.Cleaned {
		return decision{action: finished}
	}
	if s.Stop {
		return nextDown(s)
	}
	if d := exited(s); d.action != wait {
		return d
	}
	if names := at(s, stepNone); !s.Resources || len(names) > 0 {
		return decision{action: prepare, containers: names}
	}
	if names := at(s, stepPulled); len(names) > 0 {
		return decision{action: create, containers: names[:1]}
	}
	return nextStart(s, now)
}

// exited looks for containers that ended: one that its policy restarts, or an
// essential one, which ends the task.
func exited(s *taskState) decision {
	for i := range s.Containers {
		c := &s.Containers[i]
		if c.Step != stepStopped {
			continue
		}
		d := s.definition(c.Name)
		if restarts(d.RestartPolicy, c) {
			return decision{action: restart, containers: []string{c.Name}}
		}
		if d.Essential {
			return decision{action: fail, reason: essentialExited}
		}
	}
	return decision{}
}

// restarts tells whether the policy starts the container once more.
func restarts(p *acs.RestartPolicy, c *containerState) bool {
	if p == nil || !p.Enabled || c.ExitCode == nil || !c.Started || slices.Contains(p.IgnoredExitCodes, *c.ExitCode) {
		return false
	}
	period := time.Duration(p.RestartAttemptPeriod) * time.Second
	if period == 0 {
		period = defaultRestartPeriod
	}
	return c.FinishedAt.Sub(c.StartedAt) >= period
}

// nextStart starts every container whose dependencies have come so far.
func nextStart(s *taskState, now time.Time) decision {
	var ready []string
	d := decision{}
	for i := range s.Containers {
		c := &s.Containers[i]
		if c.Step != stepCreated {
			continue
		}
		state, why, until := dependencies(s, c, now)
		switch state {
		case depReady:
			ready = append(ready, c.Name)
		case depNever:
			return decision{action: fail, containers: []string{c.Name}, reason: why}
		case depWaiting:
			if !until.IsZero() && (d.wake.IsZero() || until.Before(d.wake)) {
				d.wake = until
			}
		}
	}
	if len(ready) > 0 {
		return decision{action: start, containers: ready}
	}
	return d
}

type dependencyState int

const (
	depReady dependencyState = iota
	depWaiting
	depNever
)

// dependencies tells whether a container may start. why tells what will never
// come; until is when waiting is given up.
func dependencies(s *taskState, c *containerState, now time.Time) (state dependencyState, why string, until time.Time) {
	def := s.definition(c.Name)
	for _, dep := range slices.Concat(def.DependsOn, implied(def)) {
		on, onDef := s.container(dep.ContainerName), s.definition(dep.ContainerName)
		if on == nil {
			return depNever, fmt.Sprintf("Container %s depends on container %s, which is not in the task", c.Name, dep.ContainerName), until
		}
		met, never := condition(dep.Condition, on)
		if met {
			continue
		}
		if never {
			return depNever, fmt.Sprintf("Container %s did not reach condition %s that container %s depends on", on.Name, dep.Condition, c.Name), until
		}
		state = depWaiting
		if on.Started && dep.Condition != acs.ConditionStart {
			timeout := startTimeout
			if onDef.StartTimeout > 0 {
				timeout = time.Duration(onDef.StartTimeout) * time.Second
			}
			end := on.StartedAt.Add(timeout)
			if !now.Before(end) {
				return depNever, fmt.Sprintf("Container %s did not reach condition %s within %s", on.Name, dep.Condition, timeout), until
			}
			if until.IsZero() || end.Before(until) {
				until = end
			}
		}
	}
	return state, "", until
}

// implied are the dependencies that links and volumesFrom make.
func implied(c *acs.Container) []acs.ContainerDependency {
	var out []acs.ContainerDependency
	for _, l := range c.Links {
		name, _ := link(l)
		out = append(out, acs.ContainerDependency{ContainerName: name, Condition: acs.ConditionStart})
	}
	for _, v := range c.VolumesFrom {
		out = append(out, acs.ContainerDependency{ContainerName: v.SourceContainer, Condition: acs.ConditionStart})
	}
	return out
}

// condition tells whether a container has met a condition, or never will.
func condition(name string, c *containerState) (met, never bool) {
	ended := c.Step == stepStopped
	switch name {
	case acs.ConditionComplete:
		return ended, false
	case acs.ConditionSuccess:
		ok := ended && c.ExitCode != nil && *c.ExitCode == 0
		return ok, ended && !ok
	case acs.ConditionHealthy:
		ok := c.Step == stepRunning && c.Health == acs.HealthHealthy
		return ok, ended
	default: // START
		return c.Started, ended && !c.Started
	}
}

// nextDown stops containers, those first that others do not depend on, then
// removes everything.
func nextDown(s *taskState) decision {
	running := at(s, stepRunning)
	if len(running) == 0 {
		return decision{action: cleanUp}
	}
	needed := map[string]bool{}
	for _, name := range running {
		def := s.definition(name)
		for _, dep := range slices.Concat(def.DependsOn, implied(def)) {
			needed[dep.ContainerName] = true
		}
	}
	free := slices.DeleteFunc(slices.Clone(running), func(n string) bool { return needed[n] })
	if len(free) == 0 { // a cycle, which registration refuses
		free = running
	}
	return decision{action: stopContainers, containers: free}
}

// at lists the containers that are at a step.
func at(s *taskState, step step) []string {
	var names []string
	for _, c := range s.Containers {
		if c.Step == step {
			names = append(names, c.Name)
		}
	}
	return names
}
