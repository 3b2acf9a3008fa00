package address

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func TestCapacity(t *testing.T) {
	for cidr, want := range map[string]int{"172.31.0.0/20": 4091, "10.0.0.0/28": 11, "10.0.0.0/16": 65531} {
		if got := Capacity(netip.MustParsePrefix(cidr)); got != want {
			t.Errorf("Capacity(%s) = %d, want %d", cidr, got, want)
		}
	}
}

// Whatever is taken, Pick gives a free address that interfaces may have, as
// long as there is one.
func TestPickGivesEachAddressOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.IntRange(24, 28).Draw(t, "bits")
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(0, 255).Draw(t, "b")), 0, 0}), bits)
		used := map[netip.Addr]bool{}
		for i := range Capacity(p) {
			a, ok := Pick(p, rapid.String().Draw(t, "seed"), func(a netip.Addr) bool { return used[a] })
			if !ok || used[a] || !p.Contains(a) || IsReserved(p, a) {
				t.Fatalf("pick %d of %s: %s, %v", i, p, a, ok)
			}
			used[a] = true
		}
		if a, ok := Pick(p, "x", func(a netip.Addr) bool { return used[a] }); ok {
			t.Fatalf("picked %s from the full %s", a, p)
		}
	})
}

func TestIsReserved(t *testing.T) {
	p := netip.MustParsePrefix("172.31.16.0/20")
	for addr, want := range map[string]bool{
		"172.31.16.0": true, "172.31.16.3": true, "172.31.31.255": true,
		"172.31.16.4": false, "172.31.31.254": false,
	} {
		if got := IsReserved(p, netip.MustParseAddr(addr)); got != want {
			t.Errorf("IsReserved(%s) = %v", addr, got)
		}
	}
}
