package elbv2

import (
	"context"

	"roadstead.dev/internal/api/elbv2"
)

// DescribeCapacityReservation answers that nothing is reserved: a load
// balancer here has all the capacity of its host.
func (s *Service) DescribeCapacityReservation(ctx context.Context, in *elbv2.DescribeCapacityReservationInput) (*elbv2.DescribeCapacityReservationOutput, error) {
	if _, err := s.loadBalancer(ctx, value(in.LoadBalancerArn)); err != nil {
		return nil, err
	}
	return &elbv2.DescribeCapacityReservationOutput{}, nil
}

// ModifyCapacityReservation refuses to reserve anything: what a load balancer
// shares with all else on its host is not set apart for it. Giving up what is
// reserved is no error.
func (s *Service) ModifyCapacityReservation(ctx context.Context, in *elbv2.ModifyCapacityReservationInput) (*elbv2.ModifyCapacityReservationOutput, error) {
	lb, err := s.loadBalancer(ctx, value(in.LoadBalancerArn))
	if err != nil {
		return nil, err
	}
	switch reset := value(in.ResetCapacityReservation); {
	case reset && in.MinimumLoadBalancerCapacity != nil:
		return nil, invalid("You cannot specify both a minimum load balancer capacity and a reset of the capacity reservation")
	case in.MinimumLoadBalancerCapacity != nil:
		return nil, elbv2.NewCapacityUnitsLimitExceededException("The capacity units limit (0) of reservations has been exceeded for the load balancer '%s'", lb.V.ARN)
	case !reset:
		return nil, invalid("You must specify a minimum load balancer capacity or a reset of the capacity reservation")
	}
	return &elbv2.ModifyCapacityReservationOutput{}, nil
}
