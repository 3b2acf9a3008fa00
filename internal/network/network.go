package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"sync"
)

// Config describes an instance's network.
type Config struct {
	// Prefix starts the names of all that the instance makes on the host: at
	// most eight lower-case letters and digits, rs and six hexadecimal digits.
	Prefix string
	// Dir is where namespaces are mounted, best in /run. It belongs to this
	// instance alone.
	Dir string
	Log *slog.Logger
}

// Network is an instance's data plane. Its methods are safe for concurrent
// use.
type Network struct {
	cfg Config

	mu      sync.Mutex
	vpcs    map[string]*vpcState
	changed chan struct{} // closed, and replaced, after each change of vpcs

	host hostState
}

// vpcState is what is known of a VPC since this process began.
type vpcState struct {
	// mu serializes all changes to the VPC's namespace.
	mu sync.Mutex
	// applied is what Apply made last, nil before it first succeeded.
	applied *VPC
	// rules is the table that goes with applied.
	rules   *ruleset
	link    link
	removed bool
}

var validPrefix = regexp.MustCompile(`^[a-z][a-z0-9]{1,7}$`)

// New prepares the data plane and adopts what an earlier process of the
// instance left. It needs the capabilities NET_ADMIN and SYS_ADMIN.
func New(cfg Config) (*Network, error) {
	if !validPrefix.MatchString(cfg.Prefix) {
		return nil, fmt.Errorf("network prefix %q: want up to eight letters and digits", cfg.Prefix)
	}
	if !filepath.IsAbs(cfg.Dir) {
		return nil, fmt.Errorf("network directory %q is not absolute", cfg.Dir)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, err
	}
	n := &Network{cfg: cfg, vpcs: map[string]*vpcState{}, changed: make(chan struct{})}
	n.host.links = map[string]hostLink{}
	if err := enableForwarding(); err != nil {
		return nil, err
	}
	return n, nil
}

// VPCNetns is the path of a VPC's namespace. It exists once Apply was called
// for the VPC, or WaitVPC returned.
func (n *Network) VPCNetns(vpcID string) string { return filepath.Join(n.cfg.Dir, "vpc", vpcID) }

func (n *Network) state(vpcID string) *vpcState {
	n.mu.Lock()
	defer n.mu.Unlock()
	st := n.vpcs[vpcID]
	if st == nil {
		st = &vpcState{}
		n.vpcs[vpcID] = st
	}
	return st
}

// Apply makes a VPC what v says, from whatever it is now, and removes
// interfaces that v does not have. Packets meet either the old rules or the
// new ones. Connections that were allowed go on; new ones meet the new rules.
func (n *Network) Apply(ctx context.Context, v VPC) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	st := n.state(v.ID)
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.removed {
		return fmt.Errorf("VPC %s was removed", v.ID)
	}
	if st.applied != nil && reflect.DeepEqual(*st.applied, v) {
		return nil
	}
	if err := n.apply(st, v); err != nil {
		// What is there is unknown now: the next Apply compares with nothing.
		n.setApplied(st, nil)
		st.rules = nil
		return fmt.Errorf("apply VPC %s: %w", v.ID, err)
	}
	n.setApplied(st, &v)
	return nil
}

func (n *Network) setApplied(st *vpcState, v *VPC) {
	n.mu.Lock()
	defer n.mu.Unlock()
	st.applied = v
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *Network) apply(st *vpcState, v VPC) error {
	path := n.VPCNetns(v.ID)
	made, err := makeNetns(path)
	if err != nil {
		return err
	}
	if made || st.applied == nil {
		st.rules = nil
		if err := runIn(path, prepareRouter); err != nil {
			return err
		}
		if err := n.ensureLink(st, v.ID); err != nil {
			return fmt.Errorf("link with the host: %w", err)
		}
	}
	h, err := openHandle(path)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := removeStaleDevices(h, v); err != nil {
		return err
	}
	if err := setLocalAddresses(h, v); err != nil {
		return err
	}
	numbers := tableNumbers(v.RouteTables)
	if err := setRoutes(h, v, numbers, st.link); err != nil {
		return err
	}
	rules := compile(path, v, numbers)
	if err := rules.commit(st.rules); err != nil {
		return fmt.Errorf("write rules: %w", err)
	}
	st.rules = rules
	if err := dropStaleRules(h, tablesOf(v, numbers)); err != nil {
		return err
	}
	forgetConnections(h, st.applied, v)
	return n.setHostLink(v, st.link)
}

// RemoveVPC removes a VPC's namespace and all that leads to it. Namespaces of
// tasks stay, without their interfaces.
func (n *Network) RemoveVPC(ctx context.Context, vpcID string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	st := n.state(vpcID)
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := n.removeHostLink(vpcID); err != nil {
		return err
	}
	if err := dropNetns(n.VPCNetns(vpcID)); err != nil {
		return err
	}
	st.removed = true
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.vpcs, vpcID)
	return nil
}

// VPCs names the VPCs that have a namespace, also those that an earlier
// process made.
func (n *Network) VPCs() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(n.cfg.Dir, "vpc"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		ids = append(ids, e.Name())
	}
	return ids, nil
}

// WaitVPC returns once Apply has made the VPC.
func (n *Network) WaitVPC(ctx context.Context, vpcID string) error {
	return n.wait(ctx, func() bool {
		st := n.vpcs[vpcID]
		return st != nil && st.applied != nil
	})
}

// WaitInterface returns once Apply has made the VPC with the interface in it,
// so that its security groups are in force.
func (n *Network) WaitInterface(ctx context.Context, vpcID, interfaceID string) error {
	err := n.wait(ctx, func() bool {
		st := n.vpcs[vpcID]
		if st == nil || st.applied == nil {
			return false
		}
		for i := range st.applied.Interfaces {
			if st.applied.Interfaces[i].ID == interfaceID {
				return true
			}
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("waiting for interface %s in %s: %w", interfaceID, vpcID, err)
	}
	return nil
}

// wait returns when ready, called with n.mu held, says true.
func (n *Network) wait(ctx context.Context, ready func() bool) error {
	for {
		n.mu.Lock()
		ok, changed := ready(), n.changed
		n.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// LinkAddr is the host's own address as a VPC sees it, zero before Apply.
func (n *Network) LinkAddr(vpcID string) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if st := n.vpcs[vpcID]; st != nil && st.applied != nil {
		return st.link.host
	}
	return netip.Addr{}
}
