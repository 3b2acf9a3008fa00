package machine

import (
	"context"
	"net/netip"
	"sync"
)

// Pretended is the network of a machine that is not there: it gives out ports
// and addresses, and nothing else.
type Pretended struct {
	mu    sync.Mutex
	ports *Ports
	last  netip.Addr
	used  map[netip.Addr]bool
	tasks map[string][]Place
}

// NewPretended gives out dynamic ports of a range, zero for ECS's, that are not
// reserved.
func NewPretended(dynamic PortRange, reserved []Port) *Pretended {
	if dynamic == (PortRange{}) {
		dynamic = DynamicPorts
	}
	return &Pretended{ports: NewPorts(dynamic, reserved), used: map[netip.Addr]bool{}, tasks: map[string][]Place{}}
}

// Bridged gives each container an address and its ports.
func (p *Pretended) Bridged(_ context.Context, task string, containers []Container) ([]Place, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if places, ok := p.tasks[task]; ok {
		return places, nil
	}
	bindings, err := p.ports.Publish(task, containers, func(Binding) error { return nil })
	if err != nil {
		return nil, err
	}
	block := blocks()[0]
	places := []Place{}
	for i, c := range containers {
		a, _ := nextFree(block, p.last, p.used) // a machine has no 65,000 containers
		p.last, p.used[a] = a, true
		places = append(places, Place{Container: c.Name, Address: netip.PrefixFrom(a, block.Bits()), Gateway: gateway(block), Bindings: bindings[i]})
	}
	p.tasks[task] = places
	return places, nil
}

// Own gives no namespace.
func (p *Pretended) Own(context.Context, string, Interface) (string, error) { return "", nil }

// WaitInterface finds every interface there.
func (p *Pretended) WaitInterface(context.Context, string) error { return nil }

// Release takes back what a task was given.
func (p *Pretended) Release(_ context.Context, task string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, place := range p.tasks[task] {
		delete(p.used, place.Address.Addr())
	}
	delete(p.tasks, task)
	p.ports.Free(task)
	return nil
}
