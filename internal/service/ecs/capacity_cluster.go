package ecs

import (
	"context"
	"errors"
	"slices"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// checkCapacity checks the providers of a cluster with its default strategy,
// and makes tx depend on the providers: none may be deleted meanwhile.
func (s *Service) checkCapacity(ctx context.Context, sc scope, tx *store.Txn, providers []string, strategy []model.CapacityProviderStrategyItem) error {
	if len(providers) > maxProviders {
		return ecs.NewInvalidParameterException("capacityProviders can have at most %d items.", maxProviders)
	}
	for i, p := range providers {
		if slices.Contains(providers[:i], p) {
			return ecs.NewInvalidParameterException("The capacity providers cannot contain duplicates. Remove the duplicate capacity provider %s and try again.", p)
		}
		if model.OnFargate(p) {
			continue
		}
		row, err := s.provider(ctx, sc, p)
		switch {
		case errors.Is(err, store.ErrNotFound) || err == nil && (row.V.Status == model.ECSInactive || row.V.Name != p):
			return ecs.NewInvalidParameterException("The specified capacity provider '%s' was not found. Specify a valid name and try again.", p)
		case err != nil:
			return err
		case row.V.Deleting():
			return ecs.NewInvalidParameterException("The specified capacity provider '%s' is not in an ACTIVE state. Specify a valid capacity provider and try again.", p)
		}
		tables.ECSCapacityProviders.Check(tx, row)
	}
	if len(strategy) == 0 {
		return nil
	}
	return checkStrategy(strategy, providers)
}

// PutClusterCapacityProviders sets the providers and the default strategy. The
// attachments follow: controller/capacityprovider makes them.
func (s *Service) PutClusterCapacityProviders(ctx context.Context, in *ecs.PutClusterCapacityProvidersInput) (*ecs.PutClusterCapacityProvidersOutput, error) {
	sc := scopeOf(ctx)
	strategy := convertedList[model.CapacityProviderStrategyItem](in.DefaultCapacityProviderStrategy)
	c, err := retry(ctx, func() (*model.Cluster, error) {
		row, err := s.activeCluster(ctx, sc, in.Cluster)
		if err != nil {
			return nil, err
		}
		if row.V.AttachmentsStatus == model.AttachmentsUpdating {
			return nil, ecs.NewUpdateInProgressException("The specified cluster is in a busy state. Cluster attachments must be in UPDATE_COMPLETE or UPDATE_FAILED state before they can be updated. Wait and try again.")
		}
		tx := store.NewTxn()
		if err := s.checkCapacity(ctx, sc, tx, in.CapacityProviders, strategy); err != nil {
			return nil, err
		}
		if err := s.providersUnused(ctx, sc, row.V.ClusterName, in.CapacityProviders); err != nil {
			return nil, err
		}
		c := row.Copy()
		c.CapacityProviders, c.DefaultCapacityProviderStrategy = in.CapacityProviders, strategy
		c.AttachmentsStatus = attachmentsStatus(row.V.CapacityProviders, c.CapacityProviders)
		tables.ECSClusters.Replace(tx, row, c)
		_, err = tx.Commit(ctx, s.store)
		return c, err
	})
	if err != nil {
		return nil, err
	}
	shown, err := s.showCluster(ctx, sc, c, append([]ecs.ClusterField{ecs.ClusterFieldAttachments}, allClusterFields...))
	return &ecs.PutClusterCapacityProvidersOutput{Cluster: shown}, err
}

// attachmentsStatus is a cluster's after a change of its providers: Fargate's
// need no attachments.
func attachmentsStatus(old, now []string) string {
	own := func(p string) bool { return !model.OnFargate(p) }
	if slices.ContainsFunc(old, own) || slices.ContainsFunc(now, own) {
		return model.AttachmentsUpdating
	}
	return model.AttachmentsUpdated
}

func showAttachments(c *model.Cluster, out *ecs.Cluster) {
	out.Attachments = []ecs.Attachment{}
	for _, a := range c.Attachments {
		out.Attachments = append(out.Attachments, ecs.Attachment{
			Id: new(a.ID), Type: new(a.Type), Status: new(a.Status), Details: convertedList[ecs.KeyValuePair](a.Details),
		})
	}
	if c.AttachmentsStatus != "" {
		out.AttachmentsStatus = new(c.AttachmentsStatus)
	}
}

// providersUnused refuses to take away a provider that a service or a task of
// the cluster uses.
func (s *Service) providersUnused(ctx context.Context, sc scope, cluster string, left []string) error {
	inUse := func(p string) bool { return p != "" && !slices.Contains(left, p) }
	services, err := tables.ECSServices.List(ctx, s.store, store.Query{Account: sc.account, Region: sc.region, Prefix: cluster + "/"})
	if err != nil {
		return err
	}
	for _, r := range services {
		for _, i := range r.V.Spec.CapacityProviderStrategy {
			if r.V.Status != model.ECSInactive && inUse(i.CapacityProvider) {
				return ecs.NewResourceInUseException("The specified capacity provider is in use and cannot be removed.")
			}
		}
	}
	tasks, err := tables.ECSTasks.List(ctx, s.store, store.Query{
		Account: sc.account, Region: sc.region, Prefix: cluster + "/", Index: store.Index{Name: tables.ByCluster, Value: cluster},
	})
	if err != nil {
		return err
	}
	for _, r := range tasks {
		if inUse(r.V.Spec.CapacityProviderName) {
			return ecs.NewResourceInUseException("The specified capacity provider is in use and cannot be removed.")
		}
	}
	return nil
}

// providerOf is the cluster's capacity provider that an EC2 instance belongs to
// by its Auto Scaling group, "" for none.
func (s *Service) providerOf(ctx context.Context, sc scope, c *model.Cluster, i *model.Instance) (string, error) {
	if i == nil || i.Spec.AutoScalingGroup == "" {
		return "", nil
	}
	claim, err := tables.ECSCapacityProviderGroups.Get(ctx, s.store, sc.account, sc.region, i.Spec.AutoScalingGroup)
	if errors.Is(err, store.ErrNotFound) || err == nil && !slices.Contains(c.CapacityProviders, *claim.V) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return *claim.V, nil
}
