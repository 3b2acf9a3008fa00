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

// maxIDs is how many instances a request may name.
const maxIDs = 20

// memberOf finds the membership of an instance in whatever group it has.
func (s *Service) memberOf(ctx context.Context, c *api.Call, instanceID string) (memberRow, error) {
	q := everything(c)
	q.Index = store.Index{Name: tables.ByEC2Instance, Value: instanceID}
	rows, err := tables.ASGInstances.List(ctx, s.Store, q)
	if err != nil {
		return memberRow{}, err
	}
	if len(rows) == 0 {
		return memberRow{}, invalid("Instance Id not found - No managed instance found for instance ID: %s", instanceID)
	}
	return rows[0], nil
}

// member finds an instance in a group.
func (s *Service) member(ctx context.Context, c *api.Call, group, instanceID string) (memberRow, error) {
	row, err := tables.ASGInstances.Get(ctx, s.Store, c.Account, c.Region, group+"/"+instanceID)
	if errors.Is(err, store.ErrNotFound) {
		return row, invalid("The instance %s is not part of Auto Scaling group %s.", instanceID, group)
	}
	return row, err
}

// ec2Instance is the instance of a membership, nil when it is gone.
func (s *Service) ec2Instance(ctx context.Context, c *api.Call, id string) (*model.Instance, error) {
	row, err := tables.Instances.Get(ctx, s.Store, c.Account, c.Region, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return row.V, err
}

// distinct are the ids of a request, each once.
func distinct(ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, invalid("Instance id list must not be empty.")
	}
	if len(ids) > maxIDs {
		return nil, constraint(ids, "instanceIds", "have length less than or equal to %d", maxIDs)
	}
	var out []string
	for _, id := range ids {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out, nil
}

// SetInstanceHealth says that an instance is healthy or not.
func (s *Service) SetInstanceHealth(ctx context.Context, in *autoscaling.SetInstanceHealthInput) (*autoscaling.SetInstanceHealthOutput, error) {
	c := api.CallFrom(ctx)
	status := *in.HealthStatus
	if status != healthy && status != unhealthy {
		return nil, invalid("Health status must be one of %s, %s: %s", healthy, unhealthy, status)
	}
	respect := in.ShouldRespectGracePeriod == nil || *in.ShouldRespectGracePeriod
	err := s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.memberOf(ctx, c, *in.InstanceId)
		if err != nil {
			return err
		}
		g, err := s.group(ctx, row.V.Group)
		if err != nil {
			return err
		}
		if status == unhealthy && respect && inGrace(c, g.V, row.V) || row.V.HealthStatus == status {
			return nil
		}
		m := row.Copy()
		m.HealthStatus, m.HealthCause = status, ""
		tables.ASGInstances.Replace(tx, row, m)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.SetInstanceHealthOutput{}, nil
}

const (
	healthy   = "Healthy"
	unhealthy = "Unhealthy"
)

// inGrace tells whether the health of an instance does not count yet.
func inGrace(c *api.Call, g *model.AutoScalingGroup, m *model.ASGInstance) bool {
	switch m.LifecycleState {
	case model.ASGPending, model.ASGPendingWait, model.ASGPendingProceed:
		return true
	case model.ASGInService:
		return c.Time.Sub(m.StateSince).Seconds() < float64(g.Spec.HealthCheckGraceSeconds)
	}
	return false
}

// SetInstanceProtection protects instances from scale-in, or no longer.
func (s *Service) SetInstanceProtection(ctx context.Context, in *autoscaling.SetInstanceProtectionInput) (*autoscaling.SetInstanceProtectionOutput, error) {
	c := api.CallFrom(ctx)
	const most = 50
	if len(in.InstanceIds) > most {
		return nil, constraint(in.InstanceIds, "instanceIds", "have length less than or equal to %d", most)
	}
	err := s.commit(ctx, func(tx *store.Txn) error {
		if _, err := s.live(ctx, *in.AutoScalingGroupName); err != nil {
			return err
		}
		for _, id := range slices.Compact(slices.Sorted(slices.Values(in.InstanceIds))) {
			row, err := s.member(ctx, c, *in.AutoScalingGroupName, id)
			if err != nil {
				return err
			}
			switch row.V.LifecycleState {
			case model.ASGInService, model.ASGEnteringStandby, model.ASGStandby, model.ASGPending, model.ASGPendingWait, model.ASGPendingProceed:
			default:
				return invalid("The instance %s is not in InService or EnteringStandby or Standby.", id)
			}
			m := row.Copy()
			m.Protected = *in.ProtectedFromScaleIn
			tables.ASGInstances.Replace(tx, row, m)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.SetInstanceProtectionOutput{}, nil
}
