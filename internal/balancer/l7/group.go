package l7

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// Algorithm chooses among a group's targets.
type Algorithm string

// The algorithms, by their attribute values.
const (
	RoundRobin       Algorithm = "round_robin"
	LeastOutstanding Algorithm = "least_outstanding_requests"
	WeightedRandom   Algorithm = "weighted_random"
)

// Group is a set of targets. It lives as long as the target group does, so
// that connections and counts outlive changes of the configuration.
type Group struct {
	// ID is the target group's ARN.
	ID string
	// Stats are those of no node in particular.
	Stats Stats
	nodes [MaxNodes]Stats

	state atomic.Pointer[groupState]
	turn  atomic.Uint64
}

// groupState is replaced as a whole when anything changes.
type groupState struct {
	targets  []*Target // those that new requests go to
	failOpen bool      // they are so since too few are healthy
	settings GroupSettings
	// zonal are the states for clients of each of the load balancer's
	// addresses, where these send to targets of their zones alone; nil where
	// all send to all.
	zonal map[netip.Addr]*groupState
}

// at is the state for the clients of a connection.
func (s *groupState) at(nc net.Conn) *groupState {
	if s.zonal == nil {
		return s
	}
	local, ok := nc.LocalAddr().(*net.TCPAddr)
	if !ok {
		return s
	}
	if z := s.zonal[local.AddrPort().Addr().Unmap()]; z != nil {
		return z
	}
	return s
}

// GroupSettings are a target group's attributes that the data plane acts on.
type GroupSettings struct {
	// Version is what the targets speak; empty means HTTP1.
	Version   Version
	Algorithm Algorithm
	// Sticky binds clients to targets by cookie for StickyFor: by one of the
	// load balancer's alone, or, when AppCookie names one, while they have this
	// one of the application's.
	Sticky    bool
	StickyFor time.Duration
	AppCookie string
	// SlowStart is how long the share of a target grows from nothing that
	// Target.Warm was called for; round robin alone knows it.
	SlowStart time.Duration
	// Classic is how a classic load balancer binds clients, in the place of
	// Sticky; nil when it does not.
	Classic *ClassicStickiness
}

// Version is a target group's version of HTTP.
type Version string

// The versions, by the API's values.
const (
	HTTP1 Version = "HTTP1"
	HTTP2 Version = "HTTP2"
	GRPC  Version = "GRPC"
)

// NewGroup makes a group without targets.
func NewGroup(id string) *Group {
	g := &Group{ID: id}
	g.state.Store(&groupState{})
	return g
}

// Pool are targets that new requests are sent to.
type Pool struct {
	Targets []*Target
	// FailOpen tells that there are unhealthy ones among them, since too few are
	// healthy.
	FailOpen bool
}

// Set replaces the targets that new requests are sent to, and the settings.
func (g *Group) Set(settings GroupSettings, targets []*Target) {
	g.SetPools(settings, Pool{Targets: targets}, nil)
}

// SetPools is Set with more known of the targets. Where these get requests from
// their zones alone, zones are those for the clients of each address of the load
// balancer; nil where all send to all.
func (g *Group) SetPools(settings GroupSettings, all Pool, zones map[netip.Addr]Pool) {
	s := &groupState{targets: all.Targets, failOpen: all.FailOpen, settings: settings}
	if zones != nil {
		s.zonal = make(map[netip.Addr]*groupState, len(zones))
	}
	for a, p := range zones {
		s.zonal[a] = &groupState{targets: p.Targets, failOpen: p.FailOpen, settings: settings}
	}
	g.state.Store(s)
}

// pick chooses a target, not one of avoid if there is another. It is nil when
// the group is empty.
func (s *groupState) pick(g *Group, avoid *Target) *Target {
	n := len(s.targets)
	if n == 0 {
		return nil
	}
	var t *Target
	switch s.settings.Algorithm {
	case LeastOutstanding:
		t = s.least(g, avoid)
	case WeightedRandom:
		t = s.random()
	case RoundRobin:
		fallthrough
	default:
		t = s.next(g)
	}
	if t == avoid && n > 1 {
		for i := range s.targets {
			if s.targets[i] == t {
				return s.targets[(i+1)%n]
			}
		}
	}
	return t
}

// tries bounds how often a target with less than its full weight is drawn in
// vain.
const tries = 64

// random draws targets, each in proportion to its weight.
func (s *groupState) random() *Target {
	for range tries {
		t := s.targets[rand.IntN(len(s.targets))]          //nolint:gosec // spreading load needs no secrecy
		if w := t.weight(); w >= 1 || rand.Float64() < w { //nolint:gosec // spreading load needs no secrecy
			return t
		}
	}
	return s.targets[rand.IntN(len(s.targets))] //nolint:gosec // spreading load needs no secrecy
}

// next takes turns. A target whose share still grows lets some of its turns
// pass, unless all others do as well.
func (s *groupState) next(g *Group) *Target {
	n := uint64(len(s.targets))
	first := g.turn.Add(1)
	if s.settings.SlowStart == 0 {
		return s.targets[first%n]
	}
	now := time.Now()
	for i := range n {
		t := s.targets[(first+i)%n]
		if share := t.share(now, s.settings.SlowStart); share >= 1 || rand.Float64() < share { //nolint:gosec // spreading load needs no secrecy
			return t
		}
	}
	return s.targets[first%n]
}

// least begins its search at a different target each time, so that equals
// take turns.
func (s *groupState) least(g *Group, avoid *Target) *Target {
	n := len(s.targets)
	start := int(g.turn.Add(1) % uint64(n))
	var best *Target
	var fewest int64
	for i := range n {
		t := s.targets[(start+i)%n]
		if t == avoid && n > 1 {
			continue
		}
		if f := t.inflight.Load(); best == nil || f < fewest {
			best, fewest = t, f
		}
	}
	return best
}

// find is the target with that address, nil when new requests must not go to
// it.
func (s *groupState) find(addr string) *Target {
	for _, t := range s.targets {
		if t.Addr == addr {
			return t
		}
	}
	return nil
}
