package autoscaling

import (
	"context"
	"errors"
	"slices"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	maxHooks         = 50
	defaultHeartbeat = 3600
	minHeartbeat     = 30
	maxHeartbeat     = 7200
	maxGlobal        = 172_800 // seconds; or a hundred heartbeats, if that is less

	resultContinue = "CONTINUE"
	resultAbandon  = "ABANDON"
)

// hookTransitions are when a hook may make an instance wait.
var hookTransitions = []string{"autoscaling:EC2_INSTANCE_LAUNCHING", "autoscaling:EC2_INSTANCE_TERMINATING"}

// PutLifecycleHook adds a hook to a group, or changes one.
func (s *Service) PutLifecycleHook(ctx context.Context, in *autoscaling.PutLifecycleHookInput) (*autoscaling.PutLifecycleHookOutput, error) {
	err := s.change(ctx, *in.AutoScalingGroupName, func(v *model.AutoScalingGroup) error { return putHook(ctx, &v.Spec, in) })
	if err != nil {
		return nil, err
	}
	return &autoscaling.PutLifecycleHookOutput{}, nil
}

// putHook writes a hook into the group's settings.
func putHook(ctx context.Context, spec *model.ASGSpec, in *autoscaling.PutLifecycleHookInput) error {
	name := *in.LifecycleHookName
	i := slices.IndexFunc(spec.LifecycleHooks, func(h model.ASGHook) bool { return h.Name == name })
	h := model.ASGHook{Name: name, DefaultResult: resultAbandon, HeartbeatSeconds: defaultHeartbeat}
	switch {
	case i >= 0:
		h = spec.LifecycleHooks[i]
	case in.LifecycleTransition == nil:
		return invalid("LifecycleTransition parameter is required when creating a new lifecycle hook.")
	case len(spec.LifecycleHooks) >= maxHooks:
		return autoscaling.NewLimitExceededFault("You have already reached your limit of %d lifecycle hooks for this Auto Scaling group.", maxHooks)
	}
	if v := in.LifecycleTransition; v != nil {
		if !slices.Contains(hookTransitions, *v) {
			return invalid("Lifecycle Transition must be specified as autoscaling:EC2_INSTANCE_LAUNCHING or autoscaling:EC2_INSTANCE_TERMINATING.")
		}
		h.Transition = *v
	}
	if v := in.DefaultResult; v != nil {
		if err := checkResult(*v); err != nil {
			return err
		}
		h.DefaultResult = *v
	}
	if v := in.HeartbeatTimeout; v != nil {
		if *v < minHeartbeat || *v > maxHeartbeat {
			return invalid("Heartbeat timeout must be between %d and %d seconds.", minHeartbeat, maxHeartbeat)
		}
		h.HeartbeatSeconds = int(*v)
	}
	h.GlobalTimeoutSeconds = min(maxGlobal, 100*h.HeartbeatSeconds)
	if v := in.NotificationMetadata; v != nil {
		h.NotificationMetadata = *v
	}
	if err := checkTarget(ctx, in); err != nil {
		return err
	}
	if i >= 0 {
		spec.LifecycleHooks[i] = h
	} else {
		spec.LifecycleHooks = append(spec.LifecycleHooks, h)
	}
	return nil
}

func checkResult(result string) error {
	if result != resultContinue && result != resultAbandon {
		return invalid("Lifecycle Action Result must be specified as either CONTINUE or ABANDON.")
	}
	return nil
}

// checkTarget refuses targets of notifications: there are no queues and topics
// that the test message, which AWS sends first, could arrive at.
func checkTarget(ctx context.Context, in *autoscaling.PutLifecycleHookInput) error {
	target, role := value(in.NotificationTargetARN), value(in.RoleARN)
	switch {
	case target == "" && role == "":
		return nil
	case target == "":
		return invalid("If you specify a RoleARN, you must specify a NotificationTargetARN.")
	case role == "":
		return invalid("Unable to publish test message to notification target %s. Please check your target and role configuration and try to put lifecycle hook again.", target)
	}
	c := api.CallFrom(ctx)
	if err := c.Authorize(ctx, "iam:PassRole", role, map[string]string{"iam:PassedToService": principal}); err != nil {
		return err
	}
	return invalid("Unable to publish test message to notification target %s using IAM role %s. "+
		"Please check your target and role configuration and try to put lifecycle hook again.", target, role)
}

// DeleteLifecycleHook removes a hook from a group. What waits for it goes on:
// launches end, terminations proceed.
func (s *Service) DeleteLifecycleHook(ctx context.Context, in *autoscaling.DeleteLifecycleHookInput) (*autoscaling.DeleteLifecycleHookOutput, error) {
	err := s.change(ctx, *in.AutoScalingGroupName, func(v *model.AutoScalingGroup) error {
		n := len(v.Spec.LifecycleHooks)
		v.Spec.LifecycleHooks = slices.DeleteFunc(v.Spec.LifecycleHooks, func(h model.ASGHook) bool { return h.Name == *in.LifecycleHookName })
		if len(v.Spec.LifecycleHooks) == n {
			return invalid("No Lifecycle Hook found with name: %s", *in.LifecycleHookName)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.DeleteLifecycleHookOutput{}, nil
}

// DescribeLifecycleHooks lists a group's hooks.
func (s *Service) DescribeLifecycleHooks(ctx context.Context, in *autoscaling.DescribeLifecycleHooksInput) (*autoscaling.DescribeLifecycleHooksOutput, error) {
	row, err := s.group(ctx, *in.AutoScalingGroupName)
	if err != nil {
		return nil, err
	}
	out := &autoscaling.DescribeLifecycleHooksOutput{LifecycleHooks: []autoscaling.LifecycleHook{}}
	for i := range row.V.Spec.LifecycleHooks {
		h := &row.V.Spec.LifecycleHooks[i]
		if len(in.LifecycleHookNames) > 0 && !slices.Contains(in.LifecycleHookNames, h.Name) {
			continue
		}
		out.LifecycleHooks = append(out.LifecycleHooks, autoscaling.LifecycleHook{
			AutoScalingGroupName: &row.V.Name, LifecycleHookName: &h.Name, LifecycleTransition: &h.Transition, DefaultResult: &h.DefaultResult,
			HeartbeatTimeout: number(h.HeartbeatSeconds), GlobalTimeout: number(h.GlobalTimeoutSeconds), NotificationMetadata: text(h.NotificationMetadata),
			NotificationTargetARN: text(h.NotificationTargetARN), RoleARN: text(h.RoleARN),
		})
	}
	return out, nil
}

// DescribeLifecycleHookTypes lists when hooks act.
func (s *Service) DescribeLifecycleHookTypes(context.Context, *autoscaling.DescribeLifecycleHookTypesInput) (*autoscaling.DescribeLifecycleHookTypesOutput, error) {
	return &autoscaling.DescribeLifecycleHookTypesOutput{LifecycleHookTypes: hookTransitions}, nil
}

// CompleteLifecycleAction says how a lifecycle action ended.
func (s *Service) CompleteLifecycleAction(ctx context.Context, in *autoscaling.CompleteLifecycleActionInput) (*autoscaling.CompleteLifecycleActionOutput, error) {
	if err := checkResult(*in.LifecycleActionResult); err != nil {
		return nil, err
	}
	err := s.action(ctx, *in.AutoScalingGroupName, *in.LifecycleHookName, in.LifecycleActionToken, in.InstanceId, func(_ *api.Call, _ *model.ASGHook, a *model.ASGHookAction) error {
		a.Result = *in.LifecycleActionResult
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.CompleteLifecycleActionOutput{}, nil
}

// RecordLifecycleActionHeartbeat gives a lifecycle action another heartbeat,
// within the global timeout.
func (s *Service) RecordLifecycleActionHeartbeat(ctx context.Context, in *autoscaling.RecordLifecycleActionHeartbeatInput) (*autoscaling.RecordLifecycleActionHeartbeatOutput, error) {
	err := s.action(ctx, *in.AutoScalingGroupName, *in.LifecycleHookName, in.LifecycleActionToken, in.InstanceId, func(c *api.Call, h *model.ASGHook, a *model.ASGHookAction) error {
		a.ExpiresAt = c.Time.Add(time.Duration(h.HeartbeatSeconds) * time.Second)
		if !a.EndsAt.IsZero() && a.ExpiresAt.After(a.EndsAt) {
			a.ExpiresAt = a.EndsAt
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.RecordLifecycleActionHeartbeatOutput{}, nil
}

// action alters a lifecycle action that is waited for, by its token or its
// instance.
func (s *Service) action(ctx context.Context, group, hook string, token, instanceID *string, f func(*api.Call, *model.ASGHook, *model.ASGHookAction) error) error {
	c := api.CallFrom(ctx)
	group = nameOf(c, group)
	if token == nil && instanceID == nil {
		return invalid("Either LifecycleActionToken or InstanceId must be specified.")
	}
	return s.commit(ctx, func(tx *store.Txn) error {
		g, err := s.group(ctx, group)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(g.V.Spec.LifecycleHooks, func(h model.ASGHook) bool { return h.Name == hook })
		if i < 0 {
			return invalid("No Lifecycle Hook found with name: %s", hook)
		}
		row, err := s.waiting(ctx, c, group, token, instanceID)
		if err != nil {
			return err
		}
		m := row.Copy()
		for k := range m.HookActions {
			a := &m.HookActions[k]
			if a.Hook != hook || a.Result != "" || token != nil && a.Token != *token {
				continue
			}
			if err := f(c, &g.V.Spec.LifecycleHooks[i], a); err != nil {
				return err
			}
			tables.ASGInstances.Replace(tx, row, m)
			return nil
		}
		return noAction(token, instanceID)
	})
}

func noAction(token, instanceID *string) error {
	if token != nil {
		return invalid("No active Lifecycle Action found with token %s", *token)
	}
	return invalid("No active Lifecycle Action found with instance ID %s", *instanceID)
}

// waiting finds the instance that an action belongs to.
func (s *Service) waiting(ctx context.Context, c *api.Call, group string, token, instanceID *string) (memberRow, error) {
	if token == nil {
		row, err := tables.ASGInstances.Get(ctx, s.Store, c.Account, c.Region, group+"/"+*instanceID)
		if errors.Is(err, store.ErrNotFound) {
			err = noAction(token, instanceID)
		}
		return row, err
	}
	members, err := s.members(ctx, c, group)
	for _, m := range members {
		if slices.ContainsFunc(m.V.HookActions, func(a model.ASGHookAction) bool { return a.Token == *token }) {
			return m, nil
		}
	}
	if err == nil {
		err = noAction(token, instanceID)
	}
	return memberRow{}, err
}
