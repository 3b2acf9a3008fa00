package deployment

import (
	"fmt"
	"strings"
	"time"

	"roadstead.dev/internal/model"
)

// StartedEvent tells that tasks were started, replaced of them for unhealthy
// ones.
func StartedEvent(service string, ids []string, replaced int) string {
	s := fmt.Sprintf("(service %s) has started %d tasks: %s.", service, len(ids), taskList(ids))
	if replaced > 0 {
		s += fmt.Sprintf(" Amazon ECS replaced %d tasks due to an unhealthy status.", replaced)
	}
	return s
}

// unplacedEvery is how often a lasting cause is announced again.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-event-messages.html
const unplacedEvery = 6 * time.Hour

// Unplaced notes that a task found no instance, for a cause that how tells in
// the words of an event, and returns the event, "" where it has been announced
// not long ago.
func (p *Plan) Unplaced(service, cause, how string, now time.Time) string {
	if s := &p.State; s.Unplaced != cause || !now.Before(s.UnplacedAt.Add(unplacedEvery)) {
		s.Unplaced, s.UnplacedAt = cause, now
		return fmt.Sprintf("(service %s) was unable to place a task because no container instance met all of its requirements. %s For more information, see the Troubleshooting section of the Amazon ECS Developer Guide.", service, how)
	}
	return ""
}

// UnplacedIn is Unplaced for a task that was to balance the zones.
func (p *Plan) UnplacedIn(service string, zones []string, now time.Time) string {
	in := strings.Join(zones, " or ")
	if s := &p.State; s.Unplaced != in || !now.Before(s.UnplacedAt.Add(unplacedEvery)) {
		s.Unplaced, s.UnplacedAt = in, now
		return fmt.Sprintf("(service %s) is unable to place a task in %s because no container instance met all of its requirements.", service, in)
	}
	return ""
}

// Placed notes that all tasks that were to start found an instance.
func (p *Plan) Placed() { p.State.Unplaced, p.State.UnplacedAt = "", time.Time{} }

func (p *planner) event(format string, args ...any) {
	p.plan.Events = append(p.plan.Events, "(service "+p.Service.Name+") "+fmt.Sprintf(format, args...))
}

func taskList(ids []string) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = "(task " + id + ")"
	}
	return strings.Join(parts, " ")
}

// Reasons that tasks are stopped for and deployments end in, in AWS's words.

func scalingReason(deployment string) string {
	return "Scaling activity initiated by (deployment " + deployment + ")"
}

func elbReason(group string) string {
	return "Task failed ELB health checks in (" + balancer(group) + ")"
}

// balancer is what has the target group with the ARN: itself, or a classic
// load balancer, whose members are instances.
func balancer(group string) string {
	if name, ok := model.ClassicGroupName(group); ok {
		return "elb " + name
	}
	return "target-group " + group
}

func members(group string) string {
	if _, ok := model.ClassicGroupName(group); ok {
		return "instances"
	}
	return "targets"
}

const containerReason = "Task failed container health checks"

func completedReason(id string) string { return "ECS deployment " + id + " completed." }

func rollingBackReason(id string) string {
	return "ECS deployment circuit breaker: rolling back to deploymentId " + id + "."
}

const failedReason = "ECS deployment circuit breaker: tasks failed to start."

func inProgressReason(id string) string { return "ECS deployment " + id + " in progress." }

func drainingEvent(service, deployment string, n int) string {
	return fmt.Sprintf("(service %s, taskSet %s) has begun draining connections on %d tasks.", service, deployment, n)
}
