package balancer

import (
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/anomaly"
	"roadstead.dev/internal/plan/balance"
)

// watched is what a step of the detection of anomalies left of a target.
type watched struct {
	state anomaly.State
	// requests and failed were counted so far.
	requests, failed int64
}

// weigh looks for anomalies, again and again.
func (b *Balancer) weigh() {
	for {
		t := b.cfg.Clock.NewTimer(anomaly.Interval)
		select {
		case <-t.C:
		case <-b.ctx.Done():
			t.Stop()
			return
		}
		for _, in := range b.instances() {
			if in.weigh() {
				b.cfg.Changed(in.id)
			}
		}
	}
}

// weigh looks for anomalies among the targets of each group of an application
// load balancer. It tells whether any is new or gone.
func (in *instance) weigh() (changed bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.forwarding != nil {
		return false
	}
	for _, g := range in.groups {
		if g.spec.Following == nil && g.weigh() {
			changed = true
		}
	}
	return changed
}

func (g *group) weigh() (changed bool) {
	ts := g.sorted()
	states, samples := make([]anomaly.State, len(ts)), make([]anomaly.Sample, len(ts))
	for i, t := range ts {
		requests, failed := t.l7.Tally()
		states[i] = t.watched.state
		samples[i] = anomaly.Sample{
			Requests: requests - t.watched.requests, Failed: failed - t.watched.failed,
			Healthy: !t.spec.Draining && t.state.Status == model.TargetHealthHealthy,
		}
		t.watched.requests, t.watched.failed = requests, failed
	}
	for i, s := range anomaly.Step(states, samples, mitigates(g.spec)) {
		t := ts[i]
		if s.Anomalous != t.watched.state.Anomalous || s.Mitigated() != t.watched.state.Mitigated() {
			changed = true
		}
		t.watched.state = s
		t.l7.SetWeight(s.Weight())
	}
	return changed
}

// mitigates tells whether a group's anomalous targets get fewer requests.
func mitigates(g balance.TargetGroup) bool {
	return g.Attributes["load_balancing.algorithm.anomaly_mitigation"] == "on" &&
		g.Attributes["load_balancing.algorithm.type"] == string(l7.WeightedRandom)
}
