package capacityprovider

import (
	"context"
	"errors"
	"slices"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// view is all that is read about a provider.
type view struct {
	provider store.Row[model.CapacityProvider]
	// clusters are those that have the provider.
	clusters []store.Row[model.Cluster]
	// group is the provider's, nil where it is gone or another one has its name.
	group *store.Row[model.AutoScalingGroup]
	// members are the group's instances.
	members []member
	// daemons tells of services, by their ids, whether they are DAEMON ones.
	daemons map[string]bool
}

// member is an instance of the group.
type member struct {
	asg store.Row[model.ASGInstance]
	// interrupted: the instance was given notice of a Spot interruption.
	interrupted bool
	// hosts are the container instances that it is, in any cluster.
	hosts []host
}

// host is a container instance.
type host struct {
	row store.Row[model.ContainerInstance]
	// tasks counts those on it that have not stopped, busy those of them that
	// are no daemon's.
	tasks, busy int
}

// tasks counts the tasks on the instance, and those that are no daemon's.
func (m *member) tasks() (all, busy int) {
	for _, h := range m.hosts {
		all += h.tasks
		busy += h.busy
	}
	return all, busy
}

// has tells whether a cluster has the provider.
func (v *view) has(cluster string) bool {
	return slices.ContainsFunc(v.clusters, func(c store.Row[model.Cluster]) bool { return c.V.ClusterName == cluster })
}

// read reads the provider under key; nil when there is none any more.
func (c *providers) read(ctx context.Context, key controller.Key) (*view, error) {
	v := &view{daemons: map[string]bool{}}
	var err error
	v.provider, err = tables.ECSCapacityProviders.Get(ctx, c.Store, key.Account, key.Region, key.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && v.provider.V.Status == model.ECSInactive {
		return nil, nil //nolint:nilnil // there is nothing to do
	}
	if err != nil {
		return nil, err
	}
	q := store.Query{Account: key.Account, Region: key.Region}
	clusters, err := tables.ECSClusters.List(ctx, c.Store, q)
	if err != nil {
		return nil, err
	}
	for _, r := range clusters {
		if r.V.Status != model.ECSInactive && slices.Contains(r.V.CapacityProviders, key.ID) {
			v.clusters = append(v.clusters, r)
		}
	}
	group, err := tables.AutoScalingGroups.Get(ctx, c.Store, key.Account, key.Region, v.provider.V.GroupName)
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && group.V.ARN != v.provider.V.GroupARN:
		return v, nil
	case err != nil:
		return nil, err
	}
	v.group = &group
	q.Prefix = group.V.Name + "/"
	rows, err := tables.ASGInstances.List(ctx, c.Store, q)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if r.V.Group != group.V.Name {
			continue // of a group whose name begins with this one's
		}
		m, err := c.member(ctx, v, r)
		if err != nil {
			return nil, err
		}
		v.members = append(v.members, *m)
	}
	return v, nil
}

func (c *providers) member(ctx context.Context, v *view, r store.Row[model.ASGInstance]) (*member, error) {
	m := &member{asg: r}
	i, err := tables.Instances.Get(ctx, c.Store, r.Key.Account, r.Key.Region, r.V.InstanceID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	m.interrupted = err == nil && !i.V.Desired.SpotInterruptionAt.IsZero()
	hosts, err := tables.ECSContainerInstances.List(ctx, c.Store, store.Query{
		Account: r.Key.Account, Region: r.Key.Region, Index: store.Index{Name: tables.ByEC2Instance, Value: r.V.InstanceID},
	})
	if err != nil {
		return nil, err
	}
	for _, row := range hosts {
		if row.V.Status == model.ContainerInstanceInactive {
			continue
		}
		h := host{row: row}
		tasks, err := tables.ECSTasks.List(ctx, c.Store, store.Query{
			Account: r.Key.Account, Region: r.Key.Region, Prefix: row.V.ClusterName + "/", Index: store.Index{Name: tables.ByNode, Value: row.V.ID},
		})
		if err != nil {
			return nil, err
		}
		for _, t := range tasks {
			daemon, err := c.daemon(ctx, v, t)
			if err != nil {
				return nil, err
			}
			h.tasks++
			if !daemon {
				h.busy++
			}
		}
		m.hosts = append(m.hosts, h)
	}
	return m, nil
}

// daemon tells whether a task is a DAEMON service's.
func (c *providers) daemon(ctx context.Context, v *view, t store.Row[model.Task]) (bool, error) {
	id := t.V.TaskServiceID()
	if id == "" {
		return false, nil
	}
	is, known := v.daemons[id]
	if known {
		return is, nil
	}
	s, err := tables.ECSServices.Get(ctx, c.Store, t.Key.Account, t.Key.Region, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return false, err
	}
	is = err == nil && s.V.Spec.SchedulingStrategy == "DAEMON"
	v.daemons[id] = is
	return is, nil
}
