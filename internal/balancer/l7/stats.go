package l7

import (
	"math/bits"
	"net"
	"net/netip"
	"sync/atomic"
)

// Stats counts what CloudWatch's metrics of load balancers are made from.
// Counts only grow, but for Active.
type Stats struct {
	// Requests that were forwarded to a target (RequestCount).
	Requests atomic.Int64
	// TargetResponses by class, 2xx to 5xx, at index 2 to 5
	// (HTTPCode_Target_2XX_Count, …).
	TargetResponses [6]atomic.Int64
	// OwnResponses are those that the load balancer made itself, by class
	// (HTTPCode_ELB_5XX_Count, …), and Own500 those of the statuses 500 to 504.
	OwnResponses [6]atomic.Int64
	Own500       [5]atomic.Int64
	// ConnectionErrors are failures to connect to a target, but for those of
	// handshakes (TargetConnectionErrorCount).
	ConnectionErrors atomic.Int64
	// ResponseNanos is the time until targets' responses began, summed over
	// TargetResponses (TargetResponseTime).
	ResponseNanos atomic.Int64
	// Times are the same one by one, of a group; of a node: see AuthNanos.
	Times Histogram
	// Fixed and Redirects count those actions
	// (HTTP_Fixed_Response_Count, HTTP_Redirect_Count).
	Fixed, Redirects atomic.Int64
	// Rejected requests were malformed or too large.
	Rejected atomic.Int64
	// NonCompliant requests do not keep to RFC 7230
	// (DesyncMitigationMode_NonCompliant_Request_Count).
	NonCompliant atomic.Int64
	// Auth counts authentications by their Outcomes.
	Auth [Outcomes]atomic.Int64
	// AuthNanos is the time that providers took to tell who users are, one by one
	// in Times (ELBAuthLatency).
	AuthNanos atomic.Int64
	// Rules are those that were evaluated, the default ones aside, and BilledRules
	// those of them behind each request's tenth (RuleEvaluations).
	Rules, BilledRules atomic.Int64
	// IrregularDropped and IrregularForwarded are requests with fields whose names
	// are not letters, digits and hyphens, which were dropped or not
	// (DroppedInvalidHeaderRequestCount, ForwardedInvalidHeaderRequestCount).
	IrregularDropped, IrregularForwarded atomic.Int64
	// RedirectsTooLong could not be made (HTTP_Redirect_Url_Limit_Exceeded_Count).
	RedirectsTooLong atomic.Int64
	// NonSticky and AppNonSticky are requests that no cookie of the load
	// balancer's, or of the application's, bound to a target though it could have
	// (NonStickyRequestCount, AppCookieNonStickinessCount).
	NonSticky, AppNonSticky atomic.Int64
	// FailOpen are requests that were sent to any target, since too few are
	// healthy (UnhealthyRoutingRequestCount).
	FailOpen atomic.Int64
	// TLSErrors are handshakes that failed (ClientTLSNegotiationErrorCount); of a
	// group: with its targets (TargetTLSNegotiationErrorCount).
	TLSErrors atomic.Int64
	// TargetTLSErrors are those with targets, where no group counts them
	// (TargetTLSNegotiationErrorCount).
	TargetTLSErrors atomic.Int64
	// Connections and Active are all that clients opened, and the open ones
	// (NewConnectionCount, ActiveConnectionCount); of a group: those that were
	// opened to its targets.
	Connections, Active atomic.Int64
	// BytesIn and BytesOut are what clients sent and were sent (ProcessedBytes).
	BytesIn, BytesOut atomic.Int64
}

// own counts a response of the load balancer's own.
func (s *Stats) own(status int) {
	s.OwnResponses[class(status)].Add(1)
	if i := status - 500; i >= 0 && i < len(s.Own500) {
		s.Own500[i].Add(1)
	}
}

// unbound counts a request that no cookie binds, to a group where one could.
func (s *Stats) unbound(byApp bool) {
	if byApp {
		s.AppNonSticky.Add(1)
		return
	}
	s.NonSticky.Add(1)
}

// irregular counts a request with irregular fields.
func (s *Stats) irregular(dropped bool) {
	if dropped {
		s.IrregularDropped.Add(1)
		return
	}
	s.IrregularForwarded.Add(1)
}

// freeRules are the evaluations that a request has free.
// https://aws.amazon.com/elasticloadbalancing/pricing/
const freeRules = 10

// evaluated counts the rules that were, of a request.
func (s *Stats) evaluated(rules int64) {
	s.Rules.Add(rules)
	if rules > freeRules {
		s.BilledRules.Add(rules - freeRules)
	}
}

func class(status int) int {
	if c := status / 100; c > 0 && c < 6 {
		return c
	}
	return 0
}

// The histogram's buckets are an eighth of an octave wide, so that what is read
// from it is wrong by 6 % at most: from 1 µs, below which all is one, to over
// an hour.
const (
	leastBits   = 10
	octaves     = 33
	perOctave   = 8
	bucketCount = octaves * perOctave
)

// Histogram counts durations by their size. The zero value is empty.
type Histogram struct {
	buckets [bucketCount]atomic.Int64
}

// Observe counts a duration, in nanoseconds.
func (h *Histogram) Observe(nanos int64) { h.buckets[bucket(nanos)].Add(1) }

func bucket(nanos int64) int {
	if nanos < 1<<leastBits {
		return 0
	}
	n := bits.Len64(uint64(nanos)) - 1
	i := (n-leastBits)*perOctave + int(nanos>>(n-3))&(perOctave-1)
	return min(i, bucketCount-1)
}

// Counts is a copy of a histogram's counts.
type Counts [bucketCount]int64

// Read copies the counts.
func (h *Histogram) Read(to *Counts) {
	for i := range h.buckets {
		to[i] = h.buckets[i].Load()
	}
}

// Since calls yield with the middle of each bucket, in nanoseconds, that was
// counted in since c was before.
func (c *Counts) Since(before *Counts, yield func(nanos float64, count int64)) {
	for i := range c {
		if n := c[i] - before[i]; n > 0 {
			low := float64(int64(perOctave+i%perOctave)<<(i/perOctave+leastBits)) / perOctave
			high := float64(int64(perOctave+i%perOctave+1)<<(i/perOctave+leastBits)) / perOctave
			yield((low+high)/2, n)
		}
	}
}

// MaxNodes is how many nodes of a load balancer are told apart: one for each
// of its zones.
const MaxNodes = 8

// Node is the load balancer in one zone.
type Node struct {
	Address netip.Addr
	// Index is from 1 to MaxNodes, and always the same for a zone.
	Index int
	Stats *Stats
}

// at finds the node that a connection came to; 0 and otherwise for none.
func (t *Table) at(nc net.Conn, otherwise *Stats) (int, *Stats) {
	return NodeOf(t.Nodes, nc, otherwise)
}

// NodeOf finds which of the nodes a connection came to; 0 and otherwise for
// none.
func NodeOf(nodes []Node, nc net.Conn, otherwise *Stats) (int, *Stats) {
	if len(nodes) == 0 {
		return 0, otherwise
	}
	local, ok := nc.LocalAddr().(*net.TCPAddr)
	if !ok {
		return 0, otherwise
	}
	a := local.AddrPort().Addr().Unmap()
	for i := range nodes {
		if nodes[i].Address == a {
			return nodes[i].Index, nodes[i].Stats
		}
	}
	return 0, otherwise
}

// At are the counters of a node, or of none.
func (g *Group) At(node int) *Stats { return g.at(node) }

// at are the counters of a node.
func (g *Group) at(node int) *Stats {
	if node < 1 || node > MaxNodes {
		return &g.Stats
	}
	return &g.nodes[node-1]
}

// Nodes calls yield with the counters of each node, and with those of none,
// whose index is 0.
func (g *Group) Nodes(yield func(node int, s *Stats)) {
	for i := range MaxNodes + 1 {
		yield(i, g.at(i))
	}
}
