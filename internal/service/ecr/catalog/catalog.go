// Package catalog keeps what the repositories of all registries hold, in the
// store's records: it is the registry.Catalog that ECR's API stands on too.
//
// Two rules keep records whole while pushes, deletions and sweeps run at once.
// Everything that adds to a repository requires the repository's record, so
// that nothing can be added to one that was deleted. And a manifest that
// refers to a layer or to another manifest writes that record anew, so that
// whoever decided to remove it on an older revision fails.
package catalog

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/reference"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// pullGrain is how exactly pull times are kept. ECR itself promises a day.
const pullGrain = time.Hour

// Catalog is a registry.Catalog over records.
type Catalog struct {
	Store store.Store
	Clock clock.Clock
}

var _ registry.Catalog = (*Catalog)(nil)

// NameUnknown is the error for a repository that does not exist, in ECR's
// words.
func NameUnknown(sp registry.Space, name string) error {
	return registry.Errorf(registry.NameUnknown,
		"The repository with name '%s' does not exist in the registry with id '%s'", name, sp.Account)
}

// Row reads a repository's record.
func (c *Catalog) Row(ctx context.Context, sp registry.Space, name string) (store.Row[model.ECRRepository], error) {
	row, err := tables.ECRRepositories.Get(ctx, c.Store, sp.Account, sp.Region, name)
	if errors.Is(err, store.ErrNotFound) {
		return row, NameUnknown(sp, name)
	}
	return row, err
}

// Repository implements registry.Catalog.
func (c *Catalog) Repository(ctx context.Context, sp registry.Space, name string) (registry.Repository, error) {
	row, err := c.Row(ctx, sp, name)
	if err != nil {
		return registry.Repository{}, err
	}
	text, err := c.Policy(ctx, sp, row.V.Policy)
	return registry.Repository{ARN: registry.RepositoryARN(sp, name), Policy: text}, err
}

// Repositories implements registry.Catalog.
func (c *Catalog) Repositories(ctx context.Context, sp registry.Space, after string, limit int) ([]string, error) {
	rows, err := tables.ECRRepositories.List(ctx, c.Store, store.Query{Account: sp.Account, Region: sp.Region, After: after, Limit: limit})
	if err != nil {
		return nil, err
	}
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.V.Name
	}
	return names, nil
}

// childID is the record id of what a repository holds under a digest.
func childID(name string, d string) string { return name + "@" + d }

func tagID(name, tag string) string { return name + ":" + tag }

// Blob implements registry.Catalog.
func (c *Catalog) Blob(ctx context.Context, sp registry.Space, name string, d reference.Digest) (int64, error) {
	row, err := tables.ECRLayers.Get(ctx, c.Store, sp.Account, sp.Region, childID(name, d.String()))
	if errors.Is(err, store.ErrNotFound) {
		return 0, registry.Errorf(registry.BlobUnknown, "")
	}
	if err != nil {
		return 0, err
	}
	return row.V.Size, nil
}

// LinkBlob implements registry.Catalog.
func (c *Catalog) LinkBlob(ctx context.Context, sp registry.Space, name string, d reference.Digest, size int64) error {
	return retry(ctx, func() error {
		repo, err := c.Row(ctx, sp, name)
		if err != nil {
			return err
		}
		tx := store.NewTxn()
		tables.ECRRepositories.Check(tx, repo)
		tables.ECRLayers.Put(tx, sp.Account, sp.Region, childID(name, d.String()), &model.ECRLayer{
			Repository: name, Digest: d.String(), Size: size, LinkedAt: c.now(),
		})
		_, err = tx.Commit(ctx, c.Store)
		return err
	})
}

// UnlinkBlob implements registry.Catalog. A layer that an image needs stays.
func (c *Catalog) UnlinkBlob(ctx context.Context, sp registry.Space, name string, d reference.Digest) error {
	return retry(ctx, func() error {
		row, err := tables.ECRLayers.Get(ctx, c.Store, sp.Account, sp.Region, childID(name, d.String()))
		if errors.Is(err, store.ErrNotFound) {
			return registry.Errorf(registry.BlobUnknown, "")
		}
		if err != nil {
			return err
		}
		used, err := c.imagesBy(ctx, sp, "blob", childID(name, d.String()), 1)
		if err != nil {
			return err
		}
		if len(used) > 0 {
			return registry.Errorf(registry.Unsupported, "the blob is part of the image %s", used[0].V.Digest)
		}
		tx := store.NewTxn()
		tables.ECRLayers.Delete(tx, row)
		_, err = tx.Commit(ctx, c.Store)
		return err
	})
}

// Holders implements registry.Catalog.
func (c *Catalog) Holders(ctx context.Context, sp registry.Space, d reference.Digest) ([]string, error) {
	rows, err := tables.ECRLayers.List(ctx, c.Store, store.Query{
		Account: sp.Account, Region: sp.Region, Index: store.Index{Name: "digest", Value: d.String()},
	})
	if err != nil {
		return nil, err
	}
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.V.Repository
	}
	return names, nil
}

// Referenced tells whether any repository of a registry needs a content.
func (c *Catalog) Referenced(ctx context.Context, sp registry.Space, d reference.Digest) (bool, error) {
	q := store.Query{Account: sp.Account, Region: sp.Region, Limit: 1, Index: store.Index{Name: "digest", Value: d.String()}}
	layers, err := tables.ECRLayers.List(ctx, c.Store, q)
	if err != nil || len(layers) > 0 {
		return true, err
	}
	images, err := tables.ECRImages.List(ctx, c.Store, q)
	return len(images) > 0, err
}

func (c *Catalog) imagesBy(ctx context.Context, sp registry.Space, index, value string, limit int) ([]store.Row[model.ECRImage], error) {
	return tables.ECRImages.List(ctx, c.Store, store.Query{
		Account: sp.Account, Region: sp.Region, Limit: limit, Index: store.Index{Name: index, Value: value},
	})
}

// now is the time as records keep it.
func (c *Catalog) now() time.Time { return c.Clock.Now().UTC().Truncate(time.Millisecond) }

// Immutable tells whether a tag of a repository may not be moved.
func Immutable(r *model.ECRRepository, tag string) bool {
	excluded := slices.ContainsFunc(r.MutabilityExclusions, func(p string) bool { return wildcard(p, tag) })
	switch r.TagMutability {
	case "IMMUTABLE":
		return true
	case "IMMUTABLE_WITH_EXCLUSION":
		return !excluded
	case "MUTABLE_WITH_EXCLUSION":
		return excluded
	}
	return false
}

// wildcard matches a pattern in which * stands for any characters. Tags hold
// no slash, and the model lets patterns hold nothing else that path.Match
// knows.
func wildcard(pattern, tag string) bool {
	ok, err := path.Match(pattern, tag)
	return err == nil && ok
}

// attempts is how often a transaction is tried that others keep disturbing.
const attempts = 100

// retry calls f again while it ends in a conflict.
func retry(ctx context.Context, f func() error) error {
	var err error
	for range attempts {
		if err = f(); !errors.Is(err, store.ErrConflict) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return fmt.Errorf("given up after %d attempts: %w", attempts, err)
}
