package elbv2

import (
	"context"
	"strconv"

	"roadstead.dev/internal/api/elbv2"
)

// The quotas of an account, in a region where nothing else is said:
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-limits.html
const (
	maxLoadBalancers = 50 // of each type
	maxTargetGroups  = 3000
	maxListeners     = 50
	// maxRules are those of a load balancer, default rules aside.
	maxRules           = 100
	maxConditionValues = 5 // of a rule
	maxWildcards       = 6 // of a rule
	maxGroupsPerAction = 5
	// maxGroupsPerBalancer and maxTargetsPerBalancer count what the rules of a
	// load balancer forward to.
	maxGroupsPerBalancer  = 100
	maxTargetsPerBalancer = 1000
	maxTargets            = 1000 // of a target group
	maxSecurityGroups     = 5    // of a load balancer
	maxCertificates       = 25   // of a load balancer, default ones aside
)

// limits are the quotas by the names that the API has for them.
var limits = []struct {
	name string
	max  int
}{
	{"application-load-balancers", maxLoadBalancers},
	{"certificates-per-application-load-balancer", maxCertificates},
	{"certificates-per-network-load-balancer", maxCertificates},
	{"condition-values-per-alb-rule", maxConditionValues},
	{"condition-wildcards-per-alb-rule", maxWildcards},
	{"listeners-per-application-load-balancer", maxListeners},
	{"listeners-per-network-load-balancer", maxListeners},
	{"network-load-balancers", maxLoadBalancers},
	{"rules-per-application-load-balancer", maxRules},
	{"target-groups", maxTargetGroups},
	{"target-groups-per-action-on-application-load-balancer", maxGroupsPerAction},
	{"target-groups-per-application-load-balancer", maxGroupsPerBalancer},
	{"target-id-registrations-per-application-load-balancer", maxTargetsPerBalancer},
	{"targets-per-application-load-balancer", maxTargetsPerBalancer},
	{"targets-per-target-group", maxTargets},
}

// DescribeAccountLimits lists the quotas that are enforced.
func (s *Service) DescribeAccountLimits(ctx context.Context, in *elbv2.DescribeAccountLimitsInput) (*elbv2.DescribeAccountLimitsOutput, error) {
	var all []elbv2.Limit
	for _, l := range limits {
		all = append(all, elbv2.Limit{Name: new(l.name), Max: new(strconv.Itoa(l.max))})
	}
	shown, next, err := page(ctx, paged{in.Marker, in.PageSize, []string{"DescribeAccountLimits"}}, all, func(l elbv2.Limit) string { return *l.Name })
	return &elbv2.DescribeAccountLimitsOutput{Limits: shown, NextMarker: next}, err
}
