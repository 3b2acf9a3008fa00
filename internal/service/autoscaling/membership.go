package autoscaling

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// move is an operation on several instances of a group.
type move struct {
	command string
	// from are the states that an instance may be in, and wrong what is said of
	// one that is in none of them.
	from  []string
	wrong string
	// by is what each instance adds to the desired capacity, by its weight.
	by int
	// to names the operation in the refusal of too few or too many.
	to string
	// describe and cause are sentences of the activity; each gets the id.
	describe, cause string
	status          string
	progress        int
}

// carryOut gives instances their commands, and tells of the activities begun.
func (s *Service) carryOut(ctx context.Context, group string, ids []string, mv move) ([]autoscaling.Activity, error) {
	c := api.CallFrom(ctx)
	ids, err := distinct(ids)
	if err != nil {
		return nil, err
	}
	var out []autoscaling.Activity
	err = s.commit(ctx, func(tx *store.Txn) error {
		out = []autoscaling.Activity{}
		row, err := s.live(ctx, group)
		if err != nil {
			return err
		}
		g := row.Copy()
		var members []memberRow
		capacity := 0
		for _, id := range ids {
			m, err := s.member(ctx, c, group, id)
			if err != nil {
				return err
			}
			if !slices.Contains(mv.from, m.V.LifecycleState) || m.V.Command.Name != "" {
				return invalid(mv.wrong, id)
			}
			members = append(members, m)
			capacity += counts(m.V)
		}
		if err := fits(g, mv.by*capacity, len(ids), mv.to); err != nil {
			return err
		}
		for _, m := range members {
			a, err := s.command(ctx, c, tx, g, m, mv)
			if err != nil {
				return err
			}
			out = append(out, activityOut(a))
		}
		hold(tx, row, g)
		return nil
	})
	return out, err
}

// counts is how much of the desired capacity an instance is.
func counts(m *model.ASGInstance) int { return max(1, m.Weight) }

// hold writes the group when it needs another capacity; else tx only fails
// when the group is no longer what was read.
func hold(tx *store.Txn, row groupRow, g *model.AutoScalingGroup) {
	if g.Desired != row.V.Desired {
		tables.AutoScalingGroups.Replace(tx, row, g)
	} else {
		tables.AutoScalingGroups.Check(tx, row)
	}
}

// command adds to tx that an instance is told something.
func (s *Service) command(ctx context.Context, c *api.Call, tx *store.Txn, g *model.AutoScalingGroup, row memberRow, mv move) (*model.ScalingActivity, error) {
	in, err := s.ec2Instance(ctx, c, row.V.InstanceID)
	if err != nil {
		return nil, err
	}
	m := row.Copy()
	cause := "At " + stamp(c.Time) + " instance " + m.InstanceID + " " + mv.cause
	if by := mv.by * counts(m); by != 0 {
		cause += ", " + sizing(g.Desired, g.Desired+by)
		g.Desired += by
		g.DesiredReason = cause + "."
	}
	cause += "."
	m.Command = model.ASGCommand{Name: mv.command, Cause: cause}
	a := begin(c, tx, g, in, m, model.ScalingActivity{Description: fmt.Sprintf(mv.describe, m.InstanceID), Cause: cause, StatusCode: mv.status, Progress: mv.progress})
	tables.ASGInstances.Replace(tx, row, m)
	return a, nil
}

func sizing(from, to int) string {
	if to < from {
		return fmt.Sprintf("shrinking the capacity from %d to %d", from, to)
	}
	return fmt.Sprintf("increasing the capacity from %d to %d", from, to)
}

// fits refuses what would leave the group's bounds.
func fits(g *model.AutoScalingGroup, by, n int, to string) error {
	if by == 0 || g.Desired+by >= g.Spec.Min && g.Desired+by <= g.Spec.Max {
		return nil
	}
	noun := "instance"
	if n > 1 {
		noun = "instances"
	}
	return invalid("AutoScalingGroup %s has min-size=%d, max-size=%d, and desired-size=%d. To %s %d %s, please update the AutoScalingGroup sizes appropriately.",
		g.Name, g.Spec.Min, g.Spec.Max, g.Desired, to, n, noun)
}

func less(decrement *bool) int {
	if value(decrement) {
		return -1
	}
	return 0
}

// DetachInstances takes instances out of a group; they go on running.
func (s *Service) DetachInstances(ctx context.Context, in *autoscaling.DetachInstancesInput) (*autoscaling.DetachInstancesOutput, error) {
	out, err := s.carryOut(ctx, *in.AutoScalingGroupName, in.InstanceIds, move{
		command: model.ASGDetach, from: []string{model.ASGInService, model.ASGStandby}, wrong: "The instance %s is not in InService or Standby.",
		by: less(in.ShouldDecrementDesiredCapacity), to: "detach",
		describe: "Detaching EC2 instance: %s", cause: "was detached in response to a user request", progress: 50,
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.DetachInstancesOutput{Activities: out}, nil
}

// EnterStandby takes instances out of service; they stay in the group.
func (s *Service) EnterStandby(ctx context.Context, in *autoscaling.EnterStandbyInput) (*autoscaling.EnterStandbyOutput, error) {
	out, err := s.carryOut(ctx, *in.AutoScalingGroupName, in.InstanceIds, move{
		command: model.ASGEnterStandby, from: []string{model.ASGInService}, wrong: "The instance %s is not in InService.",
		by: less(in.ShouldDecrementDesiredCapacity), to: "place into standby",
		describe: "Moving EC2 instance to Standby: %s", cause: "was moved to standby in response to a user request", progress: 50,
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.EnterStandbyOutput{Activities: out}, nil
}

// ExitStandby puts instances back into service.
func (s *Service) ExitStandby(ctx context.Context, in *autoscaling.ExitStandbyInput) (*autoscaling.ExitStandbyOutput, error) {
	out, err := s.carryOut(ctx, *in.AutoScalingGroupName, in.InstanceIds, move{
		command: model.ASGExitStandby, from: []string{model.ASGStandby}, wrong: "The instance %s is not in Standby.",
		by: 1, to: "remove from standby", status: string(autoscaling.ScalingActivityStatusCodePreInService),
		describe: "Moving EC2 instance out of Standby: %s", cause: "was moved out of standby in response to a user request", progress: 30,
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.ExitStandbyOutput{Activities: out}, nil
}

// TerminateInstanceInAutoScalingGroup ends an instance, which is replaced
// unless the desired capacity is to follow.
func (s *Service) TerminateInstanceInAutoScalingGroup(ctx context.Context, in *autoscaling.TerminateInstanceInAutoScalingGroupInput) (*autoscaling.TerminateInstanceInAutoScalingGroupOutput, error) {
	c := api.CallFrom(ctx)
	by := less(in.ShouldDecrementDesiredCapacity)
	var out autoscaling.Activity
	err := s.commit(ctx, func(tx *store.Txn) error {
		m, err := s.memberOf(ctx, c, *in.InstanceId)
		if err != nil {
			return err
		}
		row, err := s.live(ctx, m.V.Group)
		if err != nil {
			return err
		}
		if m.V.Command.Name == model.ASGTerminate || going(m.V.LifecycleState) {
			return s.alreadyGoing(ctx, c, m.V, &out)
		}
		g, by := row.Copy(), by
		if m.V.LifecycleState == model.ASGStandby {
			by = 0 // it is not among the desired
		}
		if g.Desired+by*counts(m.V) < g.Spec.Min {
			return invalid("Currently, desiredSize equals minSize (%d). Terminating instance without replacement will violate group's min size constraint. "+
				"Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.", g.Spec.Min)
		}
		a, err := s.command(ctx, c, tx, g, m, move{
			command: model.ASGTerminate, by: by, describe: "Terminating EC2 instance: %s", cause: "was taken out of service in response to a user request",
		})
		if err != nil {
			return err
		}
		out = activityOut(a)
		hold(tx, row, g)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.TerminateInstanceInAutoScalingGroupOutput{Activity: &out}, nil
}

// alreadyGoing answers with the activity by which an instance ends already.
func (s *Service) alreadyGoing(ctx context.Context, c *api.Call, m *model.ASGInstance, out *autoscaling.Activity) error {
	row, err := tables.ScalingActivities.Get(ctx, s.Store, c.Account, c.Region, m.Group+"/"+m.Activity)
	if err != nil {
		return invalid("The instance %s is already being terminated.", m.InstanceID)
	}
	*out = activityOut(row.V)
	return nil
}

func going(state string) bool {
	switch state {
	case model.ASGTerminating, model.ASGTerminatingWait, model.ASGTerminatingProceed, model.ASGTerminated, model.ASGDetaching, model.ASGDetached:
		return true
	}
	return false
}

// AttachInstances puts running instances into a group, which grows by them.
func (s *Service) AttachInstances(ctx context.Context, in *autoscaling.AttachInstancesInput) (*autoscaling.AttachInstancesOutput, error) {
	c := api.CallFrom(ctx)
	ids, err := distinct(in.InstanceIds)
	if err != nil {
		return nil, err
	}
	err = s.commit(ctx, func(tx *store.Txn) error {
		row, err := s.live(ctx, *in.AutoScalingGroupName)
		if err != nil {
			return err
		}
		g := row.Copy()
		for _, id := range ids {
			if err := s.attach(ctx, c, tx, g, id); err != nil {
				return err
			}
		}
		if err := fits(row.V, g.Desired-row.V.Desired, len(ids), "attach"); err != nil {
			return err
		}
		tables.AutoScalingGroups.Replace(tx, row, g)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.AttachInstancesOutput{}, nil
}

// groupTag is the tag that names an instance's group.
const groupTag = "aws:autoscaling:groupName"

// attach adds to tx that an instance becomes part of the group.
func (s *Service) attach(ctx context.Context, c *api.Call, tx *store.Txn, g *model.AutoScalingGroup, id string) error {
	row, err := instances.Find(ctx, s.Store, placeOf(c), id)
	if err != nil {
		return invalid("Invalid Instances: [%s]", id)
	}
	v := row.Copy()
	switch {
	case v.Spec.AutoScalingGroup != "":
		return invalid("The instance %s is already part of AutoScalingGroup:%s", id, v.Spec.AutoScalingGroup)
	case v.State() != model.InstanceRunning:
		return invalid("The instance %s is not in running state.", id)
	case !slices.Contains(g.Spec.Zones, v.Spec.Zone):
		return invalid("The availability zone of the instance %s, %s, is not one of the AutoScalingGroup's.", id, v.Spec.Zone)
	}
	v.Spec.AutoScalingGroup = g.Name
	tags := model.Tags{groupTag: g.Name}
	for _, t := range g.Tags {
		if t.PropagateAtLaunch {
			tags[t.Key] = t.Value
		}
	}
	if v.Tags == nil {
		v.Tags = model.Tags{}
	}
	maps.Copy(v.Tags, tags)
	tables.Instances.Replace(tx, row, v)
	m := &model.ASGInstance{
		Group: g.Name, InstanceID: id, InstanceType: v.Spec.Type, Zone: v.Spec.Zone, LifecycleState: model.ASGPending, LaunchedAt: c.Time, StateSince: c.Time,
		SubnetID: v.Spec.SubnetID, Spot: v.Spec.Lifecycle == "spot", Weight: weightOf(g.Spec.MixedInstances, v.Spec.Type), HealthStatus: healthy, Protected: g.Spec.NewInstancesProtected,
	}
	if t := v.Spec.LaunchTemplateID; t != "" {
		m.Template = model.ASGLaunchTemplate{ID: t, Version: strconv.FormatInt(v.Spec.LaunchTemplateVersion, 10)}
		if row, err := instances.Template(ctx, s.Store, placeOf(c), t, ""); err == nil {
			m.Template.Name = row.V.Name
		}
	}
	g.Desired += counts(m)
	cause := fmt.Sprintf("At %s an instance %s was added in response to user request. Keeping the capacity at the new %d.", stamp(c.Time), id, g.Desired)
	g.DesiredReason = cause
	begin(c, tx, g, v, m, model.ScalingActivity{
		Description: "Attaching an existing EC2 instance: " + id, Cause: cause, StatusCode: string(autoscaling.ScalingActivityStatusCodePreInService), Progress: 50,
	})
	tables.ASGInstances.Create(tx, c.Account, c.Region, g.Name+"/"+id, m)
	return nil
}

// weightOf is what an instance of a type counts in a weighted group, else 0.
func weightOf(mixed *model.ASGMixedInstances, instanceType string) int {
	if mixed == nil {
		return 0
	}
	for _, o := range mixed.Overrides {
		if o.InstanceType == instanceType && o.WeightedCapacity != "" {
			n, _ := strconv.Atoi(o.WeightedCapacity) // checked when it was given
			return n
		}
	}
	return 0
}
