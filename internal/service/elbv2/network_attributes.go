package elbv2

import (
	"context"
	"net/netip"
	"slices"
	"strconv"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store/tables"
)

const (
	preserveClientIP = "preserve_client_ip.enabled"
	crossZoneEnabled = "load_balancing.cross_zone.enabled"
	proxyProtocol    = "proxy_protocol_v2.enabled"

	deregistrationTermination = "deregistration_delay.connection_termination.enabled"

	unhealthyTermination = "target_health_state.unhealthy.connection_termination.enabled"
	unhealthyDraining    = "target_health_state.unhealthy.draining_interval_seconds"
)

// either holds for a word too.
func either(word string, check func(string) bool) func(string) bool {
	return func(v string) bool { return v == word || check(v) }
}

// networkBalancerAttributes are those of network load balancers.
var networkBalancerAttributes = []attribute{
	{"access_logs.s3.enabled", "false", boolean},
	{"access_logs.s3.bucket", "", anything},
	{"access_logs.s3.prefix", "", anything},
	{deletionProtection, "false", boolean},
	{"dns_record.client_routing_policy", "any_availability_zone", oneOf("availability_zone_affinity", "partial_availability_zone_affinity")},
	{denyGateways, "false", nil},
	{crossZoneEnabled, "false", boolean},
	{"secondary_ips.auto_assigned.per_subnet", "0", nil},
	{"zonal_shift.config.enabled", "false", boolean},
}

// networkListenerAttributes are those of TCP listeners.
var networkListenerAttributes = []attribute{
	{"tcp.idle_timeout.seconds", "350", between(60, 6000)},
}

// networkGroupAttributes are those of the groups of network load balancers.
var networkGroupAttributes = []attribute{
	{deregistrationTermination, "false", boolean},
	{"deregistration_delay.timeout_seconds", "300", between(0, 3600)},
	{crossZoneEnabled, "use_load_balancer_configuration", oneOf("use_load_balancer_configuration", "true", "false")},
	{preserveClientIP, "true", boolean},
	{proxyProtocol, "false", boolean},
	{"stickiness.enabled", "false", boolean},
	{stickinessType, sourceIP, anything},
	{"target_group_health.dns_failover.minimum_healthy_targets.count", "1", either("off", between(1, maxTargets))},
	{"target_group_health.dns_failover.minimum_healthy_targets.percentage", "off", between(1, 100)},
	{"target_group_health.unhealthy_state_routing.minimum_healthy_targets.count", "1", between(1, maxTargets)},
	{"target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage", "off", between(1, 100)},
	{unhealthyTermination, "true", boolean},
	{unhealthyDraining, "0", between(0, 360000)},
}

// denyGateways is true for internal load balancers, which no internet gateway
// leads to.
const denyGateways = "ipv6.deny_all_igw_traffic"

func attributesOf(lb *model.LoadBalancer) []attribute {
	known := loadBalancerAttributes
	if lb.Type == model.LoadBalancerNetwork {
		known = networkBalancerAttributes
	}
	known = slices.Clone(known)
	for i := range known {
		if known[i].key == denyGateways {
			known[i].standard = strconv.FormatBool(lb.Scheme == string(elbv2.LoadBalancerSchemeEnumInternal))
		}
	}
	return known
}

func listenerAttributesOf(l *model.Listener) []attribute {
	switch {
	case l.Protocol == "UDP", l.Protocol == "TLS":
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
	known := slices.Clone(networkGroupAttributes)
	for i := range known {
		a := &known[i]
		switch a.key {
		case preserveClientIP:
			a.standard = strconv.FormatBool(balance.PreservesByDefault(g.TargetType, g.Protocol))
		case deregistrationTermination:
			a.standard = strconv.FormatBool(balance.EndsDeregistered(nil, g.Protocol))
		case unhealthyTermination:
			a.standard = strconv.FormatBool(balance.EndsUnhealthy(nil, g.Protocol))
		}
	}
	return known
}

// preservesSource tells whether a group's targets see their clients' addresses.
func preservesSource(g *model.TargetGroup) bool {
	if !isLayer4(g.Protocol) {
		return false
	}
	if v, set := g.Attributes[preserveClientIP]; set {
		return v == "true"
	}
	return balance.PreservesByDefault(g.TargetType, g.Protocol)
}

// checkInnerAttributes refuses all but the defaults for a group of an
// application load balancer.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/network/application-load-balancer-target.html
func checkInnerAttributes(g *model.TargetGroup) error {
	for _, known := range groupAttributesOf(g) {
		if v, set := g.Attributes[known.key]; set && v != known.standard {
			return unsupported("Target group attribute '%s' cannot be modified for target groups with target type 'alb'", known.key)
		}
	}
	return nil
}

// checkNetworkAttributes refuses what a group cannot have: datagrams are always
// their clients'.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-target-group-attributes.html
func (s *Service) checkNetworkAttributes(ctx context.Context, g *model.TargetGroup) error {
	a := g.Attributes
	if g.TargetType == model.TargetTypeALB {
		return checkInnerAttributes(g)
	}
	stream := g.Protocol == "TCP" || g.Protocol == "TLS"
	switch {
	case a[stickinessType] != "" && a[stickinessType] != sourceIP:
		return unsupported("Stickiness type '%s' is not supported for target groups with the %s protocol", a[stickinessType], g.Protocol)
	case a[preserveClientIP] == "false" && !stream:
		return unsupported("Client IP preservation cannot be disabled for target groups with protocol '%s'", g.Protocol)
	case a[proxyProtocol] == "true" && !stream:
		return unsupported("Proxy protocol v2 is not supported for target groups with protocol '%s'", g.Protocol)
	case a[stickinessEnabled] == "true" && g.Protocol == "TLS":
		return unsupported("Stickiness is not supported for target groups with protocol 'TLS'")
	case a[unhealthyTermination] == "true" && !stream:
		return unsupported("Target group attribute '%s' cannot be 'true' for target groups with protocol '%s'", unhealthyTermination, g.Protocol)
	case a[unhealthyDraining] != "" && a[unhealthyDraining] != "0" && balance.EndsUnhealthy(a, g.Protocol):
		return unsupported("Target group attribute '%s' cannot be set while '%s' is 'true'", unhealthyDraining, unhealthyTermination)
	}
	if err := s.checkStickiness(ctx, g); err != nil {
		return err
	}
	if err := s.checkStickyListeners(ctx, g); err != nil {
		return err
	}
	if !preservesSource(g) || g.TargetType != model.TargetTypeIP {
		return nil
	}
	c := api.CallFrom(ctx)
	vpc, err := tables.VPCs.Get(ctx, s.Store, c.Account, c.Region, g.VpcID)
	if err != nil {
		return err
	}
	rows, err := tables.Targets.List(ctx, s.Store, children(ctx, g.ID))
	if err != nil {
		return err
	}
	for _, t := range rows {
		if !inVPC(t.V.ID, vpc.V) {
			return unsupported("Client IP preservation cannot be enabled for target groups with targets outside the VPC '%s': '%s'", g.VpcID, t.V.ID)
		}
	}
	return nil
}

// inVPC tells whether a VPC has an address.
func inVPC(ip string, vpc *model.VPC) bool {
	a, err := netip.ParseAddr(ip)
	return err == nil && slices.ContainsFunc(vpc.CIDRs, func(b model.VPCCIDR) bool { return b.CIDR.Contains(a) })
}
