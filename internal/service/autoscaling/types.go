package autoscaling

import (
	"context"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/tables"
)

// terminationPolicies choose which instance goes first.
var terminationPolicies = []string{
	"AllocationStrategy", "ClosestToNextInstanceHour", defaultPolicy, "NewestInstance", "OldestInstance", "OldestLaunchConfiguration", "OldestLaunchTemplate",
}

// DescribeTerminationPolicyTypes lists the termination policies.
func (s *Service) DescribeTerminationPolicyTypes(context.Context, *autoscaling.DescribeTerminationPolicyTypesInput) (*autoscaling.DescribeTerminationPolicyTypesOutput, error) {
	return &autoscaling.DescribeTerminationPolicyTypesOutput{TerminationPolicyTypes: terminationPolicies}, nil
}

// DescribeAdjustmentTypes lists how scaling policies change a capacity.
func (s *Service) DescribeAdjustmentTypes(context.Context, *autoscaling.DescribeAdjustmentTypesInput) (*autoscaling.DescribeAdjustmentTypesOutput, error) {
	out := &autoscaling.DescribeAdjustmentTypesOutput{}
	for _, name := range []string{"ChangeInCapacity", "ExactCapacity", "PercentChangeInCapacity"} {
		out.AdjustmentTypes = append(out.AdjustmentTypes, autoscaling.AdjustmentType{AdjustmentType: new(name)})
	}
	return out, nil
}

// DescribeAutoScalingNotificationTypes lists what notifications tell of.
func (s *Service) DescribeAutoScalingNotificationTypes(context.Context, *autoscaling.DescribeAutoScalingNotificationTypesInput) (*autoscaling.DescribeAutoScalingNotificationTypesOutput, error) {
	return &autoscaling.DescribeAutoScalingNotificationTypesOutput{AutoScalingNotificationTypes: []string{
		"autoscaling:EC2_INSTANCE_LAUNCH", "autoscaling:EC2_INSTANCE_LAUNCH_ERROR", "autoscaling:EC2_INSTANCE_TERMINATE",
		"autoscaling:EC2_INSTANCE_TERMINATE_ERROR", "autoscaling:TEST_NOTIFICATION",
	}}, nil
}

// metrics are those of a group.
var metrics = []string{
	"GroupMinSize", "GroupMaxSize", "GroupDesiredCapacity", "GroupInServiceInstances", "GroupPendingInstances", "GroupStandbyInstances",
	"GroupTerminatingInstances", "GroupTotalInstances", "GroupInServiceCapacity", "GroupPendingCapacity", "GroupStandbyCapacity",
	"GroupTerminatingCapacity", "GroupTotalCapacity", "WarmPoolDesiredCapacity", "WarmPoolWarmedCapacity", "WarmPoolPendingCapacity",
	"WarmPoolTerminatingCapacity", "WarmPoolTotalCapacity", "GroupAndWarmPoolDesiredCapacity", "GroupAndWarmPoolTotalCapacity",
}

// DescribeMetricCollectionTypes lists the metrics of groups.
func (s *Service) DescribeMetricCollectionTypes(context.Context, *autoscaling.DescribeMetricCollectionTypesInput) (*autoscaling.DescribeMetricCollectionTypesOutput, error) {
	out := &autoscaling.DescribeMetricCollectionTypesOutput{Granularities: []autoscaling.MetricGranularityType{{Granularity: new(granularity)}}}
	for _, m := range metrics {
		out.Metrics = append(out.Metrics, autoscaling.MetricCollectionType{Metric: new(m)})
	}
	return out, nil
}

// metricsOf are the metrics of a request: all when it names none.
func metricsOf(in []string) ([]string, error) {
	if len(in) == 0 {
		return metrics, nil
	}
	for _, m := range in {
		if !slices.Contains(metrics, m) {
			return nil, invalid("Invalid metric: %s", m)
		}
	}
	return in, nil
}

// EnableMetricsCollection notes which metrics of a group are to be collected.
func (s *Service) EnableMetricsCollection(ctx context.Context, in *autoscaling.EnableMetricsCollectionInput) (*autoscaling.EnableMetricsCollectionOutput, error) {
	if *in.Granularity != granularity {
		return nil, invalid("Invalid granularity: %s. The only valid value is %s.", *in.Granularity, granularity)
	}
	list, err := metricsOf(in.Metrics)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, *in.AutoScalingGroupName, func(v *model.AutoScalingGroup) error {
		v.EnabledMetrics = slices.Compact(slices.Sorted(slices.Values(slices.Concat(v.EnabledMetrics, list))))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.EnableMetricsCollectionOutput{}, nil
}

// DisableMetricsCollection takes metrics back.
func (s *Service) DisableMetricsCollection(ctx context.Context, in *autoscaling.DisableMetricsCollectionInput) (*autoscaling.DisableMetricsCollectionOutput, error) {
	list, err := metricsOf(in.Metrics)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, *in.AutoScalingGroupName, func(v *model.AutoScalingGroup) error {
		v.EnabledMetrics = slices.DeleteFunc(v.EnabledMetrics, func(m string) bool { return slices.Contains(list, m) })
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.DisableMetricsCollectionOutput{}, nil
}

// DescribeAccountLimits tells how many groups there may be, and are.
func (s *Service) DescribeAccountLimits(ctx context.Context, _ *autoscaling.DescribeAccountLimitsInput) (*autoscaling.DescribeAccountLimitsOutput, error) {
	rows, err := tables.AutoScalingGroups.List(ctx, s.Store, everything(api.CallFrom(ctx)))
	if err != nil {
		return nil, err
	}
	return &autoscaling.DescribeAccountLimitsOutput{
		MaxNumberOfAutoScalingGroups: number(maxGroups), NumberOfAutoScalingGroups: number(len(rows)),
		MaxNumberOfLaunchConfigurations: new(int32(200)), NumberOfLaunchConfigurations: new(int32(0)),
	}, nil
}
