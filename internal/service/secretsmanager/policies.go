package secretsmanager

import (
	"context"
	"errors"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/secretsmanager"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/store"
)

// PolicyOf implements api.ResourcePolicies.
func (s *Service) PolicyOf(ctx context.Context, arn string) (text, owner string, err error) {
	a, err := model.ParseARN(arn)
	if err != nil {
		return "", api.CallFrom(ctx).Account, nil //nolint:nilerr // no secret's: the handler refuses it
	}
	row, err := s.read(ctx, arn)
	if _, known := errors.AsType[api.Error](err); known {
		return "", a.Account, nil // there is none by that name
	}
	if err != nil {
		return "", "", err
	}
	return row.V.Policy, a.Account, nil
}

// PutResourcePolicy implements secretsmanager.Handler.
func (s *Service) PutResourcePolicy(ctx context.Context, in *secretsmanager.PutResourcePolicyInput) (*secretsmanager.PutResourcePolicyOutput, error) {
	doc, err := policy.Parse(*in.ResourcePolicy, policy.Resource)
	if err != nil {
		return nil, secretsmanager.NewMalformedPolicyDocumentException("This resource policy contains a syntax error.")
	}
	if isTrue(in.BlockPublicPolicy) && public(doc) {
		return nil, secretsmanager.NewPublicPolicyException("This resource policy grants broad access to your secret. You can't put it while BlockPublicPolicy is true.")
	}
	v, err := s.update(ctx, s.usable, *in.SecretId, func(_ *store.Txn, _ store.Key, v *model.Secret) error {
		v.Policy = *in.ResourcePolicy
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &secretsmanager.PutResourcePolicyOutput{ARN: &v.ARN, Name: &v.Name}, nil
}

// public tells whether a policy lets everybody in without a condition.
func public(doc *policy.Document) bool {
	for _, st := range doc.Statements {
		if st.Effect == policy.Allow && st.Principal != nil && st.Principal.Any && len(st.Keys) == 0 {
			return true
		}
	}
	return false
}

// GetResourcePolicy implements secretsmanager.Handler.
func (s *Service) GetResourcePolicy(ctx context.Context, in *secretsmanager.GetResourcePolicyInput) (*secretsmanager.GetResourcePolicyOutput, error) {
	row, err := s.usable(ctx, *in.SecretId)
	if err != nil {
		return nil, err
	}
	return &secretsmanager.GetResourcePolicyOutput{ARN: &row.V.ARN, Name: &row.V.Name, ResourcePolicy: opt(row.V.Policy)}, nil
}

// DeleteResourcePolicy implements secretsmanager.Handler.
func (s *Service) DeleteResourcePolicy(ctx context.Context, in *secretsmanager.DeleteResourcePolicyInput) (*secretsmanager.DeleteResourcePolicyOutput, error) {
	v, err := s.update(ctx, s.usable, *in.SecretId, func(_ *store.Txn, _ store.Key, v *model.Secret) error {
		v.Policy = ""
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &secretsmanager.DeleteResourcePolicyOutput{ARN: &v.ARN, Name: &v.Name}, nil
}

// ValidateResourcePolicy implements secretsmanager.Handler: it tells whether
// PutResourcePolicy would take a policy with BlockPublicPolicy set.
func (s *Service) ValidateResourcePolicy(ctx context.Context, in *secretsmanager.ValidateResourcePolicyInput) (*secretsmanager.ValidateResourcePolicyOutput, error) {
	if in.SecretId != nil {
		if _, err := s.usable(ctx, *in.SecretId); err != nil {
			return nil, err
		}
	}
	out := &secretsmanager.ValidateResourcePolicyOutput{PolicyValidationPassed: new(true), ValidationErrors: []secretsmanager.ValidationErrorsEntry{}}
	fail := func(check, message string) {
		out.PolicyValidationPassed = new(false)
		out.ValidationErrors = append(out.ValidationErrors, secretsmanager.ValidationErrorsEntry{CheckName: &check, ErrorMessage: &message})
	}
	doc, err := policy.Parse(*in.ResourcePolicy, policy.Resource)
	switch {
	case err != nil:
		fail("JSON Validation", err.Error())
	case public(doc):
		fail("Public Access", "This resource policy grants broad access to your secret.")
	}
	return out, nil
}
