package ec2

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

var groups = kind[model.SecurityGroup]{
	noun: nounGroup, table: tables.SecurityGroups,
	id:     func(v *model.SecurityGroup) string { return v.ID },
	tags:   func(v *model.SecurityGroup) model.Tags { return v.Tags },
	hidden: func(v *model.SecurityGroup) bool { return v.Deleting },
	field:  groupField,
}

func groupField(v *model.SecurityGroup, name string) ([]string, bool) {
	switch name {
	case "group-id":
		return one(v.ID)
	case "group-name":
		return one(v.Name)
	case "description":
		return one(v.Description)
	case "vpc-id":
		return one(v.VPCID)
	case "owner-id":
		return one(v.Owner)
	}
	field, egress := strings.CutPrefix(name, "egress.")
	if !strings.HasPrefix(field, "ip-permission.") {
		return nil, false
	}
	var out []string
	for i := range v.Rules {
		r := &v.Rules[i]
		if r.Egress != egress {
			continue
		}
		value, ok := ruleField(r, strings.TrimPrefix(field, "ip-permission."))
		if !ok {
			return nil, false
		}
		if value != "" {
			out = append(out, value)
		}
	}
	_, ok := ruleField(&model.SecurityGroupRule{}, strings.TrimPrefix(field, "ip-permission."))
	return out, ok
}

// ruleField is a rule's value of what follows "ip-permission." in a filter.
func ruleField(r *model.SecurityGroupRule, name string) (string, bool) {
	switch name {
	case "cidr":
		if r.CIDR.IsValid() && r.CIDR.Addr().Is4() {
			return r.CIDR.String(), true
		}
		return "", true
	case "ipv6-cidr":
		if r.CIDR.IsValid() && r.CIDR.Addr().Is6() {
			return r.CIDR.String(), true
		}
		return "", true
	case "from-port":
		return strconv.Itoa(int(r.FromPort)), true
	case "to-port":
		return strconv.Itoa(int(r.ToPort)), true
	case "protocol":
		return r.Protocol, true
	case "group-id":
		return r.GroupID, true
	case "prefix-list-id":
		return r.PrefixListID, true
	case "user-id":
		return r.GroupOwner, true
	case "group-name":
		return "", true
	}
	return "", false
}

func groupARN(region string, v *model.SecurityGroup) string {
	return model.MakeARN("ec2", region, v.Owner, "security-group/"+v.ID)
}

func groupOut(region string, v *model.SecurityGroup) *ec2.SecurityGroup {
	return &ec2.SecurityGroup{
		GroupId: new(v.ID), GroupName: new(v.Name), Description: new(v.Description), VpcId: new(v.VPCID), OwnerId: new(v.Owner),
		SecurityGroupArn: new(groupARN(region, v)), IpPermissions: permissionsOut(v.Rules, false), IpPermissionsEgress: permissionsOut(v.Rules, true),
		Tags: tagsOut(v.Tags),
	}
}

// groupName is the id of the record that keeps names unique in a VPC.
func groupName(vpcID, name string) string { return vpcID + "/" + strings.ToLower(name) }

// CreateSecurityGroup makes a group that lets everything out and nothing in.
func (s *Service) CreateSecurityGroup(ctx context.Context, in *ec2.CreateSecurityGroupInput) (*ec2.CreateSecurityGroupOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	name, description := deref(in.GroupName), deref(in.Description)
	switch {
	case name == "":
		return nil, required("GroupName")
	case len(name) > 255 || strings.HasPrefix(name, "sg-"):
		return nil, invalidValue("Invalid group name '%s': group names may not be in the format sg-* and are limited to 255 characters", name)
	case strings.EqualFold(name, "default"):
		return nil, invalidValue("Cannot use reserved security group name: %s", name)
	case !ascii(name):
		return nil, invalidValue("Value (%s) for parameter GroupName is invalid. Character sets beyond ASCII are not supported.", name)
	case !ascii(description):
		return nil, invalidValue("Value (%s) for parameter GroupDescription is invalid. Character sets beyond ASCII are not supported.", description)
	case !describes(description):
		return nil, invalidValue("Invalid security group description. %s", validDescriptions)
	}
	tags, err := tagsFor(typeGroup, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	v := &model.SecurityGroup{
		ID: id.Resource("sg"), Owner: call.Account, Name: name, Description: description,
		Rules: []model.SecurityGroupRule{allowAllEgress()}, Tags: tags, CreatedAt: call.Time,
	}
	err = retry(func() error {
		vpc, err := s.vpcOrDefault(ctx, call, in.VpcId)
		if err != nil {
			return err
		}
		v.VPCID = vpc.V.ID
		if _, err := tables.SecurityGroupNames.Get(ctx, s.store, call.Account, call.Region, groupName(v.VPCID, name)); err == nil {
			return api.NewFault("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", name, v.VPCID)
		}
		tx := store.NewTxn()
		tables.VPCs.Check(tx, vpc)
		tables.SecurityGroupNames.Create(tx, call.Account, call.Region, groupName(v.VPCID, name), &v.ID)
		tables.SecurityGroups.Create(tx, call.Account, call.Region, v.ID, v)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ec2.CreateSecurityGroupOutput{GroupId: new(v.ID), SecurityGroupArn: new(groupARN(call.Region, v)), Tags: tagsOut(tags)}, nil
}

// What EC2 says of descriptions of groups and of their rules.
const (
	descriptionMarks  = ". _-:/()#,@[]+=&;{}!$*"
	validDescriptions = "Valid descriptions are strings less than 256 characters from the following set:  a-zA-Z0-9" + descriptionMarks
)

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 127 })
}

func describes(s string) bool {
	return len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(descriptionMarks, r)
	})
}

// vpcOrDefault reads the VPC that is named, or the default one.
func (s *Service) vpcOrDefault(ctx context.Context, call *api.Call, vpcID *string) (store.Row[model.VPC], error) {
	if vpcID != nil {
		return vpcs.get(ctx, s, call, *vpcID)
	}
	all, err := vpcs.all(ctx, s, call)
	if err != nil {
		return store.Row[model.VPC]{}, err
	}
	i := slices.IndexFunc(all, func(v *model.VPC) bool { return v.IsDefault })
	if i < 0 {
		return store.Row[model.VPC]{}, api.NewFault("VPCIdNotSpecified", "No default VPC for this user")
	}
	return vpcs.get(ctx, s, call, all[i].ID)
}

// groupBy finds a group by its id, or by its name in the default VPC.
func (s *Service) groupBy(ctx context.Context, call *api.Call, gid, name *string) (store.Row[model.SecurityGroup], error) {
	if gid != nil {
		return groups.get(ctx, s, call, *gid)
	}
	if name == nil {
		return store.Row[model.SecurityGroup]{}, api.NewFault("MissingParameter", "The request must contain the parameter GroupName or GroupId")
	}
	vpc, err := s.vpcOrDefault(ctx, call, nil)
	if err != nil {
		return store.Row[model.SecurityGroup]{}, err
	}
	held, err := tables.SecurityGroupNames.Get(ctx, s.store, call.Account, call.Region, groupName(vpc.V.ID, *name))
	if err != nil {
		return store.Row[model.SecurityGroup]{}, api.NewFault("InvalidGroup.NotFound", "The security group '%s' does not exist in default VPC '%s'", *name, vpc.V.ID)
	}
	return groups.get(ctx, s, call, *held.V)
}

// DescribeSecurityGroups lists groups.
func (s *Service) DescribeSecurityGroups(ctx context.Context, in *ec2.DescribeSecurityGroupsInput) (*ec2.DescribeSecurityGroupsOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	ids := slices.Clone(in.GroupIds)
	for _, name := range in.GroupNames {
		row, err := s.groupBy(ctx, call, nil, &name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, row.V.ID)
	}
	found, next, err := groups.describe(ctx, s, call, query{"DescribeSecurityGroups", ids, in.Filters, in.MaxResults, in.NextToken})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeSecurityGroupsOutput{NextToken: next}
	for _, v := range found {
		out.SecurityGroups = append(out.SecurityGroups, *groupOut(call.Region, v))
	}
	return out, nil
}

// GetSecurityGroupsForVpc lists the groups that a VPC's interfaces may have.
func (s *Service) GetSecurityGroupsForVpc(ctx context.Context, in *ec2.GetSecurityGroupsForVpcInput) (*ec2.GetSecurityGroupsForVpcOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	vpc, err := vpcs.get(ctx, s, call, deref(in.VpcId))
	if err != nil {
		return nil, err
	}
	all, err := groups.all(ctx, s, call)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(g *model.SecurityGroup) bool { return g.VPCID != vpc.V.ID })
	found, next, err := selectPage(call, all, query{op: "GetSecurityGroupsForVpc", filters: in.Filters, max: in.MaxResults, token: in.NextToken}, groups.id, groups.tags,
		func(v *model.SecurityGroup, name string) ([]string, bool) {
			if name == "primary-vpc-id" {
				return one(v.VPCID)
			}
			return groupField(v, name)
		})
	if err != nil {
		return nil, err
	}
	out := &ec2.GetSecurityGroupsForVpcOutput{NextToken: next}
	for _, v := range found {
		out.SecurityGroupForVpcs = append(out.SecurityGroupForVpcs, ec2.SecurityGroupForVpc{
			GroupId: new(v.ID), GroupName: new(v.Name), Description: new(v.Description), OwnerId: new(v.Owner), PrimaryVpcId: new(v.VPCID), Tags: tagsOut(v.Tags),
		})
	}
	return out, nil
}

// DescribeSecurityGroupReferences lists peered VPCs that refer to groups:
// none, since VPCs do not peer here.
func (s *Service) DescribeSecurityGroupReferences(ctx context.Context, in *ec2.DescribeSecurityGroupReferencesInput) (*ec2.DescribeSecurityGroupReferencesOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	for _, gid := range in.GroupId {
		if _, err := groups.get(ctx, s, call, gid); err != nil {
			return nil, err
		}
	}
	return &ec2.DescribeSecurityGroupReferencesOutput{}, nil
}

// DeleteSecurityGroup deletes a group that no interface has and no rule of
// another group names.
func (s *Service) DeleteSecurityGroup(ctx context.Context, in *ec2.DeleteSecurityGroupInput) (*ec2.DeleteSecurityGroupOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	var row store.Row[model.SecurityGroup]
	if in.GroupId != nil {
		row, err = tables.SecurityGroups.Get(ctx, s.store, call.Account, call.Region, *in.GroupId)
		err = nounGroup.orMissing(err, *in.GroupId)
	} else {
		row, err = s.groupBy(ctx, call, nil, in.GroupName)
	}
	if err != nil {
		return nil, err
	}
	gid := row.V.ID
	if row.V.Name == "default" {
		return nil, api.NewFault("CannotDelete", "the specified group: \"%s\" name: \"default\" cannot be deleted by a user", gid)
	}
	check := func() error {
		n, err := countRows(ctx, s, tables.NetworkInterfaces, store.Query{
			Account: call.Account, Region: call.Region, Index: store.Index{Name: tables.ByGroup, Value: gid},
		}, nil)
		if err != nil {
			return err
		}
		named, err := countRows(ctx, s, tables.SecurityGroups, store.Query{
			Account: call.Account, Region: call.Region, Index: store.Index{Name: tables.ByVPC, Value: row.V.VPCID},
		}, func(g *model.SecurityGroup) bool {
			return g.ID != gid && slices.ContainsFunc(g.Rules, func(r model.SecurityGroupRule) bool { return r.GroupID == gid })
		})
		if err == nil && n+named > 0 {
			err = nounGroup.hasDependencies(gid)
		}
		return err
	}
	err = inUse(ctx, s, tables.SecurityGroups, row, func(v *model.SecurityGroup) *bool { return &v.Deleting }, check, func(tx *store.Txn) error {
		held, err := tables.SecurityGroupNames.Get(ctx, s.store, call.Account, call.Region, groupName(row.V.VPCID, row.V.Name))
		if err == nil {
			tables.SecurityGroupNames.Delete(tx, held)
		}
		return nil
	})
	return &ec2.DeleteSecurityGroupOutput{Return: new(true), GroupId: new(gid)}, err
}
