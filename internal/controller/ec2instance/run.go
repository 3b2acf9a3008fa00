package ec2instance

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/instance"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/instancetype"
	"roadstead.dev/internal/network"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/instances"
	"roadstead.dev/internal/store/tables"
)

// Why instances end that cannot be booted, and that broke down.
var (
	failed = instances.Why{Code: "Server.InternalError", Text: "Server.InternalError: Internal error on launch", Unprotected: true}
	broken = instances.Why{Code: "Server.InternalError", Text: "Server.InternalError: The instance broke down", Unprotected: true}
)

// run makes an instance run that is to, and tells when to look again.
func (c *Instances) run(ctx context.Context, row store.Row[model.Instance]) (time.Duration, error) {
	v := row.V
	if at := v.Desired.SpotInterruptionAt; !at.IsZero() && !c.Clock.Now().Before(at) {
		return 0, c.end(ctx, row, instances.Interrupted, model.InstanceTerminated)
	}
	st, err := c.Runtime.State(v.ID)
	if err != nil && !errors.Is(err, instance.ErrNotFound) {
		return 0, err
	}
	// What was booted for an earlier wish is not what is asked for now.
	current := st.Spec.Boots == v.Desired.Boots
	switch {
	case st.Running && !current:
		if err := c.Runtime.Stop(ctx, v.ID, stopPatience); err != nil {
			return 0, err
		}
		c.disconnected(v.ID)
		st.Running = false
	case !st.Running && current && st.Ended == instance.EndedByShutdown:
		to := model.InstanceStopped
		if v.Spec.ShutdownBehavior == "terminate" {
			to = model.InstanceTerminated
		}
		return 0, c.end(ctx, row, instances.FromWithin, to)
	case !st.Running && current && st.Ended == instance.EndedByFailure:
		return 0, c.end(ctx, row, broken, model.InstanceTerminated)
	}
	switch err := c.ensure(ctx, row, st.Running); {
	case errors.Is(err, instance.ErrBare):
		return 0, err // no fault of the instance's
	case err != nil:
		return 0, c.cannot(ctx, row, err)
	}
	if st, err = c.Runtime.State(v.ID); err != nil {
		return 0, err
	}
	c.watch(controller.KeyOf(row.Key))
	if err := c.update(ctx, row, func(s *model.InstanceStatus) {
		s.State, s.Impaired, s.Boots, s.Booted = model.InstanceRunning, "", v.Desired.Boots, st.Booted
		if since := st.Since.UTC().Truncate(time.Millisecond); !s.RunningSince.Equal(since) {
			s.RunningSince = since
		}
	}); err != nil {
		return 0, err
	}
	return c.nextLook(v, &st), nil
}

// ensure boots an instance, or gives one that runs its interfaces.
func (c *Instances) ensure(ctx context.Context, row store.Row[model.Instance], running bool) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	spec, moving, err := c.spec(ctx, row)
	if err != nil {
		return err
	}
	switch {
	case !running:
		if err = c.Runtime.Boot(ctx, spec); err == nil && slices.ContainsFunc(spec.Interfaces, func(i instance.Interface) bool { return i.Bare }) {
			err = c.Runtime.Connect(ctx, spec)
		}
	case !c.isConnected(&spec):
		err = c.Runtime.Connect(ctx, spec)
	}
	if err != nil {
		return err
	}
	c.setConnected(&spec)
	if moving {
		return instances.Settle(ctx, c.Store, row)
	}
	return nil
}

// spec is what the runtime is told of an instance; moving tells that interfaces
// are being attached or detached.
func (c *Instances) spec(ctx context.Context, row store.Row[model.Instance]) (_ instance.Spec, moving bool, _ error) {
	v := row.V
	size, ok := instancetype.Find(v.Spec.Type)
	if !ok {
		return instance.Spec{}, false, fmt.Errorf("type %q is not known", v.Spec.Type)
	}
	vpc, err := tables.VPCs.Get(ctx, c.Store, row.Key.Account, row.Key.Region, v.Spec.VPCID)
	if err != nil {
		return instance.Spec{}, false, fmt.Errorf("VPC %s: %w", v.Spec.VPCID, err)
	}
	s := instance.Spec{
		ID: v.ID, Hostname: v.Spec.PrivateDNSName, VCPUs: float64(size.VCPUs), Memory: int(size.MemoryMiB),
		ImageID: v.Spec.ImageID, Region: row.Key.Region, Boots: v.Desired.Boots,
		Nameserver: network.ResolverOf(vpc.V.CIDR).String(), UserData: v.Spec.UserData,
	}
	for _, id := range v.Spec.InterfaceIDs {
		e, err := tables.NetworkInterfaces.Get(ctx, c.Store, row.Key.Account, row.Key.Region, id)
		if errors.Is(err, store.ErrNotFound) && id != v.Spec.InterfaceIDs[0] {
			continue // gone with its task in between
		}
		if err != nil {
			return s, false, fmt.Errorf("interface %s: %w", id, err)
		}
		if e.V.Attachment == nil || e.V.Attachment.InstanceID != v.ID {
			continue // taken out
		}
		moving = moving || e.V.Attachment.Status == model.AttachmentAttaching
		if e.V.Attachment.Status == model.AttachmentDetaching {
			moving = true
			continue
		}
		subnet, err := tables.Subnets.Get(ctx, c.Store, row.Key.Account, row.Key.Region, e.V.SubnetID)
		if err != nil {
			return s, false, fmt.Errorf("subnet %s: %w", e.V.SubnetID, err)
		}
		s.Interfaces = append(s.Interfaces, instance.Interface{
			ID: id, VPCID: e.V.VPCID, MAC: e.V.MAC, Index: int(e.V.Attachment.DeviceIndex),
			Address: netip.PrefixFrom(e.V.PrivateIP, subnet.V.CIDR.Bits()), Secondary: e.V.SecondaryIPs,
			// A service's own, which its agent in the instance takes.
			Bare: e.V.RequesterManaged,
		})
	}
	return s, moving, nil
}

// end asks for the end of an instance that ended by itself.
func (c *Instances) end(ctx context.Context, row store.Row[model.Instance], why instances.Why, to string) error {
	at := instances.Place{Account: row.Key.Account, Region: row.Key.Region}
	now := c.Clock.Now().Truncate(time.Millisecond)
	c.Log.InfoContext(ctx, "an instance has ended by itself", "instance", row.V.ID, "reason", why.Text, "to", to)
	var err error
	if to == model.InstanceTerminated {
		_, err = instances.Terminate(ctx, c.Store, at, now, why, row.V.ID)
	} else {
		_, err = instances.Stop(ctx, c.Store, at, now, why, false, row.V.ID)
	}
	return err
}

// cannot notes that an instance cannot be booted. After a while it is given up:
// one that never ran terminates, another stops, as on EC2.
func (c *Instances) cannot(ctx context.Context, row store.Row[model.Instance], cause error) error {
	v := row.V
	if v.Status.State != model.InstanceRunning && c.Clock.Now().Sub(v.Desired.Since) >= launchPatience {
		to := model.InstanceTerminated
		if !v.Status.RunningSince.IsZero() {
			to = model.InstanceStopped
		}
		return errors.Join(cause, c.end(ctx, row, failed, to))
	}
	return errors.Join(cause, c.update(ctx, row, func(s *model.InstanceStatus) {
		// The first cause stays: writing each would make the next attempt come
		// at once.
		if s.Impaired == "" {
			s.Impaired = cause.Error()
		}
	}))
}

// nextLook is when something may have happened that nobody tells.
func (c *Instances) nextLook(v *model.Instance, st *instance.State) time.Duration {
	var wait time.Duration
	if !st.Booted {
		// User data that takes long is looked for less often.
		wait = min(max(c.Clock.Now().Sub(st.Since)/10, 50*time.Millisecond), 5*time.Second)
	}
	if at := v.Desired.SpotInterruptionAt; !at.IsZero() {
		left := max(at.Sub(c.Clock.Now()), time.Millisecond)
		if wait == 0 || left < wait {
			wait = left
		}
	}
	return wait
}

// fingerprint tells interfaces apart from others.
func fingerprint(s *instance.Spec) string { return fmt.Sprintf("%+v", s.Interfaces) }

func (c *Instances) isConnected(s *instance.Spec) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connected[s.ID] == fingerprint(s)
}

func (c *Instances) setConnected(s *instance.Spec) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connected[s.ID] = fingerprint(s)
}

func (c *Instances) disconnected(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.connected, id)
}
