package ec2

import (
	"context"
	"errors"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// DetachNetworkInterface takes a further interface from an instance that is
// stopped.
func (s *Service) DetachNetworkInterface(ctx context.Context, in *ec2.DetachNetworkInterfaceInput) (*ec2.DetachNetworkInterfaceOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	attachment := deref(in.AttachmentId)
	err = retry(func() error {
		rows, err := tables.NetworkInterfaces.List(ctx, s.store, store.Query{Account: call.Account, Region: call.Region})
		if err != nil {
			return err
		}
		i := slices.IndexFunc(rows, func(r store.Row[model.NetworkInterface]) bool {
			return r.V.Attachment != nil && r.V.Attachment.ID == attachment
		})
		if i < 0 {
			return api.NewFault("InvalidAttachmentID.NotFound", "The attachment ID '%s' does not exist", attachment)
		}
		return s.detach(ctx, call, rows[i])
	})
	return &ec2.DetachNetworkInterfaceOutput{}, err
}

func (s *Service) detach(ctx context.Context, call *api.Call, nic store.Row[model.NetworkInterface]) error {
	a := nic.V.Attachment
	switch {
	case nic.V.RequesterManaged || a.InstanceID == "":
		return api.NewFault("AuthFailure", "You do not have permission to access the specified resource.")
	case a.DeviceIndex == 0:
		return api.NewFault("OperationNotPermitted", "The network interface at device index 0 and networkCard index 0 cannot be detached.")
	}
	row, err := s.instance(ctx, call, a.InstanceID)
	if err != nil {
		return err
	}
	if row.V.State() != model.InstanceStopped {
		return unsupported("detaching an interface from an instance that is not stopped")
	}
	v, e, tx := row.Copy(), nic.Copy(), store.NewTxn()
	v.Spec.InterfaceIDs = slices.DeleteFunc(v.Spec.InterfaceIDs, func(id string) bool { return id == e.ID })
	e.Attachment, e.Status = nil, model.NetworkInterfaceAvailable
	for _, ip := range e.PrivateIPs() {
		if as := e.AssociationOf(ip); as != nil && as.AllocationID != "" {
			addr, err := tables.Addresses.Get(ctx, s.store, call.Account, call.Region, as.AllocationID)
			if errors.Is(err, store.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			was := addr.Copy()
			was.InstanceID = ""
			tables.Addresses.Replace(tx, addr, was)
		}
	}
	tables.Instances.Replace(tx, row, v)
	tables.NetworkInterfaces.Replace(tx, nic, e)
	_, err = tx.Commit(ctx, s.store)
	return err
}
