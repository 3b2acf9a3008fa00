package metrics

import (
	"sync/atomic"

	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/telemetry/metricstore"
)

// counts is a copy of counters, or the difference of two.
type counts struct {
	requests, connectionErrors, fixed, redirects, nonCompliant, tlsErrors, connections, bytes, nanos int64

	rules, billedRules, dropped, forwarded, tooLong, nonSticky, appNonSticky, failOpen, authNanos int64

	target, own [6]int64
	own500      [5]int64
	auth        [l7.Outcomes]int64
	times       l7.Counts
	took        metricstore.Set
	// toTargets are new connections to targets, and targetTLSErrors handshakes
	// with them that failed.
	toTargets, targetTLSErrors int64
	// asked is how long providers took, in milliseconds.
	asked metricstore.Set
}

func readAll[N interface{ ~[]int64 }](from []atomic.Int64, to N) {
	for i := range from {
		to[i] = from[i].Load()
	}
}

func read(s *l7.Stats) *counts {
	c := &counts{
		requests: s.Requests.Load(), connectionErrors: s.ConnectionErrors.Load(), fixed: s.Fixed.Load(), redirects: s.Redirects.Load(),
		nonCompliant: s.NonCompliant.Load(), tlsErrors: s.TLSErrors.Load(), targetTLSErrors: s.TargetTLSErrors.Load(), connections: s.Connections.Load(),
		bytes: s.BytesIn.Load() + s.BytesOut.Load(), nanos: s.ResponseNanos.Load(),
		rules: s.Rules.Load(), billedRules: s.BilledRules.Load(), dropped: s.IrregularDropped.Load(), forwarded: s.IrregularForwarded.Load(),
		tooLong: s.RedirectsTooLong.Load(), nonSticky: s.NonSticky.Load(), appNonSticky: s.AppNonSticky.Load(), failOpen: s.FailOpen.Load(),
		authNanos: s.AuthNanos.Load(),
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
		tlsErrors: c.tlsErrors - before.tlsErrors, targetTLSErrors: c.targetTLSErrors - before.targetTLSErrors, connections: c.connections - before.connections, bytes: c.bytes - before.bytes,
		nanos: c.nanos - before.nanos, rules: c.rules - before.rules, billedRules: c.billedRules - before.billedRules,
		dropped: c.dropped - before.dropped, forwarded: c.forwarded - before.forwarded, tooLong: c.tooLong - before.tooLong,
		nonSticky: c.nonSticky - before.nonSticky, appNonSticky: c.appNonSticky - before.appNonSticky, failOpen: c.failOpen - before.failOpen,
		authNanos: c.authNanos - before.authNanos,
	}
	subtract(d.target[:], c.target[:], before.target[:])
	subtract(d.own[:], c.own[:], before.own[:])
	subtract(d.own500[:], c.own500[:], before.own500[:])
	subtract(d.auth[:], c.auth[:], before.auth[:])
	// The times of a node are those of providers, and the buckets tell sums but
	// roughly, which are known.
	if d.authNanos > 0 {
		c.times.Since(&before.times, func(nanos float64, n int64) { d.asked.Add(nanos/1e6, float64(n)) })
		d.asked.Sum = float64(d.authNanos) / 1e6
		return d
	}
	c.times.Since(&before.times, func(nanos float64, n int64) { d.took.Add(nanos/1e9, float64(n)) })
	if d.took.Count > 0 {
		d.took.Sum = float64(d.nanos) / 1e9
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
	c.targetTLSErrors += o.targetTLSErrors
	c.rules += o.rules
	c.billedRules += o.billedRules
	c.dropped += o.dropped
	c.forwarded += o.forwarded
	c.tooLong += o.tooLong
	c.nonSticky += o.nonSticky
	c.appNonSticky += o.appNonSticky
	c.failOpen += o.failOpen
	c.asked.Merge(&o.asked)
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
