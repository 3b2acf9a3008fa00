package ecs

import (
	"context"
	"errors"
	"time"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Protection lasts two hours unless the call says otherwise, and at most two
// days.
const (
	defaultProtection = 120
	maxProtection     = 2880
)

// UpdateTaskProtection protects a service's tasks from scale-in, or ends that.
func (s *Service) UpdateTaskProtection(ctx context.Context, in *ecs.UpdateTaskProtectionInput) (*ecs.UpdateTaskProtectionOutput, error) {
	sc := scopeOf(ctx)
	minutes := int32(defaultProtection)
	if in.ExpiresInMinutes != nil {
		minutes = *in.ExpiresInMinutes
	}
	switch n := len(in.Tasks); {
	case n == 0 || n > 10:
		return nil, ecs.NewInvalidParameterException("Tasks must have between 1 and 10 elements.")
	case minutes < 1 || minutes > maxProtection:
		return nil, ecs.NewInvalidParameterException("expiresInMinutes must be between 1 and %d.", maxProtection)
	}
	cluster, err := s.activeCluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	out := &ecs.UpdateTaskProtectionOutput{ProtectedTasks: []ecs.ProtectedTask{}, Failures: []ecs.Failure{}}
	notValid := errors.New("not a running task of a service")
	for _, ref := range in.Tasks {
		recordID, err := child("task", cluster.V.ClusterName, ref)
		if err != nil {
			return nil, err
		}
		row, err := tables.ECSTasks.Update(ctx, s.store, sc.account, sc.region, recordID, func(t *model.Task) error {
			if t.Spec.ServiceName == "" || t.Desired.Status == model.TaskStopped {
				return notValid
			}
			t.Protection = nil
			if val(in.ProtectionEnabled) {
				t.Protection = &model.TaskProtection{Enabled: true, ExpiresAt: sc.now.Add(time.Duration(minutes) * time.Minute)}
			}
			return nil
		})
		switch {
		case errors.Is(err, store.ErrNotFound):
			out.Failures = append(out.Failures, missing(ref))
		case errors.Is(err, notValid):
			out.Failures = append(out.Failures, ecs.Failure{
				Arn: new(row.V.TaskARN), Reason: new("TASK_NOT_VALID"),
				Detail: new("Task protection is only supported for running tasks that are part of a service."),
			})
		case err != nil:
			return nil, err
		default:
			out.ProtectedTasks = append(out.ProtectedTasks, showProtection(row.V, sc.now))
		}
	}
	return out, nil
}

// GetTaskProtection tells which tasks are protected.
func (s *Service) GetTaskProtection(ctx context.Context, in *ecs.GetTaskProtectionInput) (*ecs.GetTaskProtectionOutput, error) {
	sc := scopeOf(ctx)
	if n := len(in.Tasks); n > 100 {
		return nil, ecs.NewInvalidParameterException("taskIds can have at most 100 items.")
	}
	cluster, err := s.activeCluster(ctx, sc, in.Cluster)
	if err != nil {
		return nil, err
	}
	out := &ecs.GetTaskProtectionOutput{ProtectedTasks: []ecs.ProtectedTask{}, Failures: []ecs.Failure{}}
	if len(in.Tasks) == 0 {
		rows, err := tables.ECSTasks.List(ctx, s.store, store.Query{Account: sc.account, Region: sc.region, Index: store.Index{Name: tables.ByCluster, Value: cluster.V.ClusterName}})
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if r.V.Protected(sc.now) {
				out.ProtectedTasks = append(out.ProtectedTasks, showProtection(r.V, sc.now))
			}
		}
		return out, nil
	}
	for _, ref := range in.Tasks {
		row, arn, err := s.task(ctx, sc, cluster.V.ClusterName, ref)
		if errors.Is(err, store.ErrNotFound) {
			out.Failures = append(out.Failures, missing(arn))
			continue
		}
		if err != nil {
			return nil, err
		}
		out.ProtectedTasks = append(out.ProtectedTasks, showProtection(row.V, sc.now))
	}
	return out, nil
}

func showProtection(t *model.Task, now time.Time) ecs.ProtectedTask {
	p := ecs.ProtectedTask{TaskArn: new(t.TaskARN), ProtectionEnabled: new(t.Protected(now))}
	if t.Protected(now) {
		p.ExpirationDate = new(t.Protection.ExpiresAt)
	}
	return p
}
