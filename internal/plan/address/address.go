// Package address decides which addresses of a block are given out.
package address

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
)

// Reserved is how many addresses of each subnet EC2 keeps: the first four
// and the last.
const Reserved = 5

// Size is the number of addresses in an IPv4 block.
func Size(p netip.Prefix) int { return 1 << (32 - p.Bits()) }

// Capacity is the number of addresses of a subnet that interfaces can have.
func Capacity(p netip.Prefix) int { return max(0, Size(p)-Reserved) }

// Nth is the address at an offset from the start of an IPv4 block.
func Nth(p netip.Prefix, n int) netip.Addr {
	a := p.Masked().Addr().As4()
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(a[:])+uint32(n))
	return netip.AddrFrom4(b)
}

// IsReserved tells whether EC2 keeps the address of the subnet for itself.
func IsReserved(subnet netip.Prefix, a netip.Addr) bool {
	for i := range 4 {
		if Nth(subnet, i) == a {
			return true
		}
	}
	return Nth(subnet, Size(subnet)-1) == a
}

// Pick chooses a free address of a subnet. The seed, the future holder's id,
// spreads choices so that concurrent callers rarely want the same one. ok is
// false when the subnet is full.
func Pick(subnet netip.Prefix, seed string, used func(netip.Addr) bool) (a netip.Addr, ok bool) {
	return pick(subnet, 4, Capacity(subnet), seed, used)
}

// PickPublic chooses a free address of a pool of public addresses, of which
// only the first and the last are kept back.
func PickPublic(pool netip.Prefix, seed string, used func(netip.Addr) bool) (a netip.Addr, ok bool) {
	return pick(pool, 1, Size(pool)-2, seed, used)
}

func pick(p netip.Prefix, first, n int, seed string, used func(netip.Addr) bool) (netip.Addr, bool) {
	if n <= 0 {
		return netip.Addr{}, false
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(seed))
	start := int(h.Sum32()) % n
	for i := range n {
		a := Nth(p, first+(start+i)%n)
		if !used(a) {
			return a, true
		}
	}
	return netip.Addr{}, false
}
