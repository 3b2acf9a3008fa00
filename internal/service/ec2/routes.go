package ec2

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/tables"
)

// destination reads where a route goes; exactly one of the two is given.
func destination(v4, v6, prefixList *string) (netip.Prefix, error) {
	text := v4
	switch {
	case prefixList != nil:
		return netip.Prefix{}, unsupported("prefix lists as destinations")
	case v4 != nil && v6 != nil:
		return netip.Prefix{}, api.NewFault("InvalidParameterCombination", "The parameters DestinationCidrBlock and DestinationIpv6CidrBlock cannot be used together")
	case v6 != nil:
		text = v6
	case v4 == nil:
		return netip.Prefix{}, required("destinationCidrBlock")
	}
	p, err := netip.ParsePrefix(*text)
	if err != nil || p.Addr().Is4() != (v4 != nil) {
		return p, invalidValue("Value (%s) for parameter destinationCidrBlock is invalid. This is not a valid CIDR block.", *text)
	}
	return p.Masked(), nil
}

func noRoute(tableID string, dest netip.Prefix) error {
	return api.NewFault("InvalidRoute.NotFound", "no route with destination-cidr-block %s in route table %s", dest, tableID)
}

// routeTarget checks the target of a route and fills it in.
func (s *Service) routeTarget(ctx context.Context, call *api.Call, vpcID string, in *ec2.CreateRouteInput, r *model.Route) error {
	given := 0
	for _, p := range []*string{in.GatewayId, in.NatGatewayId, in.NetworkInterfaceId, in.InstanceId, in.VpcPeeringConnectionId, in.TransitGatewayId, in.EgressOnlyInternetGatewayId, in.LocalGatewayId, in.CarrierGatewayId, in.VpcEndpointId, in.CoreNetworkArn} {
		if p != nil {
			given++
		}
	}
	if given != 1 {
		return api.NewFault("InvalidParameterCombination", "You must specify exactly one target for the route")
	}
	switch {
	case in.GatewayId != nil && strings.HasPrefix(*in.GatewayId, "igw-"):
		row, err := internetGateways.get(ctx, s, call, *in.GatewayId)
		if err != nil {
			return err
		}
		if row.V.VPCID != vpcID {
			return invalidValue("route table and network gateway %s belong to different networks", row.V.ID)
		}
		r.GatewayID = row.V.ID
	case in.GatewayId != nil:
		return api.NewFault("InvalidGatewayID.NotFound", "The gateway ID '%s' does not exist", *in.GatewayId)
	case in.NatGatewayId != nil:
		row, err := natGateways.get(ctx, s, call, *in.NatGatewayId)
		if err != nil {
			return err
		}
		if row.V.VPCID != vpcID {
			return api.NewFault("InvalidNatGatewayID.NotFound", "The natGateway ID '%s' does not exist", *in.NatGatewayId)
		}
		r.NatGatewayID = row.V.ID
	case in.NetworkInterfaceId != nil:
		row, err := interfaces.get(ctx, s, call, *in.NetworkInterfaceId)
		if err != nil {
			return err
		}
		if row.V.VPCID != vpcID {
			return invalidValue("route table and interface %s belong to different networks", row.V.ID)
		}
		r.NetworkInterfaceID = row.V.ID
	case in.InstanceId != nil:
		return api.NewFault("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", *in.InstanceId)
	case in.VpcPeeringConnectionId != nil:
		return api.NewFault("InvalidVpcPeeringConnectionID.NotFound", "The vpcPeeringConnection ID '%s' does not exist", *in.VpcPeeringConnectionId)
	case in.TransitGatewayId != nil:
		return api.NewFault("InvalidTransitGatewayID.NotFound", "Transit Gateway %s was deleted or does not exist.", *in.TransitGatewayId)
	default:
		return unsupported("this target of a route")
	}
	return nil
}

// CreateRoute adds a route to a table.
func (s *Service) CreateRoute(ctx context.Context, in *ec2.CreateRouteInput) (*ec2.CreateRouteOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	dest, err := destination(in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId)
	if err != nil {
		return nil, err
	}
	table, err := routeTables.get(ctx, s, call, deref(in.RouteTableId))
	if err != nil {
		return nil, err
	}
	r := model.Route{Destination: dest, Origin: "CreateRoute"}
	if err := s.routeTarget(ctx, call, table.V.VPCID, in, &r); err != nil {
		return nil, err
	}
	vpc, err := vpcs.get(ctx, s, call, table.V.VPCID)
	if err != nil {
		return nil, err
	}
	for _, c := range vpc.V.CIDRs {
		if c.CIDR == dest {
			return nil, api.NewFault("RouteAlreadyExists", "The route identified by %s already exists.", dest)
		}
		if c.CIDR.Contains(dest.Addr()) && c.CIDR.Bits() < dest.Bits() && r.NetworkInterfaceID == "" {
			return nil, invalidValue("The destination CIDR block %s is equal to or more specific than one of this VPC's CIDR blocks. This route can target only an interface or an instance.", dest)
		}
	}
	_, err = tables.RouteTables.Update(ctx, s.store, call.Account, call.Region, table.V.ID, func(v *model.RouteTable) error {
		if slices.ContainsFunc(v.Routes, func(x model.Route) bool { return x.Destination == dest }) {
			return api.NewFault("RouteAlreadyExists", "The route identified by %s already exists.", dest)
		}
		if len(v.Routes) >= 50 {
			return api.NewFault("RouteLimitExceeded", "The maximum number of routes has been reached.")
		}
		v.Routes = append(v.Routes, r)
		return nil
	})
	return &ec2.CreateRouteOutput{Return: new(true)}, nounRouteTab.orMissing(err, table.V.ID)
}

// ReplaceRoute gives a route another target.
func (s *Service) ReplaceRoute(ctx context.Context, in *ec2.ReplaceRouteInput) (*ec2.ReplaceRouteOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	dest, err := destination(in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId)
	if err != nil {
		return nil, err
	}
	table, err := routeTables.get(ctx, s, call, deref(in.RouteTableId))
	if err != nil {
		return nil, err
	}
	r := model.Route{Destination: dest, Origin: "CreateRoute"}
	if err := s.routeTarget(ctx, call, table.V.VPCID, &ec2.CreateRouteInput{
		GatewayId: in.GatewayId, NatGatewayId: in.NatGatewayId, NetworkInterfaceId: in.NetworkInterfaceId, InstanceId: in.InstanceId,
		VpcPeeringConnectionId: in.VpcPeeringConnectionId, TransitGatewayId: in.TransitGatewayId, EgressOnlyInternetGatewayId: in.EgressOnlyInternetGatewayId,
		LocalGatewayId: in.LocalGatewayId, CarrierGatewayId: in.CarrierGatewayId, VpcEndpointId: in.VpcEndpointId, CoreNetworkArn: in.CoreNetworkArn,
	}, &r); err != nil {
		return nil, err
	}
	_, err = tables.RouteTables.Update(ctx, s.store, call.Account, call.Region, table.V.ID, func(v *model.RouteTable) error {
		i := slices.IndexFunc(v.Routes, func(x model.Route) bool { return x.Destination == dest })
		if i < 0 {
			return invalidValue("There is no route defined for '%s' in the route table. Use CreateRoute instead.", dest)
		}
		v.Routes[i] = r
		return nil
	})
	return &ec2.ReplaceRouteOutput{}, nounRouteTab.orMissing(err, table.V.ID)
}

// DeleteRoute removes a route from a table.
func (s *Service) DeleteRoute(ctx context.Context, in *ec2.DeleteRouteInput) (*ec2.DeleteRouteOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	dest, err := destination(in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId)
	if err != nil {
		return nil, err
	}
	table, err := routeTables.get(ctx, s, call, deref(in.RouteTableId))
	if err != nil {
		return nil, err
	}
	vpc, err := vpcs.get(ctx, s, call, table.V.VPCID)
	if err != nil {
		return nil, err
	}
	for _, c := range vpc.V.CIDRs {
		if c.CIDR == dest {
			return nil, invalidValue("cannot remove local route %s in route table %s", dest, table.V.ID)
		}
	}
	_, err = tables.RouteTables.Update(ctx, s.store, call.Account, call.Region, table.V.ID, func(v *model.RouteTable) error {
		n := len(v.Routes)
		v.Routes = slices.DeleteFunc(v.Routes, func(x model.Route) bool { return x.Destination == dest })
		if len(v.Routes) == n {
			return noRoute(v.ID, dest)
		}
		return nil
	})
	return &ec2.DeleteRouteOutput{}, nounRouteTab.orMissing(err, table.V.ID)
}
