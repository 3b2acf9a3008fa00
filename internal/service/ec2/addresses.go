package ec2

import (
	"context"
	"net/netip"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/eni"
	"roadstead.dev/internal/store/tables"
)

var addresses = kind[model.Address]{
	noun: nounAddress, table: tables.Addresses,
	id:   func(v *model.Address) string { return v.ID },
	tags: func(v *model.Address) model.Tags { return v.Tags },
	field: func(v *model.Address, name string) ([]string, bool) {
		some := func(s string) ([]string, bool) {
			if s == "" {
				return nil, true
			}
			return one(s)
		}
		switch name {
		case "allocation-id":
			return one(v.ID)
		case "association-id":
			return some(v.AssociationID)
		case "network-interface-id":
			return some(v.NetworkInterfaceID)
		case "instance-id":
			return some(v.InstanceID)
		case "public-ip":
			return one(v.PublicIP.String())
		case "private-ip-address":
			if !v.PrivateIP.IsValid() {
				return nil, true
			}
			return one(v.PrivateIP.String())
		case "network-interface-owner-id":
			if v.NetworkInterfaceID == "" {
				return nil, true
			}
			return one(v.Owner)
		case "domain":
			return one("vpc")
		case "network-border-group":
			return nil, true
		}
		return nil, false
	},
}

func addressOut(v *model.Address, region string) ec2.Address {
	out := ec2.Address{
		AllocationId: new(v.ID), PublicIp: new(v.PublicIP.String()), Domain: ec2.DomainTypeVpc,
		PublicIpv4Pool: new("amazon"), NetworkBorderGroup: new(region), Tags: tagsOut(v.Tags),
	}
	if v.AssociationID != "" {
		out.AssociationId, out.NetworkInterfaceId = new(v.AssociationID), new(v.NetworkInterfaceID)
		out.NetworkInterfaceOwnerId, out.PrivateIpAddress = new(v.Owner), new(v.PrivateIP.String())
		if v.InstanceID != "" {
			out.InstanceId = new(v.InstanceID)
		}
	}
	return out
}

// AllocateAddress allocates an elastic address.
func (s *Service) AllocateAddress(ctx context.Context, in *ec2.AllocateAddressInput) (*ec2.AllocateAddressOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.Domain == ec2.DomainTypeStandard || in.Address != nil || in.CustomerOwnedIpv4Pool != nil || in.IpamPoolId != nil || in.PublicIpv4Pool != nil && *in.PublicIpv4Pool != "amazon" {
		return nil, unsupported("addresses of EC2-Classic and of one's own pools")
	}
	tags, err := tagsFor(typeAddress, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	v := &model.Address{ID: id.Resource("eipalloc"), Owner: call.Account, Tags: tags, CreatedAt: call.Time}
	err = retry(func() error {
		tx := store.NewTxn()
		var err error
		if v.PublicIP, err = eni.ClaimPublic(ctx, s.store, tx, call.Account, call.Region, v.ID); err != nil {
			return err
		}
		tables.Addresses.Create(tx, call.Account, call.Region, v.ID, v)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ec2.AllocateAddressOutput{
		AllocationId: new(v.ID), PublicIp: new(v.PublicIP.String()), Domain: ec2.DomainTypeVpc, PublicIpv4Pool: new("amazon"), NetworkBorderGroup: new(call.Region),
	}, nil
}

// addressBy finds an address by its allocation or its public IP.
func (s *Service) addressBy(ctx context.Context, call *api.Call, allocation, public *string) (store.Row[model.Address], error) {
	if allocation != nil {
		return addresses.get(ctx, s, call, *allocation)
	}
	if public == nil {
		return store.Row[model.Address]{}, required("AllocationId")
	}
	all, err := addresses.all(ctx, s, call)
	if err != nil {
		return store.Row[model.Address]{}, err
	}
	i := slices.IndexFunc(all, func(a *model.Address) bool { return a.PublicIP.String() == *public })
	if i < 0 {
		return store.Row[model.Address]{}, api.NewFault("InvalidAddress.NotFound", "Address '%s' not found.", *public)
	}
	return addresses.get(ctx, s, call, all[i].ID)
}

// ReleaseAddress gives an elastic address that nothing uses back.
func (s *Service) ReleaseAddress(ctx context.Context, in *ec2.ReleaseAddressInput) (*ec2.ReleaseAddressOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	err = retry(func() error {
		row, err := s.addressBy(ctx, call, in.AllocationId, in.PublicIp)
		if err != nil {
			return err
		}
		if row.V.AssociationID != "" {
			return api.NewFault("InvalidIPAddress.InUse", "Address %s is in use.", row.V.PublicIP)
		}
		tx := store.NewTxn()
		if err := eni.ReleasePublic(ctx, s.store, tx, row.V.PublicIP); err != nil {
			return err
		}
		tables.Addresses.Delete(tx, row)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	return &ec2.ReleaseAddressOutput{}, err
}

// DescribeAddresses lists elastic addresses.
func (s *Service) DescribeAddresses(ctx context.Context, in *ec2.DescribeAddressesInput) (*ec2.DescribeAddressesOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	ids := slices.Clone(in.AllocationIds)
	for _, ip := range in.PublicIps {
		row, err := s.addressBy(ctx, call, nil, &ip)
		if err != nil {
			return nil, err
		}
		ids = append(ids, row.V.ID)
	}
	found, _, err := addresses.describe(ctx, s, call, query{op: "DescribeAddresses", ids: ids, filters: in.Filters})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeAddressesOutput{Addresses: []ec2.Address{}}
	for _, v := range found {
		out.Addresses = append(out.Addresses, addressOut(v, call.Region))
	}
	return out, nil
}

// DescribeAddressesAttribute lists addresses with a reverse name: none has
// one.
func (s *Service) DescribeAddressesAttribute(ctx context.Context, in *ec2.DescribeAddressesAttributeInput) (*ec2.DescribeAddressesAttributeOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	for _, aid := range in.AllocationIds {
		if _, err := addresses.get(ctx, s, call, aid); err != nil {
			return nil, err
		}
	}
	return &ec2.DescribeAddressesAttributeOutput{}, nil
}

// AssociateAddress gives an interface an elastic address. It takes the place
// of a public address that the interface has of itself.
func (s *Service) AssociateAddress(ctx context.Context, in *ec2.AssociateAddressInput) (*ec2.AssociateAddressOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	nic := deref(in.NetworkInterfaceId)
	switch {
	case in.InstanceId != nil:
		if nic, err = s.interfaceFor(ctx, call, *in.InstanceId, nic); err != nil {
			return nil, err
		}
	case in.NetworkInterfaceId == nil:
		return nil, api.NewFault("MissingParameter", "Either an instance ID or a network interface ID must be specified")
	}
	aid, err := s.associate(ctx, call, in.AllocationId, in.PublicIp, nic, in.PrivateIpAddress, in.AllowReassociation == nil || *in.AllowReassociation)
	if err != nil {
		return nil, err
	}
	return &ec2.AssociateAddressOutput{AssociationId: new(aid)}, nil
}

// interfaceFor is the interface of an instance that an elastic address is
// for: its only one, unless one is named.
func (s *Service) interfaceFor(ctx context.Context, call *api.Call, instanceID, nic string) (string, error) {
	row, err := s.living(ctx, call, instanceID)
	if err != nil {
		return "", err
	}
	own := row.V.Spec.InterfaceIDs
	switch {
	case nic == "" && len(own) == 1:
		return own[0], nil
	case nic == "":
		return "", api.NewFault("InvalidInstanceID", "There are multiple interfaces attached to instance '%s'. Please specify an interface ID for the operation instead.", instanceID)
	case !slices.Contains(own, nic):
		return "", api.NewFault("InvalidParameterCombination", "The network interface '%s' is not attached to the instance '%s'", nic, instanceID)
	}
	return nic, nil
}

func (s *Service) associate(ctx context.Context, call *api.Call, allocation, public *string, eniID string, private *string, move bool) (string, error) {
	aid := id.Resource("eipassoc")
	err := retry(func() error {
		addr, err := s.addressBy(ctx, call, allocation, public)
		if err != nil {
			return err
		}
		row, err := interfaces.get(ctx, s, call, eniID)
		if err != nil {
			return err
		}
		v := row.Copy()
		own := v.PrivateIP
		if private != nil {
			if own, err = parseAddr(*private); err != nil {
				return err
			}
			if !slices.Contains(v.PrivateIPs(), own) {
				return invalidValue("The private IP address %s is not associated with the network interface %s", own, eniID)
			}
		}
		tx := store.NewTxn()
		if err := s.needsGateway(ctx, call, tx, v.VPCID); err != nil {
			return err
		}
		if held := addr.V.NetworkInterfaceID; held != "" {
			if held == eniID && addr.V.PrivateIP == own {
				aid = addr.V.AssociationID
				return nil
			}
			if !move {
				return api.NewFault("Resource.AlreadyAssociated", "resource %s is already associated with associate-id %s", addr.V.ID, addr.V.AssociationID)
			}
			if held == eniID {
				v.Associate(addr.V.PrivateIP, nil)
			} else if old, err := interfaces.get(ctx, s, call, held); err == nil {
				was := old.Copy()
				was.Associate(addr.V.PrivateIP, nil)
				tables.NetworkInterfaces.Replace(tx, old, was)
			}
		}
		if as := v.AssociationOf(own); as != nil {
			if as.AllocationID != "" {
				if !move {
					return api.NewFault("Resource.AlreadyAssociated", "resource %s is already associated with address %s", eniID, as.PublicIP)
				}
				if err := s.free(ctx, call, tx, as.AllocationID); err != nil {
					return err
				}
			} else if err := eni.ReleasePublic(ctx, s.store, tx, as.PublicIP); err != nil {
				return err
			}
		}
		a := addr.Copy()
		a.AssociationID, a.NetworkInterfaceID, a.PrivateIP = aid, eniID, own
		if v.Attachment != nil {
			a.InstanceID = v.Attachment.InstanceID
		}
		v.Associate(own, &model.NetworkInterfaceAssociation{PublicIP: a.PublicIP, AllocationID: a.ID, AssociationID: aid, OwnerID: a.Owner})
		tables.Addresses.Replace(tx, addr, a)
		tables.NetworkInterfaces.Replace(tx, row, v)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	return aid, err
}

// free adds to tx that an elastic address is in use no more.
func (s *Service) free(ctx context.Context, call *api.Call, tx *store.Txn, allocation string) error {
	row, err := addresses.get(ctx, s, call, allocation)
	if err != nil {
		return err
	}
	a := row.Copy()
	a.AssociationID, a.NetworkInterfaceID, a.InstanceID, a.PrivateIP = "", "", "", netip.Addr{}
	tables.Addresses.Replace(tx, row, a)
	return nil
}

// DisassociateAddress takes an elastic address from its interface.
func (s *Service) DisassociateAddress(ctx context.Context, in *ec2.DisassociateAddressInput) (*ec2.DisassociateAddressOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	err = retry(func() error {
		all, err := addresses.all(ctx, s, call)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(a *model.Address) bool {
			return a.AssociationID != "" && (a.AssociationID == deref(in.AssociationId) || in.AssociationId == nil && a.PublicIP.String() == deref(in.PublicIp))
		})
		if i < 0 {
			return noAssociation(deref(in.AssociationId))
		}
		tx := store.NewTxn()
		if row, err := interfaces.get(ctx, s, call, all[i].NetworkInterfaceID); err == nil {
			if row.V.InterfaceType == "nat_gateway" {
				return api.NewFault("AuthFailure", "You do not have permission to access the specified resource.")
			}
			v := row.Copy()
			v.Associate(all[i].PrivateIP, nil)
			tables.NetworkInterfaces.Replace(tx, row, v)
		}
		if err := s.free(ctx, call, tx, all[i].ID); err != nil {
			return err
		}
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	return &ec2.DisassociateAddressOutput{}, err
}
