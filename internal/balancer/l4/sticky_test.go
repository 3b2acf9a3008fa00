package l4

import (
	"math"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// Slots are shared by the weights.
func TestAssignedKeepsWeights(t *testing.T) {
	pools := []Pool{{Name: "a", Weight: 90}, {Name: "b", Weight: 10}, {Name: "c"}}
	counts := make([]int, len(pools))
	for slot := range StickySlots {
		counts[Assigned(pools, slot)]++
	}
	if part := float64(counts[0]) / StickySlots; math.Abs(part-0.9) > 0.02 || counts[2] != 0 {
		t.Errorf("the slots are shared %v", counts)
	}
	if got := Assigned([]Pool{{Name: "none"}}, 1); got != -1 {
		t.Errorf("a pool without weight has got a slot: %d", got)
	}
}

// Slots leave a pool only when its weight falls or another's grows, and then
// for a pool whose part has grown.
func TestAssignedStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before := []Pool{{Name: "a"}, {Name: "b"}, {Name: "c"}}
		for i := range before {
			before[i].Weight = rapid.IntRange(1, 999).Draw(t, before[i].Name)
		}
		after := append([]Pool(nil), before...)
		grows := rapid.IntRange(0, 2).Draw(t, "grows")
		after[grows].Weight += rapid.IntRange(1, 500).Draw(t, "by")
		for slot := range 257 {
			if was, is := Assigned(before, slot), Assigned(after, slot); is != was && is != grows {
				t.Fatalf("slot %d goes from %d to %d, though %d has grown", slot, was, is, grows)
			}
		}
	})
}

func TestSlotOf(t *testing.T) {
	seen := map[int]bool{}
	for i := range 256 {
		s := SlotOf(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}))
		if s < 0 || s >= StickySlots {
			t.Fatal(s)
		}
		seen[s] = true
	}
	if len(seen) < 200 {
		t.Errorf("256 sources share %d slots", len(seen))
	}
}
