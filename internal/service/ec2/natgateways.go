package ec2

import (
	"context"
	"errors"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/eni"
	"roadstead.dev/internal/store/tables"
)

// keepDeleted is how long a deleted NAT gateway is still described.
const keepDeleted = time.Hour

var natGateways = kind[model.NatGateway]{
	noun: nounNAT, table: tables.NatGateways,
	id:   func(v *model.NatGateway) string { return v.ID },
	tags: func(v *model.NatGateway) model.Tags { return v.Tags },
	field: func(v *model.NatGateway, name string) ([]string, bool) {
		switch name {
		case "nat-gateway-id":
			return one(v.ID)
		case "vpc-id":
			return one(v.VPCID)
		case "subnet-id":
			return one(v.SubnetID)
		case "state":
			return one(v.State)
		}
		return nil, false
	},
}

func natOut(v *model.NatGateway) *ec2.NatGateway {
	out := &ec2.NatGateway{
		NatGatewayId: new(v.ID), VpcId: new(v.VPCID), SubnetId: new(v.SubnetID), State: ec2.NatGatewayState(v.State),
		ConnectivityType: ec2.ConnectivityType(v.Connectivity), CreateTime: new(v.CreatedAt), Tags: tagsOut(v.Tags),
	}
	if !v.DeletedAt.IsZero() {
		out.DeleteTime = new(v.DeletedAt)
	}
	a := ec2.NatGatewayAddress{
		NetworkInterfaceId: new(v.NetworkInterfaceID), PrivateIp: new(v.PrivateIP.String()), IsPrimary: new(true), Status: ec2.NatGatewayAddressStatusSucceeded,
	}
	if v.AllocationID != "" {
		a.AllocationId, a.PublicIp = new(v.AllocationID), new(v.PublicIP.String())
		if v.AssociationID != "" {
			a.AssociationId = new(v.AssociationID)
		}
	}
	out.NatGatewayAddresses = []ec2.NatGatewayAddress{a}
	return out
}

// CreateNatGateway makes a gateway in a subnet. Its interface and its record
// are written together.
func (s *Service) CreateNatGateway(ctx context.Context, in *ec2.CreateNatGatewayInput) (*ec2.CreateNatGatewayOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	if len(in.SecondaryAllocationIds) > 0 || len(in.SecondaryPrivateIpAddresses) > 0 || deref(in.SecondaryPrivateIpAddressCount) > 0 || in.AvailabilityMode == "regional" {
		return nil, unsupported("NAT gateways with several addresses")
	}
	if in.ConnectivityType == ec2.ConnectivityTypePrivate {
		return nil, unsupported("private NAT gateways")
	}
	if in.AllocationId == nil {
		return nil, required("AllocationId")
	}
	tags, err := tagsFor(typeNAT, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	v := &model.NatGateway{
		ID: id.Resource("nat"), Owner: call.Account, SubnetID: deref(in.SubnetId), Connectivity: "public", State: model.NatGatewayAvailable,
		AllocationID: *in.AllocationId, Tags: tags, CreatedAt: call.Time,
	}
	spec := eni.Spec{
		Account: call.Account, Region: call.Region, SubnetID: v.SubnetID, Description: "Interface for NAT Gateway " + v.ID,
		InterfaceType: "nat_gateway", RequesterID: call.Account, RequesterManaged: true, AllocationID: v.AllocationID,
		Attachment: &model.NetworkInterfaceAttachment{ID: id.Resource("ela-attach"), InstanceOwnerID: "amazon-aws", DeviceIndex: 1},
		With: func(tx *store.Txn, e *model.NetworkInterface) error {
			if err := s.claimToken(ctx, call, tx, in.ClientToken, in, v.ID, natGateways.exists(ctx, s, call)); err != nil {
				return err
			}
			if err := s.needsGateway(ctx, call, tx, e.VPCID); err != nil {
				return err
			}
			v.VPCID, v.NetworkInterfaceID, v.PrivateIP = e.VPCID, e.ID, e.PrivateIP
			v.PublicIP, v.AssociationID = e.Association.PublicIP, e.Association.AssociationID
			tables.NatGateways.Create(tx, call.Account, call.Region, v.ID, v)
			return nil
		},
	}
	if in.PrivateIpAddress != nil {
		if spec.PrivateIP, err = parseAddr(*in.PrivateIpAddress); err != nil {
			return nil, err
		}
	}
	// A token that comes again finds its gateway, although the address is no
	// longer free.
	err = s.claimToken(ctx, call, store.NewTxn(), in.ClientToken, in, v.ID, natGateways.exists(ctx, s, call))
	if err == nil {
		_, err = eni.Create(ctx, s.store, call.Time, spec)
	}
	if had, ok := errors.AsType[*earlier](err); ok {
		var row store.Row[model.NatGateway]
		row, err = natGateways.get(ctx, s, call, had.id)
		v = row.V
	}
	if err != nil {
		return nil, answer(err)
	}
	out := natOut(v)
	out.State = ec2.NatGatewayState(model.NatGatewayPending)
	return &ec2.CreateNatGatewayOutput{NatGateway: out, ClientToken: in.ClientToken}, nil
}

// needsGateway adds to tx that a VPC has an internet gateway, or refuses.
func (s *Service) needsGateway(ctx context.Context, call *api.Call, tx *store.Txn, vpcID string) error {
	rows, err := tables.InternetGateways.List(ctx, s.store, store.Query{
		Account: call.Account, Region: call.Region, Index: store.Index{Name: tables.ByVPC, Value: vpcID},
	})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return api.NewFault("Gateway.NotAttached", "Network %s is not attached to any internet gateway", vpcID)
	}
	tables.InternetGateways.Check(tx, rows[0])
	return nil
}

// DeleteNatGateway deletes a gateway; its elastic address stays allocated.
func (s *Service) DeleteNatGateway(ctx context.Context, in *ec2.DeleteNatGatewayInput) (*ec2.DeleteNatGatewayOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	nid := deref(in.NatGatewayId)
	row, err := natGateways.get(ctx, s, call, nid)
	if err != nil {
		return nil, err
	}
	if err := eni.Delete(ctx, s.store, call.Account, call.Region, row.V.NetworkInterfaceID, nil); err != nil {
		return nil, answer(err)
	}
	_, err = tables.NatGateways.Update(ctx, s.store, call.Account, call.Region, nid, func(v *model.NatGateway) error {
		if v.State == model.NatGatewayDeleted {
			return store.ErrUnchanged
		}
		v.State, v.DeletedAt, v.AssociationID = model.NatGatewayDeleted, call.Time, ""
		return nil
	})
	return &ec2.DeleteNatGatewayOutput{NatGatewayId: new(nid)}, nounNAT.orMissing(err, nid)
}

// DescribeNatGateways lists gateways, and removes records of those that were
// deleted long ago.
func (s *Service) DescribeNatGateways(ctx context.Context, in *ec2.DescribeNatGatewaysInput) (*ec2.DescribeNatGatewaysOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.forgetNATs(ctx, call); err != nil {
		return nil, err
	}
	found, next, err := natGateways.describe(ctx, s, call, query{"DescribeNatGateways", in.NatGatewayIds, in.Filter, in.MaxResults, in.NextToken})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeNatGatewaysOutput{NextToken: next}
	for _, v := range found {
		out.NatGateways = append(out.NatGateways, *natOut(v))
	}
	return out, nil
}

func (s *Service) forgetNATs(ctx context.Context, call *api.Call) error {
	rows, err := tables.NatGateways.List(ctx, s.store, store.Query{Account: call.Account, Region: call.Region})
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.V.DeletedAt.IsZero() || call.Time.Sub(row.V.DeletedAt) < keepDeleted {
			continue
		}
		tx := store.NewTxn()
		tables.NatGateways.Delete(tx, row)
		_, _ = tx.Commit(ctx, s.store) // another call did it otherwise
	}
	return nil
}
