package loadbalancer

import (
	"context"
	"errors"
	"strings"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// ofBalancer names the load balancer itself, and the target groups that it is a
// target of.
func (c *LoadBalancers) ofBalancer(ctx context.Context, r store.Record) ([]controller.Key, error) {
	keys := []controller.Key{{Account: r.Key.Account, Region: r.Key.Region, ID: lbKey + r.Key.ID}}
	rows, err := tables.Targets.List(ctx, c.Store, store.Query{Account: r.Key.Account, Region: r.Key.Region, Index: store.Index{Name: tables.ByTargetBalancer, Value: r.Key.ID}})
	if err != nil {
		return nil, err
	}
	for _, t := range rows {
		group, _, _ := strings.Cut(t.Key.ID, "/")
		keys = append(keys, controller.Key{Account: r.Key.Account, Region: r.Key.Region, ID: groupKey + group})
	}
	return keys, nil
}

// balancersIn reads the load balancers among targets, by ARN.
func (c *LoadBalancers) balancersIn(ctx context.Context, targets []store.Row[model.Target]) (map[string]*model.LoadBalancer, error) {
	out := map[string]*model.LoadBalancer{}
	for _, t := range targets {
		id := model.LoadBalancerID(t.V.ID)
		if id == "" {
			continue
		}
		lb, err := tables.LoadBalancers.Get(ctx, c.Store, t.Key.Account, t.Key.Region, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out[t.V.ID] = lb.V
	}
	return out, nil
}
