package ecs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// managedTag is on the groups that capacity providers manage.
// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/asg-capacity-providers.html
const managedTag = "AmazonECSManaged"

// What managed scaling is where nothing is asked for.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_ManagedScaling.html
var defaultScaling = model.ManagedScaling{TargetCapacity: 100, MinimumStep: 1, MaximumStep: 10000, WarmupSeconds: 300}

func errNoProvider() error {
	return ecs.NewClientException("The specified capacity provider does not exist. Specify a valid name or ARN and try again.")
}

// CreateCapacityProvider makes a capacity provider of an Auto Scaling group.
func (s *Service) CreateCapacityProvider(ctx context.Context, in *ecs.CreateCapacityProviderInput) (*ecs.CreateCapacityProviderOutput, error) {
	sc := scopeOf(ctx)
	if err := checkNewProvider(in); err != nil {
		return nil, err
	}
	asked := in.AutoScalingGroupProvider
	return retry(ctx, func() (*ecs.CreateCapacityProviderOutput, error) {
		group, err := s.autoScalingGroup(ctx, sc, val(asked.AutoScalingGroupArn))
		if err != nil {
			return nil, err
		}
		p := &model.CapacityProvider{
			Name: val(in.Name), ARN: sc.providerARN(val(in.Name)), Status: model.ECSActive,
			GroupARN: group.V.ARN, GroupName: group.V.Name, Scaling: defaultScaling, Draining: true,
			CreatedAt: sc.now, Tags: tagsOf(in.Tags),
		}
		if err := setProvider(p, asked.ManagedScaling, asked.ManagedTerminationProtection, asked.ManagedDraining, group.V); err != nil {
			return nil, err
		}
		tx := store.NewTxn()
		old, err := tables.ECSCapacityProviders.Get(ctx, s.store, sc.account, sc.region, p.Name)
		switch {
		case errors.Is(err, store.ErrNotFound):
			tables.ECSCapacityProviders.Create(tx, sc.account, sc.region, p.Name, p)
		case err != nil:
			return nil, err
		case old.V.Status != model.ECSInactive:
			return nil, ecs.NewClientException("The specified capacity provider already exists. To change the configuration of an existing capacity provider, update the capacity provider.")
		default:
			tables.ECSCapacityProviders.Replace(tx, old, p)
		}
		if err := s.claimGroup(ctx, sc, tx, p); err != nil {
			return nil, err
		}
		if g := group.Copy(); !slices.ContainsFunc(g.Tags, func(t model.ASGTag) bool { return t.Key == managedTag }) {
			g.Tags = append(g.Tags, model.ASGTag{Key: managedTag, PropagateAtLaunch: true})
			tables.AutoScalingGroups.Replace(tx, group, g)
		} else {
			tables.AutoScalingGroups.Check(tx, group)
		}
		if _, err := tx.Commit(ctx, s.store); err != nil {
			return nil, err
		}
		return &ecs.CreateCapacityProviderOutput{CapacityProvider: showProvider(p, true)}, nil
	})
}

// checkNewProvider checks what needs no look at the store.
func checkNewProvider(in *ecs.CreateCapacityProviderInput) error {
	name := val(in.Name)
	reserved := func(prefix string) bool { return strings.HasPrefix(strings.ToLower(name), prefix) }
	switch {
	case !identifier.MatchString(name) || slices.ContainsFunc([]string{"aws", "ecs", "fargate"}, reserved):
		return ecs.NewClientException(`The specified capacity provider name is invalid. Up to 255 characters are allowed, including letters (upper and lowercase), numbers, underscores, and hyphens. The name cannot be prefixed with "aws", "ecs", or "fargate". Specify a valid name and try again.`)
	case in.ManagedInstancesProvider != nil:
		return unsupported("The parameter managedInstancesProvider")
	case in.AutoScalingGroupProvider == nil:
		return ecs.NewInvalidParameterException("Exactly one of autoScalingGroupProvider and managedInstancesProvider must be specified.")
	case in.Cluster != nil:
		return ecs.NewInvalidParameterException("A cluster can only be specified for a capacity provider that uses managedInstancesProvider.")
	}
	return checkTags(in.Tags)
}

// autoScalingGroup reads the group that ref, an ARN or a name, means.
func (s *Service) autoScalingGroup(ctx context.Context, sc scope, ref string) (store.Row[model.AutoScalingGroup], error) {
	var none store.Row[model.AutoScalingGroup]
	invalid := ecs.NewClientException("The specified Auto Scaling group ARN is not valid. Specify a valid Auto Scaling group ARN and try again.")
	name := ref
	if strings.HasPrefix(ref, "arn:") {
		a, err := model.ParseARN(ref)
		_, after, ok := strings.Cut(a.Resource, ":autoScalingGroupName/")
		if err != nil || !ok || a.Service != "autoscaling" || !sc.inScope(ref) {
			return none, invalid
		}
		name = after
	}
	row, err := tables.AutoScalingGroups.Get(ctx, s.store, sc.account, sc.region, name)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, model.ErrName) ||
		err == nil && (row.V.Deleting || name != ref && row.V.ARN != ref) {
		return none, ecs.NewClientException("The specified Auto Scaling group does not exist. Specify a valid Auto Scaling group ARN and try again.")
	}
	return row, err
}

// claimGroup makes the group the provider's, and no other's. A group that is
// another one under the same name was not claimed.
func (s *Service) claimGroup(ctx context.Context, sc scope, tx *store.Txn, p *model.CapacityProvider) error {
	claim, err := tables.ECSCapacityProviderGroups.Get(ctx, s.store, sc.account, sc.region, p.GroupName)
	if errors.Is(err, store.ErrNotFound) {
		tables.ECSCapacityProviderGroups.Create(tx, sc.account, sc.region, p.GroupName, &p.Name)
		return nil
	}
	if err != nil {
		return err
	}
	holder, err := tables.ECSCapacityProviders.Get(ctx, s.store, sc.account, sc.region, *claim.V)
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	case err == nil && holder.V.Status != model.ECSInactive && holder.V.GroupARN == p.GroupARN:
		return ecs.NewClientException("The specified Auto Scaling group ARN is already being used by another capacity provider. Specify a unique Auto Scaling group ARN and try again.")
	}
	tables.ECSCapacityProviderGroups.Replace(tx, claim, &p.Name)
	return nil
}

// setProvider sets what a request asks for: what it leaves out stays.
func setProvider(p *model.CapacityProvider, scaling *ecs.ManagedScaling, protection ecs.ManagedTerminationProtection, draining ecs.ManagedDraining, group *model.AutoScalingGroup) error {
	if scaling != nil {
		set := func(to *int, v *int32) {
			if v != nil {
				*to = int(*v)
			}
		}
		if scaling.Status != "" {
			p.Scaling.Enabled = scaling.Status == ecs.ManagedScalingStatusEnabled
		}
		set(&p.Scaling.TargetCapacity, scaling.TargetCapacity)
		set(&p.Scaling.MinimumStep, scaling.MinimumScalingStepSize)
		set(&p.Scaling.MaximumStep, scaling.MaximumScalingStepSize)
		set(&p.Scaling.WarmupSeconds, scaling.InstanceWarmupPeriod)
	}
	if protection != "" {
		p.TerminationProtection = protection == ecs.ManagedTerminationProtectionEnabled
	}
	if draining != "" {
		p.Draining = draining == ecs.ManagedDrainingEnabled
	}
	const wrong = "The managed termination protection setting for the capacity provider is invalid. To enable managed termination protection for a capacity provider, "
	switch {
	case p.Scaling.MinimumStep > p.Scaling.MaximumStep:
		return ecs.NewClientException("The managed scaling configuration is invalid. The minimumScalingStepSize cannot be greater than the maximumScalingStepSize.")
	case !p.TerminationProtection:
	case !p.Scaling.Enabled:
		return ecs.NewClientException(wrong + "managed scaling must be enabled.")
	case protection != "" && !group.Spec.NewInstancesProtected:
		return ecs.NewClientException(wrong + "the Auto Scaling group must have instance protection from scale in enabled.")
	}
	return nil
}

// UpdateCapacityProvider changes how a provider manages its group.
func (s *Service) UpdateCapacityProvider(ctx context.Context, in *ecs.UpdateCapacityProviderInput) (*ecs.UpdateCapacityProviderOutput, error) {
	sc := scopeOf(ctx)
	switch {
	case in.ManagedInstancesProvider != nil:
		return nil, unsupported("The parameter managedInstancesProvider")
	case in.AutoScalingGroupProvider == nil:
		return nil, ecs.NewInvalidParameterException("Exactly one of autoScalingGroupProvider and managedInstancesProvider must be specified.")
	case in.Cluster != nil:
		return nil, ecs.NewInvalidParameterException("A cluster can only be specified for a capacity provider that uses managedInstancesProvider.")
	}
	if name, _ := sc.providerName(val(in.Name)); model.OnFargate(name) {
		return nil, ecs.NewClientException("The specified capacity provider %s is reserved and cannot be updated.", name)
	}
	return retry(ctx, func() (*ecs.UpdateCapacityProviderOutput, error) {
		row, err := s.provider(ctx, sc, val(in.Name))
		if errors.Is(err, store.ErrNotFound) || err == nil && row.V.Status == model.ECSInactive {
			return nil, errNoProvider()
		}
		if err != nil {
			return nil, err
		}
		if row.V.Deleting() {
			return nil, ecs.NewClientException("The specified capacity provider is being deleted.")
		}
		group, err := tables.AutoScalingGroups.Get(ctx, s.store, sc.account, sc.region, row.V.GroupName)
		if errors.Is(err, store.ErrNotFound) {
			group.V, err = &model.AutoScalingGroup{}, nil
		}
		if err != nil {
			return nil, err
		}
		p := row.Copy()
		a := in.AutoScalingGroupProvider
		if err := setProvider(p, a.ManagedScaling, a.ManagedTerminationProtection, a.ManagedDraining, group.V); err != nil {
			return nil, err
		}
		p.UpdateStatus, p.UpdateStatusReason = model.ProviderUpdated, ""
		tx := store.NewTxn()
		tables.ECSCapacityProviders.Replace(tx, row, p)
		if _, err := tx.Commit(ctx, s.store); err != nil {
			return nil, err
		}
		return &ecs.UpdateCapacityProviderOutput{CapacityProvider: showProvider(p, true)}, nil
	})
}

// DeleteCapacityProvider marks a provider; controller/capacityprovider ends it.
// One that a cluster has stays, and says why.
func (s *Service) DeleteCapacityProvider(ctx context.Context, in *ecs.DeleteCapacityProviderInput) (*ecs.DeleteCapacityProviderOutput, error) {
	sc := scopeOf(ctx)
	if in.Cluster != nil {
		return nil, ecs.NewInvalidParameterException("A cluster can only be specified for a capacity provider that uses managedInstancesProvider.")
	}
	if name, _ := sc.providerName(val(in.CapacityProvider)); model.OnFargate(name) {
		return nil, ecs.NewClientException("The specified capacity provider %s is reserved and cannot be deleted.", name)
	}
	return retry(ctx, func() (*ecs.DeleteCapacityProviderOutput, error) {
		row, err := s.provider(ctx, sc, val(in.CapacityProvider))
		if errors.Is(err, store.ErrNotFound) || err == nil && row.V.Status == model.ECSInactive {
			return nil, errNoProvider()
		}
		if err != nil {
			return nil, err
		}
		if row.V.UpdateStatus == model.ProviderDeleting {
			return &ecs.DeleteCapacityProviderOutput{CapacityProvider: showProvider(row.V, true)}, nil
		}
		clusters, err := tables.ECSClusters.List(ctx, s.store, store.Query{Account: sc.account, Region: sc.region})
		if err != nil {
			return nil, err
		}
		p := row.Copy()
		p.UpdateStatus, p.UpdateStatusReason = model.ProviderDeleting, ""
		for _, c := range clusters {
			if c.V.Status != model.ECSInactive && slices.Contains(c.V.CapacityProviders, p.Name) {
				p.UpdateStatus, p.UpdateStatusReason = model.ProviderDeleteFailed, model.WhyProviderStays(c.V.ClusterName)
				break
			}
		}
		tx := store.NewTxn()
		tables.ECSCapacityProviders.Replace(tx, row, p)
		if _, err := tx.Commit(ctx, s.store); err != nil {
			return nil, fmt.Errorf("delete capacity provider: %w", err)
		}
		return &ecs.DeleteCapacityProviderOutput{CapacityProvider: showProvider(p, true)}, nil
	})
}
