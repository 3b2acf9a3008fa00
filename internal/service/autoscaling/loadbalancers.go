package autoscaling

import (
	"context"
	"errors"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	typeELBv2       = "elbv2"
	maxTargetGroups = 50
	maxAtOnce       = 10
)

var (
	noTargetGroups = invalid("Provided Target Groups may not be valid. Please ensure they exist and try again.")
	noBalancers    = invalid("Provided Load Balancers may not be valid. Please ensure they exist and try again.")
)

// checkTargetGroups refuses groups that are not there, or not for instances.
func (s *Service) checkTargetGroups(ctx context.Context, arns []string) error {
	c := api.CallFrom(ctx)
	for _, arn := range arns {
		id := model.TargetGroupID(arn)
		if id == "" {
			return noTargetGroups
		}
		row, err := tables.TargetGroups.Get(ctx, s.Store, c.Account, c.Region, id)
		if errors.Is(err, store.ErrNotFound) || err == nil && (row.V.ARN != arn || row.V.Classic) {
			return noTargetGroups
		}
		if err != nil {
			return err
		}
		if row.V.TargetType != model.TargetTypeInstance {
			return invalid("Provided Target Groups have invalid target type. Please ensure all Target Groups have target type of instance.")
		}
	}
	return nil
}

// sourcesOf are the target groups, by ARN, and the classic load balancers, by
// name, among traffic sources.
func sourcesOf(sources []autoscaling.TrafficSourceIdentifier) (groups, balancers []string, err error) {
	for _, src := range sources {
		switch kind := value(src.Type); {
		case kind == typeELB:
			balancers = append(balancers, *src.Identifier)
			continue
		case kind == "vpc-lattice":
			return nil, nil, unsupported("traffic sources of type vpc-lattice")
		case kind != "" && kind != typeELBv2:
			return nil, nil, invalid("Invalid traffic source type: %s. Valid types are: elb, elbv2, vpc-lattice.", kind)
		}
		groups = append(groups, *src.Identifier)
	}
	return groups, balancers, nil
}

// newTargetGroups are those that a new group gets.
func (s *Service) newTargetGroups(ctx context.Context, in *autoscaling.CreateAutoScalingGroupInput) ([]string, error) {
	switch {
	case len(in.TargetGroupARNs) > 0 && len(in.TrafficSources) > 0:
		return nil, invalid("You cannot specify both TargetGroupARNs and TrafficSources.")
	case len(in.LoadBalancerNames) > 0 && len(in.TrafficSources) > 0:
		return nil, invalid("You cannot specify both LoadBalancerNames and TrafficSources.")
	}
	arns, names, err := sourcesOf(in.TrafficSources)
	if err != nil {
		return nil, err
	}
	return s.joined(ctx, nil, slices.Concat(in.TargetGroupARNs, arns), slices.Concat(in.LoadBalancerNames, names), maxTargetGroups)
}

// joined are the groups that were there with those that are added, and those
// of classic load balancers.
func (s *Service) joined(ctx context.Context, had, more, balancers []string, atOnce int) ([]string, error) {
	if err := bounded(more, balancers, atOnce); err != nil {
		return nil, err
	}
	if err := s.checkTargetGroups(ctx, more); err != nil {
		return nil, err
	}
	classic, err := s.classicGroups(ctx, balancers)
	if err != nil {
		return nil, err
	}
	more = slices.Concat(more, classic)
	for _, arn := range more {
		if !slices.Contains(had, arn) {
			had = append(had, arn)
		}
	}
	if len(had) > maxTargetGroups {
		return nil, autoscaling.NewLimitExceededFault("You have already reached your limit of %d target groups for this Auto Scaling group.", maxTargetGroups)
	}
	return had, nil
}

// bounded refuses to name too many at once.
func bounded(arns, balancers []string, atOnce int) error {
	switch {
	case len(arns) > atOnce:
		return constraint(arns, "targetGroupARNs", "have length less than or equal to %d", atOnce)
	case len(balancers) > atOnce:
		return constraint(balancers, "loadBalancerNames", "have length less than or equal to %d", atOnce)
	}
	return nil
}

func (s *Service) attachGroups(ctx context.Context, group string, arns, balancers []string) error {
	return s.change(ctx, group, func(v *model.AutoScalingGroup) error {
		all, err := s.joined(ctx, v.Spec.TargetGroups, arns, balancers, maxAtOnce)
		v.Spec.TargetGroups = all
		return err
	})
}

func (s *Service) detachGroups(ctx context.Context, group string, arns, balancers []string) error {
	if err := bounded(arns, balancers, maxAtOnce); err != nil {
		return err
	}
	return s.change(ctx, group, func(v *model.AutoScalingGroup) error {
		arns := slices.Clone(arns)
		for _, name := range balancers {
			arn := attached(v, name)
			if arn == "" {
				return invalid("Trying to remove Load Balancers that are not part of the group")
			}
			arns = append(arns, arn)
		}
		for _, arn := range arns {
			if !slices.Contains(v.Spec.TargetGroups, arn) {
				return invalid("Trying to remove Target Groups that are not part of the group")
			}
		}
		v.Spec.TargetGroups = slices.DeleteFunc(v.Spec.TargetGroups, func(arn string) bool { return slices.Contains(arns, arn) })
		return nil
	})
}

// AttachLoadBalancerTargetGroups registers a group's instances with target
// groups.
func (s *Service) AttachLoadBalancerTargetGroups(ctx context.Context, in *autoscaling.AttachLoadBalancerTargetGroupsInput) (*autoscaling.AttachLoadBalancerTargetGroupsOutput, error) {
	if err := s.attachGroups(ctx, *in.AutoScalingGroupName, in.TargetGroupARNs, nil); err != nil {
		return nil, err
	}
	return &autoscaling.AttachLoadBalancerTargetGroupsOutput{}, nil
}

// DetachLoadBalancerTargetGroups takes them out again.
func (s *Service) DetachLoadBalancerTargetGroups(ctx context.Context, in *autoscaling.DetachLoadBalancerTargetGroupsInput) (*autoscaling.DetachLoadBalancerTargetGroupsOutput, error) {
	if err := s.detachGroups(ctx, *in.AutoScalingGroupName, in.TargetGroupARNs, nil); err != nil {
		return nil, err
	}
	return &autoscaling.DetachLoadBalancerTargetGroupsOutput{}, nil
}

// AttachTrafficSources is AttachLoadBalancerTargetGroups by its newer name.
func (s *Service) AttachTrafficSources(ctx context.Context, in *autoscaling.AttachTrafficSourcesInput) (*autoscaling.AttachTrafficSourcesOutput, error) {
	arns, names, err := sourcesOf(in.TrafficSources)
	if err != nil {
		return nil, err
	}
	if err := s.attachGroups(ctx, *in.AutoScalingGroupName, arns, names); err != nil {
		return nil, err
	}
	return &autoscaling.AttachTrafficSourcesOutput{}, nil
}

// DetachTrafficSources is DetachLoadBalancerTargetGroups by its newer name.
func (s *Service) DetachTrafficSources(ctx context.Context, in *autoscaling.DetachTrafficSourcesInput) (*autoscaling.DetachTrafficSourcesOutput, error) {
	arns, names, err := sourcesOf(in.TrafficSources)
	if err != nil {
		return nil, err
	}
	if err := s.detachGroups(ctx, *in.AutoScalingGroupName, arns, names); err != nil {
		return nil, err
	}
	return &autoscaling.DetachTrafficSourcesOutput{}, nil
}

// The states of a target group of an Auto Scaling group.
const (
	adding    = "Adding"
	added     = "Added"
	inService = "InService"
)

// stateOf tells how far the group's instances in service have come in a target
// group: all are registered, or one is healthy.
func (s *Service) stateOf(ctx context.Context, c *api.Call, arn string, members []memberRow) (string, error) {
	q := everything(c)
	q.Prefix = model.TargetGroupID(arn) + "/"
	targets, err := tables.Targets.List(ctx, s.Store, q)
	if err != nil {
		return "", err
	}
	health, err := tables.TargetsHealth.List(ctx, s.Store, q)
	if err != nil {
		return "", err
	}
	state := added
	for _, m := range members {
		if m.V.LifecycleState != model.ASGInService {
			continue
		}
		i := slices.IndexFunc(targets, func(t store.Row[model.Target]) bool { return t.V.ID == m.V.InstanceID })
		if i < 0 {
			state = adding
			continue
		}
		for _, h := range health {
			if h.Key.ID == targets[i].Key.ID && h.V.State == model.TargetHealthHealthy {
				return inService, nil
			}
		}
	}
	return state, nil
}

// groupStates are a group's target groups with their states.
func (s *Service) groupStates(ctx context.Context, name string) (arns []string, states map[string]string, err error) {
	c := api.CallFrom(ctx)
	row, err := s.group(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	members, err := s.members(ctx, c, name)
	if err != nil {
		return nil, nil, err
	}
	states = map[string]string{}
	for _, arn := range row.V.Spec.TargetGroups {
		if states[arn], err = s.stateOf(ctx, c, arn, members); err != nil {
			return nil, nil, err
		}
	}
	return slices.Sorted(slices.Values(row.V.Spec.TargetGroups)), states, nil
}

func itself(s string) string { return s }

// DescribeLoadBalancerTargetGroups lists a group's target groups.
func (s *Service) DescribeLoadBalancerTargetGroups(ctx context.Context, in *autoscaling.DescribeLoadBalancerTargetGroupsInput) (*autoscaling.DescribeLoadBalancerTargetGroupsOutput, error) {
	arns, states, err := s.groupStates(ctx, *in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	arns, _ = split(arns)
	arns, next, err := page(ctx, paged{in.NextToken, in.MaxRecords, 100, 100, "DescribeLoadBalancerTargetGroups", in.AutoScalingGroupName}, arns, itself)
	if err != nil {
		return nil, err
	}
	out := &autoscaling.DescribeLoadBalancerTargetGroupsOutput{LoadBalancerTargetGroups: []autoscaling.LoadBalancerTargetGroupState{}, NextToken: next}
	for _, arn := range arns {
		out.LoadBalancerTargetGroups = append(out.LoadBalancerTargetGroups, autoscaling.LoadBalancerTargetGroupState{LoadBalancerTargetGroupARN: new(arn), State: new(states[arn])})
	}
	return out, nil
}

// DescribeTrafficSources lists a group's target groups as traffic sources.
func (s *Service) DescribeTrafficSources(ctx context.Context, in *autoscaling.DescribeTrafficSourcesInput) (*autoscaling.DescribeTrafficSourcesOutput, error) {
	arns, states, err := s.groupStates(ctx, *in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	switch kind := value(in.TrafficSourceType); kind {
	case "":
	case typeELB, typeELBv2, "vpc-lattice":
		arns = slices.DeleteFunc(arns, func(arn string) bool { _, k := trafficSource(arn); return k != kind })
	default:
		return nil, invalid("Invalid traffic source type: %s. Valid types are: elb, elbv2, vpc-lattice.", kind)
	}
	list := []*string{in.AutoScalingGroupName, in.TrafficSourceType}
	arns, next, err := page(ctx, paged{in.NextToken, in.MaxRecords, 50, 50, "DescribeTrafficSources", list}, arns, itself)
	if err != nil {
		return nil, err
	}
	out := &autoscaling.DescribeTrafficSourcesOutput{TrafficSources: []autoscaling.TrafficSourceState{}, NextToken: next}
	for _, arn := range arns {
		id, kind := trafficSource(arn)
		out.TrafficSources = append(out.TrafficSources, autoscaling.TrafficSourceState{
			TrafficSource: &id, Identifier: &id, Type: &kind, State: new(states[arn]),
		})
	}
	return out, nil
}
