package balance

import (
	"strconv"
	"time"

	"roadstead.dev/internal/model"
)

// minDrain is how long a target drains at least: a request that was given the
// target just before may not have been counted yet.
const minDrain = time.Second

// Seen is what a data plane knows of a target.
type Seen struct {
	// Health is initial, healthy or unhealthy.
	Health model.TargetHealth
	// InFlight counts the requests and tunnels that the target serves.
	InFlight int64
}

// Verdict says what to do with a target's records.
type Verdict struct {
	// Health is what its record should be.
	Health model.TargetHealth
	// Remove tells that the target is drained, and both records go.
	Remove bool
	// Again is when to judge anew although nothing changed; 0 means never.
	Again time.Duration
}

// Judge decides about a target. Before is its recorded health, nil when there
// is none. InUse tells whether a load balancer uses its group. Seen is nil
// when the data plane does not know the target. Applied tells that the data
// plane was already told whether the target drains.
func Judge(t *model.Target, before *model.TargetHealth, delay time.Duration, inUse bool, seen *Seen, applied bool, now time.Time) Verdict {
	h := model.TargetHealth{}
	v := Verdict{}
	switch {
	case t.DeregisteringAt != nil && !inUse:
		return Verdict{Remove: true}
	case t.DeregisteringAt != nil:
		h = model.TargetHealth{
			State: model.TargetHealthDraining, Reason: model.ReasonDeregistrationInProgress,
			Description: model.DescriptionDeregistration,
		}
		if before != nil && before.State == h.State {
			h.DrainStarted = before.DrainStarted
		}
		if h.DrainStarted.IsZero() && applied {
			h.DrainStarted = now
		}
		idle := applied && (seen == nil || seen.InFlight == 0) && now.Sub(h.DrainStarted) >= minDrain
		if idle || !now.Before(t.DeregisteringAt.Add(delay)) {
			return Verdict{Remove: true}
		}
		v.Again = minDrain
	case !inUse:
		h = model.TargetHealth{State: model.TargetHealthUnused, Reason: model.ReasonNotInUse, Description: model.DescriptionNotInUse}
	case seen == nil:
		h = model.TargetHealth{State: model.TargetHealthInitial, Reason: model.ReasonRegistrationInProgress, Description: model.DescriptionRegistration}
	default:
		h = seen.Health
	}
	h.Since = now
	if before != nil && before.State == h.State {
		h.Since = before.Since
	}
	v.Health = h
	return v
}

// DeregistrationDelay is how long a group's targets drain at most.
func DeregistrationDelay(g *model.TargetGroup) time.Duration {
	if n, err := strconv.Atoi(g.Attributes["deregistration_delay.timeout_seconds"]); err == nil {
		return time.Duration(n) * time.Second
	}
	return 300 * time.Second
}

// PreservesByDefault tells whether the targets of a network load balancer's
// group see their clients' addresses where its attribute does not say.
func PreservesByDefault(targetType, protocol string) bool {
	return targetType != model.TargetTypeIP || protocol == "UDP" || protocol == "TCP_UDP"
}

// isDatagram tells whether a group's protocol has flows without an end.
func isDatagram(protocol string) bool { return protocol == "UDP" || protocol == "TCP_UDP" }

// EndsDeregistered tells whether the flows to a network load balancer's target
// end when its deregistration delay has passed.
func EndsDeregistered(attributes map[string]string, protocol string) bool {
	if v := attributes["deregistration_delay.connection_termination.enabled"]; v != "" {
		return v == "true"
	}
	return isDatagram(protocol)
}

// EndsUnhealthy tells whether the flows to a network load balancer's target end
// when it becomes unhealthy.
func EndsUnhealthy(attributes map[string]string, protocol string) bool {
	if v := attributes["target_health_state.unhealthy.connection_termination.enabled"]; v != "" {
		return v == "true"
	}
	return !isDatagram(protocol)
}
