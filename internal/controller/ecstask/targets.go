package ecstask

import (
	"context"
	"errors"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/plan/lifecycle"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// drainSlack is given to the load balancer, beyond its group's delay, to say that
// a target is drained.
const drainSlack = 10 * time.Second

// registration is one target group that a task is, or is to be, in.
type registration struct {
	model.TaskTarget
	group store.Row[model.TargetGroup]
	// target is the registration's row; its Modified is 0 when there is none.
	target store.Row[model.Target]
	// refused: the group does not take the instance. The service tells.
	refused bool
}

type registrations []registration

// targets reads the task's registrations. A target group that is gone is left
// out: there is nothing to register with any more.
func (c *tasks) targets(ctx context.Context, row store.Row[model.Task]) (registrations, error) {
	var out registrations
	for _, t := range row.V.Targets() {
		account, region, group := row.Key.Account, row.Key.Region, model.TargetGroupID(t.GroupARN)
		g, err := tables.TargetGroups.Get(ctx, c.Store, account, region, group)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r := registration{TaskTarget: t, group: g}
		if t.Known() {
			r.target, err = tables.Targets.Get(ctx, c.Store, account, region, model.TargetKey(group, t.ID, t.Port))
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			if r.refused, err = c.refused(ctx, row, &r); err != nil {
				return nil, err
			}
		}
		out = append(out, r)
	}
	return out, nil
}

// refused tells whether the group cannot have the task's instance.
func (c *tasks) refused(ctx context.Context, row store.Row[model.Task], r *registration) (bool, error) {
	if r.ID != row.V.Status.EC2InstanceID || r.target.Modified != 0 {
		return false, nil
	}
	host, err := tables.Instances.Get(ctx, c.Store, row.Key.Account, row.Key.Region, r.ID)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && balance.Refuses(r.group.V, host.V) != "", err
}

func (rs registrations) facts(t *model.Task) lifecycle.Facts {
	f := lifecycle.Facts{Targets: len(rs)}
	for _, r := range rs {
		switch {
		case !r.Known():
			f.Unknown++
		case r.target.Modified == 0 || r.target.V.RegisteredBy != registrar(t):
		case r.target.V.DeregisteringAt == nil:
			f.Registered++
		default:
			f.Draining++
			until := r.target.V.DeregisteringAt.Add(balance.DeregistrationDelay(r.group.V) + drainSlack)
			if until.After(f.DrainUntil) {
				f.DrainUntil = until
			}
		}
	}
	return f
}

// registrar is who registers the task's targets: its service's ARN.
func registrar(t *model.Task) string {
	a, err := model.ParseARN(t.TaskARN)
	if err != nil || t.Spec.ServiceName == "" {
		return t.TaskARN
	}
	return model.ECSServiceARN(a.Region, a.Account, t.ClusterName, t.Spec.ServiceName)
}

// register adds to tx that the task is a target of its groups.
func (rs registrations) register(tx *store.Txn, t *model.Task, now time.Time) {
	for _, r := range rs {
		if r.refused {
			continue
		}
		tables.TargetGroups.Check(tx, r.group)
		v := &model.Target{
			TargetGroupARN: r.GroupARN, ID: r.ID, Port: r.Port,
			AvailabilityZone: t.Spec.AvailabilityZone, RegisteredBy: registrar(t), RegisteredAt: now,
		}
		if v.IsInstance() {
			v.AvailabilityZone = "" // the instance's
		}
		if r.target.Modified == 0 {
			tables.Targets.Create(tx, r.group.Key.Account, r.group.Key.Region, model.TargetKey(r.group.V.ID, r.ID, r.Port), v)
			continue
		}
		// The address was another task's, whose target is still being drained.
		tables.Targets.Replace(tx, r.target, v)
	}
}

// deregister adds to tx that the task's targets are drained.
func (rs registrations) deregister(tx *store.Txn, now time.Time) {
	for _, r := range rs {
		if r.target.Modified == 0 || r.target.V.DeregisteringAt != nil {
			continue
		}
		v := r.target.Copy()
		v.DeregisteringAt = &now
		tables.Targets.Replace(tx, r.target, v)
	}
}
