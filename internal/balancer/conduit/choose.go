package conduit

import (
	"hash/maphash"
	"math/rand/v2"
	"net/netip"

	"roadstead.dev/internal/balancer/l4"
)

// pick chooses a pool by the weights.
func pick(pools []Pool) *Pool {
	total := 0
	for i := range pools {
		total += pools[i].Weight
	}
	if total == 0 {
		return nil
	}
	n := rand.IntN(total) //nolint:gosec // shares of load are no secret
	for i := range pools {
		if n -= pools[i].Weight; n < 0 {
			return &pools[i]
		}
	}
	return nil
}

// seed makes no two processes distribute flows alike.
var seed = maphash.MakeSeed()

// stick chooses the pool that a client has been bound to by the weights.
func stick(pools []Pool, client netip.Addr) *Pool {
	shares := make([]l4.Pool, len(pools))
	for i := range pools {
		shares[i] = l4.Pool{Name: pools[i].Name, Weight: pools[i].Weight}
	}
	if i := l4.Assigned(shares, l4.SlotOf(client)); i >= 0 {
		return &pools[i]
	}
	return nil
}

// choose chooses a pool's target for a client.
func (p *Pool) choose(client netip.AddrPort) (netip.AddrPort, bool) {
	if len(p.Targets) == 0 {
		return netip.AddrPort{}, false
	}
	if p.BySource {
		// The next process must choose alike.
		return l4.Choose(p.Targets, client.Addr()), true
	}
	return p.Targets[maphash.Comparable(seed, client)%uint64(len(p.Targets))], true
}
