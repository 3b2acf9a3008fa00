package autoscalinggroup

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/autoscaling"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// atOnce bounds the members that one transaction writes.
const atOnce = 50

// carryOut does what the plan says, if nobody has changed what it rests on.
// Whatever is left undone is planned again.
func (c *groups) carryOut(ctx context.Context, v *view, plan *autoscaling.Plan, now time.Time) error {
	rows := make(map[string]store.Row[model.ASGInstance], len(v.members))
	for _, m := range v.members {
		rows[m.V.InstanceID] = m
	}
	for steps := range slices.Chunk(plan.Steps, atOnce) {
		tx := store.NewTxn()
		tables.AutoScalingGroups.Check(tx, v.group)
		for i := range steps {
			if err := c.write(ctx, tx, v, rows[steps[i].V.InstanceID], &steps[i], now); err != nil {
				return err
			}
		}
		if _, err := tx.Commit(ctx, c.Store); err != nil {
			return err
		}
	}
	if err := c.terminate(ctx, v, plan.Terminate, now); err != nil {
		return err
	}
	if plan.Gone {
		return c.remove(ctx, v)
	}
	failed, err := c.launch(ctx, v, plan.Launches, now)
	if err != nil {
		return err
	}
	if plan.Unable != "" && v.refused != nil {
		failed = append(failed, failure(v.refused, plan.Unable))
	}
	if len(failed) > 0 {
		plan.Status.Failures++
		plan.Status.FailedAt = now
	}
	return c.finish(ctx, v, plan, slices.Concat(plan.Told, failed), now)
}

// write adds a member's step to tx.
func (c *groups) write(ctx context.Context, tx *store.Txn, v *view, row store.Row[model.ASGInstance], st *autoscaling.Step, now time.Time) error {
	m := st.V
	for i := range m.HookActions {
		if m.HookActions[i].Token == "" {
			m.HookActions[i].Token = id.UUID()
		}
	}
	if st.End != nil {
		if err := c.goOn(ctx, tx, v, row.V.Activity, st.End, now); err != nil {
			return err
		}
	}
	if row.V.Command.Name != "" && strings.HasPrefix(row.V.LifecycleState, model.ASGPending) {
		if err := c.giveUp(ctx, tx, v, row.V, now); err != nil {
			return err
		}
	}
	if st.Begin != nil {
		m.Activity = begin(tx, v, m, st.Begin, now)
	}
	if st.Remove {
		tables.ASGInstances.Delete(tx, row)
	} else {
		tables.ASGInstances.Replace(tx, row, m)
	}
	if st.Claim || st.Release {
		claim(tx, v, m.InstanceID, st.Claim)
	}
	v.retarget(tx, m.InstanceID, st.Register, st.Deregister, now)
	return nil
}

// details are those of an activity.
func details(zone, subnet string) string {
	b, _ := json.Marshal(struct { //nolint:errchkjson // strings
		Subnet string `json:"Subnet ID,omitempty"`
		Zone   string `json:"Availability Zone"`
	}{subnet, zone})
	return string(b)
}

// begin adds a member's new activity to tx and gives its id.
func begin(tx *store.Txn, v *view, m *model.ASGInstance, a *autoscaling.Activity, now time.Time) string {
	out := v.activity(a, now)
	out.InstanceID, out.Details = m.InstanceID, details(m.Zone, m.SubnetID)
	tables.ScalingActivities.Create(tx, v.key.Account, v.key.Region, v.key.ID+"/"+out.ID, out)
	return out.ID
}

// activity is a new one of the group.
func (v *view) activity(a *autoscaling.Activity, now time.Time) *model.ScalingActivity {
	out := &model.ScalingActivity{
		ID: id.Newest(now), Group: v.key.ID, GroupARN: v.group.V.ARN, Description: a.Description, Cause: a.Cause, StartedAt: now, Details: "{}",
	}
	progress(out, &a.Progress, now)
	return out
}

const (
	statusReason = ".  Status Reason: "
	waitingFor   = " - Waiting"
)

// progress sets how far an activity is.
func progress(a *model.ScalingActivity, p *autoscaling.Progress, now time.Time) {
	a.StatusCode, a.StatusMessage, a.Progress = p.Code, p.Message, p.Percent
	a.Description, _, _ = strings.Cut(a.Description, waitingFor)
	a.Description += p.Suffix
	if p.Message != "" {
		a.Description += statusReason + p.Message
	}
	if p.Ended {
		a.EndedAt = now
	}
}

// goOn adds to tx that an activity goes on or ends.
func (c *groups) goOn(ctx context.Context, tx *store.Txn, v *view, activity string, p *autoscaling.Progress, now time.Time) error {
	if activity == "" {
		return nil
	}
	row, err := tables.ScalingActivities.Get(ctx, c.Store, v.key.Account, v.key.Region, v.key.ID+"/"+activity)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	a := row.Copy()
	progress(a, p, now)
	tables.ScalingActivities.Replace(tx, row, a)
	return nil
}

// giveUp adds to tx that the launch of a member has ended, whose activity a
// command of the user's has taken the place of.
func (c *groups) giveUp(ctx context.Context, tx *store.Txn, v *view, m *model.ASGInstance, now time.Time) error {
	rows, err := tables.ScalingActivities.List(ctx, c.Store, v.under())
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.V.InstanceID != m.InstanceID || r.V.ID == m.Activity || !r.V.EndedAt.IsZero() {
			continue
		}
		a := r.Copy()
		progress(a, &autoscaling.Progress{Code: autoscaling.Cancelled, Percent: 100, Ended: true}, now)
		tables.ScalingActivities.Replace(tx, r, a)
	}
	return nil
}

// claim adds to tx that an instance's own record says that it is the group's,
// or nobody's.
func claim(tx *store.Txn, v *view, instanceID string, ours bool) {
	row, ok := v.ec2[instanceID]
	if !ok {
		return
	}
	i := row.Copy()
	i.Tags = maps.Clone(i.Tags)
	if ours {
		if i.Tags == nil {
			i.Tags = model.Tags{}
		}
		i.Spec.AutoScalingGroup, i.Tags[groupTag] = v.key.ID, v.key.ID
	} else {
		i.Spec.AutoScalingGroup = ""
		delete(i.Tags, groupTag)
	}
	tables.Instances.Replace(tx, row, i)
}

// retarget adds to tx that an instance comes to target groups and leaves
// others. What ECS registers at the same port stays ECS's.
func (v *view) retarget(tx *store.Txn, instanceID string, register, deregister []string, now time.Time) {
	have := map[string]store.Row[model.Target]{}
	for _, t := range v.targets[instanceID] {
		have[t.Key.ID] = t
		if slices.Contains(deregister, t.V.TargetGroupARN) && t.V.DeregisteringAt == nil {
			gone := t.Copy()
			gone.DeregisteringAt = &now
			tables.Targets.Replace(tx, t, gone)
		}
	}
	for _, arn := range register {
		g, ok := v.targetGroups[arn]
		if !ok || g.V.TargetType != model.TargetTypeInstance {
			continue
		}
		tables.TargetGroups.Check(tx, g)
		key := model.TargetKey(g.V.ID, instanceID, g.V.Port)
		t := &model.Target{TargetGroupARN: arn, ID: instanceID, Port: g.V.Port, RegisteredAt: now}
		old, registered := have[key]
		switch {
		case v.others[key]:
		case !registered:
			tables.Targets.Create(tx, v.key.Account, v.key.Region, key, t)
		case old.V.DeregisteringAt != nil:
			tables.Targets.Replace(tx, old, t)
		}
	}
}

// terminate has EC2 end instances. Protection against calls of the API does
// not hold for Auto Scaling.
func (c *groups) terminate(ctx context.Context, v *view, ids []string, now time.Time) error {
	ids = slices.DeleteFunc(ids, func(id string) bool { _, there := v.ec2[id]; return !there })
	for some := range slices.Chunk(ids, atOnce) {
		if _, err := instances.Terminate(ctx, c.Store, v.place(), now, instances.Why{Unprotected: true}, some...); err != nil {
			if e, ok := errors.AsType[*instances.Error](err); ok {
				// One of them was forgotten meanwhile.
				return errors.Join(e, store.ErrConflict)
			}
			return err
		}
	}
	return nil
}

// remove deletes a group of which nothing is left. Its activities stay.
func (c *groups) remove(ctx context.Context, v *view) error {
	rows, err := tables.InstanceRefreshes.List(ctx, c.Store, v.under())
	if err != nil {
		return err
	}
	tx := store.NewTxn()
	for _, r := range rows {
		if r.V.Group == v.key.ID {
			tables.InstanceRefreshes.Delete(tx, r)
		}
	}
	tables.AutoScalingGroups.Delete(tx, v.group)
	_, err = tx.Commit(ctx, c.Store)
	return err
}

// finish writes what the plan changes of the group itself.
func (c *groups) finish(ctx context.Context, v *view, plan *autoscaling.Plan, told []autoscaling.Activity, now time.Time) error {
	tx := store.NewTxn()
	for i := range told {
		a := v.activity(&told[i], now)
		tables.ScalingActivities.Create(tx, v.key.Account, v.key.Region, v.key.ID+"/"+a.ID, a)
	}
	g := v.group.Copy()
	g.Status = plan.Status
	if plan.Adopt {
		g.Spec.LaunchTemplate, g.Spec.MixedInstances = nil, v.refresh.V.MixedInstances
		if g.Spec.MixedInstances == nil {
			g.Spec.LaunchTemplate = new(v.refresh.V.Template)
		}
	}
	if !reflect.DeepEqual(g, v.group.V) {
		tables.AutoScalingGroups.Replace(tx, v.group, g)
	}
	if plan.Refresh != nil {
		tables.InstanceRefreshes.Replace(tx, v.refresh, plan.Refresh)
	}
	_, err := tx.Commit(ctx, c.Store)
	return err
}
