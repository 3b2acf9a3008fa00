package l4

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roadstead.dev/internal/network"
)

// Priorities of the routing rules by flows' marks: before all that the
// namespace's interfaces have.
const (
	priorityOwn = 40
	priority    = 50
)

// ownTable takes all addresses for the namespace's own.
const ownTable = 90

// route makes marked packets leave by their flow's interface, whose own
// routing table network.Attach made.
func route(path string, t Table) error {
	h, err := network.OpenHandle(path)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := routeOwn(h); err != nil {
		return err
	}
	for _, n := range t.Nodes {
		mask := uint32(markInterface)
		r := netlink.NewRule()
		r.Family, r.Priority, r.Table = netlink.FAMILY_V4, priority, network.InterfaceTable(n.Index)
		r.Mark, r.Mask = markOf(n.Index), &mask
		if err := h.RuleAdd(r); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		if err := network.Sysctl(path, map[string]string{"ipv4/conf/" + n.device() + "/rp_filter": "0"}); err != nil {
			return err
		}
	}
	return nil
}

// routeOwn leads the answers to sockets with others' addresses to them.
func routeOwn(h *netlink.Handle) error {
	lo, err := h.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := h.RouteReplace(&netlink.Route{
		Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST, Table: ownTable, LinkIndex: lo.Attrs().Index,
		Dst: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)},
	}); err != nil {
		return err
	}
	mask := uint32(markOwn)
	r := netlink.NewRule()
	r.Family, r.Priority, r.Table, r.Mark, r.Mask = netlink.FAMILY_V4, priorityOwn, ownTable, markOwn, &mask
	if err := h.RuleAdd(r); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// Flow identifies a target of flows.
type Flow struct {
	Protocol uint8
	Target   netip.AddrPort
}

// flowOf is the target that a tracked flow was sent on to; ok is false for
// those of the load balancer itself.
func flowOf(f *netlink.ConntrackFlow) (Flow, bool) {
	from, ok := netip.AddrFromSlice(f.Reverse.SrcIP)
	if !ok || f.Mark == 0 || f.Mark&markOwn != 0 {
		return Flow{}, false
	}
	return Flow{f.Forward.Protocol, netip.AddrPortFrom(from.Unmap(), f.Reverse.SrcPort)}, true
}

// Conntrack's states of TCP connections that are still in use.
const (
	tcpSynSent   = 1
	tcpCloseWait = 5
)

func inUse(f *netlink.ConntrackFlow) bool {
	p, ok := f.ProtoInfo.(*netlink.ProtoInfoTCP)
	return !ok || p.State >= tcpSynSent && p.State <= tcpCloseWait
}

// Count tells how many flows go to each target.
func Count(path string) (map[Flow]int64, error) {
	h, err := network.OpenHandle(path)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	flows, err := h.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list flows: %w", err)
	}
	out := map[Flow]int64{}
	for _, f := range flows {
		if to, ok := flowOf(f); ok && inUse(f) {
			out[to]++
		}
	}
	return out, nil
}

// Cut ends the flows that go to those targets: their next packets are answered
// with a reset, or go to another target where they begin a flow anew.
func Cut(path string, targets []Flow) error {
	if len(targets) == 0 {
		return nil
	}
	h, err := network.OpenHandle(path)
	if err != nil {
		return err
	}
	defer h.Close()
	gone := cutFilter{}
	for _, t := range targets {
		gone[t] = true
	}
	if _, err := h.ConntrackDeleteFilters(netlink.ConntrackTable, netlink.FAMILY_V4, gone); err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("cut flows: %w", err)
	}
	return nil
}

// cutFilter matches the flows to any of the targets.
type cutFilter map[Flow]bool

func (c cutFilter) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	to, ok := flowOf(f)
	return ok && c[to]
}
