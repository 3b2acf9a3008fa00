// Package registry is an OCI distribution registry as ECR is one: it serves
// /v2/ to docker, containerd, skopeo and their like, for the registries of all
// accounts and regions.
//
// What there is (repositories, images, tags, and which repository holds which
// layer) is the Catalog's to say; contents lie on disk, in a blob.Store; who
// may do what is asked of an Authorizer.
package registry

import (
	"context"
	"errors"
	"slices"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry/blob"
	"roadstead.dev/internal/registry/manifest"
	"roadstead.dev/internal/registry/reference"
)

// Space is the registry of an account in a region.
type Space = blob.Space

// RepositoryARN is the ARN of a repository of a registry.
func RepositoryARN(sp Space, name string) string {
	return model.MakeARN("ecr", sp.Region, sp.Account, "repository/"+name)
}

// Repository is what the registry needs to know of one.
type Repository struct {
	ARN string
	// Policy is the repository policy, or empty.
	Policy string
}

// Image is a manifest in a repository.
type Image struct {
	Digest    reference.Digest
	MediaType string
	// Size of the manifest in bytes.
	Size int64
}

// Push is a manifest that is to be in a repository.
type Push struct {
	Digest reference.Digest
	// Size of the manifest in bytes.
	Size     int64
	Manifest *manifest.Manifest
	// Tags that are to name it.
	Tags []string
	// Replica tells that it is another registry's copy.
	Replica bool
}

// Tag is a tag and what it names.
type Tag struct {
	Name   string
	Digest reference.Digest
}

// Catalog knows what the repositories of all registries hold. Its errors are
// *Error where the user is to read them: NameUnknown, ManifestUnknown,
// BlobUnknown, ManifestBlobUnknown, TagInvalid for one that cannot be
// overwritten, Denied for a manifest that an index needs.
type Catalog interface {
	Repository(ctx context.Context, sp Space, name string) (Repository, error)
	// Repositories lists names behind after, in order; limit 0 means all.
	Repositories(ctx context.Context, sp Space, after string, limit int) ([]string, error)

	// Blob tells the size of a blob that the repository holds.
	Blob(ctx context.Context, sp Space, name string, d reference.Digest) (int64, error)
	// LinkBlob makes the repository hold a blob.
	LinkBlob(ctx context.Context, sp Space, name string, d reference.Digest, size int64) error
	// UnlinkBlob makes the repository hold it no longer.
	UnlinkBlob(ctx context.Context, sp Space, name string, d reference.Digest) error
	// Holders lists repositories of the registry that hold a blob.
	Holders(ctx context.Context, sp Space, d reference.Digest) ([]string, error)

	// Resolve finds a manifest.
	Resolve(ctx context.Context, sp Space, name string, ref reference.Reference) (Image, error)
	// PutManifest adds a manifest and moves its tags, all or nothing, if the
	// repository holds everything that the manifest refers to. Changed is false
	// when all of it was so before.
	PutManifest(ctx context.Context, sp Space, name string, p Push) (changed bool, err error)
	// DeleteManifest removes a manifest and all its tags.
	DeleteManifest(ctx context.Context, sp Space, name string, d reference.Digest) error
	// DeleteTag removes a tag and leaves what it names.
	DeleteTag(ctx context.Context, sp Space, name, tag string) error
	// Tags lists tags behind after, in order; limit 0 means all.
	Tags(ctx context.Context, sp Space, name, after string, limit int) ([]Tag, error)
	// Referrers describes the manifests whose subject is d, of one artifact
	// type or, when that is empty, of all.
	Referrers(ctx context.Context, sp Space, name string, d reference.Digest, artifactType string) ([]manifest.Descriptor, error)
	// Pulled notes that a manifest was pulled.
	Pulled(ctx context.Context, sp Space, name string, d reference.Digest)
}

// Registry joins what there is with its contents. The HTTP handlers and ECR's
// own API both stand on it.
type Registry struct {
	Catalog Catalog
	Blobs   *blob.Store
}

// PutManifest checks and stores a manifest. ContentType may be empty. Digest,
// when it is not, must be the content's; tags may be none.
func (r *Registry) PutManifest(ctx context.Context, sp Space, name string, body []byte, contentType string, d reference.Digest, tags []string) (img Image, m *manifest.Manifest, changed bool, err error) {
	m, err = manifest.Decode(body, contentType)
	if err != nil {
		return Image{}, nil, false, err
	}
	if d == "" {
		d = blob.Sum(body)
	}
	err = r.Blobs.Put(sp, d, body, func() error {
		changed, err = r.Catalog.PutManifest(ctx, sp, name, Push{Digest: d, Size: int64(len(body)), Manifest: m, Tags: tags})
		return err
	})
	return Image{Digest: d, MediaType: m.MediaType, Size: int64(len(body))}, m, changed, err
}

// Manifest reads a manifest and notes the pull.
func (r *Registry) Manifest(ctx context.Context, sp Space, name string, ref reference.Reference) (Image, []byte, error) {
	img, err := r.Catalog.Resolve(ctx, sp, name, ref)
	if err != nil {
		return img, nil, err
	}
	b, err := r.Blobs.Read(sp, img.Digest, manifest.MaxSize)
	if err != nil {
		return img, nil, err
	}
	r.Catalog.Pulled(ctx, sp, name, img.Digest)
	return img, b, nil
}

// CompleteUpload makes an upload a blob of the repository.
func (r *Registry) CompleteUpload(ctx context.Context, sp Space, name, uploadID string, d reference.Digest, last blob.Part) (int64, error) {
	return r.Blobs.Commit(ctx, sp, name, uploadID, d, last, func(size int64) error {
		return r.Catalog.LinkBlob(ctx, sp, name, d, size)
	})
}

// mount makes the repository hold a blob that another one of the registry
// holds: from, or when that is empty any one that may says the caller may read.
// It returns false when there is none.
func (r *Registry) mount(ctx context.Context, sp Space, name, from string, d reference.Digest, may func(repository string) bool) (bool, error) {
	sources := []string{from}
	if from == "" {
		var err error
		if sources, err = r.Catalog.Holders(ctx, sp, d); err != nil {
			return false, err
		}
		// The repository itself first: the caller is known to have rights there.
		if i := slices.Index(sources, name); i > 0 {
			sources[0], sources[i] = sources[i], sources[0]
		}
	}
	for _, source := range sources {
		if reference.CheckName(source) != nil || !may(source) {
			continue
		}
		if _, err := r.Catalog.Blob(ctx, sp, source, d); err != nil {
			if code := CodeOf(err); code == BlobUnknown || code == NameUnknown {
				continue
			}
			return false, err
		}
		err := r.Blobs.HoldBlob(sp, d, func(size int64) error {
			return r.Catalog.LinkBlob(ctx, sp, name, d, size)
		})
		if errors.Is(err, blob.ErrNotFound) {
			continue
		}
		return err == nil, err
	}
	return false, nil
}
