package elb

import (
	"context"
	"strconv"

	"roadstead.dev/internal/api/elb"
)

// The quotas of an account, in a region where nothing else is said:
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/elb-limits.html
const (
	maxLoadBalancers = 20
	maxListeners     = 100  // of a load balancer
	maxInstances     = 1000 // of a load balancer
	maxPolicies      = 100  // of a load balancer, which AWS does not tell
)

// limits are the quotas by the names that the API has for them.
var limits = []struct {
	name string
	max  int
}{
	{"classic-listeners", maxListeners},
	{"classic-load-balancers", maxLoadBalancers},
	{"classic-registered-instances", maxInstances},
}

// DescribeAccountLimits lists the quotas that are enforced.
func (s *Service) DescribeAccountLimits(ctx context.Context, in *elb.DescribeAccountLimitsInput) (*elb.DescribeAccountLimitsOutput, error) {
	var all []elb.Limit
	for _, l := range limits {
		all = append(all, elb.Limit{Name: &l.name, Max: new(strconv.Itoa(l.max))})
	}
	shown, next, err := page(ctx, "DescribeAccountLimits", in.Marker, in.PageSize, all, func(l elb.Limit) string { return *l.Name })
	return &elb.DescribeAccountLimitsOutput{Limits: shown, NextMarker: next}, err
}
