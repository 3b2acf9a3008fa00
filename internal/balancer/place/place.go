// Package place gives each load balancer a network namespace of its own, with
// its interfaces in its subnets, so that security groups and routes apply to
// it as to anything else in the VPC.
package place

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"roadstead.dev/internal/balancer"
	"roadstead.dev/internal/balancer/l4"
	"roadstead.dev/internal/network"
	"roadstead.dev/internal/plan/balance"
)

// Network makes namespaces and puts interfaces into them. *network.Network is
// one.
type Network interface {
	CreateNetns(ctx context.Context, name string) (path string, err error)
	DeleteNetns(ctx context.Context, name string) error
	NetnsPath(name string) string
	VPCNetns(vpcID string) string
	VPCs() ([]string, error)
	BalancerNumber(vpcID, interfaceID string) (number uint32, ok bool)
	Attach(ctx context.Context, a network.Attachment) error
	Detach(ctx context.Context, vpcID, interfaceID string) error
}

var _ Network = (*network.Network)(nil)

// Netns places load balancers in namespaces named after them. The namespaces
// outlive the process, and the next one finds them again.
type Netns struct {
	net Network

	mu sync.Mutex
	// made holds what Make last did for a load balancer, so that repeating it
	// costs nothing.
	made map[string]map[string]network.Attachment
	// forwards are those for which Forward wrote something.
	forwards map[string]bool
}

var (
	_ balancer.Place     = (*Netns)(nil)
	_ balancer.Forwarder = (*Netns)(nil)
)

// New makes a place in n.
func New(n Network) *Netns {
	return &Netns{net: n, made: map[string]map[string]network.Attachment{}, forwards: map[string]bool{}}
}

func name(lb string) string { return "lb-" + lb }

// Make puts the load balancer's interfaces into its namespace. It waits until
// their security groups are in force.
func (p *Netns) Make(ctx context.Context, lb balance.LoadBalancer) error {
	path, err := p.net.CreateNetns(ctx, name(lb.ID))
	if err != nil {
		return err
	}
	p.mu.Lock()
	before := p.made[lb.ID]
	p.mu.Unlock()
	numbers, err := numbered(path, before, lb.Interfaces)
	if err != nil {
		return err
	}
	now := map[string]network.Attachment{}
	for _, in := range lb.Interfaces {
		a, err := attachment(lb.VpcID, path, numbers[in.ID], in)
		if err != nil {
			return fmt.Errorf("interface %s: %w", in.ID, err)
		}
		now[in.ID] = a
	}
	for id, a := range before {
		if _, stays := now[id]; !stays {
			if err := p.net.Detach(ctx, a.VPCID, id); err != nil {
				return fmt.Errorf("detach %s: %w", id, err)
			}
		}
	}
	for _, in := range lb.Interfaces {
		a := now[in.ID]
		if old, ok := before[in.ID]; ok && same(old, a) {
			continue
		}
		if err := p.net.Attach(ctx, a); err != nil {
			return fmt.Errorf("attach %s: %w", in.ID, err)
		}
	}
	if err := leadOut(now); err != nil {
		return err
	}
	p.mu.Lock()
	p.made[lb.ID] = now
	p.mu.Unlock()
	return nil
}

func attachment(vpc, path string, index int, in balance.Interface) (network.Attachment, error) {
	mac, err := net.ParseMAC(in.MAC)
	if err != nil {
		return network.Attachment{}, err
	}
	addr, err := netip.ParsePrefix(in.Address)
	if err != nil {
		return network.Attachment{}, err
	}
	return network.Attachment{VPCID: vpc, InterfaceID: in.ID, Netns: path, Index: index, MAC: mac, Address: addr}, nil
}

func same(a, b network.Attachment) bool {
	return a.VPCID == b.VPCID && a.InterfaceID == b.InterfaceID && a.Netns == b.Netns && a.Index == b.Index &&
		a.MAC.String() == b.MAC.String() && a.Address == b.Address
}

// Listen opens a port on all addresses of the load balancer.
func (p *Netns) Listen(ctx context.Context, lb string, port int32) (net.Listener, error) {
	// Connections end by the idle timeout, so that nothing is gained by the
	// four system calls for each that would have the kernel look after them.
	lc := &net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false) // nor by several paths, which the ends of listeners are not made for
	return network.ListenWith(ctx, lc, p.net.NetnsPath(name(lb)), net.JoinHostPort("0.0.0.0", strconv.Itoa(int(port))))
}

// Dial connects from the load balancer.
func (p *Netns) Dial(ctx context.Context, lb, address string) (net.Conn, error) {
	return network.DialIn(ctx, p.net.NetnsPath(name(lb)), "tcp", address)
}

// Forward sends new flows of a network load balancer to its targets.
func (p *Netns) Forward(_ context.Context, lb string, t l4.Table) error {
	p.mu.Lock()
	made := p.made[lb]
	p.forwards[lb] = true
	p.mu.Unlock()
	var indexes []int
	var vpc string
	t.Nodes = slices.Clone(t.Nodes)
	for i := range t.Nodes {
		n := &t.Nodes[i]
		a, ok := made[n.Interface]
		if ok {
			n.Number, ok = p.net.BalancerNumber(a.VPCID, n.Interface)
		}
		if !ok {
			return fmt.Errorf("interface %s is not attached", n.Interface)
		}
		indexes, vpc = append(indexes, a.Index), a.VPCID
	}
	if len(indexes) == 0 {
		return p.forget(lb)
	}
	if err := l4.PrepareSockets(p.net.NetnsPath(name(lb)), indexes); err != nil {
		return err
	}
	return l4.Write(p.net.VPCNetns(vpc), lb, t)
}

// forget removes what Forward wrote, perhaps in an earlier process.
func (p *Netns) forget(lb string) error {
	vpcs, err := p.net.VPCs()
	if err != nil {
		return err
	}
	for _, vpc := range vpcs {
		if err := l4.Remove(p.net.VPCNetns(vpc), lb); err != nil {
			return err
		}
	}
	return nil
}

// Connect connects from the load balancer's own address, or from client's where
// that is valid.
func (p *Netns) Connect(ctx context.Context, lb string, own netip.Addr, client, target netip.AddrPort) (net.Conn, error) {
	from := network.Source{Addr: netip.AddrPortFrom(own, 0)}
	if client.IsValid() {
		p.mu.Lock()
		index := -1
		for _, a := range p.made[lb] {
			if a.Address.Addr() == own {
				index = a.Index
			}
		}
		p.mu.Unlock()
		if index < 0 {
			return nil, fmt.Errorf("load balancer %s does not have the address %s", lb, own)
		}
		from = network.Source{Addr: client, Foreign: true, Mark: l4.SocketMark(index)}
	}
	path := p.net.NetnsPath(name(lb))
	c, err := network.DialFrom(ctx, path, target.String(), from)
	if errors.Is(err, unix.EADDRINUSE) && client.IsValid() {
		// The client has a connection to the same target from the same port
		// already, by another listener.
		from.Addr = netip.AddrPortFrom(client.Addr(), 0)
		c, err = network.DialFrom(ctx, path, target.String(), from)
	}
	return c, err
}

// Flows counts the flows to each target.
func (p *Netns) Flows(lb string) (map[l4.Flow]int64, error) { return p.sent(lb).Count() }

// Cut ends the flows to targets.
func (p *Netns) Cut(lb string, targets []l4.Flow) error { return p.sent(lb).Cut(targets) }

// sent are the flows that the load balancer sent on.
func (p *Netns) sent(lb string) l4.Flows {
	p.mu.Lock()
	defer p.mu.Unlock()
	var fs l4.Flows
	for eni, a := range p.made[lb] {
		if n, ok := p.net.BalancerNumber(a.VPCID, eni); ok {
			fs.Path, fs.Numbers = p.net.VPCNetns(a.VPCID), append(fs.Numbers, n)
		}
	}
	return fs
}

// Remove ends the namespace.
func (p *Netns) Remove(ctx context.Context, lb string) error {
	p.mu.Lock()
	made, forwards := p.made[lb], p.forwards[lb]
	delete(p.made, lb)
	delete(p.forwards, lb)
	p.mu.Unlock()
	for id, a := range made {
		if err := p.net.Detach(ctx, a.VPCID, id); err != nil {
			return fmt.Errorf("detach %s: %w", id, err)
		}
	}
	// What an earlier process did is not known.
	if forwards || made == nil {
		if err := p.forget(lb); err != nil {
			return err
		}
	}
	return p.net.DeleteNetns(ctx, name(lb))
}
