package ssm

import (
	"context"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ssm"
)

// CreateActivation refuses: nothing manages the machines that would register.
func (s *Service) CreateActivation(context.Context, *ssm.CreateActivationInput) (*ssm.CreateActivationOutput, error) {
	return nil, api.NewFault("ValidationException", "Hybrid activations are not supported. The ECS agent of a machine outside of EC2 registers with credentials of its own, with ECS_EXTERNAL=true.")
}
