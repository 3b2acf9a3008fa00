package balancer

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/plan/health"
)

// group is a target group in use. Its instance's mu guards it.
type group struct {
	in      *instance
	spec    balance.TargetGroup
	l7      *l7.Group
	targets map[string]*target // by ip:port
}

// target is a registered target and the check that watches it.
type target struct {
	g    *group
	spec balance.Target
	l7   *l7.Target
	// state is guarded by the instance's mu; once known, only the check
	// changes it.
	state health.State
	// watched is guarded by the instance's mu.
	watched watched
	// stop ends the health check; nil when none runs.
	stop context.CancelFunc
	// checked is what the running check was started with, and announced whether
	// it says by the proxy protocol whose it is.
	checked   model.HealthCheck
	announced bool
	// awaited is when the target became unhealthy whose flows are to end after
	// a while.
	awaited time.Time
}

// recorded is the target's health as a record says it.
func (t *target) recorded() model.TargetHealth {
	s := t.state
	if left, _ := t.drains(t.g.in.b.cfg.Clock.Now()); left > 0 {
		s.Status = model.TargetHealthUnhealthyDraining
	}
	if s.Status == "" || s.Status == model.TargetHealthInitial {
		return model.TargetHealth{
			State: model.TargetHealthInitial, Reason: model.ReasonInitialHealthChecking,
			Description: model.DescriptionInitialHealthChecking, Since: s.Since,
		}
	}
	if t.g.spec.Classic && s.Status == model.TargetHealthUnhealthy && s.Passed > 0 {
		s.Description = model.DescriptionNotYetHealthy
	}
	return model.TargetHealth{
		State: s.Status, Reason: s.Reason, Description: s.Description, Since: s.Since,
		Anomalous: t.watched.state.Anomalous, Mitigated: t.watched.state.Mitigated(),
	}
}

// close ends the check and cuts all connections.
func (t *target) close() {
	if t.stop != nil {
		t.stop()
	}
	t.l7.Close()
}

// applyGroups makes the groups what specs say, and returns the targets that
// are no longer there for the caller to close.
func (in *instance) applyGroups(specs []balance.TargetGroup) (gone []*target) {
	wanted := map[string]bool{}
	for _, s := range specs {
		wanted[s.ARN] = true
		g := in.groups[s.ARN]
		if g == nil {
			g = &group{in: in, l7: l7.NewGroup(s.ARN), targets: map[string]*target{}}
			in.groups[s.ARN] = g
		}
		gone = append(gone, g.apply(s)...)
	}
	// Those that follow others come last: they see them as they are now.
	for _, s := range specs {
		if s.Following != nil {
			in.groups[s.ARN].publish()
		}
	}
	for arn, g := range in.groups {
		if !wanted[arn] {
			delete(in.groups, arn)
			for _, t := range g.targets {
				gone = append(gone, t)
			}
		}
	}
	return gone
}

func (g *group) apply(s balance.TargetGroup) (gone []*target) {
	other := rekeyed(g.spec.Following, s.Following)
	g.spec = s
	wanted := map[string]bool{}
	for _, ts := range s.Targets {
		addr := net.JoinHostPort(ts.IP, strconv.Itoa(int(ts.Port)))
		wanted[addr] = true
		t := g.targets[addr]
		if t == nil || !t.spec.RegisteredAt.Equal(ts.RegisteredAt) {
			if t != nil {
				gone = append(gone, t)
			}
			t = g.newTarget(addr, ts)
			g.targets[addr] = t
		}
		t.spec = ts
		if other {
			t.l7.DropIdle()
		}
		if s.Following == nil {
			t.check(s.HealthCheck, addr)
		}
	}
	for addr, t := range g.targets {
		if !wanted[addr] {
			delete(g.targets, addr)
			gone = append(gone, t)
		}
	}
	if s.Following == nil {
		g.publish()
	}
	return gone
}

// newTarget takes up what an earlier process recorded of the target.
func (g *group) newTarget(addr string, ts balance.Target) *target {
	t := &target{g: g, spec: ts, l7: g.newL7(addr)}
	if h := ts.Health; h != nil && !h.Since.Before(ts.RegisteredAt) &&
		(h.State == model.TargetHealthHealthy || h.State == model.TargetHealthUnhealthy || h.State == model.TargetHealthUnhealthyDraining) {
		t.state = health.State{Status: strings.TrimSuffix(h.State, ".draining"), Reason: h.Reason, Description: h.Description, Since: h.Since}
	}
	return t
}

// newL7 makes what sends requests to an address.
func (g *group) newL7(addr string) *l7.Target {
	place, id := g.in.b.cfg.Place, g.in.id
	dial := func(ctx context.Context, address string) (net.Conn, error) { return place.Dial(ctx, id, address) }
	if g.spec.Following != nil {
		dial = g.dialClassic(dial)
	}
	return newL7Target(addr, dial, g.spec)
}

func newL7Target(addr string, dial l7.Dial, g balance.TargetGroup) *l7.Target {
	secure := g.Protocol == protocolHTTPS && g.Following == nil
	switch {
	case isHTTP2(g.Version) && secure:
		return l7.NewHTTP2Target(addr, overTLS(dial, "h2"), true)
	case isHTTP2(g.Version):
		return l7.NewHTTP2Target(addr, dial, false)
	case secure:
		return l7.NewTarget(addr, overTLS(dial))
	default:
		return l7.NewTarget(addr, dial)
	}
}

// isHTTP2 tells whether targets are spoken to in HTTP/2.
func isHTTP2(version string) bool {
	return version == model.VersionHTTP2 || version == model.VersionGRPC
}

// publish tells the data plane which targets to send requests to.
func (g *group) publish() {
	set := groupSettings(g.spec.Attributes)
	set.Version = l7.Version(g.spec.Version)
	set.Classic = stickiness(g.spec.Following)
	everywhere := g.pool(func(*target) bool { return true })
	if g.in.forwarding != nil || g.spec.Following != nil || balance.CrossZone(balance.LoadBalancer{}, g.spec) {
		g.l7.SetPools(set, everywhere, nil)
		return
	}
	zones := map[netip.Addr]l7.Pool{}
	for _, i := range g.in.spec.Interfaces {
		if p, err := netip.ParsePrefix(i.Address); err == nil {
			zones[p.Addr()] = g.pool(func(t *target) bool { return t.spec.Zone == "" || t.spec.Zone == i.Zone })
		}
	}
	g.l7.SetPools(set, everywhere, zones)
}

// pool are the healthy ones of those targets; when they are fewer than the
// group wants, all of them, since a wrong answer is no worse than none.
func (g *group) pool(of func(*target) bool) l7.Pool {
	var healthy, all []*l7.Target
	for _, t := range g.sorted() {
		if t.spec.Draining || !of(t) {
			continue
		}
		all = append(all, t.l7)
		if g.healthy(t) {
			healthy = append(healthy, t.l7)
		}
	}
	if len(healthy) < balance.FewestRouted(g.spec.Attributes, len(all)) {
		return l7.Pool{Targets: all, FailOpen: len(all) > 0}
	}
	return l7.Pool{Targets: healthy}
}

// warm begins the slow start of a target that has become healthy, if another
// target takes its full share meanwhile.
func (g *group) warm(t *target) {
	slow := groupSettings(g.spec.Attributes).SlowStart
	if slow == 0 {
		return
	}
	now := g.in.b.cfg.Clock.Now()
	for _, other := range g.targets {
		if other != t && !other.spec.Draining && other.state.Status == model.TargetHealthHealthy && !other.l7.Warming(now, slow) {
			t.l7.Warm(now)
			return
		}
	}
}

// sorted is the targets in an order that stays.
func (g *group) sorted() []*target {
	addrs := make([]string, 0, len(g.targets))
	for a := range g.targets {
		addrs = append(addrs, a)
	}
	slices.Sort(addrs)
	ts := make([]*target, len(addrs))
	for i, a := range addrs {
		ts[i] = g.targets[a]
	}
	return ts
}

// check makes sure that the target is checked as hc says, or not at all while
// it drains.
func (t *target) check(hc model.HealthCheck, addr string) {
	announced := proxies(t.g.spec)
	if t.stop != nil && (t.spec.Draining || t.checked != hc || t.announced != announced) {
		t.stop()
		t.stop = nil
	}
	if t.stop != nil || t.spec.Draining {
		return
	}
	ctx, cancel := context.WithCancel(t.g.in.ctx)
	t.stop, t.checked, t.announced = cancel, hc, announced
	t.g.in.wg.Go(func() { t.watch(ctx, hc, addr, announced) })
}

// watch checks the target until ctx ends.
func (t *target) watch(ctx context.Context, hc model.HealthCheck, addr string, announced bool) {
	in := t.g.in
	dial := l7.Dial(func(ctx context.Context, address string) (net.Conn, error) {
		return in.b.cfg.Place.Dial(ctx, in.id, address)
	})
	if announced {
		dial = announce(dial)
	}
	p, err := newProbe(hc, t.version(), addr, dial)
	if err != nil {
		in.b.cfg.Log.Error("health check cannot run", "loadBalancer", in.id, "target", addr, "error", err)
		return
	}
	t.nameNode(p)
	th := health.Thresholds{Healthy: int(hc.HealthyThreshold), Unhealthy: int(hc.UnhealthyThreshold)}
	for {
		began := in.b.cfg.Clock.Now()
		found := p.run(ctx)
		if ctx.Err() != nil {
			return
		}
		took := in.b.cfg.Clock.Now().Sub(began)
		t.logCheck(p, found, began, took)
		t.countCheck(found)
		t.observe(ctx, found.Result, th)
		// How long the target takes to answer is no matter of the interval.
		timer := in.b.cfg.Clock.NewTimer(time.Duration(hc.IntervalSeconds)*time.Second - took)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// version is what the target is checked with: that of its group, which never
// changes.
func (t *target) version() string {
	t.g.in.mu.Lock()
	defer t.g.in.mu.Unlock()
	if t.g.spec.Classic {
		return versionClassic
	}
	return t.g.spec.Version
}

func (t *target) observe(ctx context.Context, r health.Result, th health.Thresholds) {
	in := t.g.in
	in.mu.Lock()
	if ctx.Err() != nil {
		in.mu.Unlock()
		return
	}
	before := t.recorded()
	t.state = health.Observe(t.state, r, th, in.b.cfg.Clock.Now())
	after := t.recorded()
	if before.State != after.State {
		if after.State == model.TargetHealthHealthy {
			t.g.warm(t)
		} else {
			t.l7.Cool()
		}
		t.g.publish()
		in.publishFollowing(t.g.spec.ARN)
	}
	var cut []*l7.Target
	if after.State == model.TargetHealthUnhealthy && before.State == model.TargetHealthHealthy {
		cut = in.abandon(t)
	}
	in.mu.Unlock()
	for _, old := range cut {
		old.Close()
	}
	if before.State != after.State {
		in.reforward(ctx, t, before.State, after.State)
	}
	if before != after {
		in.b.cfg.Changed(in.id)
	}
}
