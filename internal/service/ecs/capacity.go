package ecs

import (
	"context"
	"slices"
	"strings"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
)

// fargateProviders are the capacity providers that every account has.
var fargateProviders = []string{model.CapacityProviderFargate, model.CapacityProviderFargateSpot}

// checkCapacity checks the providers of a cluster with its default strategy.
func checkCapacity(providers []string, strategy []model.CapacityProviderStrategyItem) error {
	for i, p := range providers {
		if !slices.Contains(fargateProviders, p) {
			return ecs.NewInvalidParameterException("The specified capacity provider '%s' was not found. Specify a valid name and try again.", p)
		}
		if slices.Contains(providers[:i], p) {
			return ecs.NewInvalidParameterException("The capacity providers cannot contain duplicates. Remove the duplicate capacity provider %s and try again.", p)
		}
	}
	if len(strategy) == 0 {
		return nil
	}
	return checkStrategy(strategy, providers)
}

// checkStrategy checks a capacity provider strategy against the providers of
// its cluster.
func checkStrategy(strategy []model.CapacityProviderStrategyItem, providers []string) error {
	seen, weight, bases := map[string]bool{}, 0, 0
	for _, i := range strategy {
		switch {
		case seen[i.CapacityProvider]:
			return ecs.NewInvalidParameterException("The capacity provider strategy cannot contain duplicate capacity providers. Remove the duplicate capacity provider %s and try again.", i.CapacityProvider)
		case !slices.Contains(providers, i.CapacityProvider):
			return ecs.NewInvalidParameterException("The specified capacity provider strategy cannot contain a capacity provider that is not associated with the cluster. Associate the capacity provider with the cluster and try again.")
		}
		seen[i.CapacityProvider] = true
		weight += i.Weight
		if i.Base > 0 {
			bases++
		}
	}
	switch {
	case len(strategy) > 20:
		return ecs.NewInvalidParameterException("A capacity provider strategy can contain a maximum of 20 capacity providers.")
	case weight == 0:
		return ecs.NewInvalidParameterException("The capacity provider strategy must contain at least one capacity provider with a weight greater than 0.")
	case bases > 1:
		return ecs.NewInvalidParameterException("Only one capacity provider in a capacity provider strategy can have a base defined.")
	}
	return nil
}

// DescribeCapacityProviders shows Fargate's two providers.
func (s *Service) DescribeCapacityProviders(ctx context.Context, in *ecs.DescribeCapacityProvidersInput) (*ecs.DescribeCapacityProvidersOutput, error) {
	sc := scopeOf(ctx)
	names := in.CapacityProviders
	if in.Cluster != nil {
		row, err := s.cluster(ctx, sc, in.Cluster)
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			names = row.V.CapacityProviders
		}
	} else if len(names) == 0 {
		names = fargateProviders
	}
	filters := append([]string{"DescribeCapacityProviders"}, names...)
	after, limit, err := sc.page(in.MaxResults, in.NextToken, 10, filters...)
	if err != nil {
		return nil, err
	}
	out := &ecs.DescribeCapacityProvidersOutput{CapacityProviders: []ecs.CapacityProvider{}, Failures: []ecs.Failure{}}
	if after != "" {
		names = names[slices.Index(names, after)+1:]
	}
	if len(names) > limit {
		names = names[:limit]
		out.NextToken = sc.token(true, names[limit-1], filters...)
	}
	for _, n := range names {
		ref := n
		if a, err := model.ParseARN(n); err == nil {
			n = strings.TrimPrefix(a.Resource, "capacity-provider/")
		}
		if !slices.Contains(fargateProviders, n) {
			out.Failures = append(out.Failures, missing(ref))
			continue
		}
		out.CapacityProviders = append(out.CapacityProviders, ecs.CapacityProvider{
			CapacityProviderArn: new(model.MakeARN("ecs", sc.region, sc.account, "capacity-provider/"+n)),
			Name:                new(n),
			Status:              ecs.CapacityProviderStatusActive,
			Type:                ecs.CapacityProviderType(n),
			Tags:                []ecs.Tag{},
		})
	}
	return out, nil
}
