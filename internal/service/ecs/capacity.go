package ecs

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// fargateProviders are the capacity providers that every account has.
var fargateProviders = []string{model.CapacityProviderFargate, model.CapacityProviderFargateSpot}

// maxProviders is how many capacity providers a cluster, or a strategy, can
// have.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/cluster-capacity-providers.html
const maxProviders = 20

// checkStrategy checks a capacity provider strategy against the providers of
// its cluster.
func checkStrategy(strategy []model.CapacityProviderStrategyItem, providers []string) error {
	seen, weight, bases, fargate := map[string]bool{}, 0, 0, 0
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
		if model.OnFargate(i.CapacityProvider) {
			fargate++
		}
	}
	switch {
	case len(strategy) > maxProviders:
		return ecs.NewInvalidParameterException("A capacity provider strategy can contain a maximum of %d capacity providers.", maxProviders)
	case fargate > 0 && fargate < len(strategy):
		return ecs.NewInvalidParameterException("A capacity provider strategy cannot contain a mix of capacity providers using Auto Scaling groups and Fargate providers. Specify one or the other and try again.")
	case weight == 0:
		return ecs.NewInvalidParameterException("The capacity provider strategy must contain at least one capacity provider with a weight greater than 0.")
	case bases > 1:
		return ecs.NewInvalidParameterException("Only one capacity provider in a capacity provider strategy can have a base defined.")
	}
	return nil
}

// providerName is the name in a reference to a capacity provider, which is a
// name or an ARN; false for what is another account's or region's.
func (sc scope) providerName(ref string) (string, bool) {
	if !strings.HasPrefix(ref, "arn:") {
		return ref, true
	}
	a, err := model.ParseARN(ref)
	name, ok := strings.CutPrefix(a.Resource, "capacity-provider/")
	return name, err == nil && ok && a.Service == "ecs" && sc.inScope(ref)
}

func (sc scope) providerARN(name string) string {
	return model.MakeARN("ecs", sc.region, sc.account, "capacity-provider/"+name)
}

// DescribeCapacityProviders shows Fargate's two providers and the account's
// own.
func (s *Service) DescribeCapacityProviders(ctx context.Context, in *ecs.DescribeCapacityProvidersInput) (*ecs.DescribeCapacityProvidersOutput, error) {
	sc := scopeOf(ctx)
	if len(in.CapacityProviders) > 100 {
		return nil, ecs.NewInvalidParameterException("Capacity providers cannot have more than 100 elements.")
	}
	names, err := s.describedProviders(ctx, sc, in)
	if err != nil {
		return nil, err
	}
	filters := append([]string{"DescribeCapacityProviders", val(in.Cluster)}, in.CapacityProviders...)
	after, limit, err := sc.page(in.MaxResults, in.NextToken, 10, filters...)
	if err != nil {
		return nil, err
	}
	out := &ecs.DescribeCapacityProvidersOutput{CapacityProviders: []ecs.CapacityProvider{}, Failures: []ecs.Failure{}}
	// Fargate's two come first, and after holds the last one shown: what comes
	// and goes meanwhile shifts nothing.
	if after != "" {
		at := slices.Index(names, after)
		if at < 0 {
			at = slices.IndexFunc(names, func(n string) bool { return !model.OnFargate(n) && n > after }) - 1
			if at < -1 {
				at = len(names) - 1
			}
		}
		names = names[at+1:]
	}
	if len(names) > limit {
		names = names[:limit]
		out.NextToken = sc.token(true, names[limit-1], filters...)
	}
	withTags := slices.Contains(in.Include, ecs.CapacityProviderFieldTags)
	for _, ref := range names {
		name, ok := sc.providerName(ref)
		if model.OnFargate(name) && ok {
			out.CapacityProviders = append(out.CapacityProviders, ecs.CapacityProvider{
				CapacityProviderArn: new(sc.providerARN(name)), Name: new(name),
				Status: ecs.CapacityProviderStatusActive, Type: ecs.CapacityProviderType(name), Tags: []ecs.Tag{},
			})
			continue
		}
		row, err := s.provider(ctx, sc, ref)
		if errors.Is(err, store.ErrNotFound) {
			arn := ref
			if !strings.HasPrefix(ref, "arn:") {
				arn = sc.providerARN(ref)
			}
			out.Failures = append(out.Failures, missing(arn))
			continue
		}
		if err != nil {
			return nil, err
		}
		p := showProvider(row.V, withTags)
		out.CapacityProviders = append(out.CapacityProviders, *p)
	}
	return out, nil
}

// describedProviders are the references of a request: those that it names, or
// the cluster's, or all that are not deleted.
func (s *Service) describedProviders(ctx context.Context, sc scope, in *ecs.DescribeCapacityProvidersInput) ([]string, error) {
	if in.Cluster != nil {
		row, err := s.cluster(ctx, sc, in.Cluster)
		if err != nil {
			return nil, err
		}
		if len(in.CapacityProviders) == 0 {
			names := slices.Clone(row.V.CapacityProviders)
			slices.SortFunc(names, providerOrder)
			return names, nil
		}
	}
	if len(in.CapacityProviders) > 0 {
		var names []string
		for _, n := range in.CapacityProviders {
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
		return names, nil
	}
	rows, err := tables.ECSCapacityProviders.List(ctx, s.store, store.Query{Account: sc.account, Region: sc.region})
	if err != nil {
		return nil, err
	}
	names := slices.Clone(fargateProviders)
	for _, r := range rows {
		if r.V.Status != model.ECSInactive {
			names = append(names, r.V.Name)
		}
	}
	slices.SortFunc(names, providerOrder)
	return names, nil
}

// providerOrder puts Fargate's providers first.
func providerOrder(a, b string) int {
	if x, y := model.OnFargate(a), model.OnFargate(b); x != y {
		if x {
			return -1
		}
		return 1
	}
	return strings.Compare(a, b)
}

// provider reads the capacity provider of an Auto Scaling group, of any status.
func (s *Service) provider(ctx context.Context, sc scope, ref string) (store.Row[model.CapacityProvider], error) {
	name, ok := sc.providerName(ref)
	if !ok || !identifier.MatchString(name) {
		return store.Row[model.CapacityProvider]{}, store.ErrNotFound
	}
	return tables.ECSCapacityProviders.Get(ctx, s.store, sc.account, sc.region, name)
}

func showProvider(p *model.CapacityProvider, withTags bool) *ecs.CapacityProvider {
	onOff := func(on bool) string {
		if on {
			return string(ecs.ManagedScalingStatusEnabled)
		}
		return string(ecs.ManagedScalingStatusDisabled)
	}
	out := &ecs.CapacityProvider{
		CapacityProviderArn: &p.ARN, Name: &p.Name, Status: ecs.CapacityProviderStatus(p.Status), Type: ecs.CapacityProviderTypeEc2Autoscaling,
		UpdateStatus: ecs.CapacityProviderUpdateStatus(p.UpdateStatus), Tags: []ecs.Tag{},
		AutoScalingGroupProvider: &ecs.AutoScalingGroupProvider{
			AutoScalingGroupArn: &p.GroupARN,
			ManagedScaling: &ecs.ManagedScaling{
				Status: ecs.ManagedScalingStatus(onOff(p.Scaling.Enabled)), TargetCapacity: new(int32(p.Scaling.TargetCapacity)),
				MinimumScalingStepSize: new(int32(p.Scaling.MinimumStep)), MaximumScalingStepSize: new(int32(p.Scaling.MaximumStep)),
				InstanceWarmupPeriod: new(int32(p.Scaling.WarmupSeconds)),
			},
			ManagedTerminationProtection: ecs.ManagedTerminationProtection(onOff(p.TerminationProtection)),
			ManagedDraining:              ecs.ManagedDraining(onOff(p.Draining)),
		},
	}
	if p.UpdateStatusReason != "" {
		out.UpdateStatusReason = &p.UpdateStatusReason
	}
	if withTags {
		out.Tags = tagList[ecs.Tag](p.Tags)
	}
	return out
}
