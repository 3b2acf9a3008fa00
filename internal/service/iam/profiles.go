package iam

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

func (s *Service) profile(ctx context.Context, name string) (store.Row[model.InstanceProfile], error) {
	row, err := tables.InstanceProfiles.Get(ctx, s.store, api.CallFrom(ctx).Account, "", key(name))
	return row, absent(err, iam.NewNoSuchEntityException("Instance Profile %s cannot be found.", name))
}

// withRole describes a profile together with its role.
func (s *Service) withRole(ctx context.Context, p *model.InstanceProfile) (iam.InstanceProfile, error) {
	if p.Role == "" {
		return describedProfile(p, nil), nil
	}
	role, err := tables.Roles.Get(ctx, s.store, api.CallFrom(ctx).Account, "", p.Role)
	if errors.Is(err, store.ErrNotFound) {
		return describedProfile(p, nil), nil
	}
	return describedProfile(p, role.V), err
}

// CreateInstanceProfile makes an instance profile without a role.
func (s *Service) CreateInstanceProfile(ctx context.Context, in *iam.CreateInstanceProfileInput) (*iam.CreateInstanceProfileOutput, error) {
	c := api.CallFrom(ctx)
	tags, err := modelTags(in.Tags)
	if err != nil {
		return nil, err
	}
	p := &model.InstanceProfile{
		Name: *in.InstanceProfileName, Path: pathOf(in.Path), ID: uniqueID(model.IAMInstanceProfilePrefix),
		ARN: arnOf(c.Account, "instance-profile", pathOf(in.Path), *in.InstanceProfileName), CreateDate: now(c), Tags: tags,
	}
	if err := within(ctx, s, tables.InstanceProfiles, "InstanceProfilesPerAccount", maxProfiles); err != nil {
		return nil, err
	}
	tx := store.NewTxn()
	tables.InstanceProfiles.Create(tx, c.Account, "", key(p.Name), p)
	if _, err := tx.Commit(ctx, s.store); err != nil {
		return nil, taken(err, iam.NewEntityAlreadyExistsException("Instance Profile %s already exists.", p.Name))
	}
	return &iam.CreateInstanceProfileOutput{InstanceProfile: new(describedProfile(p, nil))}, nil
}

// GetInstanceProfile describes an instance profile.
func (s *Service) GetInstanceProfile(ctx context.Context, in *iam.GetInstanceProfileInput) (*iam.GetInstanceProfileOutput, error) {
	row, err := s.profile(ctx, *in.InstanceProfileName)
	if err != nil {
		return nil, err
	}
	p, err := s.withRole(ctx, row.V)
	return &iam.GetInstanceProfileOutput{InstanceProfile: &p}, err
}

// describeProfiles pages through rows.
func (s *Service) describeProfiles(ctx context.Context, rows []store.Row[model.InstanceProfile], marker *string, limit *int32, list ...string) ([]iam.InstanceProfile, *bool, *string, error) {
	rows, more, next, err := page(ctx, rows, func(r store.Row[model.InstanceProfile]) string { return r.Key.ID }, marker, limit, list...)
	if err != nil {
		return nil, nil, nil, err
	}
	out := make([]iam.InstanceProfile, 0, len(rows))
	for _, r := range rows {
		p, err := s.withRole(ctx, r.V)
		if err != nil {
			return nil, nil, nil, err
		}
		out = append(out, p)
	}
	return out, more, next, nil
}

// ListInstanceProfiles lists the instance profiles below a path.
func (s *Service) ListInstanceProfiles(ctx context.Context, in *iam.ListInstanceProfilesInput) (*iam.ListInstanceProfilesOutput, error) {
	rows, err := tables.InstanceProfiles.List(ctx, s.store, store.Query{Account: api.CallFrom(ctx).Account})
	if err != nil {
		return nil, err
	}
	rows = slices.DeleteFunc(rows, func(r store.Row[model.InstanceProfile]) bool {
		return !strings.HasPrefix(r.V.Path, pathOf(in.PathPrefix))
	})
	list, more, next, err := s.describeProfiles(ctx, rows, in.Marker, in.MaxItems, "profiles", str(in.PathPrefix))
	return &iam.ListInstanceProfilesOutput{InstanceProfiles: list, IsTruncated: more, Marker: next}, err
}

// ListInstanceProfilesForRole lists the instance profiles that hold a role.
func (s *Service) ListInstanceProfilesForRole(ctx context.Context, in *iam.ListInstanceProfilesForRoleInput) (*iam.ListInstanceProfilesForRoleOutput, error) {
	role, err := s.role(ctx, *in.RoleName)
	if err != nil {
		return nil, err
	}
	var rows []store.Row[model.InstanceProfile]
	for _, name := range role.V.InstanceProfiles {
		row, err := s.profile(ctx, name)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	list, more, next, err := s.describeProfiles(ctx, rows, in.Marker, in.MaxItems, "profiles of", role.Key.ID)
	return &iam.ListInstanceProfilesForRoleOutput{InstanceProfiles: list, IsTruncated: more, Marker: next}, err
}

// DeleteInstanceProfile removes an instance profile that holds no role.
func (s *Service) DeleteInstanceProfile(ctx context.Context, in *iam.DeleteInstanceProfileInput) (*iam.DeleteInstanceProfileOutput, error) {
	return &iam.DeleteInstanceProfileOutput{}, s.write(ctx, func(tx *store.Txn) error {
		row, err := s.profile(ctx, *in.InstanceProfileName)
		if err != nil {
			return err
		}
		if row.V.Role != "" {
			return conflict("must remove roles from instance profile first.")
		}
		tables.InstanceProfiles.Delete(tx, row)
		return nil
	})
}

// AddRoleToInstanceProfile puts a role into a profile, which the caller must
// be allowed to pass on.
func (s *Service) AddRoleToInstanceProfile(ctx context.Context, in *iam.AddRoleToInstanceProfileInput) (*iam.AddRoleToInstanceProfileOutput, error) {
	if role, err := s.ownRole(ctx, *in.RoleName); err == nil {
		passed := map[string]string{"iam:PassedToService": "ec2.amazonaws.com"} //nolint:gosec // no credentials
		if err := api.CallFrom(ctx).Authorize(ctx, "iam:PassRole", role.V.ARN, passed); err != nil {
			return nil, err
		}
	}
	return &iam.AddRoleToInstanceProfileOutput{}, s.write(ctx, func(tx *store.Txn) error {
		row, err := s.profile(ctx, *in.InstanceProfileName)
		if err != nil {
			return err
		}
		role, err := s.ownRole(ctx, *in.RoleName)
		if err != nil {
			return err
		}
		if row.V.Role != "" {
			return iam.NewLimitExceededException("Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
		}
		p, r := row.Copy(), role.Copy()
		p.Role = role.Key.ID
		r.InstanceProfiles = append(r.InstanceProfiles, row.Key.ID)
		tables.InstanceProfiles.Replace(tx, row, p)
		tables.Roles.Replace(tx, role, r)
		return nil
	})
}

// RemoveRoleFromInstanceProfile takes the role out of a profile.
func (s *Service) RemoveRoleFromInstanceProfile(ctx context.Context, in *iam.RemoveRoleFromInstanceProfileInput) (*iam.RemoveRoleFromInstanceProfileOutput, error) {
	return &iam.RemoveRoleFromInstanceProfileOutput{}, s.write(ctx, func(tx *store.Txn) error {
		row, err := s.profile(ctx, *in.InstanceProfileName)
		if err != nil {
			return err
		}
		role, err := s.ownRole(ctx, *in.RoleName)
		if err != nil {
			return err
		}
		if row.V.Role != role.Key.ID {
			return iam.NewNoSuchEntityException("The role with name %s cannot be found.", *in.RoleName)
		}
		p, r := row.Copy(), role.Copy()
		p.Role = ""
		r.InstanceProfiles = slices.DeleteFunc(r.InstanceProfiles, func(id string) bool { return id == row.Key.ID })
		tables.InstanceProfiles.Replace(tx, row, p)
		tables.Roles.Replace(tx, role, r)
		return nil
	})
}
