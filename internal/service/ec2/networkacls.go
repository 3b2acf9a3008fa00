package ec2

import (
	"context"
	"net/netip"
	"slices"
	"strconv"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxEntries is how many entries an ACL may have in each direction.
const maxEntries = 20

// lastEntry is the number of the closing deny that every ACL has.
const lastEntry = 32767

var networkACLs = kind[model.NetworkACL]{
	noun: nounACL, table: tables.NetworkACLs,
	id:     func(v *model.NetworkACL) string { return v.ID },
	tags:   func(v *model.NetworkACL) model.Tags { return v.Tags },
	hidden: func(v *model.NetworkACL) bool { return v.Deleting },
}

func (s *Service) aclOut(v *model.NetworkACL, subs []*model.Subnet) *ec2.NetworkAcl {
	out := &ec2.NetworkAcl{NetworkAclId: new(v.ID), VpcId: new(v.VPCID), OwnerId: new(v.Owner), IsDefault: new(v.IsDefault), Tags: tagsOut(v.Tags)}
	entries := slices.Clone(v.Entries)
	slices.SortStableFunc(entries, func(a, b model.NetworkACLEntry) int { return int(a.Number - b.Number) })
	for _, egress := range []bool{true, false} {
		for i := range entries {
			if entries[i].Egress == egress {
				out.Entries = append(out.Entries, entryOut(&entries[i]))
			}
		}
		out.Entries = append(out.Entries, entryOut(&model.NetworkACLEntry{Number: lastEntry, Egress: egress, Protocol: "-1", CIDR: anywhere}))
	}
	for _, sub := range subs {
		if sub.NetworkACLID == v.ID {
			out.Associations = append(out.Associations, ec2.NetworkAclAssociation{
				NetworkAclAssociationId: new(sub.NetworkACLAssociationID), NetworkAclId: new(v.ID), SubnetId: new(sub.ID),
			})
		}
	}
	return out
}

func entryOut(e *model.NetworkACLEntry) ec2.NetworkAclEntry {
	out := ec2.NetworkAclEntry{RuleNumber: new(e.Number), Egress: new(e.Egress), Protocol: new(e.Protocol), RuleAction: ec2.RuleActionDeny}
	if e.Allow {
		out.RuleAction = ec2.RuleActionAllow
	}
	if e.CIDR.Addr().Is4() {
		out.CidrBlock = new(e.CIDR.String())
	} else {
		out.Ipv6CidrBlock = new(e.CIDR.String())
	}
	if e.HasPorts {
		out.PortRange = &ec2.PortRange{From: new(e.FromPort), To: new(e.ToPort)}
	}
	if e.HasICMP {
		out.IcmpTypeCode = &ec2.IcmpTypeCode{Type: new(e.ICMPType), Code: new(e.ICMPCode)}
	}
	return out
}

func aclField(v *ec2.NetworkAcl, name string) ([]string, bool) {
	var out []string
	switch name {
	case "network-acl-id":
		return one(deref(v.NetworkAclId))
	case "vpc-id":
		return one(deref(v.VpcId))
	case "owner-id":
		return one(deref(v.OwnerId))
	case "default":
		return oneBool(deref(v.IsDefault))
	case "association.association-id", "association.network-acl-id", "association.subnet-id":
		for _, a := range v.Associations {
			switch name {
			case "association.association-id":
				out = append(out, deref(a.NetworkAclAssociationId))
			case "association.network-acl-id":
				out = append(out, deref(a.NetworkAclId))
			default:
				out = append(out, deref(a.SubnetId))
			}
		}
		return out, true
	case "entry.cidr", "entry.protocol", "entry.rule-action", "entry.egress", "entry.rule-number":
		for _, e := range v.Entries {
			switch name {
			case "entry.cidr":
				out = append(out, deref(e.CidrBlock))
			case "entry.protocol":
				out = append(out, deref(e.Protocol))
			case "entry.rule-action":
				out = append(out, string(e.RuleAction))
			case "entry.egress":
				out = append(out, strconv.FormatBool(deref(e.Egress)))
			default:
				out = append(out, strconv.Itoa(int(deref(e.RuleNumber))))
			}
		}
		return out, true
	case "entry.ipv6-cidr", "entry.icmp.code", "entry.icmp.type", "entry.port-range.from", "entry.port-range.to":
		return nil, true
	}
	return nil, false
}

// DescribeNetworkAcls lists ACLs.
func (s *Service) DescribeNetworkAcls(ctx context.Context, in *ec2.DescribeNetworkAclsInput) (*ec2.DescribeNetworkAclsOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	subs, err := subnets.all(ctx, s, call)
	if err != nil {
		return nil, err
	}
	found, _, err := networkACLs.describe(ctx, s, call, query{op: "DescribeNetworkAcls", ids: in.NetworkAclIds})
	if err != nil {
		return nil, err
	}
	var all []*ec2.NetworkAcl
	for _, v := range found {
		all = append(all, s.aclOut(v, subs))
	}
	page, next, err := selectPage(call, all, query{"DescribeNetworkAcls", in.NetworkAclIds, in.Filters, in.MaxResults, in.NextToken},
		func(v *ec2.NetworkAcl) string { return deref(v.NetworkAclId) },
		func(v *ec2.NetworkAcl) model.Tags { return modelTags(v.Tags) }, aclField)
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeNetworkAclsOutput{NextToken: next}
	for _, v := range page {
		out.NetworkAcls = append(out.NetworkAcls, *v)
	}
	return out, nil
}

// CreateNetworkAcl makes an ACL, which denies everything.
func (s *Service) CreateNetworkAcl(ctx context.Context, in *ec2.CreateNetworkAclInput) (*ec2.CreateNetworkAclOutput, error) { //nolint:staticcheck // AWS's name
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	tags, err := tagsFor(typeACL, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	v := &model.NetworkACL{ID: id.Resource("acl"), Owner: call.Account, VPCID: deref(in.VpcId), Tags: tags, CreatedAt: call.Time}
	stored, err := once(ctx, s, call, networkACLs, v, in.ClientToken, in, s.inVPC(ctx, call, v.VPCID))
	if err != nil {
		return nil, err
	}
	return &ec2.CreateNetworkAclOutput{NetworkAcl: s.aclOut(stored, nil), ClientToken: in.ClientToken}, nil
}

// DeleteNetworkAcl deletes an ACL that no subnet uses.
func (s *Service) DeleteNetworkAcl(ctx context.Context, in *ec2.DeleteNetworkAclInput) (*ec2.DeleteNetworkAclOutput, error) { //nolint:staticcheck // AWS's name
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	aid := deref(in.NetworkAclId)
	row, err := tables.NetworkACLs.Get(ctx, s.store, call.Account, call.Region, aid)
	if err != nil {
		return nil, nounACL.orMissing(err, aid)
	}
	if row.V.IsDefault {
		return nil, invalidValue("Cannot delete default network ACL %s", aid)
	}
	err = inUse(ctx, s, tables.NetworkACLs, row, func(v *model.NetworkACL) *bool { return &v.Deleting }, func() error {
		n, err := countRows(ctx, s, tables.Subnets, store.Query{
			Account: call.Account, Region: call.Region, Index: store.Index{Name: tables.ByVPC, Value: row.V.VPCID},
		}, func(v *model.Subnet) bool { return v.NetworkACLID == aid })
		if err == nil && n > 0 {
			err = nounACL.hasDependencies(aid)
		}
		return err
	}, nil)
	return &ec2.DeleteNetworkAclOutput{}, err
}

// entryFrom checks an entry.
func entryFrom(in *ec2.CreateNetworkAclEntryInput) (model.NetworkACLEntry, error) {
	e := model.NetworkACLEntry{Number: deref(in.RuleNumber), Egress: deref(in.Egress), Allow: in.RuleAction == ec2.RuleActionAllow, Protocol: deref(in.Protocol)}
	if e.Number < 1 || e.Number > 32766 {
		return e, invalidValue("Value (%d) for parameter ruleNumber is invalid. It must be between 1 and 32766.", e.Number)
	}
	name, err := protocolName(e.Protocol)
	if err != nil {
		return e, err
	}
	e.Protocol = map[string]string{"tcp": "6", "udp": "17", "icmp": "1", "icmpv6": "58"}[name]
	if e.Protocol == "" {
		e.Protocol = name
	}
	text := in.CidrBlock
	if text == nil {
		text = in.Ipv6CidrBlock
	}
	if text == nil {
		return e, required("cidrBlock")
	}
	p, err := netip.ParsePrefix(*text)
	if err != nil || p.Addr().Is4() != (in.CidrBlock != nil) {
		return e, invalidValue("Value (%s) for parameter cidrBlock is invalid. This is not a valid CIDR block.", *text)
	}
	e.CIDR = p.Masked()
	switch e.Protocol {
	case "6", "17":
		if in.PortRange == nil || in.PortRange.From == nil || in.PortRange.To == nil {
			return e, required("portRange")
		}
		e.HasPorts, e.FromPort, e.ToPort = true, *in.PortRange.From, *in.PortRange.To
		if e.FromPort < 0 || e.ToPort > 65535 || e.FromPort > e.ToPort {
			return e, invalidValue("Invalid port range (%d to %d)", e.FromPort, e.ToPort)
		}
	case "1", "58":
		if in.IcmpTypeCode == nil || in.IcmpTypeCode.Type == nil {
			return e, required("icmpTypeCode.type")
		}
		e.HasICMP, e.ICMPType, e.ICMPCode = true, *in.IcmpTypeCode.Type, -1
		if in.IcmpTypeCode.Code != nil {
			e.ICMPCode = *in.IcmpTypeCode.Code
		}
	}
	return e, nil
}

func (s *Service) changeEntries(ctx context.Context, call *api.Call, aclID string, change func(v *model.NetworkACL) error) error {
	if _, err := networkACLs.get(ctx, s, call, aclID); err != nil {
		return err
	}
	_, err := tables.NetworkACLs.Update(ctx, s.store, call.Account, call.Region, aclID, change)
	return nounACL.orMissing(err, aclID)
}

func entryIndex(v *model.NetworkACL, number int32, egress bool) int {
	return slices.IndexFunc(v.Entries, func(e model.NetworkACLEntry) bool { return e.Number == number && e.Egress == egress })
}

// CreateNetworkAclEntry adds an entry.
func (s *Service) CreateNetworkAclEntry(ctx context.Context, in *ec2.CreateNetworkAclEntryInput) (*ec2.CreateNetworkAclEntryOutput, error) { //nolint:staticcheck // AWS's name
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	e, err := entryFrom(in)
	if err != nil {
		return nil, err
	}
	return &ec2.CreateNetworkAclEntryOutput{}, s.changeEntries(ctx, call, deref(in.NetworkAclId), func(v *model.NetworkACL) error {
		if entryIndex(v, e.Number, e.Egress) >= 0 {
			return api.NewFault("NetworkAclEntryAlreadyExists", "The network acl entry identified by %d already exists.", e.Number)
		}
		v.Entries = append(v.Entries, e)
		n := 0
		for i := range v.Entries {
			if v.Entries[i].Egress == e.Egress {
				n++
			}
		}
		if n > maxEntries {
			return api.NewFault("NetworkAclEntryLimitExceeded", "The maximum number of network acl entries has been reached.")
		}
		return nil
	})
}

func noEntry(number int32) error {
	return api.NewFault("InvalidNetworkAclEntry.NotFound", "The specified entry (%d) does not exist.", number)
}

// ReplaceNetworkAclEntry replaces an entry.
func (s *Service) ReplaceNetworkAclEntry(ctx context.Context, in *ec2.ReplaceNetworkAclEntryInput) (*ec2.ReplaceNetworkAclEntryOutput, error) { //nolint:staticcheck // AWS's name
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	e, err := entryFrom((*ec2.CreateNetworkAclEntryInput)(in))
	if err != nil {
		return nil, err
	}
	return &ec2.ReplaceNetworkAclEntryOutput{}, s.changeEntries(ctx, call, deref(in.NetworkAclId), func(v *model.NetworkACL) error {
		i := entryIndex(v, e.Number, e.Egress)
		if i < 0 {
			return noEntry(e.Number)
		}
		v.Entries[i] = e
		return nil
	})
}

// DeleteNetworkAclEntry removes an entry.
func (s *Service) DeleteNetworkAclEntry(ctx context.Context, in *ec2.DeleteNetworkAclEntryInput) (*ec2.DeleteNetworkAclEntryOutput, error) { //nolint:staticcheck // AWS's name
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	number := deref(in.RuleNumber)
	return &ec2.DeleteNetworkAclEntryOutput{}, s.changeEntries(ctx, call, deref(in.NetworkAclId), func(v *model.NetworkACL) error {
		i := entryIndex(v, number, deref(in.Egress))
		if i < 0 {
			return noEntry(number)
		}
		v.Entries = slices.Delete(v.Entries, i, i+1)
		return nil
	})
}

// ReplaceNetworkAclAssociation makes a subnet use another ACL.
func (s *Service) ReplaceNetworkAclAssociation(ctx context.Context, in *ec2.ReplaceNetworkAclAssociationInput) (*ec2.ReplaceNetworkAclAssociationOutput, error) { //nolint:staticcheck // AWS's name
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	aid, fresh := deref(in.AssociationId), id.Resource("aclassoc")
	err = retry(func() error {
		acl, err := networkACLs.get(ctx, s, call, deref(in.NetworkAclId))
		if err != nil {
			return err
		}
		rows, err := tables.Subnets.List(ctx, s.store, store.Query{Account: call.Account, Region: call.Region})
		if err != nil {
			return err
		}
		i := slices.IndexFunc(rows, func(r store.Row[model.Subnet]) bool { return r.V.NetworkACLAssociationID == aid })
		if i < 0 {
			return noAssociation(aid)
		}
		if rows[i].V.VPCID != acl.V.VPCID {
			return invalidValue("Network ACL %s and subnet %s belong to different networks", acl.V.ID, rows[i].V.ID)
		}
		v := rows[i].Copy()
		v.NetworkACLID, v.NetworkACLAssociationID = acl.V.ID, fresh
		tx := store.NewTxn()
		tables.NetworkACLs.Check(tx, acl)
		tables.Subnets.Replace(tx, rows[i], v)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ec2.ReplaceNetworkAclAssociationOutput{NewAssociationId: new(fresh)}, nil
}
