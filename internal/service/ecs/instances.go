package ecs

import (
	"context"

	"roadstead.dev/internal/api/ecs"
)

// Container instances cannot register yet, so every cluster has none.

// ListContainerInstances lists the instances of a cluster.
func (s *Service) ListContainerInstances(ctx context.Context, in *ecs.ListContainerInstancesInput) (*ecs.ListContainerInstancesOutput, error) {
	sc := scopeOf(ctx)
	if _, err := s.cluster(ctx, sc, in.Cluster); err != nil {
		return nil, err
	}
	if _, _, err := sc.page(in.MaxResults, in.NextToken, 100, "ListContainerInstances"); err != nil {
		return nil, err
	}
	return &ecs.ListContainerInstancesOutput{ContainerInstanceArns: []string{}}, nil
}

// DescribeContainerInstances finds none of what it is asked for.
func (s *Service) DescribeContainerInstances(ctx context.Context, in *ecs.DescribeContainerInstancesInput) (*ecs.DescribeContainerInstancesOutput, error) {
	if _, err := s.cluster(ctx, scopeOf(ctx), in.Cluster); err != nil {
		return nil, err
	}
	if len(in.ContainerInstances) == 0 {
		return nil, ecs.NewInvalidParameterException("Container instance cannot be empty.")
	}
	out := &ecs.DescribeContainerInstancesOutput{ContainerInstances: []ecs.ContainerInstance{}}
	for _, i := range in.ContainerInstances {
		out.Failures = append(out.Failures, missing(i))
	}
	return out, nil
}

// ListAttributes lists the attributes of a cluster's instances.
func (s *Service) ListAttributes(ctx context.Context, in *ecs.ListAttributesInput) (*ecs.ListAttributesOutput, error) {
	sc := scopeOf(ctx)
	if _, err := s.cluster(ctx, sc, in.Cluster); err != nil {
		return nil, err
	}
	if _, _, err := sc.page(in.MaxResults, in.NextToken, 100, "ListAttributes"); err != nil {
		return nil, err
	}
	return &ecs.ListAttributesOutput{Attributes: []ecs.Attribute{}}, nil
}
