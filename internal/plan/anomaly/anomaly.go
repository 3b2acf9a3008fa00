// Package anomaly decides which targets of a group fail far more requests than
// their peers, and which share of the requests these get meanwhile: the
// automatic target weights of application load balancers.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html#automatic-target-weights
//
// What AWS documents is kept: errors are 5xx responses and failures to connect,
// in percent of a target's requests and compared with those of the others; it
// takes three healthy targets; every five seconds an anomalous target's share is
// reduced, down to the least that shows whether it has recovered, and then grows
// back to parity. The thresholds below are not documented, and chosen.
package anomaly

import (
	"math"
	"time"
)

// Interval is how long a step is.
const Interval = 5 * time.Second

const (
	// fewestTargets is how many healthy targets there must be.
	fewestTargets = 3
	// decay is what a step leaves of the counts before it: half of them are
	// forgotten within 15 seconds.
	decay = 0.8
	// fewestRequests is how many requests a target, and its peers together,
	// must have had of late for a judgment.
	fewestRequests = 10
	// excess is how much larger the part of failed requests must be than the
	// peers', and significance how many standard errors. Half of either must
	// be left for an anomaly to go on.
	excess       = 0.10
	significance = 3.0
	// fall and rise are what a step makes of an anomalous target's share, and
	// of one that has recovered; least is where the fall ends.
	fall  = 0.5
	rise  = 1.5
	least = 0.02
)

// State is what is known of a target. The zero value is a target of which
// nothing is.
type State struct {
	// Requests and Failed are counts of late.
	Requests, Failed float64
	Anomalous        bool
	// Lacking is what the target's share lacks of 1.
	Lacking float64
}

// Weight is the target's share of the requests, 1 when it is full.
func (s State) Weight() float64 { return 1 - s.Lacking }

// Mitigated tells whether the target gets less than its full share.
func (s State) Mitigated() bool { return s.Lacking > 0 }

// Sample is what happened to a target since the step before.
type Sample struct {
	// Requests that it was sent, and those of them that it failed.
	Requests, Failed int64
	// Healthy targets are compared; others are no anomalies.
	Healthy bool
}

// Step is the states after another interval. Both slices are of the same
// targets. Mitigate tells whether anomalous targets get fewer requests.
func Step(before []State, samples []Sample, mitigate bool) []State {
	after := make([]State, len(before))
	var all State
	healthy := 0
	for i, s := range samples {
		after[i] = before[i]
		after[i].Requests = before[i].Requests*decay + float64(s.Requests)
		after[i].Failed = before[i].Failed*decay + float64(min(s.Failed, s.Requests))
		if s.Healthy {
			healthy++
			all.Requests += after[i].Requests
			all.Failed += after[i].Failed
		}
	}
	for i, s := range samples {
		peers := State{Requests: all.Requests - after[i].Requests, Failed: all.Failed - after[i].Failed}
		after[i].Anomalous = s.Healthy && healthy >= fewestTargets && deviates(after[i], peers, before[i].Anomalous)
		after[i].Lacking = weigh(after[i], mitigate)
	}
	return after
}

// deviates tells whether a target fails significantly more than its peers. It
// takes less for one that did already.
func deviates(t, peers State, already bool) bool {
	if t.Requests < fewestRequests && !already || peers.Requests < fewestRequests || t.Requests < 1 {
		return false
	}
	more, errors := excess, significance
	if already {
		more, errors = excess/2, significance/2
	}
	failed, usual := t.Failed/t.Requests, max(peers.Failed, 0)/peers.Requests
	pooled := (t.Failed + max(peers.Failed, 0)) / (t.Requests + peers.Requests)
	deviation := math.Sqrt(pooled * (1 - pooled) * (1/t.Requests + 1/peers.Requests))
	return failed-usual > more && failed-usual > errors*deviation
}

func weigh(s State, mitigate bool) float64 {
	switch {
	case !mitigate:
		return 0
	case s.Anomalous:
		return 1 - max(s.Weight()*fall, least)
	case s.Mitigated():
		return 1 - min(s.Weight()*rise, 1)
	default:
		return 0
	}
}
