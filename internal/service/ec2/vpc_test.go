package ec2_test

import (
	"sync"
	"testing"

	api2 "roadstead.dev/internal/api/ec2"
)

func TestDefaults(t *testing.T) {
	w := newWorld(t)
	vpcs := must[*api2.DescribeVpcsOutput](t)(w.DescribeVpcs(w.ctx, &api2.DescribeVpcsInput{Filters: filter("is-default", "true")})).Vpcs
	if len(vpcs) != 1 || *vpcs[0].CidrBlock != "172.31.0.0/16" || vpcs[0].State != api2.VpcStateAvailable {
		t.Fatalf("default VPCs %+v", vpcs)
	}
	v := *vpcs[0].VpcId
	subs := must[*api2.DescribeSubnetsOutput](t)(w.DescribeSubnets(w.ctx, &api2.DescribeSubnetsInput{Filters: filter("default-for-az", "true")})).Subnets
	want := map[string]string{region + "a": "172.31.0.0/20", region + "b": "172.31.16.0/20", region + "c": "172.31.32.0/20"}
	for _, s := range subs {
		if want[*s.AvailabilityZone] != *s.CidrBlock || !*s.MapPublicIpOnLaunch || *s.AvailableIpAddressCount != 4091 {
			t.Errorf("subnet %s %s, %d free", *s.AvailabilityZone, *s.CidrBlock, *s.AvailableIpAddressCount)
		}
		delete(want, *s.AvailabilityZone)
	}
	if len(want) != 0 {
		t.Errorf("no subnets in %v", want)
	}
	rts := must[*api2.DescribeRouteTablesOutput](t)(w.DescribeRouteTables(w.ctx, &api2.DescribeRouteTablesInput{Filters: append(filter("vpc-id", v), filter("association.main", "true")...)})).RouteTables
	if len(rts) != 1 || len(rts[0].Routes) != 2 || *rts[0].Routes[0].GatewayId != "local" || rts[0].Routes[1].State != api2.RouteStateActive || *rts[0].Routes[1].DestinationCidrBlock != "0.0.0.0/0" {
		t.Errorf("route tables %+v", rts)
	}
	attr := must[*api2.DescribeVpcAttributeOutput](t)(w.DescribeVpcAttribute(w.ctx, &api2.DescribeVpcAttributeInput{VpcId: &v, Attribute: api2.VpcAttributeNameEnableDnsHostnames}))
	if !*attr.EnableDnsHostnames.Value {
		t.Error("a default VPC has DNS hostnames")
	}
	_, err := w.CreateDefaultVpc(w.ctx, &api2.CreateDefaultVpcInput{})
	fails(t, err, "DefaultVpcAlreadyExists", "")
}

// A default VPC that was deleted stays deleted until it is asked for again.
func TestDefaultVPCIsNotMadeAgain(t *testing.T) {
	w := newWorld(t)
	v := *must[*api2.DescribeVpcsOutput](t)(w.DescribeVpcs(w.ctx, &api2.DescribeVpcsInput{})).Vpcs[0].VpcId
	_, err := w.DeleteVpc(w.ctx, &api2.DeleteVpcInput{VpcId: &v})
	fails(t, err, "DependencyViolation", "The vpc '"+v+"' has dependencies and cannot be deleted.")
	for _, s := range must[*api2.DescribeSubnetsOutput](t)(w.DescribeSubnets(w.ctx, &api2.DescribeSubnetsInput{})).Subnets {
		must[*api2.DeleteSubnetOutput](t)(w.DeleteSubnet(w.ctx, &api2.DeleteSubnetInput{SubnetId: s.SubnetId}))
	}
	igw := must[*api2.DescribeInternetGatewaysOutput](t)(w.DescribeInternetGateways(w.ctx, &api2.DescribeInternetGatewaysInput{Filters: filter("attachment.vpc-id", v)})).InternetGateways[0].InternetGatewayId
	_, err = w.DeleteInternetGateway(w.ctx, &api2.DeleteInternetGatewayInput{InternetGatewayId: igw})
	fails(t, err, "DependencyViolation", "")
	must[*api2.DetachInternetGatewayOutput](t)(w.DetachInternetGateway(w.ctx, &api2.DetachInternetGatewayInput{InternetGatewayId: igw, VpcId: &v}))
	must[*api2.DeleteInternetGatewayOutput](t)(w.DeleteInternetGateway(w.ctx, &api2.DeleteInternetGatewayInput{InternetGatewayId: igw}))
	must[*api2.DeleteVpcOutput](t)(w.DeleteVpc(w.ctx, &api2.DeleteVpcInput{VpcId: &v}))
	if err := w.EnsureDefaults(w.ctx, account, region); err != nil {
		t.Fatal(err)
	}
	if n := len(must[*api2.DescribeVpcsOutput](t)(w.DescribeVpcs(w.ctx, &api2.DescribeVpcsInput{})).Vpcs); n != 0 {
		t.Errorf("%d VPCs", n)
	}
	if n := len(must[*api2.DescribeSecurityGroupsOutput](t)(w.DescribeSecurityGroups(w.ctx, &api2.DescribeSecurityGroupsInput{})).SecurityGroups); n != 0 {
		t.Errorf("%d groups are left", n)
	}
	must[*api2.CreateDefaultVpcOutput](t)(w.CreateDefaultVpc(w.ctx, &api2.CreateDefaultVpcInput{}))
	if n := len(must[*api2.DescribeSubnetsOutput](t)(w.DescribeSubnets(w.ctx, &api2.DescribeSubnetsInput{})).Subnets); n != 3 {
		t.Errorf("%d subnets", n)
	}
}

func TestVPCErrors(t *testing.T) {
	w := newWorld(t)
	v := w.vpc("10.0.0.0/16")
	w.subnet(v, "10.0.1.0/24")
	other := w.vpc("10.1.0.0/16")
	tests := []struct {
		name          string
		call          func() error
		code, message string
	}{
		{"no such VPC", func() error {
			_, err := w.DescribeVpcs(w.ctx, &api2.DescribeVpcsInput{VpcIds: []string{"vpc-0123"}})
			return err
		}, "InvalidVpcID.NotFound", "The vpc ID 'vpc-0123' does not exist"},
		{"no id", func() error {
			_, err := w.DescribeVpcs(w.ctx, &api2.DescribeVpcsInput{VpcIds: []string{"x"}})
			return err
		}, "InvalidVpcID.Malformed", `Invalid id: "x" (expecting "vpc-...")`},
		{"too large", func() error {
			_, err := w.CreateVpc(w.ctx, &api2.CreateVpcInput{CidrBlock: new("10.0.0.0/8")})
			return err
		}, "InvalidVpc.Range", "The CIDR '10.0.0.0/8' is invalid."},
		{"no block", func() error {
			_, err := w.CreateVpc(w.ctx, &api2.CreateVpcInput{CidrBlock: new("ten")})
			return err
		}, "InvalidParameterValue", ""},
		{"subnets overlap", func() error {
			_, err := w.CreateSubnet(w.ctx, &api2.CreateSubnetInput{VpcId: &v, CidrBlock: new("10.0.1.128/25")})
			return err
		}, "InvalidSubnet.Conflict", "The CIDR '10.0.1.128/25' conflicts with another subnet"},
		{"outside of the VPC", func() error {
			_, err := w.CreateSubnet(w.ctx, &api2.CreateSubnetInput{VpcId: &v, CidrBlock: new("10.2.1.0/24")})
			return err
		}, "InvalidSubnet.Range", "The CIDR '10.2.1.0/24' is invalid."},
		{"no such zone", func() error {
			_, err := w.CreateSubnet(w.ctx, &api2.CreateSubnetInput{VpcId: &v, CidrBlock: new("10.0.2.0/24"), AvailabilityZone: new("eu-west-1z")})
			return err
		}, "InvalidParameterValue", ""},
		{"no such filter", func() error {
			_, err := w.DescribeSubnets(w.ctx, &api2.DescribeSubnetsInput{Filters: filter("colour", "red")})
			return err
		}, "InvalidParameterValue", "The filter 'colour' is invalid"},
		{"a dry run", func() error {
			_, err := w.CreateVpc(w.ctx, &api2.CreateVpcInput{CidrBlock: new("10.0.0.0/16"), DryRun: new(true)})
			return err
		}, "DryRunOperation", "Request would have succeeded, but DryRun flag is set."},
		{"IPv6", func() error {
			_, err := w.CreateVpc(w.ctx, &api2.CreateVpcInput{CidrBlock: new("10.0.0.0/16"), AmazonProvidedIpv6CidrBlock: new(true)})
			return err
		}, "UnsupportedOperation", ""},
		{"a gateway of another VPC", func() error {
			igw := w.gateway(other)
			rt := must[*api2.CreateRouteTableOutput](t)(w.CreateRouteTable(w.ctx, &api2.CreateRouteTableInput{VpcId: &v})).RouteTable.RouteTableId
			_, err := w.CreateRoute(w.ctx, &api2.CreateRouteInput{RouteTableId: rt, DestinationCidrBlock: new("0.0.0.0/0"), GatewayId: &igw})
			return err
		}, "InvalidParameterValue", ""},
		{"a second gateway", func() error {
			igw := must[*api2.CreateInternetGatewayOutput](t)(w.CreateInternetGateway(w.ctx, &api2.CreateInternetGatewayInput{})).InternetGateway.InternetGatewayId
			_, err := w.AttachInternetGateway(w.ctx, &api2.AttachInternetGatewayInput{InternetGatewayId: igw, VpcId: &other})
			return err
		}, "InvalidParameterValue", "Network " + other + " already has an internet gateway attached"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { fails(t, tt.call(), tt.code, tt.message) })
	}
}

// Of subnets that overlap, made at once, one wins.
func TestConcurrentSubnets(t *testing.T) {
	w := newWorld(t)
	v := w.vpc("10.0.0.0/16")
	var wg sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = w.CreateSubnet(w.ctx, &api2.CreateSubnetInput{VpcId: &v, CidrBlock: new("10.0.0.0/24")})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			fails(t, err, "InvalidSubnet.Conflict", "")
		}
	}
	if won != 1 {
		t.Errorf("%d of them were made", won)
	}
}

func TestRouteTables(t *testing.T) {
	w := newWorld(t)
	v := w.vpc("10.0.0.0/16")
	sub := w.subnet(v, "10.0.1.0/24")
	igw := w.gateway(v)
	rt := must[*api2.CreateRouteTableOutput](t)(w.CreateRouteTable(w.ctx, &api2.CreateRouteTableInput{VpcId: &v})).RouteTable.RouteTableId
	route := &api2.CreateRouteInput{RouteTableId: rt, DestinationCidrBlock: new("0.0.0.0/0"), GatewayId: &igw}
	must[*api2.CreateRouteOutput](t)(w.CreateRoute(w.ctx, route))
	_, err := w.CreateRoute(w.ctx, route)
	fails(t, err, "RouteAlreadyExists", "The route identified by 0.0.0.0/0 already exists.")
	_, err = w.DeleteRoute(w.ctx, &api2.DeleteRouteInput{RouteTableId: rt, DestinationCidrBlock: new("1.2.3.0/24")})
	fails(t, err, "InvalidRoute.NotFound", "no route with destination-cidr-block 1.2.3.0/24 in route table "+*rt)

	as := must[*api2.AssociateRouteTableOutput](t)(w.AssociateRouteTable(w.ctx, &api2.AssociateRouteTableInput{RouteTableId: rt, SubnetId: &sub}))
	again := must[*api2.AssociateRouteTableOutput](t)(w.AssociateRouteTable(w.ctx, &api2.AssociateRouteTableInput{RouteTableId: rt, SubnetId: &sub}))
	if *again.AssociationId != *as.AssociationId {
		t.Error("associating again made another association")
	}
	_, err = w.DeleteRouteTable(w.ctx, &api2.DeleteRouteTableInput{RouteTableId: rt})
	fails(t, err, "DependencyViolation", "The routeTable '"+*rt+"' has dependencies and cannot be deleted.")
	describe := func(f []api2.Filter) []api2.RouteTable {
		return must[*api2.DescribeRouteTablesOutput](t)(w.DescribeRouteTables(w.ctx, &api2.DescribeRouteTablesInput{Filters: f})).RouteTables
	}
	if got := describe(filter("association.subnet-id", sub)); len(got) != 1 || *got[0].RouteTableId != *rt {
		t.Errorf("tables of the subnet: %+v", got)
	}
	// A gateway that is gone leaves a blackhole.
	must[*api2.DetachInternetGatewayOutput](t)(w.DetachInternetGateway(w.ctx, &api2.DetachInternetGatewayInput{InternetGatewayId: &igw, VpcId: &v}))
	if got := describe(filter("route.state", "blackhole")); len(got) != 1 || *got[0].RouteTableId != *rt {
		t.Errorf("tables with a blackhole: %+v", got)
	}
	// The VPC gets another main table, and the old one can go.
	main := describe(append(filter("vpc-id", v), filter("association.main", "true")...))[0]
	must[*api2.ReplaceRouteTableAssociationOutput](t)(w.ReplaceRouteTableAssociation(w.ctx, &api2.ReplaceRouteTableAssociationInput{
		AssociationId: main.Associations[0].RouteTableAssociationId, RouteTableId: rt,
	}))
	must[*api2.DeleteRouteTableOutput](t)(w.DeleteRouteTable(w.ctx, &api2.DeleteRouteTableInput{RouteTableId: main.RouteTableId}))
	must[*api2.DisassociateRouteTableOutput](t)(w.DisassociateRouteTable(w.ctx, &api2.DisassociateRouteTableInput{AssociationId: as.AssociationId}))
	_, err = w.DisassociateRouteTable(w.ctx, &api2.DisassociateRouteTableInput{AssociationId: as.AssociationId})
	fails(t, err, "InvalidAssociationID.NotFound", "")
}

func TestPagesAndTags(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		must[*api2.CreateVpcOutput](t)(w.CreateVpc(w.ctx, &api2.CreateVpcInput{CidrBlock: new("10.0.0.0/16"), TagSpecifications: []api2.TagSpecification{
			{ResourceType: "vpc", Tags: []api2.Tag{{Key: new("team"), Value: new("blue")}}},
		}}))
	}
	seen := map[string]bool{}
	in := &api2.DescribeVpcsInput{Filters: filter("tag:team", "bl*"), MaxResults: new(int32(2))}
	pages := 0
	for {
		out := must[*api2.DescribeVpcsOutput](t)(w.DescribeVpcs(w.ctx, in))
		pages++
		for _, v := range out.Vpcs {
			seen[*v.VpcId] = true
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if pages != 3 || len(seen) != 5 {
		t.Errorf("%d VPCs on %d pages", len(seen), pages)
	}
	var one string
	for one = range seen {
		break
	}
	must[*api2.CreateTagsOutput](t)(w.CreateTags(w.ctx, &api2.CreateTagsInput{Resources: []string{one}, Tags: []api2.Tag{{Key: new("Name"), Value: new("main")}}}))
	must[*api2.DeleteTagsOutput](t)(w.DeleteTags(w.ctx, &api2.DeleteTagsInput{Resources: []string{one}, Tags: []api2.Tag{{Key: new("team"), Value: new("red")}}}))
	tags := must[*api2.DescribeTagsOutput](t)(w.DescribeTags(w.ctx, &api2.DescribeTagsInput{Filters: filter("resource-id", one)})).Tags
	if len(tags) != 2 || *tags[0].Key != "Name" || tags[0].ResourceType != "vpc" {
		t.Errorf("tags %+v", tags)
	}
	_, err := w.CreateTags(w.ctx, &api2.CreateTagsInput{Resources: []string{one}, Tags: []api2.Tag{{Key: new("aws:x"), Value: new("")}}})
	fails(t, err, "InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
	_, err = w.CreateTags(w.ctx, &api2.CreateTagsInput{Resources: []string{"vpc-none"}, Tags: []api2.Tag{{Key: new("x"), Value: new("")}}})
	fails(t, err, "InvalidVpcID.NotFound", "")
}
