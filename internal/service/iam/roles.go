package iam

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	// defaultSession is a role's MaxSessionDuration where none is given, in
	// seconds.
	defaultSession = 3600
	// maxTrustPolicy is the quota of a trust policy's size in characters.
	maxTrustPolicy = 2048
)

// trustPolicy checks a trust policy, and that the users and roles that it
// names exist.
func (s *Service) trustPolicy(ctx context.Context, text string) error {
	doc, err := parsePolicy(text, policy.Trust)
	if err != nil {
		return err
	}
	if documentSize(text) > maxTrustPolicy {
		return iam.NewLimitExceededException("Cannot exceed quota for ACLSizePerRole: %d", maxTrustPolicy)
	}
	for _, st := range doc.Statements {
		for _, arn := range st.Principal.AWS {
			ok, err := s.principalExists(ctx, arn)
			if err != nil {
				return err
			}
			if !ok {
				return iam.NewMalformedPolicyDocumentException("%s", policy.InvalidPrincipal("AWS", arn).Error())
			}
		}
	}
	return nil
}

// principalExists tells whether an AWS principal of a policy can be. Users
// and roles of accounts that have none here are taken on trust: they may live
// elsewhere.
func (s *Service) principalExists(ctx context.Context, arn string) (bool, error) {
	a, err := model.ParseARN(arn)
	if err != nil {
		return true, nil //nolint:nilerr // an account or a unique id
	}
	typ, rest, _ := strings.Cut(a.Resource, "/")
	switch typ {
	case "user", "role":
		rest = rest[strings.LastIndexByte(rest, '/')+1:]
	case "assumed-role":
		rest, _, _ = strings.Cut(rest, "/")
	default:
		return true, nil
	}
	found := ""
	if typ == "user" {
		row, err := tables.Users.Get(ctx, s.store, a.Account, "", key(rest))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
		if err == nil {
			found = row.V.ARN
		}
	} else {
		row, err := tables.Roles.Get(ctx, s.store, a.Account, "", key(rest))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return false, err
		}
		if err == nil {
			found = row.V.ARN
		}
	}
	if found == arn || found != "" && typ == "assumed-role" {
		return true, nil
	}
	if a.Account == api.CallFrom(ctx).Account {
		return false, nil
	}
	known, err := s.knows(ctx, a.Account)
	return !known, err
}

// knows tells whether this server holds an account's users or roles.
func (s *Service) knows(ctx context.Context, account string) (bool, error) {
	users, err := tables.Users.List(ctx, s.store, store.Query{Account: account, Limit: 1})
	if err != nil || len(users) > 0 {
		return len(users) > 0, err
	}
	roles, err := tables.Roles.List(ctx, s.store, store.Query{Account: account, Limit: 1})
	return len(roles) > 0, err
}

func roleExists(name string) error {
	return iam.NewEntityAlreadyExistsException("Role with name %s already exists.", name)
}

// CreateRole makes a role.
func (s *Service) CreateRole(ctx context.Context, in *iam.CreateRoleInput) (*iam.CreateRoleOutput, error) {
	c := api.CallFrom(ctx)
	tags, err := modelTags(in.Tags)
	if err != nil {
		return nil, err
	}
	path := pathOf(in.Path)
	if strings.HasPrefix(path, "/aws-service-role/") {
		return nil, iam.NewInvalidInputException("Roles with path prefix /aws-service-role/ can only be created by CreateServiceLinkedRole.")
	}
	if err := s.trustPolicy(ctx, *in.AssumeRolePolicyDocument); err != nil {
		return nil, err
	}
	r := &model.Role{
		IAMPrincipal: model.IAMPrincipal{
			Name: *in.RoleName, Path: path, ID: uniqueID(model.IAMRolePrefix),
			ARN: model.RoleARN(c.Account, path, *in.RoleName), CreateDate: now(c),
		},
		Description: str(in.Description), TrustPolicy: *in.AssumeRolePolicyDocument,
		MaxSessionDuration: defaultSession, PermissionsBoundary: str(in.PermissionsBoundary), Tags: tags,
	}
	if in.MaxSessionDuration != nil {
		r.MaxSessionDuration = int(*in.MaxSessionDuration)
	}
	err = s.write(ctx, func(tx *store.Txn) error {
		if _, err := s.role(ctx, r.Name); api.Code(err) != "NoSuchEntity" {
			if err == nil {
				err = roleExists(r.Name)
			}
			return err
		}
		if err := within(ctx, s, tables.Roles, "RolesPerAccount", maxRoles); err != nil {
			return err
		}
		if r.PermissionsBoundary != "" {
			if err := s.bound(ctx, tx, r.PermissionsBoundary); err != nil {
				return err
			}
		}
		tables.Roles.Create(tx, c.Account, "", key(r.Name), r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &iam.CreateRoleOutput{Role: describedRole(r)}, nil
}

// GetRole describes a role, and tells when it was last used.
func (s *Service) GetRole(ctx context.Context, in *iam.GetRoleInput) (*iam.GetRoleOutput, error) {
	row, err := s.role(ctx, *in.RoleName)
	if err != nil {
		return nil, err
	}
	out := describedRole(row.V)
	out.RoleLastUsed, err = s.roleLastUsed(ctx, row)
	return &iam.GetRoleOutput{Role: out}, err
}

// ListRoles lists the roles below a path.
func (s *Service) ListRoles(ctx context.Context, in *iam.ListRolesInput) (*iam.ListRolesOutput, error) {
	rows, err := tables.Roles.List(ctx, s.store, store.Query{Account: api.CallFrom(ctx).Account})
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(r store.Row[model.Role]) bool { return !strings.HasPrefix(r.V.Path, pathOf(in.PathPrefix)) })
	rows, more, next, err := page(ctx, rows, func(r store.Row[model.Role]) string { return r.Key.ID }, in.Marker, in.MaxItems, "roles", str(in.PathPrefix))
	return &iam.ListRolesOutput{
		Roles:       mapped(rows, func(r store.Row[model.Role]) iam.Role { return listedRole(r.V) }),
		IsTruncated: more, Marker: next,
	}, err
}

// changeRole lets change alter a role that read finds.
func (s *Service) changeRole(ctx context.Context, name string, read roleReader, change func(r *model.Role)) (*model.Role, error) {
	var out *model.Role
	err := s.write(ctx, func(tx *store.Txn) error {
		row, err := read(ctx, name)
		if err != nil {
			return err
		}
		out = row.Copy()
		change(out)
		tables.Roles.Replace(tx, row, out)
		return nil
	})
	return out, err
}

// roleReader is role or ownRole.
type roleReader func(ctx context.Context, name string) (store.Row[model.Role], error)

// UpdateRole changes what is given of a role's description and session
// duration. Of a service-linked role the description may change.
func (s *Service) UpdateRole(ctx context.Context, in *iam.UpdateRoleInput) (*iam.UpdateRoleOutput, error) {
	read := s.role
	if in.MaxSessionDuration != nil {
		read = s.ownRole
	}
	_, err := s.changeRole(ctx, *in.RoleName, read, func(r *model.Role) {
		if in.Description != nil {
			r.Description = *in.Description
		}
		if in.MaxSessionDuration != nil {
			r.MaxSessionDuration = int(*in.MaxSessionDuration)
		}
	})
	return &iam.UpdateRoleOutput{}, err
}

// UpdateRoleDescription changes a role's description alone.
func (s *Service) UpdateRoleDescription(ctx context.Context, in *iam.UpdateRoleDescriptionInput) (*iam.UpdateRoleDescriptionOutput, error) {
	r, err := s.changeRole(ctx, *in.RoleName, s.role, func(r *model.Role) { r.Description = *in.Description })
	if err != nil {
		return nil, err
	}
	return &iam.UpdateRoleDescriptionOutput{Role: describedRole(r)}, nil
}

// UpdateAssumeRolePolicy replaces a role's trust policy.
func (s *Service) UpdateAssumeRolePolicy(ctx context.Context, in *iam.UpdateAssumeRolePolicyInput) (*iam.UpdateAssumeRolePolicyOutput, error) {
	if _, err := s.ownRole(ctx, *in.RoleName); err != nil {
		return nil, err
	}
	if err := s.trustPolicy(ctx, *in.PolicyDocument); err != nil {
		return nil, err
	}
	_, err := s.changeRole(ctx, *in.RoleName, s.ownRole, func(r *model.Role) { r.TrustPolicy = *in.PolicyDocument })
	return &iam.UpdateAssumeRolePolicyOutput{}, err
}

// DeleteRole removes a role that nothing holds on to.
func (s *Service) DeleteRole(ctx context.Context, in *iam.DeleteRoleInput) (*iam.DeleteRoleOutput, error) {
	return &iam.DeleteRoleOutput{}, s.write(ctx, func(tx *store.Txn) error {
		row, err := s.ownRole(ctx, *in.RoleName)
		if err != nil {
			return err
		}
		if len(row.V.InstanceProfiles) > 0 {
			return conflict("must remove roles from instance profile first.")
		}
		if err := deletable(&row.V.IAMPrincipal); err != nil {
			return err
		}
		if row.V.PermissionsBoundary != "" {
			if err := s.use(ctx, tx, row.V.PermissionsBoundary, 0, -1); err != nil {
				return err
			}
		}
		tables.Roles.Delete(tx, row)
		return nil
	})
}
