package loadbalancer

import (
	"context"
	"errors"
	"strings"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// ofInstance names the target groups that an instance is a target of.
func (c *LoadBalancers) ofInstance(ctx context.Context, r store.Record) ([]controller.Key, error) {
	rows, err := tables.Targets.List(ctx, c.Store, store.Query{
		Account: r.Key.Account, Region: r.Key.Region, Index: store.Index{Name: tables.ByEC2Instance, Value: r.Key.ID},
	})
	if err != nil {
		return nil, err
	}
	var keys []controller.Key
	for _, t := range rows {
		group, _, _ := strings.Cut(t.Key.ID, "/")
		keys = append(keys, controller.Key{Account: r.Key.Account, Region: r.Key.Region, ID: groupKey + group})
	}
	return keys, nil
}

// letGo reads the instances that are the group's targets, and deregisters
// those that terminate.
func (c *LoadBalancers) letGo(ctx context.Context, gs groupState) (groupState, error) {
	gs.instances = map[string]*model.Instance{}
	for n, t := range gs.targets {
		if !t.V.IsInstance() {
			continue
		}
		if _, read := gs.instances[t.V.ID]; !read {
			i, err := tables.Instances.Get(ctx, c.Store, t.Key.Account, t.Key.Region, t.V.ID)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return gs, err
			}
			gs.instances[t.V.ID] = i.V
		}
		if t.V.DeregisteringAt != nil || !balance.Gone(gs.instances[t.V.ID]) {
			continue
		}
		row, err := tables.Targets.Update(ctx, c.Store, t.Key.Account, t.Key.Region, t.Key.ID, func(v *model.Target) error {
			if v.DeregisteringAt != nil {
				return store.ErrUnchanged
			}
			v.DeregisteringAt = new(c.Clock.Now())
			return nil
		})
		if err != nil {
			return gs, err
		}
		gs.targets[n] = row
	}
	return gs, nil
}
