package ecr

import (
	"context"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/registry"
)

func parsePolicy(text string) (*policy.Document, error) { return policy.Parse(text, policy.Resource) }

func noPolicy(sp registry.Space, name string) error {
	return ecr.NewRepositoryPolicyNotFoundException("Repository policy does not exist for the repository with name '%s' in the registry with id '%s'", name, sp.Account)
}

// SetRepositoryPolicy implements ecr.Handler.
func (s *Service) SetRepositoryPolicy(ctx context.Context, in *ecr.SetRepositoryPolicyInput) (*ecr.SetRepositoryPolicyOutput, error) {
	const action = "ecr:SetRepositoryPolicy"
	sp, _, err := s.administer(ctx, action, in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if _, err := parsePolicy(*in.PolicyText); err != nil {
		return nil, invalid("PolicyText", "Invalid repository policy provided")
	}
	if in.Force == nil || !*in.Force {
		c := api.CallFrom(ctx)
		effect, _ := decide(c.Account, c.Identity, registry.Access{
			Space: sp, Action: action, Resource: registry.RepositoryARN(sp, *in.RepositoryName),
			ResourcePolicy: *in.PolicyText, SourceIP: c.SourceIP, Time: c.Time,
		})
		if effect == policy.Deny {
			return nil, invalid("PolicyText", "The policy would prevent you from setting another policy; use force to set it")
		}
	}
	if _, err := s.write(ctx, sp, *in.RepositoryName, func(r *model.ECRRepository) error {
		r.Policy = *in.PolicyText
		return nil
	}); err != nil {
		return nil, err
	}
	return &ecr.SetRepositoryPolicyOutput{PolicyText: in.PolicyText, RegistryId: new(sp.Account), RepositoryName: in.RepositoryName}, nil
}

// administer is repository for what repairs a policy: the root of the
// repository's own account cannot be locked out.
func (s *Service) administer(ctx context.Context, action string, registryID, name *string) (registry.Space, *model.ECRRepository, error) {
	c := api.CallFrom(ctx)
	sp := space(ctx, registryID)
	if c.Identity.Root && sp.Account == c.Account {
		row, err := s.Catalog.Row(ctx, sp, *name)
		return sp, row.V, failure(sp, *name, err)
	}
	sp, row, err := s.repository(ctx, action, registryID, name)
	return sp, row.V, err
}

// GetRepositoryPolicy implements ecr.Handler.
func (s *Service) GetRepositoryPolicy(ctx context.Context, in *ecr.GetRepositoryPolicyInput) (*ecr.GetRepositoryPolicyOutput, error) {
	sp, v, err := s.administer(ctx, "ecr:GetRepositoryPolicy", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if v.Policy == "" {
		return nil, noPolicy(sp, v.Name)
	}
	return &ecr.GetRepositoryPolicyOutput{PolicyText: new(v.Policy), RegistryId: new(sp.Account), RepositoryName: in.RepositoryName}, nil
}

// DeleteRepositoryPolicy implements ecr.Handler.
func (s *Service) DeleteRepositoryPolicy(ctx context.Context, in *ecr.DeleteRepositoryPolicyInput) (*ecr.DeleteRepositoryPolicyOutput, error) {
	sp, _, err := s.administer(ctx, "ecr:DeleteRepositoryPolicy", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	var old string
	if _, err := s.write(ctx, sp, *in.RepositoryName, func(r *model.ECRRepository) error {
		if r.Policy == "" {
			return noPolicy(sp, r.Name)
		}
		old, r.Policy = r.Policy, ""
		return nil
	}); err != nil {
		return nil, err
	}
	return &ecr.DeleteRepositoryPolicyOutput{PolicyText: new(old), RegistryId: new(sp.Account), RepositoryName: in.RepositoryName}, nil
}
