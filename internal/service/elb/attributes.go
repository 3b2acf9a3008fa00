package elb

import (
	"context"
	"maps"
	"strconv"

	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// The attributes as records have them, by the names that they have for other
// load balancers where there are such.
const (
	crossZone    = "load_balancing.cross_zone.enabled"
	idleTimeout  = "idle_timeout.timeout_seconds"
	desyncMode   = "routing.http.desync_mitigation_mode"
	draining     = "connection_draining.enabled"
	drainTimeout = "connection_draining.timeout_seconds"
	// drainDelay is the target group's.
	drainDelay = "deregistration_delay.timeout_seconds"
)

// desyncKey is the only additional attribute there is.
const desyncKey = "elb.http.desyncmitigationmode"

const (
	defaultIdle  = 60
	defaultDrain = 300
	maxDrain     = 3600
)

// DescribeLoadBalancerAttributes tells a load balancer's attributes.
func (s *Service) DescribeLoadBalancerAttributes(ctx context.Context, in *elb.DescribeLoadBalancerAttributesInput) (*elb.DescribeLoadBalancerAttributesOutput, error) {
	b, err := s.find(ctx, value(in.LoadBalancerName))
	if err != nil {
		return nil, err
	}
	return &elb.DescribeLoadBalancerAttributesOutput{LoadBalancerAttributes: attributesOf(b.lb)}, nil
}

func number(s string, otherwise int32) *int32 {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return &otherwise
	}
	return new(int32(n))
}

func attributesOf(lb *model.LoadBalancer) *elb.LoadBalancerAttributes {
	a := lb.Attributes
	mode := a[desyncMode]
	if mode == "" {
		mode = "defensive"
	}
	return &elb.LoadBalancerAttributes{
		CrossZoneLoadBalancing: &elb.CrossZoneLoadBalancing{Enabled: new(a[crossZone] == "true")},
		AccessLog:              accessLogOf(a),
		ConnectionDraining:     &elb.ConnectionDraining{Enabled: new(a[draining] == "true"), Timeout: number(a[drainTimeout], defaultDrain)},
		ConnectionSettings:     &elb.ConnectionSettings{IdleTimeout: number(a[idleTimeout], defaultIdle)},
		AdditionalAttributes:   []elb.AdditionalAttribute{{Key: new(desyncKey), Value: &mode}},
	}
}

// ModifyLoadBalancerAttributes changes those attributes that are given, and
// answers with them.
func (s *Service) ModifyLoadBalancerAttributes(ctx context.Context, in *elb.ModifyLoadBalancerAttributesInput) (*elb.ModifyLoadBalancerAttributesOutput, error) {
	set, err := wantedAttributes(in.LoadBalancerAttributes)
	if err != nil {
		return nil, err
	}
	b, err := s.change(ctx, in.LoadBalancerName, func(tx *store.Txn, b *balancer) error {
		if b.lb.Attributes == nil {
			b.lb.Attributes = map[string]string{}
		}
		before := maps.Clone(b.lb.Attributes)
		maps.Copy(b.lb.Attributes, set)
		if err := s.checkLog(ctx, b.lb, before); err != nil {
			return err
		}
		delay := "0"
		if b.lb.Attributes[draining] == "true" {
			delay = strconv.Itoa(int(*number(b.lb.Attributes[drainTimeout], defaultDrain)))
		}
		if b.group.V.Attributes[drainDelay] != delay {
			g := b.group.Copy()
			g.Attributes = map[string]string{drainDelay: delay}
			tables.TargetGroups.Replace(tx, b.group, g)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	now, out := attributesOf(b.lb), &elb.LoadBalancerAttributes{}
	asked := in.LoadBalancerAttributes
	if asked.CrossZoneLoadBalancing != nil {
		out.CrossZoneLoadBalancing = now.CrossZoneLoadBalancing
	}
	if asked.AccessLog != nil {
		out.AccessLog = now.AccessLog
	}
	if asked.ConnectionDraining != nil {
		out.ConnectionDraining = now.ConnectionDraining
	}
	if asked.ConnectionSettings != nil {
		out.ConnectionSettings = now.ConnectionSettings
	}
	if len(asked.AdditionalAttributes) > 0 {
		out.AdditionalAttributes = now.AdditionalAttributes
	}
	return &elb.ModifyLoadBalancerAttributesOutput{LoadBalancerName: &b.lb.Name, LoadBalancerAttributes: out}, nil
}

// wantedAttributes are those that are given, as records have them.
func wantedAttributes(in *elb.LoadBalancerAttributes) (map[string]string, error) {
	set := map[string]string{}
	if v := in.CrossZoneLoadBalancing; v != nil {
		set[crossZone] = strconv.FormatBool(*v.Enabled)
	}
	if v := in.AccessLog; v != nil {
		if err := wantedLog(set, v); err != nil {
			return nil, err
		}
	}
	if v := in.ConnectionDraining; v != nil {
		set[draining] = strconv.FormatBool(*v.Enabled)
		if v.Timeout != nil {
			if *v.Enabled && (*v.Timeout < 1 || *v.Timeout > maxDrain) {
				return nil, invalid("ConnectionDraining timeout must be between 1 and %d seconds", maxDrain)
			}
			set[drainTimeout] = portText(*v.Timeout)
		}
	}
	if v := in.ConnectionSettings; v != nil {
		set[idleTimeout] = portText(*v.IdleTimeout)
	}
	for _, a := range in.AdditionalAttributes {
		if value(a.Key) != desyncKey {
			return nil, elb.NewLoadBalancerAttributeNotFoundException("Load balancer attribute '%s' is not recognized", value(a.Key))
		}
		switch v := value(a.Value); v {
		case "monitor", "defensive", "strictest":
			set[desyncMode] = v
		default:
			return nil, misconfigured("The value '%s' of %s must be monitor, defensive or strictest", v, desyncKey)
		}
	}
	return set, nil
}
