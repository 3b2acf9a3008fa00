package eni

import (
	"context"
	"errors"
	"hash/fnv"
	"net/netip"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// DefaultPublicPool is where public addresses come from unless SetPublicPool
// chose another range. It lies in the range that is kept for benchmarks
// (RFC 2544), which no host on the internet has.
var DefaultPublicPool = netip.MustParsePrefix("198.18.0.0/20")

// PoolFor is the range of an instance of Roadstead on a host, by the
// instance's name, so that several rarely share one.
func PoolFor(instance string) netip.Prefix {
	h := fnv.New32a()
	_, _ = h.Write([]byte(instance))
	const pools = 32 // blocks of 2^12 addresses in 198.18.0.0/15
	k := h.Sum32() % pools << 12
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18 + byte(k>>16), byte(k >> 8), 0}), 20)
}

// SetPublicPool records the range that public addresses come from. Once
// there is one it stays: addresses may have been given out of it.
func SetPublicPool(ctx context.Context, s store.Store, pool netip.Prefix) error {
	tx := store.NewTxn()
	tables.PublicPools.Create(tx, model.AmazonAccount, "", model.PublicPoolID, &model.PublicPool{Prefix: pool.Masked()})
	if _, err := tx.Commit(ctx, s); err != nil && !errors.Is(err, store.ErrConflict) {
		return err
	}
	return nil
}

// PublicPool is the range that public addresses come from.
func PublicPool(ctx context.Context, s store.Store) (netip.Prefix, error) {
	row, err := tables.PublicPools.Get(ctx, s, model.AmazonAccount, "", model.PublicPoolID)
	if errors.Is(err, store.ErrNotFound) {
		return DefaultPublicPool, nil
	}
	if err != nil {
		return netip.Prefix{}, err
	}
	return row.V.Prefix, nil
}

// ClaimPublic adds to tx the claim of a free public address for holder, an
// interface's or an elastic address's id. When someone else takes the address
// first, tx fails with store.ErrConflict.
func ClaimPublic(ctx context.Context, s store.Store, tx *store.Txn, account, region, holder string) (netip.Addr, error) {
	return NewBatch(tx).ClaimPublic(ctx, s, account, region, holder)
}

// takeElastic adds to tx that a new interface has a free elastic address.
func takeElastic(ctx context.Context, s store.Store, tx *store.Txn, region, allocation string, v *model.NetworkInterface) (*model.NetworkInterfaceAssociation, error) {
	row, err := tables.Addresses.Get(ctx, s, v.Owner, region, allocation)
	if errors.Is(err, store.ErrNotFound) {
		return nil, refuse("InvalidAllocationID.NotFound", "The allocation ID '%s' does not exist", allocation)
	}
	if err != nil {
		return nil, err
	}
	if row.V.AssociationID != "" {
		return nil, refuse("Resource.AlreadyAssociated", "Elastic IP address [%s] is already associated", allocation)
	}
	a := row.Copy()
	a.AssociationID, a.NetworkInterfaceID, a.PrivateIP = id.Resource("eipassoc"), v.ID, v.PrivateIP
	tables.Addresses.Replace(tx, row, a)
	return &model.NetworkInterfaceAssociation{PublicIP: a.PublicIP, AllocationID: a.ID, AssociationID: a.AssociationID, OwnerID: a.Owner}, nil
}

// ReleasePublic adds to tx that the address is free again.
func ReleasePublic(ctx context.Context, s store.Store, tx *store.Txn, ip netip.Addr) error {
	row, err := tables.PublicAddressClaims.Get(ctx, s, model.AmazonAccount, "", ip.String())
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	tables.PublicAddressClaims.Delete(tx, row)
	return nil
}
