// Package host runs instances on this machine: their namespaces and processes
// (package instance) with their interfaces in VPCs (package network).
package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"path"
	"reflect"
	"slices"
	"sync"
	"time"

	"roadstead.dev/internal/engine/cgroup"
	"roadstead.dev/internal/instance"
	"roadstead.dev/internal/network"
)

// Host runs instances. Its methods are for one instance by one goroutine at a
// time.
type Host struct {
	Instances *instance.Runtime
	Plane     *network.Network
	// Cgroup is the path below which instances have their groups.
	Cgroup string
	// Programs of the machine that instances see, by path in the instance.
	Programs map[string]string
	// Prepare fills in what an instance's image has: its environment, services
	// and files. It may be nil.
	Prepare func(s *instance.Spec)
}

func netnsName(id string) string { return "instance-" + id }

// Boot makes what an instance needs and boots it. One that runs goes on. Bare
// interfaces are left to Connect.
func (h *Host) Boot(ctx context.Context, s instance.Spec) error {
	st, err := h.Instances.State(s.ID)
	switch {
	case errors.Is(err, instance.ErrNotFound):
	case err != nil:
		return err
	case st.Running:
		return h.Connect(ctx, s)
	}
	if s.Netns, err = h.Plane.CreateNetns(ctx, netnsName(s.ID)); err != nil {
		return err
	}
	own := s
	own.Interfaces = nil
	for _, i := range s.Interfaces {
		if !i.Bare {
			own.Interfaces = append(own.Interfaces, i)
			continue
		}
		// What programs of the last boot moved elsewhere is to be made anew.
		if err := h.Plane.Detach(ctx, i.VPCID, i.ID); err != nil {
			return err
		}
	}
	if err := h.Connect(ctx, own); err != nil {
		return err
	}
	s.Cgroup = path.Join(h.Cgroup, s.ID)
	s.Programs = maps.Clone(h.Programs)
	if h.Prepare != nil {
		h.Prepare(&s)
	}
	if st.Spec.ID == "" {
		return h.Instances.Launch(ctx, &s)
	}
	if err := h.Instances.Reconfigure(&s); err != nil {
		return err
	}
	return h.Instances.Start(ctx, s.ID)
}

// Connect attaches an instance's interfaces, once their security groups are in
// force, and detaches those that it had before and has no more. What is
// attached is always noted.
func (h *Host) Connect(ctx context.Context, s instance.Spec) error {
	st, err := h.Instances.State(s.ID)
	switch {
	case errors.Is(err, instance.ErrNotFound):
		return h.attach(ctx, &s)
	case err != nil:
		return err
	}
	had, gone := st.Spec.Interfaces, []instance.Interface(nil)
	for _, old := range had {
		if !slices.ContainsFunc(s.Interfaces, func(i instance.Interface) bool { return i.ID == old.ID }) {
			gone = append(gone, old)
		}
	}
	if err := h.note(s.ID, had, slices.Concat(s.Interfaces, gone)); err != nil {
		return err
	}
	for _, i := range gone {
		if err := h.Plane.Detach(ctx, i.VPCID, i.ID); err != nil {
			return err
		}
	}
	if err := h.attach(ctx, &s); err != nil {
		return err
	}
	return h.note(s.ID, slices.Concat(s.Interfaces, gone), s.Interfaces)
}

// note writes down which interfaces an instance has, if they are not those that
// are written down.
func (h *Host) note(id string, had, has []instance.Interface) error {
	if reflect.DeepEqual(had, has) {
		return nil
	}
	return h.Instances.Rewire(id, has)
}

// attach attaches an instance's interfaces. instance.ErrBare tells that all but
// bare ones are.
func (h *Host) attach(ctx context.Context, s *instance.Spec) error {
	var errs []error
	for _, i := range s.Interfaces {
		mac, err := net.ParseMAC(i.MAC)
		if err != nil {
			return fmt.Errorf("interface %s: %w", i.ID, err)
		}
		if err := h.Plane.Attach(ctx, network.Attachment{
			VPCID: i.VPCID, InterfaceID: i.ID, Netns: h.Plane.NetnsPath(netnsName(s.ID)), Index: i.Index, MAC: mac,
			Address: i.Address, Secondary: i.Secondary, Gateway: network.GatewayOf(i.Address), Bare: i.Bare,
		}); err != nil && i.Bare {
			errs = append(errs, fmt.Errorf("%w: %w", instance.ErrBare, err))
		} else if err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// Stop shuts an instance down within patience. Its folder stays.
func (h *Host) Stop(ctx context.Context, id string, patience time.Duration) error {
	st, err := h.Instances.State(id)
	if errors.Is(err, instance.ErrNotFound) {
		return h.Plane.DeleteNetns(ctx, netnsName(id))
	}
	if err != nil {
		return err
	}
	if err := h.Instances.Stop(ctx, id, patience); err != nil {
		return err
	}
	for _, i := range st.Spec.Interfaces {
		if err := h.Plane.Detach(ctx, i.VPCID, i.ID); err != nil {
			return err
		}
	}
	return h.Plane.DeleteNetns(ctx, netnsName(id))
}

// Remove ends an instance and forgets it.
func (h *Host) Remove(ctx context.Context, id string) error {
	if err := h.Stop(ctx, id, 0); err != nil {
		return err
	}
	return h.Instances.Remove(ctx, id)
}

// State is an instance's; instance.ErrNotFound when there is none.
func (h *Host) State(id string) (instance.State, error) { return h.Instances.State(id) }

// List names the instances, running or not.
func (h *Host) List() ([]string, error) {
	all, err := h.Instances.List()
	var ids []string
	for _, st := range all {
		ids = append(ids, st.Spec.ID)
	}
	return ids, err
}

// Wait returns when an instance does not run.
func (h *Host) Wait(ctx context.Context, id string) error { return h.Instances.Wait(ctx, id) }

// Console is the end of what an instance wrote to its console, and when.
func (h *Host) Console(id string) ([]byte, time.Time, error) { return h.Instances.Console(id) }

// teardownPatience is how long instances have to end when all do.
const teardownPatience = 3 * time.Second

// Teardown ends all instances of a server and removes their groups. Their
// folders stay: they boot again with the next server. Their network namespaces
// are network.Teardown's.
func Teardown(ctx context.Context, r *instance.Runtime, group string) error {
	all, err := r.List()
	errs := []error{err}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for chunk := range slices.Chunk(all, max(1, (len(all)+15)/16)) {
		wg.Go(func() {
			for _, st := range chunk {
				if err := r.Stop(ctx, st.Spec.ID, teardownPatience); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	groups, err := cgroup.Detect()
	if err == nil && groups.Exists(group) {
		err = groups.Remove(group)
	}
	return errors.Join(append(errs, err)...)
}
