package ec2_test

import (
	"testing"

	api2 "roadstead.dev/internal/api/ec2"
)

// TestRulesDescribedAndRevoked follows rules of both directions.
func TestRulesDescribedAndRevoked(t *testing.T) {
	w := newWorld(t)
	vpc := w.vpc("10.0.0.0/16")
	g := w.group(vpc, "web")
	perm := func(text string) []api2.IpPermission {
		return []api2.IpPermission{{IpProtocol: new("tcp"), FromPort: new(int32(443)), ToPort: new(int32(443)), IpRanges: []api2.IpRange{{CidrIp: new("10.1.0.0/16"), Description: new(text)}}}}
	}
	must[*api2.AuthorizeSecurityGroupIngressOutput](t)(w.AuthorizeSecurityGroupIngress(w.ctx, &api2.AuthorizeSecurityGroupIngressInput{GroupId: &g, IpPermissions: perm("in")}))
	must[*api2.AuthorizeSecurityGroupEgressOutput](t)(w.AuthorizeSecurityGroupEgress(w.ctx, &api2.AuthorizeSecurityGroupEgressInput{GroupId: &g, IpPermissions: perm("out")}))
	must[*api2.UpdateSecurityGroupRuleDescriptionsIngressOutput](t)(w.UpdateSecurityGroupRuleDescriptionsIngress(w.ctx, &api2.UpdateSecurityGroupRuleDescriptionsIngressInput{GroupId: &g, IpPermissions: perm("new in")}))
	must[*api2.UpdateSecurityGroupRuleDescriptionsEgressOutput](t)(w.UpdateSecurityGroupRuleDescriptionsEgress(w.ctx, &api2.UpdateSecurityGroupRuleDescriptionsEgressInput{GroupId: &g, IpPermissions: perm("new out")}))
	describe := func() api2.SecurityGroup {
		return must[*api2.DescribeSecurityGroupsOutput](t)(w.DescribeSecurityGroups(w.ctx, &api2.DescribeSecurityGroupsInput{GroupIds: []string{g}})).SecurityGroups[0]
	}
	got := describe()
	if len(got.IpPermissions) != 1 || *got.IpPermissions[0].IpRanges[0].Description != "new in" {
		t.Errorf("ingress %+v", got.IpPermissions)
	}
	if len(got.IpPermissionsEgress) != 2 {
		t.Errorf("egress %+v", got.IpPermissionsEgress)
	}
	must[*api2.RevokeSecurityGroupEgressOutput](t)(w.RevokeSecurityGroupEgress(w.ctx, &api2.RevokeSecurityGroupEgressInput{GroupId: &g, IpPermissions: perm("new out")}))
	if got := describe(); len(got.IpPermissionsEgress) != 1 || *got.IpPermissionsEgress[0].IpProtocol != "-1" {
		t.Errorf("egress after its end %+v", got.IpPermissionsEgress)
	}
	_, err := w.RevokeSecurityGroupEgress(w.ctx, &api2.RevokeSecurityGroupEgressInput{GroupId: &g, IpPermissions: perm("")})
	fails(t, err, "InvalidPermission.NotFound", "")

	other := w.vpc("10.2.0.0/16")
	w.group(other, "elsewhere")
	in := must[*api2.GetSecurityGroupsForVpcOutput](t)(w.GetSecurityGroupsForVpc(w.ctx, &api2.GetSecurityGroupsForVpcInput{VpcId: &vpc})).SecurityGroupForVpcs
	if len(in) != 2 {
		t.Errorf("groups of the VPC: %+v", in)
	}
	refs := must[*api2.DescribeSecurityGroupReferencesOutput](t)(w.DescribeSecurityGroupReferences(w.ctx, &api2.DescribeSecurityGroupReferencesInput{GroupId: []string{g}})).SecurityGroupReferenceSet
	if len(refs) != 0 {
		t.Errorf("without peering, other VPCs name the group: %+v", refs)
	}
	_, err = w.DescribeSecurityGroupReferences(w.ctx, &api2.DescribeSecurityGroupReferencesInput{GroupId: []string{"sg-00000000000000000"}})
	fails(t, err, "InvalidGroup.NotFound", "")
}

func TestRoutesAndEntriesReplaced(t *testing.T) {
	w := newWorld(t)
	vpc := w.vpc("10.0.0.0/16")
	igw := w.gateway(vpc)
	eni := w.iface(w.subnet(vpc, "10.0.0.0/24"))
	table := *must[*api2.CreateRouteTableOutput](t)(w.CreateRouteTable(w.ctx, &api2.CreateRouteTableInput{VpcId: &vpc})).RouteTable.RouteTableId
	_, err := w.ReplaceRoute(w.ctx, &api2.ReplaceRouteInput{RouteTableId: &table, DestinationCidrBlock: new("0.0.0.0/0"), GatewayId: &igw})
	fails(t, err, "InvalidParameterValue", "There is no route defined for '0.0.0.0/0' in the route table. Use CreateRoute instead.")
	must[*api2.CreateRouteOutput](t)(w.CreateRoute(w.ctx, &api2.CreateRouteInput{RouteTableId: &table, DestinationCidrBlock: new("0.0.0.0/0"), GatewayId: &igw}))
	must[*api2.ReplaceRouteOutput](t)(w.ReplaceRoute(w.ctx, &api2.ReplaceRouteInput{RouteTableId: &table, DestinationCidrBlock: new("0.0.0.0/0"), NetworkInterfaceId: eni.NetworkInterfaceId}))
	routes := must[*api2.DescribeRouteTablesOutput](t)(w.DescribeRouteTables(w.ctx, &api2.DescribeRouteTablesInput{RouteTableIds: []string{table}})).RouteTables[0].Routes
	if last := routes[len(routes)-1]; len(routes) != 2 || last.NetworkInterfaceId == nil || *last.NetworkInterfaceId != *eni.NetworkInterfaceId {
		t.Errorf("routes %+v", routes)
	}

	acl := *must[*api2.CreateNetworkAclOutput](t)(w.CreateNetworkAcl(w.ctx, &api2.CreateNetworkAclInput{VpcId: &vpc})).NetworkAcl.NetworkAclId
	entry := func(action api2.RuleAction) *api2.ReplaceNetworkAclEntryInput {
		return &api2.ReplaceNetworkAclEntryInput{NetworkAclId: &acl, RuleNumber: new(int32(100)), Egress: new(false), Protocol: new("-1"), RuleAction: action, CidrBlock: new("10.9.0.0/16")}
	}
	_, err = w.ReplaceNetworkAclEntry(w.ctx, entry(api2.RuleActionDeny))
	fails(t, err, "InvalidNetworkAclEntry.NotFound", "")
	must[*api2.CreateNetworkAclEntryOutput](t)(w.CreateNetworkAclEntry(w.ctx, (*api2.CreateNetworkAclEntryInput)(entry(api2.RuleActionAllow))))
	must[*api2.ReplaceNetworkAclEntryOutput](t)(w.ReplaceNetworkAclEntry(w.ctx, entry(api2.RuleActionDeny)))
	for _, e := range must[*api2.DescribeNetworkAclsOutput](t)(w.DescribeNetworkAcls(w.ctx, &api2.DescribeNetworkAclsInput{NetworkAclIds: []string{acl}})).NetworkAcls[0].Entries {
		if *e.RuleNumber == 100 && e.RuleAction != api2.RuleActionDeny {
			t.Errorf("entry %+v", e)
		}
	}
}

func TestInterfaceAttributes(t *testing.T) {
	w := newWorld(t)
	vpc := w.vpc("10.0.0.0/16")
	eni := *w.iface(w.subnet(vpc, "10.0.0.0/24")).NetworkInterfaceId
	check := func() bool {
		out := must[*api2.DescribeNetworkInterfaceAttributeOutput](t)(w.DescribeNetworkInterfaceAttribute(w.ctx, &api2.DescribeNetworkInterfaceAttributeInput{NetworkInterfaceId: &eni, Attribute: api2.NetworkInterfaceAttributeSourceDestCheck}))
		return *out.SourceDestCheck.Value
	}
	if !check() {
		t.Error("a new interface does not check addresses")
	}
	must[*api2.ModifyNetworkInterfaceAttributeOutput](t)(w.ModifyNetworkInterfaceAttribute(w.ctx, &api2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: &eni, SourceDestCheck: &api2.AttributeBooleanValue{Value: new(false)}}))
	if check() {
		t.Error("the check is still on")
	}
	must[*api2.ResetNetworkInterfaceAttributeOutput](t)(w.ResetNetworkInterfaceAttribute(w.ctx, &api2.ResetNetworkInterfaceAttributeInput{NetworkInterfaceId: &eni, SourceDestCheck: new("sourceDestCheck")}))
	if !check() {
		t.Error("the check is not back on")
	}
}

func TestVPCsOwnBlocksAndTenancy(t *testing.T) {
	w := newWorld(t)
	vpc := w.vpc("10.0.0.0/16")
	a := must[*api2.AssociateVpcCidrBlockOutput](t)(w.AssociateVpcCidrBlock(w.ctx, &api2.AssociateVpcCidrBlockInput{VpcId: &vpc, CidrBlock: new("10.1.0.0/16")})).CidrBlockAssociation
	subnet := w.subnet(vpc, "10.1.0.0/24")
	_, err := w.DisassociateVpcCidrBlock(w.ctx, &api2.DisassociateVpcCidrBlockInput{AssociationId: a.AssociationId})
	if err == nil {
		t.Error("a block with a subnet in it was taken away")
	}
	must[*api2.DeleteSubnetOutput](t)(w.DeleteSubnet(w.ctx, &api2.DeleteSubnetInput{SubnetId: &subnet}))
	must[*api2.DisassociateVpcCidrBlockOutput](t)(w.DisassociateVpcCidrBlock(w.ctx, &api2.DisassociateVpcCidrBlockInput{AssociationId: a.AssociationId}))
	_, err = w.DisassociateVpcCidrBlock(w.ctx, &api2.DisassociateVpcCidrBlockInput{AssociationId: a.AssociationId})
	fails(t, err, "InvalidVpcCidrBlockAssociationID.NotFound", "")

	dedicated := *must[*api2.CreateVpcOutput](t)(w.CreateVpc(w.ctx, &api2.CreateVpcInput{CidrBlock: new("10.5.0.0/16"), InstanceTenancy: api2.TenancyDedicated})).Vpc.VpcId
	must[*api2.ModifyVpcTenancyOutput](t)(w.ModifyVpcTenancy(w.ctx, &api2.ModifyVpcTenancyInput{VpcId: &dedicated, InstanceTenancy: api2.VpcTenancyDefault}))
	v := must[*api2.DescribeVpcsOutput](t)(w.DescribeVpcs(w.ctx, &api2.DescribeVpcsInput{VpcIds: []string{dedicated}})).Vpcs[0]
	if v.InstanceTenancy != api2.TenancyDefault {
		t.Errorf("tenancy %s", v.InstanceTenancy)
	}
}

func TestDefaultSubnetIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	zone := region + "b"
	_, err := w.CreateDefaultSubnet(w.ctx, &api2.CreateDefaultSubnetInput{AvailabilityZone: &zone})
	fails(t, err, "DefaultSubnetAlreadyExistsInAvailabilityZone", "")
	old := must[*api2.DescribeSubnetsOutput](t)(w.DescribeSubnets(w.ctx, &api2.DescribeSubnetsInput{Filters: append(filter("default-for-az", "true"), filter("availability-zone", zone)...)})).Subnets[0]
	must[*api2.DeleteSubnetOutput](t)(w.DeleteSubnet(w.ctx, &api2.DeleteSubnetInput{SubnetId: old.SubnetId}))
	again := must[*api2.CreateDefaultSubnetOutput](t)(w.CreateDefaultSubnet(w.ctx, &api2.CreateDefaultSubnetInput{AvailabilityZone: &zone})).Subnet
	if !*again.DefaultForAz || !*again.MapPublicIpOnLaunch || *again.CidrBlock != *old.CidrBlock {
		t.Errorf("made %+v", again)
	}
}

func TestDHCPOptionsDescribed(t *testing.T) {
	w := newWorld(t)
	d := must[*api2.CreateDhcpOptionsOutput](t)(w.CreateDhcpOptions(w.ctx, &api2.CreateDhcpOptionsInput{DhcpConfigurations: []api2.NewDhcpConfiguration{{Key: new("domain-name"), Values: []string{"corp.example"}}}})).DhcpOptions
	found := must[*api2.DescribeDhcpOptionsOutput](t)(w.DescribeDhcpOptions(w.ctx, &api2.DescribeDhcpOptionsInput{Filters: filter("value", "corp.*")})).DhcpOptions
	if len(found) != 1 || *found[0].DhcpOptionsId != *d.DhcpOptionsId {
		t.Errorf("found %+v", found)
	}
	_, err := w.DescribeDhcpOptions(w.ctx, &api2.DescribeDhcpOptionsInput{DhcpOptionsIds: []string{"dopt-00000000000000000"}})
	fails(t, err, "InvalidDhcpOptionID.NotFound", "")
}

// TestWhatThereIsNone lists kinds of which nobody can make any: nothing, and
// each id is unknown.
func TestWhatThereIsNone(t *testing.T) {
	w := newWorld(t)
	if n := len(must[*api2.DescribeVpcEndpointsOutput](t)(w.DescribeVpcEndpoints(w.ctx, &api2.DescribeVpcEndpointsInput{})).VpcEndpoints); n != 0 {
		t.Errorf("%d endpoints", n)
	}
	_, err := w.DescribeVpcPeeringConnections(w.ctx, &api2.DescribeVpcPeeringConnectionsInput{VpcPeeringConnectionIds: []string{"pcx-00000000000000000"}})
	fails(t, err, "InvalidVpcPeeringConnectionID.NotFound", "")
	_, err = w.DescribeVpnGateways(w.ctx, &api2.DescribeVpnGatewaysInput{VpnGatewayIds: []string{"vgw-00000000000000000"}})
	fails(t, err, "InvalidVpnGatewayID.NotFound", "")
	_, err = w.DescribeEgressOnlyInternetGateways(w.ctx, &api2.DescribeEgressOnlyInternetGatewaysInput{EgressOnlyInternetGatewayIds: []string{"eigw-00000000000000000"}})
	fails(t, err, "InvalidGatewayID.NotFound", "")
	_, err = w.DescribeAddressesAttribute(w.ctx, &api2.DescribeAddressesAttributeInput{AllocationIds: []string{"eipalloc-00000000000000000"}})
	fails(t, err, "InvalidAllocationID.NotFound", "")
}
