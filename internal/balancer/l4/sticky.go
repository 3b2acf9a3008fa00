package l4

import (
	"hash/fnv"
	"math"
	"net/netip"
)

// Assigned is the pool that a slot belongs to, by the pools' weights: -1 where
// none has any. When weights change, only as many slots change hands as must:
// who came to a pool before prefers it still.
func Assigned(pools []Pool, slot int) int {
	out, best := -1, math.Inf(-1)
	for i := range pools {
		if pools[i].Weight <= 0 {
			continue
		}
		// The largest of u^(1/weight), with u equally likely anywhere between 0 and
		// 1, is each pool's in proportion to its weight.
		u := (float64(mix(mix(hash64([]byte(pools[i].Name)))^mix(uint64(slot)+1))>>11) + 0.5) / (1 << 53)
		if score := math.Log(u) / float64(pools[i].Weight); score > best {
			best, out = score, i
		}
	}
	return out
}

// StickySlots is how many slots sources are shared out by.
const StickySlots = manySlots

// SlotOf is the slot of a source.
func SlotOf(source netip.Addr) int {
	b := source.As16()
	return int(mix(hash64(b[:])) % StickySlots)
}

func hash64(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b)
	return h.Sum64()
}

// sharing is which of the pools, whose weights are as small as they can be,
// gets each value of the hash that chooses one.
func (p *Port) sharing(pools []Pool) []int {
	var out []int
	if p.Sticky {
		for slot := range StickySlots {
			out = append(out, Assigned(pools, slot))
		}
		return out
	}
	for i := range pools {
		for range pools[i].Weight {
			out = append(out, i)
		}
	}
	return out
}
