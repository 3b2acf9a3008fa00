package l4

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"roadstead.dev/internal/network"
)

// A listener whose bytes this process reads is served by sockets in the load
// balancer's own namespace. There a socket may connect with a client's address,
// and has to get the answers, which are addressed to the client.
//
// What such a socket sends has markSocket, and the number of the interface by
// which it leaves. It makes a flow with markOwn, whose answers are for a socket
// here.
const (
	markInterface = 0xff
	markOwn       = 0x200
	markSocket    = 0x400
)

// markOf marks what leaves by the interface with the index.
func markOf(index int) uint32 { return uint32(index) + 1 }

// SocketMark is the mark of a socket that connects from the interface with the
// index with an address that is not the load balancer's.
func SocketMark(index int) uint32 { return markOf(index) | markSocket }

// Priorities of the routing rules by marks: before all that the namespace's
// interfaces have.
const (
	priorityOwn = 40
	priority    = 50
)

// ownTable takes all addresses for the namespace's own.
const ownTable = 90

// PrepareSockets makes the load balancer's namespace at path, with the devices
// that have the indexes, one in which sockets have others' addresses.
func PrepareSockets(path string, indexes []int) error {
	if err := network.Sysctl(path, map[string]string{
		"ipv4/conf/all/rp_filter":     "0",
		"ipv4/conf/default/rp_filter": "0",
		// What belongs to no flow that is known is answered with a reset.
		"netfilter/nf_conntrack_tcp_loose": "0",
	}); err != nil {
		return err
	}
	if err := route(path, indexes); err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	return transact(path, func(conn *nftables.Conn) error {
		writeSockets(conn)
		return nil
	})
}

// writeSockets writes the rules that mark what sockets send, and its answers.
func writeSockets(conn *nftables.Conn) {
	table := &nftables.Table{Name: "balancer", Family: nftables.TableFamilyIPv4}
	// Deleting a table fails when there is none, so it is made first.
	conn.AddTable(table)
	conn.DelTable(table)
	conn.AddTable(table)
	chain := func(name string, hook *nftables.ChainHook, exprs ...expr.Any) {
		c := conn.AddChain(&nftables.Chain{Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityMangle})
		conn.AddRule(&nftables.Rule{Table: table, Chain: c, Exprs: exprs})
	}
	some := &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: number(0)}
	chain("keep", nftables.ChainHookPrerouting,
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1}, some,
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true},
	)
	chain("own", nftables.ChainHookOutput,
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1}, masked(markSocket), some,
		&expr.Meta{Key: expr.MetaKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: number(markInterface), Xor: number(markOwn)},
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true},
	)
}

// route makes marked packets leave by their interface, whose own routing table
// network.Attach made.
func route(path string, indexes []int) error {
	h, err := network.OpenHandle(path)
	if err != nil {
		return err
	}
	defer h.Close()
	if err := routeOwn(h); err != nil {
		return err
	}
	for _, index := range indexes {
		mask := uint32(markInterface)
		r := netlink.NewRule()
		r.Family, r.Priority, r.Table = netlink.FAMILY_V4, priority, network.InterfaceTable(index)
		r.Mark, r.Mask = markOf(index), &mask
		if err := h.RuleAdd(r); err != nil && !errors.Is(err, unix.EEXIST) {
			return err
		}
		if err := network.Sysctl(path, map[string]string{"ipv4/conf/eth" + strconv.Itoa(index) + "/rp_filter": "0"}); err != nil {
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
