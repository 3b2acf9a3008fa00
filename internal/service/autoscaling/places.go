package autoscaling

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// where is what a request says about where instances go.
type where struct {
	subnets        *string // VPCZoneIdentifier
	zones, zoneIDs []string
}

func (w where) given() bool { return w.subnets != nil || len(w.zones)+len(w.zoneIDs) > 0 }

// place settles a group's subnets and zones.
func (s *Service) place(ctx context.Context, spec *model.ASGSpec, w where) error {
	c := api.CallFrom(ctx)
	zones, err := zonesOf(c, w)
	if err != nil {
		return err
	}
	var ids []string
	for id := range strings.SplitSeq(value(w.subnets), ",") {
		if id = strings.TrimSpace(id); id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if w.subnets == nil {
		ids = spec.SubnetIDs // which the zones have to be those of
	}
	if len(ids) == 0 {
		if len(zones) == 0 {
			return invalid("At least one Availability Zone or VPC Subnet is required.")
		}
		spec.SubnetIDs, spec.Zones = nil, zones
		return s.defaultSubnets(ctx, c, zones)
	}
	in, err := s.subnets(ctx, c, ids)
	if err != nil {
		return err
	}
	if len(zones) > 0 && !slices.Equal(zones, in) {
		return invalid("The availability zones of the specified subnets and the AutoScalingGroup do not match")
	}
	spec.SubnetIDs, spec.Zones = ids, in
	return nil
}

// zonesOf are the names of the zones asked for, in order.
func zonesOf(c *api.Call, w where) ([]string, error) {
	all := model.AvailabilityZones(c.Region)
	var out, bad []string
	for _, name := range w.zones {
		if !slices.ContainsFunc(all, func(z model.AvailabilityZone) bool { return z.Name == name }) {
			bad = append(bad, name)
		}
		out = append(out, name)
	}
	for _, zoneID := range w.zoneIDs {
		i := slices.IndexFunc(all, func(z model.AvailabilityZone) bool { return z.ID == zoneID })
		if i < 0 {
			bad = append(bad, zoneID)
			continue
		}
		out = append(out, all[i].Name)
	}
	if len(bad) > 0 {
		return nil, invalid("Invalid availability zones: [%s]", strings.Join(bad, ", "))
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// zoneID is the id of the zone with a name.
func zoneID(region, name string) string {
	for _, z := range model.AvailabilityZones(region) {
		if z.Name == name {
			return z.ID
		}
	}
	return ""
}

// subnets checks that subnets exist, all in one VPC, and gives their zones.
func (s *Service) subnets(ctx context.Context, c *api.Call, ids []string) ([]string, error) {
	var zones []string
	vpc := ""
	for _, id := range ids {
		row, err := tables.Subnets.Get(ctx, s.Store, c.Account, c.Region, id)
		switch {
		case errors.Is(err, store.ErrNotFound) || err == nil && row.V.Deleting:
			return nil, invalid("The subnet ID '%s' does not exist", id)
		case err != nil:
			return nil, err
		case vpc != "" && row.V.VPCID != vpc:
			return nil, invalid("All subnets must belong to the same VPC")
		}
		vpc = row.V.VPCID
		zones = append(zones, row.V.Zone)
	}
	slices.Sort(zones)
	return slices.Compact(zones), nil
}

// defaultSubnets checks that there is one in each of the zones.
func (s *Service) defaultSubnets(ctx context.Context, c *api.Call, zones []string) error {
	for _, zone := range zones {
		if _, err := s.defaultSubnet(ctx, c, zone); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) defaultSubnet(ctx context.Context, c *api.Call, zone string) (string, error) {
	rows, err := tables.Subnets.List(ctx, s.Store, everything(c))
	if err != nil {
		return "", err
	}
	for _, r := range rows {
		if r.V.DefaultForAZ && !r.V.Deleting && r.V.Zone == zone {
			return r.V.ID, nil
		}
	}
	return "", invalid("No default subnet for availability zone: '%s'", zone)
}

// launchesInto are the subnets that a group launches into.
func (s *Service) launchesInto(ctx context.Context, c *api.Call, spec *model.ASGSpec) ([]string, error) {
	if len(spec.SubnetIDs) > 0 {
		return spec.SubnetIDs, nil
	}
	var ids []string
	for _, zone := range spec.Zones {
		id, err := s.defaultSubnet(ctx, c, zone)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}
