package l7

import (
	"math/rand/v2"
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
	settings GroupSettings
}

// GroupSettings are a target group's attributes that the data plane acts on.
type GroupSettings struct {
	// Version is what the targets speak; empty means HTTP1.
	Version   Version
	Algorithm Algorithm
	// Sticky binds clients to targets by cookie for StickyFor.
	Sticky    bool
	StickyFor time.Duration
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

// Set replaces the targets that new requests are sent to, and the settings.
func (g *Group) Set(settings GroupSettings, targets []*Target) {
	g.state.Store(&groupState{targets: targets, settings: settings})
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
		t = s.targets[rand.IntN(n)] //nolint:gosec // spreading load needs no secrecy
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
