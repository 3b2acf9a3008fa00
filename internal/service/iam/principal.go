package iam

import (
	"context"
	"fmt"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// principal is a user, group or role as the operations on its policies see
// it: a copy that may be changed, and a way to write it back.
type principal struct {
	*model.IAMPrincipal
	// kind is user, group or role; quota is the name of the quota of managed
	// policies, and inlineSize the most bytes of embedded ones.
	kind       string
	quota      string
	inlineSize int
	boundary   *string // nil for groups
	// put writes the principal if it has not changed since.
	put func(tx *store.Txn)
}

// reader reads a principal by name, for reading or for changing.
type reader func(ctx context.Context, name string) (*principal, error)

func (s *Service) user(ctx context.Context, name string) (store.Row[model.User], error) {
	row, err := tables.Users.Get(ctx, s.store, api.CallFrom(ctx).Account, "", key(name))
	return row, absent(err, iam.NewNoSuchEntityException("The user with name %s cannot be found.", name))
}

func (s *Service) group(ctx context.Context, name string) (store.Row[model.Group], error) {
	row, err := tables.Groups.Get(ctx, s.store, api.CallFrom(ctx).Account, "", key(name))
	return row, absent(err, iam.NewNoSuchEntityException("The group with name %s cannot be found.", name))
}

func (s *Service) role(ctx context.Context, name string) (store.Row[model.Role], error) {
	row, err := tables.Roles.Get(ctx, s.store, api.CallFrom(ctx).Account, "", key(name))
	return row, absent(err, iam.NewNoSuchEntityException("The role with name %s cannot be found.", name))
}

// ownRole is role, for changes that service-linked roles do not allow.
func (s *Service) ownRole(ctx context.Context, name string) (store.Row[model.Role], error) {
	row, err := s.role(ctx, name)
	if err == nil && row.V.LinkedService != "" {
		err = iam.NewUnmodifiableEntityException("Cannot perform the operation on the protected role '%s' - this role is only modifiable by AWS", row.V.Name)
	}
	return row, err
}

func (s *Service) userPrincipal(ctx context.Context, name string) (*principal, error) {
	row, err := s.user(ctx, name)
	if err != nil {
		return nil, err
	}
	v := row.Copy()
	return &principal{
		IAMPrincipal: &v.IAMPrincipal, kind: "user", quota: "PoliciesPerUser", inlineSize: 2048, boundary: &v.PermissionsBoundary,
		put: func(tx *store.Txn) { tables.Users.Replace(tx, row, v) },
	}, nil
}

func (s *Service) groupPrincipal(ctx context.Context, name string) (*principal, error) {
	row, err := s.group(ctx, name)
	if err != nil {
		return nil, err
	}
	v := row.Copy()
	return &principal{
		IAMPrincipal: &v.IAMPrincipal, kind: "group", quota: "PoliciesPerGroup", inlineSize: 5120,
		put: func(tx *store.Txn) { tables.Groups.Replace(tx, row, v) },
	}, nil
}

func (s *Service) rolePrincipal(ctx context.Context, name string) (*principal, error) {
	row, err := s.role(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.rolePrincipalOf(row), nil
}

// ownRolePrincipal is rolePrincipal for changes.
func (s *Service) ownRolePrincipal(ctx context.Context, name string) (*principal, error) {
	row, err := s.ownRole(ctx, name)
	if err != nil {
		return nil, err
	}
	return s.rolePrincipalOf(row), nil
}

func (s *Service) rolePrincipalOf(row store.Row[model.Role]) *principal {
	v := row.Copy()
	return &principal{
		IAMPrincipal: &v.IAMPrincipal, kind: "role", quota: "PoliciesPerRole", inlineSize: 10240, boundary: &v.PermissionsBoundary,
		put: func(tx *store.Txn) { tables.Roles.Replace(tx, row, v) },
	}
}

// deletable says what a principal must be rid of first, nil when nothing.
func deletable(p *model.IAMPrincipal) error {
	switch {
	case len(p.Attached) > 0:
		return conflict("must detach all policies first.")
	case len(p.Policies) > 0:
		return conflict("must delete policies first.")
	}
	return nil
}

func conflict(what string) error {
	return iam.NewDeleteConflictException("%s", fmt.Sprintf("Cannot delete entity, %s", what))
}
