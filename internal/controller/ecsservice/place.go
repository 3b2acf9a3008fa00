package ecsservice

import (
	"context"
	"errors"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/spread"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// place is where one new task goes.
type place struct {
	launchType, provider, subnet, zone string
}

// place chooses where n new tasks of d go, fewer when no capacity provider
// takes them all.
func (c *services) place(ctx context.Context, v *view, d *model.Deployment, n int) ([]place, error) {
	perSubnet, perProvider := map[string]int{}, map[string]int{}
	for _, t := range v.tasks {
		if t.V.Desired.Status != model.TaskStopped && t.V.Status.LastStatus != model.TaskStopped && t.V.Spec.DeploymentID == d.ID {
			perSubnet[t.V.Spec.SubnetID]++
			perProvider[t.V.Spec.CapacityProviderName]++
		}
	}
	places := make([]place, 0, n)
	switch {
	case len(d.CapacityProviderStrategy) > 0:
		var strategy []spread.Provider
		for _, item := range d.CapacityProviderStrategy {
			strategy = append(strategy, spread.Provider{Name: item.CapacityProvider, Base: item.Base, Weight: item.Weight})
		}
		for _, p := range spread.Providers(strategy, perProvider, n) {
			launchType := model.LaunchTypeEC2
			if model.OnFargate(p) {
				launchType = model.LaunchTypeFargate
			}
			places = append(places, place{launchType: launchType, provider: p})
		}
	default:
		for range n {
			places = append(places, place{launchType: d.LaunchType})
		}
	}
	if onInstances(d) {
		return places, nil
	}
	subnets, err := c.subnets(ctx, v.service.Key, d)
	if err != nil {
		return nil, err
	}
	zones := map[string]string{}
	for _, s := range subnets {
		zones[s.ID] = s.Zone
	}
	for i, s := range spread.Subnets(subnets, perSubnet, len(places)) {
		places[i].subnet, places[i].zone = s, zones[s]
	}
	return places, nil
}

// subnets are those that d's tasks may be in, with their zones. One that is
// gone is kept: a task that is put there says so.
func (c *services) subnets(ctx context.Context, key store.Key, d *model.Deployment) ([]spread.Subnet, error) {
	vpc := awsvpc(d)
	if vpc == nil {
		return nil, nil
	}
	out := make([]spread.Subnet, len(vpc.Subnets))
	for i, id := range vpc.Subnets {
		out[i].ID = id
		row, err := tables.Subnets.Get(ctx, c.Store, key.Account, key.Region, id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if err == nil {
			out[i].Zone = row.V.Zone
		}
	}
	return out, nil
}
