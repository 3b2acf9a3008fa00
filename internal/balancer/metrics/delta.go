package metrics

import (
	"sync/atomic"

	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/telemetry/metricstore"
)

// counts is a copy of counters, or the difference of two.
type counts struct {
	requests, connectionErrors, fixed, redirects, nonCompliant, tlsErrors, connections, bytes, nanos int64

	target, own [6]int64
	own500      [5]int64
	auth        [l7.Outcomes]int64
	times       l7.Counts
	took        metricstore.Set
	// toTargets are new connections to targets.
	toTargets int64
}

func readAll[N interface{ ~[]int64 }](from []atomic.Int64, to N) {
	for i := range from {
		to[i] = from[i].Load()
	}
}

func read(s *l7.Stats) *counts {
	c := &counts{
		requests: s.Requests.Load(), connectionErrors: s.ConnectionErrors.Load(), fixed: s.Fixed.Load(), redirects: s.Redirects.Load(),
		nonCompliant: s.NonCompliant.Load(), tlsErrors: s.TLSErrors.Load(), connections: s.Connections.Load(),
		bytes: s.BytesIn.Load() + s.BytesOut.Load(), nanos: s.ResponseNanos.Load(),
	}
	readAll(s.TargetResponses[:], c.target[:])
	readAll(s.OwnResponses[:], c.own[:])
	readAll(s.Own500[:], c.own500[:])
	readAll(s.Auth[:], c.auth[:])
	s.Times.Read(&c.times)
	return c
}

// since is what was counted after before.
func (c *counts) since(before *counts) *counts {
	d := &counts{
		requests: c.requests - before.requests, connectionErrors: c.connectionErrors - before.connectionErrors,
		fixed: c.fixed - before.fixed, redirects: c.redirects - before.redirects, nonCompliant: c.nonCompliant - before.nonCompliant,
		tlsErrors: c.tlsErrors - before.tlsErrors, connections: c.connections - before.connections, bytes: c.bytes - before.bytes,
	}
	subtract(d.target[:], c.target[:], before.target[:])
	subtract(d.own[:], c.own[:], before.own[:])
	subtract(d.own500[:], c.own500[:], before.own500[:])
	subtract(d.auth[:], c.auth[:], before.auth[:])
	c.times.Since(&before.times, func(nanos float64, n int64) { d.took.Add(nanos/1e9, float64(n)) })
	if d.took.Count > 0 {
		// The buckets tell the sum but roughly, and it is known.
		d.took.Sum = float64(c.nanos-before.nanos) / 1e9
	}
	return d
}

func subtract(to, a, b []int64) {
	for i := range to {
		to[i] = a[i] - b[i]
	}
}

// add sums counters up.
func (c *counts) add(o *counts) {
	c.requests += o.requests
	c.connectionErrors += o.connectionErrors
	c.fixed += o.fixed
	c.redirects += o.redirects
	c.nonCompliant += o.nonCompliant
	c.tlsErrors += o.tlsErrors
	c.connections += o.connections
	c.bytes += o.bytes
	c.toTargets += o.toTargets
	for i := range c.target {
		c.target[i] += o.target[i]
		c.own[i] += o.own[i]
	}
	for i := range c.own500 {
		c.own500[i] += o.own500[i]
	}
	for i := range c.auth {
		c.auth[i] += o.auth[i]
	}
	c.took.Merge(&o.took)
}
