package network

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ruleset is what one nftables table should be. It is put together first and
// written by commit.
type ruleset struct {
	// path is the namespace's; empty is the process's own.
	path   string
	table  *nftables.Table
	sets   []*setSpec
	chains []*chainSpec
	// setOf and chainOf find what the library's value stands for.
	setOf   map[*nftables.Set]*setSpec
	chainOf map[*nftables.Chain]*chainSpec
	setID   uint32
}

// setSpec is a set or a map, with what is in it.
type setSpec struct {
	*nftables.Set
	elements []nftables.SetElement
}

// chainSpec is a chain with its rules.
type chainSpec struct {
	*nftables.Chain
	rules [][]expr.Any
}

// newRuleset begins a table of IPv4 in the namespace at path.
func newRuleset(path, name string) *ruleset {
	return &ruleset{
		path: path, table: &nftables.Table{Name: name, Family: nftables.TableFamilyIPv4},
		setOf: map[*nftables.Set]*setSpec{}, chainOf: map[*nftables.Chain]*chainSpec{},
	}
}

// base adds a chain that packets meet at a hook.
func (rs *ruleset) base(name string, kind nftables.ChainType, hook *nftables.ChainHook, priority nftables.ChainPriority, policy nftables.ChainPolicy) *nftables.Chain {
	return rs.add(&nftables.Chain{
		Name: name, Table: rs.table, Type: kind, Hooknum: hook, Priority: &priority, Policy: &policy,
	})
}

// chain adds a chain that others jump or go to.
func (rs *ruleset) chain(name string) *nftables.Chain {
	return rs.add(&nftables.Chain{Name: name, Table: rs.table})
}

func (rs *ruleset) add(c *nftables.Chain) *nftables.Chain {
	rs.chainOf[c] = &chainSpec{Chain: c}
	rs.chains = append(rs.chains, rs.chainOf[c])
	return c
}

// rule adds a rule made of parts to a chain.
func (rs *ruleset) rule(c *nftables.Chain, parts ...[]expr.Any) {
	spec := rs.chainOf[c]
	spec.rules = append(spec.rules, slices.Concat(parts...))
}

// set adds a named set or map, empty as yet.
func (rs *ruleset) set(s *nftables.Set) *nftables.Set {
	rs.setID++
	s.Table, s.ID = rs.table, rs.setID
	rs.setOf[s] = &setSpec{Set: s}
	rs.sets = append(rs.sets, rs.setOf[s])
	return s
}

// fill adds elements to a set.
func (rs *ruleset) fill(s *nftables.Set, elements []nftables.SetElement) {
	spec := rs.setOf[s]
	spec.elements = append(spec.elements, elements...)
}

// Parts of rules. Each loads what it needs into register 1 first.

func eq(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

// ifname is a device name as the kernel compares it whole.
func ifname(name string) []byte {
	b := make([]byte, unix.IFNAMSIZ)
	copy(b, name)
	return b
}

func in(name string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, eq(ifname(name))}
}

func out(name string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, eq(ifname(name))}
}

// outPrefix matches devices whose names start so; notInPrefix the opposite,
// for where a packet came in.
func outPrefix(prefix string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, eq([]byte(prefix))}
}

func notOutPrefix(prefix string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte(prefix)}}
}

func notInPrefix(prefix string) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: []byte(prefix)}}
}

func ctState(bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

// Offsets of addresses in an IPv4 header.
const (
	offsetSource = 12
	offsetDest   = 16
)

func loadAddr(offset, register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4}
}

// within matches addresses of an IPv4 block.
func within(offset uint32, p netip.Prefix) []expr.Any {
	if p.Bits() == 0 {
		return nil
	}
	net := p.Masked().Addr().As4()
	if p.Bits() == 32 {
		return []expr.Any{loadAddr(offset, 1), eq(net[:])}
	}
	mask := make([]byte, 4)
	binary.BigEndian.PutUint32(mask, ^uint32(0)<<(32-p.Bits()))
	return []expr.Any{
		loadAddr(offset, 1),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		eq(net[:]),
	}
}

// member matches addresses that are in a set.
func member(offset uint32, s *nftables.Set) []expr.Any {
	return []expr.Any{loadAddr(offset, 1), &expr.Lookup{SourceRegister: 1, SetName: s.Name, SetID: s.ID}}
}

// notMember matches addresses that are in no element of a set.
func notMember(offset uint32, s *nftables.Set) []expr.Any {
	return []expr.Any{loadAddr(offset, 1), &expr.Lookup{SourceRegister: 1, SetName: s.Name, SetID: s.ID, Invert: true}}
}

// verdictOf decides by a map from what key loads.
func verdictOf(key expr.Any, m *nftables.Set) []expr.Any {
	return []expr.Any{key, &expr.Lookup{SourceRegister: 1, DestRegister: 0, IsDestRegSet: true, SetName: m.Name, SetID: m.ID}}
}

func verdict(kind expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: kind}} }

func accept() []expr.Any { return verdict(expr.VerdictAccept) }
func drop() []expr.Any   { return verdict(expr.VerdictDrop) }

func jump(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: chain}}
}

func goTo(chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: chain}}
}

func protocol(number int) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, eq([]byte{byte(number)})}
}

// destPorts matches a range of ports of the transport header.
func destPorts(from, to int) []expr.Any {
	load := &expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}
	if from == to {
		return []expr.Any{load, eq(port(from))}
	}
	return []expr.Any{
		load,
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: port(from)},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: port(to)},
	}
}

func port(n int) []byte { return binaryutil.BigEndian.PutUint16(uint16(n)) }

// transportByte matches one byte of the transport header: ICMP's type or
// code.
func transportByte(offset uint32, value int) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 1},
		eq([]byte{byte(value)}),
	}
}

// translate rewrites a source or destination to the address that register 1
// holds.
func translate(kind expr.NATType) expr.Any {
	return &expr.NAT{Type: kind, Family: unix.NFPROTO_IPV4, RegAddrMin: 1}
}

func ip4(a netip.Addr) []byte {
	b := a.As4()
	return b[:]
}
