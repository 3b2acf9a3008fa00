package autoscalinggroup

import (
	"context"
	"errors"
	"strings"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/autoscaling"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// groupTag is the tag of the instances of a group.
const groupTag = "aws:autoscaling:groupName"

// view is all that is read about a group.
type view struct {
	key   controller.Key
	group store.Row[model.AutoScalingGroup]
	// members, ascending by id, and what EC2 has of them; those that EC2 forgot
	// are missing.
	members []store.Row[model.ASGInstance]
	ec2     map[string]store.Row[model.Instance]
	// refresh has no V when none is going on.
	refresh store.Row[model.InstanceRefresh]
	// targets are the members' registrations, by instance, but for those that
	// ECS made. failed are the instances that a load balancer finds unhealthy.
	targets map[string][]store.Row[model.Target]
	failed  map[string]bool
	// others are the registrations of members that ECS made, by record id.
	others map[string]bool
	// targetGroups that there are, by ARN.
	targetGroups map[string]store.Row[model.TargetGroup]
	launchable
}

func (v *view) place() instances.Place {
	return instances.Place{Account: v.key.Account, Region: v.key.Region}
}

// read reads the group under key; nil when there is none.
func (c *groups) read(ctx context.Context, key controller.Key) (*view, error) {
	v := &view{key: key}
	var err error
	if v.group, err = tables.AutoScalingGroups.Get(ctx, c.Store, key.Account, key.Region, key.ID); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		return nil, err
	}
	for _, step := range []func(context.Context, *view) error{c.readMembers, c.readEC2, c.readTargets, c.readRefresh, c.readLaunchable} {
		if err := step(ctx, v); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// under selects what belongs to a group. Names of other groups may begin with
// its own and a slash.
func (v *view) under() store.Query {
	return store.Query{Account: v.key.Account, Region: v.key.Region, Prefix: v.key.ID + "/"}
}

func (c *groups) readMembers(ctx context.Context, v *view) error {
	rows, err := tables.ASGInstances.List(ctx, c.Store, v.under())
	for _, r := range rows {
		if r.V.Group == v.key.ID {
			v.members = append(v.members, r)
		}
	}
	return err
}

func (c *groups) readEC2(ctx context.Context, v *view) error {
	rows, err := tables.Instances.List(ctx, c.Store, store.Query{
		Account: v.key.Account, Region: v.key.Region, Index: store.Index{Name: tables.ByAutoScalingGroup, Value: v.key.ID},
	})
	if err != nil {
		return err
	}
	v.ec2 = make(map[string]store.Row[model.Instance], len(rows))
	for _, r := range rows {
		v.ec2[r.V.ID] = r
	}
	for _, m := range v.members {
		if _, ok := v.ec2[m.V.InstanceID]; ok {
			continue
		}
		row, err := tables.Instances.Get(ctx, c.Store, v.key.Account, v.key.Region, m.V.InstanceID)
		if err == nil {
			v.ec2[row.V.ID] = row
		} else if !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// readTargets reads the target groups that the members are or are to be in.
func (c *groups) readTargets(ctx context.Context, v *view) error {
	v.targets, v.failed, v.targetGroups = map[string][]store.Row[model.Target]{}, map[string]bool{}, map[string]store.Row[model.TargetGroup]{}
	v.others = map[string]bool{}
	arns := map[string]bool{}
	member := make(map[string]bool, len(v.members))
	for _, arn := range v.group.V.Spec.TargetGroups {
		arns[arn] = true
	}
	for _, m := range v.members {
		member[m.V.InstanceID] = true
		for _, arn := range m.V.Targets {
			arns[arn] = true
		}
	}
	for arn := range arns {
		id := model.TargetGroupID(arn)
		row, err := tables.TargetGroups.Get(ctx, c.Store, v.key.Account, v.key.Region, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		v.targetGroups[arn] = row
		in := store.Query{Account: v.key.Account, Region: v.key.Region, Prefix: id + "/"}
		targets, err := tables.Targets.List(ctx, c.Store, in)
		if err != nil {
			return err
		}
		health, err := tables.TargetsHealth.List(ctx, c.Store, in)
		if err != nil {
			return err
		}
		unhealthy := map[string]bool{}
		for _, h := range health {
			unhealthy[h.Key.ID] = h.V.State == model.TargetHealthUnhealthy || h.V.State == model.TargetHealthUnhealthyDraining
		}
		for _, t := range targets {
			if !member[t.V.ID] {
				continue
			}
			if t.V.RegisteredBy != "" {
				v.others[t.Key.ID] = true
				continue
			}
			v.targets[t.V.ID] = append(v.targets[t.V.ID], t)
			if unhealthy[t.Key.ID] && t.V.DeregisteringAt == nil {
				v.failed[t.V.ID] = true
			}
		}
	}
	return nil
}

func (c *groups) readRefresh(ctx context.Context, v *view) error {
	rows, err := tables.InstanceRefreshes.List(ctx, c.Store, v.under())
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.V.Group == v.key.ID && r.V.EndedAt.IsZero() {
			v.refresh = r
		}
	}
	return nil
}

// snapshot is the view as the plan takes it.
func (v *view) snapshot() autoscaling.Snapshot {
	s := autoscaling.Snapshot{
		Group: v.group.V, Instances: make([]autoscaling.Instance, len(v.members)),
		Places: v.places, Pools: v.pools, Mixed: v.mixed, Refresh: v.refresh.V,
	}
	for i, m := range v.members {
		s.Instances[i] = autoscaling.Instance{
			ASGInstance: m.V, Registered: len(v.targets[m.V.InstanceID]), TargetFailed: v.failed[m.V.InstanceID],
		}
		if row, ok := v.ec2[m.V.InstanceID]; ok {
			s.Instances[i].EC2 = ec2Of(row.V, v.key.ID)
		}
	}
	return s
}

func ec2Of(i *model.Instance, group string) autoscaling.EC2 {
	state := i.State()
	return autoscaling.EC2{
		State: state, Ending: i.Desired.State == model.InstanceTerminated, Reason: reason(&i.Desired),
		Impaired: i.Status.Impaired != "" && state == model.InstanceRunning, NoticeAt: i.Desired.SpotInterruptionAt,
		Member: i.Spec.AutoScalingGroup == group && i.Tags[groupTag] == group,
	}
}

// reason is why an instance ends, without the time.
func reason(d *model.InstanceDesired) string {
	text, _, _ := strings.Cut(d.Reason, " (")
	if text == "" || strings.HasPrefix(text, d.ReasonCode) {
		return text
	}
	return d.ReasonCode + ": " + text
}
