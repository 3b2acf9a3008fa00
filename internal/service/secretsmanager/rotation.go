package secretsmanager

import (
	"context"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/secretsmanager"
)

// RotateSecret implements secretsmanager.Handler. There are no functions to
// rotate secrets with, and it answers as AWS does where there is none, or where
// the one that is named cannot be called.
func (s *Service) RotateSecret(ctx context.Context, in *secretsmanager.RotateSecretInput) (*secretsmanager.RotateSecretOutput, error) {
	if in.ClientRequestToken == nil {
		return nil, errNoToken
	}
	if _, err := s.usable(ctx, *in.SecretId); err != nil {
		return nil, err
	}
	if str(in.RotationLambdaARN) == "" {
		return nil, secretsmanager.NewInvalidRequestException("No Lambda rotation function ARN is associated with this secret.")
	}
	return nil, api.NewFault("AccessDeniedException", "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants access to the principal secretsmanager.amazonaws.com.")
}
