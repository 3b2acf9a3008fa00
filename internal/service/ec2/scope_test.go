package ec2_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api"
	api2 "roadstead.dev/internal/api/ec2"
)

func TestScopeOf(t *testing.T) {
	w := newWorld(t)
	const arn = "arn:aws:ec2:eu-west-1:000000000000:"
	tests := []struct {
		op   string
		in   any
		want []string
	}{
		{"DescribeVpcs", &api2.DescribeVpcsInput{VpcIds: []string{"vpc-1"}}, nil},
		{"CreateVpc", &api2.CreateVpcInput{}, []string{arn + "vpc/*"}},
		{
			"CreateNetworkInterface", &api2.CreateNetworkInterfaceInput{SubnetId: new("subnet-1"), Groups: []string{"sg-1", "sg-2"}},
			[]string{arn + "subnet/subnet-1", arn + "security-group/sg-1", arn + "security-group/sg-2", arn + "network-interface/*"},
		},
		{"CreateRoute", &api2.CreateRouteInput{RouteTableId: new("rtb-1"), NatGatewayId: new("nat-1")}, []string{arn + "route-table/rtb-1"}},
		{"CreateTags", &api2.CreateTagsInput{Resources: []string{"sgr-1", "eni-1"}}, []string{arn + "security-group-rule/sgr-1", arn + "network-interface/eni-1"}},
	}
	for _, tt := range tests {
		got, _ := w.ScopeOf(w.ctx, &api.Operation{Name: tt.op}, tt.in)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.op, diff)
		}
	}
}

// A resource that is named by something else than its id is the same one to a
// policy.
func TestScopeOfOtherNames(t *testing.T) {
	w := newWorld(t)
	const arn = "arn:aws:ec2:eu-west-1:000000000000:"
	group := must[*api2.CreateSecurityGroupOutput](t)(w.CreateSecurityGroup(w.ctx, &api2.CreateSecurityGroupInput{GroupName: new("web"), Description: new("d")}))
	addr := must[*api2.AllocateAddressOutput](t)(w.AllocateAddress(w.ctx, &api2.AllocateAddressInput{}))
	v := w.vpc("10.0.0.0/16")
	sub := w.subnet(v, "10.0.0.0/24")
	rt := must[*api2.CreateRouteTableOutput](t)(w.CreateRouteTable(w.ctx, &api2.CreateRouteTableInput{VpcId: &v})).RouteTable.RouteTableId
	as := must[*api2.AssociateRouteTableOutput](t)(w.AssociateRouteTable(w.ctx, &api2.AssociateRouteTableInput{RouteTableId: rt, SubnetId: &sub}))
	block := must[*api2.AssociateVpcCidrBlockOutput](t)(w.AssociateVpcCidrBlock(w.ctx, &api2.AssociateVpcCidrBlockInput{VpcId: &v, CidrBlock: new("10.1.0.0/16")}))
	eni := must[*api2.CreateNetworkInterfaceOutput](t)(w.CreateNetworkInterface(w.ctx, &api2.CreateNetworkInterfaceInput{SubnetId: &sub})).NetworkInterface.NetworkInterfaceId
	igw := must[*api2.CreateInternetGatewayOutput](t)(w.CreateInternetGateway(w.ctx, &api2.CreateInternetGatewayInput{})).InternetGateway.InternetGatewayId
	must[*api2.AttachInternetGatewayOutput](t)(w.AttachInternetGateway(w.ctx, &api2.AttachInternetGatewayInput{InternetGatewayId: igw, VpcId: &v}))
	at := must[*api2.AssociateAddressOutput](t)(w.AssociateAddress(w.ctx, &api2.AssociateAddressInput{AllocationId: addr.AllocationId, NetworkInterfaceId: eni}))
	acls := must[*api2.DescribeNetworkAclsOutput](t)(w.DescribeNetworkAcls(w.ctx, &api2.DescribeNetworkAclsInput{}))
	var acl, aclAssociation string
	for _, a := range acls.NetworkAcls {
		for _, x := range a.Associations {
			if *x.SubnetId == sub {
				acl, aclAssociation = *a.NetworkAclId, *x.NetworkAclAssociationId
			}
		}
	}
	for _, tt := range []struct {
		op   string
		in   any
		want []string
	}{
		{"AuthorizeSecurityGroupIngress", &api2.AuthorizeSecurityGroupIngressInput{GroupName: new("web")}, []string{arn + "security-group/" + *group.GroupId}},
		{"DeleteSecurityGroup", &api2.DeleteSecurityGroupInput{GroupName: new("web")}, []string{arn + "security-group/" + *group.GroupId}},
		{"ReleaseAddress", &api2.ReleaseAddressInput{PublicIp: addr.PublicIp}, []string{arn + "elastic-ip/" + *addr.AllocationId}},
		{"DisassociateAddress", &api2.DisassociateAddressInput{AssociationId: at.AssociationId}, []string{arn + "elastic-ip/" + *addr.AllocationId, arn + "network-interface/" + *eni}},
		{"DisassociateAddress", &api2.DisassociateAddressInput{PublicIp: addr.PublicIp}, []string{arn + "elastic-ip/" + *addr.AllocationId, arn + "network-interface/" + *eni}},
		{"DisassociateRouteTable", &api2.DisassociateRouteTableInput{AssociationId: as.AssociationId}, []string{arn + "route-table/" + *rt, arn + "subnet/" + sub}},
		{
			"ReplaceNetworkAclAssociation", &api2.ReplaceNetworkAclAssociationInput{AssociationId: &aclAssociation, NetworkAclId: new("acl-new")},
			[]string{arn + "network-acl/acl-new", arn + "network-acl/" + acl, arn + "subnet/" + sub},
		},
		{"DisassociateVpcCidrBlock", &api2.DisassociateVpcCidrBlockInput{AssociationId: block.CidrBlockAssociation.AssociationId}, []string{arn + "vpc/" + v}},
	} {
		got, _ := w.ScopeOf(w.ctx, &api.Operation{Name: tt.op}, tt.in)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.op, diff)
		}
	}
}
