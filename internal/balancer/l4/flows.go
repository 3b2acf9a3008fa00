package l4

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roadstead.dev/internal/network"
)

// Flow identifies a target of flows.
type Flow struct {
	Protocol uint8
	Target   netip.AddrPort
}

// Flows are those that the load balancer's interfaces with the numbers sent on,
// in the VPC's namespace at Path; none without numbers.
type Flows struct {
	Path    string
	Numbers []uint32
}

// of is the target that a tracked flow was sent on to; ok is false for one that
// none of the interfaces sent on.
func (fs Flows) of(f *netlink.ConntrackFlow) (Flow, bool) {
	number, ok := network.Forwarded(f.Mark)
	if !ok || !slices.Contains(fs.Numbers, number) {
		return Flow{}, false
	}
	from, ok := netip.AddrFromSlice(f.Reverse.SrcIP)
	return Flow{f.Forward.Protocol, netip.AddrPortFrom(from.Unmap(), f.Reverse.SrcPort)}, ok
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

func list(h *netlink.Handle) ([]*netlink.ConntrackFlow, error) {
	flows, err := h.ConntrackTableList(netlink.ConntrackTable, netlink.FAMILY_V4)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list flows: %w", err)
	}
	return flows, nil
}

// Count tells how many flows go to each target.
func (fs Flows) Count() (map[Flow]int64, error) {
	if len(fs.Numbers) == 0 {
		return nil, nil
	}
	h, err := network.OpenHandle(fs.Path)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	flows, err := list(h)
	if err != nil {
		return nil, err
	}
	out := map[Flow]int64{}
	for _, f := range flows {
		if to, ok := fs.of(f); ok && inUse(f) {
			out[to]++
		}
	}
	return out, nil
}

// Cut ends the flows that go to those targets. Both ends of one of TCP are
// answered with a reset when they send something; datagrams go to another
// target, where they begin a flow anew.
func (fs Flows) Cut(targets []Flow) error {
	if len(targets) == 0 || len(fs.Numbers) == 0 {
		return nil
	}
	h, err := network.OpenHandle(fs.Path)
	if err != nil {
		return err
	}
	defer h.Close()
	gone := map[Flow]bool{}
	for _, t := range targets {
		gone[t] = true
	}
	flows, err := list(h)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range flows {
		if to, ok := fs.of(f); ok && gone[to] && f.Forward.Protocol == TCP {
			errs = append(errs, refuse(h, f))
		}
	}
	if _, err := h.ConntrackDeleteFilters(netlink.ConntrackTable, netlink.FAMILY_V4, datagrams{fs, gone}); err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		errs = append(errs, fmt.Errorf("cut flows: %w", err))
	}
	return errors.Join(errs...)
}

// refuse marks a flow, which the VPC refuses from now on. After a while without
// packets it is forgotten, so that its client may use its port again.
func refuse(h *netlink.Handle, f *netlink.ConntrackFlow) error {
	const while = 30 // seconds
	cut := *f
	cut.Mark, cut.TimeOut, cut.ProtoInfo = network.CutMark(f.Mark), while, nil
	if err := h.ConntrackUpdate(netlink.ConntrackTable, netlink.FAMILY_V4, &cut); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("cut a flow: %w", err)
	}
	return nil
}

// datagrams matches the flows of UDP to any of the targets.
type datagrams struct {
	of   Flows
	gone map[Flow]bool
}

func (d datagrams) MatchConntrackFlow(f *netlink.ConntrackFlow) bool {
	to, ok := d.of.of(f)
	return ok && d.gone[to] && to.Protocol == UDP
}
