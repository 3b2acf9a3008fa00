package elbv2

import (
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
)

const (
	preserveClientIP = "preserve_client_ip.enabled"
	crossZoneEnabled = "load_balancing.cross_zone.enabled"
)

// networkBalancerAttributes are those of network load balancers.
var networkBalancerAttributes = []attribute{
	{"access_logs.s3.enabled", "false", nil},
	{"access_logs.s3.bucket", "", anything},
	{"access_logs.s3.prefix", "", anything},
	{deletionProtection, "false", boolean},
	{"dns_record.client_routing_policy", "any_availability_zone", nil},
	{"ipv6.deny_all_igw_traffic", "false", nil},
	{crossZoneEnabled, "false", boolean},
	{"secondary_ips.auto_assigned.per_subnet", "0", nil},
	{"zonal_shift.config.enabled", "false", nil},
}

// networkListenerAttributes are those of TCP listeners.
var networkListenerAttributes = []attribute{
	{"tcp.idle_timeout.seconds", "350", nil},
}

// networkGroupAttributes are those of the groups of network load balancers.
// Flows are cut when their target becomes unhealthy at once or not at all.
var networkGroupAttributes = []attribute{
	{"deregistration_delay.connection_termination.enabled", "false", boolean},
	{"deregistration_delay.timeout_seconds", "300", between(0, 3600)},
	{crossZoneEnabled, "use_load_balancer_configuration", oneOf("use_load_balancer_configuration", "true", "false")},
	{preserveClientIP, "true", boolean},
	{"proxy_protocol_v2.enabled", "false", nil},
	{"stickiness.enabled", "false", boolean},
	{"stickiness.type", "source_ip", nil},
	{"target_group_health.dns_failover.minimum_healthy_targets.count", "1", nil},
	{"target_group_health.dns_failover.minimum_healthy_targets.percentage", "off", nil},
	{"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "1", between(1, maxTargets)},
	{"target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "off", between(1, 100)},
	{"target_health_state.unhealthy.connection_termination.enabled", "true", boolean},
	{"target_health_state.unhealthy.draining_interval_seconds", "0", nil},
}

func attributesOf(lb *model.LoadBalancer) []attribute {
	if lb.Type == model.LoadBalancerNetwork {
		return networkBalancerAttributes
	}
	return loadBalancerAttributes
}

func listenerAttributesOf(l *model.Listener) []attribute {
	switch {
	case l.Protocol == "UDP":
		return nil
	case isLayer4(l.Protocol):
		return networkListenerAttributes
	case l.Protocol == string(elbv2.ProtocolEnumHttps):
		return secureListenerAttributes
	default:
		return listenerAttributes
	}
}

func groupAttributesOf(g *model.TargetGroup) []attribute {
	if !isLayer4(g.Protocol) {
		return targetGroupAttributes
	}
	known := append([]attribute(nil), networkGroupAttributes...)
	for i := range known {
		if known[i].key == preserveClientIP && !balance.PreservesByDefault(g.TargetType, g.Protocol) {
			known[i].standard = "false"
		}
	}
	return known
}

// checkNetworkAttributes refuses what a group's protocol does not allow:
// datagrams always come from their clients' addresses.
func checkNetworkAttributes(g *model.TargetGroup) error {
	if g.Protocol != "TCP" && g.Attributes[preserveClientIP] == "false" {
		return unsupported("Client IP preservation cannot be disabled for target groups with protocol '%s'", g.Protocol)
	}
	return nil
}
