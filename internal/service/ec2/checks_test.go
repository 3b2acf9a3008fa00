package ec2_test

import (
	"strings"
	"testing"

	api2 "roadstead.dev/internal/api/ec2"
)

// What the model's constraints do not say.
func TestChecks(t *testing.T) {
	w := newWorld(t)
	v := w.vpc("10.0.0.0/16")
	sub := w.subnet(v, "10.0.0.0/24")
	e := w.iface(sub).NetworkInterfaceId
	on := &api2.AttributeBooleanValue{Value: new(true)}
	tagged := func(specs ...api2.TagSpecification) error {
		_, err := w.CreateVpc(w.ctx, &api2.CreateVpcInput{CidrBlock: new("10.0.0.0/16"), TagSpecifications: specs})
		return err
	}
	tag := func(k string) api2.Tag { return api2.Tag{Key: &k, Value: new("v")} }
	describe := func(description string) error {
		_, err := w.CreateSecurityGroup(w.ctx, &api2.CreateSecurityGroupInput{VpcId: &v, GroupName: new("x"), Description: &description})
		return err
	}
	groups := make([]string, 6)
	for i := range groups {
		groups[i] = w.group(v, "g"+string(rune('0'+i)))
	}
	_, tooManyGroups := w.CreateNetworkInterface(w.ctx, &api2.CreateNetworkInterfaceInput{SubnetId: &sub, Groups: groups})
	_, twoOfAVPC := w.ModifyVpcAttribute(w.ctx, &api2.ModifyVpcAttributeInput{VpcId: &v, EnableDnsSupport: on, EnableDnsHostnames: on})
	_, metrics := w.ModifyVpcAttribute(w.ctx, &api2.ModifyVpcAttributeInput{VpcId: &v, EnableNetworkAddressUsageMetrics: on})
	_, twoOfASubnet := w.ModifySubnetAttribute(w.ctx, &api2.ModifySubnetAttributeInput{SubnetId: &sub, MapPublicIpOnLaunch: on, EnableResourceNameDnsARecordOnLaunch: on})
	_, noneOfAnInterface := w.ModifyNetworkInterfaceAttribute(w.ctx, &api2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: e})
	_, noAddresses := w.AssignPrivateIpAddresses(w.ctx, &api2.AssignPrivateIpAddressesInput{NetworkInterfaceId: e})
	_, host := w.CreateVpc(w.ctx, &api2.CreateVpcInput{CidrBlock: new("10.0.0.0/16"), InstanceTenancy: api2.TenancyHost})
	_, zone := w.DescribeAvailabilityZones(w.ctx, &api2.DescribeAvailabilityZonesInput{ZoneIds: []string{"euw1-az9"}})
	_, noID := w.CreateTags(w.ctx, &api2.CreateTagsInput{Resources: []string{v, "thing-1"}, Tags: []api2.Tag{tag("half")}})
	const marks = "Valid descriptions are strings less than 256 characters from the following set:  a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"
	tests := map[string]struct {
		err           error
		code, message string
	}{
		"tags of another type":       {tagged(api2.TagSpecification{ResourceType: "subnet", Tags: []api2.Tag{tag("a")}}), "InvalidParameterValue", "'subnet' is not a valid taggable resource type for this operation."},
		"tags of no type":            {tagged(api2.TagSpecification{Tags: []api2.Tag{tag("a")}}), "InvalidParameterValue", "Tag specification resource type must have a value"},
		"no tags":                    {tagged(api2.TagSpecification{ResourceType: "vpc"}), "InvalidParameterValue", "Tag specification must have at least one tag"},
		"a tag twice":                {tagged(api2.TagSpecification{ResourceType: "vpc", Tags: []api2.Tag{tag("a"), tag("a")}}), "InvalidParameterValue", "Duplicate tag key 'a' specified."},
		"a long key":                 {tagged(api2.TagSpecification{ResourceType: "vpc", Tags: []api2.Tag{tag(strings.Repeat("ü", 128))}}), "InvalidParameterValue", "Tag key exceeds the maximum length of 127 characters"},
		"an id of nothing":           {noID, "InvalidID", "The ID 'thing-1' is not valid"},
		"beyond ASCII":               {describe("für alle"), "InvalidParameterValue", "Value (für alle) for parameter GroupDescription is invalid. Character sets beyond ASCII are not supported."},
		"a mark":                     {describe("a<b"), "InvalidParameterValue", "Invalid security group description. " + marks},
		"a long description":         {describe(strings.Repeat("a", 256)), "InvalidParameterValue", "Invalid security group description. " + marks},
		"six groups":                 {tooManyGroups, "SecurityGroupsPerInterfaceLimitExceeded", "The maximum number of security groups per interface has been reached."},
		"two attributes of a VPC":    {twoOfAVPC, "InvalidParameterCombination", "Fields for multiple attribute types specified: enableDnsHostnames, enableDnsSupport"},
		"usage metrics":              {metrics, "UnsupportedOperation", ""},
		"two attributes of a subnet": {twoOfASubnet, "InvalidParameterCombination", "Fields for multiple attribute types specified: enableResourceNameDnsARecordOnLaunch, mapPublicIpOnLaunch"},
		"no attribute":               {noneOfAnInterface, "InvalidParameterCombination", "No attributes specified."},
		"no addresses":               {noAddresses, "MissingParameter", ""},
		"a tenancy":                  {host, "InvalidParameterValue", ""},
		"a zone":                     {zone, "InvalidParameterValue", "Invalid availability zone-id: [euw1-az9]"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { fails(t, tt.err, tt.code, tt.message) })
	}
	// A request that fails has tagged nothing.
	if tags := must[*api2.DescribeTagsOutput](t)(w.DescribeTags(w.ctx, &api2.DescribeTagsInput{Filters: filter("resource-id", v)})).Tags; len(tags) != 0 {
		t.Errorf("tags %+v", tags)
	}
}

func TestNetworkACLLimit(t *testing.T) {
	w := newWorld(t)
	v := w.vpc("10.0.0.0/16")
	acl := must[*api2.CreateNetworkAclOutput](t)(w.CreateNetworkAcl(w.ctx, &api2.CreateNetworkAclInput{VpcId: &v})).NetworkAcl.NetworkAclId
	add := func(n int32, egress bool) error {
		_, err := w.CreateNetworkAclEntry(w.ctx, &api2.CreateNetworkAclEntryInput{NetworkAclId: acl, RuleNumber: &n, Protocol: new("-1"), RuleAction: "allow", Egress: &egress, CidrBlock: new("0.0.0.0/0")})
		return err
	}
	for n := range int32(20) {
		if err := add(n+1, false); err != nil {
			t.Fatal(err)
		}
	}
	fails(t, add(21, false), "NetworkAclEntryLimitExceeded", "The maximum number of network acl entries has been reached.")
	if err := add(21, true); err != nil {
		t.Error(err)
	}
}

// Each private address of an interface may have an elastic one.
func TestElasticAddressesOfSecondaryOnes(t *testing.T) {
	w := newWorld(t)
	v := w.vpc("10.0.0.0/16")
	w.gateway(v)
	sub := w.subnet(v, "10.0.0.0/24")
	e := must[*api2.CreateNetworkInterfaceOutput](t)(w.CreateNetworkInterface(w.ctx, &api2.CreateNetworkInterfaceInput{SubnetId: &sub, PrivateIpAddresses: []api2.PrivateIpAddressSpecification{
		{PrivateIpAddress: new("10.0.0.10"), Primary: new(true)}, {PrivateIpAddress: new("10.0.0.11")},
	}})).NetworkInterface.NetworkInterfaceId
	allocate := func() *api2.AllocateAddressOutput {
		return must[*api2.AllocateAddressOutput](t)(w.AllocateAddress(w.ctx, &api2.AllocateAddressInput{}))
	}
	first, second := allocate(), allocate()
	associate := func(a *api2.AllocateAddressOutput, to *string) error {
		_, err := w.AssociateAddress(w.ctx, &api2.AssociateAddressInput{AllocationId: a.AllocationId, NetworkInterfaceId: e, PrivateIpAddress: to})
		return err
	}
	fails(t, associate(second, new("10.0.0.12")), "InvalidParameterValue", "")
	for _, err := range []error{associate(first, nil), associate(second, new("10.0.0.11"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	// public are the public addresses by private one.
	public := func() map[string]string {
		out := map[string]string{}
		for _, a := range must[*api2.DescribeNetworkInterfacesOutput](t)(w.DescribeNetworkInterfaces(w.ctx, &api2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{*e}})).NetworkInterfaces[0].PrivateIpAddresses {
			if a.Association != nil {
				out[*a.PrivateIpAddress] = *a.Association.PublicIp
			}
		}
		return out
	}
	if got := public(); got["10.0.0.10"] != *first.PublicIp || got["10.0.0.11"] != *second.PublicIp {
		t.Errorf("addresses %v", got)
	}
	// An address that moves within the interface leaves its old place.
	if err := associate(first, new("10.0.0.11")); err != nil {
		t.Fatal(err)
	}
	if got := public(); len(got) != 1 || got["10.0.0.11"] != *first.PublicIp {
		t.Errorf("addresses %v", got)
	}
	// It becomes free with the private one.
	must[*api2.UnassignPrivateIpAddressesOutput](t)(w.UnassignPrivateIpAddresses(w.ctx, &api2.UnassignPrivateIpAddressesInput{NetworkInterfaceId: e, PrivateIpAddresses: []string{"10.0.0.11"}}))
	for _, a := range []*api2.AllocateAddressOutput{first, second} {
		must[*api2.ReleaseAddressOutput](t)(w.ReleaseAddress(w.ctx, &api2.ReleaseAddressInput{AllocationId: a.AllocationId}))
	}
}
