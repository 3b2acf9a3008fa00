package instances

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/instancetype"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/eni"
	"roadstead.dev/internal/store/tables"
)

// Attach puts an interface into an instance that runs or is stopped, and tells
// the attachment's id. In one that runs it is attaching until Settle. Refusals
// are *Error.
func Attach(ctx context.Context, s store.Store, at Place, now time.Time, instanceID, eniID string, index int32) (string, error) {
	attachment := id.Resource("eni-attach")
	return attachment, again(func() error {
		row, err := Find(ctx, s, at, instanceID)
		if err != nil {
			return err
		}
		nic, err := tables.NetworkInterfaces.Get(ctx, s, at.Account, at.Region, eniID)
		if errors.Is(err, store.ErrNotFound) {
			return noInterface(eniID)
		}
		if err != nil {
			return err
		}
		v, e, tx := row.Copy(), nic.Copy(), store.NewTxn()
		if err := attachable(ctx, s, at, v, e, index); err != nil {
			return err
		}
		e.Status = model.NetworkInterfaceInUse
		e.Attachment = &model.NetworkInterfaceAttachment{
			ID: attachment, Status: model.AttachmentAttached, InstanceID: v.ID, InstanceOwnerID: at.Account, DeviceIndex: index, AttachedAt: now,
		}
		if v.State() == model.InstanceRunning {
			e.Attachment.Status = model.AttachmentAttaching
		}
		v.Spec.InterfaceIDs = append(v.Spec.InterfaceIDs, e.ID)
		tables.Instances.Replace(tx, row, v)
		tables.NetworkInterfaces.Replace(tx, nic, e)
		if err := named(ctx, s, tx, nic, v.ID); err != nil {
			return err
		}
		_, err = tx.Commit(ctx, s)
		return err
	})
}

// attachable refuses what cannot be attached at the index.
func attachable(ctx context.Context, s store.Store, at Place, v *model.Instance, e *model.NetworkInterface, index int32) error {
	switch state := v.State(); {
	case state != model.InstanceRunning && state != model.InstanceStopped:
		return refuse("IncorrectState", "Instance '"+v.ID+"' is not 'running' or 'stopped'.")
	case e.RequesterManaged:
		return refuse("AuthFailure", "You do not have permission to access the specified resource.")
	case e.Attachment != nil:
		return refuse("InvalidNetworkInterface.InUse", "Interface: ["+e.ID+"] in use.")
	case e.Zone != v.Spec.Zone:
		return combination("You may not attach a network interface to an instance if they are not in the same availability zone")
	case e.VPCID != v.Spec.VPCID:
		return unsupported("attaching an interface of another VPC")
	case index < 0:
		return invalid(fmt.Sprintf("Invalid value '%d' for deviceIndex.", index))
	}
	for _, other := range v.Spec.InterfaceIDs {
		o, err := tables.NetworkInterfaces.Get(ctx, s, at.Account, at.Region, other)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err == nil && o.V.Attachment != nil && o.V.Attachment.InstanceID == v.ID && o.V.Attachment.DeviceIndex == index {
			return invalid(fmt.Sprintf("Instance '%s' already has an interface attached at device index '%d'.", v.ID, index))
		}
	}
	size, ok := instancetype.Find(v.Spec.Type)
	if n := len(v.Spec.InterfaceIDs) + 1; ok && n > int(size.MaxInterfaces) {
		return refuse("AttachmentLimitExceeded", fmt.Sprintf("Interface count %d exceeds the limit for %s", n, size.Name))
	}
	return nil
}

// Detach takes the interface with the attachment out of its instance: at once
// where that is stopped; one that runs has it until Settle. Refusals are *Error.
func Detach(ctx context.Context, s store.Store, at Place, attachment string) error {
	return again(func() error {
		rows, err := tables.NetworkInterfaces.List(ctx, s, store.Query{Account: at.Account, Region: at.Region})
		if err != nil {
			return err
		}
		i := slices.IndexFunc(rows, func(r eni.Row) bool { return r.V.Attachment != nil && r.V.Attachment.ID == attachment })
		if i < 0 {
			return refuse("InvalidAttachmentID.NotFound", "The attachment ID '"+attachment+"' does not exist")
		}
		nic := rows[i]
		switch a := nic.V.Attachment; {
		case nic.V.RequesterManaged || a.InstanceID == "":
			return refuse("AuthFailure", "You do not have permission to access the specified resource.")
		case a.DeviceIndex == 0:
			return refuse("OperationNotPermitted", "The network interface at device index 0 and networkCard index 0 cannot be detached.")
		case a.Status == model.AttachmentDetaching:
			return nil
		}
		row, err := Find(ctx, s, at, nic.V.Attachment.InstanceID)
		if err != nil {
			return err
		}
		tx := store.NewTxn()
		switch row.V.State() {
		case model.InstanceStopped:
			v := row.Copy()
			if err := free(ctx, s, tx, nic, v); err != nil {
				return err
			}
			tables.Instances.Replace(tx, row, v)
		case model.InstanceRunning:
			e := nic.Copy()
			e.Attachment.Status = model.AttachmentDetaching
			tables.NetworkInterfaces.Replace(tx, nic, e)
			tables.Instances.Check(tx, row)
		default:
			return refuse("IncorrectState", "Instance '"+row.V.ID+"' is not 'running' or 'stopped'.")
		}
		_, err = tx.Commit(ctx, s)
		return err
	})
}

// free adds to tx that an interface is nobody's any more, and takes it out of v.
func free(ctx context.Context, s store.Store, tx *store.Txn, nic eni.Row, v *model.Instance) error {
	e := nic.Copy()
	e.Attachment, e.Status = nil, model.NetworkInterfaceAvailable
	tables.NetworkInterfaces.Replace(tx, nic, e)
	v.Spec.InterfaceIDs = slices.DeleteFunc(v.Spec.InterfaceIDs, func(id string) bool { return id == e.ID })
	return named(ctx, s, tx, nic, "")
}

// Settle ends what is under way with the instance's interfaces: those that were
// attaching are attached, those that were detaching are free. Whoever has put
// them into the kernel, and taken them out, calls it.
func Settle(ctx context.Context, s store.Store, row store.Row[model.Instance]) error {
	v, tx := row.Copy(), store.NewTxn()
	for _, id := range row.V.Spec.InterfaceIDs {
		nic, err := tables.NetworkInterfaces.Get(ctx, s, row.Key.Account, row.Key.Region, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if a := nic.V.Attachment; a == nil || a.InstanceID != v.ID {
			continue
		}
		switch nic.V.Attachment.Status {
		case model.AttachmentAttaching:
			e := nic.Copy()
			e.Attachment.Status = model.AttachmentAttached
			tables.NetworkInterfaces.Replace(tx, nic, e)
		case model.AttachmentDetaching:
			if err := free(ctx, s, tx, nic, v); err != nil {
				return err
			}
		}
	}
	if tx.Empty() {
		return nil
	}
	tables.Instances.Replace(tx, row, v)
	_, err := tx.Commit(ctx, s)
	return err
}

// again tries f until it does not lose to somebody else.
func again(f func() error) error {
	var err error
	for range attempts {
		if err = f(); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("change an instance's interfaces: %w", err)
}
