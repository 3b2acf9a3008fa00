package instances

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/eni"
	"roadstead.dev/internal/store/tables"
)

// Change is what a call does to an instance's state, as its users see it.
type Change struct {
	InstanceID        string
	Previous, Current string
}

// Why is the cause of a change. The zero value is the user.
type Why struct {
	// Code and Text are EC2's: Server.SpotInstanceTermination, "Server.…".
	// Text gets the time behind it.
	Code, Text string
	// Unprotected makes a change that protections would refuse: theirs are
	// calls of the API only.
	Unprotected bool
}

// Causes beyond the user.
var (
	// FromWithin is a shutdown by what runs in the instance.
	FromWithin = Why{Code: "Client.InstanceInitiatedShutdown", Text: "Instance initiated shutdown", Unprotected: true}
	// Interrupted is the end of a Spot instance that had notice.
	Interrupted = Why{Code: "Server.SpotInstanceTermination", Text: "Server.SpotInstanceTermination", Unprotected: true}
)

func (w Why) set(d *model.InstanceDesired, now time.Time) {
	if w.Code == "" {
		w.Code, w.Text = "Client.UserInitiatedShutdown", "User initiated"
	}
	d.ReasonCode, d.Since = w.Code, now
	d.Reason = w.Text + now.UTC().Format(" (2006-01-02 15:04:05 GMT)")
}

// Find reads an instance; a refusal says that there is none.
func Find(ctx context.Context, s store.Store, at Place, id string) (store.Row[model.Instance], error) {
	if !strings.HasPrefix(id, "i-") {
		return store.Row[model.Instance]{}, refuse("InvalidInstanceID.Malformed", fmt.Sprintf("Invalid id: %q", id))
	}
	row, err := tables.Instances.Get(ctx, s, at.Account, at.Region, id)
	if errors.Is(err, store.ErrNotFound) {
		return row, refuse("InvalidInstanceID.NotFound", "The instance ID '"+id+"' does not exist")
	}
	return row, err
}

// change alters several instances at once, all or none.
func change(ctx context.Context, s store.Store, at Place, ids []string, f func(tx *store.Txn, v *model.Instance) error) ([]Change, error) {
	var err error
	for range attempts {
		var out []Change
		tx, seen := store.NewTxn(), map[string]bool{}
		err = func() error {
			for _, id := range ids {
				if seen[id] {
					continue
				}
				seen[id] = true
				row, err := Find(ctx, s, at, id)
				if err != nil {
					return err
				}
				v := row.Copy()
				was := v.State()
				if err := f(tx, v); errors.Is(err, store.ErrUnchanged) {
					out = append(out, Change{id, was, was})
					continue
				} else if err != nil {
					return err
				}
				tables.Instances.Replace(tx, row, v)
				out = append(out, Change{id, was, v.State()})
			}
			_, err := tx.Commit(ctx, s)
			return err
		}()
		if !errors.Is(err, store.ErrConflict) {
			return out, err
		}
	}
	return nil, fmt.Errorf("change instances: %w", err)
}

// Terminate ends instances. Refusals are *Error; then none is ended.
func Terminate(ctx context.Context, s store.Store, at Place, now time.Time, why Why, ids ...string) ([]Change, error) {
	return change(ctx, s, at, ids, func(_ *store.Txn, v *model.Instance) error {
		switch {
		case v.Desired.State == model.InstanceTerminated:
			return store.ErrUnchanged
		case v.Spec.DisableAPITermination && !why.Unprotected:
			return refuse("OperationNotPermitted", "The instance '"+v.ID+"' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.")
		}
		v.Desired.State = model.InstanceTerminated
		why.set(&v.Desired, now)
		return nil
	})
}

func badState(format, id string) error {
	return refuse("IncorrectInstanceState", fmt.Sprintf(format, id))
}

// Stop stops instances. Their public addresses that are not elastic go.
// Refusals are *Error; then none is stopped.
func Stop(ctx context.Context, s store.Store, at Place, now time.Time, why Why, force bool, ids ...string) ([]Change, error) {
	return change(ctx, s, at, ids, func(tx *store.Txn, v *model.Instance) error {
		switch state := v.State(); {
		case v.Spec.Lifecycle == "spot" && !why.Unprotected:
			return refuse("UnsupportedOperation", "You can't stop the Spot Instance '"+v.ID+"' because it is associated with a one-time Spot Instance request. "+
				"You can only stop Spot Instances associated with persistent Spot Instance requests.")
		case state == model.InstanceStopped:
			return store.ErrUnchanged
		case state == model.InstanceStopping:
			if !force || v.Desired.Force {
				return store.ErrUnchanged
			}
			v.Desired.Force = true
			return nil
		case state != model.InstanceRunning && (!why.Unprotected || state != model.InstancePending):
			return badState("This instance '%s' is not in a state from which it can be stopped.", v.ID)
		case v.Spec.DisableAPIStop && !why.Unprotected:
			return refuse("OperationNotPermitted", "The instance '"+v.ID+"' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.")
		}
		v.Desired.State, v.Desired.Force = model.InstanceStopped, force
		why.set(&v.Desired, now)
		return public(ctx, s, tx, at, v, nil)
	})
}

// Start starts stopped instances. Refusals are *Error; then none is started.
func Start(ctx context.Context, s store.Store, at Place, now time.Time, ids ...string) ([]Change, error) {
	var batch *eni.Batch
	var of *store.Txn
	return change(ctx, s, at, ids, func(tx *store.Txn, v *model.Instance) error {
		switch v.State() {
		case model.InstancePending, model.InstanceRunning:
			return store.ErrUnchanged
		case model.InstanceStopped:
		default:
			return badState("The instance '%s' is not in a state from which it can be started.", v.ID)
		}
		v.Desired = model.InstanceDesired{State: model.InstanceRunning, Boots: v.Desired.Boots + 1, Since: now}
		v.Spec.LaunchedAt = now
		if of != tx {
			batch, of = eni.NewBatch(tx), tx
		}
		return public(ctx, s, tx, at, v, batch)
	})
}

// Reboot boots running instances anew. Refusals are *Error; then none is.
func Reboot(ctx context.Context, s store.Store, at Place, now time.Time, ids ...string) error {
	_, err := change(ctx, s, at, ids, func(_ *store.Txn, v *model.Instance) error {
		if v.State() != model.InstanceRunning {
			return badState("The instance '%s' is not in a state from which it can be rebooted.", v.ID)
		}
		v.Desired.Boots++
		v.Desired.Since = now
		return nil
	})
	return err
}

// public adds to tx that the primary interface loses its public address, or
// gets one from batch when the instance is to have one.
func public(ctx context.Context, s store.Store, tx *store.Txn, at Place, v *model.Instance, batch *eni.Batch) error {
	row, err := tables.NetworkInterfaces.Get(ctx, s, at.Account, at.Region, v.Spec.InterfaceIDs[0])
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	e := row.Copy()
	switch had := e.Association; {
	case batch == nil && had != nil && had.AllocationID == "":
		if err := eni.ReleasePublic(ctx, s, tx, had.PublicIP); err != nil {
			return err
		}
		e.Association = nil
	case batch != nil && had == nil && v.Spec.AssignPublicIP:
		ip, err := batch.ClaimPublic(ctx, s, at.Account, at.Region, e.ID)
		if err != nil {
			return err
		}
		e.Association = &model.NetworkInterfaceAssociation{PublicIP: ip, OwnerID: model.AmazonAccount}
	default:
		return nil
	}
	tables.NetworkInterfaces.Replace(tx, row, e)
	return nil
}

// Release ends the attachments of a terminated instance's interfaces: those
// that are deleted with it go, the others become available. Whoever took them
// out of the kernel calls it, as often as needed.
func Release(ctx context.Context, s store.Store, at Place, v *model.Instance) error {
	for _, id := range v.Spec.InterfaceIDs {
		row, err := tables.NetworkInterfaces.Get(ctx, s, at.Account, at.Region, id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		a := row.V.Attachment
		if a == nil || a.InstanceID != v.ID {
			continue
		}
		if a.DeleteOnTermination {
			err = eni.Delete(ctx, s, at.Account, at.Region, id, nil)
		} else {
			_, err = eni.Modify(ctx, s, at.Account, at.Region, id, func(tx *store.Txn, row eni.Row, e *model.NetworkInterface) error {
				e.Attachment, e.Status = nil, model.NetworkInterfaceAvailable
				return named(ctx, s, tx, row, "")
			})
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("release interface %s of %s: %w", id, v.ID, err)
		}
	}
	return nil
}
