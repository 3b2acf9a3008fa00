package ec2_test

import (
	"slices"
	"strings"
	"testing"

	api2 "roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/model/machineimage"
)

func TestImages(t *testing.T) {
	w := newWorld(t)
	tests := map[string]struct {
		in   api2.DescribeImagesInput
		want []string // prefixes of the names, with * where any number may be
		n    int
	}{
		"ECS on x86": {
			api2.DescribeImagesInput{Owners: []string{"amazon"}, Filters: filter("name", "al2023-ami-ecs-hvm-*-x86_64")},
			[]string{"al2023-ami-ecs-hvm-2023.0."},
			2,
		},
		"Amazon Linux 2 on Arm": {
			api2.DescribeImagesInput{Owners: []string{machineimage.OwnerECS}, Filters: append(filter("name", "amzn2-ami-ecs-hvm-*"), filter("architecture", "arm64")...)},
			[]string{"amzn2-ami-ecs-hvm-2.0."},
			2,
		},
		"everything public": {api2.DescribeImagesInput{Filters: append(filter("owner-alias", "amazon"), filter("is-public", "true")...)}, nil, len(machineimage.All(region))},
		"one's own":         {api2.DescribeImagesInput{Owners: []string{"self"}}, nil, 0},
		"Windows":           {api2.DescribeImagesInput{Filters: filter("platform", "windows")}, nil, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := must[*api2.DescribeImagesOutput](t)(w.DescribeImages(w.ctx, &tt.in)).Images
			if len(got) != tt.n {
				t.Errorf("%d images, want %d", len(got), tt.n)
			}
			for _, m := range got {
				if tt.want != nil && !strings.HasPrefix(*m.Name, tt.want[0]) {
					t.Errorf("got %s", *m.Name)
				}
			}
		})
	}
	want := machineimage.All(region)[0]
	got := must[*api2.DescribeImagesOutput](t)(w.DescribeImages(w.ctx, &api2.DescribeImagesInput{ImageIds: []string{want.ID}})).Images
	if len(got) != 1 || *got[0].Name != want.Name || *got[0].RootDeviceName != "/dev/xvda" || got[0].State != "available" {
		t.Errorf("image %+v", got)
	}
	_, err := w.DescribeImages(w.ctx, &api2.DescribeImagesInput{ImageIds: []string{"ami-1"}})
	fails(t, err, "InvalidAMIID.NotFound", "The image id '[ami-1]' does not exist")
	_, err = w.DescribeImages(w.ctx, &api2.DescribeImagesInput{ImageIds: []string{"image"}})
	fails(t, err, "InvalidAMIID.Malformed", `Invalid id: "image" (expecting "ami-...")`)
}

func TestInstanceTypes(t *testing.T) {
	w := newWorld(t)
	got := must[*api2.DescribeInstanceTypesOutput](t)(w.DescribeInstanceTypes(w.ctx, &api2.DescribeInstanceTypesInput{InstanceTypes: []api2.InstanceType{"c5.large"}})).InstanceTypes
	if len(got) != 1 || *got[0].VCpuInfo.DefaultVCpus != 2 || *got[0].MemoryInfo.SizeInMiB != 4096 || *got[0].NetworkInfo.MaximumNetworkInterfaces != 3 {
		t.Errorf("c5.large is %+v", got)
	}
	_, err := w.DescribeInstanceTypes(w.ctx, &api2.DescribeInstanceTypesInput{InstanceTypes: []api2.InstanceType{"c5.tiny"}})
	fails(t, err, "InvalidInstanceType", "The following supplied instance types do not exist: [c5.tiny]")

	var names []string
	in := &api2.DescribeInstanceTypesInput{
		Filters:    append(filter("instance-type", "m6g.*", "m5.*"), filter("processor-info.supported-architecture", "arm64")...),
		MaxResults: new(int32(5)),
	}
	for {
		out := must[*api2.DescribeInstanceTypesOutput](t)(w.DescribeInstanceTypes(w.ctx, in))
		for _, i := range out.InstanceTypes {
			names = append(names, string(i.InstanceType))
		}
		if in.NextToken = out.NextToken; in.NextToken == nil {
			break
		}
	}
	if len(names) != 8 || !slices.IsSorted(names) || names[0] != "m6g.12xlarge" {
		t.Errorf("types %v", names)
	}
	offered := must[*api2.DescribeInstanceTypeOfferingsOutput](t)(w.DescribeInstanceTypeOfferings(w.ctx, &api2.DescribeInstanceTypeOfferingsInput{
		LocationType: api2.LocationTypeAvailabilityZoneId, Filters: append(filter("instance-type", "t3.micro"), filter("location", "euw1-*")...),
	})).InstanceTypeOfferings
	if len(offered) != 3 || *offered[0].Location != "euw1-az1" {
		t.Errorf("offered %+v", offered)
	}
}

// A page's token is good for its own list alone.
func TestPageTokens(t *testing.T) {
	w := newWorld(t)
	for range 7 {
		w.vpc("10.0.0.0/16")
	}
	first := must[*api2.DescribeVpcsOutput](t)(w.DescribeVpcs(w.ctx, &api2.DescribeVpcsInput{MaxResults: new(int32(5))}))
	if len(first.Vpcs) != 5 || first.NextToken == nil {
		t.Fatalf("%d VPCs", len(first.Vpcs))
	}
	// What goes and comes meanwhile neither hides nor repeats the rest.
	gone := first.Vpcs[4]
	if *gone.IsDefault {
		gone = first.Vpcs[3]
	}
	must[*api2.DeleteVpcOutput](t)(w.DeleteVpc(w.ctx, &api2.DeleteVpcInput{VpcId: gone.VpcId}))
	rest := must[*api2.DescribeVpcsOutput](t)(w.DescribeVpcs(w.ctx, &api2.DescribeVpcsInput{MaxResults: new(int32(5)), NextToken: first.NextToken}))
	if len(rest.Vpcs) != 3 || rest.NextToken != nil {
		t.Errorf("%d more VPCs", len(rest.Vpcs))
	}
	token := first.NextToken
	message := "Value ( " + *token + " ) for parameter NextToken is invalid. The token is invalid."
	_, err := w.DescribeSubnets(w.ctx, &api2.DescribeSubnetsInput{NextToken: token})
	fails(t, err, "InvalidParameterValue", message)
	_, err = w.DescribeVpcs(w.ctx, &api2.DescribeVpcsInput{NextToken: token, Filters: filter("state", "available")})
	fails(t, err, "InvalidParameterValue", message)
	_, err = w.DescribeVpcs(w.ctx, &api2.DescribeVpcsInput{NextToken: new("x")})
	fails(t, err, "InvalidParameterValue", "Value ( x ) for parameter NextToken is invalid. The token is invalid.")
	_, err = w.DescribeVpcs(w.ctx, &api2.DescribeVpcsInput{VpcIds: []string{*first.Vpcs[0].VpcId}, MaxResults: new(int32(5))})
	fails(t, err, "InvalidParameterCombination", "")
}

func TestFilterErrors(t *testing.T) {
	w := newWorld(t)
	many := make([]string, 201)
	tests := map[string]struct {
		filters       []api2.Filter
		code, message string
	}{
		"unknown":         {filter("colour", "red"), "InvalidParameterValue", "The filter 'colour' is invalid"},
		"without a name":  {[]api2.Filter{{Values: []string{"x"}}}, "InvalidParameterValue", "The filter 'null' is invalid"},
		"too many values": {append(filter("vpc-id", many[:100]...), filter("tag:x", many[100:]...)...), "FilterLimitExceeded", "The maximum number of filter values specified on a single call is 200"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := w.DescribeVpcs(w.ctx, &api2.DescribeVpcsInput{Filters: tt.filters})
			fails(t, err, tt.code, tt.message)
		})
	}
	v := w.vpc("10.3.0.0/16")
	for pattern, found := range map[string]bool{"10.3.*": true, "10.?.0.0/16": true, "10.3.0.0/1?": true, `10.3.0.0/1\?`: false, "10.3": false} {
		got := must[*api2.DescribeVpcsOutput](t)(w.DescribeVpcs(w.ctx, &api2.DescribeVpcsInput{Filters: append(filter("cidr", pattern), filter("vpc-id", v)...)})).Vpcs
		if (len(got) == 1) != found {
			t.Errorf("%q finds %d VPCs", pattern, len(got))
		}
	}
}
