package ec2

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

var vpcs = kind[model.VPC]{
	noun: nounVPC, table: tables.VPCs,
	id:     func(v *model.VPC) string { return v.ID },
	tags:   func(v *model.VPC) model.Tags { return v.Tags },
	hidden: func(v *model.VPC) bool { return v.Deleting },
	field: func(v *model.VPC, name string) ([]string, bool) {
		switch name {
		case "vpc-id":
			return one(v.ID)
		case "cidr", "cidrBlock", "cidr-block":
			return one(v.CIDR.String())
		case "cidr-block-association.cidr-block", "cidr-block-association.association-id", "cidr-block-association.state":
			var out []string
			for _, c := range v.CIDRs {
				switch name {
				case "cidr-block-association.cidr-block":
					out = append(out, c.CIDR.String())
				case "cidr-block-association.association-id":
					out = append(out, c.AssociationID)
				default:
					out = append(out, "associated")
				}
			}
			return out, true
		case "is-default", "isDefault":
			return oneBool(v.IsDefault)
		case "owner-id":
			return one(v.Owner)
		case "state":
			return one("available")
		case "dhcp-options-id", "dhcpOptionsId":
			return one(v.DHCPOptionsID)
		case "ipv6-cidr-block-association.ipv6-cidr-block", "ipv6-cidr-block-association.association-id":
			return nil, true
		}
		return nil, false
	},
}

func vpcOut(v *model.VPC, state ec2.VpcState) *ec2.Vpc {
	out := &ec2.Vpc{
		VpcId: new(v.ID), OwnerId: new(v.Owner), CidrBlock: new(v.CIDR.String()), IsDefault: new(v.IsDefault),
		DhcpOptionsId: new(v.DHCPOptionsID), InstanceTenancy: ec2.Tenancy(v.Tenancy), State: state, Tags: tagsOut(v.Tags),
	}
	for _, c := range v.CIDRs {
		out.CidrBlockAssociationSet = append(out.CidrBlockAssociationSet, cidrOut(c, "associated"))
	}
	return out
}

func cidrOut(c model.VPCCIDR, state ec2.VpcCidrBlockStateCode) ec2.VpcCidrBlockAssociation {
	return ec2.VpcCidrBlockAssociation{
		AssociationId: new(c.AssociationID), CidrBlock: new(c.CIDR.String()), CidrBlockState: &ec2.VpcCidrBlockState{State: state},
	}
}

// parseCIDR reads an IPv4 block of a VPC or a subnet, and cuts off what is
// behind its length, as EC2 does.
func parseCIDR(s, rangeCode string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil || !p.Addr().Is4() {
		return p, invalidValue("Value (%s) for parameter cidrBlock is invalid. This is not a valid CIDR block.", s)
	}
	if p.Bits() < 16 || p.Bits() > 28 {
		return p, api.NewFault(rangeCode, "The CIDR '%s' is invalid.", s)
	}
	return p.Masked(), nil
}

// CreateVpc makes a VPC with its main route table, default group and ACL.
func (s *Service) CreateVpc(ctx context.Context, in *ec2.CreateVpcInput) (*ec2.CreateVpcOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	if deref(in.AmazonProvidedIpv6CidrBlock) || in.Ipv6CidrBlock != nil || in.Ipv6Pool != nil || in.Ipv6IpamPoolId != nil {
		return nil, unsupported("IPv6")
	}
	if in.Ipv4IpamPoolId != nil {
		return nil, unsupported("IPAM pools")
	}
	if in.InstanceTenancy == ec2.TenancyHost {
		return nil, invalidValue("Value (host) for parameter instanceTenancy is invalid. Use default or dedicated.")
	}
	if in.CidrBlock == nil {
		return nil, api.NewFault("MissingParameter", "Either 'cidrBlock' or 'ipv4IpamPoolId' should be provided.")
	}
	cidr, err := parseCIDR(*in.CidrBlock, "InvalidVpc.Range")
	if err != nil {
		return nil, err
	}
	tags, err := tagsFor(typeVPC, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	tx := store.NewTxn()
	v, table := newVPC(tx, call.Account, call.Region, cidr, call.Time, func(v *model.VPC) {
		v.Tags = tags
		if in.InstanceTenancy != "" {
			v.Tenancy = string(in.InstanceTenancy)
		}
	})
	tables.RouteTables.Create(tx, call.Account, call.Region, table.ID, table)
	if _, err := tx.Commit(ctx, s.store); err != nil {
		return nil, err
	}
	return &ec2.CreateVpcOutput{Vpc: vpcOut(v, ec2.VpcStatePending)}, nil
}

// CreateDefaultVpc makes the default VPC again after it was deleted.
func (s *Service) CreateDefaultVpc(ctx context.Context, in *ec2.CreateDefaultVpcInput) (*ec2.CreateDefaultVpcOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	all, err := vpcs.all(ctx, s, call)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(all, func(v *model.VPC) bool { return v.IsDefault }); i >= 0 {
		return nil, api.NewFault("DefaultVpcAlreadyExists", "A Default VPC already exists for this account in this region.")
	}
	var v *model.VPC
	err = retry(func() error {
		// The marker is rewritten so that two of these cannot both succeed.
		marker, err := tables.RegionDefaults.Get(ctx, s.store, call.Account, call.Region, "defaults")
		if err != nil {
			return err
		}
		tx := store.NewTxn()
		tables.RegionDefaults.Replace(tx, marker, &model.RegionDefaults{CreatedAt: call.Time})
		v = defaultVPC(tx, call.Account, call.Region, call.Time)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ec2.CreateDefaultVpcOutput{Vpc: vpcOut(v, ec2.VpcStatePending)}, nil
}

// DescribeVpcs lists VPCs.
func (s *Service) DescribeVpcs(ctx context.Context, in *ec2.DescribeVpcsInput) (*ec2.DescribeVpcsOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	found, next, err := vpcs.describe(ctx, s, call, query{"DescribeVpcs", in.VpcIds, in.Filters, in.MaxResults, in.NextToken})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeVpcsOutput{NextToken: next}
	for _, v := range found {
		out.Vpcs = append(out.Vpcs, *vpcOut(v, ec2.VpcStateAvailable))
	}
	return out, nil
}

// DeleteVpc deletes a VPC that holds nothing but what it was made with. A
// default VPC's subnets must be deleted first too.
func (s *Service) DeleteVpc(ctx context.Context, in *ec2.DeleteVpcInput) (*ec2.DeleteVpcOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	vid := deref(in.VpcId)
	row, err := tables.VPCs.Get(ctx, s.store, call.Account, call.Region, vid)
	if err != nil {
		return nil, nounVPC.orMissing(err, vid)
	}
	v := row.V
	q := store.Query{Account: call.Account, Region: call.Region, Index: store.Index{Name: tables.ByVPC, Value: vid}}
	check := func() error {
		for _, count := range []func() (int, error){
			func() (int, error) { return countRows(ctx, s, tables.Subnets, q, nil) },
			func() (int, error) { return countRows(ctx, s, tables.NetworkInterfaces, q, nil) },
			func() (int, error) { return countRows(ctx, s, tables.InternetGateways, q, nil) },
			func() (int, error) {
				return countRows(ctx, s, tables.NatGateways, q, func(n *model.NatGateway) bool { return n.State != model.NatGatewayDeleted })
			},
			func() (int, error) {
				return countRows(ctx, s, tables.SecurityGroups, q, func(g *model.SecurityGroup) bool { return g.ID != v.DefaultGroupID })
			},
			func() (int, error) {
				return countRows(ctx, s, tables.RouteTables, q, func(t *model.RouteTable) bool { return t.ID != v.MainRouteTableID })
			},
			func() (int, error) {
				return countRows(ctx, s, tables.NetworkACLs, q, func(a *model.NetworkACL) bool { return !a.IsDefault })
			},
		} {
			n, err := count()
			if err != nil {
				return err
			}
			if n > 0 {
				return nounVPC.hasDependencies(vid)
			}
		}
		return nil
	}
	err = inUse(ctx, s, tables.VPCs, row, func(v *model.VPC) *bool { return &v.Deleting }, check, func(tx *store.Txn) error {
		if err := deleteAll(ctx, s, tx, tables.RouteTables, q); err != nil {
			return err
		}
		if err := deleteAll(ctx, s, tx, tables.NetworkACLs, q); err != nil {
			return err
		}
		if err := deleteAll(ctx, s, tx, tables.SecurityGroups, q); err != nil {
			return err
		}
		name, err := tables.SecurityGroupNames.Get(ctx, s.store, call.Account, call.Region, groupName(vid, "default"))
		if err == nil {
			tables.SecurityGroupNames.Delete(tx, name)
		}
		return nil
	})
	return &ec2.DeleteVpcOutput{}, err
}

func countRows[T any](ctx context.Context, s *Service, t *store.Table[T], q store.Query, counts func(*T) bool) (int, error) {
	rows, err := t.List(ctx, s.store, q)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, r := range rows {
		if counts == nil || counts(r.V) {
			n++
		}
	}
	return n, nil
}

func deleteAll[T any](ctx context.Context, s *Service, tx *store.Txn, t *store.Table[T], q store.Query) error {
	rows, err := t.List(ctx, s.store, q)
	for _, r := range rows {
		t.Delete(tx, r)
	}
	return err
}

// DescribeVpcAttribute tells one attribute of a VPC.
func (s *Service) DescribeVpcAttribute(ctx context.Context, in *ec2.DescribeVpcAttributeInput) (*ec2.DescribeVpcAttributeOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	row, err := vpcs.get(ctx, s, call, deref(in.VpcId))
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeVpcAttributeOutput{VpcId: in.VpcId}
	switch in.Attribute {
	case ec2.VpcAttributeNameEnableDnsSupport:
		out.EnableDnsSupport = &ec2.AttributeBooleanValue{Value: new(row.V.EnableDNS)}
	case ec2.VpcAttributeNameEnableDnsHostnames:
		out.EnableDnsHostnames = &ec2.AttributeBooleanValue{Value: new(row.V.EnableHostname)}
	case ec2.VpcAttributeNameEnableNetworkAddressUsageMetrics:
		out.EnableNetworkAddressUsageMetrics = &ec2.AttributeBooleanValue{Value: new(false)}
	default:
		return nil, invalidValue("Value (%s) for parameter attribute is invalid.", in.Attribute)
	}
	return out, nil
}

// ModifyVpcAttribute sets one attribute of a VPC.
func (s *Service) ModifyVpcAttribute(ctx context.Context, in *ec2.ModifyVpcAttributeInput) (*ec2.ModifyVpcAttributeOutput, error) {
	call, err := s.change(ctx, nil)
	if err != nil {
		return nil, err
	}
	if err := oneAttribute(map[string]bool{
		"enableDnsSupport": in.EnableDnsSupport != nil, "enableDnsHostnames": in.EnableDnsHostnames != nil,
		"enableNetworkAddressUsageMetrics": in.EnableNetworkAddressUsageMetrics != nil,
	}); err != nil {
		return nil, err
	}
	if v := in.EnableNetworkAddressUsageMetrics; v != nil && deref(v.Value) {
		return nil, unsupported("metrics of the use of network addresses")
	}
	if _, err := vpcs.get(ctx, s, call, deref(in.VpcId)); err != nil {
		return nil, err
	}
	_, err = tables.VPCs.Update(ctx, s.store, call.Account, call.Region, *in.VpcId, func(v *model.VPC) error {
		set(&v.EnableDNS, in.EnableDnsSupport)
		set(&v.EnableHostname, in.EnableDnsHostnames)
		return nil
	})
	return &ec2.ModifyVpcAttributeOutput{}, nounVPC.orMissing(err, *in.VpcId)
}

// oneAttribute refuses a request that sets several attributes, or none.
func oneAttribute(given map[string]bool) error {
	var names []string
	for name, there := range given {
		if there {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	switch len(names) {
	case 0:
		return api.NewFault("InvalidParameterCombination", "No attributes specified.")
	case 1:
		return nil
	}
	return api.NewFault("InvalidParameterCombination", "Fields for multiple attribute types specified: %s", strings.Join(names, ", "))
}

func set(p *bool, v *ec2.AttributeBooleanValue) {
	if v != nil && v.Value != nil {
		*p = *v.Value
	}
}

// ModifyVpcTenancy sets a VPC's tenancy to default, the only change there is.
func (s *Service) ModifyVpcTenancy(ctx context.Context, in *ec2.ModifyVpcTenancyInput) (*ec2.ModifyVpcTenancyOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	if _, err := vpcs.get(ctx, s, call, deref(in.VpcId)); err != nil {
		return nil, err
	}
	_, err = tables.VPCs.Update(ctx, s.store, call.Account, call.Region, *in.VpcId, func(v *model.VPC) error {
		v.Tenancy = string(in.InstanceTenancy)
		return nil
	})
	return &ec2.ModifyVpcTenancyOutput{ReturnValue: new(true)}, err
}

// AssociateVpcCidrBlock gives a VPC a further block.
func (s *Service) AssociateVpcCidrBlock(ctx context.Context, in *ec2.AssociateVpcCidrBlockInput) (*ec2.AssociateVpcCidrBlockOutput, error) {
	call, err := s.change(ctx, nil)
	if err != nil {
		return nil, err
	}
	if in.CidrBlock == nil {
		return nil, unsupported("IPv6 and IPAM pools")
	}
	vid := deref(in.VpcId)
	if _, err := vpcs.get(ctx, s, call, vid); err != nil {
		return nil, err
	}
	cidr, err := parseCIDR(*in.CidrBlock, "InvalidVpc.Range")
	if err != nil {
		return nil, err
	}
	added := model.VPCCIDR{AssociationID: id.Resource("vpc-cidr-assoc"), CIDR: cidr}
	_, err = tables.VPCs.Update(ctx, s.store, call.Account, call.Region, vid, func(v *model.VPC) error {
		for _, c := range v.CIDRs {
			if c.CIDR.Overlaps(cidr) {
				return invalidValue("The CIDR '%s' conflicts with another block of the VPC", cidr)
			}
		}
		if len(v.CIDRs) >= 5 {
			return api.NewFault("CidrLimitExceeded", "This network '%s' has met its maximum number of allowed CIDRs: 5", vid)
		}
		v.CIDRs = append(v.CIDRs, added)
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := cidrOut(added, "associating")
	return &ec2.AssociateVpcCidrBlockOutput{VpcId: new(vid), CidrBlockAssociation: &out}, nil
}

// DisassociateVpcCidrBlock takes a block, not the primary one, from a VPC.
func (s *Service) DisassociateVpcCidrBlock(ctx context.Context, in *ec2.DisassociateVpcCidrBlockInput) (*ec2.DisassociateVpcCidrBlockOutput, error) {
	call, err := s.change(ctx, nil)
	if err != nil {
		return nil, err
	}
	aid := deref(in.AssociationId)
	all, err := vpcs.all(ctx, s, call)
	if err != nil {
		return nil, err
	}
	for _, v := range all {
		i := slices.IndexFunc(v.CIDRs, func(c model.VPCCIDR) bool { return c.AssociationID == aid })
		if i < 0 {
			continue
		}
		gone := v.CIDRs[i]
		if i == 0 {
			return nil, api.NewFault("OperationNotPermitted", "The vpc CIDR block with association ID %s may not be disassociated. It is the primary IPv4 CIDR block of the VPC", aid)
		}
		// Subnets are made with the VPC's record unchanged, so that none can
		// appear between this look and the write.
		err := retry(func() error {
			row, err := vpcs.get(ctx, s, call, v.ID)
			if err != nil {
				return err
			}
			subs, err := tables.Subnets.List(ctx, s.store, store.Query{Account: call.Account, Region: call.Region, Index: store.Index{Name: tables.ByVPC, Value: v.ID}})
			if err != nil {
				return err
			}
			for _, sub := range subs {
				if sub.V.CIDR.Overlaps(gone.CIDR) {
					return api.NewFault("DependencyViolation", "The vpc CIDR block with association ID %s has dependencies and cannot be disassociated", aid)
				}
			}
			changed := row.Copy()
			changed.CIDRs = slices.DeleteFunc(changed.CIDRs, func(c model.VPCCIDR) bool { return c.AssociationID == aid })
			tx := store.NewTxn()
			tables.VPCs.Replace(tx, row, changed)
			_, err = tx.Commit(ctx, s.store)
			return err
		})
		if err != nil {
			return nil, err
		}
		out := cidrOut(gone, "disassociating")
		return &ec2.DisassociateVpcCidrBlockOutput{VpcId: new(v.ID), CidrBlockAssociation: &out}, nil
	}
	return nil, api.NewFault("InvalidVpcCidrBlockAssociationID.NotFound", "The vpc CIDR block association ID '%s' does not exist", aid)
}
