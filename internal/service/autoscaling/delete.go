package autoscaling

import (
	"context"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// DeleteAutoScalingGroup deletes a group: one without instances at once, one
// with instances, when forced, after they are gone.
func (s *Service) DeleteAutoScalingGroup(ctx context.Context, in *autoscaling.DeleteAutoScalingGroupInput) (*autoscaling.DeleteAutoScalingGroupOutput, error) {
	c := api.CallFrom(ctx)
	name, force := *in.AutoScalingGroupName, value(in.ForceDelete)
	err := s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.group(ctx, name)
		if err != nil {
			return err
		}
		if row.V.Deleting && (row.V.ForceDelete || !force) {
			return nil
		}
		if err := protects(row.V, force); err != nil {
			return err
		}
		members, err := s.members(ctx, c, name)
		if err != nil {
			return err
		}
		if len(members) == 0 {
			return s.remove(ctx, c, tx, row)
		}
		if !force {
			return s.refuseDelete(ctx, c, name, members)
		}
		v := row.Copy()
		v.Deleting, v.ForceDelete = true, true
		v.Spec.Min, v.Spec.Max = 0, 0
		tell(c, v, 0, "a user request force deleted the AutoScalingGroup")
		tables.AutoScalingGroups.Replace(tx, row, v)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.DeleteAutoScalingGroupOutput{}, nil
}

// protects refuses what the group's deletion protection rules out.
func protects(v *model.AutoScalingGroup, force bool) error {
	switch p := autoscaling.DeletionProtection(v.Spec.DeletionProtection); {
	case p == autoscaling.DeletionProtectionPreventAllDeletion,
		p == autoscaling.DeletionProtectionPreventForceDeletion && force:
		return autoscaling.NewResourceInUseFault("The AutoScalingGroup %s cannot be deleted because its deletion protection is set to %s.", v.Name, p)
	}
	return nil
}

func (s *Service) refuseDelete(ctx context.Context, c *api.Call, name string, members []memberRow) error {
	for _, m := range members {
		switch m.V.LifecycleState {
		case model.ASGTerminating, model.ASGTerminatingWait, model.ASGTerminatingProceed, model.ASGTerminated, model.ASGDetaching, model.ASGDetached:
		default:
			return autoscaling.NewResourceInUseFault("You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.")
		}
	}
	going, err := s.inProgress(ctx, c, name)
	if err != nil {
		return err
	}
	if len(going) > 0 {
		return autoscaling.NewScalingActivityInProgressFault("You cannot delete an AutoScalingGroup while there are scaling activities in progress for that group.")
	}
	return autoscaling.NewResourceInUseFault("You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in the group.")
}

// remove adds to tx that a group without instances goes, with its refreshes.
// Its activities stay.
func (s *Service) remove(ctx context.Context, c *api.Call, tx *store.Txn, row groupRow) error {
	refreshes, err := s.refreshes(ctx, c, row.V.Name)
	if err != nil {
		return err
	}
	for _, r := range refreshes {
		tables.InstanceRefreshes.Erase(tx, r.Key.Account, r.Key.Region, r.Key.ID)
	}
	tables.AutoScalingGroups.Delete(tx, row)
	return nil
}
