// Package fleet places tasks on the container instances of clusters: it keeps,
// in memory, the book of what runs where (plan/placement), follows the records
// of instances and tasks with it, and makes a placement hold only if nobody
// placed anything on the same instance in between.
//
// The tasks' records are the truth. The book may be behind them by a moment;
// InstanceClaim records see to it that this is found out when it matters.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/placement"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// ErrStale says that the book was behind the records when a placement was to
// hold. Choose again.
var ErrStale = errors.New("something was placed on the instance in between")

// Book is what runs where, in all clusters. Its methods may be called by any
// number of goroutines.
type Book struct {
	store store.Store
	// pick chooses among n equals, from 0 to n-1.
	pick func(n int) int

	mu       sync.Mutex
	clusters map[place]*cluster
	revision uint64        // of the records that the book has
	filled   chan struct{} // closed once the book has been filled
	moved    chan struct{} // closed when revision grows
}

// place is a cluster.
type place struct{ account, region, name string }

type cluster struct {
	fleet     *placement.Fleet
	instances map[string]store.Row[model.ContainerInstance] // by id
	claims    map[string]claim
	draining  map[string]bool // of the instances
	turns     turns
	// chosen are placements that are not in the records yet.
	chosen map[string]bool
}

// New makes an empty book; Run fills it.
func New(s store.Store, pick func(n int) int) *Book {
	return &Book{store: s, pick: pick, clusters: make(map[place]*cluster), moved: make(chan struct{}), filled: make(chan struct{})}
}

var kinds = []store.Kind{tables.ECSContainerInstances.Kind(), tables.ECSInstanceClaims.Kind(), tables.ECSTasks.Kind()}

// Run reads the records and follows them until ctx ends.
func (b *Book) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		revision, err := b.read(ctx)
		if err != nil {
			return fmt.Errorf("read what runs where: %w", err)
		}
		w, err := b.store.Watch(ctx, revision, kinds...)
		if err != nil {
			return fmt.Errorf("follow what runs where: %w", err)
		}
		for events := range w.Events {
			if err := b.apply(events); err != nil {
				return err
			}
		}
		if err := w.Err(); err != nil && !errors.Is(err, store.ErrCompacted) && ctx.Err() == nil {
			return fmt.Errorf("follow what runs where: %w", err)
		}
	}
	return nil
}

// read fills the book anew, from one revision on.
func (b *Book) read(ctx context.Context) (uint64, error) {
	// Whatever is written while the lists are read comes again as an event.
	revision := b.store.Revision()
	instances, err := tables.ECSContainerInstances.List(ctx, b.store, store.Query{})
	if err != nil {
		return 0, err
	}
	claims, err := tables.ECSInstanceClaims.List(ctx, b.store, store.Query{})
	if err != nil {
		return 0, err
	}
	var tasks []store.Row[model.Task]
	for _, q := range tables.LiveTasks() {
		some, err := tables.ECSTasks.List(ctx, b.store, q)
		if err != nil {
			return 0, err
		}
		tasks = append(tasks, some...)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clusters = make(map[place]*cluster)
	for _, r := range instances {
		b.putInstance(r)
	}
	for _, r := range claims {
		b.putClaim(r)
	}
	for _, r := range tasks {
		b.putTask(r)
	}
	b.reached(revision)
	select {
	case <-b.filled:
	default:
		close(b.filled)
	}
	return revision, nil
}

// Ready waits until the book has been filled for the first time.
func (b *Book) Ready(ctx context.Context) error {
	select {
	case <-b.filled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *Book) apply(events []store.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range events {
		if err := b.event(e); err != nil {
			return err
		}
		b.reached(e.Record.Modified)
	}
	return nil
}

func (b *Book) event(e store.Event) error {
	key := e.Record.Key
	c, id := b.cluster(key)
	switch key.Kind {
	case tables.ECSContainerInstances.Kind():
		if e.Type == store.Delete {
			c.remove(id)
			return nil
		}
		r, err := tables.ECSContainerInstances.Row(e.Record)
		if err != nil {
			return err
		}
		b.putInstance(r)
	case tables.ECSInstanceClaims.Kind():
		if e.Type == store.Delete {
			delete(c.claims, id)
			return nil
		}
		r, err := tables.ECSInstanceClaims.Row(e.Record)
		if err != nil {
			return err
		}
		b.putClaim(r)
	case tables.ECSTasks.Kind():
		if e.Type == store.Delete {
			c.fleet.Release(id)
			delete(c.chosen, id)
			return nil
		}
		r, err := tables.ECSTasks.Row(e.Record)
		if err != nil {
			return err
		}
		b.putTask(r)
	}
	return nil
}

// reached wakes those who wait for the book to catch up.
func (b *Book) reached(revision uint64) {
	if revision > b.revision {
		b.revision = revision
		close(b.moved)
		b.moved = make(chan struct{})
	}
}

// cluster is the one that a record belongs to, and the rest of the record's id.
func (b *Book) cluster(key store.Key) (*cluster, string) {
	name, id, _ := strings.Cut(key.ID, "/")
	return b.at(place{key.Account, key.Region, name}), id
}

func (b *Book) at(p place) *cluster {
	c := b.clusters[p]
	if c == nil {
		c = &cluster{
			fleet: placement.NewFleet(), instances: make(map[string]store.Row[model.ContainerInstance]),
			claims: make(map[string]claim), draining: make(map[string]bool), turns: make(turns), chosen: make(map[string]bool),
		}
		b.clusters[p] = c
	}
	return c
}

func (b *Book) putInstance(r store.Row[model.ContainerInstance]) {
	c, id := b.cluster(r.Key)
	if r.V.Status == model.ContainerInstanceInactive {
		c.remove(id)
		return
	}
	c.instances[id] = r
	if delete(c.draining, id); r.V.Status == model.ContainerInstanceDraining {
		c.draining[id] = true
	}
	c.fleet.Put(describe(r.V))
}

func (c *cluster) remove(instance string) {
	c.fleet.Remove(instance)
	delete(c.instances, instance)
	delete(c.draining, instance)
}

func (b *Book) putClaim(r store.Row[model.InstanceClaim]) {
	c, id := b.cluster(r.Key)
	c.told(id, r)
}

func (b *Book) putTask(r store.Row[model.Task]) {
	c, id := b.cluster(r.Key)
	delete(c.chosen, id)
	t := r.V
	if t.Status.LastStatus == model.TaskStopped || t.Spec.LaunchType == model.LaunchTypeFargate || t.Status.Node == "" {
		c.fleet.Release(id)
		return
	}
	c.fleet.Assign(t.Status.Node, taskOf(t))
}

// describe is an instance as placement sees it.
func describe(i *model.ContainerInstance) placement.Instance {
	p := placement.Instance{
		ID: i.ID, Active: i.Status == model.ContainerInstanceActive, AgentConnected: i.Connection.Connected, AgentVersion: i.AgentVersion,
		External: i.External, EC2InstanceID: i.EC2InstanceID, CapacityProvider: i.CapacityProviderName, RegisteredAt: i.RegisteredAt, Attributes: i.Attributes,
		Total: placement.Resources{CPU: i.CPU, Memory: i.Memory, ENIs: i.ENIs, GPUs: len(i.GPUs)},
	}
	for _, n := range i.ReservedPorts {
		p.Reserved = append(p.Reserved, placement.Port{Number: uint16(n)})
	}
	for _, n := range i.ReservedUDPPorts {
		p.Reserved = append(p.Reserved, placement.Port{Number: uint16(n), UDP: true})
	}
	return p
}

func taskOf(t *model.Task) placement.Task {
	r := t.Reservation()
	return placement.Task{ID: t.TaskID, Group: t.Spec.Group, Resources: placement.Resources{CPU: r.CPU, Memory: r.Memory, ENIs: r.ENIs, GPUs: r.GPUs}, Ports: portsOf(r.Ports)}
}

func portsOf(ports []model.HostPort) []placement.Port {
	var all []placement.Port
	for _, p := range ports {
		all = append(all, placement.Port{Number: uint16(p.Number), UDP: p.UDP})
	}
	return all
}
