package ecs

import (
	"context"
	"errors"
	"strings"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/placement"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/fleet"
	"roadstead.dev/internal/store/tables"
)

// maxStartInstances is how many instances one StartTask may name.
const maxStartInstances = 10

// StartTask puts a task on each of the instances that the caller has chosen.
func (s *Service) StartTask(ctx context.Context, in *ecs.StartTaskInput) (*ecs.StartTaskOutput, error) {
	sc := scopeOf(ctx)
	switch n := len(in.ContainerInstances); {
	case n == 0:
		return nil, ecs.NewInvalidParameterException("Container instance cannot be empty.")
	case n > maxStartInstances:
		return nil, ecs.NewInvalidParameterException("containerInstances can have at most %d items.", maxStartInstances)
	}
	run := &ecs.RunTaskInput{
		Cluster: in.Cluster, TaskDefinition: in.TaskDefinition, LaunchType: ecs.LaunchTypeEc2,
		NetworkConfiguration: in.NetworkConfiguration, Overrides: in.Overrides,
		Group: in.Group, StartedBy: in.StartedBy, Tags: in.Tags, PropagateTags: in.PropagateTags,
		EnableECSManagedTags: in.EnableECSManagedTags, EnableExecuteCommand: in.EnableExecuteCommand, VolumeConfigurations: in.VolumeConfigurations,
	}
	if err := checkRun(run); err != nil {
		return nil, err
	}
	out := &ecs.StartTaskOutput{Tasks: []ecs.Task{}, Failures: []ecs.Failure{}}
	for _, ref := range in.ContainerInstances {
		t, failure, err := s.startOn(ctx, sc, run, ref)
		switch {
		case err != nil:
			return nil, err
		case failure != nil:
			out.Failures = append(out.Failures, *failure)
		default:
			out.Tasks = append(out.Tasks, showTask(t, true))
		}
	}
	return out, nil
}

// startOn makes a task on the instance that ref names, or tells why it cannot.
func (s *Service) startOn(ctx context.Context, sc scope, in *ecs.RunTaskInput, ref string) (*model.Task, *ecs.Failure, error) {
	type result struct {
		task    *model.Task
		failure *ecs.Failure
	}
	r, err := retry(ctx, func() (none result, err error) {
		cluster, err := s.activeCluster(ctx, sc, in.Cluster)
		if err != nil {
			return none, err
		}
		def, err := s.runnableTaskDefinition(ctx, sc, val(in.TaskDefinition))
		if err != nil {
			return none, err
		}
		recordID, err := child("container-instance", cluster.V.ClusterName, ref)
		if err != nil {
			return none, err
		}
		row, there := tables.ECSContainerInstances.Get(ctx, s.store, sc.account, sc.region, recordID)
		run := *in
		if there == nil && row.V.External {
			run.LaunchType = ecs.LaunchTypeExternal
		}
		l, params, err := s.taskParams(ctx, sc, cluster.V, def.V, &run)
		if err != nil {
			return none, err
		}
		instance := strings.TrimPrefix(recordID, cluster.V.ClusterName+"/")
		arn := ref
		if sc.inScope(ref) {
			arn = model.ECSContainerInstanceARN(sc.region, sc.account, cluster.V.ClusterName, instance)
		}
		fail := func(why placement.Reason) (result, error) {
			return result{failure: &ecs.Failure{Arn: &arn, Reason: new(string(why))}}, nil
		}
		switch {
		case errors.Is(there, store.ErrNotFound) || there == nil && !sc.inScope(ref):
			return fail("MISSING")
		case there != nil:
			return none, there
		case s.placer == nil || row.V.Status == model.ContainerInstanceInactive:
			return fail(placement.Inactive)
		}
		t := model.NewTask(params(0))
		request, err := fleet.Compile(t, def.V, nil, l.places())
		if err != nil {
			return none, ecs.NewInvalidParameterException("%s.", capital(err.Error()))
		}
		if err := s.placer.Ready(ctx); err != nil {
			return none, err
		}
		if err := s.placer.CatchUp(ctx, sc.account, sc.region, cluster.V.ClusterName); err != nil {
			return none, err
		}
		choice := s.placer.ChooseOn(sc.account, sc.region, cluster.V.ClusterName, instance, request, t)
		defer choice.Drop()
		if len(choice.Placed) == 0 {
			return fail(choice.Refused[0].Reason)
		}
		settle(choice, l)
		tx := store.NewTxn()
		tables.ECSClusters.Check(tx, cluster)
		tables.ECSTaskDefinitions.Check(tx, def)
		tables.ECSTasks.Create(tx, sc.account, sc.region, t.ClusterName+"/"+t.TaskID, t)
		_, err = choice.Commit(ctx, tx)
		return result{task: t}, err
	})
	return r.task, r.failure, err
}
