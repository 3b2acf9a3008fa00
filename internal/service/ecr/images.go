package ecr

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/blob"
	"roadstead.dev/internal/registry/reference"
)

// PutImage implements ecr.Handler.
func (s *Service) PutImage(ctx context.Context, in *ecr.PutImageInput) (*ecr.PutImageOutput, error) {
	sp, row, err := s.repository(ctx, "ecr:PutImage", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	name := row.V.Name
	var d reference.Digest
	if in.ImageDigest != nil {
		if d, err = reference.ParseDigest(*in.ImageDigest); err != nil {
			return nil, invalid("imageDigest", "Invalid image digest %s", *in.ImageDigest)
		}
	}
	var tags []string
	if in.ImageTag != nil {
		if err := reference.CheckTag(*in.ImageTag); err != nil {
			return nil, invalid("imageTag", "Invalid image tag %s", *in.ImageTag)
		}
		tags = []string{*in.ImageTag}
	}
	img, _, changed, err := s.Registry.PutManifest(ctx, sp, name, []byte(*in.ImageManifest), orEmpty(in.ImageManifestMediaType), d, tags)
	switch {
	case errors.Is(err, blob.ErrDigest):
		return nil, ecr.NewImageDigestDoesNotMatchException("The specified image digest '%s' does not match the digest '%s' calculated for the image", d, blob.Sum([]byte(*in.ImageManifest)))
	case err != nil:
		return nil, manifestFailure(sp, name, err)
	case !changed && in.ImageTag != nil:
		return nil, ecr.NewImageAlreadyExistsException("Image with digest '%s' and tag '%s' already exists in the repository with name '%s' in registry with id '%s'", img.Digest, *in.ImageTag, name, sp.Account)
	case !changed:
		return nil, ecr.NewImageAlreadyExistsException("Image with digest '%s' already exists in the repository with name '%s' in registry with id '%s'", img.Digest, name, sp.Account)
	}
	return &ecr.PutImageOutput{Image: &ecr.Image{
		ImageId:                &ecr.ImageIdentifier{ImageDigest: new(img.Digest.String()), ImageTag: in.ImageTag},
		ImageManifest:          in.ImageManifest,
		ImageManifestMediaType: new(img.MediaType),
		RegistryId:             new(sp.Account),
		RepositoryName:         in.RepositoryName,
	}}, nil
}

// The reasons of failed images, in ECR's words.
const (
	reasonNotFound = "Requested image not found"
	reasonMissing  = "Invalid request parameters: both tag and digest cannot be null"
	reasonDigest   = "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"
	reasonTag      = "Invalid request parameters: image tag should satisfy the regex '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'"
	reasonMismatch = "The specified image tag does not match the specified image digest"
)

// locate finds the image that an identifier names. A failure is one of the
// batch operations'; err is the server's.
func (s *Service) locate(ctx context.Context, sp registry.Space, name string, id ecr.ImageIdentifier) (img registry.Image, failed *ecr.ImageFailure, err error) {
	fail := func(code ecr.ImageFailureCode, reason string) (registry.Image, *ecr.ImageFailure, error) {
		return registry.Image{}, &ecr.ImageFailure{FailureCode: code, FailureReason: new(reason), ImageId: &id}, nil
	}
	if id.ImageDigest == nil && id.ImageTag == nil {
		return fail(ecr.ImageFailureCodeMissingDigestAndTag, reasonMissing)
	}
	var ref reference.Reference
	if id.ImageDigest != nil {
		if ref.Digest, err = reference.ParseDigest(*id.ImageDigest); err != nil {
			return fail(ecr.ImageFailureCodeInvalidImageDigest, reasonDigest)
		}
	}
	if id.ImageTag != nil {
		if reference.CheckTag(*id.ImageTag) != nil {
			return fail(ecr.ImageFailureCodeInvalidImageTag, reasonTag)
		}
		ref = reference.Reference{Tag: *id.ImageTag}
	}
	img, err = s.Catalog.Resolve(ctx, sp, name, ref)
	switch {
	case registry.CodeOf(err) == registry.ManifestUnknown:
		return fail(ecr.ImageFailureCodeImageNotFound, reasonNotFound)
	case err != nil:
		return img, nil, fmt.Errorf("find image: %w", err)
	case id.ImageDigest != nil && img.Digest.String() != *id.ImageDigest:
		return fail(ecr.ImageFailureCodeImageTagDoesNotMatchDigest, reasonMismatch)
	}
	return img, nil, nil
}

// BatchGetImage implements ecr.Handler.
func (s *Service) BatchGetImage(ctx context.Context, in *ecr.BatchGetImageInput) (*ecr.BatchGetImageOutput, error) {
	sp, row, err := s.repository(ctx, "ecr:BatchGetImage", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	name := row.V.Name
	out := &ecr.BatchGetImageOutput{Images: []ecr.Image{}, Failures: []ecr.ImageFailure{}}
	for _, id := range in.ImageIds {
		img, failed, err := s.locate(ctx, sp, name, id)
		if err != nil {
			return nil, err
		}
		if failed == nil && in.AcceptedMediaTypes != nil && !slices.Contains(in.AcceptedMediaTypes, img.MediaType) {
			failed = &ecr.ImageFailure{FailureCode: ecr.ImageFailureCodeImageNotFound, FailureReason: new(reasonNotFound), ImageId: &id}
		}
		if failed != nil {
			out.Failures = append(out.Failures, *failed)
			continue
		}
		_, body, err := s.Registry.Manifest(ctx, sp, name, reference.Reference{Digest: img.Digest})
		if err != nil {
			return nil, fmt.Errorf("read manifest: %w", err)
		}
		out.Images = append(out.Images, ecr.Image{
			ImageId:                &ecr.ImageIdentifier{ImageDigest: new(img.Digest.String()), ImageTag: id.ImageTag},
			ImageManifest:          new(string(body)),
			ImageManifestMediaType: new(img.MediaType),
			RegistryId:             new(sp.Account),
			RepositoryName:         in.RepositoryName,
		})
	}
	return out, nil
}

// BatchDeleteImage implements ecr.Handler. By tag it removes the tag, and the
// image with its last one; by digest the image with all its tags. Indexes go
// before the images that they list, whatever the order of the request.
func (s *Service) BatchDeleteImage(ctx context.Context, in *ecr.BatchDeleteImageInput) (*ecr.BatchDeleteImageOutput, error) {
	sp, row, err := s.repository(ctx, "ecr:BatchDeleteImage", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	name := row.V.Name
	out := &ecr.BatchDeleteImageOutput{ImageIds: []ecr.ImageIdentifier{}, Failures: []ecr.ImageFailure{}}
	todo := in.ImageIds
	for {
		var held []ecr.ImageIdentifier
		var failures []ecr.ImageFailure
		for _, id := range todo {
			deleted, failed, err := s.deleteImage(ctx, sp, name, id)
			switch {
			case err != nil:
				return nil, err
			case failed == nil:
				out.ImageIds = append(out.ImageIds, deleted...)
			case failed.FailureCode == ecr.ImageFailureCodeImageReferencedByManifestList:
				held = append(held, id)
				failures = append(failures, *failed)
			default:
				out.Failures = append(out.Failures, *failed)
			}
		}
		if len(held) == 0 || len(held) == len(todo) {
			out.Failures = append(out.Failures, failures...)
			return out, nil
		}
		todo = held // what held them may be gone now
	}
}

func (s *Service) deleteImage(ctx context.Context, sp registry.Space, name string, id ecr.ImageIdentifier) ([]ecr.ImageIdentifier, *ecr.ImageFailure, error) {
	img, failed, err := s.locate(ctx, sp, name, id)
	if err != nil || failed != nil {
		return nil, failed, err
	}
	digest := img.Digest.String()
	if id.ImageTag != nil {
		err := s.Catalog.Untag(ctx, sp, name, *id.ImageTag)
		if registry.CodeOf(err) == registry.ManifestUnknown {
			return nil, &ecr.ImageFailure{FailureCode: ecr.ImageFailureCodeImageNotFound, FailureReason: new(reasonNotFound), ImageId: &id}, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("remove tag: %w", err)
		}
		return []ecr.ImageIdentifier{{ImageDigest: new(digest), ImageTag: id.ImageTag}}, nil, nil
	}
	tags, err := s.Catalog.TagsOf(ctx, sp, name, img.Digest)
	if err != nil {
		return nil, nil, fmt.Errorf("list tags: %w", err)
	}
	err = s.Catalog.DeleteManifest(ctx, sp, name, img.Digest)
	if e, ok := errors.AsType[*registry.Error](err); ok {
		f := &ecr.ImageFailure{FailureCode: ecr.ImageFailureCodeImageNotFound, FailureReason: new(reasonNotFound), ImageId: &id}
		if e.Code == registry.Denied {
			f.FailureCode, f.FailureReason = ecr.ImageFailureCodeImageReferencedByManifestList, new(e.Message)
		}
		return nil, f, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("delete image: %w", err)
	}
	ids := []ecr.ImageIdentifier{}
	for _, t := range tags {
		ids = append(ids, ecr.ImageIdentifier{ImageDigest: new(digest), ImageTag: new(t.V.Tag)})
	}
	if len(ids) == 0 {
		ids = append(ids, ecr.ImageIdentifier{ImageDigest: new(digest)})
	}
	return ids, nil, nil
}
