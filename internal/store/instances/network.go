package instances

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/eni"
	"roadstead.dev/internal/store/tables"
)

// Interface is a network interface of a launch.
type Interface struct {
	// ID of one that is there; else Spec says what to make.
	ID                  string
	Spec                eni.Spec
	Index               int32
	DeleteOnTermination bool
}

func combination(message string) error { return refuse("InvalidParameterCombination", message) }

// network settles the subnet, the zone and the interfaces.
func (r *resolver) network() error {
	d := r.data
	if len(d.NetworkInterfaces) > 0 {
		switch {
		case d.SubnetID != "":
			return combination("Network interfaces and an instance-level subnet ID may not be specified on the same request")
		case len(d.SecurityGroupIDs)+len(d.SecurityGroups) > 0:
			return combination("Network interfaces and an instance-level security groups may not be specified on the same request")
		case d.PrivateIPAddress != "":
			return combination("Network interfaces and an instance-level private IP address may not be specified on the same request")
		}
		return r.interfaces()
	}
	subnet, err := r.subnet(d.SubnetID)
	if err != nil {
		return err
	}
	groups, err := r.groups(subnet)
	if err != nil {
		return err
	}
	spec := eni.Spec{Account: r.Account, Region: r.Region, SubnetID: subnet.V.ID, GroupIDs: groups, AssignPublicIP: subnet.V.MapPublicIPOnLaunch}
	if spec.PrivateIP, err = parseAddr(d.PrivateIPAddress); err != nil {
		return err
	}
	r.out.Interfaces = []Interface{{Spec: spec, DeleteOnTermination: true}}
	r.in(subnet)
	return nil
}

// in places the instance.
func (r *resolver) in(subnet store.Row[model.Subnet]) {
	t := &r.out.Template
	t.SubnetID, t.VPCID, t.Zone = subnet.V.ID, subnet.V.VPCID, subnet.V.Zone
	t.HostnameType, t.SourceDestCheck = subnet.V.HostnameType, true
	if h := r.data.PrivateDNSNameOptions; h != nil {
		set(&t.HostnameType, h.HostnameType)
	}
	if t.HostnameType == "" {
		t.HostnameType = "ip-name"
	}
	if !r.out.Interfaces[0].exists() {
		t.AssignPublicIP = r.out.Interfaces[0].Spec.AssignPublicIP
	}
}

func (i *Interface) exists() bool { return i.ID != "" }

// groups are the ids of the groups asked for; names are the default VPC's.
func (r *resolver) groups(subnet store.Row[model.Subnet]) ([]string, error) {
	groups := slices.Clone(r.data.SecurityGroupIDs)
	for _, name := range r.data.SecurityGroups {
		vpc, err := tables.VPCs.Get(r.ctx, r.s, r.Account, r.Region, subnet.V.VPCID)
		if err != nil {
			return nil, err
		}
		if !vpc.V.IsDefault {
			return nil, combination("The parameter groupName cannot be used with the parameter subnet")
		}
		id, err := tables.SecurityGroupNames.Get(r.ctx, r.s, r.Account, r.Region, vpc.V.ID+"/"+strings.ToLower(name))
		if errors.Is(err, store.ErrNotFound) {
			return nil, refuse("InvalidGroup.NotFound", fmt.Sprintf("The security group '%s' does not exist in default VPC '%s'", name, vpc.V.ID))
		}
		if err != nil {
			return nil, err
		}
		groups = append(groups, *id.V)
	}
	return groups, nil
}

// subnet is the one with an id, or the default VPC's.
func (r *resolver) subnet(id string) (store.Row[model.Subnet], error) {
	zone, err := r.zone()
	if err != nil {
		return store.Row[model.Subnet]{}, err
	}
	if id == "" {
		return r.defaultSubnet(zone)
	}
	row, err := tables.Subnets.Get(r.ctx, r.s, r.Account, r.Region, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && row.V.Deleting {
		return row, refuse("InvalidSubnetID.NotFound", "The subnet ID '"+id+"' does not exist")
	}
	if err == nil && zone != "" && row.V.Zone != zone {
		err = invalid(fmt.Sprintf("Value (%s) for parameter availabilityZone is invalid. The subnet '%s' is in the availability zone %s", zone, id, row.V.Zone))
	}
	return row, err
}

// zone is the name of the zone asked for, or empty.
func (r *resolver) zone() (string, error) {
	p := r.data.Placement
	if p == nil || p.AvailabilityZone == "" && p.AvailabilityZoneID == "" {
		return "", nil
	}
	for _, z := range model.AvailabilityZones(r.Region) {
		if z.Name == p.AvailabilityZone && (p.AvailabilityZoneID == "" || p.AvailabilityZoneID == z.ID) || p.AvailabilityZone == "" && z.ID == p.AvailabilityZoneID {
			return z.Name, nil
		}
	}
	return "", invalid("Invalid availability zone: [" + cmp.Or(p.AvailabilityZone, p.AvailabilityZoneID) + "]")
}

// defaultSubnet is the default VPC's subnet in the zone, or, in any zone, the
// one with the fewest instances.
func (r *resolver) defaultSubnet(zone string) (store.Row[model.Subnet], error) {
	var none store.Row[model.Subnet]
	all := store.Query{Account: r.Account, Region: r.Region}
	vpcs, err := tables.VPCs.List(r.ctx, r.s, all)
	if err != nil {
		return none, err
	}
	i := slices.IndexFunc(vpcs, func(v store.Row[model.VPC]) bool { return v.V.IsDefault && !v.V.Deleting })
	if i < 0 {
		return none, refuse("VPCIdNotSpecified", "No default VPC for this user")
	}
	subnets, err := tables.Subnets.List(r.ctx, r.s, all)
	if err != nil {
		return none, err
	}
	best, fewest := none, 0
	for _, sub := range subnets {
		if sub.V.VPCID != vpcs[i].V.ID || !sub.V.DefaultForAZ || sub.V.Deleting || zone != "" && sub.V.Zone != zone {
			continue
		}
		there, err := tables.Instances.List(r.ctx, r.s, store.Query{
			Account: r.Account, Region: r.Region, Index: store.Index{Name: tables.BySubnet, Value: sub.V.ID},
		})
		if err != nil {
			return none, err
		}
		if best.V == nil || len(there) < fewest || len(there) == fewest && sub.V.Zone < best.V.Zone {
			best, fewest = sub, len(there)
		}
	}
	if best.V != nil {
		return best, nil
	}
	if zone != "" {
		return none, refuse("MissingInput", fmt.Sprintf("No default subnet for availability zone: '%s'.", zone))
	}
	return none, refuse("MissingInput", fmt.Sprintf("No subnets found for the default VPC '%s'. Please specify a subnet.", vpcs[i].V.ID))
}

// interfaces settles those that the request lists.
func (r *resolver) interfaces() error {
	list := slices.Clone(r.data.NetworkInterfaces)
	for i := range list {
		if list[i].DeviceIndex == nil {
			if len(list) > 1 {
				return refuse("MissingParameter", "The request must contain the parameter DeviceIndex for each network interface")
			}
			list[i].DeviceIndex = new(int32)
		}
	}
	slices.SortStableFunc(list, func(a, b model.LaunchInterface) int { return cmp.Compare(*a.DeviceIndex, *b.DeviceIndex) })
	if len(list) > int(r.size.MaxInterfaces) {
		return refuse("AttachmentLimitExceeded", fmt.Sprintf("Interface count %d exceeds the limit for %s", len(list), r.size.Name))
	}
	var primary store.Row[model.Subnet]
	for i, n := range list {
		switch {
		case i == 0 && *n.DeviceIndex != 0:
			return combination("When specifying network interfaces, you must include a device at index 0.")
		case i > 0 && *n.DeviceIndex == *list[i-1].DeviceIndex:
			return combination("Each network interface requires a unique device index.")
		case n.AssociatePublicIPAddress != nil && len(list) > 1:
			return combination("The associatePublicIPAddress parameter cannot be specified when launching with multiple network interfaces.")
		}
		made, subnet, err := r.interfaceOf(&n, len(list) == 1)
		if err != nil {
			return err
		}
		if i == 0 {
			primary = subnet
		} else if subnet.V.VPCID != primary.V.VPCID || subnet.V.Zone != primary.V.Zone {
			return combination("The network interfaces of an instance must be in one VPC and one availability zone.")
		}
		r.out.Interfaces = append(r.out.Interfaces, made)
	}
	r.in(primary)
	return nil
}

func (r *resolver) interfaceOf(n *model.LaunchInterface, only bool) (Interface, store.Row[model.Subnet], error) {
	out := Interface{ID: n.NetworkInterfaceID, Index: *n.DeviceIndex}
	if out.exists() {
		subnet, err := r.given(n, &out)
		return out, subnet, err
	}
	subnet, err := r.subnet(n.SubnetID)
	if err != nil {
		return out, subnet, err
	}
	out.DeleteOnTermination = n.DeleteOnTermination == nil || *n.DeleteOnTermination
	out.Spec = eni.Spec{
		Account: r.Account, Region: r.Region, SubnetID: subnet.V.ID, GroupIDs: n.Groups, Description: n.Description,
		AssignPublicIP: only && subnet.V.MapPublicIPOnLaunch,
	}
	if n.AssociatePublicIPAddress != nil {
		out.Spec.AssignPublicIP = *n.AssociatePublicIPAddress
	}
	if n.SecondaryPrivateIPAddressCount != nil {
		out.Spec.SecondaryCount = int(*n.SecondaryPrivateIPAddressCount)
	}
	if out.Spec.PrivateIP, err = parseAddr(n.PrivateIPAddress); err != nil {
		return out, subnet, err
	}
	for _, p := range n.PrivateIPAddresses {
		a, err := parseAddr(p.PrivateIPAddress)
		switch {
		case err != nil:
			return out, subnet, err
		case p.Primary == nil || !*p.Primary:
			out.Spec.SecondaryIPs = append(out.Spec.SecondaryIPs, a)
		case out.Spec.PrivateIP.IsValid():
			return out, subnet, combination("Only one primary private IP address can be specified.")
		default:
			out.Spec.PrivateIP = a
		}
	}
	if c := out.Spec.SecondaryCount; c < 0 || c > int(r.size.IPv4PerDevice) || 1+c+len(out.Spec.SecondaryIPs) > int(r.size.IPv4PerDevice) {
		return out, subnet, refuse("PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit.")
	}
	return out, subnet, nil
}

// given is the subnet of an interface that is there already.
func (r *resolver) given(n *model.LaunchInterface, out *Interface) (store.Row[model.Subnet], error) {
	var none store.Row[model.Subnet]
	switch {
	case n.AssociatePublicIPAddress != nil:
		return none, combination("The associatePublicIPAddress parameter cannot be specified for a network interface with an ID.")
	case n.SubnetID != "" || len(n.Groups) > 0 || n.PrivateIPAddress != "" || len(n.PrivateIPAddresses) > 0 || n.SecondaryPrivateIPAddressCount != nil:
		return none, combination("A network interface may not specify both a network interface ID and a subnet, security groups or addresses")
	}
	out.DeleteOnTermination = n.DeleteOnTermination != nil && *n.DeleteOnTermination
	row, err := tables.NetworkInterfaces.Get(r.ctx, r.s, r.Account, r.Region, out.ID)
	if errors.Is(err, store.ErrNotFound) {
		return none, noInterface(out.ID)
	}
	if err != nil {
		return none, err
	}
	return r.subnet(row.V.SubnetID)
}

func noInterface(id string) error {
	return refuse("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '"+id+"' does not exist")
}
