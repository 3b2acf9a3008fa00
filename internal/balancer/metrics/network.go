package metrics

import (
	"time"

	"roadstead.dev/internal/balancer"
	"roadstead.dev/internal/balancer/l4"
	"roadstead.dev/internal/telemetry/metricstore"
)

// network puts what is measured of a network load balancer: the flows that the
// kernel tracks now, and what went through listeners that this process serves,
// of which zones are those with TLS and plain the others.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-cloudwatch-metrics.html
func (b *batch) network(m balancer.Measure, zones, plain zoned, every time.Duration) {
	all := zones[""]
	tls, tcp := active(m.Nodes), m.Flows[l4.TCP]+active(m.Plain)
	udp := m.Flows[l4.UDP]
	b.put("ActiveFlowCount", unitCount, once(float64(tcp+udp+tls)), b.balancer)
	b.put("ActiveFlowCount_TCP", unitCount, one(tcp), b.balancer)
	b.put("ActiveFlowCount_UDP", unitCount, one(udp), b.balancer)
	b.put("ActiveFlowCount_TLS", unitCount, one(tls), b.balancer)
	for _, n := range m.Nodes {
		if n.Zone != "" {
			b.put("ActiveFlowCount_TLS", unitCount, one(n.Stats.Active.Load()), inZone(n.Zone), b.balancer)
		}
	}
	count := func(name, unit string, of zoned, f func(*counts) int64) {
		b.each(of, name, unit, func(c *counts) metricstore.Set { return one(f(c)) }, b.balancer)
	}
	count("NewFlowCount_TLS", unitCount, zones, func(c *counts) int64 { return c.connections })
	count("ProcessedBytes_TLS", unitBytes, zones, func(c *counts) int64 { return c.bytes })
	b.put("ClientTLSNegotiationErrorCount", unitCount, one(all.tlsErrors), b.balancer)
	b.put("TargetTLSNegotiationErrorCount", unitCount, one(all.targetTLSErrors), b.balancer)
	if used := networkLCUs(all, tls, every); used > 0 {
		b.put("ConsumedLCUs_TLS", unitNone, once(used), b.balancer)
	}
	var healthy metricstore.Set
	for zone, is := range m.Healthy {
		set := once(0)
		if is {
			set = once(1)
		}
		healthy.Merge(&set)
		b.put("ZonalHealthStatus", unitCount, set, inZone(zone), b.balancer)
	}
	b.put("ZonalHealthStatus", unitCount, healthy, b.balancer)
}

// networkLCUs are the load balancer capacity units that flows over TLS used: of
// new and of active ones and of bytes what takes most.
// https://aws.amazon.com/elasticloadbalancing/pricing/
func networkLCUs(c *counts, active int64, every time.Duration) float64 {
	perSecond := float64(c.connections) / every.Seconds()
	bytesPerHour := float64(c.bytes) / every.Hours()
	return max(perSecond/50, float64(active)/3000, bytesPerHour/1e9) * every.Hours()
}

// active are the connections that are open.
func active(nodes []balancer.ZoneStats) (n int64) {
	for _, z := range nodes {
		n += z.Stats.Active.Load()
	}
	return n
}

func inZone(zone string) metricstore.Dimension {
	return metricstore.Dimension{Name: "AvailabilityZone", Value: zone}
}
