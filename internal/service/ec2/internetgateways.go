package ec2

import (
	"context"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

var internetGateways = kind[model.InternetGateway]{
	noun: nounIGW, table: tables.InternetGateways,
	id:     func(v *model.InternetGateway) string { return v.ID },
	tags:   func(v *model.InternetGateway) model.Tags { return v.Tags },
	hidden: func(v *model.InternetGateway) bool { return v.Deleting },
	field: func(v *model.InternetGateway, name string) ([]string, bool) {
		switch name {
		case "internet-gateway-id":
			return one(v.ID)
		case "owner-id":
			return one(v.Owner)
		case "attachment.vpc-id":
			if v.VPCID == "" {
				return nil, true
			}
			return one(v.VPCID)
		case "attachment.state":
			if v.VPCID == "" {
				return nil, true
			}
			return one("available")
		}
		return nil, false
	},
}

func gatewayOut(v *model.InternetGateway) *ec2.InternetGateway {
	out := &ec2.InternetGateway{InternetGatewayId: new(v.ID), OwnerId: new(v.Owner), Tags: tagsOut(v.Tags)}
	if v.VPCID != "" {
		// EC2 calls it "available", which its own enumeration lacks.
		out.Attachments = []ec2.InternetGatewayAttachment{{State: "available", VpcId: new(v.VPCID)}}
	}
	return out
}

// CreateInternetGateway makes a gateway, detached.
func (s *Service) CreateInternetGateway(ctx context.Context, in *ec2.CreateInternetGatewayInput) (*ec2.CreateInternetGatewayOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	tags, err := tagsFor(typeIGW, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	v := &model.InternetGateway{ID: id.Resource("igw"), Owner: call.Account, Tags: tags, CreatedAt: call.Time}
	tx := store.NewTxn()
	tables.InternetGateways.Create(tx, call.Account, call.Region, v.ID, v)
	if _, err := tx.Commit(ctx, s.store); err != nil {
		return nil, err
	}
	return &ec2.CreateInternetGatewayOutput{InternetGateway: gatewayOut(v)}, nil
}

// DescribeInternetGateways lists gateways.
func (s *Service) DescribeInternetGateways(ctx context.Context, in *ec2.DescribeInternetGatewaysInput) (*ec2.DescribeInternetGatewaysOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	found, next, err := internetGateways.describe(ctx, s, call, query{"DescribeInternetGateways", in.InternetGatewayIds, in.Filters, in.MaxResults, in.NextToken})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeInternetGatewaysOutput{NextToken: next}
	for _, v := range found {
		out.InternetGateways = append(out.InternetGateways, *gatewayOut(v))
	}
	return out, nil
}

// AttachInternetGateway joins a gateway and a VPC; each has at most one other.
func (s *Service) AttachInternetGateway(ctx context.Context, in *ec2.AttachInternetGatewayInput) (*ec2.AttachInternetGatewayOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	err = retry(func() error {
		row, err := internetGateways.get(ctx, s, call, deref(in.InternetGatewayId))
		if err != nil {
			return err
		}
		vpc, err := vpcs.get(ctx, s, call, deref(in.VpcId))
		if err != nil {
			return err
		}
		if row.V.VPCID != "" {
			return api.NewFault("Resource.AlreadyAssociated", "resource %s is already attached to network %s", row.V.ID, row.V.VPCID)
		}
		n, err := countRows(ctx, s, tables.InternetGateways, store.Query{
			Account: call.Account, Region: call.Region, Index: store.Index{Name: tables.ByVPC, Value: vpc.V.ID},
		}, nil)
		if err != nil {
			return err
		}
		if n > 0 {
			return invalidValue("Network %s already has an internet gateway attached", vpc.V.ID)
		}
		v := row.Copy()
		v.VPCID = vpc.V.ID
		tx := store.NewTxn()
		// Rewriting the VPC keeps two gateways from being attached at once.
		tables.VPCs.Replace(tx, vpc, vpc.Copy())
		tables.InternetGateways.Replace(tx, row, v)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	return &ec2.AttachInternetGatewayOutput{}, err
}

// DetachInternetGateway parts a gateway from its VPC, unless an interface
// there has a public address.
func (s *Service) DetachInternetGateway(ctx context.Context, in *ec2.DetachInternetGatewayInput) (*ec2.DetachInternetGatewayOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	row, err := internetGateways.get(ctx, s, call, deref(in.InternetGatewayId))
	if err != nil {
		return nil, err
	}
	vpc, err := vpcs.get(ctx, s, call, deref(in.VpcId))
	if err != nil {
		return nil, err
	}
	n, err := countRows(ctx, s, tables.NetworkInterfaces, store.Query{
		Account: call.Account, Region: call.Region, Index: store.Index{Name: tables.ByVPC, Value: vpc.V.ID},
	}, func(e *model.NetworkInterface) bool { return e.Association != nil || len(e.SecondaryAssociations) > 0 })
	if err != nil {
		return nil, err
	}
	if n > 0 && row.V.VPCID == vpc.V.ID {
		return nil, api.NewFault("DependencyViolation", "Network %s has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.", vpc.V.ID)
	}
	_, err = tables.InternetGateways.Update(ctx, s.store, call.Account, call.Region, row.V.ID, func(v *model.InternetGateway) error {
		if v.VPCID != vpc.V.ID {
			return api.NewFault("Gateway.NotAttached", "resource %s is not attached to network %s", v.ID, vpc.V.ID)
		}
		v.VPCID = ""
		return nil
	})
	return &ec2.DetachInternetGatewayOutput{}, err
}

// DeleteInternetGateway deletes a detached gateway.
func (s *Service) DeleteInternetGateway(ctx context.Context, in *ec2.DeleteInternetGatewayInput) (*ec2.DeleteInternetGatewayOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	err = retry(func() error {
		row, err := internetGateways.get(ctx, s, call, deref(in.InternetGatewayId))
		if err != nil {
			return err
		}
		if row.V.VPCID != "" {
			return nounIGW.hasDependencies(row.V.ID)
		}
		tx := store.NewTxn()
		tables.InternetGateways.Delete(tx, row)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	return &ec2.DeleteInternetGatewayOutput{}, err
}
