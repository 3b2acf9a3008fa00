package capacityprovider

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/instancetype"
	"roadstead.dev/internal/plan/managedscaling"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// scale decides on the group's capacity once a period.
func (c *providers) scale(ctx context.Context, v *view, now time.Time) (time.Duration, error) {
	key := controller.KeyOf(v.provider.Key)
	if len(v.clusters) == 0 || v.group == nil || v.group.V.Deleting {
		return 0, nil
	}
	c.mu.Lock()
	last := c.decided[key]
	c.mu.Unlock()
	if left := last.Add(c.Period).Sub(now); left > 0 {
		return left, nil
	}
	if v.provider.V.Scaling.Enabled {
		if err := c.decide(ctx, v, now); err != nil {
			return 0, err
		}
	}
	c.mu.Lock()
	c.decided[key] = now
	c.mu.Unlock()
	return c.Period, nil
}

func (c *providers) decide(ctx context.Context, v *view, now time.Time) error {
	key := v.provider.Key
	state, err := States.Get(ctx, c.Store, key.Account, key.Region, key.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	s, err := c.snapshot(ctx, v)
	if err != nil {
		return err
	}
	if state.V != nil {
		s.State = *state.V
	}
	p := managedscaling.Next(*s, now)
	tx := store.NewTxn()
	if !reflect.DeepEqual(p.State, s.State) {
		States.Put(tx, key.Account, key.Region, key.ID, &p.State)
	}
	// Suspending what policies do stops them, as on AWS.
	if _, off := v.group.V.Suspended["AlarmNotification"]; p.Desired != s.Desired && !off {
		g := v.group.Copy()
		g.Desired, g.DesiredReason = p.Desired, v.cause(p.Desired, now)
		tables.AutoScalingGroups.Replace(tx, *v.group, g)
	}
	if tx.Empty() {
		return nil
	}
	_, err = tx.Commit(ctx, c.Store)
	return err
}

// cause is what the activities of a change tell, in the words of the policy
// that AWS would have.
func (v *view) cause(desired int, now time.Time) string {
	policy, alarm := "ECSManagedAutoScalingPolicy", ""
	for _, r := range v.clusters {
		for _, a := range r.V.Attachments {
			if a.Type == model.AttachmentScalingPolicy && a.Detail(model.DetailCapacityProvider) == v.provider.V.Name {
				policy, alarm = a.Detail(model.DetailScalingPolicy), "-"+a.ID
			}
		}
	}
	side := "AlarmHigh"
	if desired < v.group.V.Desired {
		side = "AlarmLow"
	}
	return fmt.Sprintf("At %s a monitor alarm TargetTracking-%s-%s%s in state ALARM triggered policy %s changing the desired capacity from %d to %d.",
		now.UTC().Format(time.RFC3339), v.group.V.Name, side, alarm, policy, v.group.V.Desired, desired)
}

func (c *providers) snapshot(ctx context.Context, v *view) (*managedscaling.Snapshot, error) {
	g := v.group.V
	s := &managedscaling.Snapshot{Settings: v.provider.V.Scaling, Min: g.Spec.Min, Max: g.Spec.Max, Desired: g.Desired, Period: c.Period}
	for _, m := range v.members {
		i := managedscaling.Instance{LaunchedAt: m.asg.V.LaunchedAt}
		switch m.asg.V.LifecycleState {
		case model.ASGPending, model.ASGPendingWait, model.ASGPendingProceed:
		case model.ASGInService:
			i.InService = true
		default:
			continue
		}
		if m.asg.V.Ahead != "" {
			continue // not in the desired capacity, yet
		}
		_, busy := m.tasks()
		i.Busy = busy > 0
		s.Instances = append(s.Instances, i)
	}
	var err error
	if s.Waiting, err = c.waiting(ctx, v); err != nil || len(s.Waiting) == 0 {
		return s, err
	}
	s.Sizes, err = c.sizes(ctx, v)
	return s, err
}

// waiting are the tasks that wait for an instance of the provider, in kinds.
func (c *providers) waiting(ctx context.Context, v *view) ([]managedscaling.Task, error) {
	var out []managedscaling.Task
	kinds := map[string]int{}
	for _, cluster := range v.clusters {
		rows, err := tables.ECSTasks.List(ctx, c.Store, waitingIn(controller.KeyOf(cluster.Key)))
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			t := r.V
			if !t.AwaitsInstance() || t.Spec.CapacityProviderName != v.provider.V.Name || t.Desired.Status == model.TaskStopped {
				continue
			}
			kind := kindOf(t)
			at, known := kinds[kind]
			if !known {
				at = len(out)
				kinds[kind] = at
				out = append(out, shapeOf(t))
			}
			out[at].Count++
		}
	}
	return out, nil
}

func shapeOf(t *model.Task) managedscaling.Task {
	r := t.Reservation()
	s := managedscaling.Task{
		Size: managedscaling.Size{CPU: r.CPU, Memory: r.Memory, ENIs: r.ENIs, GPUs: r.GPUs}, Group: t.ClusterName + "/" + t.Spec.Group,
		Distinct: slices.ContainsFunc(t.Spec.PlacementConstraints, func(c model.ECSPlacementConstraint) bool { return c.Type == "distinctInstance" }),
	}
	for _, p := range r.Ports {
		n := p.Number
		if p.UDP {
			n = -n
		}
		s.Ports = append(s.Ports, n)
	}
	return s
}

// sizes are those of the instances that the group may launch: what instances
// of a type have registered, or else what the type has.
func (c *providers) sizes(ctx context.Context, v *view) ([]managedscaling.Size, error) {
	names, err := c.types(ctx, v)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		for _, m := range v.members {
			names = append(names, m.asg.V.InstanceType)
		}
	}
	var out []managedscaling.Size
	for _, name := range names {
		t, ok := instancetype.Find(name)
		if !ok {
			continue
		}
		size := managedscaling.Size{CPU: int(t.VCPUs) * 1024, Memory: int(t.MemoryMiB), ENIs: max(0, int(t.MaxInterfaces)-1)}
		for _, m := range v.members {
			for _, h := range m.hosts {
				if i := h.row.V; m.asg.V.InstanceType == name {
					size = managedscaling.Size{CPU: i.CPU, Memory: i.Memory, ENIs: i.ENIs, GPUs: len(i.GPUs)}
				}
			}
		}
		out = append(out, size)
	}
	return out, nil
}

// types are the instance types of the group. What a template does not tell, or
// one that is gone, tells none.
func (c *providers) types(ctx context.Context, v *view) ([]string, error) {
	spec := &v.group.V.Spec
	var templates []model.ASGLaunchTemplate
	var names []string
	switch mixed := spec.MixedInstances; {
	case mixed == nil && spec.LaunchTemplate != nil:
		templates = append(templates, *spec.LaunchTemplate)
	case mixed != nil && len(mixed.Overrides) == 0:
		templates = append(templates, mixed.LaunchTemplate)
	case mixed != nil:
		for _, o := range mixed.Overrides {
			switch {
			case o.InstanceType != "":
				names = append(names, o.InstanceType)
			case o.LaunchTemplate != nil:
				templates = append(templates, *o.LaunchTemplate)
			default:
				templates = append(templates, mixed.LaunchTemplate)
			}
		}
	}
	at := instances.Place{Account: v.group.Key.Account, Region: v.group.Key.Region}
	for _, t := range templates {
		name := t.Name
		if t.ID != "" {
			name = ""
		}
		_, _, data, err := instances.TemplateVersion(ctx, c.Store, at, t.ID, name, t.Version)
		if _, refused := errors.AsType[*instances.Error](err); refused {
			continue
		}
		if err != nil {
			return nil, err
		}
		names = append(names, data.InstanceType)
	}
	return names, nil
}
