package network

import (
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
)

// A connection that has to do with a load balancer's interface is marked, in
// connection tracking, with the interface's number and the kind that it is of.
// One that is forwarded also tells how long it may be idle and whether it keeps
// its source.
const (
	flowNumber    = 0xffff
	flowIdle      = 0x1fff << idleShift
	flowKeeps     = 1 << 29
	flowKinds     = 3 << 30
	idleShift     = 16
	mostIdle      = flowIdle >> idleShift
	flowAddressed = 0       // for the load balancer's address
	flowForwarded = 1 << 30 // sent on to a target by the kernel
	flowEmerged   = 2 << 30 // came out of the load balancer's device
	flowCut       = 3 << 30 // was forwarded, and is refused now
)

// AddressedMark is the mark of new connections for a load balancer's address
// that may reach it: those that may be forwarded.
func AddressedMark(number uint32) uint32 { return flowAddressed | number }

// ForwardedMark is the mark of connections that are sent on to a target. They
// may be idle for so many seconds, 8191 at most, and keep their source or get
// the load balancer's address.
func ForwardedMark(number, idle uint32, keep bool) uint32 {
	m := flowForwarded | number | min(idle, mostIdle)<<idleShift
	if keep {
		m |= flowKeeps
	}
	return m
}

// Forwarded tells whether the mark is that of a connection which the load
// balancer's interface with the number sent on.
func Forwarded(mark uint32) (number uint32, ok bool) {
	return mark & flowNumber, mark&flowKinds == flowForwarded
}

// CutMark is the mark of a connection that was forwarded and that is to be
// refused: each end is told so with its next packet.
func CutMark(mark uint32) uint32 { return mark | flowCut }

// IdleBits is the part of marks that tells how long a connection may be idle,
// and IdleMark that part for so many seconds. A mark whose KindBits are
// ForwardedKind tells it.
const (
	IdleBits      = flowIdle
	KindBits      = flowKinds
	ForwardedKind = flowForwarded
)

// IdleMark is the IdleBits for so many seconds.
func IdleMark(seconds uint32) uint32 { return min(seconds, mostIdle) << idleShift }

// Parts of rules about marks.

func mark32(v uint32) []byte { return binaryutil.NativeEndian.PutUint32(v) }

// flowMark loads a part of a connection's mark into register 1.
func flowMark(mask uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mark32(mask), Xor: mark32(0)},
	}
}

func flowIs(mask, value uint32) []expr.Any { return append(flowMark(mask), eq(mark32(value))) }

func flowIsNot(mask, value uint32) []expr.Any {
	return append(flowMark(mask), &expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: mark32(value)})
}

func setFlowMark() expr.Any {
	return &expr.Ct{Key: expr.CtKeyMARK, Register: 1, SourceRegister: true}
}

func setMark() expr.Any { return &expr.Meta{Key: expr.MetaKeyMARK, Register: 1, SourceRegister: true} }

// valueOf replaces what is in register 1 with what a map has for it.
func valueOf(m *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetName: m.Name, SetID: m.ID}
}

// byFlow decides by a map from a part of a connection's mark.
func byFlow(mask uint32, m *nftables.Set) []expr.Any {
	return append(flowMark(mask), &expr.Lookup{SourceRegister: 1, DestRegister: 0, IsDestRegSet: true, SetName: m.Name, SetID: m.ID})
}
