package ecsservice

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/fleet"
)

// rebalanceEvery is how often a service on container instances looks whether
// they are in other zones than before: nothing tells it.
const rebalanceEvery = time.Minute

func rebalances(s *model.ServiceSpec) bool { return s.AvailabilityZoneRebalancing == "ENABLED" }

// zones are the availability zones to balance the service's tasks over, if it
// asks for that: those of its subnets, or of the container instances that its
// tasks can run on.
func (c *services) zones(ctx context.Context, svc store.Row[model.Service]) ([]string, error) {
	d := svc.V.Primary()
	if d == nil || !rebalances(&svc.V.Spec) {
		return nil, nil
	}
	if onInstances(d) {
		return c.instanceZones(ctx, svc, d)
	}
	subnets, err := c.subnets(ctx, svc.Key, d)
	if err != nil {
		return nil, err
	}
	var zones []string
	for _, s := range subnets {
		if s.Zone != "" && !slices.Contains(zones, s.Zone) {
			zones = append(zones, s.Zone)
		}
	}
	return zones, nil
}

// instanceZones is empty while a deployment goes on: nothing is balanced then.
func (c *services) instanceZones(ctx context.Context, svc store.Row[model.Service], d *model.Deployment) ([]string, error) {
	if c.Placer == nil || d.RolloutState != model.RolloutCompleted || svc.V.Spec.DesiredCount < 2 {
		return nil, nil
	}
	def, err := c.definition(ctx, svc.Key, d)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	subnets, err := c.places(ctx, svc.Key, d)
	if err != nil {
		return nil, err
	}
	t := &model.Task{Spec: model.TaskSpec{
		Group: "service:" + svc.V.ServiceName, NetworkMode: def.V.NetworkMode, LaunchType: d.LaunchType,
		PlacementConstraints: slices.Concat(def.V.PlacementConstraints, svc.V.Spec.PlacementConstraints),
	}}
	r, err := fleet.Compile(t, def.V, nil, subnets)
	if err != nil {
		return nil, err
	}
	return c.Placer.Zones(svc.Key.Account, svc.Key.Region, svc.V.ClusterName, r), nil
}

// inZones is a task like t that is to be in one of the zones.
func inZones(t *model.Task, zones []string) *model.Task {
	if len(zones) == 0 {
		return t
	}
	bound := *t
	bound.Spec.PlacementConstraints = slices.Concat(t.Spec.PlacementConstraints, []model.ECSPlacementConstraint{{
		Type: "memberOf", Expression: "attribute:" + model.AttributeZone + " in [" + strings.Join(zones, ", ") + "]",
	}})
	return &bound
}
