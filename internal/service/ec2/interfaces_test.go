package ec2_test

import (
	"testing"
	"time"

	api2 "roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/eni"
)

func TestNetworkInterfaces(t *testing.T) {
	w := newWorld(t)
	v := w.vpc("10.0.0.0/16")
	sub, g := w.subnet(v, "10.0.0.0/24"), w.group(v, "g")
	e := w.iface(sub, g)
	if e.Status != "pending" || *e.Groups[0].GroupName != "g" || *e.PrivateIpAddresses[0].PrivateIpAddress != *e.PrivateIpAddress || *e.RequesterManaged {
		t.Errorf("interface %+v", e)
	}
	describe := func(f []api2.Filter) []api2.NetworkInterface {
		t.Helper()
		return must[*api2.DescribeNetworkInterfacesOutput](t)(w.DescribeNetworkInterfaces(w.ctx, &api2.DescribeNetworkInterfacesInput{Filters: f})).NetworkInterfaces
	}
	if got := describe(append(filter("group-id", g), filter("status", "available")...)); len(got) != 1 {
		t.Errorf("%d interfaces with the group", len(got))
	}
	free := must[*api2.DescribeSubnetsOutput](t)(w.DescribeSubnets(w.ctx, &api2.DescribeSubnetsInput{SubnetIds: []string{sub}})).Subnets[0]
	if *free.AvailableIpAddressCount != 250 {
		t.Errorf("%d addresses are free", *free.AvailableIpAddressCount)
	}
	_, err := w.DeleteSubnet(w.ctx, &api2.DeleteSubnetInput{SubnetId: &sub})
	fails(t, err, "DependencyViolation", "The subnet '"+sub+"' has dependencies and cannot be deleted.")
	_, err = w.DeleteSecurityGroup(w.ctx, &api2.DeleteSecurityGroupInput{GroupId: &g})
	fails(t, err, "DependencyViolation", "")

	added := must[*api2.AssignPrivateIpAddressesOutput](t)(w.AssignPrivateIpAddresses(w.ctx, &api2.AssignPrivateIpAddressesInput{NetworkInterfaceId: e.NetworkInterfaceId, SecondaryPrivateIpAddressCount: new(int32(2))}))
	if len(added.AssignedPrivateIpAddresses) != 2 {
		t.Errorf("assigned %+v", added)
	}
	must[*api2.UnassignPrivateIpAddressesOutput](t)(w.UnassignPrivateIpAddresses(w.ctx, &api2.UnassignPrivateIpAddressesInput{
		NetworkInterfaceId: e.NetworkInterfaceId, PrivateIpAddresses: []string{*added.AssignedPrivateIpAddresses[0].PrivateIpAddress},
	}))
	must[*api2.ModifyNetworkInterfaceAttributeOutput](t)(w.ModifyNetworkInterfaceAttribute(w.ctx, &api2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: e.NetworkInterfaceId, SourceDestCheck: &api2.AttributeBooleanValue{Value: new(false)},
	}))
	if got := describe(filter("source-dest-check", "false"))[0]; len(got.PrivateIpAddresses) != 2 {
		t.Errorf("interface %+v", got)
	}
	must[*api2.DeleteNetworkInterfaceOutput](t)(w.DeleteNetworkInterface(w.ctx, &api2.DeleteNetworkInterfaceInput{NetworkInterfaceId: e.NetworkInterfaceId}))
	_, err = w.DeleteNetworkInterface(w.ctx, &api2.DeleteNetworkInterfaceInput{NetworkInterfaceId: e.NetworkInterfaceId})
	fails(t, err, "InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '"+*e.NetworkInterfaceId+"' does not exist")
	must[*api2.DeleteSubnetOutput](t)(w.DeleteSubnet(w.ctx, &api2.DeleteSubnetInput{SubnetId: &sub}))
}

// Interfaces of services belong to them.
func TestRequesterManagedInterfaces(t *testing.T) {
	w := newWorld(t)
	sub := w.subnet(w.vpc("10.0.0.0/16"), "10.0.0.0/24")
	row, err := eni.Create(w.ctx, w.store, time.Now(), eni.Spec{
		Account: account, Region: region, SubnetID: sub, RequesterManaged: true, RequesterID: "amazon-elb",
		Attachment: &model.NetworkInterfaceAttachment{InstanceOwnerID: "amazon-elb"},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.DeleteNetworkInterface(w.ctx, &api2.DeleteNetworkInterfaceInput{NetworkInterfaceId: &row.V.ID})
	fails(t, err, "InvalidParameterValue", "Network interface '"+row.V.ID+"' is currently in use.")
	_, err = w.ModifyNetworkInterfaceAttribute(w.ctx, &api2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: &row.V.ID, Description: &api2.AttributeValue{Value: new("mine")}})
	fails(t, err, "AuthFailure", "You do not have permission to access the specified resource.")
}

func TestElasticAddressesAndNATGateways(t *testing.T) {
	w := newWorld(t)
	v := w.vpc("10.0.0.0/16")
	sub := w.subnet(v, "10.0.0.0/24")
	e := w.iface(sub)
	eip := must[*api2.AllocateAddressOutput](t)(w.AllocateAddress(w.ctx, &api2.AllocateAddressInput{}))
	associate := &api2.AssociateAddressInput{AllocationId: eip.AllocationId, NetworkInterfaceId: e.NetworkInterfaceId}
	_, err := w.AssociateAddress(w.ctx, associate)
	fails(t, err, "Gateway.NotAttached", "Network "+v+" is not attached to any internet gateway")
	igw := w.gateway(v)
	as := must[*api2.AssociateAddressOutput](t)(w.AssociateAddress(w.ctx, associate))
	got := must[*api2.DescribeNetworkInterfacesOutput](t)(w.DescribeNetworkInterfaces(w.ctx, &api2.DescribeNetworkInterfacesInput{Filters: filter("association.public-ip", *eip.PublicIp)})).NetworkInterfaces
	if len(got) != 1 || *got[0].Association.AssociationId != *as.AssociationId {
		t.Errorf("interfaces %+v", got)
	}
	_, err = w.ReleaseAddress(w.ctx, &api2.ReleaseAddressInput{AllocationId: eip.AllocationId})
	fails(t, err, "InvalidIPAddress.InUse", "")
	_, err = w.DetachInternetGateway(w.ctx, &api2.DetachInternetGatewayInput{InternetGatewayId: &igw, VpcId: &v})
	fails(t, err, "DependencyViolation", "Network "+v+" has some mapped public address(es). Please unmap those public address(es) before detaching the gateway.")
	create := &api2.CreateNatGatewayInput{SubnetId: &sub, AllocationId: eip.AllocationId}
	_, err = w.CreateNatGateway(w.ctx, create)
	fails(t, err, "Resource.AlreadyAssociated", "")
	must[*api2.DisassociateAddressOutput](t)(w.DisassociateAddress(w.ctx, &api2.DisassociateAddressInput{AssociationId: as.AssociationId}))

	nat := must[*api2.CreateNatGatewayOutput](t)(w.CreateNatGateway(w.ctx, create)).NatGateway
	if nat.State != "pending" || *nat.NatGatewayAddresses[0].PublicIp != *eip.PublicIp {
		t.Errorf("NAT gateway %+v", nat)
	}
	_, err = w.DeleteSubnet(w.ctx, &api2.DeleteSubnetInput{SubnetId: &sub})
	fails(t, err, "DependencyViolation", "")
	must[*api2.DeleteNatGatewayOutput](t)(w.DeleteNatGateway(w.ctx, &api2.DeleteNatGatewayInput{NatGatewayId: nat.NatGatewayId}))
	left := must[*api2.DescribeNatGatewaysOutput](t)(w.DescribeNatGateways(w.ctx, &api2.DescribeNatGatewaysInput{NatGatewayIds: []string{*nat.NatGatewayId}})).NatGateways
	if left[0].State != "deleted" || left[0].DeleteTime == nil {
		t.Errorf("NAT gateway %+v", left[0])
	}
	must[*api2.ReleaseAddressOutput](t)(w.ReleaseAddress(w.ctx, &api2.ReleaseAddressInput{AllocationId: eip.AllocationId}))
	_, err = w.DescribeNatGateways(at(w.ctx, time.Unix(1_700_000_000, 0).Add(2*time.Hour)), &api2.DescribeNatGatewaysInput{NatGatewayIds: []string{*nat.NatGatewayId}})
	fails(t, err, "NatGatewayNotFound", "NAT gateway "+*nat.NatGatewayId+" was not found")
}

func TestNetworkACLs(t *testing.T) {
	w := newWorld(t)
	v := w.vpc("10.0.0.0/16")
	sub := w.subnet(v, "10.0.0.0/24")
	describe := func(f []api2.Filter) []api2.NetworkAcl {
		return must[*api2.DescribeNetworkAclsOutput](t)(w.DescribeNetworkAcls(w.ctx, &api2.DescribeNetworkAclsInput{Filters: f})).NetworkAcls
	}
	def := describe(filter("association.subnet-id", sub))[0]
	if !*def.IsDefault || len(def.Entries) != 4 || *def.Entries[1].RuleNumber != 32767 {
		t.Errorf("default ACL %+v", def)
	}
	acl := must[*api2.CreateNetworkAclOutput](t)(w.CreateNetworkAcl(w.ctx, &api2.CreateNetworkAclInput{VpcId: &v})).NetworkAcl.NetworkAclId
	entry := &api2.CreateNetworkAclEntryInput{NetworkAclId: acl, RuleNumber: new(int32(100)), Protocol: new("tcp"), RuleAction: "allow", Egress: new(false), CidrBlock: new("0.0.0.0/0"), PortRange: &api2.PortRange{From: new(int32(80)), To: new(int32(80))}}
	must[*api2.CreateNetworkAclEntryOutput](t)(w.CreateNetworkAclEntry(w.ctx, entry))
	_, err := w.CreateNetworkAclEntry(w.ctx, entry)
	fails(t, err, "NetworkAclEntryAlreadyExists", "The network acl entry identified by 100 already exists.")
	must[*api2.ReplaceNetworkAclAssociationOutput](t)(w.ReplaceNetworkAclAssociation(w.ctx, &api2.ReplaceNetworkAclAssociationInput{AssociationId: def.Associations[0].NetworkAclAssociationId, NetworkAclId: acl}))
	got := describe(filter("association.subnet-id", sub))[0]
	if *got.NetworkAclId != *acl || len(got.Entries) != 3 {
		t.Errorf("ACL %+v", got)
	}
	_, err = w.DeleteNetworkAcl(w.ctx, &api2.DeleteNetworkAclInput{NetworkAclId: acl})
	fails(t, err, "DependencyViolation", "")
	must[*api2.DeleteNetworkAclEntryOutput](t)(w.DeleteNetworkAclEntry(w.ctx, &api2.DeleteNetworkAclEntryInput{NetworkAclId: acl, RuleNumber: new(int32(100)), Egress: new(false)}))
	_, err = w.DeleteNetworkAclEntry(w.ctx, &api2.DeleteNetworkAclEntryInput{NetworkAclId: acl, RuleNumber: new(int32(100)), Egress: new(false)})
	fails(t, err, "InvalidNetworkAclEntry.NotFound", "")
}

func TestPlacesAndOptions(t *testing.T) {
	w := newWorld(t)
	zones := must[*api2.DescribeAvailabilityZonesOutput](t)(w.DescribeAvailabilityZones(w.ctx, &api2.DescribeAvailabilityZonesInput{Filters: filter("opt-in-status", "opt-in-not-required")})).AvailabilityZones
	if len(zones) != 3 || *zones[0].ZoneName != "eu-west-1a" || *zones[2].ZoneId != "euw1-az3" {
		t.Errorf("zones %+v", zones)
	}
	regions := must[*api2.DescribeRegionsOutput](t)(w.DescribeRegions(w.ctx, &api2.DescribeRegionsInput{})).Regions
	if len(regions) != 2 {
		t.Errorf("regions %+v", regions)
	}
	v := w.vpc("10.0.0.0/16")
	o := must[*api2.CreateDhcpOptionsOutput](t)(w.CreateDhcpOptions(w.ctx, &api2.CreateDhcpOptionsInput{DhcpConfigurations: []api2.NewDhcpConfiguration{{Key: new("domain-name"), Values: []string{"example.com"}}}})).DhcpOptions
	must[*api2.AssociateDhcpOptionsOutput](t)(w.AssociateDhcpOptions(w.ctx, &api2.AssociateDhcpOptionsInput{DhcpOptionsId: o.DhcpOptionsId, VpcId: &v}))
	_, err := w.DeleteDhcpOptions(w.ctx, &api2.DeleteDhcpOptionsInput{DhcpOptionsId: o.DhcpOptionsId})
	fails(t, err, "DependencyViolation", "The dhcpOption '"+*o.DhcpOptionsId+"' has dependencies and cannot be deleted.")
	must[*api2.AssociateDhcpOptionsOutput](t)(w.AssociateDhcpOptions(w.ctx, &api2.AssociateDhcpOptionsInput{DhcpOptionsId: new("default"), VpcId: &v}))
	must[*api2.DeleteDhcpOptionsOutput](t)(w.DeleteDhcpOptions(w.ctx, &api2.DeleteDhcpOptionsInput{DhcpOptionsId: o.DhcpOptionsId}))
	attr := must[*api2.DescribeAccountAttributesOutput](t)(w.DescribeAccountAttributes(w.ctx, &api2.DescribeAccountAttributesInput{AttributeNames: []api2.AccountAttributeName{"default-vpc"}})).AccountAttributes
	if len(attr) != 1 || *attr[0].AttributeValues[0].AttributeValue == "none" {
		t.Errorf("attributes %+v", attr)
	}
}
