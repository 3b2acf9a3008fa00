package ec2

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/eni"
	"roadstead.dev/internal/store/tables"
)

var interfaces = kind[model.NetworkInterface]{
	noun: nounInterface, table: tables.NetworkInterfaces,
	id:    func(v *model.NetworkInterface) string { return v.ID },
	tags:  func(v *model.NetworkInterface) model.Tags { return v.Tags },
	field: interfaceField,
}

func interfaceField(v *model.NetworkInterface, name string) ([]string, bool) {
	optional := func(s string) ([]string, bool) {
		if s == "" {
			return nil, true
		}
		return one(s)
	}
	attachment := v.Attachment
	if attachment == nil {
		attachment = &model.NetworkInterfaceAttachment{}
	}
	associated := func(field func(*model.NetworkInterfaceAssociation) string) ([]string, bool) {
		var out []string
		for _, a := range v.PrivateIPs() {
			if as := v.AssociationOf(a); as != nil && field(as) != "" {
				out = append(out, field(as))
			}
		}
		return out, true
	}
	switch name {
	case "network-interface-id":
		return one(v.ID)
	case "vpc-id":
		return one(v.VPCID)
	case "subnet-id":
		return one(v.SubnetID)
	case "availability-zone":
		return one(v.Zone)
	case "description":
		return one(v.Description)
	case "group-id":
		return v.GroupIDs, true
	case "interface-type":
		return one(v.InterfaceType)
	case "mac-address":
		return one(v.MAC)
	case "owner-id":
		return one(v.Owner)
	case "private-ip-address":
		return one(v.PrivateIP.String())
	case "addresses.private-ip-address":
		out := []string{v.PrivateIP.String()}
		for _, a := range v.SecondaryIPs {
			out = append(out, a.String())
		}
		return out, true
	case "addresses.primary":
		return one("true")
	case "private-dns-name":
		return one(model.PrivateDNSName(v.PrivateIP, regionOf(v.Zone)))
	case "requester-id":
		return optional(v.RequesterID)
	case "requester-managed":
		return oneBool(v.RequesterManaged)
	case "source-dest-check":
		return oneBool(!v.NoSourceDestCheck)
	case "status":
		return one(v.Status)
	case "attachment.attachment-id":
		return optional(attachment.ID)
	case "attachment.instance-id":
		return optional(attachment.InstanceID)
	case "attachment.instance-owner-id":
		return optional(attachment.InstanceOwnerID)
	case "attachment.status":
		return optional(attachment.Status)
	case "attachment.device-index":
		if v.Attachment == nil {
			return nil, true
		}
		return one(strconv.Itoa(int(attachment.DeviceIndex)))
	case "attachment.delete-on-termination":
		if v.Attachment == nil {
			return nil, true
		}
		return oneBool(attachment.DeleteOnTermination)
	case "attachment.attach-time":
		if v.Attachment == nil {
			return nil, true
		}
		return one(attachment.AttachedAt.UTC().Format(imageTime))
	case "availability-zone-id":
		return one(zoneID(v.Zone))
	case "operator.managed":
		return oneBool(false)
	case "attachment.network-card-index", "operator.principal", "group-name", "ipv6-addresses.ipv6-address":
		return nil, true
	case "association.public-ip", "addresses.association.public-ip":
		return associated(func(a *model.NetworkInterfaceAssociation) string { return a.PublicIP.String() })
	case "association.allocation-id":
		return associated(func(a *model.NetworkInterfaceAssociation) string { return a.AllocationID })
	case "association.association-id":
		return associated(func(a *model.NetworkInterfaceAssociation) string { return a.AssociationID })
	case "association.ip-owner-id", "addresses.association.owner-id":
		return associated(func(a *model.NetworkInterfaceAssociation) string { return a.OwnerID })
	case "association.public-dns-name":
		return associated(func(a *model.NetworkInterfaceAssociation) string { return publicDNS(a.PublicIP, regionOf(v.Zone)) })
	}
	return nil, false
}

func publicDNS(a netip.Addr, region string) string {
	name := "ec2-" + strings.ReplaceAll(a.String(), ".", "-")
	if region == "us-east-1" {
		return name + ".compute-1.amazonaws.com"
	}
	return name + "." + region + ".compute.amazonaws.com"
}

// interfaceNames are what descriptions of interfaces call things.
type interfaceNames struct {
	groups map[string]string // by id
	// hosts are the VPCs whose attribute enableDnsHostnames is on.
	hosts map[string]bool
}

func (s *Service) interfaceNames(ctx context.Context, call *api.Call) (interfaceNames, error) {
	names := interfaceNames{map[string]string{}, map[string]bool{}}
	gs, err := groups.all(ctx, s, call)
	for _, g := range gs {
		names.groups[g.ID] = g.Name
	}
	vs, err2 := vpcs.all(ctx, s, call)
	for _, v := range vs {
		names.hosts[v.ID] = v.EnableDNS && v.EnableHostname
	}
	return names, errors.Join(err, err2)
}

// public is the description of a public address.
func (n interfaceNames) public(e *model.NetworkInterface, a netip.Addr) *ec2.NetworkInterfaceAssociation {
	v := e.AssociationOf(a)
	if v == nil {
		return nil
	}
	out := &ec2.NetworkInterfaceAssociation{PublicIp: new(v.PublicIP.String()), IpOwnerId: new(v.OwnerID), PublicDnsName: new("")}
	if n.hosts[e.VPCID] {
		out.PublicDnsName = new(publicDNS(v.PublicIP, regionOf(e.Zone)))
	}
	if v.AllocationID != "" {
		out.AllocationId, out.AssociationId = new(v.AllocationID), new(v.AssociationID)
	}
	return out
}

func (n interfaceNames) out(ids []string) []ec2.GroupIdentifier {
	out := []ec2.GroupIdentifier{}
	for _, id := range ids {
		out = append(out, ec2.GroupIdentifier{GroupId: new(id), GroupName: new(n.groups[id])})
	}
	return out
}

func attachmentOut(a *model.NetworkInterfaceAttachment) *ec2.NetworkInterfaceAttachment {
	if a == nil {
		return nil
	}
	out := &ec2.NetworkInterfaceAttachment{
		AttachmentId: new(a.ID), Status: ec2.AttachmentStatus(a.Status), DeviceIndex: new(a.DeviceIndex), NetworkCardIndex: new(int32(0)),
		DeleteOnTermination: new(a.DeleteOnTermination), AttachTime: new(a.AttachedAt), InstanceOwnerId: new(a.InstanceOwnerID),
	}
	if a.InstanceID != "" {
		out.InstanceId = new(a.InstanceID)
	}
	return out
}

// zoneID is the id of a zone by its name.
func zoneID(zone string) string {
	for _, z := range model.AvailabilityZones(regionOf(zone)) {
		if z.Name == zone {
			return z.ID
		}
	}
	return ""
}

func interfaceOut(v *model.NetworkInterface, names interfaceNames) *ec2.NetworkInterface {
	region := regionOf(v.Zone)
	association := names.public(v, v.PrivateIP)
	out := &ec2.NetworkInterface{
		NetworkInterfaceId: new(v.ID), OwnerId: new(v.Owner), VpcId: new(v.VPCID), SubnetId: new(v.SubnetID),
		AvailabilityZone: new(v.Zone), AvailabilityZoneId: new(zoneID(v.Zone)),
		Description: new(v.Description), MacAddress: new(v.MAC), PrivateIpAddress: new(v.PrivateIP.String()),
		PrivateDnsName: new(model.PrivateDNSName(v.PrivateIP, region)), Groups: names.out(v.GroupIDs),
		InterfaceType: ec2.NetworkInterfaceType(v.InterfaceType), RequesterManaged: new(v.RequesterManaged),
		SourceDestCheck: new(!v.NoSourceDestCheck), Status: ec2.NetworkInterfaceStatus(v.Status),
		Attachment: attachmentOut(v.Attachment), Association: association, TagSet: tagsOut(v.Tags),
		PrivateIpAddresses: []ec2.NetworkInterfacePrivateIpAddress{{
			Primary: new(true), PrivateIpAddress: new(v.PrivateIP.String()), PrivateDnsName: new(model.PrivateDNSName(v.PrivateIP, region)), Association: association,
		}},
	}
	if v.RequesterID != "" {
		out.RequesterId = new(v.RequesterID)
	}
	if association != nil {
		out.PublicDnsName = association.PublicDnsName
	}
	for _, a := range v.SecondaryIPs {
		out.PrivateIpAddresses = append(out.PrivateIpAddresses, ec2.NetworkInterfacePrivateIpAddress{
			Primary: new(false), PrivateIpAddress: new(a.String()), PrivateDnsName: new(model.PrivateDNSName(a, region)),
			Association: names.public(v, a),
		})
	}
	return out
}

// DescribeNetworkInterfaces lists interfaces.
func (s *Service) DescribeNetworkInterfaces(ctx context.Context, in *ec2.DescribeNetworkInterfacesInput) (*ec2.DescribeNetworkInterfacesOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	found, next, err := interfaces.describe(ctx, s, call, query{"DescribeNetworkInterfaces", in.NetworkInterfaceIds, in.Filters, in.MaxResults, in.NextToken})
	if err != nil {
		return nil, err
	}
	names, err := s.interfaceNames(ctx, call)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeNetworkInterfacesOutput{NextToken: next}
	for _, v := range found {
		out.NetworkInterfaces = append(out.NetworkInterfaces, *interfaceOut(v, names))
	}
	return out, nil
}

func parseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return a, invalidValue("Value (%s) for parameter privateIpAddress is invalid. Invalid IPv4 address.", s)
	}
	return a, nil
}

// CreateNetworkInterface makes an interface in a subnet.
func (s *Service) CreateNetworkInterface(ctx context.Context, in *ec2.CreateNetworkInterfaceInput) (*ec2.CreateNetworkInterfaceOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	if len(in.Ipv6Addresses) > 0 || deref(in.Ipv6AddressCount) > 0 || len(in.Ipv4Prefixes) > 0 || deref(in.Ipv4PrefixCount) > 0 || deref(in.Ipv6PrefixCount) > 0 {
		return nil, unsupported("IPv6 addresses and prefixes")
	}
	if in.InterfaceType != "" {
		return nil, unsupported("interfaces of type " + string(in.InterfaceType))
	}
	if err := addressLimit(len(in.PrivateIpAddresses), in.SecondaryPrivateIpAddressCount); err != nil {
		return nil, err
	}
	tags, err := tagsFor(typeInterface, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	spec := eni.Spec{
		Account: call.Account, Region: call.Region, SubnetID: deref(in.SubnetId), GroupIDs: in.Groups, Description: deref(in.Description),
		RequesterID: call.Identity.UserID, SecondaryCount: int(deref(in.SecondaryPrivateIpAddressCount)), Tags: tags,
	}
	spec.With = func(tx *store.Txn, v *model.NetworkInterface) error {
		return s.claimToken(ctx, call, tx, in.ClientToken, in, v.ID, interfaces.exists(ctx, s, call))
	}
	if in.PrivateIpAddress != nil {
		if spec.PrivateIP, err = parseAddr(*in.PrivateIpAddress); err != nil {
			return nil, err
		}
	}
	for _, p := range in.PrivateIpAddresses {
		a, err := parseAddr(deref(p.PrivateIpAddress))
		if err != nil {
			return nil, err
		}
		switch {
		case !deref(p.Primary):
			spec.SecondaryIPs = append(spec.SecondaryIPs, a)
		case spec.PrivateIP.IsValid():
			return nil, api.NewFault("InvalidParameterCombination", "Only one primary private IP address can be specified.")
		default:
			spec.PrivateIP = a
		}
	}
	row, err := eni.Create(ctx, s.store, call.Time, spec)
	if had, ok := errors.AsType[*earlier](err); ok {
		row, err = interfaces.get(ctx, s, call, had.id)
	}
	if err != nil {
		return nil, answer(err)
	}
	names, err := s.interfaceNames(ctx, call)
	if err != nil {
		return nil, err
	}
	out := interfaceOut(row.V, names)
	out.Status = ec2.NetworkInterfaceStatus("pending")
	return &ec2.CreateNetworkInterfaceOutput{NetworkInterface: out, ClientToken: in.ClientToken}, nil
}

// maxAddresses is how many private addresses an interface of the largest
// instances has.
const maxAddresses = 50

// addressLimit refuses more further addresses than an interface can have.
func addressLimit(named int, count *int32) error {
	if named > maxAddresses || deref(count) >= maxAddresses {
		return api.NewFault("PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit.")
	}
	return nil
}

// own reads an interface that the caller may change: services' own they may
// not.
func (s *Service) own(ctx context.Context, call *api.Call, eniID string) (store.Row[model.NetworkInterface], error) {
	row, err := interfaces.get(ctx, s, call, eniID)
	if err == nil && row.V.RequesterManaged {
		err = api.NewFault("AuthFailure", "You do not have permission to access the specified resource.")
	}
	return row, err
}

// DeleteNetworkInterface deletes an interface that nothing uses.
func (s *Service) DeleteNetworkInterface(ctx context.Context, in *ec2.DeleteNetworkInterfaceInput) (*ec2.DeleteNetworkInterfaceOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	eniID := deref(in.NetworkInterfaceId)
	row, err := interfaces.get(ctx, s, call, eniID)
	if err != nil {
		return nil, err
	}
	if row.V.Attachment != nil {
		return nil, invalidValue("Network interface '%s' is currently in use.", eniID)
	}
	if _, err := s.own(ctx, call, eniID); err != nil {
		return nil, err
	}
	err = eni.Delete(ctx, s.store, call.Account, call.Region, eniID, nil)
	return &ec2.DeleteNetworkInterfaceOutput{}, answer(err)
}

// DescribeNetworkInterfaceAttribute tells one attribute of an interface.
func (s *Service) DescribeNetworkInterfaceAttribute(ctx context.Context, in *ec2.DescribeNetworkInterfaceAttributeInput) (*ec2.DescribeNetworkInterfaceAttributeOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	row, err := interfaces.get(ctx, s, call, deref(in.NetworkInterfaceId))
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeNetworkInterfaceAttributeOutput{NetworkInterfaceId: in.NetworkInterfaceId}
	switch in.Attribute {
	case ec2.NetworkInterfaceAttributeDescription:
		out.Description = &ec2.AttributeValue{Value: new(row.V.Description)}
	case ec2.NetworkInterfaceAttributeGroupSet:
		names, err := s.interfaceNames(ctx, call)
		if err != nil {
			return nil, err
		}
		out.Groups = names.out(row.V.GroupIDs)
	case ec2.NetworkInterfaceAttributeSourceDestCheck:
		out.SourceDestCheck = &ec2.AttributeBooleanValue{Value: new(!row.V.NoSourceDestCheck)}
	case ec2.NetworkInterfaceAttributeAttachment:
		out.Attachment = attachmentOut(row.V.Attachment)
	case ec2.NetworkInterfaceAttributeAssociatePublicIpAddress:
		out.AssociatePublicIpAddress = new(row.V.Association != nil && row.V.Association.AllocationID == "")
	default:
		return nil, required("attribute")
	}
	return out, nil
}

// ModifyNetworkInterfaceAttribute sets an attribute of an interface.
func (s *Service) ModifyNetworkInterfaceAttribute(ctx context.Context, in *ec2.ModifyNetworkInterfaceAttributeInput) (*ec2.ModifyNetworkInterfaceAttributeOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.AssociatePublicIpAddress != nil || in.EnablePrimaryIpv6 != nil || len(in.AssociatedSubnetIds) > 0 || in.ConnectionTrackingSpecification != nil || in.EnaSrdSpecification != nil {
		return nil, unsupported("this attribute of a network interface")
	}
	eniID := deref(in.NetworkInterfaceId)
	if err := oneAttribute(map[string]bool{
		"attachment": in.Attachment != nil, "description": in.Description != nil, "groupSet": len(in.Groups) > 0, "sourceDestCheck": in.SourceDestCheck != nil,
	}); err != nil {
		return nil, err
	}
	if _, err := s.own(ctx, call, eniID); err != nil {
		return nil, err
	}
	if len(in.Groups) > 0 {
		if err := eni.SetGroups(ctx, s.store, call.Account, call.Region, eniID, in.Groups); err != nil {
			return nil, answer(nounInterface.orMissing(err, eniID))
		}
	}
	_, err = tables.NetworkInterfaces.Update(ctx, s.store, call.Account, call.Region, eniID, func(v *model.NetworkInterface) error {
		if in.Description != nil {
			v.Description = deref(in.Description.Value)
		}
		if c := in.SourceDestCheck; c != nil && c.Value != nil {
			v.NoSourceDestCheck = !*c.Value
		}
		if c := in.Attachment; c != nil {
			if v.Attachment == nil || v.Attachment.ID != deref(c.AttachmentId) {
				return api.NewFault("InvalidAttachmentID.NotFound", "The attachment ID '%s' does not exist", deref(c.AttachmentId))
			}
			if c.DeleteOnTermination != nil {
				v.Attachment.DeleteOnTermination = *c.DeleteOnTermination
			}
		}
		return nil
	})
	return &ec2.ModifyNetworkInterfaceAttributeOutput{}, nounInterface.orMissing(err, eniID)
}

// ResetNetworkInterfaceAttribute turns the source/destination check on again.
func (s *Service) ResetNetworkInterfaceAttribute(ctx context.Context, in *ec2.ResetNetworkInterfaceAttributeInput) (*ec2.ResetNetworkInterfaceAttributeOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	row, err := s.own(ctx, call, deref(in.NetworkInterfaceId))
	if err != nil {
		return nil, err
	}
	_, err = tables.NetworkInterfaces.Update(ctx, s.store, call.Account, call.Region, row.V.ID, func(v *model.NetworkInterface) error {
		v.NoSourceDestCheck = false
		return nil
	})
	return &ec2.ResetNetworkInterfaceAttributeOutput{}, nounInterface.orMissing(err, row.V.ID)
}

// AssignPrivateIpAddresses gives an interface further private addresses.
func (s *Service) AssignPrivateIpAddresses(ctx context.Context, in *ec2.AssignPrivateIpAddressesInput) (*ec2.AssignPrivateIpAddressesOutput, error) { //nolint:staticcheck // AWS's name
	call, err := s.change(ctx, nil)
	if err != nil {
		return nil, err
	}
	if len(in.Ipv4Prefixes) > 0 || in.Ipv4PrefixCount != nil {
		return nil, unsupported("prefixes")
	}
	count := deref(in.SecondaryPrivateIpAddressCount)
	switch {
	case len(in.PrivateIpAddresses) > 0 && in.SecondaryPrivateIpAddressCount != nil:
		return nil, api.NewFault("InvalidParameterCombination", "The parameters privateIpAddresses and secondaryPrivateIpAddressCount cannot be used together")
	case len(in.PrivateIpAddresses) == 0 && count < 1:
		return nil, api.NewFault("MissingParameter", "Either the secondary private IP addresses or the secondary private IP address count must be specified")
	}
	if err := addressLimit(len(in.PrivateIpAddresses), in.SecondaryPrivateIpAddressCount); err != nil {
		return nil, err
	}
	row, err := s.own(ctx, call, deref(in.NetworkInterfaceId))
	if err != nil {
		return nil, err
	}
	addrs, err := parseAddrs(in.PrivateIpAddresses)
	if err != nil {
		return nil, err
	}
	got, err := eni.AddAddresses(ctx, s.store, call.Account, call.Region, row.V.ID, addrs, int(count))
	if err != nil {
		return nil, answer(nounInterface.orMissing(err, row.V.ID))
	}
	out := &ec2.AssignPrivateIpAddressesOutput{NetworkInterfaceId: in.NetworkInterfaceId}
	for _, a := range got {
		out.AssignedPrivateIpAddresses = append(out.AssignedPrivateIpAddresses, ec2.AssignedPrivateIpAddress{PrivateIpAddress: new(a.String())})
	}
	return out, nil
}

func parseAddrs(list []string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, text := range list {
		a, err := parseAddr(text)
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}

// UnassignPrivateIpAddresses takes further private addresses away.
func (s *Service) UnassignPrivateIpAddresses(ctx context.Context, in *ec2.UnassignPrivateIpAddressesInput) (*ec2.UnassignPrivateIpAddressesOutput, error) { //nolint:staticcheck // AWS's name
	call, err := s.change(ctx, nil)
	if err != nil {
		return nil, err
	}
	row, err := s.own(ctx, call, deref(in.NetworkInterfaceId))
	if err != nil {
		return nil, err
	}
	addrs, err := parseAddrs(in.PrivateIpAddresses)
	if err != nil {
		return nil, err
	}
	err = eni.RemoveAddresses(ctx, s.store, call.Account, call.Region, row.V.ID, addrs)
	return &ec2.UnassignPrivateIpAddressesOutput{}, answer(nounInterface.orMissing(err, row.V.ID))
}
