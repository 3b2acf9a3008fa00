package ec2

import (
	"context"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

func stateOut(state string) *ec2.InstanceState {
	return &ec2.InstanceState{Code: new(model.InstanceStateCode(state)), Name: ec2.InstanceStateName(state)}
}

func changesOut(list []instances.Change) []ec2.InstanceStateChange {
	out := []ec2.InstanceStateChange{}
	for _, c := range list {
		out = append(out, ec2.InstanceStateChange{InstanceId: new(c.InstanceID), PreviousState: stateOut(c.Previous), CurrentState: stateOut(c.Current)})
	}
	return out
}

// StartInstances starts stopped instances.
func (s *Service) StartInstances(ctx context.Context, in *ec2.StartInstancesInput) (*ec2.StartInstancesOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	changes, err := instances.Start(ctx, s.store, placeOf(call), call.Time, in.InstanceIds...)
	return &ec2.StartInstancesOutput{StartingInstances: changesOut(changes)}, answer(err)
}

// StopInstances stops running instances.
func (s *Service) StopInstances(ctx context.Context, in *ec2.StopInstancesInput) (*ec2.StopInstancesOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	if deref(in.Hibernate) {
		return nil, api.NewFault("UnsupportedHibernationConfiguration", "Stopping an instance with the hibernate option is only supported for instances that were launched with hibernation enabled.")
	}
	force := deref(in.Force) || deref(in.SkipOsShutdown)
	changes, err := instances.Stop(ctx, s.store, placeOf(call), call.Time, instances.Why{}, force, in.InstanceIds...)
	return &ec2.StopInstancesOutput{StoppingInstances: changesOut(changes)}, answer(err)
}

// RebootInstances boots running instances anew.
func (s *Service) RebootInstances(ctx context.Context, in *ec2.RebootInstancesInput) (*ec2.RebootInstancesOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	return &ec2.RebootInstancesOutput{}, answer(instances.Reboot(ctx, s.store, placeOf(call), call.Time, in.InstanceIds...))
}

// TerminateInstances ends instances.
func (s *Service) TerminateInstances(ctx context.Context, in *ec2.TerminateInstancesInput) (*ec2.TerminateInstancesOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	changes, err := instances.Terminate(ctx, s.store, placeOf(call), call.Time, instances.Why{}, in.InstanceIds...)
	return &ec2.TerminateInstancesOutput{TerminatingInstances: changesOut(changes)}, answer(err)
}

// MonitorInstances turns detailed monitoring on.
func (s *Service) MonitorInstances(ctx context.Context, in *ec2.MonitorInstancesInput) (*ec2.MonitorInstancesOutput, error) {
	out, err := s.monitor(ctx, in.DryRun, in.InstanceIds, true)
	return &ec2.MonitorInstancesOutput{InstanceMonitorings: out}, err
}

// UnmonitorInstances turns detailed monitoring off.
func (s *Service) UnmonitorInstances(ctx context.Context, in *ec2.UnmonitorInstancesInput) (*ec2.UnmonitorInstancesOutput, error) {
	out, err := s.monitor(ctx, in.DryRun, in.InstanceIds, false)
	return &ec2.UnmonitorInstancesOutput{InstanceMonitorings: out}, err
}

func (s *Service) monitor(ctx context.Context, dry *bool, ids []string, on bool) ([]ec2.InstanceMonitoring, error) {
	call, err := s.change(ctx, dry)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if _, err := s.living(ctx, call, id); err != nil {
			return nil, err
		}
	}
	out := []ec2.InstanceMonitoring{}
	for _, id := range ids {
		_, err := s.changeInstance(ctx, call, id, func(v *model.Instance) error {
			v.Spec.Monitoring = on
			return nil
		})
		if err != nil {
			return nil, err
		}
		out = append(out, ec2.InstanceMonitoring{InstanceId: new(id), Monitoring: monitoringOut(on)})
	}
	return out, nil
}

func monitoringOut(on bool) *ec2.Monitoring {
	if on {
		return &ec2.Monitoring{State: ec2.MonitoringStateEnabled}
	}
	return &ec2.Monitoring{State: ec2.MonitoringStateDisabled}
}

// instance reads an instance.
func (s *Service) instance(ctx context.Context, call *api.Call, id string) (store.Row[model.Instance], error) {
	row, err := instances.Find(ctx, s.store, placeOf(call), id)
	return row, answer(err)
}

// living reads an instance that can be changed.
func (s *Service) living(ctx context.Context, call *api.Call, id string) (store.Row[model.Instance], error) {
	row, err := s.instance(ctx, call, id)
	if err == nil && row.V.Desired.State == model.InstanceTerminated {
		err = api.NewFault("IncorrectInstanceState", "The instance '%s' is not in a valid state for this operation: %s.", id, row.V.State())
	}
	return row, err
}

// changeInstance alters an instance that lives.
func (s *Service) changeInstance(ctx context.Context, call *api.Call, id string, f func(v *model.Instance) error) (*model.Instance, error) {
	if _, err := s.living(ctx, call, id); err != nil {
		return nil, err
	}
	row, err := tables.Instances.Update(ctx, s.store, call.Account, call.Region, id, f)
	return row.V, answer(nounInstance.orMissing(err, id))
}
