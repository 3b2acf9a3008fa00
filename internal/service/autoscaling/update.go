package autoscaling

import (
	"context"
	"fmt"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// UpdateAutoScalingGroup changes a group's settings. What it launches from
// counts for instances to come.
func (s *Service) UpdateAutoScalingGroup(ctx context.Context, in *autoscaling.UpdateAutoScalingGroupInput) (*autoscaling.UpdateAutoScalingGroupOutput, error) {
	c := api.CallFrom(ctx)
	said := updated(in)
	err := s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.live(ctx, *in.AutoScalingGroupName)
		if err != nil {
			return err
		}
		v := row.Copy()
		if in.LaunchTemplate != nil || in.MixedInstancesPolicy != nil {
			if err := s.checkNoDesiredConfiguration(ctx, c, v.Name); err != nil {
				return err
			}
		}
		if err := s.apply(ctx, &said, &v.Spec); err != nil {
			return err
		}
		if in.ServiceLinkedRoleARN != nil {
			if v.Spec.ServiceLinkedRoleARN, err = s.linkedRole(ctx, tx, in.ServiceLinkedRoleARN); err != nil {
				return err
			}
		}
		if err := resize(c, v, &said); err != nil {
			return err
		}
		tables.AutoScalingGroups.Replace(tx, row, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.UpdateAutoScalingGroupOutput{}, nil
}

// resize changes the bounds and the desired capacity, which follows the bounds
// unless it is said.
func resize(c *api.Call, v *model.AutoScalingGroup, in *settings) error {
	if in.min == nil && in.max == nil && in.desired == nil {
		return nil
	}
	if in.min != nil {
		v.Spec.Min = int(*in.min)
	}
	if in.max != nil {
		v.Spec.Max = int(*in.max)
	}
	if err := checkSizes(v.Spec.Min, v.Spec.Max); err != nil {
		return err
	}
	desired := min(max(v.Desired, v.Spec.Min), v.Spec.Max)
	if in.desired != nil {
		desired = int(*in.desired)
	}
	if desired < v.Spec.Min || desired > v.Spec.Max {
		return outOfBounds(desired, &v.Spec)
	}
	tell(c, v, desired, fmt.Sprintf("a user request update of AutoScalingGroup constraints to min: %d, max: %d, desired: %d", v.Spec.Min, v.Spec.Max, desired))
	return nil
}

func changing(from, to int) string {
	return fmt.Sprintf("changing the desired capacity from %d to %d", from, to)
}

// SetDesiredCapacity sets how many instances a group is to have.
func (s *Service) SetDesiredCapacity(ctx context.Context, in *autoscaling.SetDesiredCapacityInput) (*autoscaling.SetDesiredCapacityOutput, error) {
	c := api.CallFrom(ctx)
	desired := int(*in.DesiredCapacity)
	err := s.change(ctx, *in.AutoScalingGroupName, func(v *model.AutoScalingGroup) error {
		switch {
		case desired < 0:
			return constraint(desired, "desiredCapacity", "have value greater than or equal to 0")
		case desired > v.Spec.Max:
			return invalid("New SetDesiredCapacity value %d is above max value %d for the AutoScalingGroup.", desired, v.Spec.Max)
		case desired < v.Spec.Min:
			return invalid("New SetDesiredCapacity value %d is below min value %d for the AutoScalingGroup.", desired, v.Spec.Min)
		}
		if value(in.HonorCooldown) {
			if err := s.cooledDown(ctx, c, v); err != nil {
				return err
			}
		}
		if desired == v.Desired {
			return store.ErrUnchanged
		}
		tell(c, v, desired, "a user request explicitly set group desired capacity")
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.SetDesiredCapacityOutput{}, nil
}

// cooledDown refuses while a group scales, and as long afterwards as its
// cooldown says.
func (s *Service) cooledDown(ctx context.Context, c *api.Call, v *model.AutoScalingGroup) error {
	going, err := s.inProgress(ctx, c, v.Name)
	if err != nil {
		return err
	}
	if len(going) > 0 {
		return autoscaling.NewScalingActivityInProgressFault("Scaling activity %s is in progress and blocks this action", going[0].ID)
	}
	if at := v.Status.ScaledAt; !at.IsZero() && c.Time.Sub(at).Seconds() < float64(v.Spec.CooldownSeconds) {
		return autoscaling.NewScalingActivityInProgressFault("AutoScalingGroup %s is in its cooldown period", v.Name)
	}
	return nil
}
