package fleet

import (
	"context"
	"errors"
	"fmt"

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

	claims map[string]store.Row[model.InstanceClaim]
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
	return c, &Choice{book: b, place: at, claims: make(map[string]store.Row[model.InstanceClaim]), Instances: c.fleet.Len()}
}

// keep keeps room for a task on an instance; the caller holds the lock.
func (ch *Choice) keep(c *cluster, id string, t *model.Task) {
	c.fleet.Assign(id, taskOf(t))
	c.chosen[t.TaskID] = true
	claim, ok := c.claims[id]
	if !ok {
		claim.Key = tables.ECSInstanceClaims.Key(ch.place.account, ch.place.region, ch.place.name+"/"+id)
	}
	ch.claims[id] = claim
	ch.Placed = append(ch.Placed, Placed{t, c.instances[id].V})
}

// Leaving are the instances of a cluster that drain.
func (b *Book) Leaving(account, region, clusterName string) map[string]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	leaving := make(map[string]bool)
	for id, i := range b.at(place{account, region, clusterName}).instances {
		if i.V.Status == model.ContainerInstanceDraining {
			leaving[id] = true
		}
	}
	return leaving
}

// Eligible are the instances of a cluster that are to have a task of a DAEMON
// service each, whether or not they have room for it: see placement.Fleet.
func (b *Book) Eligible(account, region, clusterName string, r *placement.Request) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at(place{account, region, clusterName}).fleet.Eligible(r)
}

// Commit commits tx, to which the caller has added the tasks with their
// instances, together with the claims of the choice. It fails with ErrStale
// when somebody else placed something on one of the instances, and with
// store.ErrConflict when a condition of the caller's does not hold; nothing is
// written then, and the choice is dropped.
func (ch *Choice) Commit(ctx context.Context, tx *store.Txn) (uint64, error) {
	last := make(map[string]string, len(ch.claims))
	for _, p := range ch.Placed {
		last[p.Instance.ID] = p.Task.TaskID
	}
	for id, claim := range ch.claims {
		count := int64(1)
		if claim.V != nil {
			count = claim.V.Count + 1
		}
		v := &model.InstanceClaim{Count: count, TaskID: last[id]}
		if claim.V == nil {
			tables.ECSInstanceClaims.Create(tx, claim.Key.Account, claim.Key.Region, claim.Key.ID, v)
		} else {
			tables.ECSInstanceClaims.Replace(tx, claim, v)
		}
	}
	revision, err := tx.Commit(ctx, ch.book.store)
	if err == nil {
		ch.done = true
		return revision, nil
	}
	ch.Drop()
	if !errors.Is(err, store.ErrConflict) {
		return 0, err
	}
	stale, newest := ch.stale(ctx)
	if !stale {
		return 0, err
	}
	// Let the book catch up with who was faster.
	if werr := ch.book.Reach(ctx, newest); werr != nil {
		return 0, werr
	}
	return 0, fmt.Errorf("%w: %w", ErrStale, err)
}

// stale tells whether a claim is no longer as it was known, and the revision
// of the newest that is not.
func (ch *Choice) stale(ctx context.Context) (stale bool, newest uint64) {
	for _, claim := range ch.claims {
		now, err := tables.ECSInstanceClaims.Get(ctx, ch.book.store, claim.Key.Account, claim.Key.Region, claim.Key.ID)
		switch {
		case err == nil && now.Modified != claim.Modified:
			stale, newest = true, max(newest, now.Modified)
		case errors.Is(err, store.ErrNotFound) && claim.V != nil:
			stale = true // the instance is gone
		}
	}
	return stale, newest
}

// Drop gives up the room that a choice keeps. Dropping one that was committed
// or dropped does nothing.
func (ch *Choice) Drop() {
	if ch.done {
		return
	}
	ch.done = true
	ch.book.mu.Lock()
	defer ch.book.mu.Unlock()
	c := ch.book.at(ch.place)
	for _, p := range ch.Placed {
		// One that is in the records by now is not the choice's to take back.
		if c.chosen[p.Task.TaskID] {
			delete(c.chosen, p.Task.TaskID)
			c.fleet.Release(p.Task.TaskID)
		}
	}
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
