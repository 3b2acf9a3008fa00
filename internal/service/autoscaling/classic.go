package autoscaling

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// A group's classic load balancers are among its target groups, by the ARNs of
// the target groups that hold their instances.

const typeELB = "elb"

// classicGroups are the target groups of classic load balancers with the names.
func (s *Service) classicGroups(ctx context.Context, names []string) ([]string, error) {
	c := api.CallFrom(ctx)
	var out []string
	for _, name := range names {
		held, err := tables.ELBNames.Get(ctx, s.Store, c.Account, c.Region, "classic/"+name)
		if errors.Is(err, store.ErrNotFound) {
			return nil, noBalancers
		}
		if err != nil {
			return nil, err
		}
		out = append(out, model.ClassicGroupARN(c.Region, c.Account, name, held.V.ID))
	}
	return out, nil
}

// attached is the target group of a classic load balancer among a group's, ""
// where it is not attached.
func attached(v *model.AutoScalingGroup, name string) string {
	i := slices.IndexFunc(v.Spec.TargetGroups, func(arn string) bool {
		n, ok := model.ClassicGroupName(arn)
		return ok && n == name
	})
	if i < 0 {
		return ""
	}
	return v.Spec.TargetGroups[i]
}

// split tells a group's classic load balancers, by name, from its target
// groups.
func split(all []string) (groups, balancers []string) {
	groups, balancers = []string{}, []string{}
	for _, arn := range all {
		if name, ok := model.ClassicGroupName(arn); ok {
			balancers = append(balancers, name)
		} else {
			groups = append(groups, arn)
		}
	}
	return groups, balancers
}

// trafficSource is a target group, or a classic load balancer, as a traffic source.
func trafficSource(arn string) (identifier, kind string) {
	if name, ok := model.ClassicGroupName(arn); ok {
		return name, typeELB
	}
	return arn, typeELBv2
}

// AttachLoadBalancers registers a group's instances with classic load
// balancers.
func (s *Service) AttachLoadBalancers(ctx context.Context, in *autoscaling.AttachLoadBalancersInput) (*autoscaling.AttachLoadBalancersOutput, error) {
	if err := s.attachGroups(ctx, *in.AutoScalingGroupName, nil, in.LoadBalancerNames); err != nil {
		return nil, err
	}
	return &autoscaling.AttachLoadBalancersOutput{}, nil
}

// DetachLoadBalancers takes them out again.
func (s *Service) DetachLoadBalancers(ctx context.Context, in *autoscaling.DetachLoadBalancersInput) (*autoscaling.DetachLoadBalancersOutput, error) {
	if err := s.detachGroups(ctx, *in.AutoScalingGroupName, nil, in.LoadBalancerNames); err != nil {
		return nil, err
	}
	return &autoscaling.DetachLoadBalancersOutput{}, nil
}

// DescribeLoadBalancers lists a group's classic load balancers.
func (s *Service) DescribeLoadBalancers(ctx context.Context, in *autoscaling.DescribeLoadBalancersInput) (*autoscaling.DescribeLoadBalancersOutput, error) {
	arns, states, err := s.groupStates(ctx, *in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	arns = slices.DeleteFunc(arns, func(arn string) bool { _, kind := trafficSource(arn); return kind != typeELB })
	arns, next, err := page(ctx, paged{in.NextToken, in.MaxRecords, 100, 100, "DescribeLoadBalancers", in.AutoScalingGroupName}, arns, itself)
	if err != nil {
		return nil, err
	}
	out := &autoscaling.DescribeLoadBalancersOutput{LoadBalancers: []autoscaling.LoadBalancerState{}, NextToken: next}
	for _, arn := range arns {
		name, _ := trafficSource(arn)
		out.LoadBalancers = append(out.LoadBalancers, autoscaling.LoadBalancerState{LoadBalancerName: &name, State: new(states[arn])})
	}
	return out, nil
}

// addBalancers is a condition key of requests that name classic load balancers.
func addBalancers(keys map[string]string, names []string) {
	if len(names) > 0 {
		keys["autoscaling:LoadBalancerNames"] = strings.Join(names, ",")
	}
}
