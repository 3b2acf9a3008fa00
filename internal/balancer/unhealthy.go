package balancer

import (
	"strconv"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
)

// drainFor is how long a target that has become unhealthy keeps its flows,
// where that is neither no time nor forever.
func drainFor(g balance.TargetGroup) time.Duration {
	if balance.EndsUnhealthy(g.Attributes, g.Protocol) {
		return 0
	}
	n, err := strconv.Atoi(g.Attributes["target_health_state.unhealthy.draining_interval_seconds"])
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// drains tells whether a target is unhealthy and keeps its flows for a time,
// and how much of that is left: less than nothing when they should have ended.
func (t *target) drains(now time.Time) (left time.Duration, ok bool) {
	interval := drainFor(t.g.spec)
	if t.state.Status != model.TargetHealthUnhealthy || interval == 0 {
		return 0, false
	}
	return t.state.Since.Add(interval).Sub(now), true
}

// awaitDrained makes sure that the flows to targets which drain since they are
// unhealthy end in time.
func (in *instance) awaitDrained() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed {
		return
	}
	now := in.b.cfg.Clock.Now()
	for _, g := range in.groups {
		for _, t := range g.targets {
			left, ok := t.drains(now)
			if !ok || t.awaited.Equal(t.state.Since) {
				continue
			}
			since := t.state.Since
			t.awaited = since
			in.wg.Go(func() { in.endDrained(t, since, left) })
		}
	}
}

// endDrained waits, and ends the flows to a target that is still unhealthy.
func (in *instance) endDrained(t *target, since time.Time, left time.Duration) {
	timer := in.b.cfg.Clock.NewTimer(max(left, 0))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-in.ctx.Done():
		return
	}
	in.mu.Lock()
	still := t.state.Status == model.TargetHealthUnhealthy && t.state.Since.Equal(since) && drainFor(t.g.spec) > 0 && !in.chosen(t) &&
		!t.spec.Draining && t.g.targets[t.address().String()] == t // else it is deregistered, which is another matter
	in.mu.Unlock()
	if still {
		if err := in.cut(t.flows()); err != nil {
			in.b.cfg.Log.Error("flows to an unhealthy target go on", "loadBalancer", in.id, "error", err)
		}
	}
	in.b.cfg.Changed(in.id) // its state is another one now
}
