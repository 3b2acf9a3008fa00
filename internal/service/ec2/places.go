package ec2

import (
	"context"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
)

// DescribeAvailabilityZones lists the region's zones.
func (s *Service) DescribeAvailabilityZones(ctx context.Context, in *ec2.DescribeAvailabilityZonesInput) (*ec2.DescribeAvailabilityZonesOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	var zones []*model.AvailabilityZone
	for _, z := range model.AvailabilityZones(call.Region) {
		if (len(in.ZoneNames) == 0 || slices.Contains(in.ZoneNames, z.Name)) && (len(in.ZoneIds) == 0 || slices.Contains(in.ZoneIds, z.ID)) {
			zones = append(zones, &z)
		}
	}
	for _, name := range in.ZoneNames {
		if !slices.ContainsFunc(zones, func(z *model.AvailabilityZone) bool { return z.Name == name }) {
			return nil, invalidValue("Invalid availability zone: [%s]", name)
		}
	}
	for _, zid := range in.ZoneIds {
		if !slices.ContainsFunc(zones, func(z *model.AvailabilityZone) bool { return z.ID == zid }) {
			return nil, invalidValue("Invalid availability zone-id: [%s]", zid)
		}
	}
	found, _, err := selectPage(call, zones, query{op: "DescribeAvailabilityZones", filters: in.Filters},
		func(z *model.AvailabilityZone) string { return z.Name },
		func(*model.AvailabilityZone) model.Tags { return nil },
		func(z *model.AvailabilityZone, name string) ([]string, bool) {
			switch name {
			case "zone-name":
				return one(z.Name)
			case "zone-id":
				return one(z.ID)
			case "region-name":
				return one(z.Region)
			case "group-name":
				return one(z.Region + "-zg-1")
			case "network-border-group":
				return one(z.Region)
			case "state":
				return one("available")
			case "zone-type":
				return one("availability-zone")
			case "opt-in-status":
				return one("opt-in-not-required")
			case "message", "parent-zone-id", "parent-zone-name", "group-long-name":
				return nil, true
			}
			return nil, false
		})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeAvailabilityZonesOutput{}
	for _, z := range found {
		out.AvailabilityZones = append(out.AvailabilityZones, ec2.AvailabilityZone{
			ZoneName: new(z.Name), ZoneId: new(z.ID), RegionName: new(z.Region), State: ec2.AvailabilityZoneState("available"),
			ZoneType: new("availability-zone"), GroupName: new(z.Region + "-zg-1"), NetworkBorderGroup: new(z.Region),
			OptInStatus: ec2.AvailabilityZoneOptInStatus("opt-in-not-required"),
		})
	}
	return out, nil
}

// DescribeRegions lists the regions, the call's own among them.
func (s *Service) DescribeRegions(ctx context.Context, in *ec2.DescribeRegionsInput) (*ec2.DescribeRegionsOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	names := slices.Clone(s.regions)
	if !slices.Contains(names, call.Region) {
		names = append(names, call.Region)
	}
	for _, name := range in.RegionNames {
		if !slices.Contains(names, name) {
			return nil, invalidValue("Invalid region provided: [%s]", name)
		}
	}
	var all []*string
	for _, name := range names {
		if len(in.RegionNames) == 0 || slices.Contains(in.RegionNames, name) {
			all = append(all, new(name))
		}
	}
	found, _, err := selectPage(call, all, query{op: "DescribeRegions", filters: in.Filters}, func(r *string) string { return *r }, func(*string) model.Tags { return nil },
		func(r *string, name string) ([]string, bool) {
			switch name {
			case "region-name":
				return one(*r)
			case "endpoint":
				return one(endpoint(*r))
			case "opt-in-status":
				return one("opt-in-not-required")
			}
			return nil, false
		})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeRegionsOutput{}
	for _, r := range found {
		out.Regions = append(out.Regions, ec2.Region{RegionName: r, Endpoint: new(endpoint(*r)), OptInStatus: new("opt-in-not-required")})
	}
	return out, nil
}

func endpoint(region string) string { return "ec2." + region + ".amazonaws.com" }

// DescribeAccountAttributes tells what an account's networks are like.
func (s *Service) DescribeAccountAttributes(ctx context.Context, in *ec2.DescribeAccountAttributesInput) (*ec2.DescribeAccountAttributesOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	def := "none"
	all, err := vpcs.all(ctx, s, call)
	if err != nil {
		return nil, err
	}
	for _, v := range all {
		if v.IsDefault {
			def = v.ID
		}
	}
	out := &ec2.DescribeAccountAttributesOutput{}
	for _, a := range []struct{ name, value string }{
		{"supported-platforms", "VPC"},
		{"default-vpc", def},
		{"vpc-max-security-groups-per-interface", "5"},
		{"max-instances", "20"},
		{"max-elastic-ips", "20"},
		{"vpc-max-elastic-ips", "20"},
	} {
		if len(in.AttributeNames) == 0 || slices.Contains(in.AttributeNames, ec2.AccountAttributeName(a.name)) {
			out.AccountAttributes = append(out.AccountAttributes, ec2.AccountAttribute{
				AttributeName: new(a.name), AttributeValues: []ec2.AccountAttributeValue{{AttributeValue: new(a.value)}},
			})
		}
	}
	return out, nil
}

// What follows describes kinds of resources that cannot be made here, so
// there are none of them.

func none(ids []string, code, format string) error {
	if len(ids) == 0 {
		return nil
	}
	return api.NewFault(code, format, ids[0])
}

// DescribeVpcEndpoints lists endpoints.
func (s *Service) DescribeVpcEndpoints(_ context.Context, in *ec2.DescribeVpcEndpointsInput) (*ec2.DescribeVpcEndpointsOutput, error) {
	return &ec2.DescribeVpcEndpointsOutput{}, none(in.VpcEndpointIds, "InvalidVpcEndpointId.NotFound", "The Vpc Endpoint Id '%s' does not exist")
}

// DescribeVpcPeeringConnections lists peerings.
func (s *Service) DescribeVpcPeeringConnections(_ context.Context, in *ec2.DescribeVpcPeeringConnectionsInput) (*ec2.DescribeVpcPeeringConnectionsOutput, error) {
	return &ec2.DescribeVpcPeeringConnectionsOutput{}, none(in.VpcPeeringConnectionIds, "InvalidVpcPeeringConnectionID.NotFound", "The vpcPeeringConnection ID '%s' does not exist")
}

// DescribeVpnGateways lists VPN gateways.
func (s *Service) DescribeVpnGateways(_ context.Context, in *ec2.DescribeVpnGatewaysInput) (*ec2.DescribeVpnGatewaysOutput, error) {
	return &ec2.DescribeVpnGatewaysOutput{}, none(in.VpnGatewayIds, "InvalidVpnGatewayID.NotFound", "The vpnGateway ID '%s' does not exist")
}

// DescribeEgressOnlyInternetGateways lists IPv6's gateways.
func (s *Service) DescribeEgressOnlyInternetGateways(_ context.Context, in *ec2.DescribeEgressOnlyInternetGatewaysInput) (*ec2.DescribeEgressOnlyInternetGatewaysOutput, error) {
	return &ec2.DescribeEgressOnlyInternetGatewaysOutput{}, none(in.EgressOnlyInternetGatewayIds, "InvalidGatewayID.NotFound", "The eigw ID '%s' does not exist")
}
