package ec2

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// destination is where a route goes: a block, or the blocks of a prefix list.
type destination struct {
	cidr       netip.Prefix
	prefixList string
}

func (d destination) String() string {
	if d.prefixList != "" {
		return d.prefixList
	}
	return d.cidr.String()
}

func (d destination) is(r model.Route) bool {
	return r.Destination == d.cidr && r.PrefixListID == d.prefixList
}

// destinationOf reads where a route goes; exactly one of the three is given.
func destinationOf(v4, v6, prefixList *string) (destination, error) {
	given := 0
	for _, p := range []*string{v4, v6, prefixList} {
		if p != nil {
			given++
		}
	}
	switch {
	case given == 0:
		return destination{}, api.NewFault("MissingParameter", "The request must contain exactly one of destinationCidrBlock, destinationIpv6CidrBlock, destinationPrefixListId")
	case given > 1:
		return destination{}, api.NewFault("InvalidParameterCombination", "The request must contain exactly one of destinationCidrBlock, destinationIpv6CidrBlock, destinationPrefixListId")
	case prefixList != nil:
		return destination{prefixList: *prefixList}, nil
	}
	text, name := v4, "destinationCidrBlock"
	if v6 != nil {
		text, name = v6, "destinationIpv6CidrBlock"
	}
	p, err := netip.ParsePrefix(*text)
	if err != nil || p.Addr().Is4() != (v4 != nil) {
		return destination{}, invalidValue("Value (%s) for parameter %s is invalid. This is not a valid CIDR block.", *text, name)
	}
	return destination{cidr: p.Masked()}, nil
}

func noRoute(tableID string, dest destination) error {
	kind := "destination-cidr-block"
	switch {
	case dest.prefixList != "":
		kind = "destination-prefix-list-id"
	case dest.cidr.Addr().Is6():
		kind = "destination-ipv6-cidr-block"
	}
	return api.NewFault("InvalidRoute.NotFound", "no route with %s %s in route table %s", kind, dest, tableID)
}

// maxRoutes is how many routes a table may have. A prefix list counts as many
// as it may have entries.
const maxRoutes = 50

func (s *Service) routesWeigh(ctx context.Context, call *api.Call, routes []model.Route) (int, error) {
	n := 0
	for _, r := range routes {
		if r.PrefixListID == "" {
			n++
			continue
		}
		row, err := prefixLists.get(ctx, s, call, r.PrefixListID)
		if err != nil {
			return 0, err
		}
		n += int(row.V.MaxEntries)
	}
	return n, nil
}

// changeRoutes rewrites a table's routes. The prefix list that dest may be
// stays while it does.
func (s *Service) changeRoutes(ctx context.Context, call *api.Call, tableID string, dest destination, change func(v *model.RouteTable) error) error {
	return retry(func() error {
		row, err := routeTables.get(ctx, s, call, tableID)
		if err != nil {
			return err
		}
		tx := store.NewTxn()
		if dest.prefixList != "" {
			list, err := prefixLists.get(ctx, s, call, dest.prefixList)
			if err != nil {
				return err
			}
			tables.PrefixLists.Check(tx, list)
		}
		v := row.Copy()
		if err := change(v); err != nil {
			return err
		}
		tables.RouteTables.Replace(tx, row, v)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
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
	dest, err := destinationOf(in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId)
	if err != nil {
		return nil, err
	}
	table, err := routeTables.get(ctx, s, call, deref(in.RouteTableId))
	if err != nil {
		return nil, err
	}
	r := model.Route{Destination: dest.cidr, PrefixListID: dest.prefixList, Origin: "CreateRoute"}
	if err := s.routeTarget(ctx, call, table.V.VPCID, in, &r); err != nil {
		return nil, err
	}
	vpc, err := vpcs.get(ctx, s, call, table.V.VPCID)
	if err != nil {
		return nil, err
	}
	for _, c := range vpc.V.CIDRs {
		switch {
		case c.CIDR == dest.cidr:
			return nil, routeExists(dest)
		case !dest.cidr.IsValid() || !c.CIDR.Contains(dest.cidr.Addr()) || c.CIDR.Bits() > dest.cidr.Bits():
		case r.NetworkInterfaceID == "":
			return nil, invalidValue("The destination CIDR block %s is equal to or more specific than one of this VPC's CIDR blocks. This route can target only an interface or an instance.", dest)
		}
	}
	err = s.changeRoutes(ctx, call, table.V.ID, dest, func(v *model.RouteTable) error {
		if slices.ContainsFunc(v.Routes, dest.is) {
			return routeExists(dest)
		}
		v.Routes = append(v.Routes, r)
		n, err := s.routesWeigh(ctx, call, v.Routes)
		if err == nil && n > maxRoutes {
			err = api.NewFault("RouteLimitExceeded", "The maximum number of routes has been reached.")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ec2.CreateRouteOutput{Return: new(true)}, nil
}

func routeExists(dest destination) error {
	return api.NewFault("RouteAlreadyExists", "The route identified by %s already exists.", dest)
}

// ReplaceRoute gives a route another target.
func (s *Service) ReplaceRoute(ctx context.Context, in *ec2.ReplaceRouteInput) (*ec2.ReplaceRouteOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	dest, err := destinationOf(in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId)
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
	isLocal := slices.ContainsFunc(vpc.V.CIDRs, func(c model.VPCCIDR) bool { return c.CIDR == dest.cidr })
	if deref(in.LocalTarget) {
		if !isLocal {
			return nil, invalidValue("The route %s is not a local route of the VPC.", dest)
		}
		return &ec2.ReplaceRouteOutput{}, nil // which local routes always are
	}
	if isLocal {
		return nil, unsupported("other targets of local routes")
	}
	r := model.Route{Destination: dest.cidr, PrefixListID: dest.prefixList, Origin: "CreateRoute"}
	if err := s.routeTarget(ctx, call, table.V.VPCID, &ec2.CreateRouteInput{
		GatewayId: in.GatewayId, NatGatewayId: in.NatGatewayId, NetworkInterfaceId: in.NetworkInterfaceId, InstanceId: in.InstanceId,
		VpcPeeringConnectionId: in.VpcPeeringConnectionId, TransitGatewayId: in.TransitGatewayId, EgressOnlyInternetGatewayId: in.EgressOnlyInternetGatewayId,
		LocalGatewayId: in.LocalGatewayId, CarrierGatewayId: in.CarrierGatewayId, VpcEndpointId: in.VpcEndpointId, CoreNetworkArn: in.CoreNetworkArn,
	}, &r); err != nil {
		return nil, err
	}
	err = s.changeRoutes(ctx, call, table.V.ID, dest, func(v *model.RouteTable) error {
		i := slices.IndexFunc(v.Routes, dest.is)
		if i < 0 {
			return invalidValue("There is no route defined for '%s' in the route table. Use CreateRoute instead.", dest)
		}
		v.Routes[i] = r
		return nil
	})
	return &ec2.ReplaceRouteOutput{}, err
}

// DeleteRoute removes a route from a table.
func (s *Service) DeleteRoute(ctx context.Context, in *ec2.DeleteRouteInput) (*ec2.DeleteRouteOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	dest, err := destinationOf(in.DestinationCidrBlock, in.DestinationIpv6CidrBlock, in.DestinationPrefixListId)
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
		if c.CIDR == dest.cidr {
			return nil, invalidValue("cannot remove local route %s in route table %s", dest, table.V.ID)
		}
	}
	err = s.changeRoutes(ctx, call, table.V.ID, destination{}, func(v *model.RouteTable) error {
		n := len(v.Routes)
		v.Routes = slices.DeleteFunc(v.Routes, dest.is)
		if len(v.Routes) == n {
			return noRoute(v.ID, dest)
		}
		return nil
	})
	return &ec2.DeleteRouteOutput{}, err
}
