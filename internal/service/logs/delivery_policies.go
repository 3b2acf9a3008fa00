package logs

import (
	"context"
	"errors"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// PolicyOf implements api.ResourcePolicies: delivery destinations have policies,
// which are weighed when a delivery to them is made.
func (s *Service) PolicyOf(ctx context.Context, arn string) (text, owner string, err error) {
	c := api.CallFrom(ctx)
	kind, name := deliveryPart(c, arn)
	if kind != model.DeliveryDestinationKind {
		return "", c.Account, nil
	}
	row, err := tables.LogDeliveryDestinations.Get(ctx, s.store, c.Account, c.Region, name)
	if errors.Is(err, store.ErrNotFound) {
		return "", c.Account, nil // the handler says so
	}
	if err != nil {
		return "", "", err
	}
	return row.V.Policy, c.Account, nil
}

// setPolicy changes a destination's policy; "" removes it.
func (s *Service) setPolicy(ctx context.Context, name, text string) error {
	c := api.CallFrom(ctx)
	_, err := tables.LogDeliveryDestinations.Update(ctx, s.store, c.Account, c.Region, name, func(v *model.LogDeliveryDestination) error {
		v.Policy = text
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		err = noDelivery("delivery destination")
	}
	return err
}

// PutDeliveryDestinationPolicy makes a destination's policy.
func (s *Service) PutDeliveryDestinationPolicy(ctx context.Context, in *logs.PutDeliveryDestinationPolicyInput) (*logs.PutDeliveryDestinationPolicyOutput, error) {
	if _, err := policy.Parse(*in.DeliveryDestinationPolicy, policy.Resource); err != nil {
		return nil, refusedDelivery("The delivery destination policy is invalid: %v", err)
	}
	if err := s.setPolicy(ctx, *in.DeliveryDestinationName, *in.DeliveryDestinationPolicy); err != nil {
		return nil, err
	}
	return &logs.PutDeliveryDestinationPolicyOutput{Policy: &logs.Policy{DeliveryDestinationPolicy: in.DeliveryDestinationPolicy}}, nil
}

// GetDeliveryDestinationPolicy reads a destination's policy.
func (s *Service) GetDeliveryDestinationPolicy(ctx context.Context, in *logs.GetDeliveryDestinationPolicyInput) (*logs.GetDeliveryDestinationPolicyOutput, error) {
	row, err := found(ctx, s.store, tables.LogDeliveryDestinations, *in.DeliveryDestinationName, "delivery destination")
	if err != nil {
		return nil, err
	}
	out := &logs.Policy{}
	if row.V.Policy != "" {
		out.DeliveryDestinationPolicy = &row.V.Policy
	}
	return &logs.GetDeliveryDestinationPolicyOutput{Policy: out}, nil
}

// DeleteDeliveryDestinationPolicy removes a destination's policy.
func (s *Service) DeleteDeliveryDestinationPolicy(ctx context.Context, in *logs.DeleteDeliveryDestinationPolicyInput) (*logs.DeleteDeliveryDestinationPolicyOutput, error) {
	return &logs.DeleteDeliveryDestinationPolicyOutput{}, s.setPolicy(ctx, *in.DeliveryDestinationName, "")
}
