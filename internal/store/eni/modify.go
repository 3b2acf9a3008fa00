package eni

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Modify changes an interface's record together with what it depends on.
// change gets a copy to alter and the transaction; it is called again for
// each attempt. store.ErrNotFound is wrapped when there is no interface.
func Modify(ctx context.Context, s store.Store, account, region, eniID string, change func(tx *store.Txn, row Row, v *model.NetworkInterface) error) (*model.NetworkInterface, error) {
	var err error
	for range attempts {
		var row Row
		if row, err = tables.NetworkInterfaces.Get(ctx, s, account, region, eniID); err != nil {
			return nil, err
		}
		v, tx := row.Copy(), store.NewTxn()
		if err = change(tx, row, v); err != nil {
			return nil, err
		}
		tables.NetworkInterfaces.Replace(tx, row, v)
		if _, err = tx.Commit(ctx, s); !errors.Is(err, store.ErrConflict) {
			return v, err
		}
	}
	return nil, err
}

// SetGroups gives an interface other security groups.
func SetGroups(ctx context.Context, s store.Store, account, region, eniID string, groupIDs []string) error {
	_, err := Modify(ctx, s, account, region, eniID, func(tx *store.Txn, _ Row, v *model.NetworkInterface) (err error) {
		v.GroupIDs, err = checkGroups(ctx, s, tx, account, region, v.VPCID, v.SubnetID, groupIDs)
		return err
	})
	return err
}

// AddAddresses gives an interface further private addresses: those asked for
// and count of any. It returns the new ones.
func AddAddresses(ctx context.Context, s store.Store, account, region, eniID string, asked []netip.Addr, count int) ([]netip.Addr, error) {
	for range count {
		asked = append(asked, netip.Addr{})
	}
	var got []netip.Addr
	_, err := Modify(ctx, s, account, region, eniID, func(tx *store.Txn, _ Row, v *model.NetworkInterface) error {
		subnet, err := tables.Subnets.Get(ctx, s, account, region, v.SubnetID)
		if err != nil {
			return err
		}
		if got, err = NewBatch(tx).claimPrivate(ctx, s, subnet, v.ID, asked); err != nil {
			return err
		}
		v.SecondaryIPs = append(v.SecondaryIPs, got...)
		return nil
	})
	return got, err
}

// RemoveAddresses frees further private addresses of an interface.
func RemoveAddresses(ctx context.Context, s store.Store, account, region, eniID string, addrs []netip.Addr) error {
	_, err := Modify(ctx, s, account, region, eniID, func(tx *store.Txn, row Row, v *model.NetworkInterface) error {
		for _, a := range addrs {
			i := slices.Index(v.SecondaryIPs, a)
			if i < 0 {
				return refuse("InvalidParameterValue", "Some of the specified addresses are not assigned to interface %s", eniID)
			}
			v.SecondaryIPs = slices.Delete(v.SecondaryIPs, i, i+1)
			if as := v.AssociationOf(a); as != nil {
				if err := dropAssociation(ctx, s, tx, row, as); err != nil {
					return err
				}
				v.Associate(a, nil)
			}
			if err := releasePrivate(ctx, s, tx, row, a); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}
