package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// networkImports is how the case network is imported.
var networkImports = &reimports{
	ids: map[string]func(*stateResource) string{
		"aws_route": routeImport,
		// An import does not know that the local route is written down.
		"aws_route_table": func(r *stateResource) string {
			if r.Address == "aws_route_table.apart" {
				return ""
			}
			return r.str("id")
		},
		"aws_route_table_association":         joined("/", "subnet_id", "route_table_id"),
		"aws_default_route_table":             attribute("vpc_id"),
		"aws_network_acl_rule":                aclRuleImport,
		"aws_security_group_rule":             groupRuleImport,
		"aws_network_interface_sg_attachment": joined("_", "network_interface_id", "security_group_id"),
		"aws_vpc_dhcp_options_association":    attribute("vpc_id"),
		// The provider would replace an imported pair, since it cannot read the
		// public key back.
		"aws_key_pair": notImportable,
	},
}

func aclRuleImport(r *stateResource) string {
	return fmt.Sprintf("%s:%v:%s:%v", r.str("network_acl_id"), r.Values["rule_number"], r.str("protocol"), r.Values["egress"])
}

func routeImport(r *stateResource) string {
	for _, name := range []string{"destination_cidr_block", "destination_prefix_list_id"} {
		if to := r.str(name); to != "" {
			return r.str("route_table_id") + "_" + to
		}
	}
	return ""
}

func groupRuleImport(r *stateResource) string {
	var peers []string
	for _, name := range []string{"cidr_blocks", "prefix_list_ids"} {
		list, _ := r.Values[name].([]any)
		for _, v := range list {
			peers = append(peers, fmt.Sprint(v))
		}
	}
	return fmt.Sprintf("%s_%s_%s_%v_%v_%s", r.str("security_group_id"), r.str("type"), r.str("protocol"), r.Values["from_port"], r.Values["to_port"], strings.Join(peers, "_"))
}

func networkApplied(t *testing.T, s *server, tf *configuration) {
	for output, want := range map[string]string{
		"account": "000000000000", "region": region, "partition": "aws", "public_subnets": "2",
		"zones":           `["us-east-1a","us-east-1b","us-east-1c"]`,
		"default_subnets": `["172.31.0.0/20","172.31.16.0/20","172.31.32.0/20"]`,
		"found":           "use1-az1 true 1 true 4 true 2 true true 1 example.internal 5 ed25519 tcp 4 x86_64 amazon 2 2 8192 3 true t3.micro 3",
	} {
		if got := tf.output(output); got != want {
			t.Errorf("output %s is %s, want %s", output, got, want)
		}
	}
	if r := s.webRules(t); !slices.Equal(r, []string{"-1 in", "-1 out", "tcp in 22-22", "tcp in 80-80"}) {
		t.Errorf("the group's rules: %q", r)
	}
}

func networkChanged(t *testing.T, s *server) {
	if r := s.webRules(t); !slices.Equal(r, []string{"-1 in", "-1 out", "tcp in 22-22", "tcp in 80-81"}) {
		t.Errorf("the group's rules: %q", r)
	}
	got, err := s.ec2.DescribeNetworkInterfaces(t.Context(), &ec2.DescribeNetworkInterfacesInput{Filters: []ec2types.Filter{{Name: new("private-ip-address"), Values: []string{"10.20.10.20"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if i := got.NetworkInterfaces[0]; len(i.Groups) != 2 || str(i.Description) != "web, revision 2" || i.Association == nil {
		t.Errorf("the interface: %+v", i)
	}
}

func networkDestroyed(t *testing.T, s *server) {
	ctx := t.Context()
	vpcs, err := s.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{Filters: []ec2types.Filter{{Name: new("cidr"), Values: []string{"10.20.0.0/16", "10.40.0.0/24", "10.50.0.0/16"}}}})
	if err != nil || len(vpcs.Vpcs) != 0 {
		t.Errorf("VPCs: %+v %v", vpcs, err)
	}
	if a, err := s.ec2.DescribeAddresses(ctx, &ec2.DescribeAddressesInput{Filters: []ec2types.Filter{{Name: new("tag:Stack"), Values: []string{"network"}}}}); err != nil || len(a.Addresses) != 0 {
		t.Errorf("addresses: %+v %v", a.Addresses, err)
	}
	if l, err := s.ec2.DescribeManagedPrefixLists(ctx, &ec2.DescribeManagedPrefixListsInput{}); err != nil || len(l.PrefixLists) != 0 {
		t.Errorf("prefix lists: %+v %v", l.PrefixLists, err)
	}
	if k, err := s.ec2.DescribeKeyPairs(ctx, &ec2.DescribeKeyPairsInput{}); err != nil || len(k.KeyPairs) != 0 {
		t.Errorf("key pairs: %+v %v", k.KeyPairs, err)
	}
	if i, err := s.ec2.DescribeNetworkInterfaces(ctx, &ec2.DescribeNetworkInterfacesInput{Filters: []ec2types.Filter{
		{Name: new("description"), Values: []string{"web*", "many", "Interface for NAT*"}},
	}}); err != nil || len(i.NetworkInterfaces) != 0 {
		t.Errorf("interfaces: %+v %v", i.NetworkInterfaces, err)
	}
}

// webRules tells the rules of the security group named web, in order.
func (s *server) webRules(t *testing.T) []string {
	t.Helper()
	groups, err := s.ec2.DescribeSecurityGroups(t.Context(), &ec2.DescribeSecurityGroupsInput{Filters: []ec2types.Filter{{Name: new("group-name"), Values: []string{"web"}}}})
	if err != nil || len(groups.SecurityGroups) != 1 {
		t.Fatalf("%+v %v", groups, err)
	}
	out, err := s.ec2.DescribeSecurityGroupRules(t.Context(), &ec2.DescribeSecurityGroupRulesInput{Filters: []ec2types.Filter{{Name: new("group-id"), Values: []string{*groups.SecurityGroups[0].GroupId}}}})
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	for _, r := range out.SecurityGroupRules {
		rule := *r.IpProtocol + " in"
		if *r.IsEgress {
			rule = *r.IpProtocol + " out"
		}
		if *r.IpProtocol != "-1" {
			rule += errorf(" %d-%d", *r.FromPort, *r.ToPort).Error()
		}
		rules = append(rules, rule)
	}
	slices.Sort(rules)
	return rules
}
