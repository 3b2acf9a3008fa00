// Package eni makes and removes network interfaces' records, for all that
// need one: the EC2 API itself, tasks, load balancers. It gives out private
// and public addresses so that nobody else can get the same ones, and keeps
// subnets and security groups that interfaces refer to from vanishing.
//
// It writes records only. Interfaces in the kernel follow from them.
package eni

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Row is a stored network interface.
type Row = store.Row[model.NetworkInterface]

// Error is a refusal that the caller of an API can mend; it has EC2's code
// and message.
type Error struct {
	Code    string
	Message string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Spec says what interface is wanted.
type Spec struct {
	Account string
	Region  string
	// ID of the interface. Callers that must not make a second one when they
	// try again choose it themselves (NewID); empty means a new one.
	ID       string
	SubnetID string
	// GroupIDs may be empty: then it is the VPC's default group, or none with
	// NoGroups.
	GroupIDs []string
	NoGroups bool
	// PrivateIP asks for this address; zero means any free one.
	PrivateIP netip.Addr
	// SecondaryIPs asks for further addresses; SecondaryCount for so many of
	// any.
	SecondaryIPs   []netip.Addr
	SecondaryCount int
	// AssignPublicIP gives the interface a public address that lives as long
	// as it does.
	AssignPublicIP bool
	// AllocationID names a free elastic address that the interface gets.
	AllocationID string
	Description  string
	// InterfaceType is "interface" when empty.
	InterfaceType string
	// RequesterID of a service that owns the interface, "amazon-elb" or an
	// account; RequesterManaged keeps users from deleting it.
	RequesterID      string
	RequesterManaged bool
	// Attachment, when set, makes the interface in-use from the start. An
	// empty id gets one.
	Attachment *model.NetworkInterfaceAttachment
	Tags       model.Tags
	// With, when set, adds the caller's own writes to the transaction that
	// makes the interface, so that neither exists without the other. It is
	// called again for each attempt. A condition of its own that never holds
	// makes Create fail with store.ErrConflict.
	With func(tx *store.Txn, v *model.NetworkInterface) error
}

// NewID makes an interface's id.
func NewID() string { return id.Resource("eni") }

// NewMAC makes a locally administered unicast MAC address.
func NewMAC() string {
	h := id.Hex(10)
	return "02:" + h[:2] + ":" + h[2:4] + ":" + h[4:6] + ":" + h[6:8] + ":" + h[8:]
}

// attempts bounds how often a transaction is tried again after a conflict.
const attempts = 16

// Create makes an interface in a subnet. With Spec.ID of an interface that
// exists it returns that one, without calling Spec.With. Refusals are *Error.
func Create(ctx context.Context, s store.Store, now time.Time, spec Spec) (Row, error) {
	given := spec.ID != ""
	if !given {
		spec.ID = NewID()
	}
	var err error
	for range attempts {
		if given {
			row, getErr := tables.NetworkInterfaces.Get(ctx, s, spec.Account, spec.Region, spec.ID)
			if getErr == nil || !errors.Is(getErr, store.ErrNotFound) {
				return row, getErr
			}
		}
		var row Row
		if row, err = create(ctx, s, now, spec); !errors.Is(err, store.ErrConflict) {
			return row, err
		}
	}
	return Row{}, fmt.Errorf("create network interface %s: %w", spec.ID, err)
}

func create(ctx context.Context, s store.Store, now time.Time, spec Spec) (Row, error) {
	batch := NewBatch(store.NewTxn())
	v, err := batch.Add(ctx, s, now, spec)
	if err != nil {
		return Row{}, err
	}
	rev, err := batch.tx.Commit(ctx, s)
	if err != nil {
		return Row{}, err
	}
	return Row{Key: tables.NetworkInterfaces.Key(spec.Account, spec.Region, v.ID), V: v, Created: rev, Modified: rev}, nil
}

// maxGroups is how many groups an interface may have.
const maxGroups = 5

// checkGroups makes tx depend on the groups, or on the VPC's default group
// when none is named, and returns their ids.
func checkGroups(ctx context.Context, s store.Store, tx *store.Txn, account, region, vpcID, subnetID string, ids []string) ([]string, error) {
	if len(ids) == 0 {
		vpc, err := tables.VPCs.Get(ctx, s, account, region, vpcID)
		if err != nil {
			return nil, fmt.Errorf("VPC of %s: %w", subnetID, err)
		}
		ids = []string{vpc.V.DefaultGroupID}
	}
	seen := map[string]bool{}
	var out []string
	for _, gid := range ids {
		if seen[gid] {
			continue
		}
		seen[gid] = true
		row, err := tables.SecurityGroups.Get(ctx, s, account, region, gid)
		if errors.Is(err, store.ErrNotFound) || err == nil && row.V.Deleting {
			return nil, refuse("InvalidGroup.NotFound", "The security group '%s' does not exist", gid)
		}
		if err != nil {
			return nil, err
		}
		if row.V.VPCID != vpcID {
			return nil, refuse("InvalidParameter", "Security group %s and subnet %s belong to different networks.", gid, subnetID)
		}
		tables.SecurityGroups.Check(tx, row)
		out = append(out, gid)
	}
	if len(out) > maxGroups {
		return nil, refuse("SecurityGroupsPerInterfaceLimitExceeded", "The maximum number of security groups per interface has been reached.")
	}
	return out, nil
}

// Delete removes an interface and frees its addresses; an elastic address
// stays allocated. with, when not nil, adds the caller's own writes to the
// transaction, and is called again for each attempt. Deleting what is not
// there is no error, and does not call with.
func Delete(ctx context.Context, s store.Store, account, region, eniID string, with func(tx *store.Txn) error) error {
	var err error
	for range attempts {
		if err = remove(ctx, s, account, region, eniID, with); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("delete network interface %s: %w", eniID, err)
}

func remove(ctx context.Context, s store.Store, account, region, eniID string, with func(tx *store.Txn) error) error {
	row, err := tables.NetworkInterfaces.Get(ctx, s, account, region, eniID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	tx := store.NewTxn()
	tables.NetworkInterfaces.Delete(tx, row)
	for _, a := range row.V.PrivateIPs() {
		if err := releasePrivate(ctx, s, tx, row, a); err != nil {
			return err
		}
		if as := row.V.AssociationOf(a); as != nil {
			if err := dropAssociation(ctx, s, tx, row, as); err != nil {
				return err
			}
		}
	}
	if with != nil {
		if err := with(tx); err != nil {
			return err
		}
	}
	_, err = tx.Commit(ctx, s)
	return err
}

func releasePrivate(ctx context.Context, s store.Store, tx *store.Txn, row Row, a netip.Addr) error {
	claim, err := tables.PrivateAddressClaims.Get(ctx, s, row.Key.Account, row.Key.Region, row.V.SubnetID+"/"+a.String())
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	tables.PrivateAddressClaims.Delete(tx, claim)
	return nil
}

func dropAssociation(ctx context.Context, s store.Store, tx *store.Txn, row Row, as *model.NetworkInterfaceAssociation) error {
	if as.AllocationID == "" {
		return ReleasePublic(ctx, s, tx, as.PublicIP)
	}
	addr, err := tables.Addresses.Get(ctx, s, row.Key.Account, row.Key.Region, as.AllocationID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	v := addr.Copy()
	v.AssociationID, v.NetworkInterfaceID, v.InstanceID, v.PrivateIP = "", "", "", netip.Addr{}
	tables.Addresses.Replace(tx, addr, v)
	return nil
}
