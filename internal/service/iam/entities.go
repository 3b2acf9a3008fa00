package iam

import (
	"context"
	"errors"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// taken makes store.ErrConflict the service's own error.
func taken(err, own error) error {
	if errors.Is(err, store.ErrConflict) {
		return own
	}
	return err
}

// entity is a principal that uses a policy.
type entity struct {
	kind iam.EntityType
	*model.IAMPrincipal
}

// entities lists who has a policy attached, and whom it bounds.
func (s *Service) entities(ctx context.Context, arn string) (attached, bounded []entity, err error) {
	query := func(index string) store.Query {
		return store.Query{Account: api.CallFrom(ctx).Account, Index: store.Index{Name: index, Value: arn}}
	}
	groups, err := tables.Groups.List(ctx, s.store, query("policy"))
	if err != nil {
		return nil, nil, err
	}
	for _, g := range groups {
		attached = append(attached, entity{iam.EntityTypeGroup, &g.V.IAMPrincipal})
	}
	for _, index := range []string{"policy", "boundary"} {
		users, err := tables.Users.List(ctx, s.store, query(index))
		if err != nil {
			return nil, nil, err
		}
		roles, err := tables.Roles.List(ctx, s.store, query(index))
		if err != nil {
			return nil, nil, err
		}
		var list []entity
		for _, u := range users {
			list = append(list, entity{iam.EntityTypeUser, &u.V.IAMPrincipal})
		}
		for _, r := range roles {
			list = append(list, entity{iam.EntityTypeRole, &r.V.IAMPrincipal})
		}
		if index == "policy" {
			attached = append(attached, list...)
		} else {
			bounded = list
		}
	}
	return attached, bounded, nil
}

// ListEntitiesForPolicy lists the users, groups and roles that use a policy.
func (s *Service) ListEntitiesForPolicy(ctx context.Context, in *iam.ListEntitiesForPolicyInput) (*iam.ListEntitiesForPolicyOutput, error) {
	if _, err := s.readPolicy(ctx, *in.PolicyArn); err != nil {
		return nil, err
	}
	attached, bounded, err := s.entities(ctx, *in.PolicyArn)
	if err != nil {
		return nil, err
	}
	var all []entity
	if in.PolicyUsageFilter != iam.PolicyUsageTypePermissionsBoundary {
		all = append(all, attached...)
	}
	if in.PolicyUsageFilter != iam.PolicyUsageTypePermissionsPolicy {
		all = append(all, bounded...)
	}
	seen := map[string]bool{}
	kept := all[:0]
	for _, e := range all {
		if seen[e.ARN] || in.EntityFilter != "" && in.EntityFilter != e.kind || !strings.HasPrefix(e.Path, pathOf(in.PathPrefix)) {
			continue
		}
		seen[e.ARN] = true
		kept = append(kept, e)
	}
	kept, more, next, err := page(ctx, kept, func(e entity) string { return e.ARN }, in.Marker, in.MaxItems,
		"entities", *in.PolicyArn, str(in.PathPrefix), string(in.EntityFilter), string(in.PolicyUsageFilter))
	if err != nil {
		return nil, err
	}
	out := &iam.ListEntitiesForPolicyOutput{
		PolicyGroups: []iam.PolicyGroup{}, PolicyRoles: []iam.PolicyRole{}, PolicyUsers: []iam.PolicyUser{},
		IsTruncated: more, Marker: next,
	}
	for _, e := range kept {
		switch e.kind {
		case iam.EntityTypeGroup:
			out.PolicyGroups = append(out.PolicyGroups, iam.PolicyGroup{GroupId: &e.ID, GroupName: &e.Name})
		case iam.EntityTypeRole:
			out.PolicyRoles = append(out.PolicyRoles, iam.PolicyRole{RoleId: &e.ID, RoleName: &e.Name})
		case iam.EntityTypeUser:
			out.PolicyUsers = append(out.PolicyUsers, iam.PolicyUser{UserId: &e.ID, UserName: &e.Name})
		case iam.EntityTypeAWSManagedPolicy, iam.EntityTypeLocalManagedPolicy:
		}
	}
	return out, nil
}
