// Package ecrreplication is the controller that copies images to the
// registries that replication configurations name.
package ecrreplication

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Replicator copies images between the registries of this server.
type Replicator interface {
	// Replicate copies an image to the same repository of another registry and
	// gives it tags. It returns a *model.ReplicationRefused when that registry
	// does not take it.
	Replicate(ctx context.Context, account, region, repository, digest string, to model.ECRDestination, tags []string) error
}

// Config is what the controller needs.
type Config struct {
	Store  store.Store
	Images Replicator
}

type replication struct{ Config }

// New makes the controller. Its keys are images; a tag leads to its image.
func New(c Config) *controller.Controller {
	r := &replication{c}
	return &controller.Controller{
		Name: "ecrreplication",
		Watches: []controller.Watch{
			controller.Own(tables.ECRImages),
			controller.On(tables.ECRTags, func(row store.Row[model.ECRTag]) []controller.Key {
				return []controller.Key{{Account: row.Key.Account, Region: row.Key.Region, ID: row.V.Repository + "@" + row.V.Digest}}
			}),
		},
		Reconcile: r.reconcile,
		Workers:   2,
	}
}

// reconcile gives each destination what it has not got yet. What it got once
// is not brought again: images can be deleted there.
func (r *replication) reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	img, err := tables.ECRImages.Get(ctx, r.Store, key.Account, key.Region, key.ID)
	if errors.Is(err, store.ErrNotFound) {
		return controller.Result{}, nil
	}
	if err != nil {
		return controller.Result{}, err
	}
	settings, err := tables.ECRRegistries.Get(ctx, r.Store, key.Account, key.Region, model.ECRRegistryID)
	if errors.Is(err, store.ErrNotFound) {
		return controller.Result{}, nil
	}
	if err != nil {
		return controller.Result{}, err
	}
	destinations := settings.V.Destinations(img.V)
	if len(destinations) == 0 {
		return controller.Result{}, nil
	}
	tags, err := tables.ECRTags.List(ctx, r.Store, store.Query{
		Account: key.Account, Region: key.Region, Index: store.Index{Name: "digest", Value: key.ID},
	})
	if err != nil {
		return controller.Result{}, err
	}
	record, err := tables.ECRReplications.Get(ctx, r.Store, key.Account, key.Region, key.ID)
	done := &model.ECRReplication{}
	switch {
	case err == nil:
		done = record.Copy()
	case !errors.Is(err, store.ErrNotFound):
		return controller.Result{}, err
	}
	var failures []error
	changed := false
	for _, to := range destinations {
		i := slices.IndexFunc(done.Destinations, func(s model.ECRReplicationStatus) bool { return s.ECRDestination == to })
		var had []string
		if i >= 0 {
			had = done.Destinations[i].Tags
		}
		fresh := newTags(tags, settings.V, had)
		if i >= 0 && len(fresh) == 0 {
			continue
		}
		status := model.ECRReplicationStatus{ECRDestination: to, Status: "COMPLETE", Tags: slices.Concat(had, fresh)}
		err := r.Images.Replicate(ctx, key.Account, key.Region, img.V.Repository, img.V.Digest, to, fresh)
		if refused, ok := errors.AsType[*model.ReplicationRefused](err); ok {
			status.Status, status.FailureCode = "FAILED", refused.Code
		} else if err != nil {
			failures = append(failures, fmt.Errorf("replicate %s to %s in %s: %w", key, to.Account, to.Region, err))
			continue
		}
		changed = true
		if i < 0 {
			done.Destinations = append(done.Destinations, status)
		} else {
			done.Destinations[i] = status
		}
	}
	if changed {
		tx := store.NewTxn()
		tables.ECRImages.Check(tx, img)
		tables.ECRReplications.Replace(tx, record, done)
		if _, err := tx.Commit(ctx, r.Store); err != nil {
			failures = append(failures, err)
		}
	}
	return controller.Result{}, errors.Join(failures...)
}

// newTags are those that a destination was not given yet.
func newTags(tags []store.Row[model.ECRTag], settings *model.ECRRegistry, had []string) []string {
	var out []string
	for _, t := range tags {
		if !t.V.TaggedAt.Before(settings.ReplicationSince) && !slices.Contains(had, t.V.Tag) {
			out = append(out, t.V.Tag)
		}
	}
	return out
}
