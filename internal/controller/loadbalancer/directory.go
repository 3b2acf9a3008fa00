package loadbalancer

import (
	"context"
	"net"
	"net/netip"
	"strconv"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Directory finds load balancers by their DNS names.
type Directory struct{ store store.Store }

// NewDirectory makes a directory of what s holds.
func NewDirectory(s store.Store) *Directory { return &Directory{s} }

// find is the load balancer with the name, which is in lower case.
func (d *Directory) find(ctx context.Context, name string) (store.Row[model.LoadBalancer], bool) {
	rows, err := tables.LoadBalancers.List(ctx, d.store, store.Query{})
	if err != nil {
		return store.Row[model.LoadBalancer]{}, false
	}
	for _, r := range rows {
		if r.V.DNSName == name && r.V.DeletedAt == nil {
			return r, true
		}
	}
	return store.Row[model.LoadBalancer]{}, false
}

// Resolve gives the address, ip:port, of a load balancer's listener in its
// VPC, which Addresses names. Port 0 means the listener on port 80, or the
// only one there is.
func (d *Directory) Resolve(ctx context.Context, name string, port int32) (address string, ok bool) {
	row, ok := d.find(ctx, name)
	if !ok || len(row.V.Status.Interfaces) == 0 {
		return "", false
	}
	listeners, err := tables.Listeners.List(ctx, d.store, store.Query{
		Account: row.Key.Account, Region: row.Key.Region, Prefix: row.Key.ID + "/",
	})
	if err != nil {
		return "", false
	}
	found := false
	for _, l := range listeners {
		switch {
		case port != 0 && l.V.Port == port, port == 0 && l.V.Port == 80:
			return listenerAddress(row.V, l.V.Port), true
		case port == 0 && len(listeners) == 1:
			port, found = l.V.Port, true
		}
	}
	if !found {
		return "", false
	}
	return listenerAddress(row.V, port), true
}

func listenerAddress(lb *model.LoadBalancer, port int32) string {
	return net.JoinHostPort(lb.Status.Interfaces[0].PrivateIPv4Address, strconv.Itoa(int(port)))
}

// Addresses are the addresses that a load balancer's name stands for: private
// ones inside its VPC and for internal load balancers, public ones elsewhere.
// It is false when there is no such load balancer.
func (d *Directory) Addresses(ctx context.Context, name string) (vpc string, private, public []netip.Addr, ok bool) {
	row, ok := d.find(ctx, name)
	if !ok {
		return "", nil, nil, false
	}
	for _, i := range row.V.Status.Interfaces {
		if a, err := netip.ParseAddr(i.PrivateIPv4Address); err == nil {
			private = append(private, a)
		}
		if a, err := netip.ParseAddr(i.PublicIPv4Address); err == nil {
			public = append(public, a)
		}
	}
	return row.V.VpcID, private, public, true
}

// hostPorts opens the ports that listeners have on the host, where there is
// something that can.
func (c *LoadBalancers) hostPorts(ctx context.Context) error {
	if c.Ports == nil {
		return nil
	}
	rows, err := tables.Listeners.List(ctx, c.Store, store.Query{})
	if err != nil {
		return err
	}
	var ports []int32
	for _, r := range rows {
		ports = append(ports, r.V.Port)
	}
	c.Ports.Set(ports)
	return nil
}
