package ec2

import (
	"context"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxRules is how many rules a group may have in each direction.
const maxRules = 60

func ruleOut(region string, g *model.SecurityGroup, r *model.SecurityGroupRule) ec2.SecurityGroupRule {
	out := ec2.SecurityGroupRule{
		SecurityGroupRuleId: new(r.ID), GroupId: new(g.ID), GroupOwnerId: new(g.Owner), IsEgress: new(r.Egress),
		IpProtocol: new(r.Protocol), FromPort: new(r.FromPort), ToPort: new(r.ToPort), Tags: tagsOut(r.Tags),
		SecurityGroupRuleArn: new(model.MakeARN("ec2", region, g.Owner, "security-group-rule/"+r.ID)),
	}
	if r.Description != "" {
		out.Description = new(r.Description)
	}
	switch {
	case r.GroupID != "":
		out.ReferencedGroupInfo = &ec2.ReferencedSecurityGroup{GroupId: new(r.GroupID), UserId: new(r.GroupOwner), VpcId: new(g.VPCID)}
	case r.PrefixListID != "":
		out.PrefixListId = new(r.PrefixListID)
	case r.CIDR.Addr().Is4():
		out.CidrIpv4 = new(r.CIDR.String())
	default:
		out.CidrIpv6 = new(r.CIDR.String())
	}
	return out
}

// changeRules rewrites a group's rules.
func (s *Service) changeRules(ctx context.Context, call *api.Call, gid, name *string, change func(tx *store.Txn, g *model.SecurityGroup) error) (*model.SecurityGroup, error) {
	var out *model.SecurityGroup
	err := retry(func() error {
		row, err := s.groupBy(ctx, call, gid, name)
		if err != nil {
			return err
		}
		out = row.Copy()
		tx := store.NewTxn()
		if err := change(tx, out); err != nil {
			return err
		}
		tables.SecurityGroups.Replace(tx, row, out)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	return out, err
}

func (s *Service) authorize(ctx context.Context, call *api.Call, gid, name *string, egress bool, list []ec2.IpPermission, specs []ec2.TagSpecification) ([]ec2.SecurityGroupRule, error) {
	tags, err := tagsFor(typeRule, specs)
	if err != nil {
		return nil, err
	}
	var added []model.SecurityGroupRule
	g, err := s.changeRules(ctx, call, gid, name, func(tx *store.Txn, g *model.SecurityGroup) error {
		if added, err = s.rulesOf(ctx, call, g, egress, list); err != nil {
			return err
		}
		for i := range added {
			r := &added[i]
			r.ID, r.Tags = id.Resource("sgr"), tags
			if slices.ContainsFunc(g.Rules, func(x model.SecurityGroupRule) bool { return sameTraffic(&x, r) }) {
				return duplicate(r)
			}
			g.Rules = append(g.Rules, *r)
		}
		return s.limitAndCheck(ctx, call, tx, g, added)
	})
	if err != nil {
		return nil, err
	}
	var out []ec2.SecurityGroupRule
	for i := range added {
		out = append(out, ruleOut(call.Region, g, &added[i]))
	}
	return out, nil
}

func (s *Service) limitAndCheck(ctx context.Context, call *api.Call, tx *store.Txn, g *model.SecurityGroup, changed []model.SecurityGroupRule) error {
	counts := map[bool]int{}
	for i := range g.Rules {
		// A prefix list counts as many rules as it may have entries.
		n := 1
		if pid := g.Rules[i].PrefixListID; pid != "" {
			row, err := prefixLists.get(ctx, s, call, pid)
			if err != nil {
				return err
			}
			n = int(row.V.MaxEntries)
		}
		counts[g.Rules[i].Egress] += n
	}
	if counts[true] > maxRules || counts[false] > maxRules {
		return api.NewFault("RulesPerSecurityGroupLimitExceeded", "The maximum number of rules per security group has been reached.")
	}
	return s.checkReferences(ctx, call, tx, g.ID, changed)
}

// AuthorizeSecurityGroupIngress adds rules for what comes in.
func (s *Service) AuthorizeSecurityGroupIngress(ctx context.Context, in *ec2.AuthorizeSecurityGroupIngressInput) (*ec2.AuthorizeSecurityGroupIngressOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	list := legacy(in.IpPermissions, in.IpProtocol, in.CidrIp, in.FromPort, in.ToPort)
	if in.SourceSecurityGroupName != nil {
		list = append(list, ec2.IpPermission{
			IpProtocol: new("-1"), UserIdGroupPairs: []ec2.UserIdGroupPair{{GroupName: in.SourceSecurityGroupName, UserId: in.SourceSecurityGroupOwnerId}},
		})
	}
	rules, err := s.authorize(ctx, call, in.GroupId, in.GroupName, false, list, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	return &ec2.AuthorizeSecurityGroupIngressOutput{Return: new(true), SecurityGroupRules: rules}, nil
}

// AuthorizeSecurityGroupEgress adds rules for what goes out.
func (s *Service) AuthorizeSecurityGroupEgress(ctx context.Context, in *ec2.AuthorizeSecurityGroupEgressInput) (*ec2.AuthorizeSecurityGroupEgressOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	list := legacy(in.IpPermissions, in.IpProtocol, in.CidrIp, in.FromPort, in.ToPort)
	rules, err := s.authorize(ctx, call, in.GroupId, nil, true, list, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	return &ec2.AuthorizeSecurityGroupEgressOutput{Return: new(true), SecurityGroupRules: rules}, nil
}

// revoke removes rules by id or by what they allow, all or none.
func (s *Service) revoke(ctx context.Context, call *api.Call, gid, name *string, egress bool, ids []string, list []ec2.IpPermission) ([]ec2.RevokedSecurityGroupRule, error) {
	var removed []model.SecurityGroupRule
	g, err := s.changeRules(ctx, call, gid, name, func(_ *store.Txn, g *model.SecurityGroup) error {
		removed = nil
		take := func(match func(*model.SecurityGroupRule) bool) bool {
			i := slices.IndexFunc(g.Rules, func(r model.SecurityGroupRule) bool { return r.Egress == egress && match(&r) })
			if i < 0 {
				return false
			}
			removed = append(removed, g.Rules[i])
			g.Rules = slices.Delete(g.Rules, i, i+1)
			return true
		}
		for _, rid := range ids {
			if !take(func(r *model.SecurityGroupRule) bool { return r.ID == rid }) {
				return nounRule.missing(rid)
			}
		}
		if len(ids) > 0 && len(list) == 0 {
			return nil
		}
		wanted, err := s.rulesOf(ctx, call, g, egress, list)
		if err != nil {
			return err
		}
		for i := range wanted {
			if !take(func(r *model.SecurityGroupRule) bool { return sameTraffic(r, &wanted[i]) }) {
				return api.NewFault("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []ec2.RevokedSecurityGroupRule
	for i := range removed {
		r := ruleOut(call.Region, g, &removed[i])
		o := ec2.RevokedSecurityGroupRule{
			SecurityGroupRuleId: r.SecurityGroupRuleId, GroupId: r.GroupId, IsEgress: r.IsEgress, IpProtocol: r.IpProtocol,
			FromPort: r.FromPort, ToPort: r.ToPort, CidrIpv4: r.CidrIpv4, CidrIpv6: r.CidrIpv6, PrefixListId: r.PrefixListId, Description: r.Description,
		}
		if r.ReferencedGroupInfo != nil {
			o.ReferencedGroupId = r.ReferencedGroupInfo.GroupId
		}
		out = append(out, o)
	}
	return out, nil
}

// RevokeSecurityGroupIngress removes rules for what comes in.
func (s *Service) RevokeSecurityGroupIngress(ctx context.Context, in *ec2.RevokeSecurityGroupIngressInput) (*ec2.RevokeSecurityGroupIngressOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	list := legacy(in.IpPermissions, in.IpProtocol, in.CidrIp, in.FromPort, in.ToPort)
	removed, err := s.revoke(ctx, call, in.GroupId, in.GroupName, false, in.SecurityGroupRuleIds, list)
	if err != nil {
		return nil, err
	}
	return &ec2.RevokeSecurityGroupIngressOutput{Return: new(true), RevokedSecurityGroupRules: removed}, nil
}

// RevokeSecurityGroupEgress removes rules for what goes out.
func (s *Service) RevokeSecurityGroupEgress(ctx context.Context, in *ec2.RevokeSecurityGroupEgressInput) (*ec2.RevokeSecurityGroupEgressOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	list := legacy(in.IpPermissions, in.IpProtocol, in.CidrIp, in.FromPort, in.ToPort)
	removed, err := s.revoke(ctx, call, in.GroupId, nil, true, in.SecurityGroupRuleIds, list)
	if err != nil {
		return nil, err
	}
	return &ec2.RevokeSecurityGroupEgressOutput{Return: new(true), RevokedSecurityGroupRules: removed}, nil
}

// groupRule is a rule with its group.
type groupRule struct {
	group *model.SecurityGroup
	rule  *model.SecurityGroupRule
}

// DescribeSecurityGroupRules lists rules.
func (s *Service) DescribeSecurityGroupRules(ctx context.Context, in *ec2.DescribeSecurityGroupRulesInput) (*ec2.DescribeSecurityGroupRulesOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	all, err := groups.all(ctx, s, call)
	if err != nil {
		return nil, err
	}
	var found []*groupRule
	for _, g := range all {
		for i := range g.Rules {
			if len(in.SecurityGroupRuleIds) == 0 || slices.Contains(in.SecurityGroupRuleIds, g.Rules[i].ID) {
				found = append(found, &groupRule{g, &g.Rules[i]})
			}
		}
	}
	for _, rid := range in.SecurityGroupRuleIds {
		if !slices.ContainsFunc(found, func(r *groupRule) bool { return r.rule.ID == rid }) {
			return nil, nounRule.missing(rid)
		}
	}
	page, next, err := selectPage(call, found, query{"DescribeSecurityGroupRules", in.SecurityGroupRuleIds, in.Filters, in.MaxResults, in.NextToken},
		func(r *groupRule) string { return r.rule.ID },
		func(r *groupRule) model.Tags { return r.rule.Tags },
		func(r *groupRule, name string) ([]string, bool) {
			switch name {
			case "group-id":
				if r.group == nil {
					return nil, true
				}
				return one(r.group.ID)
			case "security-group-rule-id":
				if r.rule == nil {
					return nil, true
				}
				return one(r.rule.ID)
			}
			return nil, false
		})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeSecurityGroupRulesOutput{NextToken: next}
	for _, r := range page {
		out.SecurityGroupRules = append(out.SecurityGroupRules, ruleOut(call.Region, r.group, r.rule))
	}
	return out, nil
}

// ModifySecurityGroupRules replaces what rules allow; they keep their ids.
func (s *Service) ModifySecurityGroupRules(ctx context.Context, in *ec2.ModifySecurityGroupRulesInput) (*ec2.ModifySecurityGroupRulesOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	_, err = s.changeRules(ctx, call, in.GroupId, nil, func(tx *store.Txn, g *model.SecurityGroup) error {
		var changed []model.SecurityGroupRule
		for _, u := range in.SecurityGroupRules {
			rid := deref(u.SecurityGroupRuleId)
			i := slices.IndexFunc(g.Rules, func(r model.SecurityGroupRule) bool { return r.ID == rid })
			if i < 0 {
				return nounRule.missing(rid)
			}
			w := u.SecurityGroupRule
			if w == nil {
				continue
			}
			p := ec2.IpPermission{IpProtocol: w.IpProtocol, FromPort: w.FromPort, ToPort: w.ToPort}
			if w.CidrIpv4 != nil {
				p.IpRanges = []ec2.IpRange{{CidrIp: w.CidrIpv4, Description: w.Description}}
			}
			if w.CidrIpv6 != nil {
				p.Ipv6Ranges = []ec2.Ipv6Range{{CidrIpv6: w.CidrIpv6, Description: w.Description}}
			}
			if w.ReferencedGroupId != nil {
				p.UserIdGroupPairs = []ec2.UserIdGroupPair{{GroupId: w.ReferencedGroupId, Description: w.Description}}
			}
			if w.PrefixListId != nil {
				p.PrefixListIds = []ec2.PrefixListId{{PrefixListId: w.PrefixListId, Description: w.Description}}
			}
			rules, err := s.rulesOf(ctx, call, g, g.Rules[i].Egress, []ec2.IpPermission{p})
			if err != nil {
				return err
			}
			if len(rules) != 1 {
				return api.NewFault("InvalidParameterCombination", "A security group rule has exactly one source or destination")
			}
			r := rules[0]
			for k := range g.Rules {
				if k != i && sameTraffic(&g.Rules[k], &r) {
					return duplicate(&r)
				}
			}
			r.ID, r.Tags = rid, g.Rules[i].Tags
			g.Rules[i] = r
			changed = append(changed, r)
		}
		return s.limitAndCheck(ctx, call, tx, g, changed)
	})
	if err != nil {
		return nil, err
	}
	return &ec2.ModifySecurityGroupRulesOutput{Return: new(true)}, nil
}

// redescribe sets descriptions of rules, named by id or by what they allow.
func (s *Service) redescribe(ctx context.Context, call *api.Call, gid, name *string, egress bool, list []ec2.IpPermission, byID []ec2.SecurityGroupRuleDescription) error {
	_, err := s.changeRules(ctx, call, gid, name, func(_ *store.Txn, g *model.SecurityGroup) error {
		describe := func(description string, match func(*model.SecurityGroupRule) bool) bool {
			for i := range g.Rules {
				if r := &g.Rules[i]; r.Egress == egress && match(r) {
					r.Description = description
					return true
				}
			}
			return false
		}
		for _, d := range byID {
			if !describes(deref(d.Description)) {
				return invalidValue("Invalid rule description. %s", validDescriptions)
			}
			if !describe(deref(d.Description), func(r *model.SecurityGroupRule) bool { return r.ID == deref(d.SecurityGroupRuleId) }) {
				return nounRule.missing(deref(d.SecurityGroupRuleId))
			}
		}
		if len(byID) > 0 && len(list) == 0 {
			return nil
		}
		rules, err := s.rulesOf(ctx, call, g, egress, list)
		if err != nil {
			return err
		}
		for i := range rules {
			if !describe(rules[i].Description, func(r *model.SecurityGroupRule) bool { return sameTraffic(r, &rules[i]) }) {
				return api.NewFault("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
			}
		}
		return nil
	})
	return err
}

// UpdateSecurityGroupRuleDescriptionsIngress sets descriptions.
func (s *Service) UpdateSecurityGroupRuleDescriptionsIngress(ctx context.Context, in *ec2.UpdateSecurityGroupRuleDescriptionsIngressInput) (*ec2.UpdateSecurityGroupRuleDescriptionsIngressOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	err = s.redescribe(ctx, call, in.GroupId, in.GroupName, false, in.IpPermissions, in.SecurityGroupRuleDescriptions)
	return &ec2.UpdateSecurityGroupRuleDescriptionsIngressOutput{Return: new(true)}, err
}

// UpdateSecurityGroupRuleDescriptionsEgress sets descriptions.
func (s *Service) UpdateSecurityGroupRuleDescriptionsEgress(ctx context.Context, in *ec2.UpdateSecurityGroupRuleDescriptionsEgressInput) (*ec2.UpdateSecurityGroupRuleDescriptionsEgressOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	err = s.redescribe(ctx, call, in.GroupId, in.GroupName, true, in.IpPermissions, in.SecurityGroupRuleDescriptions)
	return &ec2.UpdateSecurityGroupRuleDescriptionsEgressOutput{Return: new(true)}, err
}
