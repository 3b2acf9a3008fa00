package machine

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Table is the name of the network's nftables table.
const Table = "roadstead-containers"

// writeRules writes the table: published ports lead to their containers from
// wherever they are reached, what containers send into the world comes from the
// machine, and from outside nothing else reaches them.
func (n *Network) writeRules() error {
	ns, err := netns.GetFromPath(n.cfg.Netns)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	c, err := nftables.New(nftables.WithNetNSFd(int(ns)))
	if err != nil {
		return fmt.Errorf("reach nftables: %w", err)
	}
	w := &writer{Conn: c, table: &nftables.Table{Family: nftables.TableFamilyIPv4, Name: Table}}
	c.AddTable(w.table) // so that there is one to delete
	c.DelTable(w.table)
	c.AddTable(w.table)
	if err := w.published(n.sortedPlaces()); err != nil {
		return err
	}
	w.leaving(n.state.Block)
	w.guards()
	if err := c.Flush(); err != nil {
		return fmt.Errorf("write the containers' rules: %w", err)
	}
	return nil
}

type writer struct {
	*nftables.Conn
	table *nftables.Table
}

func (w *writer) base(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority) *nftables.Chain {
	return w.AddChain(&nftables.Chain{Name: name, Table: w.table, Type: kind, Hooknum: hook, Priority: priority})
}

func (w *writer) rule(c *nftables.Chain, parts ...[]expr.Any) {
	w.AddRule(&nftables.Rule{Table: w.table, Chain: c, Exprs: slices.Concat(parts...)})
}

// published leads what is sent to a port of the machine, from outside, from
// containers and from the machine itself, to the container that has it.
func (w *writer) published(places []Place) error {
	ports := &nftables.Set{
		Table: w.table, Name: "published", IsMap: true, Concatenation: true,
		KeyType:  nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService),
		DataType: nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService),
	}
	if err := w.AddSet(ports, nil); err != nil {
		return err
	}
	for part := range slices.Chunk(elements(places), 400) {
		if err := w.SetAddElements(ports, part); err != nil {
			return err
		}
	}
	lookup := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: unix.NFT_REG32_00},
		&expr.Payload{DestRegister: unix.NFT_REG32_01, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Lookup{SourceRegister: unix.NFT_REG32_00, DestRegister: unix.NFT_REG32_02, IsDestRegSet: true, SetName: ports.Name, SetID: ports.ID},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: unix.NFT_REG32_02, RegProtoMin: unix.NFT_REG32_03},
	}
	for _, at := range []struct {
		name string
		hook *nftables.ChainHook
	}{{"arrive", nftables.ChainHookPrerouting}, {"depart", nftables.ChainHookOutput}} {
		w.rule(w.base(at.name, nftables.ChainTypeNAT, at.hook, nftables.ChainPriorityNATDest), toMachine(), lookup)
	}
	return nil
}

func elements(places []Place) []nftables.SetElement {
	var out []nftables.SetElement
	for _, p := range places {
		for _, b := range p.Bindings {
			protocol := byte(unix.IPPROTO_TCP)
			if b.UDP {
				protocol = unix.IPPROTO_UDP
			}
			a := p.Address.Addr().As4()
			for i := range b.Count {
				out = append(out, nftables.SetElement{
					Key: slices.Concat([]byte{protocol, 0, 0, 0}, port(b.Host+i), []byte{0, 0}),
					Val: slices.Concat(a[:], port(b.Container+i), []byte{0, 0}),
				})
			}
		}
	}
	return out
}

// leaving gives what leaves the bridge the machine's address, and what the
// machine sends to containers from its loopback, or containers by a published
// port to each other, the bridge's: so answers come back the same way.
func (w *writer) leaving(block netip.Prefix) {
	c := w.base("leave", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource)
	masquerade := []expr.Any{&expr.Masq{}}
	w.rule(c, out(Bridge), within(offsetSource, netip.MustParsePrefix("127.0.0.0/8")), masquerade)
	if block.IsValid() {
		w.rule(c, within(offsetSource, block), notOut(Bridge), masquerade)
		w.rule(c, within(offsetSource, block), out(Bridge), redirected(), masquerade)
	}
}

// guards keep from containers what is not theirs.
func (w *writer) guards() {
	// Nobody sends to the machine's loopback by a bridge.
	raw := w.base("sources", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw)
	for _, name := range []string{Bridge, LocalBridge} {
		w.rule(raw, in(name), within(offsetDest, netip.MustParsePrefix("127.0.0.0/8")), drop())
	}
	fwd := w.base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter)
	// The local bridge leads to the agent and nowhere else.
	w.rule(fwd, in(LocalBridge), drop())
	w.rule(fwd, out(LocalBridge), drop())
	w.rule(fwd, out(Bridge), in(Bridge), accept())
	w.rule(fwd, out(Bridge), known(), accept())
	w.rule(fwd, out(Bridge), redirected(), accept())
	w.rule(fwd, out(Bridge), drop())
	input := w.base("input", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter)
	w.rule(input, in(LocalBridge), redirected(), accept())
	w.rule(input, in(LocalBridge), drop())
}

// Parts of rules. Each loads what it needs into register 1 first.

// Offsets of addresses in an IPv4 header.
const (
	offsetSource = 12
	offsetDest   = 16
)

func device(key expr.MetaKey, op expr.CmpOp, name string) []expr.Any {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, &expr.Cmp{Op: op, Register: 1, Data: b}}
}

func in(name string) []expr.Any     { return device(expr.MetaKeyIIFNAME, expr.CmpOpEq, name) }
func out(name string) []expr.Any    { return device(expr.MetaKeyOIFNAME, expr.CmpOpEq, name) }
func notOut(name string) []expr.Any { return device(expr.MetaKeyOIFNAME, expr.CmpOpNeq, name) }

// toMachine matches what is sent to an address of the machine's own.
func toMachine() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: 1, ResultADDRTYPE: true, FlagDADDR: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

func within(offset uint32, p netip.Prefix) []expr.Any {
	address := p.Masked().Addr().As4()
	mask := binary.BigEndian.AppendUint32(nil, ^uint32(0)<<(32-p.Bits()))
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: address[:]},
	}
}

// tracked matches connections that have one of the bits of a property.
func tracked(key expr.CtKey, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: key, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

// known matches what belongs to a connection that was let through.
func known() []expr.Any {
	return tracked(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}

// statusDNAT is the kernel's IPS_DST_NAT.
const statusDNAT = 1 << 5

// redirected matches connections that go elsewhere than where they were sent.
func redirected() []expr.Any { return tracked(expr.CtKeySTATUS, statusDNAT) }

func accept() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }
func drop() []expr.Any   { return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}} }

func port(n int) []byte { return binaryutil.BigEndian.PutUint16(uint16(n)) }
