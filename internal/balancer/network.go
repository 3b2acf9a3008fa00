package balancer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"sync"

	"roadstead.dev/internal/balancer/conduit"
	"roadstead.dev/internal/balancer/l4"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
)

// Forwarder forwards flows without this process: what it was told goes on when
// the process ends. All methods are safe for concurrent use.
type Forwarder interface {
	// Forward sends the load balancer's new flows as t says. Flows that there
	// are go on.
	Forward(ctx context.Context, lb string, t l4.Table) error
	// Flows counts the flows to each target.
	Flows(lb string) (map[l4.Flow]int64, error)
	// Cut ends the flows to those targets.
	Cut(lb string, targets []l4.Flow) error
	// Connect connects to a target from the load balancer's address own: as the
	// client, where that is valid.
	Connect(ctx context.Context, lb string, own netip.Addr, client, target netip.AddrPort) (net.Conn, error)
}

// forwarding is what a network load balancer has beside its groups.
type forwarding struct {
	spec balance.LoadBalancer // guarded by the instance's mu
	// streams carries what the kernel cannot.
	streams *conduit.Server

	writing sync.Mutex // serializes writes; guards what follows
	written *l4.Table
	ports   map[int32]*streamPort
}

// errNoForwarder: there is nothing to forward with.
var errNoForwarder = errors.New("network load balancers cannot run here")

// applyNetwork makes the network load balancer what lb says.
func (in *instance) applyNetwork(ctx context.Context, lb balance.LoadBalancer) error {
	if in.b.cfg.Forwarder == nil {
		return errNoForwarder
	}
	in.mu.Lock()
	removed := in.applyOutputs(lb)
	gone := in.applyGroups(lb.Groups)
	if in.forwarding == nil {
		in.forwarding = &forwarding{streams: in.newStreams(), ports: map[int32]*streamPort{}}
	}
	in.forwarding.spec, in.spec = lb, lb
	cut := in.outlived(gone)
	in.mu.Unlock()
	for _, t := range gone {
		t.close()
	}
	err := in.forward(ctx)
	for _, o := range removed {
		in.fetch(o)
	}
	if err != nil {
		return err
	}
	in.awaitDrained()
	return in.cut(cut)
}

// cut ends flows to targets.
func (in *instance) cut(flows []l4.Flow) error {
	for _, f := range flows {
		if f.Protocol == l4.TCP {
			in.forwarding.streams.Cut(f.Target)
		}
	}
	return in.b.cfg.Forwarder.Cut(in.id, flows)
}

// outlived are the flows that end with their targets' deregistration: those of
// groups that say so, which the ones with datagrams do by default.
func (in *instance) outlived(gone []*target) []l4.Flow {
	var cut []l4.Flow
	for _, t := range gone {
		g := in.groups[t.g.spec.ARN]
		if g == nil || g.targets[t.address().String()] != nil {
			continue
		}
		if balance.EndsDeregistered(g.spec.Attributes, g.spec.Protocol) {
			cut = append(cut, t.flows()...)
		}
	}
	return cut
}

func (t *target) address() netip.AddrPort {
	ip, _ := netip.ParseAddr(t.spec.IP) // the API lets no other register
	return netip.AddrPortFrom(ip, uint16(t.spec.Port))
}

// flows are those that the target may have.
func (t *target) flows() []l4.Flow {
	var out []l4.Flow
	for _, p := range protocols(t.g.spec.Protocol) {
		out = append(out, l4.Flow{Protocol: p, Target: t.address()})
	}
	return out
}

// protocols are those that a listener's or a group's protocol means.
func protocols(p string) []uint8 {
	switch p {
	case "TCP", protocolTLS:
		return []uint8{l4.TCP}
	case "UDP":
		return []uint8{l4.UDP}
	case "TCP_UDP":
		return []uint8{l4.TCP, l4.UDP}
	default:
		return nil
	}
}

// forward writes the table, if it is another one than before, and makes the
// listeners that the kernel does not serve do the same.
func (in *instance) forward(ctx context.Context) error {
	f := in.forwarding
	f.writing.Lock()
	defer f.writing.Unlock()
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return errClosed
	}
	t, err := in.table()
	var streams map[int32]*conduit.Table
	if err == nil {
		streams, err = in.streamTables()
	}
	in.mu.Unlock()
	if err != nil {
		return err
	}
	// What moves from the kernel is served before it leaves it, and the other
	// way round.
	if err := in.openStreams(ctx, streams); err != nil {
		return err
	}
	if f.written == nil || !reflect.DeepEqual(*f.written, t) {
		f.written = nil // unknown, until the next line succeeds
		if err := in.b.cfg.Forwarder.Forward(ctx, in.id, t); err != nil {
			return err
		}
		f.written = &t
	}
	f.closeStreams(streams)
	return nil
}

// reforward follows a change of a target's health, and ends the flows to one
// that has become unhealthy while others get its new flows, unless the group
// says otherwise.
func (in *instance) reforward(ctx context.Context, t *target, before, after string) {
	in.mu.Lock()
	running := in.forwarding != nil && !in.closed
	in.mu.Unlock()
	if !running {
		return
	}
	err := in.forward(ctx)
	if err == nil && before == model.TargetHealthHealthy && after == model.TargetHealthUnhealthy && in.givesUp(t) {
		err = in.cut(t.flows())
	}
	in.awaitDrained()
	if err != nil && ctx.Err() == nil && !errors.Is(err, errClosed) {
		in.b.cfg.Log.Error("load balancer does not follow its targets' health", "loadBalancer", in.id, "error", err)
		in.b.cfg.Changed(in.id) // to be applied again
	}
}

// givesUp tells whether an unhealthy target's flows end: not while the group
// sends new ones to it for want of a healthy one.
func (in *instance) givesUp(t *target) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return balance.EndsUnhealthy(t.g.spec.Attributes, t.g.spec.Protocol) && !in.chosen(t)
}

// chosen tells whether a target gets new flows.
func (in *instance) chosen(t *target) bool {
	for _, n := range in.forwarding.spec.Interfaces {
		for _, a := range in.pool(t.g, n.Zone) {
			if a == t.address() {
				return true
			}
		}
	}
	return false
}

// table is what the kernel should do.
func (in *instance) table() (l4.Table, error) {
	lb := in.forwarding.spec
	var t l4.Table
	for _, eni := range lb.Interfaces {
		n := l4.Node{Interface: eni.ID}
		for _, l := range lb.Listeners {
			ps := protocols(l.Protocol)
			if ps == nil {
				return t, fmt.Errorf("listener on port %d: protocol %s is not supported", l.Port, l.Protocol)
			}
			if in.streams(l) {
				continue
			}
			var pools []l4.Pool
			for _, w := range forwardsTo(l) {
				if g := in.groups[w.TargetGroupARN]; g != nil {
					pools = append(pools, l4.Pool{
						Name: g.spec.ARN, Weight: int(w.Weight), Targets: in.pool(g, eni.Zone),
						BySource: g.spec.Attributes["stickiness.enabled"] == "true", Preserve: preserves(g.spec),
					})
				}
			}
			for _, p := range ps {
				n.Ports = append(n.Ports, l4.Port{Protocol: p, Port: uint16(l.Port), Pools: pools, Sticky: sticky(l), Idle: idleSeconds(l)})
			}
		}
		t.Nodes = append(t.Nodes, n)
	}
	return t, nil
}

// nameNode has a check name a network load balancer's node and its listener's
// port, and not the target, in HTTP.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-health-checks.html
func (t *target) nameNode(p *probe) {
	in := t.g.in
	in.mu.Lock()
	network := in.forwarding != nil
	in.mu.Unlock()
	if !network {
		return
	}
	other := p.host
	p.host = func(c net.Conn) string {
		in.mu.Lock()
		defer in.mu.Unlock()
		for _, l := range in.spec.Listeners {
			for _, w := range forwardsTo(l) {
				if w.TargetGroupARN == t.g.spec.ARN {
					return net.JoinHostPort(nodeOf(c).String(), strconv.Itoa(int(l.Port)))
				}
			}
		}
		return other(c)
	}
}

// idleSeconds is a listener's own idle timeout, 0 where it has none.
func idleSeconds(l balance.Listener) uint32 {
	n, err := strconv.ParseUint(l.Attributes["tcp.idle_timeout.seconds"], 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// forwardsTo are the groups that a listener forwards to.
func forwardsTo(l balance.Listener) []model.WeightedTargetGroup {
	for _, r := range l.Rules {
		if !r.Default {
			continue
		}
		for _, a := range r.Actions {
			if a.Forward != nil {
				if all := a.Forward.TargetGroups; len(all) != 1 {
					return all
				}
				// The weight of the only one says nothing.
				return []model.WeightedTargetGroup{{TargetGroupARN: a.Forward.TargetGroups[0].TargetGroupARN, Weight: 1}}
			}
		}
	}
	return nil
}

// sticky tells whether a listener binds clients to groups.
func sticky(l balance.Listener) bool {
	for _, r := range l.Rules {
		for _, a := range r.Actions {
			if r.Default && a.Forward != nil && a.Forward.Sticky {
				return true
			}
		}
	}
	return false
}

// preserves tells whether a group's targets see the clients' addresses.
func preserves(g balance.TargetGroup) bool {
	if v, ok := g.Attributes["preserve_client_ip.enabled"]; ok {
		return v == "true"
	}
	return balance.PreservesByDefault(g.TargetType, g.Protocol)
}

// pool are the targets that get a zone's new flows: the healthy ones, without
// cross-zone load balancing those of the zone; and all when too few of them
// are healthy.
func (in *instance) pool(g *group, zone string) []netip.AddrPort {
	cross := balance.CrossZone(in.forwarding.spec, g.spec)
	var healthy, all []netip.AddrPort
	for _, t := range g.sorted() {
		if t.spec.Draining || !cross && t.spec.Zone != "" && t.spec.Zone != zone {
			continue
		}
		all = append(all, t.address())
		if t.state.Status == model.TargetHealthHealthy {
			healthy = append(healthy, t.address())
		}
	}
	if len(healthy) < balance.FewestRouted(g.spec.Attributes, len(all)) {
		return all
	}
	return healthy
}

// flows counts the flows to the targets, by ip:port, if any of them drains.
func (in *instance) flows() map[string]int64 {
	in.mu.Lock()
	draining := false
	if in.forwarding != nil {
		for _, g := range in.groups {
			for _, t := range g.targets {
				draining = draining || t.spec.Draining
			}
		}
	}
	in.mu.Unlock()
	if !draining {
		return nil
	}
	counts, err := in.b.cfg.Forwarder.Flows(in.id)
	if err != nil {
		in.b.cfg.Log.Error("flows to targets cannot be counted", "loadBalancer", in.id, "error", err)
		return nil
	}
	out := map[string]int64{}
	for t, n := range in.forwarding.streams.Counts() {
		out[t.String()] += n
	}
	for f, n := range counts {
		out[f.Target.String()] += n
	}
	return out
}
