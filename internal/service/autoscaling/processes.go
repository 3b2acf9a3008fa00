package autoscaling

import (
	"context"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
)

// processes are what a group does, and may be told not to.
var processes = []string{
	"AddToLoadBalancer", "AlarmNotification", "AZRebalance", "HealthCheck", "InstanceRefresh", "Launch", "ReplaceUnhealthy", "ScheduledActions", "Terminate",
}

// named are the processes of a request: all when it names none.
func named(in []string) ([]string, error) {
	if len(in) == 0 {
		return processes, nil
	}
	for _, name := range in {
		if !slices.Contains(processes, name) {
			return nil, invalid("Process name %s is not valid.", name)
		}
	}
	return in, nil
}

// SuspendProcesses makes a group leave off some of what it does.
func (s *Service) SuspendProcesses(ctx context.Context, in *autoscaling.SuspendProcessesInput) (*autoscaling.SuspendProcessesOutput, error) {
	c := api.CallFrom(ctx)
	names, err := named(in.ScalingProcesses)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, *in.AutoScalingGroupName, func(v *model.AutoScalingGroup) error {
		if v.Suspended == nil {
			v.Suspended = map[string]string{}
		}
		for _, name := range names {
			if v.Suspended[name] == "" {
				v.Suspended[name] = "User suspended at " + stamp(c.Time)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.SuspendProcessesOutput{}, nil
}

// ResumeProcesses makes a group take up again what it left off.
func (s *Service) ResumeProcesses(ctx context.Context, in *autoscaling.ResumeProcessesInput) (*autoscaling.ResumeProcessesOutput, error) {
	names, err := named(in.ScalingProcesses)
	if err != nil {
		return nil, err
	}
	err = s.change(ctx, *in.AutoScalingGroupName, func(v *model.AutoScalingGroup) error {
		for _, name := range names {
			delete(v.Suspended, name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.ResumeProcessesOutput{}, nil
}

// DescribeScalingProcessTypes lists what groups do.
func (s *Service) DescribeScalingProcessTypes(context.Context, *autoscaling.DescribeScalingProcessTypesInput) (*autoscaling.DescribeScalingProcessTypesOutput, error) {
	out := &autoscaling.DescribeScalingProcessTypesOutput{}
	for _, name := range processes {
		out.Processes = append(out.Processes, autoscaling.ProcessType{ProcessName: new(name)})
	}
	return out, nil
}
