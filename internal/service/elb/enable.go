package elb

import (
	"context"
	"maps"
	"slices"

	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// policies finds those with the names.
func (b *balancer) policies(names []string) ([]*model.ClassicPolicy, error) {
	var out []*model.ClassicPolicy
	for _, n := range names {
		p := b.lb.Classic.Policy(n)
		if p == nil {
			return nil, elb.NewPolicyNotFoundException("There is no policy with name %s for load balancer %s", n, b.lb.Name)
		}
		out = append(out, p)
	}
	return out, nil
}

// SetLoadBalancerPoliciesOfListener replaces the policies of a listener.
func (s *Service) SetLoadBalancerPoliciesOfListener(ctx context.Context, in *elb.SetLoadBalancerPoliciesOfListenerInput) (*elb.SetLoadBalancerPoliciesOfListenerOutput, error) {
	err := s.changeListener(ctx, in.LoadBalancerName, value(in.LoadBalancerPort), func(_ *store.Txn, b *balancer, l *model.Listener) error {
		all, err := b.policies(in.PolicyNames)
		if err != nil {
			return err
		}
		sticky, negotiation := 0, 0
		for _, p := range all {
			switch p.Type {
			case model.PolicyAppCookie, model.PolicyLBCookie:
				if sticky++; !model.IsHTTP(l.Protocol) {
					return misconfigured("Policy %s of type %s can be enabled for HTTP and HTTPS listeners alone", p.Name, p.Type)
				}
			case model.PolicySSL:
				if negotiation++; !isSecure(l.Protocol) {
					return misconfigured("Policy %s of type %s can be enabled for HTTPS and SSL listeners alone", p.Name, p.Type)
				}
			default:
				return misconfigured("Policy %s of type %s cannot be enabled for a listener", p.Name, p.Type)
			}
		}
		if sticky > 1 || negotiation > 1 {
			return misconfigured("Only one policy of a kind can be enabled for a listener")
		}
		l.Classic.Policies = slices.Clone(in.PolicyNames)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elb.SetLoadBalancerPoliciesOfListenerOutput{}, nil
}

// SetLoadBalancerPoliciesForBackendServer replaces the policies of a port of
// the instances.
func (s *Service) SetLoadBalancerPoliciesForBackendServer(ctx context.Context, in *elb.SetLoadBalancerPoliciesForBackendServerInput) (*elb.SetLoadBalancerPoliciesForBackendServerOutput, error) {
	port := value(in.InstancePort)
	_, err := s.change(ctx, in.LoadBalancerName, func(_ *store.Txn, b *balancer) error {
		all, err := b.policies(in.PolicyNames)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(b.listeners, func(l store.Row[model.Listener]) bool { return l.V.Classic.InstancePort == port })
		if i < 0 && len(all) > 0 {
			return misconfigured("Load balancer %s has no listener with the instance port %d", b.lb.Name, port)
		}
		for _, p := range all {
			switch p.Type {
			case model.PolicyProxyProtocol:
			case model.PolicyBackendAuth:
				if !isSecure(b.listeners[i].V.Classic.InstanceProtocol) {
					return misconfigured("Policy %s of type %s can be enabled for instance ports with HTTPS and SSL alone", p.Name, p.Type)
				}
			default:
				return misconfigured("Policy %s of type %s cannot be enabled for an instance port", p.Name, p.Type)
			}
		}
		ports := maps.Clone(b.lb.Classic.BackendPolicies)
		if ports == nil {
			ports = map[int32][]string{}
		}
		if delete(ports, port); len(all) > 0 {
			ports[port] = slices.Clone(in.PolicyNames)
		}
		b.lb.Classic.BackendPolicies = ports
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elb.SetLoadBalancerPoliciesForBackendServerOutput{}, nil
}
