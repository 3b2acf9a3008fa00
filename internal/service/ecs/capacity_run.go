package ecs

import (
	"context"
	"errors"
	"slices"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/fleet"
	"roadstead.dev/internal/store/tables"
)

// placed is what became of the tasks of a RunTask on container instances.
type placed struct {
	// tasks are those to be made: they have an instance, or wait for one of
	// their capacity provider's.
	tasks    []*model.Task
	failures []ecs.Failure
	// choice keeps the instances' room; nil when no task has one.
	choice *fleet.Choice
}

func (p *placed) drop() {
	if p.choice != nil {
		p.choice.Drop()
	}
}

// commit commits tx with the choice of instances.
func (p *placed) commit(ctx context.Context, s store.Store, tx *store.Txn) error {
	if p.choice == nil {
		_, err := tx.Commit(ctx, s)
		return err
	}
	_, err := p.choice.Commit(ctx, tx)
	return err
}

// place finds container instances for the tasks, which are alike but for their
// capacity providers. A task that finds no room waits, PROVISIONING, where its
// provider scales its group; else it is a failure.
func (s *Service) place(ctx context.Context, sc scope, cluster store.Row[model.Cluster], d *model.TaskDefinition, l *launch, tasks []*model.Task) (_ *placed, err error) {
	out := &placed{failures: []ecs.Failure{}}
	defer func() {
		if err != nil {
			out.drop()
		}
	}()
	wants, err := wantsOf(tasks, d, l)
	if err != nil {
		return nil, err
	}
	if s.placer != nil {
		if out.choice, err = s.choose(ctx, cluster, wants); err != nil {
			return nil, err
		}
		settle(out.choice, l)
	}
	var waiting int
	for _, w := range wants {
		provider := w.Tasks[0].Spec.CapacityProviderName
		scales, err := s.scales(ctx, sc, provider)
		switch {
		case err != nil:
			return nil, err
		case scales:
			waiting += len(w.Tasks) - w.Placed
			out.tasks = append(out.tasks, w.Tasks...)
			continue
		case w.Placed == 0 && len(w.Closest()) == 0:
			return nil, errNoInstances(provider)
		}
		out.tasks = append(out.tasks, w.Tasks[:w.Placed]...)
		out.failures = append(out.failures, failures(sc, cluster.V, w)...)
	}
	if waiting == 0 {
		return out, nil
	}
	there, err := s.provisioning(ctx, sc, cluster.V.ClusterName)
	if err == nil && there+waiting > model.MaxProvisioning {
		err = ecs.NewClientException("Tasks provisioning capacity limit exceeded.")
	}
	return out, err
}

// wantsOf sorts the tasks by their capacity providers.
func wantsOf(tasks []*model.Task, d *model.TaskDefinition, l *launch) ([]*fleet.Want, error) {
	var wants []*fleet.Want
	for _, t := range tasks {
		at := slices.IndexFunc(wants, func(w *fleet.Want) bool { return w.Tasks[0].Spec.CapacityProviderName == t.Spec.CapacityProviderName })
		if at >= 0 {
			wants[at].Tasks = append(wants[at].Tasks, t)
			continue
		}
		r, err := fleet.Compile(t, d, nil, l.places())
		if err != nil {
			return nil, ecs.NewInvalidParameterException("%s.", capital(err.Error()))
		}
		wants = append(wants, &fleet.Want{Request: r, Tasks: []*model.Task{t}})
	}
	return wants, nil
}

// scales tells whether the capacity provider scales its group.
func (s *Service) scales(ctx context.Context, sc scope, provider string) (bool, error) {
	if provider == "" {
		return false, nil
	}
	row, err := tables.ECSCapacityProviders.Get(ctx, s.store, sc.account, sc.region, provider)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && row.V.Scaling.Enabled, err
}

// provisioning counts the cluster's tasks that wait for an instance of their
// capacity provider.
func (s *Service) provisioning(ctx context.Context, sc scope, cluster string) (int, error) {
	rows, err := tables.ECSTasks.List(ctx, s.store, store.Query{
		Account: sc.account, Region: sc.region, Prefix: cluster + "/", Index: store.Index{Name: tables.ByLastStatus, Value: model.TaskProvisioning},
	})
	rows = slices.DeleteFunc(rows, func(r store.Row[model.Task]) bool { return !r.V.AwaitsInstance() })
	return len(rows), err
}
