// Package lifecycle decides the next step in a task's life: where it goes
// from its last status, given what is wanted, what the node reports and how
// far its network interface and its targets are. A task only moves forward.
//
// AWS's states: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-lifecycle-explanation.html
package lifecycle

import (
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/model"
)

// Retention is how long a stopped task can still be described.
const Retention = time.Hour

// order is the way that every task goes; it may skip states.
var order = []string{
	model.TaskProvisioning, model.TaskPending, model.TaskActivating, model.TaskRunning,
	model.TaskDeactivating, model.TaskStopping, model.TaskDeprovisioning, model.TaskStopped,
}

// Rank is a status's place on the way, from 0; -1 for what is no status.
func Rank(status string) int { return slices.Index(order, status) }

// Facts is what is known of a task's surroundings.
type Facts struct {
	// Targets is how many target groups the task is to be registered with;
	// Registered how many it is registered with and not leaving.
	Targets, Registered int
	// Unknown of the Targets are not known yet: which ports of the instance lead
	// to the task.
	Unknown int
	// Draining is how many registrations are still being drained; DrainUntil
	// when that is no longer waited for.
	Draining   int
	DrainUntil time.Time
	// Lost tells why the container instance that the task is on is no longer
	// there, as the stop that follows: nothing runs on it, and nobody will say
	// so. Its Status is empty while there is an instance.
	Lost model.TaskDesired
}

// Action is what must be done to reach Step.Status. It is done together with
// writing the status, all or nothing.
type Action int

// The actions.
const (
	None Action = iota
	// Provision makes the network interface and the credentials' ids and
	// chooses the node.
	Provision
	// Register registers the task with its target groups.
	Register
	// Deregister starts the draining of its targets.
	Deregister
	// Release frees the network interface.
	Release
	// Forget deletes the task.
	Forget
)

// Step is what comes next.
type Step struct {
	// Status is the next last status; empty to stay.
	Status string
	Action Action
	// Stop, when its Status is set, becomes the task's desired state: nobody
	// asked for the end, but it has come.
	Stop model.TaskDesired
	// Wake is when to look again although nothing changes; zero for never.
	Wake time.Time
}

// Next decides the step that follows for t at now. A zero Step means that the
// task waits for something outside.
func Next(t *model.Task, f Facts, now time.Time) Step {
	lost := f.Lost.Status != "" && t.Status.LastStatus != model.TaskStopped
	dead := t.Observed.Status == model.TaskStopped || lost
	if t.Desired.Status != model.TaskStopped && lost {
		s := Next(ended(t), f, now)
		s.Stop = f.Lost
		return s
	}
	if t.Desired.Status != model.TaskStopped && dead {
		code, reason := death(t)
		s := Next(ended(t), f, now)
		s.Stop = model.TaskDesired{Status: model.TaskStopped, StopCode: code, StoppedReason: reason, StoppingAt: now}
		return s
	}
	if t.Desired.Status == model.TaskStopped {
		return down(t, f, dead, now)
	}
	return up(t, f, now)
}

// ended is t as it will be once its end is written.
func ended(t *model.Task) *model.Task {
	c := *t
	c.Desired.Status = model.TaskStopped
	return &c
}

// AttachTimeout is how long an instance may take to find a task's interface.
const AttachTimeout = 5 * time.Minute

// provisioning is the step of a task that has an instance, or needs none. The
// interface of one on an instance must be seen there before its containers can
// be.
func provisioning(t *model.Task, now time.Time) Step {
	a := t.ENI()
	switch {
	case a == nil || t.Spec.LaunchType == model.LaunchTypeFargate:
		return Step{Status: model.TaskPending, Action: Provision}
	case a.Status == model.TaskAttachmentPrecreated:
		return Step{Action: Provision}
	case !t.Attaching():
		return Step{Status: model.TaskPending}
	}
	until := a.AttachingAt.Add(AttachTimeout)
	if now.Before(until) {
		return Step{Wake: until}
	}
	return Step{Status: model.TaskDeprovisioning, Stop: model.TaskDesired{
		Status: model.TaskStopped, StopCode: model.StopTaskFailedToStart, StoppingAt: now,
		StoppedReason: "Timeout waiting for network interface provisioning to complete.",
	}}
}

func up(t *model.Task, f Facts, now time.Time) Step {
	switch t.Status.LastStatus {
	case model.TaskProvisioning:
		if t.AwaitsInstance() {
			return Step{}
		}
		return provisioning(t, now)
	case model.TaskPending:
		switch {
		case t.Observed.Status != model.TaskRunning:
			return Step{}
		case f.Targets > 0:
			return Step{Status: model.TaskActivating}
		}
		return Step{Status: model.TaskRunning}
	case model.TaskActivating:
		if f.Unknown > 0 {
			return Step{}
		}
		return Step{Status: model.TaskRunning, Action: Register}
	}
	return Step{}
}

func down(t *model.Task, f Facts, dead bool, now time.Time) Step {
	switch t.Status.LastStatus {
	case model.TaskProvisioning:
		// No node knows the task yet.
		return Step{Status: model.TaskDeprovisioning}
	case model.TaskPending, model.TaskActivating, model.TaskRunning:
		if f.Registered > 0 {
			return Step{Status: model.TaskDeactivating, Action: Deregister}
		}
		return stopping(dead)
	case model.TaskDeactivating:
		// What is dead has no connections left to wait for, and a Spot task no
		// time.
		if f.Draining > 0 && !dead && t.Desired.StopCode != model.StopSpotInterruption && now.Before(f.DrainUntil) {
			return Step{Wake: f.DrainUntil}
		}
		return stopping(dead)
	case model.TaskStopping:
		if dead {
			return Step{Status: model.TaskDeprovisioning}
		}
	case model.TaskDeprovisioning:
		return Step{Status: model.TaskStopped, Action: Release}
	case model.TaskStopped:
		end := t.Status.StoppedAt.Add(Retention)
		if now.Before(end) {
			return Step{Wake: end}
		}
		return Step{Action: Forget}
	}
	return Step{}
}

// stopping is the step to STOPPING, or past it when nothing runs any more.
func stopping(dead bool) Step {
	if dead {
		return Step{Status: model.TaskDeprovisioning}
	}
	return Step{Status: model.TaskStopping}
}

// death tells why a task ended that nobody stopped.
func death(t *model.Task) (code, reason string) {
	exited := false
	for _, c := range t.Spec.Containers {
		if o := t.Container(c.Name); o != nil {
			exited = exited || c.Essential && o.ExitCode != nil && !neverStarted(o.Reason)
			if reason == "" && !exited {
				reason = o.Reason
			}
		}
	}
	if t.Observed.Reason != "" {
		reason = t.Observed.Reason
	}
	if exited || !t.Status.StartedAt.IsZero() {
		if t.Observed.Reason == "" {
			reason = "Essential container in task exited"
		}
		return model.StopEssentialContainerExited, reason
	}
	if reason == "" {
		reason = "Task failed to start"
	}
	return model.StopTaskFailedToStart, reason
}

// neverStarted tells from a container's reason that it has not been started,
// whatever exit code was made up for it.
func neverStarted(reason string) bool {
	return strings.HasPrefix(reason, "Cannot") || strings.HasPrefix(reason, "ResourceInitializationError")
}

// started is when the task's containers have all been started, by the node's
// word; zero when some have not.
func started(t *model.Task) time.Time {
	var last time.Time
	for _, c := range t.Spec.Containers {
		o := t.Container(c.Name)
		if o == nil || o.StartedAt.IsZero() {
			return time.Time{}
		}
		if o.StartedAt.After(last) {
			last = o.StartedAt
		}
	}
	return last
}

// Changes tells whether Apply would change t.
func Changes(t *model.Task, s Step) bool {
	return s.Status != "" || s.Stop.Status != "" || connects(t)
}

// connects tells whether t has been heard of for the first time.
func connects(t *model.Task) bool { return t.Observed.Status != "" && t.Status.Connectivity == "" }

// Apply changes t as s says; for what s.Action makes known the caller sees to
// it. It reports whether t changed.
func Apply(t *model.Task, s Step, now time.Time) bool {
	changed := false
	if s.Stop.Status != "" {
		changed = t.Stop(s.Stop.StopCode, s.Stop.StoppedReason, s.Stop.StoppingAt)
	}
	if s.Status != "" && Rank(s.Status) > Rank(t.Status.LastStatus) {
		t.Status.LastStatus = s.Status
		changed = true
		if a := t.ENI(); s.Status == model.TaskPending && a != nil && a.Status == model.TaskAttachmentAttaching {
			a.Status = model.TaskAttachmentAttached
		}
		if t.Status.StartedAt.IsZero() && Rank(s.Status) >= Rank(model.TaskRunning) {
			if s.Status == model.TaskRunning {
				t.Status.StartedAt = now
			} else {
				t.Status.StartedAt = started(t)
			}
		}
		if s.Status == model.TaskStopped {
			t.Status.StoppedAt = now
		}
	}
	if connects(t) {
		t.Status.Connectivity, t.Status.ConnectivityAt = "CONNECTED", now
		changed = true
	}
	if changed {
		t.Status.Version++
	}
	return changed
}
