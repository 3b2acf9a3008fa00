package ecsservice

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/deployment"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/fleet"
	"roadstead.dev/internal/store/tables"
)

// write carries out the plan, if nobody has changed what it rests on. more
// tells that tasks are left to start.
func (c *services) write(ctx context.Context, v *view, plan *deployment.Plan, now time.Time) (more bool, err error) {
	tx := store.NewTxn()
	var messages []string
	commit := func() (uint64, error) { return tx.Commit(ctx, c.Store) }
	if plan.Start > 0 {
		more = plan.Start > startsAtOnce
		var choice *fleet.Choice
		messages, choice, err = c.start(ctx, tx, v, plan, min(plan.Start, startsAtOnce), now)
		if err != nil {
			return false, err
		}
		if choice != nil {
			defer choice.Drop()
			more = more && len(choice.Refused) == 0
			commit = func() (uint64, error) { return choice.Commit(ctx, tx) }
		}
	} else if plan.State.Unplaced != "" {
		plan.Placed()
	}
	messages = append(messages, plan.Events...)
	v.stop(tx, plan, now)

	svc := v.service.Copy()
	v.apply(svc, plan, now)
	switch {
	case !reflect.DeepEqual(svc, v.service.V):
		tables.ECSServices.Replace(tx, v.service, svc)
	default:
		tables.ECSServices.Check(tx, v.service)
	}
	key := v.service.Key
	if plan.Drained {
		if v.state.Modified != 0 {
			States.Delete(tx, v.state)
		}
	} else if v.state.Modified == 0 || !reflect.DeepEqual(normal(*v.state.V), normal(plan.State)) {
		put(tx, States, v.state, key, &plan.State)
	}
	if len(messages) > 0 {
		events := &model.ServiceEvents{}
		if v.events.Modified != 0 {
			events = v.events.Copy()
		}
		for _, m := range messages {
			events.Add(model.ServiceEvent{ID: id.UUID(), CreatedAt: now, Message: m})
		}
		put(tx, tables.ECSServiceEvents, v.events, key, events)
	}
	if tx.Empty() {
		return more, nil
	}
	_, err = commit()
	return more, err
}

// put adds the first or the next write of a record that may not exist yet.
func put[T any](tx *store.Txn, t *store.Table[T], row store.Row[T], key store.Key, v *T) {
	if row.Modified == 0 {
		t.Create(tx, key.Account, key.Region, key.ID, v)
		return
	}
	t.Replace(tx, row, v)
}

// normal makes states comparable: no tasks and an empty list of them are one.
func normal(s deployment.State) deployment.State {
	if len(s.Tasks) == 0 {
		s.Tasks = nil
	}
	return s
}

// stop adds the end of the tasks that the plan stops. That there are enough
// without them was seen from the others, so none of those may have changed.
func (v *view) stop(tx *store.Txn, plan *deployment.Plan, now time.Time) {
	if len(plan.Stops) == 0 {
		return
	}
	reasons := make(map[string]string, len(plan.Stops))
	for _, s := range plan.Stops {
		reasons[s.Task] = s.Reason
	}
	for _, row := range v.tasks {
		reason, ok := reasons[row.V.TaskID]
		if !ok {
			if row.V.Desired.Status != model.TaskStopped {
				tables.ECSTasks.Check(tx, row)
			}
			continue
		}
		t := row.Copy()
		t.Stop(model.StopServiceSchedulerInitiated, reason, now)
		tables.ECSTasks.Replace(tx, row, t)
	}
}

// apply writes the plan's results into svc.
func (v *view) apply(svc *model.Service, plan *deployment.Plan, now time.Time) {
	old := map[string]model.Deployment{}
	for _, d := range svc.Deployments {
		old[d.ID] = d
	}
	svc.Deployments = nil
	for _, p := range plan.Deployments {
		d := old[p.ID]
		before := d
		d.Status, d.RolloutState, d.RolloutStateReason = p.Status, p.RolloutState, p.RolloutStateReason
		d.DesiredCount, d.PendingCount, d.RunningCount, d.FailedTasks = p.Desired, p.Pending, p.Running, p.Failed
		if !reflect.DeepEqual(before, d) {
			d.UpdatedAt = now
		}
		if d.Status == model.DeploymentPrimary {
			svc.Deployments = append([]model.Deployment{d}, svc.Deployments...)
		} else {
			svc.Deployments = append(svc.Deployments, d)
		}
	}
	svc.Counts.RunningCount, svc.Counts.PendingCount = plan.Running, plan.Pending
	svc.Counts.SteadySince = plan.State.SteadyAt
	if plan.RollBack != "" {
		goBack(&svc.Spec, old[plan.RollBack])
	}
	if plan.Drained {
		svc.Status, svc.Deployments = model.ECSInactive, nil
	}
}

// goBack makes the service's spec that of the deployment it rolls back to.
func goBack(s *model.ServiceSpec, d model.Deployment) {
	s.TaskDefinition = d.TaskDefinition
	s.LaunchType, s.CapacityProviderStrategy = d.LaunchType, d.CapacityProviderStrategy
	s.PlatformVersion, s.PlatformFamily = d.PlatformVersion, d.PlatformFamily
	s.NetworkConfiguration = d.NetworkConfiguration
	s.LoadBalancers, s.ServiceRegistries = d.LoadBalancers, d.ServiceRegistries
	s.EnableExecuteCommand = d.EnableExecuteCommand
}

// start adds n new tasks of the primary deployment and returns the events that
// tell of them. With tasks on container instances it also returns the choice of
// those, to be committed with tx.
func (c *services) start(ctx context.Context, tx *store.Txn, v *view, plan *deployment.Plan, n int, now time.Time) ([]string, *fleet.Choice, error) {
	svc, key := v.service.V, v.service.Key
	primary := primaryOf(svc, plan)
	if primary == nil {
		return nil, nil, nil
	}
	cluster, err := tables.ECSClusters.Get(ctx, c.Store, key.Account, key.Region, svc.ClusterName)
	if err != nil {
		return nil, nil, fmt.Errorf("cluster of the service: %w", err)
	}
	if cluster.V.Status != model.ECSActive {
		return nil, nil, fmt.Errorf("cluster %s is %s: %w", svc.ClusterName, cluster.V.Status, store.ErrConflict)
	}
	def, err := c.definition(ctx, key, primary)
	if errors.Is(err, store.ErrNotFound) {
		reason := ". Reason: The task definition " + primary.TaskDefinition + " does not exist."
		if plan.State.Placement == reason {
			return nil, nil, nil
		}
		plan.State.Placement = reason
		return []string{fmt.Sprintf("(service %s) was unable to place a task%s", svc.ServiceName, reason)}, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	places, err := c.place(ctx, v, primary, n)
	if err != nil {
		return nil, nil, err
	}
	tasks := make([]*model.Task, len(places))
	for i, p := range places {
		tasks[i] = model.NewTask(model.NewTaskParams{
			Account: key.Account, Region: key.Region, Cluster: cluster.V, Definition: def.V,
			TaskID: id.Hex(32), NewID: id.UUID, Now: now,
			LaunchType: p.launchType, CapacityProviderName: p.provider, PlatformVersion: primary.PlatformVersion,
			Network: awsvpc(primary), SubnetID: p.subnet, AvailabilityZone: p.zone,
			EnableExecuteCommand: primary.EnableExecuteCommand,
			Tags:                 tags(svc, def.V),
			PlacementConstraints: slices.Concat(def.V.PlacementConstraints, svc.Spec.PlacementConstraints), PlacementStrategy: svc.Spec.PlacementStrategy,
			Service: svc, Deployment: primary,
		})
	}
	var messages []string
	var choice *fleet.Choice
	if onInstances(primary) {
		find := c.placeOnInstances
		if len(primary.CapacityProviderStrategy) > 0 {
			find = c.placeOnProviders
		}
		if tasks, choice, messages, err = find(ctx, v, plan, def.V, primary, tasks, now); err != nil {
			return nil, nil, err
		}
	}
	if len(tasks) == 0 {
		return messages, choice, nil
	}
	// No task is added to a cluster that goes.
	tables.ECSClusters.Check(tx, cluster)
	ids := make([]string, len(tasks))
	for i, t := range tasks {
		ids[i] = t.TaskID
		tables.ECSTasks.Create(tx, key.Account, key.Region, svc.ClusterName+"/"+t.TaskID, t)
		plan.Started(t.TaskID, primary.ID)
	}
	started := deployment.StartedEvent(svc.ServiceName, ids, min(plan.Replaced, len(ids)))
	return append([]string{started}, messages...), choice, nil
}

// primaryOf is the deployment that the plan makes the primary one, nil when it
// has none.
func primaryOf(svc *model.Service, plan *deployment.Plan) *model.Deployment {
	for _, p := range plan.Deployments {
		for i := range svc.Deployments {
			if p.Status == deployment.Primary && svc.Deployments[i].ID == p.ID {
				return &svc.Deployments[i]
			}
		}
	}
	return nil
}

func (c *services) definition(ctx context.Context, key store.Key, d *model.Deployment) (store.Row[model.TaskDefinition], error) {
	defID, _ := model.TaskDefinitionIDFromARN(d.TaskDefinition)
	return tables.ECSTaskDefinitions.Get(ctx, c.Store, key.Account, key.Region, defID)
}

func awsvpc(d *model.Deployment) *model.AwsvpcConfiguration {
	if d.NetworkConfiguration == nil {
		return nil
	}
	return d.NetworkConfiguration.AwsvpcConfiguration
}

// tags are those of a task of the service.
func tags(svc *model.Service, def *model.TaskDefinition) model.Tags {
	out := model.Tags{}
	switch svc.Spec.PropagateTags {
	case "SERVICE":
		maps.Copy(out, svc.Tags)
	case "TASK_DEFINITION":
		maps.Copy(out, def.Tags)
	}
	if svc.Spec.EnableECSManagedTags {
		out["aws:ecs:clusterName"] = svc.ClusterName
		out["aws:ecs:serviceName"] = svc.ServiceName
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
