package iam

import (
	"context"
	"maps"
	"slices"

	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/store"
)

// putInline embeds a policy in a principal.
func (s *Service) putInline(ctx context.Context, read reader, owner, name, doc *string) error {
	return s.write(ctx, func(tx *store.Txn) error {
		p, err := read(ctx, *owner)
		if err != nil {
			return err
		}
		if _, err := parsePolicy(*doc, policy.Identity); err != nil {
			return err
		}
		if p.Policies == nil {
			p.Policies = map[string]string{}
		}
		p.Policies[*name] = *doc
		size := 0
		for _, d := range p.Policies {
			size += documentSize(d)
		}
		if size > p.inlineSize {
			return iam.NewLimitExceededException("Maximum policy size of %d bytes exceeded for %s %s", p.inlineSize, p.kind, p.Name)
		}
		p.put(tx)
		return nil
	})
}

// inline reads an embedded policy.
func (s *Service) inline(ctx context.Context, read reader, owner, name *string) (*principal, string, error) {
	p, err := read(ctx, *owner)
	if err != nil {
		return nil, "", err
	}
	doc, ok := p.Policies[*name]
	if !ok {
		return nil, "", noInline(p, *name)
	}
	return p, doc, nil
}

func noInline(p *principal, name string) error {
	return iam.NewNoSuchEntityException("The %s policy with name %s cannot be found.", p.kind, name)
}

// listInline pages through the names of a principal's embedded policies.
func (s *Service) listInline(ctx context.Context, read reader, owner, marker *string, limit *int32) ([]string, *bool, *string, error) {
	p, err := read(ctx, *owner)
	if err != nil {
		return nil, nil, nil, err
	}
	return page(ctx, slices.Collect(maps.Keys(p.Policies)), same, marker, limit, "inline", p.ARN)
}

func (s *Service) deleteInline(ctx context.Context, read reader, owner, name *string) error {
	return s.write(ctx, func(tx *store.Txn) error {
		p, err := read(ctx, *owner)
		if err != nil {
			return err
		}
		if _, ok := p.Policies[*name]; !ok {
			return noInline(p, *name)
		}
		delete(p.Policies, *name)
		p.put(tx)
		return nil
	})
}

// PutUserPolicy embeds a policy in a user.
func (s *Service) PutUserPolicy(ctx context.Context, in *iam.PutUserPolicyInput) (*iam.PutUserPolicyOutput, error) {
	return &iam.PutUserPolicyOutput{}, s.putInline(ctx, s.userPrincipal, in.UserName, in.PolicyName, in.PolicyDocument)
}

// GetUserPolicy reads a user's embedded policy.
func (s *Service) GetUserPolicy(ctx context.Context, in *iam.GetUserPolicyInput) (*iam.GetUserPolicyOutput, error) {
	p, doc, err := s.inline(ctx, s.userPrincipal, in.UserName, in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &iam.GetUserPolicyOutput{UserName: &p.Name, PolicyName: in.PolicyName, PolicyDocument: encoded(doc)}, nil
}

// ListUserPolicies lists a user's embedded policies.
func (s *Service) ListUserPolicies(ctx context.Context, in *iam.ListUserPoliciesInput) (*iam.ListUserPoliciesOutput, error) {
	names, more, next, err := s.listInline(ctx, s.userPrincipal, in.UserName, in.Marker, in.MaxItems)
	return &iam.ListUserPoliciesOutput{PolicyNames: names, IsTruncated: more, Marker: next}, err
}

// DeleteUserPolicy removes a user's embedded policy.
func (s *Service) DeleteUserPolicy(ctx context.Context, in *iam.DeleteUserPolicyInput) (*iam.DeleteUserPolicyOutput, error) {
	return &iam.DeleteUserPolicyOutput{}, s.deleteInline(ctx, s.userPrincipal, in.UserName, in.PolicyName)
}

// PutGroupPolicy embeds a policy in a group.
func (s *Service) PutGroupPolicy(ctx context.Context, in *iam.PutGroupPolicyInput) (*iam.PutGroupPolicyOutput, error) {
	return &iam.PutGroupPolicyOutput{}, s.putInline(ctx, s.groupPrincipal, in.GroupName, in.PolicyName, in.PolicyDocument)
}

// GetGroupPolicy reads a group's embedded policy.
func (s *Service) GetGroupPolicy(ctx context.Context, in *iam.GetGroupPolicyInput) (*iam.GetGroupPolicyOutput, error) {
	p, doc, err := s.inline(ctx, s.groupPrincipal, in.GroupName, in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &iam.GetGroupPolicyOutput{GroupName: &p.Name, PolicyName: in.PolicyName, PolicyDocument: encoded(doc)}, nil
}

// ListGroupPolicies lists a group's embedded policies.
func (s *Service) ListGroupPolicies(ctx context.Context, in *iam.ListGroupPoliciesInput) (*iam.ListGroupPoliciesOutput, error) {
	names, more, next, err := s.listInline(ctx, s.groupPrincipal, in.GroupName, in.Marker, in.MaxItems)
	return &iam.ListGroupPoliciesOutput{PolicyNames: names, IsTruncated: more, Marker: next}, err
}

// DeleteGroupPolicy removes a group's embedded policy.
func (s *Service) DeleteGroupPolicy(ctx context.Context, in *iam.DeleteGroupPolicyInput) (*iam.DeleteGroupPolicyOutput, error) {
	return &iam.DeleteGroupPolicyOutput{}, s.deleteInline(ctx, s.groupPrincipal, in.GroupName, in.PolicyName)
}

// PutRolePolicy embeds a policy in a role.
func (s *Service) PutRolePolicy(ctx context.Context, in *iam.PutRolePolicyInput) (*iam.PutRolePolicyOutput, error) {
	return &iam.PutRolePolicyOutput{}, s.putInline(ctx, s.ownRolePrincipal, in.RoleName, in.PolicyName, in.PolicyDocument)
}

// GetRolePolicy reads a role's embedded policy.
func (s *Service) GetRolePolicy(ctx context.Context, in *iam.GetRolePolicyInput) (*iam.GetRolePolicyOutput, error) {
	p, doc, err := s.inline(ctx, s.rolePrincipal, in.RoleName, in.PolicyName)
	if err != nil {
		return nil, err
	}
	return &iam.GetRolePolicyOutput{RoleName: &p.Name, PolicyName: in.PolicyName, PolicyDocument: encoded(doc)}, nil
}

// ListRolePolicies lists a role's embedded policies.
func (s *Service) ListRolePolicies(ctx context.Context, in *iam.ListRolePoliciesInput) (*iam.ListRolePoliciesOutput, error) {
	names, more, next, err := s.listInline(ctx, s.rolePrincipal, in.RoleName, in.Marker, in.MaxItems)
	return &iam.ListRolePoliciesOutput{PolicyNames: names, IsTruncated: more, Marker: next}, err
}

// DeleteRolePolicy removes a role's embedded policy.
func (s *Service) DeleteRolePolicy(ctx context.Context, in *iam.DeleteRolePolicyInput) (*iam.DeleteRolePolicyOutput, error) {
	return &iam.DeleteRolePolicyOutput{}, s.deleteInline(ctx, s.ownRolePrincipal, in.RoleName, in.PolicyName)
}
