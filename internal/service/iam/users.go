package iam

import (
	"context"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// tokenKeyID is the record of the key that seals session tokens, which every
// store has from its first day.
const tokenKeyID = "1"

func userExists(name string) error {
	return iam.NewEntityAlreadyExistsException("User with name %s already exists.", name)
}

// CreateUser makes a user.
func (s *Service) CreateUser(ctx context.Context, in *iam.CreateUserInput) (*iam.CreateUserOutput, error) {
	c := api.CallFrom(ctx)
	tags, err := modelTags(in.Tags)
	if err != nil {
		return nil, err
	}
	u := &model.User{Tags: tags, PermissionsBoundary: str(in.PermissionsBoundary)}
	u.IAMPrincipal = model.IAMPrincipal{
		Name: *in.UserName, Path: pathOf(in.Path), ID: uniqueID(model.IAMUserPrefix),
		ARN: arnOf(c.Account, "user", pathOf(in.Path), *in.UserName), CreateDate: now(c),
	}
	err = s.write(ctx, func(tx *store.Txn) error {
		if _, err := s.user(ctx, *in.UserName); api.Code(err) != "NoSuchEntity" {
			if err == nil {
				err = userExists(*in.UserName)
			}
			return err
		}
		if err := within(ctx, s, tables.Users, "UsersPerAccount", maxUsers); err != nil {
			return err
		}
		if u.PermissionsBoundary != "" {
			if err := s.bound(ctx, tx, u.PermissionsBoundary); err != nil {
				return err
			}
		}
		tables.Users.Create(tx, c.Account, "", key(u.Name), u)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &iam.CreateUserOutput{User: describedUser(u)}, nil
}

// callersName is the user name that was given, or the caller's own.
func callersName(ctx context.Context, given *string) (string, error) {
	if given != nil {
		return *given, nil
	}
	_, _, name, ok := model.IAMNameOf(api.CallFrom(ctx).Identity.ARN, "user")
	if !ok {
		return "", fault(400, "ValidationError", "Must specify userName when calling with non-User credentials")
	}
	return name, nil
}

// GetUser describes a user, by default the caller. The root user describes
// itself with the account's id.
func (s *Service) GetUser(ctx context.Context, in *iam.GetUserInput) (*iam.GetUserOutput, error) {
	c := api.CallFrom(ctx)
	if in.UserName == nil && c.Identity.Root {
		// An account is as old as what the server keeps.
		row, err := tables.TokenKeys.Get(ctx, s.store, "", "", tokenKeyID)
		if err != nil {
			return nil, err
		}
		return &iam.GetUserOutput{User: &iam.User{
			Arn: &c.Identity.ARN, UserId: &c.Account, CreateDate: new(row.V.Created.Truncate(time.Second)),
		}}, nil
	}
	name, err := callersName(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	row, err := s.user(ctx, name)
	if err != nil {
		return nil, err
	}
	return &iam.GetUserOutput{User: describedUser(row.V)}, nil
}

// ListUsers lists the users below a path.
func (s *Service) ListUsers(ctx context.Context, in *iam.ListUsersInput) (*iam.ListUsersOutput, error) {
	rows, err := tables.Users.List(ctx, s.store, store.Query{Account: api.CallFrom(ctx).Account})
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(r store.Row[model.User]) bool { return !strings.HasPrefix(r.V.Path, pathOf(in.PathPrefix)) })
	rows, more, next, err := page(ctx, rows, func(r store.Row[model.User]) string { return r.Key.ID }, in.Marker, in.MaxItems, "users", str(in.PathPrefix))
	return &iam.ListUsersOutput{
		Users:       mapped(rows, func(r store.Row[model.User]) iam.User { return listedUser(r.V) }),
		IsTruncated: more, Marker: next,
	}, err
}

// UpdateUser renames or moves a user; its unique id stays.
func (s *Service) UpdateUser(ctx context.Context, in *iam.UpdateUserInput) (*iam.UpdateUserOutput, error) {
	c := api.CallFrom(ctx)
	return &iam.UpdateUserOutput{}, s.write(ctx, func(tx *store.Txn) error {
		row, err := s.user(ctx, *in.UserName)
		if err != nil {
			return err
		}
		u := row.Copy()
		if in.NewUserName != nil {
			u.Name = *in.NewUserName
		}
		if in.NewPath != nil {
			u.Path = *in.NewPath
		}
		u.ARN = arnOf(c.Account, "user", u.Path, u.Name)
		if key(u.Name) == row.Key.ID {
			tables.Users.Replace(tx, row, u)
		} else {
			if _, err := s.user(ctx, u.Name); api.Code(err) != "NoSuchEntity" {
				if err == nil {
					err = userExists(u.Name)
				}
				return err
			}
			tables.Users.Delete(tx, row)
			tables.Users.Create(tx, c.Account, "", key(u.Name), u)
		}
		for _, id := range u.AccessKeys {
			k, err := tables.AccessKeys.Get(ctx, s.store, c.Account, "", id)
			if err != nil {
				return err
			}
			v := k.Copy()
			v.User, v.UserName = key(u.Name), u.Name
			tables.AccessKeys.Replace(tx, k, v)
		}
		for _, id := range u.MFADevices {
			d, err := tables.MFADevices.Get(ctx, s.store, c.Account, "", id)
			if err != nil {
				return err
			}
			v := d.Copy()
			v.User = key(u.Name)
			tables.MFADevices.Replace(tx, d, v)
		}
		return nil
	})
}

// DeleteUser removes a user that has nothing left.
func (s *Service) DeleteUser(ctx context.Context, in *iam.DeleteUserInput) (*iam.DeleteUserOutput, error) {
	return &iam.DeleteUserOutput{}, s.write(ctx, func(tx *store.Txn) error {
		row, err := s.user(ctx, *in.UserName)
		if err != nil {
			return err
		}
		switch {
		case len(row.V.Groups) > 0:
			return conflict("must remove users from group first.")
		case row.V.Login != nil:
			return conflict("must delete login profile first.")
		case len(row.V.AccessKeys) > 0:
			return conflict("must delete access keys first.")
		case len(row.V.MFADevices) > 0:
			return conflict("must delete MFA device first.")
		case len(row.V.SSHKeys) > 0:
			return conflict("must remove referenced objects first.")
		}
		if err := deletable(&row.V.IAMPrincipal); err != nil {
			return err
		}
		if row.V.PermissionsBoundary != "" {
			if err := s.use(ctx, tx, row.V.PermissionsBoundary, 0, -1); err != nil {
				return err
			}
		}
		tables.Users.Delete(tx, row)
		return nil
	})
}

// ListGroupsForUser lists the groups a user is in.
func (s *Service) ListGroupsForUser(ctx context.Context, in *iam.ListGroupsForUserInput) (*iam.ListGroupsForUserOutput, error) {
	row, err := s.user(ctx, *in.UserName)
	if err != nil {
		return nil, err
	}
	names, more, next, err := page(ctx, slices.Clone(row.V.Groups), same, in.Marker, in.MaxItems, "groups of", row.Key.ID)
	if err != nil {
		return nil, err
	}
	out := &iam.ListGroupsForUserOutput{Groups: []iam.Group{}, IsTruncated: more, Marker: next}
	for _, n := range names {
		g, err := s.group(ctx, n)
		if err != nil {
			return nil, err
		}
		out.Groups = append(out.Groups, describedGroup(g.V))
	}
	return out, nil
}
