package network

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// linkPool is where the addresses of links between the host and VPCs come
// from: two for each. They are link-local, so no network that the host is on
// uses them, and below the ones that clouds give to services.
var linkPool = netip.MustParsePrefix("169.254.0.0/17")

// link is what joins a VPC to the host.
type link struct {
	device string // on the host
	host   netip.Addr
	vpc    netip.Addr
}

// mtu of all devices. Larger ones, as in EC2, would need the host's own
// network to carry them.
const mtu = 1500

func openHandle(path string) (*netlink.Handle, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", path, err)
	}
	defer func() { _ = ns.Close() }()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("netlink in %s: %w", path, err)
	}
	return h, nil
}

func isNotFound(err error) bool {
	_, ok := errors.AsType[netlink.LinkNotFoundError](err)
	return ok || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT)
}

// loopbackUp brings the loopback device of the thread's namespace up.
func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// prepareRouter makes the thread's namespace a router.
func prepareRouter() error {
	if err := loopbackUp(); err != nil {
		return err
	}
	return writeSysctls(map[string]string{
		"ipv4/ip_forward": "1",
		// Next to nothing that arrives is for a socket here.
		"ipv4/ip_early_demux": "0",
		// Sources are checked by rules of our own, which know of public
		// addresses and of interfaces without source/destination check.
		"ipv4/conf/all/rp_filter":            "0",
		"ipv4/conf/default/rp_filter":        "0",
		"ipv4/conf/all/send_redirects":       "0",
		"ipv4/conf/default/send_redirects":   "0",
		"ipv4/conf/all/accept_redirects":     "0",
		"ipv4/conf/default/accept_redirects": "0",
		"ipv4/ip_unprivileged_port_start":    "0",
		// What refuses a packet takes the routes of its sender's subnet.
		"ipv4/fwmark_reflect":            "1",
		"ipv6/conf/all/disable_ipv6":     "1",
		"ipv6/conf/default/disable_ipv6": "1",
	})
}

// ensureLink finds the link between the host and the VPC, or makes it.
func (n *Network) ensureLink(st *vpcState, vpcID string) error {
	name := n.linkName(vpcID)
	vpc, err := openHandle(n.VPCNetns(vpcID))
	if err != nil {
		return err
	}
	defer vpc.Close()
	if l, ok := findLink(vpc, name); ok {
		st.link = l
		return n.openLink(vpcID, name)
	}
	if old, err := netlink.LinkByName(name); err == nil {
		if err := netlink.LinkDel(old); err != nil && !isNotFound(err) {
			return err
		}
	}
	if old, err := vpc.LinkByName(hostDevice); err == nil {
		if err := vpc.LinkDel(old); err != nil && !isNotFound(err) {
			return err
		}
	}
	ns, err := netns.GetFromPath(n.VPCNetns(vpcID))
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()

	unlock, err := lockHost()
	if err != nil {
		return err
	}
	defer unlock()
	l := link{device: name}
	if l.vpc, l.host, err = freeLinkAddrs(n.cfg.Prefix + vpcID); err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, mtu
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: hostDevice, PeerNamespace: netlink.NsFd(int(ns))}
	if err := netlink.LinkAdd(veth); err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	if err := enableForwarding(); err != nil {
		return err
	}
	if err := setUp(&netlink.Handle{}, name, l.host); err != nil {
		return err
	}
	if err := setUp(vpc, hostDevice, l.vpc); err != nil {
		return err
	}
	st.link = l
	return n.openLink(vpcID, name)
}

// findLink reads the link's addresses, if it is whole.
func findLink(vpc *netlink.Handle, name string) (link, bool) {
	l := link{device: name}
	for _, end := range []struct {
		h    *netlink.Handle
		name string
		addr *netip.Addr
	}{{&netlink.Handle{}, name, &l.host}, {vpc, hostDevice, &l.vpc}} {
		dev, err := end.h.LinkByName(end.name)
		if err != nil || dev.Attrs().OperState == netlink.OperDown {
			return l, false
		}
		addrs, err := end.h.AddrList(dev, netlink.FAMILY_V4)
		if err != nil {
			return l, false
		}
		for _, a := range addrs {
			if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok && linkPool.Contains(ip) {
				*end.addr = ip
			}
		}
		if !end.addr.IsValid() {
			return l, false
		}
	}
	return l, l.vpc.Next() == l.host
}

func setUp(h *netlink.Handle, name string, addr netip.Addr) error {
	dev, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	a := &netlink.Addr{IPNet: ipNet(netip.PrefixFrom(addr, 31))}
	if err := h.AddrReplace(dev, a); err != nil {
		return fmt.Errorf("address %s of %s: %w", addr, name, err)
	}
	return h.LinkSetUp(dev)
}

// freeLinkAddrs finds two neighbouring addresses that no device of the host
// has. Call it with the host's lock held until they are in use.
func freeLinkAddrs(seed string) (vpc, host netip.Addr, err error) {
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return vpc, host, err
	}
	used := map[netip.Addr]bool{}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok {
			used[ip] = true
		}
	}
	const pairs = 1 << 14
	base := linkPool.Addr().As4()
	for i := range uint32(pairs) {
		k := (hash32(seed) + i) % pairs * 2
		vpc = netip.AddrFrom4([4]byte{base[0], base[1], byte(k >> 8), byte(k)})
		if host = vpc.Next(); k != 0 && !used[vpc] && !used[host] {
			return vpc, host, nil
		}
	}
	return vpc, host, fmt.Errorf("no addresses left in %s", linkPool)
}

// lockHost keeps other instances in this namespace from choosing addresses.
// The lock is on the namespace itself, so that it leaves no file behind.
func lockHost() (unlock func(), err error) {
	f, err := os.Open("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock the host's network: %w", err)
	}
	return func() { _ = f.Close() }, nil
}
