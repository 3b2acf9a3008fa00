package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/network/dns"
	"roadstead.dev/internal/network/hostsfile"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Names knows the names that a VPC's resolver answers itself.
type Names struct {
	Store store.Store
	// Endpoint is where containers reach this server: the answer for the names
	// of its APIs and registries, which are all names that end in .localhost
	// but for load balancers'.
	Endpoint netip.Addr
	// Draw draws a number below n, each as likely; nil always draws 0.
	Draw func(n int) int
}

const loadBalancerSuffix = ".elb.localhost"

// Lookup finds a name's addresses as seen from a VPC: a load balancer in it
// has its private ones, another its public ones. It fails with dns.ErrOff for
// a VPC whose attribute enableDnsSupport is off.
func (n Names) Lookup(ctx context.Context, vpcID, name string) (addrs []netip.Addr, known bool, err error) {
	vpc, err := n.vpc(ctx, vpcID)
	if err != nil {
		return nil, false, err
	}
	switch {
	case vpc.V != nil && !vpc.V.EnableDNS:
		return nil, false, dns.ErrOff
	case strings.HasSuffix(name, loadBalancerSuffix):
		return n.loadBalancer(ctx, vpcID, name)
	case strings.HasSuffix(name, ".localhost"):
		return []netip.Addr{n.Endpoint}, n.Endpoint.IsValid(), nil
	case strings.HasPrefix(name, "ip-"):
		addr, known := private(vpc, name)
		if !known {
			return nil, false, nil
		}
		return []netip.Addr{addr}, true, nil
	}
	return nil, false, nil
}

// vpc is the row of a VPC, without a value when there is none.
func (n Names) vpc(ctx context.Context, vpcID string) (store.Row[model.VPC], error) {
	rows, err := tables.VPCs.List(ctx, n.Store, store.Query{})
	for _, row := range rows {
		if row.V.ID == vpcID {
			return row, nil
		}
	}
	return store.Row[model.VPC]{}, err
}

// private answers names made of addresses, ip-10-0-0-1.ec2.internal, for the
// VPC's own addresses.
func private(vpc store.Row[model.VPC], name string) (netip.Addr, bool) {
	host, domain, _ := strings.Cut(name, ".")
	addr, err := netip.ParseAddr(strings.ReplaceAll(strings.TrimPrefix(host, "ip-"), "-", "."))
	if err != nil || vpc.V == nil {
		return netip.Addr{}, false
	}
	want := vpc.Key.Region + ".compute.internal"
	if vpc.Key.Region == "us-east-1" {
		want = "ec2.internal"
	}
	for _, c := range vpc.V.CIDRs {
		if domain == want && c.CIDR.Contains(addr) {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// HostsConfig is what the controller of the host's names stands on.
type HostsConfig struct {
	Store store.Store
	// Path of the hosts file, and the name of this instance's block in it.
	Path, Instance string
	// Static entries are always there.
	Static []hostsfile.Entry
	// HostRoute tells which VPCs' private addresses the host reaches.
	HostRoute func(v *model.VPC) bool
}

// NewHosts makes the controller that gives load balancers' names the
// addresses by which the host reaches them: public ones, or private ones
// where it has a route.
func NewHosts(cfg HostsConfig) *controller.Controller {
	all := []controller.Key{{ID: "hosts"}}
	return &controller.Controller{
		Name: "hosts", Workers: 1,
		Watches: []controller.Watch{
			controller.On(tables.LoadBalancers, func(store.Row[model.LoadBalancer]) []controller.Key { return all }),
			// The VPCs are there from the start, so that the static entries are
			// written without any load balancer.
			controller.On(tables.VPCs, func(store.Row[model.VPC]) []controller.Key { return all }),
		},
		Reconcile: func(ctx context.Context, _ controller.Key) (controller.Result, error) {
			entries, err := cfg.entries(ctx)
			if err != nil {
				return controller.Result{}, err
			}
			return controller.Result{}, hostsfile.Set(cfg.Path, cfg.Instance, entries)
		},
	}
}

func (c HostsConfig) entries(ctx context.Context) ([]hostsfile.Entry, error) {
	rows, err := tables.LoadBalancers.List(ctx, c.Store, store.Query{})
	if err != nil {
		return nil, fmt.Errorf("list load balancers: %w", err)
	}
	entries := append([]hostsfile.Entry(nil), c.Static...)
	for _, row := range rows {
		lb := row.V
		if lb.DeletedAt != nil || lb.DNSName == "" {
			continue
		}
		vpc, err := tables.VPCs.Get(ctx, c.Store, row.Key.Account, row.Key.Region, lb.VpcID)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		direct := c.HostRoute != nil && c.HostRoute(vpc.V)
		for _, i := range lb.Status.Interfaces {
			if i.Idle {
				continue
			}
			text := i.PublicIPv4Address
			if text == "" && direct {
				text = i.PrivateIPv4Address
			}
			if a, err := netip.ParseAddr(text); err == nil {
				entries = append(entries, hostsfile.Entry{Addr: a, Names: []string{lb.DNSName}})
			}
		}
	}
	return entries, nil
}
