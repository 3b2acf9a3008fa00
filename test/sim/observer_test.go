package sim

import (
	"fmt"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/deployment"
	"roadstead.dev/internal/plan/lifecycle"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// observer follows every commit and checks what must hold after each.
type observer struct {
	services map[string]*model.Service
	tasks    map[string]map[string]*model.Task // by service, by key
	commits  int
	broken   []string
}

func (o *observer) fail(format string, args ...any) {
	if len(o.broken) < 10 {
		o.broken = append(o.broken, fmt.Sprintf(format, args...))
	}
}

func (o *observer) batch(batch []store.Event) error {
	o.commits++
	healthyBefore := map[string]int{}
	started, stopped := map[string]bool{}, map[string]time.Time{}
	type change struct {
		service, id string
		task        *model.Task
	}
	var changes []change
	for _, ev := range batch {
		switch ev.Record.Key.Kind {
		case tables.ECSServices.Kind():
			row, err := tables.ECSServices.Row(ev.Record)
			if err != nil {
				return err
			}
			o.services[ev.Record.Key.ID] = row.V
		case tables.ECSTasks.Kind():
			row, err := tables.ECSTasks.Row(ev.Record)
			if err != nil {
				return err
			}
			c := change{row.V.TaskServiceID(), ev.Record.Key.ID, row.V}
			if ev.Type == store.Delete {
				c.task = nil
			}
			changes = append(changes, c)
		}
	}
	for _, c := range changes {
		before := o.tasks[c.service][c.id]
		switch {
		case c.task == nil:
			if before.Status.LastStatus != model.TaskStopped {
				o.fail("%s is forgotten while %s", c.id, before.Status.LastStatus)
			}
		case before == nil:
			started[c.service] = true
		case lifecycle.Rank(c.task.Status.LastStatus) < lifecycle.Rank(before.Status.LastStatus):
			o.fail("%s goes back from %s to %s", c.id, before.Status.LastStatus, c.task.Status.LastStatus)
		case before.Desired.Status == model.TaskStopped && c.task.Desired != before.Desired:
			o.fail("%s is stopped twice: %+v, %+v", c.id, before.Desired, c.task.Desired)
		case before.Desired.Status != model.TaskStopped && c.task.Desired.StopCode == model.StopServiceSchedulerInitiated:
			now := c.task.Desired.StoppingAt
			if _, seen := stopped[c.service]; !seen {
				healthyBefore[c.service] = o.healthy(c.service, now)
			}
			stopped[c.service] = now
		}
	}
	for _, c := range changes {
		if o.tasks[c.service] == nil {
			o.tasks[c.service] = map[string]*model.Task{}
		}
		if c.task == nil {
			delete(o.tasks[c.service], c.id)
		} else {
			o.tasks[c.service][c.id] = c.task
		}
	}
	for id := range started {
		s := o.services[id]
		if s == nil || s.Spec.SchedulingStrategy == "DAEMON" {
			continue // no service's, or with limits by instance
		}
		most := max(s.Spec.DesiredCount*(*s.Spec.DeploymentConfiguration.MaximumPercent)/100, s.Spec.DesiredCount)
		if n := o.live(id); n > most {
			o.fail("%s has %d tasks after a start, at most %d are allowed", id, n, most)
		}
	}
	for id, now := range stopped {
		s := o.services[id]
		least := (s.Spec.DesiredCount*(*s.Spec.DeploymentConfiguration.MinimumHealthyPercent) + 99) / 100
		if s.Spec.SchedulingStrategy == "DAEMON" || len(s.Spec.LoadBalancers) > 0 || s.Status != model.ECSActive || healthyBefore[id] < least {
			continue
		}
		if n := o.healthy(id, now); n < least {
			o.fail("%s has %d healthy tasks after stops, at least %d must be", id, n, least)
		}
	}
	return nil
}

// live counts the service's pending and running tasks.
func (o *observer) live(service string) int {
	n := 0
	for _, t := range o.tasks[service] {
		if lifecycle.Rank(t.Status.LastStatus) <= lifecycle.Rank(model.TaskRunning) {
			n++
		}
	}
	return n
}

func (o *observer) healthy(service string, now time.Time) int {
	n := 0
	for _, t := range o.tasks[service] {
		if t.Status.LastStatus == model.TaskRunning && t.Desired.Status == model.TaskRunning && !now.Before(t.Status.StartedAt.Add(deployment.HealthyAfter)) {
			n++
		}
	}
	return n
}
