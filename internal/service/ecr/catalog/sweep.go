package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/blob"
	"roadstead.dev/internal/registry/reference"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// LayerGrace is how long a repository holds a layer that no image of it needs:
// longer than any push takes from its first layer to its manifest.
const LayerGrace = 24 * time.Hour

// Purge removes what the records say of a repository that no longer exists.
// It does nothing while the repository exists.
func (c *Catalog) Purge(ctx context.Context, sp registry.Space, name string) error {
	if _, err := c.Row(ctx, sp, name); err == nil || registry.CodeOf(err) != registry.NameUnknown {
		return err
	}
	return errors.Join(
		purge(ctx, c.Store, tables.ECRTags, sp, name+":"),
		purge(ctx, c.Store, tables.ECRImagePulls, sp, name+"@"),
		purge(ctx, c.Store, tables.ECRImages, sp, name+"@"),
		purge(ctx, c.Store, tables.ECRLayers, sp, name+"@"),
		purge(ctx, c.Store, tables.ECRReplications, sp, name+"@"),
		purge(ctx, c.Store, tables.ECRUpstreamChecks, sp, name+":"),
		c.purgePreview(ctx, sp, name),
	)
}

func (c *Catalog) purgePreview(ctx context.Context, sp registry.Space, name string) error {
	row, err := tables.ECRLifecyclePreviews.Get(ctx, c.Store, sp.Account, sp.Region, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	tx := store.NewTxn()
	tables.ECRLifecyclePreviews.Delete(tx, row)
	if _, err := tx.Commit(ctx, c.Store); err != nil && !errors.Is(err, store.ErrConflict) {
		return err
	}
	return nil
}

// purgeBatch keeps transactions small.
const purgeBatch = 100

func purge[T any](ctx context.Context, s store.Store, t *store.Table[T], sp registry.Space, prefix string) error {
	for {
		rows, err := t.List(ctx, s, store.Query{Account: sp.Account, Region: sp.Region, Prefix: prefix, Limit: purgeBatch})
		if err != nil || len(rows) == 0 {
			return err
		}
		tx := store.NewTxn()
		for _, r := range rows {
			t.Delete(tx, r)
		}
		if _, err := tx.Commit(ctx, s); err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// Swept is what a sweep removed.
type Swept struct {
	Uploads, Layers, Blobs int
	Bytes                  int64
}

// Expire removes an image, with all its tags, when it is there and no index
// lists it.
func (c *Catalog) Expire(ctx context.Context, account, region, repository, digest string) error {
	d, err := reference.ParseDigest(digest)
	if err != nil {
		return err
	}
	err = c.DeleteManifest(ctx, registry.Space{Account: account, Region: region}, repository, d)
	if code := registry.CodeOf(err); code == registry.ManifestUnknown || code == registry.Denied {
		return nil
	}
	return err
}

// Sweep removes what deleted repositories left, uploads that stand still, layers that no image needs, and
// contents that no repository holds.
func (c *Catalog) Sweep(ctx context.Context, blobs *blob.Store) (Swept, error) {
	out := Swept{Uploads: blobs.ExpireUploads()}
	if err := c.purgeOrphans(ctx); err != nil {
		return out, err
	}
	layers, err := c.sweepLayers(ctx)
	out.Layers = layers
	if err != nil {
		return out, err
	}
	spaces, err := blobs.Spaces()
	if err != nil {
		return out, err
	}
	for _, sp := range spaces {
		n, bytes, err := blobs.Sweep(ctx, sp, func(ctx context.Context, d reference.Digest) (bool, error) {
			return c.Referenced(ctx, sp, d)
		})
		out.Blobs += n
		out.Bytes += bytes
		if err != nil {
			return out, err
		}
	}
	return out, nil
}

// purgeOrphans finishes deletions of repositories that were cut short.
func (c *Catalog) purgeOrphans(ctx context.Context) error {
	type place struct {
		sp   registry.Space
		name string
	}
	seen := map[place]bool{}
	images, err := tables.ECRImages.List(ctx, c.Store, store.Query{})
	if err != nil {
		return err
	}
	for _, r := range images {
		seen[place{registry.Space{Account: r.Key.Account, Region: r.Key.Region}, r.V.Repository}] = true
	}
	layers, err := tables.ECRLayers.List(ctx, c.Store, store.Query{})
	if err != nil {
		return err
	}
	for _, r := range layers {
		seen[place{registry.Space{Account: r.Key.Account, Region: r.Key.Region}, r.V.Repository}] = true
	}
	for p := range seen {
		if err := c.Purge(ctx, p.sp, p.name); err != nil {
			return fmt.Errorf("purge %s: %w", p.name, err)
		}
	}
	return nil
}

// sweepLayers removes the layers that no image of their repository needs.
func (c *Catalog) sweepLayers(ctx context.Context) (int, error) {
	rows, err := tables.ECRLayers.List(ctx, c.Store, store.Query{})
	if err != nil {
		return 0, err
	}
	limit := c.now().Add(-LayerGrace)
	n := 0
	for _, row := range rows {
		if !row.V.LinkedAt.Before(limit) {
			continue
		}
		sp := registry.Space{Account: row.Key.Account, Region: row.Key.Region}
		used, err := c.imagesBy(ctx, sp, "blob", row.Key.ID, 1)
		if err != nil {
			return n, err
		}
		if len(used) > 0 {
			continue
		}
		tx := store.NewTxn()
		tables.ECRLayers.Delete(tx, row)
		switch _, err := tx.Commit(ctx, c.Store); {
		case err == nil:
			n++
		case !errors.Is(err, store.ErrConflict): // pushed again meanwhile
			return n, fmt.Errorf("remove layer %s: %w", row.Key, err)
		}
	}
	return n, nil
}
