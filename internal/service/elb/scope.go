package elb

import (
	"cmp"
	"context"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/sslpolicy"
)

// ScopeOf names the load balancers that an operation changes, and what policies
// may demand of them. Operations that describe have no resource-level
// permissions.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancing.html
func (s *Service) ScopeOf(ctx context.Context, _ *api.Operation, in any) ([]string, map[string]string) {
	c := api.CallFrom(ctx)
	var arns []string
	for _, name := range changed(in) {
		arns = append(arns, model.ClassicLoadBalancerARN(c.Region, c.Account, name))
	}
	return arns, conditionKeys(in)
}

// conditionKeys are what a request asks for that policies may limit. Values are
// separated by commas.
func conditionKeys(in any) map[string]string {
	const prefix = "elasticloadbalancing:"
	keys := map[string]string{}
	set := func(key string, values ...string) {
		if text := strings.Join(values, ","); text != "" {
			keys[prefix+key] = text
		}
	}
	protocols := func(listeners []elb.Listener) {
		var out []string
		for _, l := range listeners {
			out = append(out, strings.ToUpper(value(l.Protocol)))
		}
		set("ListenerProtocol", out...)
	}
	switch in := in.(type) {
	case *elb.CreateLoadBalancerInput:
		set("Scheme", cmp.Or(value(in.Scheme), internetFacing))
		set("SecurityGroup", in.SecurityGroups...)
		set("Subnet", in.Subnets...)
		protocols(in.Listeners)
	case *elb.CreateLoadBalancerListenersInput:
		protocols(in.Listeners)
	case *elb.CreateLoadBalancerPolicyInput:
		for _, a := range in.PolicyAttributes {
			if value(a.AttributeName) == sslpolicy.Reference {
				set("SecurityPolicy", value(a.AttributeValue))
			}
		}
	case *elb.ApplySecurityGroupsToLoadBalancerInput:
		set("SecurityGroup", in.SecurityGroups...)
	case *elb.AttachLoadBalancerToSubnetsInput:
		set("Subnet", in.Subnets...)
	}
	return keys
}

// changed are the names of the load balancers that a request changes.
func changed(in any) []string {
	name := func(n *string) []string { return []string{value(n)} }
	switch in := in.(type) {
	case *elb.AddTagsInput:
		return in.LoadBalancerNames
	case *elb.RemoveTagsInput:
		return in.LoadBalancerNames
	case *elb.ApplySecurityGroupsToLoadBalancerInput:
		return name(in.LoadBalancerName)
	case *elb.AttachLoadBalancerToSubnetsInput:
		return name(in.LoadBalancerName)
	case *elb.ConfigureHealthCheckInput:
		return name(in.LoadBalancerName)
	case *elb.CreateAppCookieStickinessPolicyInput:
		return name(in.LoadBalancerName)
	case *elb.CreateLBCookieStickinessPolicyInput:
		return name(in.LoadBalancerName)
	case *elb.CreateLoadBalancerInput:
		return name(in.LoadBalancerName)
	case *elb.CreateLoadBalancerListenersInput:
		return name(in.LoadBalancerName)
	case *elb.CreateLoadBalancerPolicyInput:
		return name(in.LoadBalancerName)
	case *elb.DeleteLoadBalancerInput:
		return name(in.LoadBalancerName)
	case *elb.DeleteLoadBalancerListenersInput:
		return name(in.LoadBalancerName)
	case *elb.DeleteLoadBalancerPolicyInput:
		return name(in.LoadBalancerName)
	case *elb.DeregisterInstancesFromLoadBalancerInput:
		return name(in.LoadBalancerName)
	case *elb.DetachLoadBalancerFromSubnetsInput:
		return name(in.LoadBalancerName)
	case *elb.DisableAvailabilityZonesForLoadBalancerInput:
		return name(in.LoadBalancerName)
	case *elb.EnableAvailabilityZonesForLoadBalancerInput:
		return name(in.LoadBalancerName)
	case *elb.ModifyLoadBalancerAttributesInput:
		return name(in.LoadBalancerName)
	case *elb.RegisterInstancesWithLoadBalancerInput:
		return name(in.LoadBalancerName)
	case *elb.SetLoadBalancerListenerSSLCertificateInput:
		return name(in.LoadBalancerName)
	case *elb.SetLoadBalancerPoliciesForBackendServerInput:
		return name(in.LoadBalancerName)
	case *elb.SetLoadBalancerPoliciesOfListenerInput:
		return name(in.LoadBalancerName)
	default:
		return nil
	}
}
