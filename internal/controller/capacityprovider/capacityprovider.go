// Package capacityprovider holds the controllers of ECS's capacity providers
// of Auto Scaling groups: New's scales the groups, protects and drains their
// instances and ends providers; NewAttachments' keeps clusters' attachments;
// NewWaiting's finds instances for the tasks that wait for one.
package capacityprovider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/managedscaling"
	"roadstead.dev/internal/plan/placement"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/fleet"
	"roadstead.dev/internal/store/tables"
)

// Placer finds container instances for tasks: fleet.Book.
type Placer interface {
	Ready(ctx context.Context) error
	Reach(ctx context.Context, revision uint64) error
	Choose(account, region, cluster string, r *placement.Request, tasks []*model.Task) *fleet.Choice
}

var _ Placer = (*fleet.Book)(nil)

// States holds what managed scaling remembers of each provider, under its
// name. Only New's controller reads and writes them.
var States = store.NewTable[managedscaling.State]("ecs", "CapacityProviderState")

// Config is what the controllers need.
type Config struct {
	Store store.Store
	Clock clock.Clock
	// Placer is NewWaiting's.
	Placer Placer
	// Period is how often groups are decided on; zero means once a minute, as
	// on AWS.
	Period time.Duration
}

// providers is the work of New's controller.
type providers struct {
	Config
	mu sync.Mutex
	// decided is when each provider's group was last decided on. What a restart
	// forgets of it makes one decision come early.
	decided map[controller.Key]time.Time
}

// New makes the controller of the providers.
func New(cfg Config) *controller.Controller {
	if cfg.Period == 0 {
		cfg.Period = managedscaling.Period
	}
	c := &providers{Config: cfg, decided: map[controller.Key]time.Time{}}
	// A full pass looks at all providers anyway.
	none := func() []store.Query { return nil }
	return &controller.Controller{
		Name: "capacityprovider",
		Watches: []controller.Watch{
			controller.Own(tables.ECSCapacityProviders),
			controller.On(tables.ECSClusters, ofCluster).Passing(none),
			controller.Watch{Kind: tables.AutoScalingGroups.Kind(), Keys: func(ctx context.Context, r store.Record) ([]controller.Key, error) {
				return c.ofGroup(ctx, r.Key, r.Key.ID)
			}}.Passing(none),
			controller.Watch{Kind: tables.ASGInstances.Kind(), Keys: c.ofMember}.Passing(none),
			controller.Watch{Kind: tables.Instances.Kind(), Keys: c.ofInstance}.Passing(none),
			controller.Watch{Kind: tables.ECSContainerInstances.Kind(), Keys: c.ofHost}.Passing(none),
			controller.Watch{Kind: tables.ECSTasks.Kind(), Keys: c.ofTask}.Passing(none),
		},
		Reconcile: c.reconcile,
	}
}

// ofCluster names the providers that a cluster has, and those that it has had
// until its attachments fit.
func ofCluster(r store.Row[model.Cluster]) []controller.Key {
	names := slices.Clone(r.V.CapacityProviders)
	for _, a := range r.V.Attachments {
		names = append(names, a.Detail(model.DetailCapacityProvider))
	}
	slices.Sort(names)
	var keys []controller.Key
	for _, n := range slices.Compact(names) {
		if !model.OnFargate(n) {
			keys = append(keys, controller.Key{Account: r.Key.Account, Region: r.Key.Region, ID: n})
		}
	}
	return keys
}

// ofGroup names the provider of a group.
func (c *providers) ofGroup(ctx context.Context, at store.Key, group string) ([]controller.Key, error) {
	if group == "" {
		return nil, nil
	}
	claim, err := tables.ECSCapacityProviderGroups.Get(ctx, c.Store, at.Account, at.Region, group)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []controller.Key{{Account: at.Account, Region: at.Region, ID: *claim.V}}, nil
}

func (c *providers) ofMember(ctx context.Context, r store.Record) ([]controller.Key, error) {
	row, err := tables.ASGInstances.Row(r)
	if err != nil {
		return nil, err
	}
	return c.ofGroup(ctx, r.Key, row.V.Group)
}

func (c *providers) ofInstance(ctx context.Context, r store.Record) ([]controller.Key, error) {
	row, err := tables.Instances.Row(r)
	if err != nil {
		return nil, err
	}
	return c.ofGroup(ctx, r.Key, row.V.Spec.AutoScalingGroup)
}

func (c *providers) ofHost(ctx context.Context, r store.Record) ([]controller.Key, error) {
	row, err := tables.ECSContainerInstances.Row(r)
	if err != nil {
		return nil, err
	}
	if p := row.V.CapacityProviderName; p != "" {
		return []controller.Key{{Account: r.Key.Account, Region: r.Key.Region, ID: p}}, nil
	}
	if row.V.EC2InstanceID == "" || row.V.External {
		return nil, nil
	}
	i, err := tables.Instances.Get(ctx, c.Store, r.Key.Account, r.Key.Region, row.V.EC2InstanceID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return c.ofGroup(ctx, r.Key, i.V.Spec.AutoScalingGroup)
}

// ofTask names the provider of the instance that a task has come to, or left.
func (c *providers) ofTask(ctx context.Context, r store.Record) ([]controller.Key, error) {
	row, err := tables.ECSTasks.Row(r)
	if err != nil {
		return nil, err
	}
	t := row.V
	if t.Status.Node == "" || t.Spec.LaunchType == model.LaunchTypeFargate {
		return nil, nil
	}
	host, err := tables.ECSContainerInstances.Get(ctx, c.Store, r.Key.Account, r.Key.Region, t.ClusterName+"/"+t.Status.Node)
	if errors.Is(err, store.ErrNotFound) || err == nil && host.V.CapacityProviderName == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []controller.Key{{Account: r.Key.Account, Region: r.Key.Region, ID: host.V.CapacityProviderName}}, nil
}

func (c *providers) reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	v, err := c.read(ctx, key)
	if err != nil {
		return controller.Result{}, fmt.Errorf("capacity provider %s: %w", key.ID, err)
	}
	if v == nil {
		return controller.Result{}, nil
	}
	wake, err := c.manage(ctx, v)
	if err != nil {
		return controller.Result{}, fmt.Errorf("capacity provider %s: %w", key.ID, err)
	}
	return controller.Result{RequeueAfter: wake, Rest: time.Duration(len(v.members)) * restForMember}, nil
}

// restForMember is how long a provider rests after each look, for each instance
// of its group: a look costs time by their number, and each of their tasks asks
// for several.
const restForMember = 500 * time.Microsecond

// manage does all that is to be done for a provider now, and tells when to look
// again.
func (c *providers) manage(ctx context.Context, v *view) (time.Duration, error) {
	now := c.Clock.Now().Truncate(time.Millisecond)
	for _, step := range []func(context.Context, *view, time.Time) error{c.name, c.hook, c.drain, c.protect} {
		if err := step(ctx, v, now); err != nil {
			return 0, err
		}
	}
	if v.provider.V.UpdateStatus == model.ProviderDeleting {
		return 0, c.end(ctx, v)
	}
	return c.scale(ctx, v, now)
}

// end ends a provider that is to be deleted, unless a cluster got it meanwhile.
func (c *providers) end(ctx context.Context, v *view) error {
	p := v.provider.Copy()
	tx := store.NewTxn()
	key := v.provider.Key
	if len(v.clusters) > 0 {
		p.UpdateStatus, p.UpdateStatusReason = model.ProviderDeleteFailed, model.WhyProviderStays(v.clusters[0].V.ClusterName)
	} else {
		p.Status, p.UpdateStatus = model.ECSInactive, model.ProviderDeleted
		claim, err := tables.ECSCapacityProviderGroups.Get(ctx, c.Store, key.Account, key.Region, p.GroupName)
		switch {
		case err == nil && *claim.V == p.Name:
			tables.ECSCapacityProviderGroups.Delete(tx, claim)
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return err
		}
		States.Erase(tx, key.Account, key.Region, p.Name)
	}
	tables.ECSCapacityProviders.Replace(tx, v.provider, p)
	_, err := tx.Commit(ctx, c.Store)
	return err
}
