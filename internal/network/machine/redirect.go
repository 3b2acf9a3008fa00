package machine

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// redirectTable is the nftables table of Redirect.
const redirectTable = "roadstead-agent"

// Redirect leads what programs of the machine, and containers on its bridges,
// send to 169.254.170.2:80, where tasks look for their metadata and
// credentials, to a port of the machine's loopback. The function that it
// returns undoes it. What earlier calls did, it replaces.
func Redirect(path string, to int) (undo func(), err error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, err
	}
	c, err := nftables.New(nftables.WithNetNSFd(int(ns)))
	if err != nil {
		_ = ns.Close()
		return nil, fmt.Errorf("reach nftables: %w", err)
	}
	w := &writer{Conn: c, table: &nftables.Table{Family: nftables.TableFamilyIPv4, Name: redirectTable}}
	c.AddTable(w.table) // so that there is one to delete
	c.DelTable(w.table)
	c.AddTable(w.table)
	address := metadataAddr.As4()
	match := []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offsetDest, Len: 4},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: address[:]},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: port(metadataPort)},
	}
	loopback := []expr.Any{
		&expr.Immediate{Register: 1, Data: []byte{127, 0, 0, 1}},
		&expr.Immediate{Register: 2, Data: port(to)},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2},
	}
	w.rule(w.base("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest), match, loopback)
	arrive := w.base("arrive", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest)
	w.rule(arrive, in(Bridge), match, loopback)
	w.rule(arrive, in(LocalBridge), match, loopback)
	if err := c.Flush(); err != nil {
		_ = ns.Close()
		return nil, fmt.Errorf("redirect tasks' metadata: %w", err)
	}
	return func() {
		c.DelTable(w.table)
		_ = c.Flush() // with the namespace it goes anyway
		_ = ns.Close()
	}, nil
}
