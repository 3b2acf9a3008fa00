package loadbalancer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/eni"
	"roadstead.dev/internal/store/tables"
)

// requester is what EC2 names as the owner of load balancers' interfaces.
const requester = "amazon-elb"

// interfaceID is the id of the load balancer's interface in a subnet. It
// follows from both, so that trying again makes no second one.
func interfaceID(lb, subnet string) string {
	sum := sha256.Sum256([]byte(lb + "/" + subnet))
	return "eni-" + hex.EncodeToString(sum[:])[:17]
}

func description(lb *model.LoadBalancer) string {
	kind := "app"
	switch lb.Type {
	case model.LoadBalancerNetwork:
		kind = "net"
	case model.LoadBalancerClassic:
		return "ELB " + lb.Name
	}
	return "ELB " + kind + "/" + lb.Name + "/" + lb.ID
}

// ensureInterfaces makes the interfaces, one in each subnet, with the load
// balancer's security groups. Refused is what EC2 says of a subnet where there
// can be none; the others have theirs.
func (c *LoadBalancers) ensureInterfaces(ctx context.Context, row store.Row[model.LoadBalancer]) (rows []eni.Row, refused *eni.Error, err error) {
	lb := row.V
	for _, z := range lb.AvailabilityZones {
		wanted := eni.Spec{
			Account: row.Key.Account, Region: row.Key.Region, ID: interfaceID(lb.ID, z.SubnetID),
			SubnetID: z.SubnetID, GroupIDs: lb.SecurityGroups,
			AssignPublicIP: lb.Scheme == "internet-facing" && z.AllocationID == "", AllocationID: z.AllocationID,
			Description: description(lb), RequesterID: requester, RequesterManaged: true,
			Attachment: &model.NetworkInterfaceAttachment{
				ID: "ela-attach-" + interfaceID(lb.ID, z.SubnetID)[4:], InstanceOwnerID: requester, DeviceIndex: 1,
			},
		}
		if lb.Type == model.LoadBalancerNetwork {
			wanted.NoGroups, wanted.InterfaceType = true, model.InterfaceTypeNetworkLoadBalancer
		}
		if z.PrivateIPv4Address != "" {
			ip, err := netip.ParseAddr(z.PrivateIPv4Address)
			if err != nil {
				return nil, nil, fmt.Errorf("address in %s: %w", z.SubnetID, err)
			}
			wanted.PrivateIP = ip
		}
		r, err := eni.Create(ctx, c.Store, c.Clock.Now(), wanted)
		if e, ok := errors.AsType[*eni.Error](err); ok {
			refused = e
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("interface in %s: %w", z.SubnetID, err)
		}
		if !slices.Equal(r.V.GroupIDs, lb.SecurityGroups) && len(lb.SecurityGroups) > 0 {
			r, err = tables.NetworkInterfaces.Update(ctx, c.Store, row.Key.Account, row.Key.Region, r.Key.ID, func(v *model.NetworkInterface) error {
				v.GroupIDs = slices.Clone(lb.SecurityGroups)
				return nil
			})
			if err != nil {
				return nil, nil, err
			}
		}
		rows = append(rows, r)
	}
	return rows, refused, nil
}

// dropInterfaces removes those interfaces of the load balancer that which
// names.
func (c *LoadBalancers) dropInterfaces(ctx context.Context, row store.Row[model.LoadBalancer], which func(*model.NetworkInterface) bool) error {
	own, err := tables.NetworkInterfaces.List(ctx, c.Store, store.Query{
		Account: row.Key.Account, Region: row.Key.Region,
		Index: store.Index{Name: tables.ByRequester, Value: requester + "/" + description(row.V)},
	})
	if err != nil {
		return err
	}
	for _, r := range own {
		// A classic load balancer may have the name of one that goes.
		if !which(r.V) || r.Key.ID != interfaceID(row.V.ID, r.V.SubnetID) {
			continue
		}
		if err := eni.Delete(ctx, c.Store, row.Key.Account, row.Key.Region, r.Key.ID, nil); err != nil {
			return err
		}
	}
	return nil
}

// placed is the interfaces as the data plane needs them.
func (c *LoadBalancers) placed(ctx context.Context, row store.Row[model.LoadBalancer], rows []eni.Row) ([]balance.Interface, error) {
	var out []balance.Interface
	for _, r := range rows {
		subnet, err := tables.Subnets.Get(ctx, c.Store, row.Key.Account, row.Key.Region, r.V.SubnetID)
		if err != nil {
			return nil, err
		}
		out = append(out, balance.Interface{
			ID: r.V.ID, MAC: r.V.MAC, Address: netip.PrefixFrom(r.V.PrivateIP, subnet.V.CIDR.Bits()).String(), Zone: r.V.Zone,
		})
	}
	return out, nil
}

func statusOf(rows []eni.Row, idle map[string]bool) []model.LoadBalancerInterface {
	var out []model.LoadBalancerInterface
	for _, r := range rows {
		i := model.LoadBalancerInterface{
			SubnetID: r.V.SubnetID, NetworkInterfaceID: r.V.ID, PrivateIPv4Address: r.V.PrivateIP.String(),
			Idle: idle[r.V.Zone],
		}
		if r.V.Association != nil {
			i.PublicIPv4Address = r.V.Association.PublicIP.String()
		}
		out = append(out, i)
	}
	return out
}
