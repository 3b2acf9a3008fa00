package autoscaling

import (
	"fmt"
	"strings"
	"time"

	"roadstead.dev/internal/model"
)

// Stamp is a time as activities write it.
func Stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// Launching begins the description of a launch.
const Launching = "Launching a new EC2 instance"

// Why health checks and others take instances out of service, as causes end.
const (
	byEC2     = "in response to an EC2 health check indicating it has been terminated or stopped"
	byStatus  = "in response to an EC2 instance status checks failure"
	byELB     = "in response to an ELB system health check failure"
	byUser    = "in response to a user health-check"
	byRefresh = "in response to an instance refresh"
	byAge     = "in response to a max instance lifetime action"
	bySpot    = "in response to an EC2 instance rebalance recommendation"
)

func takenOut(now time.Time, why string) string {
	return "At " + Stamp(now) + " an instance was taken out of service " + why + "."
}

func selected(now time.Time, id string) string {
	return "At " + Stamp(now) + " instance " + id + " was selected for termination."
}

// sentences joins those that are not empty as AWS does.
func sentences(list ...string) string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, "  ")
}

// reason is the cause of the last change of the desired capacity, until it was
// brought about.
func (p *planner) reason() string {
	if p.Group.DesiredReason == p.Group.Status.Told {
		return ""
	}
	return p.Group.DesiredReason
}

func (p *planner) grows(from, to int) string {
	return sentences(p.reason(), fmt.Sprintf("At %s an instance was started in response to a difference between desired and actual capacity, increasing the capacity from %d to %d.",
		Stamp(p.now), from, to))
}

func (p *planner) shrinks(from, to int, id string) string {
	return sentences(p.reason(), fmt.Sprintf("At %s an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from %d to %d.",
		Stamp(p.now), from, to), selected(p.now, id))
}

// launched is the cause of a launch for the sake of something.
func (p *planner) launched(ahead string) string {
	why := map[string]string{
		model.ASGAheadOfHealth:   "in response to an unhealthy instance needing to be replaced",
		model.ASGAheadOfRefresh:  byRefresh,
		model.ASGAheadOfLifetime: byAge,
		model.ASGAheadOfSpot:     bySpot,
	}[ahead]
	return "At " + Stamp(p.now) + " an instance was launched " + why + "."
}

// balancing is the cause of a launch that moves an instance to another zone.
func (p *planner) balancing(zones []string, counts map[string]int) string {
	var n []string
	for _, z := range zones {
		n = append(n, fmt.Sprint(counts[z]))
	}
	return fmt.Sprintf("At %s availability zones %s had %s instances respectively. An instance was launched to aid in balancing the group's zones.",
		Stamp(p.now), strings.Join(zones, " "), strings.Join(n, " "))
}

// balanced is the cause of the end of an instance for which another was
// launched in another zone.
func (p *planner) balanced(zone string, from, to int, id string) string {
	return sentences(
		fmt.Sprintf("At %s instances were launched to balance instances in zones %s with other zones resulting in more than desired number of instances in the group.", Stamp(p.now), zone),
		fmt.Sprintf("At %s an instance was taken out of service in response to a difference between desired and actual capacity, shrinking the capacity from %d to %d.", Stamp(p.now), from, to),
		selected(p.now, id))
}
