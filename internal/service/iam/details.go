package iam

import (
	"context"
	"errors"
	"maps"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy/managed"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// detail is one entity of GetAccountAuthorizationDetails: its place among all,
// and how it is added to the answer.
type detail struct {
	place string
	add   func(out *iam.GetAccountAuthorizationDetailsOutput) error
}

// GetAccountAuthorizationDetails tells all users, groups, roles and policies
// with what they may do.
func (s *Service) GetAccountAuthorizationDetails(ctx context.Context, in *iam.GetAccountAuthorizationDetailsInput) (*iam.GetAccountAuthorizationDetailsOutput, error) {
	var all []detail
	filter := []string{"details"}
	for _, kind := range []struct {
		of   iam.EntityType
		list func(ctx context.Context) ([]detail, error)
	}{
		{iam.EntityTypeUser, s.userDetails},
		{iam.EntityTypeGroup, s.groupDetails},
		{iam.EntityTypeRole, s.roleDetails},
		{iam.EntityTypeLocalManagedPolicy, s.policyDetails},
		{iam.EntityTypeAWSManagedPolicy, s.managedDetails},
	} {
		if len(in.Filter) > 0 && !slices.Contains(in.Filter, kind.of) {
			continue
		}
		list, err := kind.list(ctx)
		if err != nil {
			return nil, err
		}
		filter = append(filter, string(kind.of))
		all = append(all, list...)
	}
	all, more, next, err := page(ctx, all, func(d detail) string { return d.place }, in.Marker, in.MaxItems, filter...)
	if err != nil {
		return nil, err
	}
	out := &iam.GetAccountAuthorizationDetailsOutput{
		UserDetailList: []iam.UserDetail{}, GroupDetailList: []iam.GroupDetail{}, RoleDetailList: []iam.RoleDetail{},
		Policies: []iam.ManagedPolicyDetail{}, IsTruncated: more, Marker: next,
	}
	for _, d := range all {
		if err := d.add(out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func attachedPolicies(p *model.IAMPrincipal) []iam.AttachedPolicy {
	return mapped(p.Attached, func(arn string) iam.AttachedPolicy {
		_, _, name, _ := model.IAMNameOf(arn, "policy")
		return iam.AttachedPolicy{PolicyArn: &arn, PolicyName: &name}
	})
}

func inlinePolicies(p *model.IAMPrincipal) []iam.PolicyDetail {
	return mapped(slices.Sorted(maps.Keys(p.Policies)), func(name string) iam.PolicyDetail {
		return iam.PolicyDetail{PolicyName: &name, PolicyDocument: encoded(p.Policies[name])}
	})
}

func (s *Service) userDetails(ctx context.Context) ([]detail, error) {
	rows, err := tables.Users.List(ctx, s.store, store.Query{Account: api.CallFrom(ctx).Account})
	return mapped(rows, func(r store.Row[model.User]) detail {
		return detail{"1/" + r.Key.ID, func(out *iam.GetAccountAuthorizationDetailsOutput) error {
			u := r.V
			d := iam.UserDetail{
				Arn: &u.ARN, CreateDate: &u.CreateDate, Path: &u.Path, UserId: &u.ID, UserName: &u.Name, Tags: tagList(u.Tags),
				PermissionsBoundary: boundaryOf(u.PermissionsBoundary), AttachedManagedPolicies: attachedPolicies(&u.IAMPrincipal),
				UserPolicyList: inlinePolicies(&u.IAMPrincipal), GroupList: []string{},
			}
			for _, id := range u.Groups {
				g, err := s.group(ctx, id)
				if err != nil {
					return err
				}
				d.GroupList = append(d.GroupList, g.V.Name)
			}
			out.UserDetailList = append(out.UserDetailList, d)
			return nil
		}}
	}), err
}

func (s *Service) groupDetails(ctx context.Context) ([]detail, error) {
	rows, err := tables.Groups.List(ctx, s.store, store.Query{Account: api.CallFrom(ctx).Account})
	return mapped(rows, func(r store.Row[model.Group]) detail {
		return detail{"2/" + r.Key.ID, func(out *iam.GetAccountAuthorizationDetailsOutput) error {
			g := r.V
			out.GroupDetailList = append(out.GroupDetailList, iam.GroupDetail{
				Arn: &g.ARN, CreateDate: &g.CreateDate, Path: &g.Path, GroupId: &g.ID, GroupName: &g.Name,
				AttachedManagedPolicies: attachedPolicies(&g.IAMPrincipal), GroupPolicyList: inlinePolicies(&g.IAMPrincipal),
			})
			return nil
		}}
	}), err
}

func (s *Service) roleDetails(ctx context.Context) ([]detail, error) {
	rows, err := tables.Roles.List(ctx, s.store, store.Query{Account: api.CallFrom(ctx).Account})
	return mapped(rows, func(row store.Row[model.Role]) detail {
		return detail{"3/" + row.Key.ID, func(out *iam.GetAccountAuthorizationDetailsOutput) error {
			r := row.V
			used, err := s.roleLastUsed(ctx, row)
			if err != nil {
				return err
			}
			d := iam.RoleDetail{
				Arn: &r.ARN, CreateDate: &r.CreateDate, Path: &r.Path, RoleId: &r.ID, RoleName: &r.Name, Tags: tagList(r.Tags),
				AssumeRolePolicyDocument: encoded(r.TrustPolicy), PermissionsBoundary: boundaryOf(r.PermissionsBoundary), RoleLastUsed: used,
				AttachedManagedPolicies: attachedPolicies(&r.IAMPrincipal), RolePolicyList: inlinePolicies(&r.IAMPrincipal),
				InstanceProfileList: []iam.InstanceProfile{},
			}
			for _, name := range r.InstanceProfiles {
				p, err := s.profile(ctx, name)
				if err != nil {
					return err
				}
				d.InstanceProfileList = append(d.InstanceProfileList, describedProfile(p.V, r))
			}
			out.RoleDetailList = append(out.RoleDetailList, d)
			return nil
		}}
	}), err
}

// roleLastUsed tells when a role was last used, empty where it never was.
func (s *Service) roleLastUsed(ctx context.Context, row store.Row[model.Role]) (*iam.RoleLastUsed, error) {
	used, err := tables.IAMLastUsed.Get(ctx, s.store, row.Key.Account, "", row.V.ID)
	if errors.Is(err, store.ErrNotFound) {
		return &iam.RoleLastUsed{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &iam.RoleLastUsed{LastUsedDate: &used.V.Time, Region: &used.V.Region}, nil
}

func (s *Service) policyDetails(ctx context.Context) ([]detail, error) {
	rows, err := tables.Policies.List(ctx, s.store, store.Query{Account: api.CallFrom(ctx).Account})
	return mapped(rows, func(r store.Row[model.Policy]) detail {
		return detail{"4/" + r.Key.ID, func(out *iam.GetAccountAuthorizationDetailsOutput) error {
			out.Policies = append(out.Policies, policyDetail(r.V))
			return nil
		}}
	}), err
}

// managedDetails lists AWS's policies that are in use, as AWS does.
func (s *Service) managedDetails(ctx context.Context) ([]detail, error) {
	var all []detail
	for _, m := range managed.All() {
		attached, bounded, err := s.entities(ctx, m.ARN)
		if err != nil {
			return nil, err
		}
		if len(attached)+len(bounded) == 0 {
			continue
		}
		p := managedPolicy(m, len(attached), len(bounded))
		all = append(all, detail{"5/" + key(m.Name), func(out *iam.GetAccountAuthorizationDetailsOutput) error {
			out.Policies = append(out.Policies, policyDetail(p))
			return nil
		}})
	}
	return all, nil
}

func policyDetail(p *model.Policy) iam.ManagedPolicyDetail {
	l := listedPolicy(p)
	d := iam.ManagedPolicyDetail{
		Arn: l.Arn, PolicyId: l.PolicyId, PolicyName: l.PolicyName, Path: l.Path, DefaultVersionId: l.DefaultVersionId,
		AttachmentCount: l.AttachmentCount, PermissionsBoundaryUsageCount: l.PermissionsBoundaryUsageCount, IsAttachable: l.IsAttachable,
		CreateDate: l.CreateDate, UpdateDate: l.UpdateDate,
	}
	for i := len(p.Versions) - 1; i >= 0; i-- {
		d.PolicyVersionList = append(d.PolicyVersionList, *versionOf(&p.Versions[i], p, true))
	}
	return d
}
