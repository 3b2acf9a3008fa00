package ec2_test

import (
	"sync"
	"testing"

	api2 "roadstead.dev/internal/api/ec2"
)

func web(cidrs ...string) []api2.IpPermission {
	p := api2.IpPermission{IpProtocol: new("tcp"), FromPort: new(int32(80)), ToPort: new(int32(80))}
	for _, c := range cidrs {
		p.IpRanges = append(p.IpRanges, api2.IpRange{CidrIp: new(c), Description: new("from " + c)})
	}
	return []api2.IpPermission{p}
}

func TestSecurityGroupRules(t *testing.T) {
	w := newWorld(t)
	v := w.vpc("10.0.0.0/16")
	g, ref := w.group(v, "web"), w.group(v, "clients")
	rules := must[*api2.AuthorizeSecurityGroupIngressOutput](t)(w.AuthorizeSecurityGroupIngress(w.ctx, &api2.AuthorizeSecurityGroupIngressInput{
		GroupId: &g, IpPermissions: append(web("0.0.0.0/0", "10.1.2.3/24"), api2.IpPermission{
			IpProtocol: new("-1"), UserIdGroupPairs: []api2.UserIdGroupPair{{GroupId: &ref}, {GroupId: &g}},
		}),
	})).SecurityGroupRules
	if len(rules) != 4 || *rules[1].CidrIpv4 != "10.1.2.0/24" || *rules[2].ReferencedGroupInfo.GroupId != ref || *rules[2].FromPort != -1 || *rules[0].IsEgress {
		t.Fatalf("rules %+v", rules)
	}
	sg := must[*api2.DescribeSecurityGroupsOutput](t)(w.DescribeSecurityGroups(w.ctx, &api2.DescribeSecurityGroupsInput{GroupIds: []string{g}})).SecurityGroups[0]
	if len(sg.IpPermissions) != 2 || len(sg.IpPermissions[0].IpRanges) != 2 || len(sg.IpPermissions[1].UserIdGroupPairs) != 2 || sg.IpPermissions[1].FromPort != nil || len(sg.IpPermissionsEgress) != 1 {
		t.Errorf("permissions %+v, %+v", sg.IpPermissions, sg.IpPermissionsEgress)
	}
	_, err := w.AuthorizeSecurityGroupIngress(w.ctx, &api2.AuthorizeSecurityGroupIngressInput{GroupId: &g, IpPermissions: web("10.9.0.0/16", "0.0.0.0/0")})
	fails(t, err, "InvalidPermission.Duplicate", `the specified rule "peer: 0.0.0.0/0, TCP, from port: 80, to port: 80, ALLOW" already exists`)
	_, err = w.DeleteSecurityGroup(w.ctx, &api2.DeleteSecurityGroupInput{GroupId: &ref})
	fails(t, err, "DependencyViolation", "resource "+ref+" has a dependent object")

	must[*api2.ModifySecurityGroupRulesOutput](t)(w.ModifySecurityGroupRules(w.ctx, &api2.ModifySecurityGroupRulesInput{GroupId: &g, SecurityGroupRules: []api2.SecurityGroupRuleUpdate{
		{SecurityGroupRuleId: rules[0].SecurityGroupRuleId, SecurityGroupRule: &api2.SecurityGroupRuleRequest{IpProtocol: new("tcp"), FromPort: new(int32(443)), ToPort: new(int32(443)), CidrIpv4: new("0.0.0.0/0")}},
	}}))
	got := must[*api2.DescribeSecurityGroupRulesOutput](t)(w.DescribeSecurityGroupRules(w.ctx, &api2.DescribeSecurityGroupRulesInput{SecurityGroupRuleIds: []string{*rules[0].SecurityGroupRuleId}})).SecurityGroupRules
	if len(got) != 1 || *got[0].FromPort != 443 {
		t.Errorf("rules %+v", got)
	}
	// Revoking is all or nothing.
	_, err = w.RevokeSecurityGroupIngress(w.ctx, &api2.RevokeSecurityGroupIngressInput{GroupId: &g, IpPermissions: web("10.1.2.0/24", "9.9.9.9/32")})
	fails(t, err, "InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
	out := must[*api2.RevokeSecurityGroupIngressOutput](t)(w.RevokeSecurityGroupIngress(w.ctx, &api2.RevokeSecurityGroupIngressInput{GroupId: &g, SecurityGroupRuleIds: []string{*rules[2].SecurityGroupRuleId}}))
	if len(out.RevokedSecurityGroupRules) != 1 || *out.RevokedSecurityGroupRules[0].ReferencedGroupId != ref {
		t.Errorf("revoked %+v", out.RevokedSecurityGroupRules)
	}
	_, err = w.RevokeSecurityGroupIngress(w.ctx, &api2.RevokeSecurityGroupIngressInput{GroupId: &g, SecurityGroupRuleIds: []string{"sgr-none"}})
	fails(t, err, "InvalidSecurityGroupRuleId.NotFound", "")
	all := must[*api2.DescribeSecurityGroupRulesOutput](t)(w.DescribeSecurityGroupRules(w.ctx, &api2.DescribeSecurityGroupRulesInput{Filters: filter("group-id", g)})).SecurityGroupRules
	if len(all) != 4 {
		t.Errorf("%d rules are left", len(all))
	}
	must[*api2.DeleteSecurityGroupOutput](t)(w.DeleteSecurityGroup(w.ctx, &api2.DeleteSecurityGroupInput{GroupId: &ref}))
	_, err = w.DescribeSecurityGroups(w.ctx, &api2.DescribeSecurityGroupsInput{GroupIds: []string{ref}})
	fails(t, err, "InvalidGroup.NotFound", "The security group '"+ref+"' does not exist")
	w.group(v, "clients") // the name is free again
}

func TestSecurityGroupErrors(t *testing.T) {
	w := newWorld(t)
	v := w.vpc("10.0.0.0/16")
	g, far := w.group(v, "web"), w.group(w.vpc("10.0.0.0/16"), "web")
	authorize := func(p api2.IpPermission) error {
		_, err := w.AuthorizeSecurityGroupIngress(w.ctx, &api2.AuthorizeSecurityGroupIngressInput{GroupId: &g, IpPermissions: []api2.IpPermission{p}})
		return err
	}
	anywhere := []api2.IpRange{{CidrIp: new("0.0.0.0/0")}}
	create := func(name string) error {
		_, err := w.CreateSecurityGroup(w.ctx, &api2.CreateSecurityGroupInput{VpcId: &v, GroupName: &name, Description: new("d")})
		return err
	}
	def := must[*api2.DescribeSecurityGroupsOutput](t)(w.DescribeSecurityGroups(w.ctx, &api2.DescribeSecurityGroupsInput{Filters: append(filter("vpc-id", v), filter("group-name", "default")...)})).SecurityGroups[0].GroupId
	_, deleteDefault := w.DeleteSecurityGroup(w.ctx, &api2.DeleteSecurityGroupInput{GroupId: def})
	tests := map[string]struct {
		err           error
		code, message string
	}{
		"the same name":      {create("WEB"), "InvalidGroup.Duplicate", "The security group 'WEB' already exists for VPC '" + v + "'"},
		"a reserved name":    {create("default"), "InvalidParameterValue", "Cannot use reserved security group name: default"},
		"the default group":  {deleteDefault, "CannotDelete", `the specified group: "` + *def + `" name: "default" cannot be deleted by a user`},
		"no ports":           {authorize(api2.IpPermission{IpProtocol: new("tcp"), IpRanges: anywhere}), "InvalidParameterValue", "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange."},
		"ports turned round": {authorize(api2.IpPermission{IpProtocol: new("tcp"), FromPort: new(int32(9)), ToPort: new(int32(8)), IpRanges: anywhere}), "InvalidParameterValue", "Invalid TCP port range (9 to 8)"},
		"no protocol":        {authorize(api2.IpPermission{IpProtocol: new("tpc"), IpRanges: anywhere}), "InvalidParameterValue", "Invalid value 'tpc' for IP protocol. Unknown protocol."},
		"no block":           {authorize(api2.IpPermission{IpProtocol: new("-1"), IpRanges: []api2.IpRange{{CidrIp: new("10.0.0/8")}}}), "InvalidParameterValue", "CIDR block 10.0.0/8 is malformed"},
		"another network":    {authorize(api2.IpPermission{IpProtocol: new("-1"), UserIdGroupPairs: []api2.UserIdGroupPair{{GroupId: &far}}}), "InvalidGroup.NotFound", "You have specified two resources that belong to different networks."},
		"no peer":            {authorize(api2.IpPermission{IpProtocol: new("-1")}), "MissingParameter", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { fails(t, tt.err, tt.code, tt.message) })
	}
}

// A group cannot vanish while an interface that has it is being made.
func TestGroupDeletionMeetsInterfaceCreation(t *testing.T) {
	w := newWorld(t)
	v := w.vpc("10.0.0.0/16")
	sub := w.subnet(v, "10.0.0.0/24")
	for range 20 {
		g := w.group(v, "g")
		var wg sync.WaitGroup
		var made *api2.CreateNetworkInterfaceOutput
		var makeErr, deleteErr error
		wg.Go(func() {
			made, makeErr = w.CreateNetworkInterface(w.ctx, &api2.CreateNetworkInterfaceInput{SubnetId: &sub, Groups: []string{g}})
		})
		wg.Go(func() { _, deleteErr = w.DeleteSecurityGroup(w.ctx, &api2.DeleteSecurityGroupInput{GroupId: &g}) })
		wg.Wait()
		if makeErr == nil && deleteErr == nil {
			t.Fatal("the interface has a group that is gone")
		}
		if makeErr == nil {
			must[*api2.DeleteNetworkInterfaceOutput](t)(w.DeleteNetworkInterface(w.ctx, &api2.DeleteNetworkInterfaceInput{NetworkInterfaceId: made.NetworkInterface.NetworkInterfaceId}))
		}
		if deleteErr != nil {
			must[*api2.DeleteSecurityGroupOutput](t)(w.DeleteSecurityGroup(w.ctx, &api2.DeleteSecurityGroupInput{GroupId: &g}))
		}
	}
}
