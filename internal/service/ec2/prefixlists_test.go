package ec2_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	api2 "roadstead.dev/internal/api/ec2"
)

func (w *world) prefixList(size int32, cidrs ...string) string {
	w.Helper()
	return *must[*api2.CreateManagedPrefixListOutput](w)(w.CreateManagedPrefixList(w.ctx, &api2.CreateManagedPrefixListInput{
		PrefixListName: new("list"), AddressFamily: new("IPv4"), MaxEntries: &size, Entries: adding(cidrs...),
	})).PrefixList.PrefixListId
}

func adding(cidrs ...string) []api2.AddPrefixListEntry {
	var out []api2.AddPrefixListEntry
	for _, c := range cidrs {
		out = append(out, api2.AddPrefixListEntry{Cidr: new(c), Description: new("d")})
	}
	return out
}

func (w *world) entries(id string, version *int64) []string {
	w.Helper()
	var out []string
	for _, e := range must[*api2.GetManagedPrefixListEntriesOutput](w)(w.GetManagedPrefixListEntries(w.ctx, &api2.GetManagedPrefixListEntriesInput{PrefixListId: &id, TargetVersion: version})).Entries {
		out = append(out, *e.Cidr)
	}
	return out
}

func TestPrefixLists(t *testing.T) {
	w := newWorld(t)
	pl := w.prefixList(3, "10.0.0.0/8", "192.0.2.0/24")
	modify := func(in api2.ModifyManagedPrefixListInput) error {
		in.PrefixListId = &pl
		_, err := w.ModifyManagedPrefixList(w.ctx, &in)
		return err
	}
	if err := modify(api2.ModifyManagedPrefixListInput{
		CurrentVersion: new(int64(1)), AddEntries: adding("198.51.100.0/24"), RemoveEntries: []api2.RemovePrefixListEntry{{Cidr: new("10.0.0.0/8")}},
	}); err != nil {
		t.Fatal(err)
	}
	for want, err := range map[string]error{
		"PrefixListVersionMismatch":     modify(api2.ModifyManagedPrefixListInput{CurrentVersion: new(int64(1)), AddEntries: adding("10.0.0.0/8")}),
		"InvalidPrefixListModification": modify(api2.ModifyManagedPrefixListInput{CurrentVersion: new(int64(2)), AddEntries: adding("192.0.2.0/24")}),
		"PrefixListMaxEntriesExceeded":  modify(api2.ModifyManagedPrefixListInput{CurrentVersion: new(int64(2)), AddEntries: adding("10.0.0.0/8", "172.16.0.0/12")}),
		"InvalidParameterCombination":   modify(api2.ModifyManagedPrefixListInput{CurrentVersion: new(int64(2)), MaxEntries: new(int32(9)), AddEntries: adding("10.0.0.0/8")}),
		"InvalidParameterValue":         modify(api2.ModifyManagedPrefixListInput{CurrentVersion: new(int64(2)), AddEntries: adding("10.0.0.1/8")}),
		"MissingParameter":              modify(api2.ModifyManagedPrefixListInput{AddEntries: adding("10.0.0.0/8")}),
	} {
		fails(t, err, want, "")
	}
	if diff := cmp.Diff([]string{"192.0.2.0/24", "198.51.100.0/24"}, w.entries(pl, nil)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"10.0.0.0/8", "192.0.2.0/24"}, w.entries(pl, new(int64(1)))); diff != "" {
		t.Error(diff)
	}
	restored := must[*api2.RestoreManagedPrefixListVersionOutput](t)(w.RestoreManagedPrefixListVersion(w.ctx, &api2.RestoreManagedPrefixListVersionInput{
		PrefixListId: &pl, CurrentVersion: new(int64(2)), PreviousVersion: new(int64(1)),
	})).PrefixList
	if *restored.Version != 3 || restored.State != api2.PrefixListStateRestoreInProgress {
		t.Errorf("restored %+v", restored)
	}
	got := must[*api2.DescribeManagedPrefixListsOutput](t)(w.DescribeManagedPrefixLists(w.ctx, &api2.DescribeManagedPrefixListsInput{Filters: filter("prefix-list-name", "li*")})).PrefixLists
	if len(got) != 1 || got[0].State != api2.PrefixListStateRestoreComplete || *got[0].Version != 3 {
		t.Errorf("lists %+v", got)
	}
	if none := must[*api2.DescribePrefixListsOutput](t)(w.DescribePrefixLists(w.ctx, &api2.DescribePrefixListsInput{})).PrefixLists; len(none) != 0 {
		t.Errorf("AWS's lists %+v", none)
	}
}

// Groups and routes that name a list keep it, and it counts with its size.
func TestPrefixListUsers(t *testing.T) {
	w := newWorld(t)
	v := w.vpc("10.0.0.0/16")
	pl, large := w.prefixList(2, "192.0.2.0/24"), w.prefixList(61)
	g, igw := w.group(v, "g"), w.gateway(v)
	rt := must[*api2.CreateRouteTableOutput](t)(w.CreateRouteTable(w.ctx, &api2.CreateRouteTableInput{VpcId: &v})).RouteTable.RouteTableId
	from := func(list string) *api2.AuthorizeSecurityGroupIngressInput {
		return &api2.AuthorizeSecurityGroupIngressInput{GroupId: &g, IpPermissions: []api2.IpPermission{
			{IpProtocol: new("-1"), PrefixListIds: []api2.PrefixListId{{PrefixListId: &list, Description: new("offices")}}},
		}}
	}
	rule := must[*api2.AuthorizeSecurityGroupIngressOutput](t)(w.AuthorizeSecurityGroupIngress(w.ctx, from(pl))).SecurityGroupRules[0]
	if *rule.PrefixListId != pl || rule.CidrIpv4 != nil {
		t.Errorf("rule %+v", rule)
	}
	_, err := w.AuthorizeSecurityGroupIngress(w.ctx, from(pl))
	fails(t, err, "InvalidPermission.Duplicate", `the specified rule "peer: `+pl+`, ALL, ALLOW" already exists`)
	_, err = w.AuthorizeSecurityGroupIngress(w.ctx, from(large))
	fails(t, err, "RulesPerSecurityGroupLimitExceeded", "")
	_, err = w.AuthorizeSecurityGroupIngress(w.ctx, from("pl-none"))
	fails(t, err, "InvalidPrefixListID.NotFound", "The prefix list ID 'pl-none' does not exist")
	sg := must[*api2.DescribeSecurityGroupsOutput](t)(w.DescribeSecurityGroups(w.ctx, &api2.DescribeSecurityGroupsInput{Filters: filter("ip-permission.prefix-list-id", pl)})).SecurityGroups
	if len(sg) != 1 || *sg[0].IpPermissions[0].PrefixListIds[0].Description != "offices" {
		t.Errorf("groups %+v", sg)
	}

	route := func(list string) *api2.CreateRouteInput {
		return &api2.CreateRouteInput{RouteTableId: rt, DestinationPrefixListId: &list, GatewayId: &igw}
	}
	must[*api2.CreateRouteOutput](t)(w.CreateRoute(w.ctx, route(pl)))
	_, err = w.CreateRoute(w.ctx, route(pl))
	fails(t, err, "RouteAlreadyExists", "The route identified by "+pl+" already exists.")
	_, err = w.CreateRoute(w.ctx, route(large))
	fails(t, err, "RouteLimitExceeded", "")
	both := route(pl)
	both.DestinationCidrBlock = new("0.0.0.0/0")
	_, err = w.CreateRoute(w.ctx, both)
	fails(t, err, "InvalidParameterCombination", "")

	users := must[*api2.GetManagedPrefixListAssociationsOutput](t)(w.GetManagedPrefixListAssociations(w.ctx, &api2.GetManagedPrefixListAssociationsInput{PrefixListId: &pl})).PrefixListAssociations
	if len(users) != 2 || *users[0].ResourceId != *rt || *users[1].ResourceId != g {
		t.Errorf("users %+v", users)
	}
	_, err = w.DeleteManagedPrefixList(w.ctx, &api2.DeleteManagedPrefixListInput{PrefixListId: &pl})
	fails(t, err, "PrefixListInUse", "")
	must[*api2.RevokeSecurityGroupIngressOutput](t)(w.RevokeSecurityGroupIngress(w.ctx, &api2.RevokeSecurityGroupIngressInput{GroupId: &g, IpPermissions: from(pl).IpPermissions}))
	must[*api2.DeleteRouteOutput](t)(w.DeleteRoute(w.ctx, &api2.DeleteRouteInput{RouteTableId: rt, DestinationPrefixListId: &pl}))
	_, err = w.DeleteRoute(w.ctx, &api2.DeleteRouteInput{RouteTableId: rt, DestinationPrefixListId: &pl})
	fails(t, err, "InvalidRoute.NotFound", "no route with destination-prefix-list-id "+pl+" in route table "+*rt)
	must[*api2.DeleteManagedPrefixListOutput](t)(w.DeleteManagedPrefixList(w.ctx, &api2.DeleteManagedPrefixListInput{PrefixListId: &pl}))
	_, err = w.GetManagedPrefixListEntries(w.ctx, &api2.GetManagedPrefixListEntriesInput{PrefixListId: &pl})
	fails(t, err, "InvalidPrefixListID.NotFound", "")
}
