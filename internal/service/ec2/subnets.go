package ec2

import (
	"context"
	"net/netip"
	"slices"
	"strconv"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/address"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

var subnets = kind[model.Subnet]{
	noun: nounSubnet, table: tables.Subnets,
	id:     func(v *model.Subnet) string { return v.ID },
	tags:   func(v *model.Subnet) model.Tags { return v.Tags },
	hidden: func(v *model.Subnet) bool { return v.Deleting },
	field: func(v *model.Subnet, name string) ([]string, bool) {
		switch name {
		case "subnet-id":
			return one(v.ID)
		case "vpc-id":
			return one(v.VPCID)
		case "availability-zone", "availabilityZone":
			return one(v.Zone)
		case "availability-zone-id", "availabilityZoneId":
			return one(v.ZoneID)
		case "cidr", "cidrBlock", "cidr-block":
			return one(v.CIDR.String())
		case "default-for-az", "defaultForAz":
			return oneBool(v.DefaultForAZ)
		case "map-public-ip-on-launch":
			return oneBool(v.MapPublicIPOnLaunch)
		case "owner-id":
			return one(v.Owner)
		case "state":
			return one("available")
		case "subnet-arn":
			return one(subnetARN(v))
		case "ipv6-native", "enable-dns64", "map-customer-owned-ip-on-launch":
			return oneBool(false)
		case "private-dns-name-options-on-launch.hostname-type":
			return one(v.HostnameType)
		case "available-ip-address-count", "ipv6-cidr-block-association.ipv6-cidr-block",
			"ipv6-cidr-block-association.association-id", "ipv6-cidr-block-association.state", "outpost-arn", "customer-owned-ipv4-pool":
			return nil, true
		}
		return nil, false
	},
}

// regionOf is the region that a zone is in.
func regionOf(zone string) string {
	if zone == "" {
		return ""
	}
	return zone[:len(zone)-1]
}

func subnetARN(v *model.Subnet) string {
	return model.MakeARN("ec2", regionOf(v.Zone), v.Owner, "subnet/"+v.ID)
}

func (s *Service) subnetOut(ctx context.Context, call *api.Call, v *model.Subnet, state ec2.SubnetState) (*ec2.Subnet, error) {
	claims, err := tables.PrivateAddressClaims.List(ctx, s.store, store.Query{Account: call.Account, Region: call.Region, Prefix: v.ID + "/"})
	if err != nil {
		return nil, err
	}
	return &ec2.Subnet{
		SubnetId: new(v.ID), VpcId: new(v.VPCID), OwnerId: new(v.Owner), SubnetArn: new(subnetARN(v)), State: state,
		CidrBlock: new(v.CIDR.String()), AvailabilityZone: new(v.Zone), AvailabilityZoneId: new(v.ZoneID),
		AvailableIpAddressCount: new(int32(address.Capacity(v.CIDR) - len(claims))),
		DefaultForAz:            new(v.DefaultForAZ), MapPublicIpOnLaunch: new(v.MapPublicIPOnLaunch),
		AssignIpv6AddressOnCreation: new(false), EnableDns64: new(false), Ipv6Native: new(false), MapCustomerOwnedIpOnLaunch: new(false),
		PrivateDnsNameOptionsOnLaunch: &ec2.PrivateDnsNameOptionsOnLaunch{
			HostnameType: ec2.HostnameType(v.HostnameType), EnableResourceNameDnsARecord: new(v.EnableResourceNameA), EnableResourceNameDnsAAAARecord: new(false),
		},
		Tags: tagsOut(v.Tags),
	}, nil
}

// CreateSubnet makes a subnet in a VPC.
func (s *Service) CreateSubnet(ctx context.Context, in *ec2.CreateSubnetInput) (*ec2.CreateSubnetOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.Ipv6CidrBlock != nil || deref(in.Ipv6Native) || in.Ipv6IpamPoolId != nil || in.OutpostArn != nil || in.Ipv4IpamPoolId != nil {
		return nil, unsupported("IPv6, IPAM pools and Outposts")
	}
	if in.CidrBlock == nil {
		return nil, required("cidrBlock")
	}
	zone, err := zoneFor(call.Region, in.AvailabilityZone, in.AvailabilityZoneId)
	if err != nil {
		return nil, err
	}
	tags, err := tagsFor(typeSubnet, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	return s.createSubnet(ctx, call, deref(in.VpcId), func(v *model.VPC, others []*model.Subnet) (*model.Subnet, error) {
		cidr, err := parseCIDR(*in.CidrBlock, "InvalidSubnet.Range")
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(v.CIDRs, func(c model.VPCCIDR) bool { return c.CIDR.Contains(cidr.Addr()) && c.CIDR.Bits() <= cidr.Bits() }) {
			return nil, api.NewFault("InvalidSubnet.Range", "The CIDR '%s' is invalid.", *in.CidrBlock)
		}
		for _, o := range others {
			if o.CIDR.Overlaps(cidr) {
				return nil, api.NewFault("InvalidSubnet.Conflict", "The CIDR '%s' conflicts with another subnet", *in.CidrBlock)
			}
		}
		sub := newSubnet(v, cidr, zone, call.Time)
		sub.Tags = tags
		return sub, nil
	})
}

// createSubnet writes what decide makes of the VPC and its subnets. The VPC's
// record is rewritten with it, so that subnets of a VPC are made one after
// the other.
func (s *Service) createSubnet(ctx context.Context, call *api.Call, vpcID string, decide func(*model.VPC, []*model.Subnet) (*model.Subnet, error)) (*ec2.CreateSubnetOutput, error) {
	var sub *model.Subnet
	err := retry(func() error {
		row, err := vpcs.get(ctx, s, call, vpcID)
		if err != nil {
			return err
		}
		rows, err := tables.Subnets.List(ctx, s.store, store.Query{Account: call.Account, Region: call.Region, Index: store.Index{Name: tables.ByVPC, Value: vpcID}})
		if err != nil {
			return err
		}
		var others []*model.Subnet
		for _, r := range rows {
			others = append(others, r.V)
		}
		if sub, err = decide(row.V, others); err != nil {
			return err
		}
		tx := store.NewTxn()
		tables.VPCs.Replace(tx, row, row.Copy())
		tables.Subnets.Create(tx, call.Account, call.Region, sub.ID, sub)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	if err != nil {
		return nil, err
	}
	out, err := s.subnetOut(ctx, call, sub, ec2.SubnetStatePending)
	return &ec2.CreateSubnetOutput{Subnet: out}, err
}

// zoneFor finds a zone by its name or id; neither means the first.
func zoneFor(region string, name, zoneID *string) (model.AvailabilityZone, error) {
	zones := model.AvailabilityZones(region)
	if name == nil && zoneID == nil {
		return zones[0], nil
	}
	for _, z := range zones {
		if (name == nil || *name == z.Name) && (zoneID == nil || *zoneID == z.ID) {
			return z, nil
		}
	}
	asked, what := deref(name), "availabilityZone"
	if name == nil {
		asked, what = *zoneID, "availabilityZoneId"
	}
	return model.AvailabilityZone{}, invalidValue("Value (%s) for parameter %s is invalid. Subnets can currently only be created in the following availability zones: %s, %s, %s.",
		asked, what, zones[0].Name, zones[1].Name, zones[2].Name)
}

// CreateDefaultSubnet makes a default VPC's subnet of a zone again.
func (s *Service) CreateDefaultSubnet(ctx context.Context, in *ec2.CreateDefaultSubnetInput) (*ec2.CreateDefaultSubnetOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	zone, err := zoneFor(call.Region, in.AvailabilityZone, in.AvailabilityZoneId)
	if err != nil {
		return nil, err
	}
	all, err := vpcs.all(ctx, s, call)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(v *model.VPC) bool { return v.IsDefault })
	if i < 0 {
		return nil, api.NewFault("DefaultVpcDoesNotExist", "A Default VPC does not exist for this account in this region.")
	}
	out, err := s.createSubnet(ctx, call, all[i].ID, func(v *model.VPC, others []*model.Subnet) (*model.Subnet, error) {
		for _, o := range others {
			if o.DefaultForAZ && o.Zone == zone.Name {
				return nil, api.NewFault("DefaultSubnetAlreadyExistsInAvailabilityZone", "'%s' is already the default subnet in %s.", o.ID, zone.Name)
			}
		}
		for k := range 16 {
			cidr := netip.PrefixFrom(address.Nth(v.CIDR, k<<12), 20)
			if !slices.ContainsFunc(others, func(o *model.Subnet) bool { return o.CIDR.Overlaps(cidr) }) {
				sub := newSubnet(v, cidr, zone, call.Time)
				sub.DefaultForAZ, sub.MapPublicIPOnLaunch = true, true
				return sub, nil
			}
		}
		return nil, api.NewFault("InvalidSubnet.Conflict", "The default VPC has no free /20 block")
	})
	if err != nil {
		return nil, err
	}
	return &ec2.CreateDefaultSubnetOutput{Subnet: out.Subnet}, nil
}

// DescribeSubnets lists subnets.
func (s *Service) DescribeSubnets(ctx context.Context, in *ec2.DescribeSubnetsInput) (*ec2.DescribeSubnetsOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	// The count of free addresses is not in the record, so its filter comes
	// after the others.
	filters, counts := splitFilter(in.Filters, "available-ip-address-count")
	found, next, err := subnets.describe(ctx, s, call, query{"DescribeSubnets", in.SubnetIds, filters, in.MaxResults, in.NextToken})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeSubnetsOutput{NextToken: next}
	for _, v := range found {
		sub, err := s.subnetOut(ctx, call, v, ec2.SubnetStateAvailable)
		if err != nil {
			return nil, err
		}
		if counts != nil && !slices.Contains(counts, strconv.Itoa(int(*sub.AvailableIpAddressCount))) {
			continue
		}
		out.Subnets = append(out.Subnets, *sub)
	}
	return out, nil
}

// splitFilter takes the filter of a name out of filters.
func splitFilter(filters []ec2.Filter, name string) (rest []ec2.Filter, values []string) {
	for _, f := range filters {
		if deref(f.Name) == name {
			values = append(values, f.Values...)
		} else {
			rest = append(rest, f)
		}
	}
	return rest, values
}

// DeleteSubnet deletes a subnet without interfaces.
func (s *Service) DeleteSubnet(ctx context.Context, in *ec2.DeleteSubnetInput) (*ec2.DeleteSubnetOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	sid := deref(in.SubnetId)
	row, err := tables.Subnets.Get(ctx, s.store, call.Account, call.Region, sid)
	if err != nil {
		return nil, nounSubnet.orMissing(err, sid)
	}
	err = inUse(ctx, s, tables.Subnets, row, func(v *model.Subnet) *bool { return &v.Deleting }, func() error {
		n, err := countRows(ctx, s, tables.NetworkInterfaces, store.Query{
			Account: call.Account, Region: call.Region, Index: store.Index{Name: tables.BySubnet, Value: sid},
		}, nil)
		if err == nil && n > 0 {
			err = nounSubnet.hasDependencies(sid)
		}
		return err
	}, nil)
	return &ec2.DeleteSubnetOutput{}, err
}

// ModifySubnetAttribute sets attributes of a subnet.
func (s *Service) ModifySubnetAttribute(ctx context.Context, in *ec2.ModifySubnetAttributeInput) (*ec2.ModifySubnetAttributeOutput, error) {
	call, err := s.change(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, v := range []*ec2.AttributeBooleanValue{in.AssignIpv6AddressOnCreation, in.EnableDns64, in.EnableResourceNameDnsAAAARecordOnLaunch, in.MapCustomerOwnedIpOnLaunch} {
		if v != nil && deref(v.Value) {
			return nil, unsupported("IPv6 and customer-owned addresses")
		}
	}
	if in.EnableLniAtDeviceIndex != nil || in.CustomerOwnedIpv4Pool != nil {
		return nil, unsupported("Outposts")
	}
	if err := oneAttribute(map[string]bool{
		"assignIpv6AddressOnCreation": in.AssignIpv6AddressOnCreation != nil, "enableDns64": in.EnableDns64 != nil,
		"enableResourceNameDnsARecordOnLaunch":    in.EnableResourceNameDnsARecordOnLaunch != nil,
		"enableResourceNameDnsAAAARecordOnLaunch": in.EnableResourceNameDnsAAAARecordOnLaunch != nil,
		"mapCustomerOwnedIpOnLaunch":              in.MapCustomerOwnedIpOnLaunch != nil, "mapPublicIpOnLaunch": in.MapPublicIpOnLaunch != nil,
		"privateDnsHostnameTypeOnLaunch": in.PrivateDnsHostnameTypeOnLaunch != "", "disableLniAtDeviceIndex": in.DisableLniAtDeviceIndex != nil,
	}); err != nil {
		return nil, err
	}
	if _, err := subnets.get(ctx, s, call, deref(in.SubnetId)); err != nil {
		return nil, err
	}
	_, err = tables.Subnets.Update(ctx, s.store, call.Account, call.Region, *in.SubnetId, func(v *model.Subnet) error {
		set(&v.MapPublicIPOnLaunch, in.MapPublicIpOnLaunch)
		set(&v.EnableResourceNameA, in.EnableResourceNameDnsARecordOnLaunch)
		if in.PrivateDnsHostnameTypeOnLaunch != "" {
			v.HostnameType = string(in.PrivateDnsHostnameTypeOnLaunch)
		}
		return nil
	})
	return &ec2.ModifySubnetAttributeOutput{}, nounSubnet.orMissing(err, *in.SubnetId)
}
