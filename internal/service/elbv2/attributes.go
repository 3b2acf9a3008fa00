package elbv2

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Attributes that more is known of than their values.
const (
	deletionProtection = "deletion_protection.enabled"
	slowStartSeconds   = "slow_start.duration_seconds"
	algorithmType      = "load_balancing.algorithm.type"
	roundRobin         = "round_robin"
	stickinessEnabled  = "stickiness.enabled"
)

// attribute describes a key that may be set. Those without a check may only
// be set to their default: what else AWS offers is not there yet.
type attribute struct {
	key, standard string
	check         func(string) bool
}

func boolean(v string) bool { return v == "true" || v == "false" }
func anything(string) bool  { return true }

func between(low, high int) func(string) bool {
	return func(v string) bool {
		n, err := strconv.Atoi(v)
		return err == nil && n >= low && n <= high
	}
}

// maxFieldValue bounds the value of a header that a listener adds.
const maxFieldValue = 1024

// fieldValue holds for what can stand in a header.
func fieldValue(v string) bool {
	return len(v) <= maxFieldValue && strings.TrimSpace(v) == v && !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r >= 0x7f })
}

func frameOptions(v string) bool {
	return v == "DENY" || v == "SAMEORIGIN" || strings.HasPrefix(v, "ALLOW-FROM https://") && fieldValue(v)
}

// slowStart is off or takes from half a minute to a quarter of an hour.
func slowStart(v string) bool { return v == "0" || between(30, 900)(v) }

func oneOf(values ...string) func(string) bool {
	return func(v string) bool { return slices.Contains(values, v) }
}

// loadBalancerAttributes are those of application load balancers. Buckets and
// prefixes of logs say nothing while the logs are off. HTTP/2 is spoken over
// TLS alone. No web ACL can be associated, whose failure would be open or not, and
// nobody can start the zonal shifts that a load balancer may be open to.
var loadBalancerAttributes = []attribute{
	{"access_logs.s3.enabled", "false", boolean},
	{"access_logs.s3.bucket", "", anything},
	{"access_logs.s3.prefix", "", anything},
	{"client_keep_alive.seconds", "3600", between(60, 604800)},
	{"connection_logs.s3.enabled", "false", boolean},
	{"connection_logs.s3.bucket", "", anything},
	{"connection_logs.s3.prefix", "", anything},
	{deletionProtection, "false", boolean},
	{"health_check_logs.s3.enabled", "false", boolean},
	{"health_check_logs.s3.bucket", "", anything},
	{"health_check_logs.s3.prefix", "", anything},
	{"idle_timeout.timeout_seconds", "60", between(1, 4000)},
	{"ipv6.deny_all_igw_traffic", "false", nil},
	{"load_balancing.cross_zone.enabled", "true", nil},
	{"routing.http.desync_mitigation_mode", "defensive", oneOf("monitor", "defensive", "strictest")},
	{"routing.http.drop_invalid_header_fields.enabled", "false", boolean},
	{"routing.http.preserve_host_header.enabled", "false", boolean},
	{"routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "false", boolean},
	{"routing.http.xff_client_port.enabled", "false", boolean},
	{"routing.http.xff_header_processing.mode", "append", oneOf("append", "preserve", "remove")},
	{"routing.http2.enabled", "true", boolean},
	{"waf.fail_open.enabled", "false", boolean},
	{"zonal_shift.config.enabled", "false", boolean},
}

// listenerAttributes are those of HTTP listeners.
var listenerAttributes = []attribute{
	{"routing.http.response.access_control_allow_credentials.header_value", "", oneOf("true")},
	{"routing.http.response.access_control_allow_headers.header_value", "", fieldValue},
	{"routing.http.response.access_control_allow_methods.header_value", "", fieldValue},
	{"routing.http.response.access_control_allow_origin.header_value", "", fieldValue},
	{"routing.http.response.access_control_expose_headers.header_value", "", fieldValue},
	{"routing.http.response.access_control_max_age.header_value", "", between(0, 86400)},
	{"routing.http.response.content_security_policy.header_value", "", fieldValue},
	{"routing.http.response.server.enabled", "true", boolean},
	{"routing.http.response.strict_transport_security.header_value", "", fieldValue},
	{"routing.http.response.x_content_type_options.header_value", "", oneOf("nosniff")},
	{"routing.http.response.x_frame_options.header_value", "", frameOptions},
}

var targetGroupAttributes = []attribute{
	{"deregistration_delay.timeout_seconds", "300", between(0, 3600)},
	{anomalyMitigation, "off", oneOf("on", "off")},
	{algorithmType, roundRobin, oneOf(roundRobin, "least_outstanding_requests", weightedRandom)},
	{crossZoneEnabled, "use_load_balancer_configuration", oneOf("use_load_balancer_configuration", "true", "false")},
	{slowStartSeconds, "0", slowStart},
	{appCookieName, "", cookieName},
	{"stickiness.app_cookie.duration_seconds", "86400", between(1, 604800)},
	{"stickiness.enabled", "false", boolean},
	{"stickiness.lb_cookie.duration_seconds", "86400", between(1, 604800)},
	{stickinessType, "lb_cookie", oneOf("lb_cookie", appCookie)},
	{dnsFailover + "count", "1", either("off", between(1, maxTargets))},
	{dnsFailover + "percentage", "off", either("off", between(1, 100))},
	{stateRouting + "count", "1", between(1, maxTargets)},
	{stateRouting + "percentage", "off", either("off", between(1, 100))},
}

// pair is a key with its value.
type pair struct{ key, value *string }

// setAttributes checks pairs and merges them with what was set before.
func setAttributes(what string, known []attribute, old map[string]string, pairs []pair) (map[string]string, error) {
	out := make(map[string]string, len(old)+len(pairs))
	maps.Copy(out, old)
	seen := map[string]bool{}
	for _, p := range pairs {
		k, v := value(p.key), value(p.value)
		if seen[k] {
			return nil, invalid("%s attribute key '%s' cannot be specified more than once", what, k)
		}
		seen[k] = true
		i := slices.IndexFunc(known, func(a attribute) bool { return a.key == k })
		if i < 0 {
			return nil, invalid("%s attribute key '%s' is not recognized", what, k)
		}
		switch a := known[i]; {
		case v == a.standard:
		case a.check == nil:
			return nil, unsupported("%s attribute '%s' cannot be set to '%s': only '%s' is supported", what, k, v, a.standard)
		case !a.check(v):
			return nil, invalid("%s attribute value '%s' is not valid for '%s'", what, v, k)
		}
		out[k] = v
	}
	return out, nil
}

// attributes calls yield with every attribute and its value.
func attributes(known []attribute, set map[string]string, yield func(key, value string)) {
	for _, a := range known {
		v, ok := set[a.key]
		if !ok {
			v = a.standard
		}
		yield(a.key, v)
	}
}

func renderLoadBalancerAttributes(lb *model.LoadBalancer) []elbv2.LoadBalancerAttribute {
	var out []elbv2.LoadBalancerAttribute
	attributes(attributesOf(lb), lb.Attributes, func(k, v string) {
		out = append(out, elbv2.LoadBalancerAttribute{Key: new(k), Value: new(v)})
	})
	return out
}

func renderListenerAttributes(l *model.Listener) []elbv2.ListenerAttribute {
	var out []elbv2.ListenerAttribute
	attributes(listenerAttributesOf(l), l.Attributes, func(k, v string) {
		out = append(out, elbv2.ListenerAttribute{Key: new(k), Value: new(v)})
	})
	return out
}

func renderTargetGroupAttributes(g *model.TargetGroup) []elbv2.TargetGroupAttribute {
	var out []elbv2.TargetGroupAttribute
	attributes(groupAttributesOf(g), g.Attributes, func(k, v string) {
		out = append(out, elbv2.TargetGroupAttribute{Key: new(k), Value: new(v)})
	})
	return out
}

// DescribeLoadBalancerAttributes lists all attributes.
func (s *Service) DescribeLoadBalancerAttributes(ctx context.Context, in *elbv2.DescribeLoadBalancerAttributesInput) (*elbv2.DescribeLoadBalancerAttributesOutput, error) {
	row, err := s.loadBalancer(ctx, value(in.LoadBalancerArn))
	if err != nil {
		return nil, err
	}
	return &elbv2.DescribeLoadBalancerAttributesOutput{Attributes: renderLoadBalancerAttributes(row.V)}, nil
}

// ModifyLoadBalancerAttributes sets attributes.
func (s *Service) ModifyLoadBalancerAttributes(ctx context.Context, in *elbv2.ModifyLoadBalancerAttributesInput) (*elbv2.ModifyLoadBalancerAttributesOutput, error) {
	pairs := make([]pair, len(in.Attributes))
	for i, a := range in.Attributes {
		pairs[i] = pair{a.Key, a.Value}
	}
	lb, err := s.changeLoadBalancer(ctx, value(in.LoadBalancerArn), func(_ *store.Txn, lb *model.LoadBalancer) (err error) {
		before := lb.Attributes
		if lb.Attributes, err = setAttributes("Load balancer", attributesOf(lb), lb.Attributes, pairs); err != nil {
			return err
		}
		return s.checkLogs(ctx, lb, before)
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.ModifyLoadBalancerAttributesOutput{Attributes: renderLoadBalancerAttributes(lb)}, nil
}

// DescribeListenerAttributes lists all attributes.
func (s *Service) DescribeListenerAttributes(ctx context.Context, in *elbv2.DescribeListenerAttributesInput) (*elbv2.DescribeListenerAttributesOutput, error) {
	row, err := s.listener(ctx, value(in.ListenerArn))
	if err != nil {
		return nil, err
	}
	return &elbv2.DescribeListenerAttributesOutput{Attributes: renderListenerAttributes(row.V)}, nil
}

// ModifyListenerAttributes sets attributes.
func (s *Service) ModifyListenerAttributes(ctx context.Context, in *elbv2.ModifyListenerAttributesInput) (*elbv2.ModifyListenerAttributesOutput, error) {
	pairs := make([]pair, len(in.Attributes))
	for i, a := range in.Attributes {
		pairs[i] = pair{a.Key, a.Value}
	}
	var v *model.Listener
	err := s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.listener(ctx, value(in.ListenerArn))
		if err != nil {
			return err
		}
		v = row.Copy()
		if v.Attributes, err = setAttributes("Listener", listenerAttributesOf(v), v.Attributes, pairs); err != nil {
			return err
		}
		if err := namesApart(listenerAttributesOf(v), v.Attributes); err != nil {
			return err
		}
		tables.Listeners.Replace(tx, row, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.ModifyListenerAttributesOutput{Attributes: renderListenerAttributes(v)}, nil
}

// DescribeTargetGroupAttributes lists all attributes.
func (s *Service) DescribeTargetGroupAttributes(ctx context.Context, in *elbv2.DescribeTargetGroupAttributesInput) (*elbv2.DescribeTargetGroupAttributesOutput, error) {
	row, err := s.targetGroup(ctx, value(in.TargetGroupArn))
	if err != nil {
		return nil, err
	}
	return &elbv2.DescribeTargetGroupAttributesOutput{Attributes: renderTargetGroupAttributes(row.V)}, nil
}

// ModifyTargetGroupAttributes sets attributes.
func (s *Service) ModifyTargetGroupAttributes(ctx context.Context, in *elbv2.ModifyTargetGroupAttributesInput) (*elbv2.ModifyTargetGroupAttributesOutput, error) {
	pairs := make([]pair, len(in.Attributes))
	for i, a := range in.Attributes {
		pairs[i] = pair{a.Key, a.Value}
	}
	v, err := s.changeTargetGroup(ctx, value(in.TargetGroupArn), func(g *model.TargetGroup) error {
		var err error
		if g.Attributes, err = setAttributes("Target group", groupAttributesOf(g), g.Attributes, pairs); err != nil {
			return err
		}
		if isLayer4(g.Protocol) {
			return s.checkNetworkAttributes(ctx, g)
		}
		if err := checkGroupAttributes(g.Attributes); err != nil {
			return err
		}
		if err := s.checkZones(ctx, g); err != nil {
			return err
		}
		return s.checkStickiness(ctx, g)
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.ModifyTargetGroupAttributesOutput{Attributes: renderTargetGroupAttributes(v)}, nil
}
