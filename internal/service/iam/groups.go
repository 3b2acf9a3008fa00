package iam

import (
	"context"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxGroups is the quota of groups per user.
const maxGroups = 10

func groupExists(name string) error {
	return iam.NewEntityAlreadyExistsException("Group with name %s already exists.", name)
}

// CreateGroup makes a group.
func (s *Service) CreateGroup(ctx context.Context, in *iam.CreateGroupInput) (*iam.CreateGroupOutput, error) {
	c := api.CallFrom(ctx)
	g := &model.Group{IAMPrincipal: model.IAMPrincipal{
		Name: *in.GroupName, Path: pathOf(in.Path), ID: uniqueID(model.IAMGroupPrefix),
		ARN: arnOf(c.Account, "group", pathOf(in.Path), *in.GroupName), CreateDate: now(c),
	}}
	err := s.write(ctx, func(tx *store.Txn) error {
		if _, err := s.group(ctx, g.Name); api.Code(err) != "NoSuchEntity" {
			if err == nil {
				err = groupExists(g.Name)
			}
			return err
		}
		if err := within(ctx, s, tables.Groups, "GroupsPerAccount", maxGroupsOf); err != nil {
			return err
		}
		tables.Groups.Create(tx, c.Account, "", key(g.Name), g)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &iam.CreateGroupOutput{Group: new(describedGroup(g))}, nil
}

// members lists the users in a group.
func (s *Service) members(ctx context.Context, group string) ([]store.Row[model.User], error) {
	return tables.Users.List(ctx, s.store, store.Query{
		Account: api.CallFrom(ctx).Account, Index: store.Index{Name: "group", Value: key(group)},
	})
}

// GetGroup describes a group and lists its members.
func (s *Service) GetGroup(ctx context.Context, in *iam.GetGroupInput) (*iam.GetGroupOutput, error) {
	g, err := s.group(ctx, *in.GroupName)
	if err != nil {
		return nil, err
	}
	users, err := s.members(ctx, *in.GroupName)
	if err != nil {
		return nil, err
	}
	users, more, next, err := page(ctx, users, func(r store.Row[model.User]) string { return r.Key.ID }, in.Marker, in.MaxItems, "members", g.Key.ID)
	return &iam.GetGroupOutput{
		Group:       new(describedGroup(g.V)),
		Users:       mapped(users, func(r store.Row[model.User]) iam.User { return listedUser(r.V) }),
		IsTruncated: more, Marker: next,
	}, err
}

// ListGroups lists the groups below a path.
func (s *Service) ListGroups(ctx context.Context, in *iam.ListGroupsInput) (*iam.ListGroupsOutput, error) {
	rows, err := tables.Groups.List(ctx, s.store, store.Query{Account: api.CallFrom(ctx).Account})
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(r store.Row[model.Group]) bool { return !strings.HasPrefix(r.V.Path, pathOf(in.PathPrefix)) })
	rows, more, next, err := page(ctx, rows, func(r store.Row[model.Group]) string { return r.Key.ID }, in.Marker, in.MaxItems, "groups", str(in.PathPrefix))
	return &iam.ListGroupsOutput{
		Groups:      mapped(rows, func(r store.Row[model.Group]) iam.Group { return describedGroup(r.V) }),
		IsTruncated: more, Marker: next,
	}, err
}

// UpdateGroup renames or moves a group; its members stay in it.
func (s *Service) UpdateGroup(ctx context.Context, in *iam.UpdateGroupInput) (*iam.UpdateGroupOutput, error) {
	c := api.CallFrom(ctx)
	return &iam.UpdateGroupOutput{}, s.write(ctx, func(tx *store.Txn) error {
		row, err := s.group(ctx, *in.GroupName)
		if err != nil {
			return err
		}
		g := row.Copy()
		if in.NewGroupName != nil {
			g.Name = *in.NewGroupName
		}
		if in.NewPath != nil {
			g.Path = *in.NewPath
		}
		g.ARN = arnOf(c.Account, "group", g.Path, g.Name)
		if key(g.Name) == row.Key.ID {
			tables.Groups.Replace(tx, row, g)
			return nil
		}
		if _, err := s.group(ctx, g.Name); api.Code(err) != "NoSuchEntity" {
			if err == nil {
				err = groupExists(g.Name)
			}
			return err
		}
		tables.Groups.Delete(tx, row)
		tables.Groups.Create(tx, c.Account, "", key(g.Name), g)
		users, err := s.members(ctx, row.Key.ID)
		if err != nil {
			return err
		}
		for _, u := range users {
			v := u.Copy()
			v.Groups[slices.Index(v.Groups, row.Key.ID)] = key(g.Name)
			tables.Users.Replace(tx, u, v)
		}
		return nil
	})
}

// DeleteGroup removes a group that is empty and has no policies.
func (s *Service) DeleteGroup(ctx context.Context, in *iam.DeleteGroupInput) (*iam.DeleteGroupOutput, error) {
	return &iam.DeleteGroupOutput{}, s.write(ctx, func(tx *store.Txn) error {
		row, err := s.group(ctx, *in.GroupName)
		if err != nil {
			return err
		}
		if row.V.Members > 0 {
			return conflict("must remove users from group first.")
		}
		if err := deletable(&row.V.IAMPrincipal); err != nil {
			return err
		}
		tables.Groups.Delete(tx, row)
		return nil
	})
}

// membership adds a user to a group or removes it. Both records are written,
// so that neither can be deleted meanwhile.
func (s *Service) membership(ctx context.Context, group, user string, in bool) error {
	return s.write(ctx, func(tx *store.Txn) error {
		g, err := s.group(ctx, group)
		if err != nil {
			return err
		}
		u, err := s.user(ctx, user)
		if err != nil {
			return err
		}
		gv, uv := g.Copy(), u.Copy()
		i := slices.Index(uv.Groups, g.Key.ID)
		switch {
		case in && i >= 0:
			return nil
		case in && len(uv.Groups) >= maxGroups:
			return iam.NewLimitExceededException("Cannot exceed quota for GroupsPerUser: %d", maxGroups)
		case in:
			uv.Groups = append(uv.Groups, g.Key.ID)
			gv.Members++
		case i < 0:
			return iam.NewNoSuchEntityException("The user with name %s is not a member of the group %s.", uv.Name, gv.Name)
		default:
			uv.Groups = slices.Delete(uv.Groups, i, i+1)
			gv.Members--
		}
		tables.Groups.Replace(tx, g, gv)
		tables.Users.Replace(tx, u, uv)
		return nil
	})
}

// AddUserToGroup makes a user a member.
func (s *Service) AddUserToGroup(ctx context.Context, in *iam.AddUserToGroupInput) (*iam.AddUserToGroupOutput, error) {
	return &iam.AddUserToGroupOutput{}, s.membership(ctx, *in.GroupName, *in.UserName, true)
}

// RemoveUserFromGroup ends a membership.
func (s *Service) RemoveUserFromGroup(ctx context.Context, in *iam.RemoveUserFromGroupInput) (*iam.RemoveUserFromGroupOutput, error) {
	return &iam.RemoveUserFromGroupOutput{}, s.membership(ctx, *in.GroupName, *in.UserName, false)
}
