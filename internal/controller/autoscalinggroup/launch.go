package autoscalinggroup

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/autoscaling"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// batch are launches that differ only in their causes.
type batch struct {
	place  autoscaling.Place
	pool   int
	spot   bool
	ahead  string
	causes []string
}

// batches gathers launches that are alike, up to atOnce of them.
func (v *view) batches(starts []autoscaling.Start) []*batch {
	type like struct {
		place autoscaling.Place
		pool  int
		spot  bool
		ahead string
	}
	open := map[like]*batch{}
	var out []*batch
	for _, s := range starts {
		k := like{s.Place, slices.Index(v.pools, s.Pool), s.Spot, s.Ahead}
		b := open[k]
		if b == nil || len(b.causes) == atOnce {
			b = &batch{place: k.place, pool: k.pool, spot: k.spot, ahead: k.ahead}
			open[k] = b
			out = append(out, b)
		}
		b.causes = append(b.causes, s.Cause)
	}
	return out
}

// elsewhere are the refusals that another subnet may not have.
var elsewhere = []string{"InsufficientFreeAddressesInSubnet", "InvalidSubnetID.NotFound", "InsufficientInstanceCapacity"}

// launch launches instances, and tells of what failed.
func (c *groups) launch(ctx context.Context, v *view, starts []autoscaling.Start, now time.Time) (failed []autoscaling.Activity, err error) {
	full := map[autoscaling.Place]bool{}
	for _, b := range v.batches(starts) {
		places := []autoscaling.Place{b.place}
		if b.ahead != model.ASGAheadOfRebalance && v.group.V.Spec.ZoneDistribution != "balanced-only" {
			for _, p := range v.places {
				if p != b.place {
					places = append(places, p)
				}
			}
		}
		var refused *instances.Error
		for _, p := range places {
			if full[p] {
				continue
			}
			b.place = p
			for len(b.causes) > 0 {
				if err = c.launchBatch(ctx, v, b, now); err != nil {
					break
				}
			}
			if len(b.causes) == 0 {
				break
			}
			e, ok := errors.AsType[*instances.Error](err)
			if !ok {
				return failed, err
			}
			if refused == nil {
				refused = e
			}
			if !slices.Contains(elsewhere, e.Code) {
				break
			}
			full[p] = true
		}
		if refused != nil && len(b.causes) > 0 {
			failed = append(failed, failure(refused, b.causes[0]))
		}
	}
	return failed, nil
}

// errStale says that the group has changed since it was read.
var errStale = errors.New("the group has changed")

// launchBatch launches as many of b as fit, and takes their causes out of it.
func (c *groups) launchBatch(ctx context.Context, v *view, b *batch, now time.Time) error {
	data := instances.Placed(v.data[b.pool], b.place.SubnetID)
	if b.spot && data.InstanceMarketOptions == nil {
		data.InstanceMarketOptions = &model.LaunchMarketOptions{MarketType: "spot"}
		if v.mixed != nil && v.mixed.SpotMaxPrice != "" {
			data.InstanceMarketOptions.SpotOptions = &model.LaunchSpot{MaxPrice: v.mixed.SpotMaxPrice}
		}
	}
	spec, err := instances.Resolve(ctx, c.Store, v.place(), data)
	if err != nil {
		return err
	}
	spec.From(v.versions[b.pool])
	spec.Min, spec.Max = 1, len(b.causes)
	spec.Template.AutoScalingGroup = v.key.ID
	spec.Tags = maps.Clone(spec.Tags)
	for _, t := range v.group.V.Tags {
		if t.PropagateAtLaunch {
			spec.Tags[t.Key] = t.Value
		}
	}
	spec.Tags[groupTag] = v.key.ID
	pool := v.pools[b.pool]
	spec.With = func(tx *store.Txn, made []*model.Instance) error {
		// The attempts after a conflict would otherwise go on for nothing.
		g, err := tables.AutoScalingGroups.Get(ctx, c.Store, v.key.Account, v.key.Region, v.key.ID)
		switch {
		case errors.Is(err, store.ErrNotFound), err == nil && g.Modified != v.group.Modified:
			return errStale
		case err != nil:
			return err
		}
		tables.AutoScalingGroups.Check(tx, v.group)
		for i, in := range made {
			m := &model.ASGInstance{
				Group: v.key.ID, InstanceID: in.ID, InstanceType: in.Spec.Type, Zone: in.Spec.Zone, SubnetID: in.Spec.SubnetID,
				LifecycleState: model.ASGPending, LaunchedAt: now, StateSince: now, Template: pool.Template,
				Spot: in.Spec.Lifecycle == "spot", Ahead: b.ahead, HealthStatus: "Healthy", Protected: v.group.V.Spec.NewInstancesProtected,
			}
			if pool.Weight > 1 || v.weighted() {
				m.Weight = pool.Weight
			}
			m.Activity = begin(tx, v, m, &autoscaling.Activity{
				Description: autoscaling.Launching + ": " + in.ID, Cause: b.causes[i],
				Progress: autoscaling.Progress{Code: autoscaling.PreInService, Percent: 30},
			}, now)
			tables.ASGInstances.Create(tx, v.key.Account, v.key.Region, v.key.ID+"/"+in.ID, m)
		}
		return nil
	}
	made, err := instances.Launch(ctx, c.Store, now, spec)
	if errors.Is(err, errStale) {
		return store.ErrConflict
	}
	b.causes = b.causes[len(made):]
	return err
}

// weighted tells whether the group's capacity is in units of weight.
func (v *view) weighted() bool {
	return slices.ContainsFunc(v.pools, func(p autoscaling.Pool) bool { return p.Weight > 1 })
}

// failure is the activity of a launch that EC2 refused.
func failure(e *instances.Error, cause string) autoscaling.Activity {
	return autoscaling.Activity{
		Description: autoscaling.Launching, Cause: cause,
		Progress: autoscaling.Progress{Code: autoscaling.Failed, Percent: 100, Ended: true, Message: e.Message + " Launching EC2 instance failed."},
	}
}
