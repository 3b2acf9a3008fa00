package loadbalancer

import (
	"context"
	"net"
	"strconv"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Directory finds load balancers by their DNS names.
type Directory struct{ store store.Store }

// NewDirectory makes a directory of what s holds.
func NewDirectory(s store.Store) *Directory { return &Directory{s} }

// Resolve gives the VPC of a load balancer, and the address there, ip:port, of
// its listener. Port 0 means the listener on port 80, or the only one there is.
func (d *Directory) Resolve(ctx context.Context, name string, port int32) (vpc, address string, ok bool) {
	row, err := tables.LoadBalancerByDNSName(ctx, d.store, name)
	if err != nil || len(row.V.Status.Interfaces) == 0 {
		return "", "", false
	}
	listeners, err := tables.Listeners.List(ctx, d.store, store.Query{
		Account: row.Key.Account, Region: row.Key.Region, Prefix: row.Key.ID + "/",
	})
	if err != nil {
		return "", "", false
	}
	for _, l := range listeners {
		if l.V.Port == port || port == 0 && (l.V.Port == 80 || len(listeners) == 1) {
			ip := reached(row.V.Status.Interfaces).PrivateIPv4Address
			return row.V.VpcID, net.JoinHostPort(ip, strconv.Itoa(int(l.V.Port))), true
		}
	}
	return "", "", false
}

// reached is the first of the interfaces that has targets, as far as is known.
func reached(all []model.LoadBalancerInterface) model.LoadBalancerInterface {
	for _, i := range all {
		if !i.Idle {
			return i
		}
	}
	return all[0]
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
		if r.V.Protocol != "UDP" {
			ports = append(ports, r.V.Port)
		}
	}
	c.Ports.Set(ports)
	return nil
}
