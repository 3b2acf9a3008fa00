package capacityprovider

import (
	"context"
	"errors"
	"slices"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	// heartbeat is that of the hook of managed draining; while tasks are left
	// it is renewed, for as long as Auto Scaling lets an instance wait.
	heartbeat = time.Hour
	// longest is how long an instance may wait at a hook.
	longest = 48 * time.Hour
)

// name gives the group's container instances the provider's name where their
// cluster has the provider, and takes it from those that left.
func (c *providers) name(ctx context.Context, v *view, _ time.Time) error {
	key, provider := v.provider.Key, v.provider.V.Name
	is := map[string]bool{}
	for _, m := range v.members {
		for _, h := range m.hosts {
			want := ""
			if v.has(h.row.V.ClusterName) {
				want = provider
			}
			is[h.row.Key.ID] = true
			if have := h.row.V.CapacityProviderName; have == want || want == "" && have != provider {
				continue
			}
			if err := c.change(ctx, h.row, func(i *model.ContainerInstance) bool {
				i.CapacityProviderName = want
				return true
			}); err != nil {
				return err
			}
		}
	}
	named, err := tables.ECSContainerInstances.List(ctx, c.Store, store.Query{
		Account: key.Account, Region: key.Region, Index: store.Index{Name: tables.ByCapacityProvider, Value: provider},
	})
	if err != nil {
		return err
	}
	for _, r := range named {
		if is[r.Key.ID] || r.V.Status == model.ContainerInstanceInactive {
			continue
		}
		i, err := tables.Instances.Get(ctx, c.Store, key.Account, key.Region, r.V.EC2InstanceID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		// One that ends keeps its name: it is about to be deregistered.
		if err != nil || i.V.Desired.State == model.InstanceTerminated {
			continue
		}
		if err := c.change(ctx, r, func(i *model.ContainerInstance) bool {
			i.CapacityProviderName = ""
			return true
		}); err != nil {
			return err
		}
	}
	return nil
}

// change changes a container instance that is not INACTIVE.
func (c *providers) change(ctx context.Context, r store.Row[model.ContainerInstance], f func(*model.ContainerInstance) bool) error {
	_, err := tables.ECSContainerInstances.Update(ctx, c.Store, r.Key.Account, r.Key.Region, r.Key.ID, func(i *model.ContainerInstance) error {
		if i.Status == model.ContainerInstanceInactive || !f(i) {
			return store.ErrUnchanged
		}
		i.Version++
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// drains tells whether the group's instances are to be drained before they
// terminate.
func (v *view) drains() bool {
	return v.provider.V.Draining && len(v.clusters) > 0 && !v.provider.V.Deleting()
}

// hook keeps the lifecycle hook of managed draining on the group. One that is
// there stays as its maker wanted it.
func (c *providers) hook(ctx context.Context, v *view, _ time.Time) error {
	if v.group == nil || v.group.V.Deleting {
		return nil
	}
	ours := func(h model.ASGHook) bool { return h.Name == model.DrainingHook }
	if slices.ContainsFunc(v.group.V.Spec.LifecycleHooks, ours) == v.drains() {
		return nil
	}
	row, err := tables.AutoScalingGroups.Update(ctx, c.Store, v.group.Key.Account, v.group.Key.Region, v.group.Key.ID, func(g *model.AutoScalingGroup) error {
		there := slices.ContainsFunc(g.Spec.LifecycleHooks, ours)
		switch {
		case g.ARN != v.provider.V.GroupARN || g.Deleting || there == v.drains():
			return store.ErrUnchanged
		case there:
			g.Spec.LifecycleHooks = slices.DeleteFunc(g.Spec.LifecycleHooks, ours)
		default:
			g.Spec.LifecycleHooks = append(g.Spec.LifecycleHooks, model.ASGHook{
				Name: model.DrainingHook, Transition: "autoscaling:EC2_INSTANCE_TERMINATING", DefaultResult: "CONTINUE",
				HeartbeatSeconds: int(heartbeat.Seconds()), GlobalTimeoutSeconds: int(longest.Seconds()),
			})
		}
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		v.group = nil
		return nil
	}
	v.group = &row
	return err
}

// drain drains the instances that are about to leave, and lets those go that
// have no tasks any more.
func (c *providers) drain(ctx context.Context, v *view, now time.Time) error {
	for _, m := range v.members {
		waits := pending(m.asg.V) >= 0
		if v.drains() && (waits || m.interrupted) {
			for _, h := range m.hosts {
				if err := c.change(ctx, h.row, func(i *model.ContainerInstance) bool {
					was := i.Status
					i.Status = model.ContainerInstanceDraining
					return was == model.ContainerInstanceActive
				}); err != nil {
					return err
				}
			}
		}
		if !waits {
			continue
		}
		tasks, _ := m.tasks()
		done := tasks == 0 || !v.drains()
		// What was ACTIVE when it was read may have got a task since.
		for _, h := range m.hosts {
			done = done && (h.row.V.Status == model.ContainerInstanceDraining || !v.drains())
		}
		_, err := tables.ASGInstances.Update(ctx, c.Store, m.asg.Key.Account, m.asg.Key.Region, m.asg.Key.ID, func(i *model.ASGInstance) error {
			at := pending(i)
			if at < 0 {
				return store.ErrUnchanged
			}
			a := &i.HookActions[at]
			switch left := a.ExpiresAt.Sub(now); {
			case done:
				a.Result = "CONTINUE"
			case left < heartbeat/2 && a.ExpiresAt.Before(a.EndsAt):
				a.ExpiresAt = now.Add(heartbeat)
				if a.EndsAt.Before(a.ExpiresAt) {
					a.ExpiresAt = a.EndsAt
				}
			default:
				return store.ErrUnchanged
			}
			return nil
		})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// pending is the index of the action of managed draining that an instance
// waits for, -1 for none.
func pending(i *model.ASGInstance) int {
	if i.LifecycleState != model.ASGTerminatingWait {
		return -1
	}
	return slices.IndexFunc(i.HookActions, func(a model.ASGHookAction) bool { return a.Hook == model.DrainingHook && a.Result == "" })
}

// protect keeps the group from ending instances that have tasks.
func (c *providers) protect(ctx context.Context, v *view, _ time.Time) error {
	p := v.provider.V
	if !p.TerminationProtection || !p.Scaling.Enabled || len(v.clusters) == 0 || p.Deleting() {
		return nil
	}
	for _, m := range v.members {
		_, busy := m.tasks()
		if m.asg.V.LifecycleState != model.ASGInService || m.asg.V.Protected == (busy > 0) {
			continue
		}
		_, err := tables.ASGInstances.Update(ctx, c.Store, m.asg.Key.Account, m.asg.Key.Region, m.asg.Key.ID, func(i *model.ASGInstance) error {
			if i.LifecycleState != model.ASGInService || i.Protected == (busy > 0) {
				return store.ErrUnchanged
			}
			i.Protected = busy > 0
			return nil
		})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}
