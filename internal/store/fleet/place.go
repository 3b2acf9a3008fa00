package fleet

import (
	"context"
	"maps"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/placement"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Choice is where tasks are to go. It holds once Commit has succeeded; one
// that is not committed must be dropped.
type Choice struct {
	book  *Book
	place place
	// Placed are the tasks that found an instance, in the order asked.
	Placed []Placed
	// Refused tells, when not every task found one, why each instance that is
	// left refuses, the closest first; empty when there is no instance at all.
	Refused []placement.Refusal
	// Instances is the number of instances that the cluster has.
	Instances int

	claims map[string]claim // as they were when the room was found
	done   bool
}

// Placed is a task and its instance.
type Placed struct {
	Task     *model.Task
	Instance *model.ContainerInstance
}

// Choose finds an instance for each of the tasks, which are all of the
// request's kind, and keeps room for them until the choice is committed or
// dropped. It sets nothing in the tasks.
func (b *Book) Choose(account, region, clusterName string, r *placement.Request, tasks []*model.Task) *Choice {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, ch := b.begin(place{account, region, clusterName})
	for _, t := range tasks {
		id, ok := c.fleet.Place(r, b.pick)
		if !ok {
			ch.Refused = c.fleet.Explain(r)
			break
		}
		ch.keep(c, id, t)
	}
	return ch
}

// ChooseOn is Choose for one instance, as StartTask names it.
func (b *Book) ChooseOn(account, region, clusterName, instance string, r *placement.Request, task *model.Task) *Choice {
	return b.ChooseEach(account, region, clusterName, []string{instance}, r, []*model.Task{task})
}

// ChooseEach keeps room for one task on each of the instances, as a DAEMON
// service wants it: the first task on the first instance, and so on. Refused
// tells of those that cannot take theirs.
func (b *Book) ChooseEach(account, region, clusterName string, instances []string, r *placement.Request, tasks []*model.Task) *Choice {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, ch := b.begin(place{account, region, clusterName})
	for i, id := range instances {
		if why := c.fleet.Refuses(r, id); why != "" {
			ch.Refused = append(ch.Refused, placement.Refusal{Instance: id, Reason: why})
			continue
		}
		ch.keep(c, id, tasks[i])
	}
	return ch
}

// begin begins a choice; the caller holds the lock.
func (b *Book) begin(at place) (*cluster, *Choice) {
	c := b.at(at)
	return c, &Choice{book: b, place: at, claims: make(map[string]claim), Instances: c.fleet.Len()}
}

// keep keeps room for a task on an instance; the caller holds the lock.
func (ch *Choice) keep(c *cluster, id string, t *model.Task) {
	c.fleet.Assign(id, taskOf(t))
	c.chosen[t.TaskID] = true
	if _, ok := ch.claims[id]; !ok {
		known := c.claims[id]
		known.Key = tables.ECSInstanceClaims.Key(ch.place.account, ch.place.region, ch.place.name+"/"+id)
		ch.claims[id] = known
	}
	ch.Placed = append(ch.Placed, Placed{t, c.instances[id].V})
}

// Leaving are the instances of a cluster that drain.
func (b *Book) Leaving(account, region, clusterName string) map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.at(place{account, region, clusterName}).draining)
}

// Eligible are the instances of a cluster that are to have a task of a DAEMON
// service each, whether or not they have room for it: see placement.Fleet.
func (b *Book) Eligible(account, region, clusterName string, r *placement.Request) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at(place{account, region, clusterName}).fleet.Eligible(r)
}

// Reach waits until the book has what was written at a revision, which must be
// that of an instance's, a claim's or a task's record.
func (b *Book) Reach(ctx context.Context, revision uint64) error {
	for {
		b.mu.Lock()
		there, moved := b.revision >= revision, b.moved
		b.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Remaining is what an instance has left, with the ports in use; false where
// the cluster has no such instance.
func (b *Book) Remaining(account, region, clusterName, instance string) (placement.Resources, []placement.Port, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at(place{account, region, clusterName}).fleet.Remaining(instance)
}

// CatchUp waits until the book has the instances of a cluster as their records
// are now.
func (b *Book) CatchUp(ctx context.Context, account, region, clusterName string) error {
	records, _, err := b.store.List(ctx, store.Query{Kind: tables.ECSContainerInstances.Kind(), Account: account, Region: region, Prefix: clusterName + "/"})
	if err != nil {
		return err
	}
	var newest uint64
	for _, r := range records {
		newest = max(newest, r.Modified)
	}
	return b.Reach(ctx, newest)
}
