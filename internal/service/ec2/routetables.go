package ec2

import (
	"context"
	"errors"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

var routeTables = kind[model.RouteTable]{
	noun: nounRouteTab, table: tables.RouteTables,
	id:     func(v *model.RouteTable) string { return v.ID },
	tags:   func(v *model.RouteTable) model.Tags { return v.Tags },
	hidden: func(v *model.RouteTable) bool { return v.Deleting },
}

// surroundings are the records that a route table's description draws on.
type surroundings struct {
	vpcs    map[string]*model.VPC
	subnets []*model.Subnet
	igws    map[string]*model.InternetGateway
	nats    map[string]*model.NatGateway
	enis    map[string]*model.NetworkInterface
}

func byID[T any](list []*T, id func(*T) string) map[string]*T {
	m := make(map[string]*T, len(list))
	for _, v := range list {
		m[id(v)] = v
	}
	return m
}

func (s *Service) around(ctx context.Context, call *api.Call) (*surroundings, error) {
	vs, err1 := vpcs.all(ctx, s, call)
	subs, err2 := subnets.all(ctx, s, call)
	igws, err3 := internetGateways.all(ctx, s, call)
	nats, err4 := natGateways.all(ctx, s, call)
	enis, err5 := interfaces.all(ctx, s, call)
	return &surroundings{
		byID(vs, vpcs.id), subs, byID(igws, internetGateways.id), byID(nats, natGateways.id), byID(enis, interfaces.id),
	}, errors.Join(err1, err2, err3, err4, err5)
}

func (a *surroundings) tableOut(t *model.RouteTable) *ec2.RouteTable {
	out := &ec2.RouteTable{RouteTableId: new(t.ID), OwnerId: new(t.Owner), VpcId: new(t.VPCID), Tags: tagsOut(t.Tags)}
	associated := &ec2.RouteTableAssociationState{State: ec2.RouteTableAssociationStateCodeAssociated}
	if v := a.vpcs[t.VPCID]; v != nil {
		for _, c := range v.CIDRs {
			out.Routes = append(out.Routes, ec2.Route{
				DestinationCidrBlock: new(c.CIDR.String()), GatewayId: new("local"), Origin: ec2.RouteOriginCreateRouteTable, State: ec2.RouteStateActive,
			})
		}
		if v.MainRouteTableID == t.ID {
			out.Associations = append(out.Associations, ec2.RouteTableAssociation{
				Main: new(true), RouteTableAssociationId: new(v.MainRouteTableAssociationID), RouteTableId: new(t.ID), AssociationState: associated,
			})
		}
	}
	for _, r := range t.Routes {
		out.Routes = append(out.Routes, a.routeOut(t, r))
	}
	for _, sub := range a.subnets {
		if sub.RouteTableID == t.ID {
			out.Associations = append(out.Associations, ec2.RouteTableAssociation{
				Main: new(false), RouteTableAssociationId: new(sub.RouteTableAssociationID), RouteTableId: new(t.ID), SubnetId: new(sub.ID), AssociationState: associated,
			})
		}
	}
	return out
}

func (a *surroundings) routeOut(t *model.RouteTable, r model.Route) ec2.Route {
	out := ec2.Route{Origin: ec2.RouteOrigin(r.Origin), State: ec2.RouteStateBlackhole}
	if r.PrefixListID != "" {
		out.DestinationPrefixListId = new(r.PrefixListID)
	} else if r.Destination.Addr().Is4() {
		out.DestinationCidrBlock = new(r.Destination.String())
	} else {
		out.DestinationIpv6CidrBlock = new(r.Destination.String())
	}
	active := false
	switch {
	case r.GatewayID != "":
		out.GatewayId = new(r.GatewayID)
		g := a.igws[r.GatewayID]
		active = g != nil && g.VPCID == t.VPCID
	case r.NatGatewayID != "":
		out.NatGatewayId = new(r.NatGatewayID)
		n := a.nats[r.NatGatewayID]
		active = n != nil && n.State == model.NatGatewayAvailable
	case r.NetworkInterfaceID != "":
		out.NetworkInterfaceId = new(r.NetworkInterfaceID)
		e := a.enis[r.NetworkInterfaceID]
		active = e != nil && e.Status == model.NetworkInterfaceInUse
		if e != nil && e.Attachment != nil && e.Attachment.InstanceID != "" {
			out.InstanceId, out.InstanceOwnerId = new(e.Attachment.InstanceID), new(e.Attachment.InstanceOwnerID)
		}
	}
	if active {
		out.State = ec2.RouteStateActive
	}
	return out
}

// tableField reads filters from a table's description, since most of them are
// about its routes and associations.
func tableField(v *ec2.RouteTable, name string) ([]string, bool) {
	var out []string
	add := func(p *string) {
		if p != nil {
			out = append(out, *p)
		}
	}
	route := func(f func(r *ec2.Route) *string) ([]string, bool) {
		for i := range v.Routes {
			add(f(&v.Routes[i]))
		}
		return out, true
	}
	switch name {
	case "route-table-id":
		return one(deref(v.RouteTableId))
	case "vpc-id":
		return one(deref(v.VpcId))
	case "owner-id":
		return one(deref(v.OwnerId))
	case "association.route-table-association-id", "association.route-table-id", "association.subnet-id", "association.main", "association.gateway-id":
		for _, a := range v.Associations {
			switch name {
			case "association.route-table-association-id":
				add(a.RouteTableAssociationId)
			case "association.route-table-id":
				add(a.RouteTableId)
			case "association.subnet-id":
				add(a.SubnetId)
			case "association.main":
				b, _ := oneBool(deref(a.Main))
				out = append(out, b...)
			}
		}
		return out, true
	case "route.destination-cidr-block":
		return route(func(r *ec2.Route) *string { return r.DestinationCidrBlock })
	case "route.destination-ipv6-cidr-block":
		return route(func(r *ec2.Route) *string { return r.DestinationIpv6CidrBlock })
	case "route.destination-prefix-list-id":
		return route(func(r *ec2.Route) *string { return r.DestinationPrefixListId })
	case "route.gateway-id":
		return route(func(r *ec2.Route) *string { return r.GatewayId })
	case "route.nat-gateway-id":
		return route(func(r *ec2.Route) *string { return r.NatGatewayId })
	case "route.instance-id":
		return route(func(r *ec2.Route) *string { return r.InstanceId })
	case "route.transit-gateway-id", "route.vpc-peering-connection-id", "route.egress-only-internet-gateway-id":
		return nil, true
	case "route.origin":
		return route(func(r *ec2.Route) *string { return new(string(r.Origin)) })
	case "route.state":
		return route(func(r *ec2.Route) *string { return new(string(r.State)) })
	}
	return nil, false
}

func modelTags(tags []ec2.Tag) model.Tags {
	m := model.Tags{}
	for _, t := range tags {
		m[deref(t.Key)] = deref(t.Value)
	}
	return m
}

// DescribeRouteTables lists route tables.
func (s *Service) DescribeRouteTables(ctx context.Context, in *ec2.DescribeRouteTablesInput) (*ec2.DescribeRouteTablesOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	around, err := s.around(ctx, call)
	if err != nil {
		return nil, err
	}
	found, _, err := routeTables.describe(ctx, s, call, query{op: "DescribeRouteTables", ids: in.RouteTableIds})
	if err != nil {
		return nil, err
	}
	var all []*ec2.RouteTable
	for _, t := range found {
		all = append(all, around.tableOut(t))
	}
	page, next, err := selectPage(call, all, query{"DescribeRouteTables", in.RouteTableIds, in.Filters, in.MaxResults, in.NextToken},
		func(t *ec2.RouteTable) string { return deref(t.RouteTableId) },
		func(t *ec2.RouteTable) model.Tags { return modelTags(t.Tags) }, tableField)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeRouteTablesOutput{NextToken: next}
	for _, t := range page {
		out.RouteTables = append(out.RouteTables, *t)
	}
	return out, nil
}

// CreateRouteTable makes a route table in a VPC.
func (s *Service) CreateRouteTable(ctx context.Context, in *ec2.CreateRouteTableInput) (*ec2.CreateRouteTableOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	tags, err := tagsFor(typeRouteTab, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	t := &model.RouteTable{ID: id.Resource("rtb"), Owner: call.Account, VPCID: deref(in.VpcId), Tags: tags, CreatedAt: call.Time}
	stored, err := once(ctx, s, call, routeTables, t, in.ClientToken, in, s.inVPC(ctx, call, t.VPCID))
	if err != nil {
		return nil, err
	}
	around, err := s.around(ctx, call)
	if err != nil {
		return nil, err
	}
	return &ec2.CreateRouteTableOutput{RouteTable: around.tableOut(stored), ClientToken: in.ClientToken}, nil
}

// DeleteRouteTable deletes a table that nothing is associated with.
func (s *Service) DeleteRouteTable(ctx context.Context, in *ec2.DeleteRouteTableInput) (*ec2.DeleteRouteTableOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	tid := deref(in.RouteTableId)
	row, err := tables.RouteTables.Get(ctx, s.store, call.Account, call.Region, tid)
	if err != nil {
		return nil, nounRouteTab.orMissing(err, tid)
	}
	err = inUse(ctx, s, tables.RouteTables, row, func(v *model.RouteTable) *bool { return &v.Deleting }, func() error {
		around, err := s.around(ctx, call)
		if err != nil {
			return err
		}
		if len(around.tableOut(row.V).Associations) > 0 {
			return nounRouteTab.hasDependencies(tid)
		}
		return nil
	}, nil)
	return &ec2.DeleteRouteTableOutput{}, err
}

// AssociateRouteTable makes a subnet use a table.
func (s *Service) AssociateRouteTable(ctx context.Context, in *ec2.AssociateRouteTableInput) (*ec2.AssociateRouteTableOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.GatewayId != nil || in.PublicIpv4Pool != nil {
		return nil, unsupported("gateway route tables")
	}
	if in.SubnetId == nil {
		return nil, required("subnetId")
	}
	aid := id.Resource("rtbassoc")
	err = retry(func() error {
		table, err := routeTables.get(ctx, s, call, deref(in.RouteTableId))
		if err != nil {
			return err
		}
		sub, err := subnets.get(ctx, s, call, *in.SubnetId)
		if err != nil {
			return err
		}
		if sub.V.VPCID != table.V.VPCID {
			return invalidValue("Route table %s and network subnet %s belong to different networks", table.V.ID, sub.V.ID)
		}
		if sub.V.RouteTableID == table.V.ID {
			aid = sub.V.RouteTableAssociationID
			return nil
		}
		if sub.V.RouteTableID != "" {
			return api.NewFault("Resource.AlreadyAssociated", "the specified association for route table %s conflicts with an existing association", table.V.ID)
		}
		v := sub.Copy()
		v.RouteTableID, v.RouteTableAssociationID = table.V.ID, aid
		tx := store.NewTxn()
		tables.RouteTables.Check(tx, table)
		tables.Subnets.Replace(tx, sub, v)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ec2.AssociateRouteTableOutput{
		AssociationId: new(aid), AssociationState: &ec2.RouteTableAssociationState{State: ec2.RouteTableAssociationStateCodeAssociated},
	}, nil
}

func noAssociation(aid string) error {
	return api.NewFault("InvalidAssociationID.NotFound", "The association ID '%s' does not exist", aid)
}

// DisassociateRouteTable makes a subnet use its VPC's main table again.
func (s *Service) DisassociateRouteTable(ctx context.Context, in *ec2.DisassociateRouteTableInput) (*ec2.DisassociateRouteTableOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	aid := deref(in.AssociationId)
	around, err := s.around(ctx, call)
	if err != nil {
		return nil, err
	}
	for _, v := range around.vpcs {
		if v.MainRouteTableAssociationID == aid {
			return nil, invalidValue("cannot disassociate the main route table association %s", aid)
		}
	}
	i := slices.IndexFunc(around.subnets, func(v *model.Subnet) bool { return v.RouteTableAssociationID == aid })
	if aid == "" || i < 0 {
		return nil, noAssociation(aid)
	}
	_, err = tables.Subnets.Update(ctx, s.store, call.Account, call.Region, around.subnets[i].ID, func(v *model.Subnet) error {
		if v.RouteTableAssociationID != aid {
			return noAssociation(aid)
		}
		v.RouteTableID, v.RouteTableAssociationID = "", ""
		return nil
	})
	return &ec2.DisassociateRouteTableOutput{}, err
}

// ReplaceRouteTableAssociation gives a subnet another table, or a VPC another
// main one. The association gets a new id.
func (s *Service) ReplaceRouteTableAssociation(ctx context.Context, in *ec2.ReplaceRouteTableAssociationInput) (*ec2.ReplaceRouteTableAssociationOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	aid, fresh := deref(in.AssociationId), id.Resource("rtbassoc")
	err = retry(func() error {
		table, err := routeTables.get(ctx, s, call, deref(in.RouteTableId))
		if err != nil {
			return err
		}
		tx := store.NewTxn()
		tables.RouteTables.Check(tx, table)
		q := store.Query{Account: call.Account, Region: call.Region}
		subs, err := tables.Subnets.List(ctx, s.store, q)
		if err != nil {
			return err
		}
		vs, err := tables.VPCs.List(ctx, s.store, q)
		if err != nil {
			return err
		}
		var vpcID string
		for _, row := range subs {
			if aid != "" && row.V.RouteTableAssociationID == aid {
				v := row.Copy()
				v.RouteTableID, v.RouteTableAssociationID = table.V.ID, fresh
				tables.Subnets.Replace(tx, row, v)
				vpcID = v.VPCID
			}
		}
		for _, row := range vs {
			if row.V.MainRouteTableAssociationID == aid {
				v := row.Copy()
				v.MainRouteTableID, v.MainRouteTableAssociationID = table.V.ID, fresh
				tables.VPCs.Replace(tx, row, v)
				vpcID = v.ID
			}
		}
		switch vpcID {
		case "":
			return noAssociation(aid)
		case table.V.VPCID:
		default:
			return invalidValue("Route table %s and association %s belong to different networks", table.V.ID, aid)
		}
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ec2.ReplaceRouteTableAssociationOutput{
		NewAssociationId: new(fresh), AssociationState: &ec2.RouteTableAssociationState{State: ec2.RouteTableAssociationStateCodeAssociated},
	}, nil
}
