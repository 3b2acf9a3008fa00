package catalog

import (
	"context"
	"errors"
	"slices"
	"strings"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/manifest"
	"roadstead.dev/internal/registry/reference"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Resolve implements registry.Catalog.
func (c *Catalog) Resolve(ctx context.Context, sp registry.Space, name string, ref reference.Reference) (registry.Image, error) {
	d := ref.Digest.String()
	if d == "" {
		tag, err := tables.ECRTags.Get(ctx, c.Store, sp.Account, sp.Region, tagID(name, ref.Tag))
		if err != nil {
			return registry.Image{}, unknownImage(err)
		}
		d = tag.V.Digest
	}
	row, err := tables.ECRImages.Get(ctx, c.Store, sp.Account, sp.Region, childID(name, d))
	if err != nil {
		return registry.Image{}, unknownImage(err)
	}
	return registry.Image{Digest: reference.Digest(d), MediaType: row.V.MediaType, Size: row.V.ManifestSize}, nil
}

func unknownImage(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return registry.Errorf(registry.ManifestUnknown, "")
	}
	return err
}

// PutManifest implements registry.Catalog.
func (c *Catalog) PutManifest(ctx context.Context, sp registry.Space, name string, p registry.Push) (changed bool, err error) {
	err = retry(ctx, func() error {
		changed, err = c.putManifest(ctx, sp, name, p)
		return err
	})
	return changed, err
}

func (c *Catalog) putManifest(ctx context.Context, sp registry.Space, name string, p registry.Push) (bool, error) {
	repo, err := c.Row(ctx, sp, name)
	if err != nil {
		return false, err
	}
	tx := store.NewTxn()
	tables.ECRRepositories.Check(tx, repo)
	now := c.now()

	existing, err := tables.ECRImages.Get(ctx, c.Store, sp.Account, sp.Region, childID(name, p.Digest.String()))
	switch {
	case err == nil:
		// What the image refers to is held since it was pushed; only that it is
		// still there matters for its tags.
		tables.ECRImages.Replace(tx, existing, existing.V)
	case errors.Is(err, store.ErrNotFound):
		img := &model.ECRImage{
			Repository: name, Digest: p.Digest.String(), MediaType: p.Manifest.MediaType,
			ArtifactType: p.Manifest.ArtifactType, ManifestSize: p.Size, Size: p.Manifest.Size(),
			PushedAt: now, Annotations: p.Manifest.Annotations, Replica: p.Replica,
		}
		if !p.Manifest.Index() {
			settings, err := c.Settings(ctx, sp)
			if err != nil {
				return false, err
			}
			if scans, _ := ScansOnPush(settings.V, repo.V); scans {
				img.ScanRequestedAt = now
			}
		}
		if p.Manifest.Subject != nil {
			img.Subject = p.Manifest.Subject.Digest
		}
		if err := c.refer(ctx, tx, sp, name, p.Manifest, img); err != nil {
			return false, err
		}
		tables.ECRImages.Create(tx, sp.Account, sp.Region, childID(name, p.Digest.String()), img)
	default:
		return false, err
	}
	changed := existing.V == nil

	slices.Sort(p.Tags)
	for _, tag := range slices.Compact(p.Tags) {
		v := &model.ECRTag{Repository: name, Tag: tag, Digest: p.Digest.String(), TaggedAt: now}
		row, err := tables.ECRTags.Get(ctx, c.Store, sp.Account, sp.Region, tagID(name, tag))
		switch {
		case errors.Is(err, store.ErrNotFound):
			tables.ECRTags.Create(tx, sp.Account, sp.Region, tagID(name, tag), v)
		case err != nil:
			return false, err
		case row.V.Digest == v.Digest:
			continue
		case Immutable(repo.V, tag):
			return false, registry.Errorf(registry.TagInvalid,
				"The image tag '%s' already exists in the '%s' repository and cannot be overwritten because the tag is immutable.", tag, name)
		default:
			tables.ECRTags.Replace(tx, row, v)
		}
		changed = true
	}
	if !changed {
		return false, nil
	}
	_, err = tx.Commit(ctx, c.Store)
	return changed, err
}

// refer notes what a manifest refers to, and writes those records anew.
func (c *Catalog) refer(ctx context.Context, tx *store.Txn, sp registry.Space, name string, m *manifest.Manifest, img *model.ECRImage) error {
	var missing []string
	for _, b := range m.Blobs {
		row, err := tables.ECRLayers.Get(ctx, c.Store, sp.Account, sp.Region, childID(name, b.Digest))
		switch {
		case errors.Is(err, store.ErrNotFound):
			missing = append(missing, b.Digest)
			continue
		case err != nil:
			return err
		case row.V.Size != b.Size:
			return registry.Errorf(registry.ManifestInvalid, "blob %s has %d bytes, the manifest says %d", b.Digest, row.V.Size, b.Size)
		}
		v := *row.V
		v.LinkedAt = c.now()
		tables.ECRLayers.Replace(tx, row, &v)
		img.Blobs = append(img.Blobs, b.Digest)
	}
	for _, child := range m.Children {
		row, err := tables.ECRImages.Get(ctx, c.Store, sp.Account, sp.Region, childID(name, child.Digest))
		switch {
		case errors.Is(err, store.ErrNotFound):
			missing = append(missing, child.Digest)
			continue
		case err != nil:
			return err
		}
		tables.ECRImages.Replace(tx, row, row.V)
		img.Children = append(img.Children, child.Digest)
		// An index is as large as the largest of its images.
		img.Size = max(img.Size, row.V.Size)
	}
	if len(missing) == 0 {
		return nil
	}
	what := "Layers"
	if m.Index() {
		what = "Images"
	}
	e := registry.Errorf(registry.ManifestBlobUnknown,
		"%s with digests '[%s]' required for pushing image into repository with name '%s' in the registry with id '%s' do not exist",
		what, strings.Join(missing, ", "), name, sp.Account)
	e.Detail = missing
	return e
}

// DeleteManifest implements registry.Catalog.
func (c *Catalog) DeleteManifest(ctx context.Context, sp registry.Space, name string, d reference.Digest) error {
	return retry(ctx, func() error {
		tx := store.NewTxn()
		if err := c.deleteManifest(ctx, tx, sp, name, d); err != nil {
			return err
		}
		_, err := tx.Commit(ctx, c.Store)
		return err
	})
}

// deleteManifest adds the removal of a manifest and its tags to tx.
func (c *Catalog) deleteManifest(ctx context.Context, tx *store.Txn, sp registry.Space, name string, d reference.Digest) error {
	row, err := tables.ECRImages.Get(ctx, c.Store, sp.Account, sp.Region, childID(name, d.String()))
	if err != nil {
		return unknownImage(err)
	}
	parents, err := c.imagesBy(ctx, sp, "child", childID(name, d.String()), 0)
	if err != nil {
		return err
	}
	if len(parents) > 0 {
		digests := make([]string, len(parents))
		for i, p := range parents {
			digests[i] = p.V.Digest
		}
		e := registry.Errorf(registry.Denied, "Requested image referenced by manifest list: [%s]", strings.Join(digests, ", "))
		e.Detail = digests
		return e
	}
	tags, err := c.TagsOf(ctx, sp, name, d)
	if err != nil {
		return err
	}
	tables.ECRImages.Delete(tx, row)
	for _, t := range tags {
		tables.ECRTags.Delete(tx, t)
	}
	tables.ECRReplications.Erase(tx, sp.Account, sp.Region, row.Key.ID)
	if pull, err := tables.ECRImagePulls.Get(ctx, c.Store, sp.Account, sp.Region, row.Key.ID); err == nil {
		tables.ECRImagePulls.Delete(tx, pull)
	}
	return nil
}

// Untag removes a tag as ECR's own API does: the image goes with its last one,
// unless an index lists it.
func (c *Catalog) Untag(ctx context.Context, sp registry.Space, name, tag string) error {
	return retry(ctx, func() error {
		row, err := tables.ECRTags.Get(ctx, c.Store, sp.Account, sp.Region, tagID(name, tag))
		if err != nil {
			return unknownImage(err)
		}
		d := reference.Digest(row.V.Digest)
		tags, err := c.TagsOf(ctx, sp, name, d)
		if err != nil {
			return err
		}
		tx := store.NewTxn()
		if len(tags) == 1 {
			err := c.deleteManifest(ctx, tx, sp, name, d)
			if err == nil {
				_, err = tx.Commit(ctx, c.Store)
			}
			if registry.CodeOf(err) != registry.Denied {
				return err
			}
			tx = store.NewTxn() // an index lists it: only the tag goes
		}
		tables.ECRTags.Delete(tx, row)
		_, err = tx.Commit(ctx, c.Store)
		return err
	})
}

// TagsOf lists the tags that name a manifest.
func (c *Catalog) TagsOf(ctx context.Context, sp registry.Space, name string, d reference.Digest) ([]store.Row[model.ECRTag], error) {
	return tables.ECRTags.List(ctx, c.Store, store.Query{
		Account: sp.Account, Region: sp.Region, Index: store.Index{Name: "digest", Value: childID(name, d.String())},
	})
}

// DeleteTag implements registry.Catalog.
func (c *Catalog) DeleteTag(ctx context.Context, sp registry.Space, name, tag string) error {
	return retry(ctx, func() error {
		row, err := tables.ECRTags.Get(ctx, c.Store, sp.Account, sp.Region, tagID(name, tag))
		if err != nil {
			return unknownImage(err)
		}
		tx := store.NewTxn()
		tables.ECRTags.Delete(tx, row)
		_, err = tx.Commit(ctx, c.Store)
		return err
	})
}

// Tags implements registry.Catalog.
func (c *Catalog) Tags(ctx context.Context, sp registry.Space, name, after string, limit int) ([]registry.Tag, error) {
	q := store.Query{Account: sp.Account, Region: sp.Region, Prefix: tagID(name, ""), Limit: limit}
	if after != "" {
		q.After = tagID(name, after)
	}
	rows, err := tables.ECRTags.List(ctx, c.Store, q)
	if err != nil {
		return nil, err
	}
	out := make([]registry.Tag, len(rows))
	for i, r := range rows {
		out[i] = registry.Tag{Name: r.V.Tag, Digest: reference.Digest(r.V.Digest)}
	}
	return out, nil
}

// Referrers implements registry.Catalog.
func (c *Catalog) Referrers(ctx context.Context, sp registry.Space, name string, d reference.Digest, artifactType string) ([]manifest.Descriptor, error) {
	rows, err := c.imagesBy(ctx, sp, "subject", childID(name, d.String()), 0)
	if err != nil {
		return nil, err
	}
	var out []manifest.Descriptor
	for _, r := range rows {
		if artifactType != "" && r.V.ArtifactType != artifactType {
			continue
		}
		out = append(out, manifest.Descriptor{
			MediaType: r.V.MediaType, Digest: r.V.Digest, Size: r.V.ManifestSize,
			ArtifactType: r.V.ArtifactType, Annotations: r.V.Annotations,
		})
	}
	return out, nil
}

// Pulled implements registry.Catalog. Losing a note harms nobody, so errors
// are not told.
func (c *Catalog) Pulled(ctx context.Context, sp registry.Space, name string, d reference.Digest) {
	now := c.now()
	row, err := tables.ECRImagePulls.Get(ctx, c.Store, sp.Account, sp.Region, childID(name, d.String()))
	if err == nil && now.Sub(row.V.LastPulledAt) < pullGrain {
		return
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return
	}
	image, err := tables.ECRImages.Get(ctx, c.Store, sp.Account, sp.Region, childID(name, d.String()))
	if err != nil {
		return
	}
	tx := store.NewTxn()
	tables.ECRImages.Check(tx, image) // not for one that was deleted meanwhile
	tables.ECRImagePulls.Put(tx, sp.Account, sp.Region, childID(name, d.String()), &model.ECRImagePull{LastPulledAt: now})
	_, _ = tx.Commit(ctx, c.Store)
}
