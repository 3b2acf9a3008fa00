package metrics

import (
	"fmt"
	"time"

	"roadstead.dev/internal/balancer"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/telemetry/metricstore"
)

// classic puts what is measured of a classic load balancer. Nothing waits here
// for an instance to have room, so that no surge queue grows or spills.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-cloudwatch-metrics.html
func (b *batch) classic(m balancer.Measure, zones zoned, every time.Duration) {
	count := func(name string, f func(*counts) int64) {
		b.each(zones, name, unitCount, func(c *counts) metricstore.Set { return times(f(c)) }, b.balancer)
	}
	count("RequestCount", func(c *counts) int64 { return c.requests })
	count("DesyncMitigationMode_NonCompliant_Request_Count", func(c *counts) int64 { return c.nonCompliant })
	for class := 4; class <= 5; class++ {
		count(fmt.Sprintf("HTTPCode_ELB_%dXX", class), func(c *counts) int64 { return c.own[class] })
	}
	b.targets(zones, "HTTPCode_Backend_%dXX", "Latency", "BackendConnectionErrors", b.balancer)

	// What an application load balancer would have used.
	all, open := zones[""], active(m.Nodes)
	for _, g := range m.Groups {
		open += g.Open
	}
	b.put("EstimatedALBActiveConnectionCount", unitCount, one(open), b.balancer)
	b.put("EstimatedALBNewConnectionCount", unitCount, one(all.connections+all.toTargets), b.balancer)
	b.put("EstimatedProcessedBytes", unitBytes, one(all.bytes), b.balancer)
	if used := lcus(all, open, every); used > 0 {
		b.put("EstimatedALBConsumedLCUs", unitNone, once(used), b.balancer)
	}
}

// instances puts how many instances of a classic load balancer are healthy, and
// how many are not: without cross-zone load balancing its nodes, one a zone,
// know those of their own zones alone.
func (b *batch) instances(m balancer.Measure, g balancer.GroupMeasure) {
	if !g.Spec.Classic || g.Spec.Following != nil || registered(g) == 0 {
		return
	}
	if balance.CrossZone(m.Spec, g.Spec) {
		b.hosts(g, b.balancer)
		return
	}
	for zone, h := range g.Hosts {
		if zone != "" {
			b.hostCounts(h, inZone(zone), b.balancer)
		}
		b.hostCounts(h, b.balancer)
	}
}
