// Package instances makes and ends EC2 instances' records, for all that need
// instances: the EC2 API itself, and Auto Scaling. What an instance is
// launched from (model.LaunchData) is resolved to a Spec, and launched
// together with its network interfaces, all or nothing.
//
// It writes records only. Instances that run follow from them.
package instances

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/eni"
	"roadstead.dev/internal/store/tables"
)

// Spec says what instances are wanted. Resolve makes it; what Template has of
// its own for each instance (ids, addresses, times) is filled in by Launch.
type Spec struct {
	Place
	Template model.InstanceSpec
	// Interfaces in the order of their device indexes.
	Interfaces []Interface
	// Tags of the instances and InterfaceTags of the interfaces made for them.
	Tags, InterfaceTags model.Tags
	// RoleARN is the role that the instances get. Whoever asks for them must be
	// allowed to pass it on (iam:PassRole to ec2.amazonaws.com); Launch does
	// not ask.
	RoleARN string
	// As many as fit are launched, at least Min and at most Max.
	Min, Max int
	// Reason of the launch, empty when the user asked for it.
	Reason string
	// With, when set, adds the caller's own writes to the transaction that
	// makes the instances, so that neither exists without the other. It is
	// called again for each attempt, with other instances.
	With func(tx *store.Txn, made []*model.Instance) error
}

const (
	// attempts bounds how often a transaction is tried again after a conflict.
	attempts = 16
	// maxInstances is how many instances an account has in a region.
	maxInstances = 10_000
)

// Launch writes the records of new instances, with their interfaces. Refusals
// are *Error; errors of With are returned as they are.
func Launch(ctx context.Context, s store.Store, now time.Time, spec Spec) ([]*model.Instance, error) {
	var err error
	for range attempts {
		var made []*model.Instance
		if made, err = launch(ctx, s, now, &spec); !errors.Is(err, store.ErrConflict) {
			return made, err
		}
	}
	return nil, fmt.Errorf("launch instances: %w", err)
}

func launch(ctx context.Context, s store.Store, now time.Time, spec *Spec) ([]*model.Instance, error) {
	tx := store.NewTxn()
	batch := eni.NewBatch(tx)
	n, err := howMany(ctx, s, batch, spec)
	if err != nil {
		return nil, err
	}
	reservation := id.Resource("r")
	var made []*model.Instance
	for i := range n {
		v := &model.Instance{ID: id.Resource("i"), Owner: spec.Account, Spec: spec.Template, Tags: spec.Tags}
		v.Spec.ReservationID, v.Spec.LaunchIndex, v.Spec.LaunchedAt = reservation, i, now
		v.Spec.RootVolume.ID = id.Resource("vol")
		if v.Spec.ProfileARN != "" {
			v.Spec.ProfileAssociationID = id.Resource("iip-assoc")
		}
		if v.Spec.Lifecycle == "spot" {
			v.Spec.SpotRequestID = "sir-" + id.Hex(8)
		}
		v.Desired = model.InstanceDesired{State: model.InstanceRunning, Boots: 1, Reason: spec.Reason, Since: now}
		v.Status.State = model.InstancePending
		v.Spec.InterfaceIDs = nil
		for k := range spec.Interfaces {
			e, err := attach(ctx, s, tx, batch, now, spec, &spec.Interfaces[k], v.ID)
			if err != nil {
				return nil, err
			}
			v.Spec.InterfaceIDs = append(v.Spec.InterfaceIDs, e.ID)
			if k == 0 {
				v.Spec.PrivateIP = e.PrivateIP
				v.Spec.PrivateDNSName = hostname(v, e.PrivateIP, spec.Region)
			}
		}
		tables.Instances.Create(tx, spec.Account, spec.Region, v.ID, v)
		made = append(made, v)
	}
	if spec.With != nil {
		if err := spec.With(tx, made); err != nil {
			return nil, err
		}
	}
	if _, err := tx.Commit(ctx, s); err != nil {
		return nil, err
	}
	return made, nil
}

func hostname(v *model.Instance, a netip.Addr, region string) string {
	if v.Spec.HostnameType == "resource-name" {
		return v.ID + "." + model.PrivateDomain(region)
	}
	return model.PrivateDNSName(a, region)
}

// howMany instances fit.
func howMany(ctx context.Context, s store.Store, batch *eni.Batch, spec *Spec) (int, error) {
	there, err := countLive(ctx, s, spec)
	if err != nil {
		return 0, err
	}
	n := min(spec.Max, maxInstances-there)
	if n < spec.Min {
		return 0, refuse("InstanceLimitExceeded", fmt.Sprintf("You have requested more instances (%d) than your current instance limit of %d allows for the specified instance type.", spec.Min, maxInstances))
	}
	each := map[string]int{} // addresses by subnet
	for _, f := range spec.Interfaces {
		if f.exists() || f.Spec.PrivateIP.IsValid() || len(f.Spec.SecondaryIPs) > 0 {
			if spec.Max > 1 {
				return 0, refuse("InvalidParameterCombination", "Network interfaces and private IP addresses that exist once cannot be specified for more than one instance.")
			}
		}
		if !f.exists() {
			each[f.Spec.SubnetID] += 1 + f.Spec.SecondaryCount + len(f.Spec.SecondaryIPs)
		}
	}
	for subnetID, k := range each {
		subnet, err := tables.Subnets.Get(ctx, s, spec.Account, spec.Region, subnetID)
		if errors.Is(err, store.ErrNotFound) {
			return 0, refuse("InvalidSubnetID.NotFound", "The subnet ID '"+subnetID+"' does not exist")
		}
		if err != nil {
			return 0, err
		}
		free, err := batch.Free(ctx, s, subnet)
		if err != nil {
			return 0, err
		}
		if n = min(n, free/k); n < spec.Min {
			return 0, refuse("InsufficientFreeAddressesInSubnet", fmt.Sprintf("There are not enough free addresses in subnet '%s' to satisfy the requested number of instances.", subnetID))
		}
	}
	return n, nil
}

// countLive counts the account's instances that have not terminated. It decodes
// none.
func countLive(ctx context.Context, s store.Store, spec *Spec) (int, error) {
	n := 0
	for _, state := range []string{model.InstancePending, model.InstanceRunning, model.InstanceShuttingDown, model.InstanceStopping, model.InstanceStopped} {
		rows, _, err := s.List(ctx, store.Query{
			Kind: tables.Instances.Kind(), Account: spec.Account, Region: spec.Region, Index: store.Index{Name: tables.ByState, Value: state},
		})
		if err != nil {
			return 0, err
		}
		n += len(rows)
	}
	return n, nil
}

// attach adds to tx an interface of the instance, new or given.
func attach(ctx context.Context, s store.Store, tx *store.Txn, batch *eni.Batch, now time.Time, spec *Spec, f *Interface, instanceID string) (*model.NetworkInterface, error) {
	a := model.NetworkInterfaceAttachment{
		ID: id.Resource("eni-attach"), Status: model.AttachmentAttached, InstanceID: instanceID, InstanceOwnerID: spec.Account,
		DeviceIndex: f.Index, DeleteOnTermination: f.DeleteOnTermination, AttachedAt: now,
	}
	if !f.exists() {
		e := f.Spec
		e.Attachment, e.Tags = &a, spec.InterfaceTags
		return batch.Add(ctx, s, now, e)
	}
	row, err := tables.NetworkInterfaces.Get(ctx, s, spec.Account, spec.Region, f.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, noInterface(f.ID)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case row.V.RequesterManaged:
		return nil, refuse("AuthFailure", "You do not have permission to access the specified resource.")
	case row.V.Attachment != nil:
		return nil, refuse("InvalidNetworkInterface.InUse", "Interface: ["+f.ID+"] in use.")
	}
	v := row.Copy()
	v.Attachment, v.Status = &a, model.NetworkInterfaceInUse
	tables.NetworkInterfaces.Replace(tx, row, v)
	return v, named(ctx, s, tx, row, instanceID)
}

// named adds to tx that the elastic addresses of an interface are the
// instance's, or nobody's when it is empty.
func named(ctx context.Context, s store.Store, tx *store.Txn, row eni.Row, instanceID string) error {
	for _, ip := range row.V.PrivateIPs() {
		as := row.V.AssociationOf(ip)
		if as == nil || as.AllocationID == "" {
			continue
		}
		addr, err := tables.Addresses.Get(ctx, s, row.Key.Account, row.Key.Region, as.AllocationID)
		if err != nil {
			return err
		}
		a := addr.Copy()
		a.InstanceID = instanceID
		tables.Addresses.Replace(tx, addr, a)
	}
	return nil
}
