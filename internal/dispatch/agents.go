package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/model/acs"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// ErrInactive tells that a container instance is not registered any more.
var ErrInactive = errors.New("the container instance is not registered")

// Agent is the agent of a container instance.
type Agent struct {
	// Instance is the key of the container instance's record.
	Instance store.Key
	// Version, Hash and DockerVersion as the agent told; empty ones change
	// nothing.
	Version, Hash, DockerVersion string
}

// Serve serves an agent's connection until it ends, which closes it. An
// instance has one connection: a newer one ends the older. ErrInactive tells
// that the instance is not registered.
func (d *Dispatcher) Serve(ctx context.Context, a Agent, conn acs.Session) error {
	defer func() { _ = conn.Close() }()
	select {
	case <-d.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	i, err := d.active(ctx, a.Instance)
	if err != nil {
		return err
	}
	// The session begins before it is written down, so that the end of the one
	// before is not written over it.
	s, err := d.open(i.ID, i.ARN, conn)
	if err != nil {
		return err
	}
	defer d.disconnected(ctx, a, s)
	if err := d.connected(ctx, a); err != nil {
		_ = conn.Close()
		<-s.done
		return err
	}
	select {
	case <-s.done:
	case <-ctx.Done():
		_ = conn.Close()
		<-s.done
	}
	return nil
}

// connected writes that the agent is connected.
func (d *Dispatcher) connected(ctx context.Context, a Agent) error {
	k := a.Instance
	_, err := tables.ECSContainerInstances.Update(ctx, d.cfg.Store, k.Account, k.Region, k.ID, func(i *model.ContainerInstance) error {
		if i.Status == model.ContainerInstanceInactive {
			return ErrInactive
		}
		i.Connection = model.AgentConnection{Connected: true, Since: ms(d.cfg.Clock.Now()), Impaired: i.Connection.Impaired}
		if a.Version != "" {
			i.AgentVersion, i.AgentHash, i.DockerVersion = a.Version, a.Hash, a.DockerVersion
		}
		i.Version++
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return ErrInactive
	}
	return err
}

// disconnected writes that no agent is connected, unless another connection of
// it has begun. When the dispatcher ends, the next one does.
func (d *Dispatcher) disconnected(ctx context.Context, a Agent, s *session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if d.base.Err() != nil {
		return
	}
	k := a.Instance
	_, err := tables.ECSContainerInstances.Update(ctx, d.cfg.Store, k.Account, k.Region, k.ID, func(i *model.ContainerInstance) error {
		if !d.last(s) || !i.Connection.Connected {
			return store.ErrUnchanged
		}
		i.Connection.Connected, i.Connection.Since = false, ms(d.cfg.Clock.Now())
		i.Version++
		return nil
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		d.cfg.Log.Error("write that an agent is gone", "instance", k.ID, "error", err)
	}
}

// last tells whether no other session of the node's has begun.
func (d *Dispatcher) last(s *session) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for o := range d.sessions {
		if o != s && o.node == s.node {
			return false
		}
	}
	return true
}

// forgetConnections writes that no agent is connected: none is when a
// dispatcher begins.
func (d *Dispatcher) forgetConnections(ctx context.Context) error {
	rows, err := tables.ECSContainerInstances.List(ctx, d.cfg.Store, store.Query{})
	if err != nil {
		return fmt.Errorf("list container instances: %w", err)
	}
	for _, r := range rows {
		if !r.V.Connection.Connected {
			continue
		}
		_, err := tables.ECSContainerInstances.Update(ctx, d.cfg.Store, r.Key.Account, r.Key.Region, r.Key.ID, func(i *model.ContainerInstance) error {
			i.Connection.Connected, i.Connection.Since = false, ms(d.cfg.Clock.Now())
			i.Version++
			return nil
		})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("write that an agent is gone: %w", err)
		}
	}
	return nil
}

// Active is nil while a container instance is registered, else ErrInactive.
func (d *Dispatcher) Active(ctx context.Context, instance store.Key) error {
	_, err := d.active(ctx, instance)
	return err
}

func (d *Dispatcher) active(ctx context.Context, k store.Key) (*model.ContainerInstance, error) {
	row, err := tables.ECSContainerInstances.Get(ctx, d.cfg.Store, k.Account, k.Region, k.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && row.V.Status == model.ContainerInstanceInactive {
		return nil, ErrInactive
	}
	return row.V, err
}

// Impaired writes what an agent says of its container runtime: why it is not
// well, or nothing.
func (d *Dispatcher) Impaired(ctx context.Context, instance store.Key, why string) error {
	_, err := tables.ECSContainerInstances.Update(ctx, d.cfg.Store, instance.Account, instance.Region, instance.ID, func(i *model.ContainerInstance) error {
		if i.Connection.Impaired == why {
			return store.ErrUnchanged
		}
		i.Connection.Impaired = why
		i.Version++
		return nil
	})
	return err
}

// Health records the health of a task's containers, which agents report apart
// from all else. acs.ErrUnknownTask tells that the task is not the node's.
func (d *Dispatcher) Health(ctx context.Context, node, task string, containers map[string]string) error {
	key, err := taskKey(task)
	if err != nil {
		return err
	}
	_, err = tables.ECSTasks.Update(ctx, d.cfg.Store, key.Account, key.Region, key.ID, func(t *model.Task) error {
		if t.Status.Node != node || t.TaskARN != task {
			return fmt.Errorf("task %s of node %s: %w", task, node, acs.ErrUnknownTask)
		}
		ch := acs.TaskStateChange{HealthStatus: acs.HealthUnknown}
		healthy := true
		for _, c := range t.Spec.Containers {
			h, told := containers[c.Name]
			if !told || h != acs.HealthHealthy && h != acs.HealthUnhealthy && h != acs.HealthUnknown {
				continue
			}
			ch.Containers = append(ch.Containers, acs.ContainerStateChange{ContainerName: c.Name, HealthStatus: h})
			if !c.Essential {
				continue
			}
			healthy = healthy && h == acs.HealthHealthy
			switch {
			case h == acs.HealthUnhealthy:
				ch.HealthStatus = h
			case healthy:
				ch.HealthStatus = acs.HealthHealthy
			case ch.HealthStatus != acs.HealthUnhealthy:
				ch.HealthStatus = acs.HealthUnknown
			}
		}
		if len(ch.Containers) == 0 || !Merge(&t.Observed, &ch) {
			return store.ErrUnchanged
		}
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("task %s: %w", task, acs.ErrUnknownTask)
	}
	return err
}
