package ecstask

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/lifecycle"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/eni"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// provision makes the task's interface and writes t, in which it is a node's.
// It is PENDING then, unless the interface must first be seen on the task's
// instance. When there can be no interface the task fails to start.
func (c *tasks) provision(ctx context.Context, row store.Row[model.Task], t *model.Task, now time.Time) error {
	switch {
	case t.Spec.LaunchType == model.LaunchTypeFargate:
		t.Status.Node = c.FargateNode
	case t.Status.Node == "":
		return c.failToStart(ctx, row, "No Container Instances were found in your cluster.", now)
	}
	t.NameCredentials(id.UUID)
	a := t.ENI()
	if a == nil {
		tx := store.NewTxn()
		tables.ECSTasks.Replace(tx, row, t)
		_, err := tx.Commit(ctx, c.Store)
		return err
	}
	spec := eni.Spec{
		Account: row.Key.Account, Region: row.Key.Region,
		SubnetID:         t.Spec.SubnetID,
		Description:      "arn:" + model.Partition(row.Key.Region) + ":ecs:" + row.Key.Region + ":" + row.Key.Account + ":attachment/" + a.ID,
		RequesterID:      row.Key.Account,
		RequesterManaged: true,
		Attachment:       &model.NetworkInterfaceAttachment{InstanceOwnerID: row.Key.Account, DeviceIndex: 1},
		With: func(tx *store.Txn, v *model.NetworkInterface) error {
			if err := c.unchanged(ctx, row); err != nil {
				return err
			}
			describeInterface(a, v, row.Key.Region)
			if v.Attachment.InstanceID != "" {
				a.Status = model.TaskAttachmentAttaching
			}
			tables.ECSTasks.Replace(tx, row, t)
			return nil
		},
	}
	if n := t.Spec.Network; n != nil {
		spec.GroupIDs = n.SecurityGroups
		spec.AssignPublicIP = n.AssignPublicIP == "ENABLED"
	}
	if t.Spec.LaunchType != model.LaunchTypeFargate {
		err := c.attach(ctx, row, t, &spec, now)
		if refused, ok := errors.AsType[*eni.Error](err); ok {
			return c.failToStart(ctx, row, "Unexpected EC2 error while attempting to attach network interface to instance '"+t.Status.EC2InstanceID+"': "+refused.Code, now)
		}
		if err != nil {
			return err
		}
	}
	_, err := eni.Create(ctx, c.Store, now, spec)
	if refused, ok := errors.AsType[*eni.Error](err); ok {
		return c.failToStart(ctx, row, interfaceError(spec, refused), now)
	}
	if errors.Is(err, errInstanceChanged) {
		return fmt.Errorf("%w: %w", store.ErrConflict, err)
	}
	return err
}

// errInstanceChanged stops attempts with a device index that may be taken.
var errInstanceChanged = errors.New("the instance was given another interface in between")

// attach makes spec's interface one of the task's instance, where the node is to
// find it.
func (c *tasks) attach(ctx context.Context, row store.Row[model.Task], t *model.Task, spec *eni.Spec, now time.Time) error {
	at := instances.Place{Account: row.Key.Account, Region: row.Key.Region}
	host, err := instances.Find(ctx, c.Store, at, t.Status.EC2InstanceID)
	if err != nil {
		return err
	}
	index, err := instances.FreeDevice(ctx, c.Store, at, host.V)
	if err != nil {
		return err
	}
	t.Status.Version = row.V.Status.Version + 1
	spec.Attachment.InstanceID, spec.Attachment.DeviceIndex, spec.Attachment.DeleteOnTermination = host.V.ID, index, true
	made := spec.With
	spec.With = func(tx *store.Txn, v *model.NetworkInterface) error {
		if is, err := tables.Instances.Get(ctx, c.Store, row.Key.Account, row.Key.Region, host.V.ID); err != nil || is.Modified != host.Modified {
			return errors.Join(errInstanceChanged, err)
		}
		t.ENI().AttachingAt = now
		if err := made(tx, v); err != nil {
			return err
		}
		instances.AddInterface(tx, host, v.ID)
		return nil
	}
	return nil
}

// describeInterface puts the interface's details into the attachment.
func describeInterface(a *model.TaskAttachment, v *model.NetworkInterface, region string) {
	a.Status = "ATTACHED"
	a.SetDetail("subnetId", v.SubnetID)
	a.SetDetail("networkInterfaceId", v.ID)
	a.SetDetail("macAddress", v.MAC)
	a.SetDetail("privateDnsName", privateDNSName(v.PrivateIP.String(), region))
	a.SetDetail("privateIPv4Address", v.PrivateIP.String())
}

func privateDNSName(ip, region string) string {
	domain := region + ".compute.internal"
	if region == "us-east-1" {
		domain = "ec2.internal"
	}
	return "ip-" + strings.ReplaceAll(ip, ".", "-") + "." + domain
}

func interfaceError(spec eni.Spec, e *eni.Error) string {
	public := ""
	if spec.AssignPublicIP {
		public = " with public IP assignment enabled"
	}
	return fmt.Sprintf("Unexpected EC2 error while attempting to Create Network Interface%s in subnet '%s': %s", public, spec.SubnetID, e.Code)
}

// failToStart ends a task that cannot be provisioned.
func (c *tasks) failToStart(ctx context.Context, row store.Row[model.Task], reason string, now time.Time) error {
	t := row.Copy()
	t.Stop(model.StopTaskFailedToStart, reason, now)
	lifecycle.Apply(t, lifecycle.Step{Status: model.TaskDeprovisioning}, now)
	tx := store.NewTxn()
	tables.ECSTasks.Replace(tx, row, t)
	_, err := tx.Commit(ctx, c.Store)
	return err
}
