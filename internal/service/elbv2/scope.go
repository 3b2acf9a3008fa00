package elbv2

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/sslpolicy"
)

// ScopeOf names the resources that an operation changes, and what policies may
// demand of them. Operations that describe have no resource-level permissions.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awselasticloadbalancingv2.html
func (s *Service) ScopeOf(ctx context.Context, _ *api.Operation, in any) ([]string, map[string]string) {
	return resources(api.CallFrom(ctx), in), conditionKeys(in)
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
	switch in := in.(type) {
	case *elbv2.CreateLoadBalancerInput:
		set("Scheme", string(cmp.Or(in.Scheme, elbv2.LoadBalancerSchemeEnumInternetFacing)))
		set("SecurityGroup", in.SecurityGroups...)
		set("Subnet", subnetsOf(in.Subnets, in.SubnetMappings)...)
	case *elbv2.SetSecurityGroupsInput:
		set("SecurityGroup", in.SecurityGroups...)
	case *elbv2.SetSubnetsInput:
		set("Subnet", subnetsOf(in.Subnets, in.SubnetMappings)...)
	case *elbv2.CreateListenerInput:
		set("ListenerProtocol", string(in.Protocol))
		policy := value(in.SslPolicy)
		if in.Protocol == elbv2.ProtocolEnumHttps || in.Protocol == elbv2.ProtocolEnumTls {
			policy = cmp.Or(policy, sslpolicy.Default)
		}
		set("SecurityPolicy", policy)
	case *elbv2.ModifyListenerInput:
		set("ListenerProtocol", string(in.Protocol))
		set("SecurityPolicy", value(in.SslPolicy))
	}
	return keys
}

func subnetsOf(subnets []string, mappings []elbv2.SubnetMapping) []string {
	out := slices.Clone(subnets)
	for _, m := range mappings {
		out = append(out, value(m.SubnetId))
	}
	return out
}

// madeUnder is the ARN of what is made without the id that it is to get.
func madeUnder(c *api.Call, resource string) string {
	return model.MakeARN("elasticloadbalancing", c.Region, c.Account, resource+"/*")
}

// newLoadBalancer is the ARN of a load balancer that is to be made.
func newLoadBalancer(c *api.Call, kind elbv2.LoadBalancerTypeEnum, name string) string {
	short := map[elbv2.LoadBalancerTypeEnum]string{elbv2.LoadBalancerTypeEnumNetwork: "net", elbv2.LoadBalancerTypeEnumGateway: "gwy"}[kind]
	return madeUnder(c, "loadbalancer/"+cmp.Or(short, "app")+"/"+name)
}

func resources(c *api.Call, in any) []string {
	one := func(arn *string) []string {
		if arn == nil {
			return nil
		}
		return []string{*arn}
	}
	switch in := in.(type) {
	case *elbv2.CreateLoadBalancerInput:
		return []string{newLoadBalancer(c, in.Type, value(in.Name))}
	case *elbv2.CreateTargetGroupInput:
		return []string{madeUnder(c, "targetgroup/"+value(in.Name))}
	case *elbv2.DeleteLoadBalancerInput:
		return one(in.LoadBalancerArn)
	case *elbv2.ModifyLoadBalancerAttributesInput:
		return one(in.LoadBalancerArn)
	case *elbv2.ModifyCapacityReservationInput:
		return one(in.LoadBalancerArn)
	case *elbv2.SetSecurityGroupsInput:
		return one(in.LoadBalancerArn)
	case *elbv2.SetSubnetsInput:
		return one(in.LoadBalancerArn)
	case *elbv2.SetIpAddressTypeInput:
		return one(in.LoadBalancerArn)
	case *elbv2.CreateListenerInput:
		return one(in.LoadBalancerArn)
	case *elbv2.ModifyListenerInput:
		return one(in.ListenerArn)
	case *elbv2.ModifyListenerAttributesInput:
		return one(in.ListenerArn)
	case *elbv2.AddListenerCertificatesInput:
		return one(in.ListenerArn)
	case *elbv2.RemoveListenerCertificatesInput:
		return one(in.ListenerArn)
	case *elbv2.DeleteListenerInput:
		return one(in.ListenerArn)
	case *elbv2.CreateRuleInput:
		return one(in.ListenerArn)
	case *elbv2.ModifyRuleInput:
		return one(in.RuleArn)
	case *elbv2.DeleteRuleInput:
		return one(in.RuleArn)
	case *elbv2.SetRulePrioritiesInput:
		var arns []string
		for _, p := range in.RulePriorities {
			arns = append(arns, value(p.RuleArn))
		}
		return arns
	case *elbv2.ModifyTargetGroupInput:
		return one(in.TargetGroupArn)
	case *elbv2.ModifyTargetGroupAttributesInput:
		return one(in.TargetGroupArn)
	case *elbv2.DeleteTargetGroupInput:
		return one(in.TargetGroupArn)
	case *elbv2.RegisterTargetsInput:
		return one(in.TargetGroupArn)
	case *elbv2.DeregisterTargetsInput:
		return one(in.TargetGroupArn)
	case *elbv2.CreateTrustStoreInput:
		return []string{madeUnder(c, "truststore/"+value(in.Name))}
	case *elbv2.ModifyTrustStoreInput:
		return one(in.TrustStoreArn)
	case *elbv2.DeleteTrustStoreInput:
		return one(in.TrustStoreArn)
	case *elbv2.AddTrustStoreRevocationsInput:
		return one(in.TrustStoreArn)
	case *elbv2.RemoveTrustStoreRevocationsInput:
		return one(in.TrustStoreArn)
	case *elbv2.DeleteSharedTrustStoreAssociationInput:
		return one(in.TrustStoreArn)
	case *elbv2.GetTrustStoreCaCertificatesBundleInput:
		return one(in.TrustStoreArn)
	case *elbv2.GetTrustStoreRevocationContentInput:
		return one(in.TrustStoreArn)
	case *elbv2.AddTagsInput:
		return in.ResourceArns
	case *elbv2.RemoveTagsInput:
		return in.ResourceArns
	default:
		return nil
	}
}
