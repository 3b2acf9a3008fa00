package elbv2

import (
	"context"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
)

// ScopeOf names the resources that an operation changes. Those that describe
// have no resource-level permissions.
func (s *Service) ScopeOf(ctx context.Context, _ *api.Operation, in any) ([]string, map[string]string) {
	made := func(resource string) ([]string, map[string]string) {
		c := api.CallFrom(ctx)
		return []string{model.MakeARN("elasticloadbalancing", c.Region, c.Account, resource+"/*")}, nil
	}
	one := func(arn *string) ([]string, map[string]string) {
		if arn == nil {
			return nil, nil
		}
		return []string{*arn}, nil
	}
	switch in := in.(type) {
	case *elbv2.CreateLoadBalancerInput:
		kind := map[elbv2.LoadBalancerTypeEnum]string{elbv2.LoadBalancerTypeEnumNetwork: "net", elbv2.LoadBalancerTypeEnumGateway: "gwy"}[in.Type]
		if kind == "" {
			kind = "app"
		}
		return made("loadbalancer/" + kind + "/" + value(in.Name))
	case *elbv2.CreateTargetGroupInput:
		return made("targetgroup/" + value(in.Name))
	case *elbv2.DeleteLoadBalancerInput:
		return one(in.LoadBalancerArn)
	case *elbv2.ModifyLoadBalancerAttributesInput:
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
		return arns, nil
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
		return made("truststore/" + value(in.Name))
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
		return in.ResourceArns, nil
	case *elbv2.RemoveTagsInput:
		return in.ResourceArns, nil
	default:
		return nil, nil
	}
}
