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
		{"CreateNetworkInterface", &api2.CreateNetworkInterfaceInput{SubnetId: new("subnet-1"), Groups: []string{"sg-1", "sg-2"}},
			[]string{arn + "subnet/subnet-1", arn + "security-group/sg-1", arn + "security-group/sg-2", arn + "network-interface/*"}},
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

// A request that comes again with its token makes nothing new.
func TestClientTokens(t *testing.T) {
	w := newWorld(t)
	v := w.vpc("10.0.0.0/16")
	sub := w.subnet(v, "10.0.0.0/24")
	in := &api2.CreateNetworkInterfaceInput{SubnetId: &sub, ClientToken: new("t")}
	one := must[*api2.CreateNetworkInterfaceOutput](t)(w.CreateNetworkInterface(w.ctx, in)).NetworkInterface
	two := must[*api2.CreateNetworkInterfaceOutput](t)(w.CreateNetworkInterface(w.ctx, in)).NetworkInterface
	if *one.NetworkInterfaceId != *two.NetworkInterfaceId {
		t.Error("a second interface")
	}
	rt := &api2.CreateRouteTableInput{VpcId: &v, ClientToken: new("t")}
	a := must[*api2.CreateRouteTableOutput](t)(w.CreateRouteTable(w.ctx, rt)).RouteTable
	b := must[*api2.CreateRouteTableOutput](t)(w.CreateRouteTable(w.ctx, rt)).RouteTable
	if *a.RouteTableId != *b.RouteTableId {
		t.Error("a second route table")
	}
}
