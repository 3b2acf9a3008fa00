package autoscaling

import (
	"context"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
)

// noConfigurations is what AWS answers accounts that were made since launch
// configurations were given up.
var noConfigurations = api.NewFault("UnsupportedOperation",
	"The Launch Configuration creation operation is not available in your account. Use launch templates to create configuration templates for your Auto Scaling groups.")

// CreateLaunchConfiguration is refused.
func (s *Service) CreateLaunchConfiguration(context.Context, *autoscaling.CreateLaunchConfigurationInput) (*autoscaling.CreateLaunchConfigurationOutput, error) {
	return nil, noConfigurations
}

// DescribeLaunchConfigurations lists none.
func (s *Service) DescribeLaunchConfigurations(ctx context.Context, in *autoscaling.DescribeLaunchConfigurationsInput) (*autoscaling.DescribeLaunchConfigurationsOutput, error) {
	err := nothing(ctx, paged{in.NextToken, in.MaxRecords, 50, 100, "DescribeLaunchConfigurations", in.LaunchConfigurationNames})
	if err != nil {
		return nil, err
	}
	return &autoscaling.DescribeLaunchConfigurationsOutput{LaunchConfigurations: []autoscaling.LaunchConfiguration{}}, nil
}

// later refuses, for an existing group, what is not served yet.
func (s *Service) later(ctx context.Context, group, what string) error {
	if _, err := s.live(ctx, group); err != nil {
		return err
	}
	return unsupported(what)
}

// PutScalingPolicy is refused.
func (s *Service) PutScalingPolicy(ctx context.Context, in *autoscaling.PutScalingPolicyInput) (*autoscaling.PutScalingPolicyOutput, error) {
	return nil, s.later(ctx, *in.AutoScalingGroupName, "scaling policies")
}

// DescribePolicies lists none.
func (s *Service) DescribePolicies(ctx context.Context, in *autoscaling.DescribePoliciesInput) (*autoscaling.DescribePoliciesOutput, error) {
	if in.AutoScalingGroupName != nil {
		if _, err := s.group(ctx, *in.AutoScalingGroupName); err != nil {
			return nil, err
		}
	}
	list := []any{in.AutoScalingGroupName, in.PolicyNames, in.PolicyTypes}
	if err := nothing(ctx, paged{in.NextToken, in.MaxRecords, 50, 100, "DescribePolicies", list}); err != nil {
		return nil, err
	}
	return &autoscaling.DescribePoliciesOutput{ScalingPolicies: []autoscaling.ScalingPolicy{}}, nil
}

// PutScheduledUpdateGroupAction is refused.
func (s *Service) PutScheduledUpdateGroupAction(ctx context.Context, in *autoscaling.PutScheduledUpdateGroupActionInput) (*autoscaling.PutScheduledUpdateGroupActionOutput, error) {
	return nil, s.later(ctx, *in.AutoScalingGroupName, "scheduled actions")
}

// BatchPutScheduledUpdateGroupAction is refused.
func (s *Service) BatchPutScheduledUpdateGroupAction(ctx context.Context, in *autoscaling.BatchPutScheduledUpdateGroupActionInput) (*autoscaling.BatchPutScheduledUpdateGroupActionOutput, error) {
	return nil, s.later(ctx, *in.AutoScalingGroupName, "scheduled actions")
}

// DescribeScheduledActions lists none.
func (s *Service) DescribeScheduledActions(ctx context.Context, in *autoscaling.DescribeScheduledActionsInput) (*autoscaling.DescribeScheduledActionsOutput, error) {
	list := []any{in.AutoScalingGroupName, in.ScheduledActionNames, in.StartTime, in.EndTime}
	if err := nothing(ctx, paged{in.NextToken, in.MaxRecords, 50, 100, "DescribeScheduledActions", list}); err != nil {
		return nil, err
	}
	return &autoscaling.DescribeScheduledActionsOutput{ScheduledUpdateGroupActions: []autoscaling.ScheduledUpdateGroupAction{}}, nil
}

// PutNotificationConfiguration is refused.
func (s *Service) PutNotificationConfiguration(ctx context.Context, in *autoscaling.PutNotificationConfigurationInput) (*autoscaling.PutNotificationConfigurationOutput, error) {
	return nil, s.later(ctx, *in.AutoScalingGroupName, "notifications")
}

// DescribeNotificationConfigurations lists none.
func (s *Service) DescribeNotificationConfigurations(ctx context.Context, in *autoscaling.DescribeNotificationConfigurationsInput) (*autoscaling.DescribeNotificationConfigurationsOutput, error) {
	err := nothing(ctx, paged{in.NextToken, in.MaxRecords, 50, 100, "DescribeNotificationConfigurations", in.AutoScalingGroupNames})
	if err != nil {
		return nil, err
	}
	return &autoscaling.DescribeNotificationConfigurationsOutput{NotificationConfigurations: []autoscaling.NotificationConfiguration{}}, nil
}

// PutWarmPool is refused.
func (s *Service) PutWarmPool(ctx context.Context, in *autoscaling.PutWarmPoolInput) (*autoscaling.PutWarmPoolOutput, error) {
	return nil, s.later(ctx, *in.AutoScalingGroupName, "warm pools")
}

// DescribeWarmPool tells of a pool that is not there.
func (s *Service) DescribeWarmPool(ctx context.Context, in *autoscaling.DescribeWarmPoolInput) (*autoscaling.DescribeWarmPoolOutput, error) {
	if _, err := s.group(ctx, *in.AutoScalingGroupName); err != nil {
		return nil, err
	}
	if err := nothing(ctx, paged{in.NextToken, in.MaxRecords, 50, 50, "DescribeWarmPool", in.AutoScalingGroupName}); err != nil {
		return nil, err
	}
	return &autoscaling.DescribeWarmPoolOutput{Instances: []autoscaling.Instance{}}, nil
}
