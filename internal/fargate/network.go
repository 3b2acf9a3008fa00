package fargate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"roadstead.dev/internal/execution"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/network"
	"roadstead.dev/internal/node"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Network attaches tasks to VPCs.
type Network struct {
	Plane *network.Network
	Store store.Store
}

var _ node.Network = (*Network)(nil)

// Attach makes the task's namespace with its interface in it. It waits until
// the interface's security groups are in force.
func (n *Network) Attach(ctx context.Context, t *acs.Task) (node.Attached, error) {
	taskARN, enis := t.Arn, t.ElasticNetworkInterfaces
	path, err := n.Plane.CreateNetns(ctx, netnsName(taskARN))
	if err != nil {
		return node.Attached{}, err
	}
	for i := range enis {
		eni, err := n.record(ctx, taskARN, enis[i].EC2ID)
		if err != nil {
			return node.Attached{}, err
		}
		subnet, err := n.subnet(ctx, taskARN, eni.SubnetID)
		if err != nil {
			return node.Attached{}, err
		}
		mac, err := net.ParseMAC(eni.MAC)
		if err != nil {
			return node.Attached{}, fmt.Errorf("interface %s: %w", eni.ID, err)
		}
		if err := n.Plane.Attach(ctx, network.Attachment{
			VPCID: eni.VPCID, InterfaceID: eni.ID, Netns: path, Index: i, MAC: mac,
			Address: netip.PrefixFrom(eni.PrivateIP, subnet.CIDR.Bits()), Secondary: eni.SecondaryIPs,
			Gateway: network.GatewayOf(subnet.CIDR),
		}); err != nil {
			return node.Attached{}, err
		}
	}
	return node.Attached{Netns: path}, nil
}

// Detach removes the task's interface and namespace. An interface whose
// record is gone was removed by the data plane already.
func (n *Network) Detach(ctx context.Context, t *acs.Task) error {
	taskARN, enis := t.Arn, t.ElasticNetworkInterfaces
	for i := range enis {
		eni, err := n.record(ctx, taskARN, enis[i].EC2ID)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if err := n.Plane.Detach(ctx, eni.VPCID, eni.ID); err != nil {
			return err
		}
	}
	return n.Plane.DeleteNetns(ctx, netnsName(taskARN))
}

func (n *Network) record(ctx context.Context, taskARN, id string) (*model.NetworkInterface, error) {
	arn, err := model.ParseARN(taskARN)
	if err != nil {
		return nil, err
	}
	row, err := tables.NetworkInterfaces.Get(ctx, n.Store, arn.Account, arn.Region, id)
	return row.V, err
}

func (n *Network) subnet(ctx context.Context, taskARN, id string) (*model.Subnet, error) {
	arn, err := model.ParseARN(taskARN)
	if err != nil {
		return nil, err
	}
	row, err := tables.Subnets.Get(ctx, n.Store, arn.Account, arn.Region, id)
	return row.V, err
}

func netnsName(taskARN string) string { return "task-" + execution.TaskID(taskARN) }
