package autoscaling

import (
	"context"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

type refreshRow = store.Row[model.InstanceRefresh]

const (
	refreshMinHealthy = 90
	refreshMaxHealthy = 100
)

// refreshes are a group's, the newest first.
func (s *Service) refreshes(ctx context.Context, c *api.Call, group string) ([]refreshRow, error) {
	return under(ctx, s.Store, c, tables.InstanceRefreshes, group, func(v *model.InstanceRefresh) string { return v.Group })
}

// active is the refresh of a group that has not ended; there is one at most.
func (s *Service) active(ctx context.Context, c *api.Call, group string) (refreshRow, bool, error) {
	rows, err := s.refreshes(ctx, c, group)
	for _, r := range rows {
		switch r.V.Status {
		case model.RefreshPending, model.RefreshInProgress, model.RefreshCancelling, model.RefreshRollbackInProgress:
			return r, true, err
		}
	}
	return refreshRow{}, false, err
}

// checkNoDesiredConfiguration refuses to change what a group launches from
// while a refresh is about to do so.
func (s *Service) checkNoDesiredConfiguration(ctx context.Context, c *api.Call, group string) error {
	r, ok, err := s.active(ctx, c, group)
	if err != nil || !ok || !r.V.Desired {
		return err
	}
	return invalid("An active instance refresh with a desired configuration exists. All configuration options derived from the desired configuration " +
		"are not available for update while the instance refresh is active.")
}

// StartInstanceRefresh begins to replace a group's instances.
func (s *Service) StartInstanceRefresh(ctx context.Context, in *autoscaling.StartInstanceRefreshInput) (*autoscaling.StartInstanceRefreshOutput, error) {
	c := api.CallFrom(ctx)
	if in.Strategy != "" && in.Strategy != autoscaling.RefreshStrategyRolling {
		return nil, unsupported("the refresh strategy " + string(in.Strategy))
	}
	name := *in.AutoScalingGroupName
	var made *model.InstanceRefresh
	err := s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.live(ctx, name)
		if err != nil {
			return err
		}
		if _, ok, err := s.active(ctx, c, name); err != nil || ok {
			if err == nil {
				err = autoscaling.NewInstanceRefreshInProgressFault("An Instance Refresh is already in progress and blocks the execution of this Instance Refresh.")
			}
			return err
		}
		if made, err = s.newRefresh(ctx, c, row.V, in); err != nil {
			return err
		}
		tables.AutoScalingGroups.Check(tx, row)
		tables.InstanceRefreshes.Create(tx, c.Account, c.Region, name+"/"+made.ID, made)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.StartInstanceRefreshOutput{InstanceRefreshId: &made.ID}, nil
}

func (s *Service) newRefresh(ctx context.Context, c *api.Call, g *model.AutoScalingGroup, in *autoscaling.StartInstanceRefreshInput) (*model.InstanceRefresh, error) {
	v := &model.InstanceRefresh{
		ID: id.Newest(c.Time), Group: g.Name, Status: model.RefreshPending, StartedAt: c.Time,
		Previous: g.Spec.LaunchTemplate, PreviousMixed: g.Spec.MixedInstances, MixedInstances: g.Spec.MixedInstances,
	}
	if t := g.Spec.LaunchTemplate; t != nil {
		v.Template = *t
	}
	if err := s.desire(ctx, g, in.DesiredConfiguration, v); err != nil {
		return nil, err
	}
	return v, prefer(g, in.Preferences, v)
}

// desire takes over the configuration that a refresh is to bring about.
func (s *Service) desire(ctx context.Context, g *model.AutoScalingGroup, in *autoscaling.DesiredConfiguration, v *model.InstanceRefresh) error {
	if in == nil {
		return nil
	}
	if (in.LaunchTemplate == nil) == (in.MixedInstancesPolicy == nil) {
		return invalid("The desired configuration must contain either LaunchTemplate or MixedInstancesPolicy.")
	}
	spec := g.Spec
	said := settings{template: in.LaunchTemplate, mixed: in.MixedInstancesPolicy}
	if err := s.applySource(ctx, &said, &spec); err != nil {
		return err
	}
	v.Desired, v.Template, v.MixedInstances = true, model.ASGLaunchTemplate{}, spec.MixedInstances
	if spec.LaunchTemplate != nil {
		v.Template = *spec.LaunchTemplate
	}
	return nil
}

// prefer takes over the preferences of a refresh, and fills in what they leave
// to the group and to AWS.
func prefer(g *model.AutoScalingGroup, p *autoscaling.RefreshPreferences, v *model.InstanceRefresh) error {
	if p == nil {
		p = &autoscaling.RefreshPreferences{}
	}
	switch {
	case p.AlarmSpecification != nil && len(p.AlarmSpecification.Alarms) > 0:
		return unsupported("alarms of an instance refresh")
	case len(p.CheckpointPercentages) > 0:
		return unsupported("checkpoints of an instance refresh")
	case p.CheckpointDelay != nil && *p.CheckpointDelay != 0:
		return invalid("CheckpointDelay can only be specified together with CheckpointPercentages.")
	case p.BakeTime != nil && *p.BakeTime != 0:
		return unsupported("a bake time of an instance refresh")
	case p.MaxHealthyPercentage != nil && p.MinHealthyPercentage == nil:
		return invalid("MinHealthyPercentage must be specified when MaxHealthyPercentage is specified.")
	}
	v.MinHealthyPercentage, v.MaxHealthyPercentage = refreshMinHealthy, refreshMaxHealthy
	if g.Spec.MinHealthyPercentage != nil {
		v.MinHealthyPercentage, v.MaxHealthyPercentage = *g.Spec.MinHealthyPercentage, *g.Spec.MaxHealthyPercentage
	}
	if p.MinHealthyPercentage != nil {
		v.MinHealthyPercentage, v.MaxHealthyPercentage = int(*p.MinHealthyPercentage), refreshMaxHealthy
	}
	if p.MaxHealthyPercentage != nil {
		v.MaxHealthyPercentage = int(*p.MaxHealthyPercentage)
	}
	if err := checkHealthy(v.MinHealthyPercentage, v.MaxHealthyPercentage); err != nil {
		return err
	}
	v.WarmupSeconds = g.Spec.HealthCheckGraceSeconds
	if w := g.Spec.InstanceWarmupSeconds; w != nil {
		v.WarmupSeconds = *w
	}
	if p.InstanceWarmup != nil {
		v.WarmupSeconds = int(*p.InstanceWarmup)
	}
	v.SkipMatching, v.AutoRollback = value(p.SkipMatching), value(p.AutoRollback)
	v.ScaleInProtected, v.Standby = string(p.ScaleInProtectedInstances), string(p.StandbyInstances)
	if v.ScaleInProtected == "" {
		v.ScaleInProtected = string(autoscaling.ScaleInProtectedInstancesWait)
	}
	if v.Standby == "" {
		v.Standby = string(autoscaling.StandbyInstancesWait)
	}
	if v.AutoRollback {
		if why := irreversible(v); why != "" {
			return invalid("AutoRollback cannot be enabled: %s", why)
		}
	}
	return nil
}

// irreversible tells why a refresh has nothing fixed to go back to; empty when
// it has.
func irreversible(v *model.InstanceRefresh) string {
	if !v.Desired {
		return "the instance refresh has no desired configuration."
	}
	for _, src := range sources(v.Previous, v.PreviousMixed) {
		if src.template.Version == instances.Latest || src.template.Version == instances.Default {
			return "the Auto Scaling group uses the $Latest or $Default version of a launch template."
		}
	}
	return ""
}

func noActive(group string) error {
	return autoscaling.NewActiveInstanceRefreshNotFoundFault("No in progress or pending Instance Refresh found for Auto Scaling group %s", group)
}

// alter changes the refresh of a group that has not ended.
func (s *Service) alter(ctx context.Context, group string, f func(v *model.InstanceRefresh) error) (*string, error) {
	c := api.CallFrom(ctx)
	var altered *string
	err := s.commit(ctx, func(tx *store.Txn) error {
		if _, err := s.live(ctx, group); err != nil {
			return err
		}
		row, ok, err := s.active(ctx, c, group)
		if err != nil {
			return err
		}
		if !ok {
			return noActive(group)
		}
		v := row.Copy()
		if err := f(v); err != nil {
			return err
		}
		altered = &v.ID
		tables.InstanceRefreshes.Replace(tx, row, v)
		return nil
	})
	return altered, err
}

// CancelInstanceRefresh ends a refresh where it is.
func (s *Service) CancelInstanceRefresh(ctx context.Context, in *autoscaling.CancelInstanceRefreshInput) (*autoscaling.CancelInstanceRefreshOutput, error) {
	if w := in.WaitForTransitioningInstances; w != nil && !*w {
		return nil, unsupported("to cancel an instance refresh without waiting for instances in transition")
	}
	refresh, err := s.alter(ctx, *in.AutoScalingGroupName, func(v *model.InstanceRefresh) error {
		v.Cancelled = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.CancelInstanceRefreshOutput{InstanceRefreshId: refresh}, nil
}

// RollbackInstanceRefresh takes back what a refresh has changed.
func (s *Service) RollbackInstanceRefresh(ctx context.Context, in *autoscaling.RollbackInstanceRefreshInput) (*autoscaling.RollbackInstanceRefreshOutput, error) {
	refresh, err := s.alter(ctx, *in.AutoScalingGroupName, func(v *model.InstanceRefresh) error {
		if why := irreversible(v); why != "" {
			return autoscaling.NewIrreversibleInstanceRefreshFault("The instance refresh cannot be rolled back: %s", why)
		}
		if v.Cancelled {
			return noActive(v.Group)
		}
		v.Rollback = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.RollbackInstanceRefreshOutput{InstanceRefreshId: refresh}, nil
}

// DescribeInstanceRefreshes tells how a group's refreshes go, or went.
func (s *Service) DescribeInstanceRefreshes(ctx context.Context, in *autoscaling.DescribeInstanceRefreshesInput) (*autoscaling.DescribeInstanceRefreshesOutput, error) {
	c := api.CallFrom(ctx)
	if _, err := s.group(ctx, *in.AutoScalingGroupName); err != nil {
		return nil, err
	}
	rows, err := s.refreshes(ctx, c, *in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	byID := map[string]bool{}
	for _, r := range in.InstanceRefreshIds {
		byID[r] = true
	}
	picked := rows[:0:0]
	for _, r := range rows {
		if len(byID) == 0 || byID[r.V.ID] {
			picked = append(picked, r)
		}
	}
	list := []any{in.AutoScalingGroupName, in.InstanceRefreshIds}
	picked, next, err := page(ctx, paged{in.NextToken, in.MaxRecords, 50, 100, "DescribeInstanceRefreshes", list}, picked, func(r refreshRow) string { return r.V.ID })
	if err != nil {
		return nil, err
	}
	out := &autoscaling.DescribeInstanceRefreshesOutput{InstanceRefreshes: []autoscaling.InstanceRefresh{}, NextToken: next}
	for _, r := range picked {
		out.InstanceRefreshes = append(out.InstanceRefreshes, refreshOut(r.V))
	}
	return out, nil
}

func refreshOut(v *model.InstanceRefresh) autoscaling.InstanceRefresh {
	out := autoscaling.InstanceRefresh{
		InstanceRefreshId: &v.ID, AutoScalingGroupName: &v.Group, Status: autoscaling.InstanceRefreshStatus(v.Status), StatusReason: text(v.StatusReason),
		Strategy: autoscaling.RefreshStrategyRolling,
		Preferences: &autoscaling.RefreshPreferences{
			MinHealthyPercentage: number(v.MinHealthyPercentage), MaxHealthyPercentage: number(v.MaxHealthyPercentage), InstanceWarmup: number(v.WarmupSeconds),
			SkipMatching: &v.SkipMatching, AutoRollback: &v.AutoRollback, ScaleInProtectedInstances: autoscaling.ScaleInProtectedInstances(v.ScaleInProtected),
			StandbyInstances: autoscaling.StandbyInstances(v.Standby),
		},
	}
	if v.Cancelled && (v.Status == model.RefreshPending || v.Status == model.RefreshInProgress) {
		out.Status = autoscaling.InstanceRefreshStatusCancelling
	}
	if v.Desired {
		out.DesiredConfiguration = &autoscaling.DesiredConfiguration{LaunchTemplate: templateOut(&v.Template), MixedInstancesPolicy: mixedOut(v.MixedInstances)}
	}
	if v.Status != model.RefreshPending {
		out.StartTime = &v.StartedAt
		out.InstancesToUpdate = number(len(v.ToReplace))
		out.PercentageComplete = number(percentage(v))
		out.ProgressDetails = &autoscaling.InstanceRefreshProgressDetails{LivePoolProgress: &autoscaling.InstanceRefreshLivePoolProgress{
			InstancesToUpdate: out.InstancesToUpdate, PercentageComplete: out.PercentageComplete,
		}}
	}
	if !v.EndedAt.IsZero() {
		out.EndTime = &v.EndedAt
	}
	if !v.RollbackAt.IsZero() {
		out.RollbackDetails = &autoscaling.RollbackDetails{
			RollbackStartTime: &v.RollbackAt, RollbackReason: text(v.RollbackReason), InstancesToUpdateOnRollback: number(v.RollbackTotal),
			PercentageCompleteOnRollback: number(v.RollbackPercentage),
		}
	}
	return out
}

// percentage is how much of a refresh is done.
func percentage(v *model.InstanceRefresh) int {
	if v.Total == 0 {
		if v.Status == model.RefreshSuccessful || v.Status == model.RefreshRollbackSuccessful {
			return 100
		}
		return 0
	}
	return 100 * (v.Total - len(v.ToReplace)) / v.Total
}
