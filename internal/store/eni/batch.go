package eni

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/address"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Batch adds several interfaces to one transaction, so that all of them are
// made or none, each with addresses of its own. It is for one attempt: after
// a conflict, make a new one. Not safe for concurrent use.
type Batch struct {
	tx *store.Txn
	// private are the addresses in use by subnet, public those of all.
	private map[string]map[netip.Addr]bool
	public  map[netip.Addr]bool
}

// NewBatch adds to tx.
func NewBatch(tx *store.Txn) *Batch {
	return &Batch{tx: tx, private: map[string]map[netip.Addr]bool{}}
}

// Add adds to the transaction an interface in a subnet. Refusals are *Error.
// Spec.With is called once.
func (b *Batch) Add(ctx context.Context, s store.Store, now time.Time, spec Spec) (*model.NetworkInterface, error) {
	tx := b.tx
	if spec.ID == "" {
		spec.ID = NewID()
	}
	subnet, err := tables.Subnets.Get(ctx, s, spec.Account, spec.Region, spec.SubnetID)
	if errors.Is(err, store.ErrNotFound) || err == nil && subnet.V.Deleting {
		return nil, refuse("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", spec.SubnetID)
	}
	if err != nil {
		return nil, err
	}
	tables.Subnets.Check(tx, subnet)

	var groups []string
	if len(spec.GroupIDs) > 0 || !spec.NoGroups {
		groups, err = checkGroups(ctx, s, tx, spec.Account, spec.Region, subnet.V.VPCID, spec.SubnetID, spec.GroupIDs)
		if err != nil {
			return nil, err
		}
	}
	v := &model.NetworkInterface{
		ID: spec.ID, Owner: spec.Account, VPCID: subnet.V.VPCID, SubnetID: subnet.V.ID, Zone: subnet.V.Zone,
		Description: spec.Description, MAC: NewMAC(), GroupIDs: groups,
		InterfaceType: spec.InterfaceType, RequesterID: spec.RequesterID, RequesterManaged: spec.RequesterManaged,
		Status: model.NetworkInterfaceAvailable, Tags: spec.Tags, CreatedAt: now,
	}
	if v.InterfaceType == "" {
		v.InterfaceType = "interface"
	}
	if spec.Attachment != nil {
		a := *spec.Attachment
		if a.ID == "" {
			a.ID = id.Resource("eni-attach")
		}
		if a.Status == "" {
			a.Status = model.AttachmentAttached
		}
		if a.AttachedAt.IsZero() {
			a.AttachedAt = now
		}
		v.Attachment, v.Status = &a, model.NetworkInterfaceInUse
	}
	asked := append([]netip.Addr{spec.PrivateIP}, spec.SecondaryIPs...)
	for range spec.SecondaryCount {
		asked = append(asked, netip.Addr{})
	}
	got, err := b.claimPrivate(ctx, s, subnet, v.ID, asked)
	if err != nil {
		return nil, err
	}
	v.PrivateIP, v.SecondaryIPs = got[0], got[1:]
	if spec.AssignPublicIP {
		ip, err := b.ClaimPublic(ctx, s, spec.Account, spec.Region, v.ID)
		if err != nil {
			return nil, err
		}
		v.Association = &model.NetworkInterfaceAssociation{PublicIP: ip, OwnerID: model.AmazonAccount}
	}
	if spec.AllocationID != "" {
		if v.Association, err = takeElastic(ctx, s, tx, spec.Region, spec.AllocationID, v); err != nil {
			return nil, err
		}
	}
	tables.NetworkInterfaces.Create(tx, spec.Account, spec.Region, v.ID, v)
	if spec.With != nil {
		if err := spec.With(tx, v); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// claimPrivate claims one address for each one asked for; zero ones are
// chosen.
func (b *Batch) claimPrivate(ctx context.Context, s store.Store, subnet store.Row[model.Subnet], eniID string, asked []netip.Addr) ([]netip.Addr, error) {
	account, region := subnet.Key.Account, subnet.Key.Region
	cidr := subnet.V.CIDR
	used, err := b.usedIn(ctx, s, subnet)
	if err != nil {
		return nil, err
	}
	for _, a := range asked {
		if !a.IsValid() {
			continue
		}
		switch {
		case !cidr.Contains(a):
			return nil, refuse("InvalidParameterValue", "Address does not fall within the subnet's address range")
		case address.IsReserved(cidr, a):
			return nil, refuse("InvalidParameterValue", "Address is in subnet's reserved address range")
		case used[a]:
			return nil, refuse("InvalidIPAddress.InUse", "Address %s is in use.", a)
		}
		used[a] = true
	}
	got := make([]netip.Addr, len(asked))
	for i, a := range asked {
		if !a.IsValid() {
			var ok bool
			if a, ok = address.Pick(cidr, eniID, func(a netip.Addr) bool { return used[a] }); !ok {
				return nil, refuse("InsufficientFreeAddressesInSubnet", "The specified subnet does not have enough free addresses to satisfy the request.")
			}
			used[a] = true
		}
		got[i] = a
		tables.PrivateAddressClaims.Create(b.tx, account, region, subnet.V.ID+"/"+a.String(), &model.PrivateAddressClaim{NetworkInterfaceID: eniID})
	}
	return got, nil
}

// usedIn are a subnet's addresses that are taken, by others and in the batch.
func (b *Batch) usedIn(ctx context.Context, s store.Store, subnet store.Row[model.Subnet]) (map[netip.Addr]bool, error) {
	if used := b.private[subnet.V.ID]; used != nil {
		return used, nil
	}
	claims, err := tables.PrivateAddressClaims.List(ctx, s, store.Query{Account: subnet.Key.Account, Region: subnet.Key.Region, Prefix: subnet.V.ID + "/"})
	if err != nil {
		return nil, err
	}
	used := make(map[netip.Addr]bool, len(claims))
	for _, c := range claims {
		if a, err := netip.ParseAddr(strings.TrimPrefix(c.Key.ID, subnet.V.ID+"/")); err == nil {
			used[a] = true
		}
	}
	b.private[subnet.V.ID] = used
	return used, nil
}

// ClaimPublic adds the claim of a free public address for holder, an
// interface's or an elastic address's id. When someone else takes the address
// first, the transaction fails with store.ErrConflict.
func (b *Batch) ClaimPublic(ctx context.Context, s store.Store, account, region, holder string) (netip.Addr, error) {
	pool, err := PublicPool(ctx, s)
	if err != nil {
		return netip.Addr{}, err
	}
	if b.public == nil {
		claims, err := tables.PublicAddressClaims.List(ctx, s, store.Query{Account: model.AmazonAccount})
		if err != nil {
			return netip.Addr{}, err
		}
		b.public = make(map[netip.Addr]bool, len(claims))
		for _, c := range claims {
			if a, err := netip.ParseAddr(c.Key.ID); err == nil {
				b.public[a] = true
			}
		}
	}
	ip, ok := address.PickPublic(pool, holder, func(a netip.Addr) bool { return b.public[a] })
	if !ok {
		return netip.Addr{}, refuse("InsufficientAddressCapacity", "There are no public addresses left.")
	}
	b.public[ip] = true
	tables.PublicAddressClaims.Create(b.tx, model.AmazonAccount, "", ip.String(),
		&model.PublicAddressClaim{Account: account, Region: region, Holder: holder})
	return ip, nil
}

// Free is how many addresses of a subnet are left.
func (b *Batch) Free(ctx context.Context, s store.Store, subnet store.Row[model.Subnet]) (int, error) {
	used, err := b.usedIn(ctx, s, subnet)
	return address.Capacity(subnet.V.CIDR) - len(used), err
}
