// Package pretend is a load balancer's data plane that moves no packets: it
// finds every target healthy. The server uses it where it has no network of
// its own, and says so.
package pretend

import (
	"context"
	"net"
	"strconv"
	"sync"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
)

// DataPlane remembers what it was told. Safe for concurrent use.
type DataPlane struct {
	clock clock.Clock

	mu     sync.Mutex
	lbs    map[string]balance.LoadBalancer
	health map[string]model.TargetHealth // by target group id and address
}

// New makes a data plane without load balancers.
func New(c clock.Clock) *DataPlane {
	return &DataPlane{clock: c, lbs: map[string]balance.LoadBalancer{}, health: map[string]model.TargetHealth{}}
}

// Apply remembers lb.
func (p *DataPlane) Apply(_ context.Context, lb balance.LoadBalancer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lbs[lb.ID] = lb
	return nil
}

// Remove forgets a load balancer.
func (p *DataPlane) Remove(_ context.Context, lb string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.lbs, lb)
	return nil
}

// SetHealth makes the target be found as h from now on, until it is set again.
func (p *DataPlane) SetHealth(group, address string, h model.TargetHealth) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.health[group+"/"+address] = h
}

// LoadBalancer is what was last applied.
func (p *DataPlane) LoadBalancer(id string) (balance.LoadBalancer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	lb, ok := p.lbs[id]
	return lb, ok
}

// Targets finds all targets healthy that were not set to be otherwise.
func (p *DataPlane) Targets(lb string) map[string]map[string]balance.Seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, ok := p.lbs[lb]
	if !ok {
		return nil
	}
	out := map[string]map[string]balance.Seen{}
	for _, g := range l.Groups {
		ts := map[string]balance.Seen{}
		for _, t := range g.Targets {
			addr := net.JoinHostPort(t.IP, strconv.Itoa(int(t.Port)))
			h, ok := p.health[g.ID+"/"+addr]
			if !ok {
				h = model.TargetHealth{State: model.TargetHealthHealthy, Since: p.clock.Now()}
			}
			ts[addr] = balance.Seen{Health: h}
		}
		out[g.ID] = ts
	}
	return out
}
