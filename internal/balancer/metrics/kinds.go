package metrics

import (
	"fmt"
	"time"

	"roadstead.dev/internal/balancer"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/telemetry/metricstore"
)

// application puts what is measured of an application load balancer itself.
func (b *batch) application(m balancer.Measure, zones zoned, every time.Duration) {
	count := func(name string, f func(*counts) int64) {
		b.each(zones, name, unitCount, func(c *counts) metricstore.Set { return times(f(c)) }, b.balancer)
	}
	count("RequestCount", func(c *counts) int64 { return c.requests })
	count("ClientTLSNegotiationErrorCount", func(c *counts) int64 { return c.tlsErrors })
	count("DesyncMitigationMode_NonCompliant_Request_Count", func(c *counts) int64 { return c.nonCompliant })
	count("HTTP_Fixed_Response_Count", func(c *counts) int64 { return c.fixed })
	count("HTTP_Redirect_Count", func(c *counts) int64 { return c.redirects })
	count("HTTP_Redirect_Url_Limit_Exceeded_Count", func(c *counts) int64 { return c.tooLong })
	count("DroppedInvalidHeaderRequestCount", func(c *counts) int64 { return c.dropped })
	count("ForwardedInvalidHeaderRequestCount", func(c *counts) int64 { return c.forwarded })
	count("NonStickyRequestCount", func(c *counts) int64 { return c.nonSticky })
	count("AppCookieNonStickinessCount", func(c *counts) int64 { return c.appNonSticky })
	count("TargetTLSNegotiationErrorCount", func(c *counts) int64 { return c.targetTLSErrors })
	b.each(zones, "ELBAuthLatency", unitMillis, func(c *counts) metricstore.Set { return c.asked }, b.balancer)
	for class := 3; class <= 5; class++ {
		count(fmt.Sprintf("HTTPCode_ELB_%dXX_Count", class), func(c *counts) int64 { return c.own[class] })
	}
	for _, status := range []int{500, 502, 503, 504} {
		count(fmt.Sprintf("HTTPCode_ELB_%d_Count", status), func(c *counts) int64 { return c.own500[status-500] })
	}
	for outcome, name := range map[l7.Outcome]string{
		l7.AuthSuccess: "ELBAuthSuccess", l7.AuthFailure: "ELBAuthFailure", l7.AuthError: "ELBAuthError",
		l7.AuthRefreshed: "ELBAuthRefreshTokenSuccess", l7.AuthOversize: "ELBAuthUserClaimsSizeExceeded",
	} {
		count(name, func(c *counts) int64 { return c.auth[outcome] })
	}
	b.targets(zones, "HTTPCode_Target_%dXX_Count", "TargetResponseTime", "TargetConnectionErrorCount", b.balancer)

	active := map[string]int64{}
	open := func(zone string, n int64) {
		active[""] += n
		if zone != "" {
			active[zone] += n
		}
	}
	for _, n := range m.Nodes {
		open(n.Zone, n.Stats.Active.Load())
	}
	for _, g := range m.Groups {
		for zone, h := range g.Hosts {
			open(zone, h.Open)
		}
	}
	for zone, n := range active {
		b.put("ActiveConnectionCount", unitCount, one(n), b.in(zone)...)
	}
	b.each(zones, "NewConnectionCount", unitCount, func(c *counts) metricstore.Set { return one(c.connections + c.toTargets) }, b.balancer)
	b.each(zones, "ProcessedBytes", unitBytes, func(c *counts) metricstore.Set { return one(c.bytes) }, b.balancer)
	b.put("RuleEvaluations", unitCount, one(zones[""].rules), b.balancer)
	b.put("ConsumedLCUs", unitNone, once(lcus(zones[""], active[""], every)), b.balancer)
}

// in are the dimensions of the load balancer in a zone, or of all of it.
func (b *batch) in(zone string) []metricstore.Dimension {
	if zone == "" {
		return []metricstore.Dimension{b.balancer}
	}
	return []metricstore.Dimension{{Name: "AvailabilityZone", Value: zone}, b.balancer}
}

// lcus are the load balancer capacity units that were used: of new and of
// active connections, of bytes and of evaluated rules what takes most, for the
// part of an hour that passed.
// https://aws.amazon.com/elasticloadbalancing/pricing/
func lcus(c *counts, active int64, every time.Duration) float64 {
	perSecond := float64(c.connections+c.toTargets) / every.Seconds()
	bytesPerHour := float64(c.bytes) / every.Hours()
	rules := float64(c.billedRules) / every.Seconds()
	return max(perSecond/25, float64(active)/3000, bytesPerHour/1e9, rules/1000) * every.Hours()
}

// targets puts what is measured of targets' answers.
func (b *batch) targets(zones zoned, codes, latency, connectionErrors string, ds ...metricstore.Dimension) {
	for class := 2; class <= 5; class++ {
		b.each(zones, fmt.Sprintf(codes, class), unitCount, func(c *counts) metricstore.Set { return times(c.target[class]) }, ds...)
	}
	b.each(zones, latency, unitSeconds, func(c *counts) metricstore.Set { return c.took }, ds...)
	b.each(zones, connectionErrors, unitCount, func(c *counts) metricstore.Set { return times(c.connectionErrors) }, ds...)
}

// group puts what is measured of a target group.
func (b *batch) group(m balancer.Measure, g balancer.GroupMeasure, zones zoned) {
	switch {
	case m.Spec.Type == model.LoadBalancerClassic:
		b.instances(m, g)
		return
	case m.Spec.Type == model.LoadBalancerNetwork && (registered(g) == 0 || g.Spec.TargetType == model.TargetTypeALB):
		return
	}
	group := metricstore.Dimension{Name: "TargetGroup", Value: balance.ResourceID(g.Spec.ARN)}
	b.hosts(g, group, b.balancer)
	if m.Spec.Type != model.LoadBalancerApplication {
		return
	}
	b.each(zones, "RequestCount", unitCount, func(c *counts) metricstore.Set { return times(c.requests) }, group, b.balancer)
	b.targets(zones, "HTTPCode_Target_%dXX_Count", "TargetResponseTime", "TargetConnectionErrorCount", group, b.balancer)
	if g.Spec.Version == model.VersionGRPC {
		requests := func(c *counts) metricstore.Set { return times(c.requests) }
		b.each(zones, "GrpcRequestCount", unitCount, requests, group)
		b.each(zones, "GrpcRequestCount", unitCount, requests, group, b.balancer)
	}
	b.each(zones, "TargetTLSNegotiationErrorCount", unitCount, func(c *counts) metricstore.Set { return times(c.tlsErrors) }, group, b.balancer)
	b.each(zones, "UnhealthyRoutingRequestCount", unitCount, func(c *counts) metricstore.Set { return times(c.failOpen) }, group, b.balancer)
	b.states(g, group, b.balancer)
	// By those that are healthy, or by all when none is.
	var hosts, registered int64
	for _, h := range g.Hosts {
		hosts += h.Healthy
		registered += h.Registered
	}
	if hosts == 0 {
		hosts = registered
	}
	if hosts == 0 {
		return
	}
	perTarget := func(c *counts) metricstore.Set {
		if c.requests == 0 {
			return metricstore.Set{}
		}
		return once(float64(c.requests) / float64(hosts))
	}
	b.each(zones, "RequestCountPerTarget", unitNone, perTarget, group)
	b.each(zones, "RequestCountPerTarget", unitNone, perTarget, group, b.balancer)
}

// states puts in how many zones a target group is healthy enough, and in how
// many it is not.
func (b *batch) states(g balancer.GroupMeasure, ds ...metricstore.Dimension) {
	put := func(h zoneStates, ds ...metricstore.Dimension) {
		b.put("HealthyStateDNS", unitCount, once(h.dns), ds...)
		b.put("UnhealthyStateDNS", unitCount, once(h.zones-h.dns), ds...)
		b.put("HealthyStateRouting", unitCount, once(h.routing), ds...)
		b.put("UnhealthyStateRouting", unitCount, once(h.zones-h.routing), ds...)
	}
	var all zoneStates
	for zone, h := range g.Zones {
		here := zoneStates{zones: 1}
		if h.DNS {
			here.dns = 1
		}
		if h.Routing {
			here.routing = 1
		}
		all.zones, all.dns, all.routing = all.zones+1, all.dns+here.dns, all.routing+here.routing
		put(here, append([]metricstore.Dimension{{Name: "AvailabilityZone", Value: zone}}, ds...)...)
	}
	if all.zones > 0 {
		put(all, ds...)
	}
}

// zoneStates counts zones, and those of them that are healthy enough.
type zoneStates struct{ zones, dns, routing float64 }

// hostCounts puts how many targets are healthy, and how many are not.
func (b *batch) hostCounts(h balancer.Hosts, ds ...metricstore.Dimension) {
	b.put("HealthyHostCount", unitCount, once(float64(h.Healthy)), ds...)
	b.put("UnHealthyHostCount", unitCount, once(float64(h.Unhealthy)), ds...)
	if b.namespace == applicationELB {
		b.put("AnomalousHostCount", unitCount, once(float64(h.Anomalous)), ds...)
		b.put("MitigatedHostCount", unitCount, once(float64(h.Mitigated)), ds...)
	}
}

// registered are a group's targets.
func registered(g balancer.GroupMeasure) (n int64) {
	for _, h := range g.Hosts {
		n += h.Registered
	}
	return n
}

// hosts puts what is known of a group's targets, and of those of each zone.
func (b *batch) hosts(g balancer.GroupMeasure, ds ...metricstore.Dimension) {
	var all balancer.Hosts
	for zone, h := range g.Hosts {
		all.Healthy += h.Healthy
		all.Unhealthy += h.Unhealthy
		all.Anomalous += h.Anomalous
		all.Mitigated += h.Mitigated
		if zone != "" {
			b.hostCounts(h, append([]metricstore.Dimension{{Name: "AvailabilityZone", Value: zone}}, ds...)...)
		}
	}
	b.hostCounts(all, ds...)
}
