package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"

	"roadstead.dev/internal/network"
)

// PortRange is a range of ports, both ends included.
type PortRange struct{ First, Last int }

// DynamicPorts is the range of ECS's dynamic host ports.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PortMapping.html
var DynamicPorts = PortRange{49153, 65535}

// Port is a port of the machine.
type Port struct {
	Number int
	UDP    bool
}

// Mapping publishes Count ports of a container from Container on; 0 means one.
type Mapping struct {
	Container int
	Count     int
	// Host is the machine's port; 0 is any of the dynamic ones. Several ports of
	// a container get as many in a row.
	Host int
	UDP  bool
}

// Binding is a mapping with the machine's port, or the first of its ports.
type Binding struct {
	Container int  `json:"container"`
	Host      int  `json:"host"`
	Count     int  `json:"count"`
	UDP       bool `json:"udp,omitempty"`
}

// Protocol is tcp or udp.
func (b *Binding) Protocol() string {
	if b.UDP {
		return "udp"
	}
	return "tcp"
}

// PortError tells that a port of the machine is not free, in Docker's words.
type PortError struct {
	// Container wanted the port.
	Container string
	Port      Port
	// Allocated: a container has it, else another program.
	Allocated bool
	// None: no dynamic port is left.
	None bool
}

func (e *PortError) Error() string {
	protocol := "tcp4"
	if e.Port.UDP {
		protocol = "udp4"
	}
	switch {
	case e.None:
		return "all ports are allocated"
	case e.Allocated:
		return fmt.Sprintf("Bind for 0.0.0.0:%d failed: port is already allocated", e.Port.Number)
	}
	return fmt.Sprintf("Error starting userland proxy: listen %s 0.0.0.0:%d: bind: address already in use", protocol, e.Port.Number)
}

// Ports is the book of the machine's ports. Not safe for concurrent use.
type Ports struct {
	dynamic  PortRange
	reserved map[Port]bool
	owner    map[Port]string
	// next is where to look for a dynamic port: one that was just given back
	// is not used again at once.
	next int
}

// NewPorts makes a book in which nothing is taken.
func NewPorts(dynamic PortRange, reserved []Port) *Ports {
	p := &Ports{dynamic: dynamic, reserved: map[Port]bool{}, owner: map[Port]string{}, next: dynamic.First}
	for _, r := range reserved {
		p.reserved[r] = true
	}
	return p
}

func (p *Ports) take(b Binding, owner string) {
	for i := range b.Count {
		p.owner[Port{b.Host + i, b.UDP}] = owner
	}
	if b.Host >= p.next && b.Host+b.Count-1 <= p.dynamic.Last {
		p.next = b.Host + b.Count
	}
}

// Free gives back all that owner has.
func (p *Ports) Free(owner string) {
	for port, o := range p.owner {
		if o == owner {
			delete(p.owner, port)
		}
	}
}

// Fix takes the ports that a mapping names. usable tells whether nothing else
// on the machine has a binding's ports.
func (p *Ports) Fix(owner string, m Mapping, usable func(Binding) error) (Binding, error) {
	b := Binding{Container: m.Container, Host: m.Host, Count: max(1, m.Count), UDP: m.UDP}
	for i := range b.Count {
		if port := (Port{b.Host + i, b.UDP}); p.owner[port] != "" {
			return b, &PortError{Port: port, Allocated: true}
		}
	}
	if err := usable(b); err != nil {
		return b, err
	}
	for i := range b.Count {
		p.owner[Port{b.Host + i, b.UDP}] = owner
	}
	return b, nil
}

// Choose takes dynamic ports for a mapping: those that are reserved, taken or
// not usable are passed over.
func (p *Ports) Choose(owner string, m Mapping, usable func(Binding) error) (Binding, error) {
	b := Binding{Container: m.Container, Count: max(1, m.Count), UDP: m.UDP}
	size := p.dynamic.Last - p.dynamic.First + 1
	start := p.next
	for i := range size {
		b.Host = p.dynamic.First + (start-p.dynamic.First+i)%size
		if !p.fits(b) {
			continue
		}
		switch err := usable(b); {
		case err == nil:
			p.take(b, owner)
			p.next = b.Host + b.Count
			if p.next > p.dynamic.Last {
				p.next = p.dynamic.First
			}
			return b, nil
		case !isTaken(err):
			return b, err
		}
	}
	return b, &PortError{None: true, Port: Port{UDP: m.UDP}}
}

// fits tells whether the binding's ports are in the range and nobody's.
func (p *Ports) fits(b Binding) bool {
	if b.Host+b.Count-1 > p.dynamic.Last {
		return false
	}
	for i := range b.Count {
		if port := (Port{b.Host + i, b.UDP}); p.reserved[port] || p.owner[port] != "" {
			return false
		}
	}
	return true
}

func isTaken(err error) bool {
	_, ok := errors.AsType[*PortError](err)
	return ok
}

// Publish takes the ports of an owner's containers, those that mappings name
// first, or none: then *PortError names the container. Bindings are in the order
// of the mappings.
func (p *Ports) Publish(owner string, containers []Container, usable func(Binding) error) ([][]Binding, error) {
	out := make([][]Binding, len(containers))
	for i, c := range containers {
		out[i] = make([]Binding, len(c.Mappings))
	}
	for _, fixed := range []bool{true, false} {
		for i, c := range containers {
			for j, m := range c.Mappings {
				if fixed != (m.Host != 0) {
					continue
				}
				take := p.Choose
				if fixed {
					take = p.Fix
				}
				b, err := take(owner, m, usable)
				if err != nil {
					p.Free(owner)
					if e, ok := errors.AsType[*PortError](err); ok {
						e.Container = c.Name
					}
					return nil, err
				}
				out[i][j] = b
			}
		}
	}
	return out, nil
}

// unpublish gives a task's ports back.
func (n *Network) unpublish(task string) {
	for _, c := range n.held[task] {
		_ = c.Close()
	}
	delete(n.held, task)
	n.ports.Free(task)
}

// hold keeps ports of the machine from other programs, as long as this process
// runs. *PortError tells of one that another program has.
func (n *Network) hold(ctx context.Context, task string, bindings ...Binding) error {
	var got []io.Closer
	for _, b := range bindings {
		for i := range b.Count {
			c, err := n.listen(ctx, Port{b.Host + i, b.UDP})
			if err != nil {
				for _, c := range got {
					_ = c.Close()
				}
				return err
			}
			got = append(got, c)
		}
	}
	n.held[task] = append(n.held[task], got...)
	return nil
}

// listen opens a socket that nobody serves: what is sent to the port goes to
// the container.
func (n *Network) listen(ctx context.Context, p Port) (io.Closer, error) {
	address := netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(p.Number)).String()
	var c io.Closer
	var err error
	if p.UDP {
		var conn net.PacketConn
		conn, err = network.ListenPacketIn(ctx, n.cfg.Netns, address)
		c = conn
	} else {
		var l net.Listener
		l, err = network.ListenIn(ctx, n.cfg.Netns, address)
		c = l
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, &PortError{Port: p}
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}
