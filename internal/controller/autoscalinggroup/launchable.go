package autoscalinggroup

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/autoscaling"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// launchable is what a group can launch, and where.
type launchable struct {
	places []autoscaling.Place
	pools  []autoscaling.Pool
	mixed  *model.ASGInstanceAllocation
	// data are the pools' launch data.
	data []model.LaunchData
	// versions are the template versions that those come from.
	versions []*model.LaunchTemplateVersion
	// refused tells why the group can launch nothing.
	refused *instances.Error
}

func (c *groups) readLaunchable(ctx context.Context, v *view) error {
	if v.group.V.Deleting {
		return nil
	}
	err := c.readPlaces(ctx, v)
	if err == nil {
		err = c.readPools(ctx, v)
	}
	if e, ok := errors.AsType[*instances.Error](err); ok {
		v.refused, err = e, nil
	}
	return err
}

// readPlaces reads the group's subnets: its own, or the default ones of its
// zones. Those that are gone are left out, unless all are.
func (c *groups) readPlaces(ctx context.Context, v *view) error {
	spec := &v.group.V.Spec
	for _, id := range spec.SubnetIDs {
		row, err := tables.Subnets.Get(ctx, c.Store, v.key.Account, v.key.Region, id)
		if errors.Is(err, store.ErrNotFound) || err == nil && row.V.Deleting {
			continue
		}
		if err != nil {
			return err
		}
		v.places = append(v.places, autoscaling.Place{Zone: row.V.Zone, SubnetID: id})
	}
	if len(spec.SubnetIDs) > 0 {
		if len(v.places) == 0 {
			return &instances.Error{Code: "InvalidSubnetID.NotFound", Message: "The subnet ID '" + spec.SubnetIDs[0] + "' does not exist"}
		}
		return nil
	}
	rows, err := tables.Subnets.List(ctx, c.Store, store.Query{Account: v.key.Account, Region: v.key.Region})
	if err != nil {
		return err
	}
	for _, zone := range spec.Zones {
		for _, r := range rows {
			if r.V.Zone == zone && r.V.DefaultForAZ && !r.V.Deleting {
				v.places = append(v.places, autoscaling.Place{Zone: zone, SubnetID: r.V.ID})
			}
		}
	}
	if len(v.places) == 0 {
		return &instances.Error{Code: "MissingInput", Message: "No default subnet for availability zone: '" + slices.Concat(spec.Zones, []string{""})[0] + "'."}
	}
	return nil
}

// readPools reads what the group launches: during an instance refresh, what
// that says.
func (c *groups) readPools(ctx context.Context, v *view) error {
	t, mixed := autoscaling.RefreshLaunches(v.refresh.V)
	if t == nil && mixed == nil {
		t, mixed = v.group.V.Spec.LaunchTemplate, v.group.V.Spec.MixedInstances
	}
	switch {
	case mixed != nil:
		v.mixed = &mixed.Distribution
		overrides := mixed.Overrides
		if len(overrides) == 0 {
			overrides = []model.ASGOverride{{}}
		}
		for _, o := range overrides {
			of := &mixed.LaunchTemplate
			if o.LaunchTemplate != nil {
				of = o.LaunchTemplate
			}
			weight, _ := strconv.Atoi(o.WeightedCapacity)
			if err := c.readPool(ctx, v, of, o.InstanceType, max(weight, 1)); err != nil {
				return err
			}
		}
		return nil
	case t != nil:
		return c.readPool(ctx, v, t, "", 1)
	}
	return &instances.Error{Code: "MissingParameter", Message: "Either the launch template ID or the launch template name must be specified."}
}

func (c *groups) readPool(ctx context.Context, v *view, t *model.ASGLaunchTemplate, instanceType string, weight int) error {
	id, name := t.ID, t.Name
	if id != "" {
		name = ""
	}
	template, version, data, err := instances.TemplateVersion(ctx, c.Store, v.place(), id, name, t.Version)
	if err != nil {
		return err
	}
	if instanceType != "" {
		data.InstanceType = instanceType
	}
	m := data.InstanceMarketOptions
	v.pools = append(v.pools, autoscaling.Pool{
		Type: instanceType, Weight: weight, Spot: m != nil && m.MarketType == "spot",
		Template: model.ASGLaunchTemplate{ID: template.ID, Name: template.Name, Version: strconv.FormatInt(version.Version, 10)},
	})
	v.data = append(v.data, data)
	v.versions = append(v.versions, version)
	return nil
}
