package network

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/network/dns"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// clientRouting is how a network load balancer's name favours the zone of who
// asks for it.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-load-balancer-attributes.html#zonal-dns-affinity
const clientRouting = "dns_record.client_routing_policy"

// partly is how many questions of a hundred are answered by the zone of who
// asks, where the policy is to do so in part.
const partly = 85

// loadBalancer finds the addresses of a load balancer by its name, or by that
// of one of its zones: the zone's name in front of it.
func (n Names) loadBalancer(ctx context.Context, vpcID, name string) ([]netip.Addr, bool, error) {
	zone := ""
	row, err := tables.LoadBalancerByDNSName(ctx, n.Store, name)
	if first, rest, _ := strings.Cut(name, "."); errors.Is(err, store.ErrNotFound) {
		zone = first
		row, err = tables.LoadBalancerByDNSName(ctx, n.Store, rest)
	}
	if errors.Is(err, store.ErrNotFound) || err == nil && zone != "" && !standsIn(row.V, zone) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	if zone != "" {
		return addressesOf(row.V, vpcID, zone), true, nil
	}
	if own := n.favoured(ctx, row.V, vpcID); own != "" {
		if addrs := addressesOf(row.V, vpcID, own); len(addrs) > 0 {
			return addrs, true, nil
		}
	}
	return addressesOf(row.V, vpcID, ""), true, nil
}

// standsIn tells whether a network load balancer, whose zones have names of
// their own, has the zone.
func standsIn(lb *model.LoadBalancer, zone string) bool {
	for _, z := range lb.AvailabilityZones {
		if z.ZoneName == zone {
			return lb.Type == model.LoadBalancerNetwork
		}
	}
	return false
}

// favoured is the zone that this answer is to favour, "" for none.
func (n Names) favoured(ctx context.Context, lb *model.LoadBalancer, vpcID string) string {
	switch lb.Attributes[clientRouting] {
	case "availability_zone_affinity":
	case "partial_availability_zone_affinity":
		if n.Draw != nil && n.Draw(100) >= partly {
			return ""
		}
	default:
		return ""
	}
	client := dns.Client(ctx)
	rows, err := tables.Subnets.List(ctx, n.Store, store.Query{})
	if err != nil {
		return "" // any of the addresses is right
	}
	for _, r := range rows {
		if r.V.VPCID == vpcID && r.V.CIDR.Contains(client) {
			return r.V.Zone
		}
	}
	return ""
}

// addressesOf are those of a load balancer's addresses, in a zone or in all of
// them, that lead to targets: private ones where the VPC, or the load balancer's
// scheme, is such that they are reached.
func addressesOf(lb *model.LoadBalancer, vpcID, zone string) []netip.Addr {
	zones := map[string]string{}
	for _, z := range lb.AvailabilityZones {
		zones[z.SubnetID] = z.ZoneName
	}
	var addrs []netip.Addr
	for _, i := range lb.Status.Interfaces {
		if i.Idle || zone != "" && zones[i.SubnetID] != zone {
			continue
		}
		text := i.PublicIPv4Address
		if lb.VpcID == vpcID || lb.Scheme == "internal" {
			text = i.PrivateIPv4Address
		}
		if a, err := netip.ParseAddr(text); err == nil {
			addrs = append(addrs, a)
		}
	}
	return addrs
}
