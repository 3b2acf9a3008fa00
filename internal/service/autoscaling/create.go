package autoscaling

import (
	"context"
	"errors"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	maxGroups       = 500
	defaultPolicy   = "Default"
	defaultCooldown = 300
)

// groupARN is a group's ARN: its id and its name.
func groupARN(c *api.Call, uuid, name string) string {
	return model.MakeARN("autoscaling", c.Region, c.Account, "autoScalingGroup:"+uuid+":autoScalingGroupName/"+name)
}

// validName checks a new group's name.
func validName(name string) error {
	if strings.ContainsFunc(name, func(r rune) bool { return r < 33 || r > 126 || r == ':' }) {
		return constraint(name, "autoScalingGroupName", "contain only ASCII characters 33 to 126, without colons")
	}
	return nil
}

// CreateAutoScalingGroup writes a group's record; its instances follow.
func (s *Service) CreateAutoScalingGroup(ctx context.Context, in *autoscaling.CreateAutoScalingGroupInput) (*autoscaling.CreateAutoScalingGroupOutput, error) {
	c := api.CallFrom(ctx)
	name := *in.AutoScalingGroupName
	if err := validName(name); err != nil {
		return nil, err
	}
	if in.InstanceId != nil {
		return nil, noConfigurations
	}
	v, err := s.newGroup(ctx, in)
	if err != nil {
		return nil, err
	}
	err = s.commit(ctx, func(tx *store.Txn) error {
		row, err := tables.AutoScalingGroups.Get(ctx, s.Store, c.Account, c.Region, name)
		switch {
		case err == nil && row.V.Deleting:
			return autoscaling.NewAlreadyExistsFault("AutoScalingGroup by this name already exists - A group with the name %s is pending delete", name)
		case err == nil:
			return autoscaling.NewAlreadyExistsFault("AutoScalingGroup by this name already exists - A group with the name %s already exists", name)
		case !errors.Is(err, store.ErrNotFound):
			return err
		}
		groups, err := tables.AutoScalingGroups.List(ctx, s.Store, everything(c))
		if err != nil {
			return err
		}
		if len(groups) >= maxGroups {
			return autoscaling.NewLimitExceededFault("You have already reached your limit for the number of Auto Scaling groups: %d", maxGroups)
		}
		if v.Spec.ServiceLinkedRoleARN, err = s.linkedRole(ctx, tx, in.ServiceLinkedRoleARN); err != nil {
			return err
		}
		tables.AutoScalingGroups.Create(tx, c.Account, c.Region, name, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.CreateAutoScalingGroupOutput{}, nil
}

// newGroup is the record of the group that is asked for.
func (s *Service) newGroup(ctx context.Context, in *autoscaling.CreateAutoScalingGroupInput) (*model.AutoScalingGroup, error) {
	c := api.CallFrom(ctx)
	v := &model.AutoScalingGroup{
		Name: *in.AutoScalingGroupName, ARN: groupARN(c, id.UUID(), *in.AutoScalingGroupName), CreatedAt: c.Time,
		Spec: model.ASGSpec{
			Min: int(*in.MinSize), Max: int(*in.MaxSize), HealthCheckType: "EC2", CooldownSeconds: defaultCooldown,
			TerminationPolicies: []string{defaultPolicy}, ZoneDistribution: string(autoscaling.CapacityDistributionStrategyBalancedBestEffort),
		},
	}
	if err := checkSizes(v.Spec.Min, v.Spec.Max); err != nil {
		return nil, err
	}
	desired := v.Spec.Min
	if in.DesiredCapacity != nil {
		desired = int(*in.DesiredCapacity)
	}
	if desired < v.Spec.Min || desired > v.Spec.Max {
		return nil, outOfBounds(desired, &v.Spec)
	}
	tell(c, v, desired, "a user request created an AutoScalingGroup")
	said := created(in)
	if in.LaunchTemplate == nil && in.MixedInstancesPolicy == nil && in.LaunchConfigurationName == nil {
		return nil, invalid(eitherSource)
	}
	if !said.where.given() {
		return nil, invalid("At least one Availability Zone or VPC Subnet is required.")
	}
	if err := s.apply(ctx, &said, &v.Spec); err != nil {
		return nil, err
	}
	var err error
	if v.Spec.TargetGroups, err = s.newTargetGroups(ctx, in); err != nil {
		return nil, err
	}
	if v.Tags, err = newTags(v.Name, in.Tags); err != nil {
		return nil, err
	}
	for i := range in.LifecycleHookSpecificationList {
		h := in.LifecycleHookSpecificationList[i]
		err := putHook(ctx, &v.Spec, &autoscaling.PutLifecycleHookInput{
			AutoScalingGroupName: &v.Name, LifecycleHookName: h.LifecycleHookName, LifecycleTransition: h.LifecycleTransition, DefaultResult: h.DefaultResult,
			HeartbeatTimeout: h.HeartbeatTimeout, NotificationMetadata: h.NotificationMetadata, NotificationTargetARN: h.NotificationTargetARN, RoleARN: h.RoleARN,
		})
		if err != nil {
			return nil, err
		}
	}
	return v, nil
}

func outOfBounds(desired int, spec *model.ASGSpec) error {
	return invalid("Desired capacity:%d must be between the specified min size:%d and max size:%d", desired, spec.Min, spec.Max)
}
