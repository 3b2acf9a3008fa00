package ecr

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/blob"
	"roadstead.dev/internal/registry/reference"
	"roadstead.dev/internal/registry/token"
)

const (
	// partSize is what clients are asked to cut layers into.
	partSize = 10 << 20
	// downloadLife is how long a layer's download URL works.
	downloadLife = time.Hour
)

// GetAuthorizationToken implements ecr.Handler.
func (s *Service) GetAuthorizationToken(ctx context.Context, in *ecr.GetAuthorizationTokenInput) (*ecr.GetAuthorizationTokenOutput, error) {
	c := api.CallFrom(ctx)
	expires := c.Time.Add(token.Lifetime).UTC().Truncate(time.Millisecond)
	pw, err := s.Signer.Issue(token.Claims{Account: c.Account, Identity: c.Identity, Expires: expires})
	if err != nil {
		return nil, err
	}
	ids := in.RegistryIds
	if ids == nil {
		ids = []string{c.Account}
	}
	out := &ecr.GetAuthorizationTokenOutput{}
	for _, id := range ids {
		out.AuthorizationData = append(out.AuthorizationData, ecr.AuthorizationData{
			AuthorizationToken: new(base64.StdEncoding.EncodeToString([]byte("AWS:" + pw))),
			ExpiresAt:          new(expires),
			ProxyEndpoint:      new(scheme(c) + "://" + registry.Host(registry.Space{Account: id, Region: c.Region}, c.Host)),
		})
	}
	return out, nil
}

// scheme is the way by which the caller reaches this server.
func scheme(c *api.Call) string {
	if c.Secure {
		return "https"
	}
	return "http"
}

// BatchCheckLayerAvailability implements ecr.Handler.
func (s *Service) BatchCheckLayerAvailability(ctx context.Context, in *ecr.BatchCheckLayerAvailabilityInput) (*ecr.BatchCheckLayerAvailabilityOutput, error) {
	sp, row, err := s.repository(ctx, "ecr:BatchCheckLayerAvailability", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	out := &ecr.BatchCheckLayerAvailabilityOutput{Layers: []ecr.Layer{}, Failures: []ecr.LayerFailure{}}
	for _, text := range in.LayerDigests {
		d, err := reference.ParseDigest(text)
		if err != nil {
			f := ecr.LayerFailure{LayerDigest: new(text), FailureCode: ecr.LayerFailureCodeInvalidLayerDigest, FailureReason: new("Invalid layer digest")}
			if text == "" {
				f.FailureCode, f.FailureReason = ecr.LayerFailureCodeMissingLayerDigest, new("Missing layer digest")
			}
			out.Failures = append(out.Failures, f)
			continue
		}
		l := ecr.Layer{LayerDigest: new(text), LayerAvailability: ecr.LayerAvailabilityUnavailable}
		size, err := s.Catalog.Blob(ctx, sp, row.V.Name, d)
		switch {
		case err == nil:
			l.LayerAvailability, l.LayerSize = ecr.LayerAvailabilityAvailable, new(size)
		case registry.CodeOf(err) != registry.BlobUnknown:
			return nil, fmt.Errorf("read layer: %w", err)
		}
		out.Layers = append(out.Layers, l)
	}
	return out, nil
}

// InitiateLayerUpload implements ecr.Handler.
func (s *Service) InitiateLayerUpload(ctx context.Context, in *ecr.InitiateLayerUploadInput) (*ecr.InitiateLayerUploadOutput, error) {
	sp, row, err := s.repository(ctx, "ecr:InitiateLayerUpload", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	id, err := s.Registry.Blobs.Start(sp, row.V.Name)
	if errors.Is(err, blob.ErrTooManyUploads) {
		return nil, ecr.NewLimitExceededException("The repository with name '%s' has too many layer uploads in progress", row.V.Name)
	}
	if err != nil {
		return nil, err
	}
	return &ecr.InitiateLayerUploadOutput{UploadId: new(id), PartSize: new(int64(partSize))}, nil
}

// UploadLayerPart implements ecr.Handler.
func (s *Service) UploadLayerPart(ctx context.Context, in *ecr.UploadLayerPartInput) (*ecr.UploadLayerPartOutput, error) {
	sp, row, err := s.repository(ctx, "ecr:UploadLayerPart", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	invalidPart := func(size int64) error {
		e := ecr.NewInvalidLayerPartException("The layer part size is not valid, or the first byte specified is not consecutive to the last byte of a previous layer part upload.")
		e.RegistryId, e.RepositoryName, e.UploadId = new(sp.Account), in.RepositoryName, in.UploadId
		e.LastValidByteReceived = new(max(size-1, 0))
		return e
	}
	if int64(len(in.LayerPartBlob)) != *in.PartLastByte-*in.PartFirstByte+1 {
		size, err := s.Registry.Blobs.Status(sp, row.V.Name, *in.UploadId)
		if err != nil {
			return nil, uploadFailure(sp, row.V.Name, *in.UploadId, err)
		}
		return nil, invalidPart(size)
	}
	size, err := s.Registry.Blobs.Append(ctx, sp, row.V.Name, *in.UploadId, blob.Part{At: *in.PartFirstByte, Body: bytes.NewReader(in.LayerPartBlob)})
	if errors.Is(err, blob.ErrOffset) || errors.Is(err, blob.ErrUploadBusy) {
		return nil, invalidPart(size)
	}
	if err != nil {
		return nil, uploadFailure(sp, row.V.Name, *in.UploadId, err)
	}
	return &ecr.UploadLayerPartOutput{
		LastByteReceived: new(size - 1), RegistryId: new(sp.Account), RepositoryName: in.RepositoryName, UploadId: in.UploadId,
	}, nil
}

func uploadFailure(sp registry.Space, name, id string, err error) error {
	switch {
	case errors.Is(err, blob.ErrUploadNotFound):
		return ecr.NewUploadNotFoundException("The upload with id '%s' could not be found in the repository with name '%s' in the registry with id '%s'", id, name, sp.Account)
	case errors.Is(err, blob.ErrTooLarge):
		return ecr.NewLimitExceededException("The layer is larger than a layer may be")
	}
	return failure(sp, name, err)
}

// CompleteLayerUpload implements ecr.Handler.
func (s *Service) CompleteLayerUpload(ctx context.Context, in *ecr.CompleteLayerUploadInput) (*ecr.CompleteLayerUploadOutput, error) {
	sp, row, err := s.repository(ctx, "ecr:CompleteLayerUpload", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	name, id := row.V.Name, *in.UploadId
	size, err := s.Registry.Blobs.Status(sp, name, id)
	if err != nil {
		return nil, uploadFailure(sp, name, id, err)
	}
	if size == 0 {
		return nil, ecr.NewEmptyUploadException("The specified layer upload does not contain any layer parts.")
	}
	// Clients may give the layer's digest in several algorithms; each must hold.
	var digests []reference.Digest
	for _, text := range in.LayerDigests {
		d, err := reference.ParseDigest(text)
		if err != nil {
			return nil, invalid("layerDigests", "Invalid layer digest %s", text)
		}
		digests = append(digests, d)
	}
	if len(digests) > 1 {
		return nil, invalid("layerDigests", "Exactly one layer digest must be given")
	}
	d := digests[0]
	if _, err := s.Catalog.Blob(ctx, sp, name, d); err == nil {
		got, err := s.Registry.Blobs.Digest(ctx, sp, name, id)
		if err != nil {
			return nil, uploadFailure(sp, name, id, err)
		}
		if got == d {
			_ = s.Registry.Blobs.Cancel(sp, name, id) // else it expires
			return nil, ecr.NewLayerAlreadyExistsException("The image layer '%s' already exists in the repository with name '%s' in the registry with id '%s'", d, name, sp.Account)
		}
	}
	if _, err := s.Registry.CompleteUpload(ctx, sp, name, id, d, blob.Part{At: -1}); err != nil {
		if errors.Is(err, blob.ErrDigest) {
			return nil, ecr.NewInvalidLayerException("The layer digest calculation performed by Amazon ECR upon receipt of the image layer does not match the digest specified.")
		}
		return nil, uploadFailure(sp, name, id, err)
	}
	return &ecr.CompleteLayerUploadOutput{
		LayerDigest: new(d.String()), RegistryId: new(sp.Account), RepositoryName: in.RepositoryName, UploadId: in.UploadId,
	}, nil
}

// GetDownloadUrlForLayer implements ecr.Handler.
func (s *Service) GetDownloadUrlForLayer(ctx context.Context, in *ecr.GetDownloadUrlForLayerInput) (*ecr.GetDownloadUrlForLayerOutput, error) { //nolint:staticcheck // AWS's name
	sp, row, err := s.repository(ctx, "ecr:GetDownloadUrlForLayer", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	d, err := reference.ParseDigest(*in.LayerDigest)
	if err == nil {
		_, err = s.Catalog.Blob(ctx, sp, row.V.Name, d)
	}
	if errors.Is(err, reference.ErrDigest) || registry.CodeOf(err) == registry.BlobUnknown {
		return nil, ecr.NewLayersNotFoundException("Layer with digest '%s' does not exist in the repository with name '%s' in the registry with id '%s'", *in.LayerDigest, row.V.Name, sp.Account)
	}
	if err != nil {
		return nil, fmt.Errorf("read layer: %w", err)
	}
	c := api.CallFrom(ctx)
	return &ecr.GetDownloadUrlForLayerOutput{
		DownloadUrl: new(scheme(c) + strings.TrimPrefix(s.Downloads.DownloadURL(sp, row.V.Name, d, c.Host, c.Time.Add(downloadLife)), "http")),
		LayerDigest: in.LayerDigest,
	}, nil
}
