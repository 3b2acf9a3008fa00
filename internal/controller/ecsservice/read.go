package ecsservice

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/plan/deployment"
	"roadstead.dev/internal/plan/lifecycle"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// view is all that is read about a service.
type view struct {
	service store.Row[model.Service]
	// tasks are those that live, and those that stopped since the last plan.
	tasks []store.Row[model.Task]
	// targets are each task's registrations, by task id.
	targets map[string][]deployment.Target
	// checked holds the ARNs of the task definitions in which an essential
	// container has a health check.
	checked map[string]bool
	// state and events have Modified 0 when there is no record yet.
	state  store.Row[deployment.State]
	events store.Row[model.ServiceEvents]
	// zones are those to balance the tasks over.
	zones []string
	// leaving are the container instances that drain; nodes are those that a
	// DAEMON service is to be on.
	leaving map[string]bool
	nodes   []string
}

// read reads the service under key; nil when there is nothing to do for it.
func (c *services) read(ctx context.Context, key controller.Key) (*view, error) {
	v := &view{targets: map[string][]deployment.Target{}, checked: map[string]bool{}}
	var err error
	v.service, err = tables.ECSServices.Get(ctx, c.Store, key.Account, key.Region, key.ID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if v.service.V.Status == model.ECSInactive || !rolling(&v.service.V.Spec) {
		return nil, nil
	}
	v.tasks, err = tables.ECSTasks.List(ctx, c.Store, store.Query{
		Account: key.Account, Region: key.Region, Index: store.Index{Name: tables.ByService, Value: key.ID},
	})
	if err != nil {
		return nil, err
	}
	for _, t := range v.tasks {
		if v.targets[t.V.TaskID], err = c.readTargets(ctx, t); err != nil {
			return nil, err
		}
		if err = c.readChecks(ctx, t, v.checked); err != nil {
			return nil, err
		}
	}
	if v.state, err = States.Get(ctx, c.Store, key.Account, key.Region, key.ID); err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if err := c.readStopped(ctx, v); err != nil {
		return nil, err
	}
	if err = c.readInstances(ctx, key, v); err != nil {
		return nil, err
	}
	if v.zones, err = c.zones(ctx, v.service); err != nil {
		return nil, err
	}
	v.events, err = tables.ECSServiceEvents.Get(ctx, c.Store, key.Account, key.Region, key.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	return v, nil
}

// readStopped adds the tasks that have stopped since they were last accounted
// for; what became of those that stopped before is known.
func (c *services) readStopped(ctx context.Context, v *view) error {
	if v.state.Modified == 0 {
		return nil
	}
	live := make(map[string]bool, len(v.tasks))
	for _, t := range v.tasks {
		live[t.V.TaskID] = true
	}
	k := v.service.Key
	for id := range v.state.V.Tasks {
		if live[id] {
			continue
		}
		t, err := tables.ECSTasks.Get(ctx, c.Store, k.Account, k.Region, v.service.V.ClusterName+"/"+id)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		v.tasks = append(v.tasks, t)
	}
	slices.SortFunc(v.tasks, func(a, b store.Row[model.Task]) int { return strings.Compare(a.Key.ID, b.Key.ID) })
	return nil
}

// rolling tells whether the service's deployments are this controller's.
func rolling(s *model.ServiceSpec) bool {
	return s.DeploymentController == "" || s.DeploymentController == "ECS"
}

// readTargets reads how the task's targets fare. A target group that is gone
// has no say.
func (c *services) readTargets(ctx context.Context, t store.Row[model.Task]) ([]deployment.Target, error) {
	var out []deployment.Target
	for _, at := range t.V.Targets() {
		account, region, group := t.Key.Account, t.Key.Region, model.TargetGroupID(at.GroupARN)
		g, err := tables.TargetGroups.Get(ctx, c.Store, account, region, group)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		target := deployment.Target{GroupARN: at.GroupARN, Port: at.ContainerPort}
		if !at.Known() {
			out = append(out, target)
			continue
		}
		id := model.TargetKey(group, at.ID, at.Port)
		reg, err := tables.Targets.Get(ctx, c.Store, account, region, id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if err == nil {
			target.Registered = true
			health, err := tables.TargetsHealth.Get(ctx, c.Store, account, region, id)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return nil, err
			}
			if err == nil {
				target.State, target.Reason = targetState(health.V)
			}
			if reg.V.DeregisteringAt != nil {
				target.State = deployment.TargetDraining
			}
		} else if target.Refused, err = c.refused(ctx, t, g.V, at.ID); err != nil {
			return nil, err
		}
		out = append(out, target)
	}
	return out, nil
}

// refused tells why a target group cannot have the task's instance.
func (c *services) refused(ctx context.Context, t store.Row[model.Task], g *model.TargetGroup, id string) (string, error) {
	if id != t.V.Status.EC2InstanceID {
		return "", nil
	}
	host, err := tables.Instances.Get(ctx, c.Store, t.Key.Account, t.Key.Region, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	return balance.Refuses(g, host.V), nil
}

func targetState(h *model.TargetHealth) (deployment.TargetState, string) {
	switch h.State {
	case model.TargetHealthHealthy:
		return deployment.TargetHealthy, ""
	case model.TargetHealthUnused:
		if h.Reason == model.ReasonInvalidState || h.Description == model.DescriptionZoneNotEnabled {
			return deployment.TargetUnhealthy, h.Description // nothing will ever be sent there
		}
		return deployment.TargetHealthy, ""
	case model.TargetHealthUnhealthy, model.TargetHealthUnhealthyDraining:
		return deployment.TargetUnhealthy, h.Description
	case model.TargetHealthDraining:
		return deployment.TargetDraining, ""
	}
	return deployment.TargetInitial, ""
}

// readChecks notes whether the task's definition has health checks.
func (c *services) readChecks(ctx context.Context, t store.Row[model.Task], checked map[string]bool) error {
	arn := t.V.Spec.TaskDefinitionARN
	if _, known := checked[arn]; known {
		return nil
	}
	checked[arn] = false
	id, ok := model.TaskDefinitionIDFromARN(arn)
	if !ok {
		return nil
	}
	def, err := tables.ECSTaskDefinitions.Get(ctx, c.Store, t.Key.Account, t.Key.Region, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for i := range def.V.ContainerDefinitions {
		d := &def.V.ContainerDefinitions[i]
		if d.IsEssential() && d.HealthCheck != nil && (len(d.HealthCheck.Command) == 0 || d.HealthCheck.Command[0] != "NONE") {
			checked[arn] = true
		}
	}
	return nil
}

// snapshot is the view as the plan takes it.
func (v *view) snapshot(healthyAfter time.Duration) deployment.Snapshot {
	s := v.service.V
	dc := s.Spec.DeploymentConfiguration
	out := deployment.Snapshot{Service: deployment.Service{
		Name: s.ServiceName, Desired: s.Spec.DesiredCount,
		MinimumHealthyPercent: valueOr(dc.MinimumHealthyPercent, 100),
		MaximumPercent:        valueOr(dc.MaximumPercent, 200),
		Zones:                 v.zones,
		Draining:              s.Status == model.ECSDraining,
		HealthyAfter:          healthyAfter,
		Daemon:                daemon(&s.Spec), Nodes: v.nodes,
	}}
	out.Service.HealthCheckGracePeriod = time.Duration(valueOr(s.Spec.HealthCheckGracePeriodSeconds, 0)) * time.Second
	if cb := dc.DeploymentCircuitBreaker; cb != nil {
		out.Service.CircuitBreaker = deployment.CircuitBreaker{Enable: cb.Enable, Rollback: cb.Rollback}
	}
	for _, d := range s.Deployments {
		out.Deployments = append(out.Deployments, deployment.Deployment{
			ID: d.ID, Status: d.Status, RolloutState: d.RolloutState, RolloutStateReason: d.RolloutStateReason, Failed: d.FailedTasks,
		})
	}
	for _, t := range v.tasks {
		out.Tasks = append(out.Tasks, v.task(t.V))
	}
	if v.state.Modified != 0 {
		out.State = *v.state.V
	}
	return out
}

func (v *view) task(t *model.Task) deployment.Task {
	out := deployment.Task{
		ID: t.TaskID, Deployment: t.Spec.DeploymentID, Zone: t.Spec.AvailabilityZone,
		Wanted: t.Desired.Status != model.TaskStopped, CreatedAt: t.Spec.CreatedAt, StartedAt: t.Status.StartedAt,
		Targets: v.targets[t.TaskID], Node: t.Status.Node, Leaving: v.leaving[t.Status.Node],
		ByUser: t.Desired.StopCode == model.StopUserInitiated || t.Desired.StopCode == model.StopTerminationNotice || t.Desired.StopCode == model.StopSpotInterruption,
	}
	switch rank := lifecycle.Rank(t.Status.LastStatus); {
	case rank < lifecycle.Rank(model.TaskRunning):
		out.Phase = deployment.Pending
	case rank == lifecycle.Rank(model.TaskRunning):
		out.Phase = deployment.Running
	case rank < lifecycle.Rank(model.TaskStopped):
		out.Phase = deployment.Stopping
	default:
		out.Phase = deployment.Stopped
	}
	if v.checked[t.Spec.TaskDefinitionARN] {
		out.Health = deployment.Unknown
		switch t.Observed.HealthStatus {
		case model.ECSHealthHealthy:
			out.Health = deployment.Healthy
		case model.ECSHealthUnhealthy:
			out.Health = deployment.Unhealthy
		}
	}
	if t.Protection != nil && t.Protection.Enabled {
		out.ProtectedUntil = t.Protection.ExpiresAt
	}
	if t.Desired.StopCode == model.StopTaskFailedToStart {
		out.StartFailure = t.Desired.StoppedReason
	}
	return out
}

func valueOr(p *int, or int) int {
	if p == nil {
		return or
	}
	return *p
}
