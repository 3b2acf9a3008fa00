package elb

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/loadbalancers"
	"roadstead.dev/internal/store/tables"
)

// all are the load balancers of the caller's region, by name.
func (s *Service) all(ctx context.Context) ([]store.Row[model.LoadBalancer], error) {
	rows, err := tables.LoadBalancers.List(ctx, s.Store, everything(ctx))
	rows = slices.DeleteFunc(rows, func(r store.Row[model.LoadBalancer]) bool { return r.V.Classic == nil || r.V.DeletedAt != nil })
	slices.SortFunc(rows, func(a, b store.Row[model.LoadBalancer]) int { return strings.Compare(a.V.Name, b.V.Name) })
	return rows, err
}

// DescribeLoadBalancers lists load balancers: those that are named, or all.
func (s *Service) DescribeLoadBalancers(ctx context.Context, in *elb.DescribeLoadBalancersInput) (*elb.DescribeLoadBalancersOutput, error) {
	out := &elb.DescribeLoadBalancersOutput{LoadBalancerDescriptions: []elb.LoadBalancerDescription{}}
	add := func(b *balancer) error {
		d, err := s.describe(ctx, b)
		out.LoadBalancerDescriptions = append(out.LoadBalancerDescriptions, d)
		return err
	}
	for _, name := range in.LoadBalancerNames {
		b, err := s.find(ctx, name)
		if err == nil {
			err = add(b)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(in.LoadBalancerNames) > 0 {
		return out, nil
	}
	rows, err := s.all(ctx)
	if err != nil {
		return nil, err
	}
	rows, out.NextMarker, err = page(ctx, "DescribeLoadBalancers", in.Marker, in.PageSize, rows, func(r store.Row[model.LoadBalancer]) string { return r.V.Name })
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		b := &balancer{row: r}
		err := s.fill(ctx, b)
		if api.Code(err) == "LoadBalancerNotFound" {
			continue // deleted meanwhile
		}
		if err == nil {
			err = add(b)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Service) describe(ctx context.Context, b *balancer) (elb.LoadBalancerDescription, error) {
	lb := b.lb
	targets, err := s.targets(ctx, b)
	if err != nil {
		return elb.LoadBalancerDescription{}, err
	}
	out := elb.LoadBalancerDescription{
		LoadBalancerName: &lb.Name, DNSName: &lb.DNSName, CanonicalHostedZoneNameID: new(loadbalancers.HostedZone(b.row.Key.Region)),
		Scheme: &lb.Scheme, VPCId: &lb.VpcID, CreatedTime: &lb.CreatedAt, SecurityGroups: slices.Clone(lb.SecurityGroups),
		Subnets: subnetsOf(lb), AvailabilityZones: zonesOf(lb), HealthCheck: renderCheck(&b.group.V.HealthCheck), Instances: renderInstances(registered(targets)),
		ListenerDescriptions: []elb.ListenerDescription{}, BackendServerDescriptions: []elb.BackendServerDescription{}, Policies: renderPolicies(lb.Classic),
	}
	if lb.Scheme == internetFacing {
		out.CanonicalHostedZoneName = &lb.DNSName
	}
	for _, l := range b.listeners {
		out.ListenerDescriptions = append(out.ListenerDescriptions, renderListener(l.V))
	}
	for _, port := range slices.Sorted(maps.Keys(lb.Classic.BackendPolicies)) {
		out.BackendServerDescriptions = append(out.BackendServerDescriptions, elb.BackendServerDescription{InstancePort: &port, PolicyNames: lb.Classic.BackendPolicies[port]})
	}
	out.SourceSecurityGroup, err = s.source(ctx, b)
	return out, err
}

// source names the group that rules for instances can let in.
func (s *Service) source(ctx context.Context, b *balancer) (*elb.SourceSecurityGroup, error) {
	if len(b.lb.SecurityGroups) == 0 {
		return nil, nil //nolint:nilnil // there is none
	}
	row, err := tables.SecurityGroups.Get(ctx, s.Store, b.row.Key.Account, b.row.Key.Region, b.lb.SecurityGroups[0])
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil //nolint:nilnil // it was deleted
	}
	if err != nil {
		return nil, err
	}
	return &elb.SourceSecurityGroup{GroupName: &row.V.Name, OwnerAlias: &b.row.Key.Account}, nil
}

func renderListener(l *model.Listener) elb.ListenerDescription {
	out := elb.ListenerDescription{PolicyNames: append([]string{}, l.Classic.Policies...), Listener: &elb.Listener{
		Protocol: &l.Protocol, LoadBalancerPort: &l.Port, InstanceProtocol: &l.Classic.InstanceProtocol, InstancePort: &l.Classic.InstancePort,
	}}
	if len(l.Certificates) > 0 {
		out.Listener.SSLCertificateId = &l.Certificates[0]
	}
	return out
}

func renderPolicies(c *model.ClassicLoadBalancer) *elb.Policies {
	out := &elb.Policies{
		AppCookieStickinessPolicies: []elb.AppCookieStickinessPolicy{}, LBCookieStickinessPolicies: []elb.LBCookieStickinessPolicy{}, OtherPolicies: []string{},
	}
	for _, p := range c.Policies {
		switch p.Type {
		case model.PolicyAppCookie:
			out.AppCookieStickinessPolicies = append(out.AppCookieStickinessPolicies, elb.AppCookieStickinessPolicy{PolicyName: &p.Name, CookieName: new(p.Value("CookieName"))})
		case model.PolicyLBCookie:
			r := elb.LBCookieStickinessPolicy{PolicyName: &p.Name}
			if n, err := strconv.ParseInt(p.Value("CookieExpirationPeriod"), 10, 64); err == nil && n > 0 {
				r.CookieExpirationPeriod = &n
			}
			out.LBCookieStickinessPolicies = append(out.LBCookieStickinessPolicies, r)
		default:
			out.OtherPolicies = append(out.OtherPolicies, p.Name)
		}
	}
	return out
}
