package ecs

import (
	"context"
	"errors"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// DeregisterContainerInstance takes an instance out of its cluster. With force
// its tasks are given up: they are STOPPED for ECS, whatever they do on the
// instance.
func (s *Service) DeregisterContainerInstance(ctx context.Context, in *ecs.DeregisterContainerInstanceInput) (*ecs.DeregisterContainerInstanceOutput, error) {
	sc := scopeOf(ctx)
	cluster, err := s.activeCluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	ref := val(in.ContainerInstance)
	notFound := ecs.NewInvalidParameterException("Referenced container instance %s not found.", ref)
	row, _, err := s.containerInstance(ctx, sc, cluster.V.ClusterName, ref)
	if errors.Is(err, store.ErrNotFound) || err == nil && row.V.Status == model.ContainerInstanceInactive {
		return nil, notFound
	}
	if err != nil {
		return nil, err
	}
	force := val(in.Force)
	row, err = retry(ctx, func() (store.Row[model.ContainerInstance], error) {
		now, err := tables.ECSContainerInstances.Get(ctx, s.store, sc.account, sc.region, row.Key.ID)
		if errors.Is(err, store.ErrNotFound) || err == nil && now.V.Status == model.ContainerInstanceInactive {
			return now, notFound
		}
		if err != nil {
			return now, err
		}
		// Who places a task there makes the claim anew: so none comes in
		// between the look at the tasks and the end.
		claim, err := tables.ECSInstanceClaims.Get(ctx, s.store, sc.account, sc.region, row.Key.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return now, err
		}
		tasks, terr := s.tasksOn(ctx, sc, now.V)
		if terr != nil {
			return now, terr
		}
		if len(tasks) > 0 && !force {
			return now, ecs.NewInvalidParameterException("Found running tasks on the instance.")
		}
		i := *now.V
		i.Deregister(sc.now)
		tx := store.NewTxn()
		tables.ECSContainerInstances.Replace(tx, now, &i)
		if err == nil {
			tables.ECSInstanceClaims.Replace(tx, claim, &model.InstanceClaim{Count: claim.V.Count + 1})
		} else {
			tables.ECSInstanceClaims.Create(tx, sc.account, sc.region, row.Key.ID, &model.InstanceClaim{Count: 1})
		}
		if _, err := tx.Commit(ctx, s.store); err != nil {
			return now, err
		}
		now.V = &i
		return now, nil
	})
	if err != nil {
		return nil, err
	}
	if err := s.abandon(ctx, sc, row.V); err != nil {
		return nil, err
	}
	shown, err := s.showContainerInstance(ctx, sc, row.V, []ecs.ContainerInstanceField{ecs.ContainerInstanceFieldTags})
	return &ecs.DeregisterContainerInstanceOutput{ContainerInstance: shown}, err
}

// abandon gives up the tasks of an instance that is gone.
func (s *Service) abandon(ctx context.Context, sc scope, i *model.ContainerInstance) error {
	if s.reports == nil {
		return nil
	}
	tasks, err := s.tasksOn(ctx, sc, i)
	if err != nil {
		return err
	}
	for _, r := range tasks {
		err := s.reports.Submit(ctx, i.ID, acs.TaskStateChange{
			Task: r.V.TaskARN, Status: acs.StatusStopped, Reason: "Container instance deregistration forced by user.",
		})
		if err != nil && !errors.Is(err, acs.ErrUnknownTask) {
			return err
		}
	}
	return nil
}
