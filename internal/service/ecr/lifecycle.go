package ecr

import (
	"context"
	"time"

	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/ecrlifecycle"
	"roadstead.dev/internal/registry"
)

func noLifecycle(sp registry.Space, name string) error {
	return ecr.NewLifecyclePolicyNotFoundException("Lifecycle policy does not exist for the repository with name '%s' in the registry with id '%s'", name, sp.Account)
}

// PutLifecyclePolicy implements ecr.Handler. The policy is applied by the
// controller ecrlifecycle.
func (s *Service) PutLifecyclePolicy(ctx context.Context, in *ecr.PutLifecyclePolicyInput) (*ecr.PutLifecyclePolicyOutput, error) {
	sp, _, err := s.repository(ctx, "ecr:PutLifecyclePolicy", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if _, err := ecrlifecycle.Parse(*in.LifecyclePolicyText); err != nil {
		return nil, invalid("LifecyclePolicyText", "%v", err)
	}
	if _, err := s.write(ctx, sp, *in.RepositoryName, func(r *model.ECRRepository) error {
		r.LifecyclePolicy = *in.LifecyclePolicyText
		return nil
	}); err != nil {
		return nil, err
	}
	return &ecr.PutLifecyclePolicyOutput{LifecyclePolicyText: in.LifecyclePolicyText, RegistryId: new(sp.Account), RepositoryName: in.RepositoryName}, nil
}

// GetLifecyclePolicy implements ecr.Handler.
func (s *Service) GetLifecyclePolicy(ctx context.Context, in *ecr.GetLifecyclePolicyInput) (*ecr.GetLifecyclePolicyOutput, error) {
	sp, row, err := s.repository(ctx, "ecr:GetLifecyclePolicy", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if row.V.LifecyclePolicy == "" {
		return nil, noLifecycle(sp, row.V.Name)
	}
	return &ecr.GetLifecyclePolicyOutput{
		LastEvaluatedAt: evaluatedAt(row.V), LifecyclePolicyText: new(row.V.LifecyclePolicy),
		RegistryId: new(sp.Account), RepositoryName: in.RepositoryName,
	}, nil
}

// DeleteLifecyclePolicy implements ecr.Handler.
func (s *Service) DeleteLifecyclePolicy(ctx context.Context, in *ecr.DeleteLifecyclePolicyInput) (*ecr.DeleteLifecyclePolicyOutput, error) {
	sp, _, err := s.repository(ctx, "ecr:DeleteLifecyclePolicy", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	out := &ecr.DeleteLifecyclePolicyOutput{RegistryId: new(sp.Account), RepositoryName: in.RepositoryName}
	if _, err := s.write(ctx, sp, *in.RepositoryName, func(r *model.ECRRepository) error {
		if r.LifecyclePolicy == "" {
			return noLifecycle(sp, r.Name)
		}
		out.LifecyclePolicyText, out.LastEvaluatedAt = new(r.LifecyclePolicy), evaluatedAt(r)
		r.LifecyclePolicy = ""
		return nil
	}); err != nil {
		return nil, err
	}
	return out, nil
}

// evaluatedAt is when the policy was last applied; the beginning of time
// stands for never, as it does in AWS.
func evaluatedAt(r *model.ECRRepository) *time.Time {
	if r.LifecycleEvaluatedAt.IsZero() {
		return new(time.Unix(0, 0).UTC())
	}
	return new(r.LifecycleEvaluatedAt)
}
