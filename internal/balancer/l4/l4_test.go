package l4

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func targets(t *rapid.T) []netip.AddrPort {
	var out []netip.AddrPort
	for i := range rapid.IntRange(1, 30).Draw(t, "targets") {
		out = append(out, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80))
	}
	return out
}

// Only the slots of a target that goes change hands, and none is without one.
func TestSlotsStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := targets(t)
		gone := rapid.IntRange(0, len(all)-1).Draw(t, "gone")
		rest := append(append([]netip.AddrPort(nil), all[:gone]...), all[gone+1:]...)
		before := slots(all)
		if len(rest) == 0 {
			return
		}
		for i, now := range slots(rest) {
			if !now.IsValid() || before[i] != all[gone] && now != before[i] {
				t.Fatalf("slot %d goes from %s to %s though %s is gone", i, before[i], now, all[gone])
			}
		}
		source := netip.AddrFrom4([4]byte{10, 1, 2, rapid.Byte().Draw(t, "source")})
		if first := Choose(all, source); first != all[gone] && Choose(rest, source) != first {
			t.Fatalf("%s goes elsewhere though its target stays", source)
		}
	})
}

// The weights' proportions stay when they become smaller.
func TestLivePools(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p Port
		for _, w := range rapid.SliceOfN(rapid.IntRange(0, 999), 0, 5).Draw(t, "weights") {
			p.Pools = append(p.Pools, Pool{Weight: w})
		}
		var some []Pool
		for _, pool := range p.Pools {
			if pool.Weight > 0 {
				some = append(some, pool)
			}
		}
		live := p.live()
		if len(live) != len(some) {
			t.Fatalf("%d of %d pools are left", len(live), len(some))
		}
		for i := range live {
			if live[i].Weight < 1 || live[i].Weight*some[0].Weight != live[0].Weight*some[i].Weight {
				t.Fatalf("%v became %v", some, live)
			}
		}
	})
}
