package elbv2

import (
	"context"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/plan/health"
	"roadstead.dev/internal/store/tables"
)

// The codes that matchers may name.
const (
	lowestCode  = 200
	highestCode = 499
	// highestNetworkCode is for groups of network load balancers.
	highestNetworkCode = 599
	highestGRPCCode    = 99
)

// knownVersion holds for the versions that HTTP groups can have. An empty one
// counts as none, which is what Terraform sends.
func knownVersion(v string) bool {
	switch v {
	case "", model.VersionHTTP1, model.VersionHTTP2, model.VersionGRPC:
		return true
	default:
		return false
	}
}

// setVersion gives a new group its version, and the health check that comes
// with it.
func setVersion(g *model.TargetGroup, v string) {
	g.ProtocolVersion = v
	switch v {
	case "":
		g.ProtocolVersion = model.VersionHTTP1
	case model.VersionGRPC:
		g.HealthCheck.Path = "/AWS.ALB/healthcheck"
		g.HealthCheck.HTTPCode, g.HealthCheck.GRPCCode = "", "12"
	}
}

// setMatcher changes what a health check takes for healthy.
func setMatcher(g *model.TargetGroup, m *elbv2.Matcher) error {
	if m == nil {
		return nil
	}
	hc := &g.HealthCheck
	isGRPC := g.ProtocolVersion == model.VersionGRPC
	switch {
	case m.GrpcCode != nil && !isGRPC:
		return invalid("You cannot specify a GRPC code for a target group with protocol version '%s'", g.ProtocolVersion)
	case m.HttpCode != nil && isGRPC:
		return invalid("You cannot specify an HTTP code for a target group with protocol version '%s'", g.ProtocolVersion)
	case m.GrpcCode != nil:
		if _, err := health.ParseMatcher(*m.GrpcCode, 0, highestGRPCCode); err != nil {
			return invalid("Health check matcher GRPC code '%s' must be within '%d-%d' inclusive", *m.GrpcCode, 0, highestGRPCCode)
		}
		hc.GRPCCode = *m.GrpcCode
	case m.HttpCode != nil:
		highest := highestCode
		if isLayer4(g.Protocol) {
			highest = highestNetworkCode
		}
		if _, err := health.ParseMatcher(*m.HttpCode, lowestCode, highest); err != nil {
			return invalid("Health check matcher HTTP code '%s' must be within '%d-%d' inclusive", *m.HttpCode, lowestCode, highest)
		}
		hc.HTTPCode = *m.HttpCode
	}
	return nil
}

// checkForwards refuses that a listener with that protocol guards requests
// without TLS, or forwards to groups that it cannot serve: those of HTTP/2 need
// clients of HTTP/2, which only HTTPS listeners have; and groups that bind
// clients to targets need an action that binds clients to groups.
func (s *Service) checkForwards(ctx context.Context, protocol string, acts []model.RuleAction) error {
	if kind, is := guarded(acts); is && protocol != string(elbv2.ProtocolEnumHttps) {
		return badAction("Actions of type '%s' are supported for HTTPS listeners only", kind)
	}
	for _, a := range acts {
		if f := a.Forward; f != nil && f.Sticky && f.StickySeconds == 0 {
			return invalid("The duration of target group stickiness must be between 1 and %d seconds", maxStickySeconds)
		}
	}
	for _, arn := range balance.ForwardsTo(acts) {
		g, err := s.targetGroup(ctx, arn)
		if err != nil {
			return err
		}
		if v := g.V.ProtocolVersion; protocol != string(elbv2.ProtocolEnumHttps) && (v == model.VersionHTTP2 || v == model.VersionGRPC) {
			return unsupported("Listener protocol '%s' is not supported with a target group with the protocol-version '%s'", protocol, v)
		}
		if g.V.Attributes[stickinessEnabled] == "true" && unbound(acts, arn) {
			return unsupported("You must enable group stickiness on a rule if you enabled target stickiness on one of its target groups")
		}
	}
	return nil
}

// checkAllForwards is checkForwards for every rule of a listener that gets
// another protocol.
func (s *Service) checkAllForwards(ctx context.Context, l *model.Listener, protocol string) error {
	if protocol == l.Protocol {
		return nil
	}
	rules, err := tables.Rules.List(ctx, s.Store, children(ctx, l.LoadBalancerID+"/"+l.ID))
	if err != nil {
		return err
	}
	for _, r := range rules {
		if r.V.Default {
			continue
		}
		if err := s.checkForwards(ctx, protocol, r.V.Actions); err != nil {
			return err
		}
	}
	return nil
}

// unbound tells whether an action shares requests out to the group and others
// without binding clients to one of them.
func unbound(acts []model.RuleAction, arn string) bool {
	for _, a := range acts {
		f := a.Forward
		if f == nil || len(f.TargetGroups) < 2 || f.Sticky {
			continue
		}
		for _, g := range f.TargetGroups {
			if g.TargetGroupARN == arn {
				return true
			}
		}
	}
	return false
}

// checkStickiness refuses stickiness of a group that rules use which do not
// bind clients to groups.
func (s *Service) checkStickiness(ctx context.Context, g *model.TargetGroup) error {
	if g.Attributes[stickinessEnabled] != "true" {
		return nil
	}
	users, err := s.usersOf(ctx, g.ARN)
	if err != nil {
		return err
	}
	for _, u := range users {
		if unbound(u.V.Actions, g.ARN) {
			return unsupported("This target group appears behind a rule with group stickiness disabled (%s). You must enable group stickiness before enabling target stickiness", u.V.ARN)
		}
	}
	return nil
}
