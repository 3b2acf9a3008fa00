package ec2

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/tables"
)

const (
	// maxPrefixListSize is the most that MaxEntries may be.
	maxPrefixListSize = 1000
	// maxPrefixListChange is how many entries one request may add, or remove.
	maxPrefixListChange = 100
)

var prefixLists = kind[model.PrefixList]{
	noun: nounPrefixList, table: tables.PrefixLists,
	id:     func(v *model.PrefixList) string { return v.ID },
	tags:   func(v *model.PrefixList) model.Tags { return v.Tags },
	hidden: func(v *model.PrefixList) bool { return v.Deleting },
	field: func(v *model.PrefixList, name string) ([]string, bool) {
		switch name {
		case "prefix-list-id":
			return one(v.ID)
		case "prefix-list-name":
			return one(v.Name)
		case "owner-id":
			return one(v.Owner)
		}
		return nil, false
	},
}

func prefixListOut(region string, v *model.PrefixList) *ec2.ManagedPrefixList {
	return &ec2.ManagedPrefixList{
		PrefixListId: new(v.ID), PrefixListName: new(v.Name), OwnerId: new(v.Owner), AddressFamily: new(v.AddressFamily),
		PrefixListArn: new(model.MakeARN("ec2", region, v.Owner, "prefix-list/"+v.ID)),
		MaxEntries:    new(v.MaxEntries), Version: new(int64(len(v.Versions))), State: ec2.PrefixListState(v.State), Tags: tagsOut(v.Tags),
	}
}

// working is how a list is described in the answer that begins a change.
func working(out *ec2.ManagedPrefixList, state ec2.PrefixListState) *ec2.ManagedPrefixList {
	out.State = state
	return out
}

// prefixEntries reads entries of an IPv4 list, and refuses the same one twice.
func prefixEntries(list []ec2.AddPrefixListEntry) ([]model.PrefixListEntry, error) {
	if len(list) > maxPrefixListChange {
		return nil, api.NewFault("InvalidParameterValue", "The number of entries in the request exceeds the limit of %d.", maxPrefixListChange)
	}
	var out []model.PrefixListEntry
	for _, e := range list {
		p, err := netip.ParsePrefix(deref(e.Cidr))
		if err != nil || !p.Addr().Is4() || p != p.Masked() {
			return nil, invalidValue("Invalid CIDR block: %s", deref(e.Cidr))
		}
		if len(deref(e.Description)) > 255 {
			return nil, invalidValue("The description of an entry is limited to 255 characters.")
		}
		if slices.ContainsFunc(out, func(x model.PrefixListEntry) bool { return x.CIDR == p }) {
			return nil, invalidValue("The CIDR block %s is specified more than once.", p)
		}
		out = append(out, model.PrefixListEntry{CIDR: p, Description: deref(e.Description)})
	}
	return out, nil
}

func checkPrefixListName(name string) error {
	switch {
	case strings.HasPrefix(name, "com.amazonaws"):
		return invalidValue("The prefix list name cannot start with com.amazonaws.")
	case len(name) > 255:
		return invalidValue("The prefix list name is limited to 255 characters.")
	}
	return nil
}

func checkPrefixListSize(n int32) error {
	if n < 1 || n > maxPrefixListSize {
		return invalidValue("The specified value for maxEntries (%d) is not valid. The value must be between 1 and %d.", n, maxPrefixListSize)
	}
	return nil
}

func tooManyEntries() error {
	return api.NewFault("PrefixListMaxEntriesExceeded", "You've reached the maximum number of entries for the prefix list.")
}

// CreateManagedPrefixList makes a prefix list.
func (s *Service) CreateManagedPrefixList(ctx context.Context, in *ec2.CreateManagedPrefixListInput) (*ec2.CreateManagedPrefixListOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	switch deref(in.AddressFamily) {
	case "IPv4":
	case "IPv6":
		return nil, unsupported("IPv6")
	default:
		return nil, invalidValue("Invalid address family: %s. The address family must be IPv4 or IPv6.", deref(in.AddressFamily))
	}
	if err := errors.Join(checkPrefixListName(deref(in.PrefixListName)), checkPrefixListSize(deref(in.MaxEntries))); err != nil {
		return nil, err
	}
	entries, err := prefixEntries(in.Entries)
	if err != nil {
		return nil, err
	}
	if len(entries) > int(*in.MaxEntries) {
		return nil, tooManyEntries()
	}
	tags, err := tagsFor(typePrefixList, in.TagSpecifications)
	if err != nil {
		return nil, err
	}
	v := &model.PrefixList{
		ID: id.Resource("pl"), Owner: call.Account, Name: deref(in.PrefixListName), AddressFamily: "IPv4", MaxEntries: *in.MaxEntries,
		State: string(ec2.PrefixListStateCreateComplete), Versions: [][]model.PrefixListEntry{entries}, Tags: tags, CreatedAt: call.Time,
	}
	stored, err := once(ctx, s, call, prefixLists, v, in.ClientToken, in, nil)
	if err != nil {
		return nil, err
	}
	return &ec2.CreateManagedPrefixListOutput{PrefixList: working(prefixListOut(call.Region, stored), ec2.PrefixListStateCreateInProgress)}, nil
}

// changePrefixList rewrites a list. check looks at what uses it.
func (s *Service) changePrefixList(ctx context.Context, call *api.Call, lid *string, change func(v *model.PrefixList) error) (*model.PrefixList, error) {
	pid := deref(lid)
	if _, err := prefixLists.get(ctx, s, call, pid); err != nil {
		return nil, err
	}
	row, err := tables.PrefixLists.Update(ctx, s.store, call.Account, call.Region, pid, change)
	return row.V, nounPrefixList.orMissing(err, pid)
}

// ModifyManagedPrefixList changes a list's entries, or its name and size.
func (s *Service) ModifyManagedPrefixList(ctx context.Context, in *ec2.ModifyManagedPrefixListInput) (*ec2.ModifyManagedPrefixListOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.IpamPrefixListResolverSyncEnabled != nil {
		return nil, unsupported("IPAM")
	}
	entries := len(in.AddEntries)+len(in.RemoveEntries) > 0
	switch {
	case entries && in.MaxEntries != nil:
		return nil, api.NewFault("InvalidParameterCombination", "You cannot modify the entries and the maximum entries for the prefix list in the same request.")
	case entries && in.CurrentVersion == nil:
		return nil, required("CurrentVersion")
	case !entries && in.MaxEntries == nil && in.PrefixListName == nil:
		return nil, api.NewFault("MissingParameter", "The request must contain at least one modification.")
	}
	added, err := prefixEntries(in.AddEntries)
	if err != nil {
		return nil, err
	}
	v, err := s.changePrefixList(ctx, call, in.PrefixListId, func(v *model.PrefixList) error {
		if in.CurrentVersion != nil {
			if err := atVersion(v, *in.CurrentVersion); err != nil {
				return err
			}
		}
		return modifyPrefixList(v, in, added)
	})
	if err != nil {
		return nil, err
	}
	return &ec2.ModifyManagedPrefixListOutput{PrefixList: working(prefixListOut(call.Region, v), ec2.PrefixListStateModifyInProgress)}, nil
}

func modifyPrefixList(v *model.PrefixList, in *ec2.ModifyManagedPrefixListInput, added []model.PrefixListEntry) error {
	v.State = string(ec2.PrefixListStateModifyComplete)
	if in.PrefixListName != nil {
		if err := checkPrefixListName(*in.PrefixListName); err != nil {
			return err
		}
		v.Name = *in.PrefixListName
	}
	if in.MaxEntries != nil {
		if err := checkPrefixListSize(*in.MaxEntries); err != nil {
			return err
		}
		if int(*in.MaxEntries) < len(v.Entries()) {
			return tooManyEntries()
		}
		v.MaxEntries = *in.MaxEntries
	}
	if len(in.AddEntries)+len(in.RemoveEntries) == 0 {
		return nil
	}
	next := slices.Clone(v.Entries())
	for _, e := range in.RemoveEntries {
		p, err := netip.ParsePrefix(deref(e.Cidr))
		i := slices.IndexFunc(next, func(x model.PrefixListEntry) bool { return x.CIDR == p })
		if err != nil || i < 0 {
			return api.NewFault("InvalidPrefixListModification", "An entry with the CIDR (%s) does not exist.", deref(e.Cidr))
		}
		next = slices.Delete(next, i, i+1)
	}
	for _, e := range added {
		i := slices.IndexFunc(next, func(x model.PrefixListEntry) bool { return x.CIDR == e.CIDR })
		switch {
		case i < 0:
			next = append(next, e)
		case next[i].Description == e.Description:
			return api.NewFault("InvalidPrefixListModification", "An entry with the CIDR (%s) and description (%s) already exists.", e.CIDR, e.Description)
		default:
			next[i] = e
		}
	}
	if len(next) > int(v.MaxEntries) {
		return tooManyEntries()
	}
	v.Versions = append(v.Versions, next)
	return nil
}

// atVersion refuses a change of a list that was not read as it is.
func atVersion(v *model.PrefixList, version int64) error {
	if version != int64(len(v.Versions)) {
		return api.NewFault("PrefixListVersionMismatch", "The prefix list has the incorrect version number.")
	}
	return nil
}

// RestoreManagedPrefixListVersion makes the entries of an earlier version a
// new one.
func (s *Service) RestoreManagedPrefixListVersion(ctx context.Context, in *ec2.RestoreManagedPrefixListVersionInput) (*ec2.RestoreManagedPrefixListVersionOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	v, err := s.changePrefixList(ctx, call, in.PrefixListId, func(v *model.PrefixList) error {
		if err := atVersion(v, deref(in.CurrentVersion)); err != nil {
			return err
		}
		was, err := versionOf(v, deref(in.PreviousVersion))
		if err != nil {
			return err
		}
		if len(was) > int(v.MaxEntries) {
			return tooManyEntries()
		}
		v.State = string(ec2.PrefixListStateRestoreComplete)
		v.Versions = append(v.Versions, slices.Clone(was))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &ec2.RestoreManagedPrefixListVersionOutput{PrefixList: working(prefixListOut(call.Region, v), ec2.PrefixListStateRestoreInProgress)}, nil
}

func versionOf(v *model.PrefixList, version int64) ([]model.PrefixListEntry, error) {
	if version < 1 || version > int64(len(v.Versions)) {
		return nil, invalidValue("The specified prefix list version (%d) does not exist.", version)
	}
	return v.Versions[version-1], nil
}

// DescribeManagedPrefixLists lists prefix lists.
func (s *Service) DescribeManagedPrefixLists(ctx context.Context, in *ec2.DescribeManagedPrefixListsInput) (*ec2.DescribeManagedPrefixListsOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	found, next, err := prefixLists.describe(ctx, s, call, query{"DescribeManagedPrefixLists", in.PrefixListIds, in.Filters, in.MaxResults, in.NextToken})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeManagedPrefixListsOutput{NextToken: next}
	for _, v := range found {
		out.PrefixLists = append(out.PrefixLists, *prefixListOut(call.Region, v))
	}
	return out, nil
}

// GetManagedPrefixListEntries lists the entries of a version, by default of
// the one that counts.
func (s *Service) GetManagedPrefixListEntries(ctx context.Context, in *ec2.GetManagedPrefixListEntriesInput) (*ec2.GetManagedPrefixListEntriesOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	row, err := prefixLists.get(ctx, s, call, deref(in.PrefixListId))
	if err != nil {
		return nil, err
	}
	version := int64(len(row.V.Versions))
	if in.TargetVersion != nil {
		version = *in.TargetVersion
	}
	entries, err := versionOf(row.V, version)
	if err != nil {
		return nil, err
	}
	var all []*model.PrefixListEntry
	for i := range entries {
		all = append(all, &entries[i])
	}
	list := fmt.Sprintf("GetManagedPrefixListEntries %s %d", row.V.ID, version)
	page, next, err := selectPage(call, all, query{op: list, max: in.MaxResults, token: in.NextToken},
		func(e *model.PrefixListEntry) string { return e.CIDR.String() },
		func(*model.PrefixListEntry) model.Tags { return nil }, nil)
	if err != nil {
		return nil, err
	}
	out := &ec2.GetManagedPrefixListEntriesOutput{NextToken: next}
	for _, e := range page {
		entry := ec2.PrefixListEntry{Cidr: new(e.CIDR.String())}
		if e.Description != "" {
			entry.Description = new(e.Description)
		}
		out.Entries = append(out.Entries, entry)
	}
	return out, nil
}

// usersOf are the ids of what names a prefix list: security groups and route
// tables.
func (s *Service) usersOf(ctx context.Context, call *api.Call, pid string) ([]string, error) {
	var ids []string
	gs, err := groups.all(ctx, s, call)
	for _, g := range gs {
		if slices.ContainsFunc(g.Rules, func(r model.SecurityGroupRule) bool { return r.PrefixListID == pid }) {
			ids = append(ids, g.ID)
		}
	}
	ts, err2 := routeTables.all(ctx, s, call)
	for _, t := range ts {
		if slices.ContainsFunc(t.Routes, func(r model.Route) bool { return r.PrefixListID == pid }) {
			ids = append(ids, t.ID)
		}
	}
	return ids, errors.Join(err, err2)
}

// GetManagedPrefixListAssociations lists what names a prefix list.
func (s *Service) GetManagedPrefixListAssociations(ctx context.Context, in *ec2.GetManagedPrefixListAssociationsInput) (*ec2.GetManagedPrefixListAssociationsOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	row, err := prefixLists.get(ctx, s, call, deref(in.PrefixListId))
	if err != nil {
		return nil, err
	}
	users, err := s.usersOf(ctx, call, row.V.ID)
	if err != nil {
		return nil, err
	}
	var all []*string
	for i := range users {
		all = append(all, &users[i])
	}
	page, next, err := selectPage(call, all, query{op: "GetManagedPrefixListAssociations " + row.V.ID, max: in.MaxResults, token: in.NextToken},
		func(s *string) string { return *s }, func(*string) model.Tags { return nil }, nil)
	if err != nil {
		return nil, err
	}
	out := &ec2.GetManagedPrefixListAssociationsOutput{NextToken: next}
	for _, user := range page {
		out.PrefixListAssociations = append(out.PrefixListAssociations, ec2.PrefixListAssociation{ResourceId: user, ResourceOwner: new(call.Account)})
	}
	return out, nil
}

// DeleteManagedPrefixList deletes a list that nothing names.
func (s *Service) DeleteManagedPrefixList(ctx context.Context, in *ec2.DeleteManagedPrefixListInput) (*ec2.DeleteManagedPrefixListOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	row, err := prefixLists.get(ctx, s, call, deref(in.PrefixListId))
	if err != nil {
		return nil, err
	}
	err = inUse(ctx, s, tables.PrefixLists, row, func(v *model.PrefixList) *bool { return &v.Deleting }, func() error {
		users, err := s.usersOf(ctx, call, row.V.ID)
		if err == nil && len(users) > 0 {
			err = api.NewFault("PrefixListInUse", "The prefix list %s is in use.", row.V.ID)
		}
		return err
	}, nil)
	if err != nil {
		return nil, err
	}
	return &ec2.DeleteManagedPrefixListOutput{PrefixList: working(prefixListOut(call.Region, row.V), ec2.PrefixListStateDeleteInProgress)}, nil
}

// DescribePrefixLists lists AWS's own prefix lists, those of gateway
// endpoints: there are none.
func (s *Service) DescribePrefixLists(ctx context.Context, in *ec2.DescribePrefixListsInput) (*ec2.DescribePrefixListsOutput, error) {
	if _, err := s.begin(ctx); err != nil {
		return nil, err
	}
	if len(in.PrefixListIds) > 0 {
		return nil, nounPrefixList.missing(in.PrefixListIds[0])
	}
	return &ec2.DescribePrefixListsOutput{}, nil
}
