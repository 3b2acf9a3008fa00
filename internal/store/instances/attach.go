package instances

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/instancetype"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// FreeDevice is the first device index of an instance, beyond the primary one,
// that no interface has. A refusal tells that its type has no more.
func FreeDevice(ctx context.Context, s store.Store, at Place, v *model.Instance) (int32, error) {
	used := map[int32]bool{}
	for _, id := range v.Spec.InterfaceIDs {
		row, err := tables.NetworkInterfaces.Get(ctx, s, at.Account, at.Region, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if a := row.V.Attachment; a != nil && a.InstanceID == v.ID {
			used[a.DeviceIndex] = true
		}
	}
	size, ok := instancetype.Find(v.Spec.Type)
	if ok && len(used) >= int(size.MaxInterfaces) {
		return 0, refuse("AttachmentLimitExceeded", fmt.Sprintf("Interface count %d exceeds the limit for %s", len(used)+1, size.Name))
	}
	index := int32(1)
	for used[index] {
		index++
	}
	return index, nil
}

// AddInterface adds to tx that an instance has one more interface. Two that
// were given the same device index cannot both be added.
func AddInterface(tx *store.Txn, row store.Row[model.Instance], id string) {
	v := row.Copy()
	v.Spec.InterfaceIDs = append(slices.Clone(v.Spec.InterfaceIDs), id)
	tables.Instances.Replace(tx, row, v)
}

// RemoveInterface adds to tx that an instance has an interface no more. An
// instance that is gone has none.
func RemoveInterface(ctx context.Context, s store.Store, tx *store.Txn, at Place, instanceID, id string) error {
	row, err := tables.Instances.Get(ctx, s, at.Account, at.Region, instanceID)
	if errors.Is(err, store.ErrNotFound) || err == nil && !slices.Contains(row.V.Spec.InterfaceIDs, id) {
		return nil
	}
	if err != nil {
		return err
	}
	v := row.Copy()
	v.Spec.InterfaceIDs = slices.DeleteFunc(slices.Clone(v.Spec.InterfaceIDs), func(x string) bool { return x == id })
	tables.Instances.Replace(tx, row, v)
	return nil
}
