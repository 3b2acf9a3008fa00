package machine

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"roadstead.dev/internal/network"
)

// The devices in the namespace of a task with an interface of its own.
const (
	taskDevice  = "eth0"
	localDevice = "ecs-eth0"
)

// metadataAddr is where tasks find their metadata and credentials, by HTTP. At
// other ports of it is what the VPC has there.
var metadataAddr = network.MetadataAddr

const (
	metadataPort = 80
	// localTable is the routing table of what goes to the agent.
	localTable    = 170
	localPriority = 50
)

// WaitInterface returns once the machine has an interface with the MAC address,
// or a task has it already.
func (n *Network) WaitInterface(ctx context.Context, mac string) error {
	n.mu.Lock()
	for _, a := range n.state.Tasks {
		if a.Interface != nil && a.Interface.MAC == mac {
			n.mu.Unlock()
			return nil
		}
	}
	n.mu.Unlock()
	h, err := network.OpenHandle(n.cfg.Netns)
	if err != nil {
		return err
	}
	defer h.Close()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 250*time.Millisecond) {
		if dev, err := byMAC(h, mac); dev != nil || err != nil {
			return err
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("waiting for an interface with MAC address %s: %w", mac, ctx.Err())
		case <-t.C:
		}
	}
}

// Own gives a task a namespace with an interface of the machine's that has been
// attached for it, and a way to the agent. It waits for the interface. It is
// idempotent.
func (n *Network) Own(ctx context.Context, task string, e Interface) (string, error) {
	if err := n.WaitInterface(ctx, e.MAC); err != nil {
		return "", err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.adopt(ctx); err != nil {
		return "", err
	}
	h, err := network.OpenHandle(n.cfg.Netns)
	if err != nil {
		return "", err
	}
	defer h.Close()
	path := n.netns(task)
	a := n.state.Tasks[task]
	if a == nil {
		local, ok := n.freeAddress(localBlock, &n.state.LastLocal, &allots{})
		if !ok {
			return "", fmt.Errorf("no address left in %s", localBlock)
		}
		a = &allots{Interface: &e, Local: local}
		n.state.Tasks[task] = a
		if err := n.save(); err != nil {
			delete(n.state.Tasks, task)
			return "", err
		}
	}
	if err := network.MakeNetns(path); err != nil {
		return "", err
	}
	if err := n.ensureInterface(h, task, a); err != nil {
		return "", err
	}
	return path, n.writeRules()
}

// ensureInterface makes a task's namespace have what it is to.
func (n *Network) ensureInterface(h *netlink.Handle, task string, a *allots) error {
	path := n.netns(task)
	inner, err := network.OpenHandle(path)
	if err != nil {
		return err
	}
	defer inner.Close()
	dev, err := move(h, inner, path, a.Interface.MAC)
	if err != nil {
		return err
	}
	for _, p := range append([]netip.Addr{a.Interface.Address.Addr()}, a.Interface.Secondary...) {
		if err := inner.AddrReplace(dev, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(p, a.Interface.Address.Bits()))}); err != nil {
			return fmt.Errorf("address %s: %w", p, err)
		}
	}
	if err := network.Sysctl(path, map[string]string{"ipv6/conf/" + taskDevice + "/disable_ipv6": "1"}); err != nil {
		return err
	}
	if err := inner.LinkSetUp(dev); err != nil {
		return err
	}
	if err := defaultRoute(inner, dev, a.Interface.Gateway); err != nil {
		return err
	}
	return n.ensureLocal(h, inner, task, a)
}

// move brings the interface with the MAC address into the namespace, unless it
// is there.
func move(h, inner *netlink.Handle, path, mac string) (netlink.Link, error) {
	if dev, err := byMAC(inner, mac); err != nil {
		return nil, err
	} else if dev != nil {
		return dev, named(inner, dev)
	}
	dev, err := byMAC(h, mac)
	if err != nil {
		return nil, err
	}
	if dev == nil {
		return nil, fmt.Errorf("the interface with MAC address %s is not there", mac)
	}
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = ns.Close() }()
	if err := rename(h, dev, parked(mac)); err != nil {
		return nil, err
	}
	if err := h.LinkSetNsFd(dev, int(ns)); err != nil {
		return nil, fmt.Errorf("move %s: %w", dev.Attrs().Name, err)
	}
	if dev, err = byMAC(inner, mac); err != nil || dev == nil {
		return nil, fmt.Errorf("find the interface that was moved: %w", err)
	}
	return dev, named(inner, dev)
}

// named gives the task's interface its name, unless it has it.
func named(inner *netlink.Handle, dev netlink.Link) error {
	if dev.Attrs().Name == taskDevice {
		return nil
	}
	return rename(inner, dev, taskDevice)
}

// rename takes a device down and gives it another name.
func rename(h *netlink.Handle, dev netlink.Link, name string) error {
	if err := h.LinkSetDown(dev); err != nil {
		return err
	}
	if err := h.LinkSetName(dev, name); err != nil {
		return fmt.Errorf("name %s %s: %w", dev.Attrs().Name, name, err)
	}
	return nil
}

// parked is the name of an interface on its way, which is no other's.
func parked(mac string) string { return "eni" + strings.ReplaceAll(mac, ":", "") }

// byMAC finds the interface with a MAC address; nil when there is none.
func byMAC(h *netlink.Handle, mac string) (netlink.Link, error) {
	links, err := h.LinkList()
	if err != nil {
		return nil, err
	}
	for _, l := range links {
		if l.Attrs().HardwareAddr.String() == strings.ToLower(mac) {
			return l, nil
		}
	}
	return nil, nil //nolint:nilnil // there is none
}

// ensureLocal leads what the task sends to its metadata to the agent; all else
// goes by its own interface.
func (n *Network) ensureLocal(h, inner *netlink.Handle, task string, a *allots) error {
	bridge := netip.PrefixFrom(gateway(localBlock), localBlock.Bits())
	if err := n.makeBridge(h, LocalBridge, bridge); err != nil {
		return err
	}
	path := n.netns(task)
	dev, err := join(h, inner, LocalBridge, "vetl"+digest(path), path, localDevice, a.Local, true)
	if err != nil {
		return err
	}
	if err := inner.AddrReplace(dev, &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(a.Local, 32)), Scope: int(netlink.SCOPE_LINK)}); err != nil {
		return fmt.Errorf("address %s: %w", a.Local, err)
	}
	// Answers from the agent come by another device than the address's.
	if err := network.Sysctl(path, map[string]string{"ipv4/conf/all/rp_filter": "0", "ipv4/conf/" + localDevice + "/rp_filter": "0"}); err != nil {
		return err
	}
	if err := inner.LinkSetUp(dev); err != nil {
		return err
	}
	if err := inner.RouteReplace(&netlink.Route{
		Dst: ipNet(netip.PrefixFrom(metadataAddr, 32)), Gw: bridge.Addr().AsSlice(), Src: a.Local.AsSlice(),
		LinkIndex: dev.Attrs().Index, Table: localTable, Flags: int(netlink.FLAG_ONLINK),
	}); err != nil {
		return fmt.Errorf("route to the agent: %w", err)
	}
	r := netlink.NewRule()
	r.Family, r.Priority, r.Table, r.Dst = netlink.FAMILY_V4, localPriority, localTable, ipNet(netip.PrefixFrom(metadataAddr, 32))
	r.IPProto, r.Dport = unix.IPPROTO_TCP, netlink.NewRulePortRange(metadataPort, metadataPort)
	have, err := inner.RuleList(netlink.FAMILY_V4)
	if err != nil {
		return err
	}
	for i := range have {
		if have[i].Table == localTable {
			return nil
		}
	}
	return inner.RuleAdd(r)
}

// giveBack moves a task's interface into the machine's namespace, if it is
// there still, and takes its way to the agent away.
func (n *Network) giveBack(h *netlink.Handle, task string, e *Interface) error {
	path := n.netns(task)
	if err := removeLink(h, "vetl"+digest(path)); err != nil {
		return err
	}
	if !network.IsNetns(path) {
		return nil
	}
	inner, err := network.OpenHandle(path)
	if err != nil {
		return err
	}
	defer inner.Close()
	dev, err := byMAC(inner, e.MAC)
	if err != nil || dev == nil {
		return err
	}
	ns, err := netns.GetFromPath(n.cfg.Netns)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	if err := rename(inner, dev, parked(e.MAC)); err != nil {
		return err
	}
	if err := inner.LinkSetNsFd(dev, int(ns)); err != nil && !isNotFound(err) {
		return fmt.Errorf("give the interface back: %w", err)
	}
	return nil
}
