// Package ecr serves Amazon Elastic Container Registry's own API. Docker's and
// OCI's, by which images are pushed and pulled, is package registry; both
// stand on the same records and contents.
package ecr

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/pagetoken"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/manifest"
	"roadstead.dev/internal/registry/reference"
	"roadstead.dev/internal/registry/token"
	"roadstead.dev/internal/service/ecr/catalog"
	"roadstead.dev/internal/store"
)

// Downloads makes URLs by which a layer can be got without a token.
type Downloads interface {
	DownloadURL(sp registry.Space, name string, d reference.Digest, authority string, expires time.Time) string
}

// Config is what a Service needs. All of it is required.
type Config struct {
	Store     store.Store
	Clock     clock.Clock
	Catalog   *catalog.Catalog
	Registry  *registry.Registry
	Signer    *token.Signer
	Downloads Downloads
	Upstreams Upstreams
}

// Service implements ecr.Handler.
type Service struct{ Config }

var (
	_ ecr.Handler          = (*Service)(nil)
	_ api.ResourceScoper   = (*Service)(nil)
	_ api.ResourcePolicies = (*Service)(nil)
)

// New makes a Service.
func New(c Config) *Service { return &Service{c} }

// space is the registry that a request is about: the caller's own, or the one
// that it names.
func space(ctx context.Context, registryID *string) registry.Space {
	c := api.CallFrom(ctx)
	sp := registry.Space{Account: c.Account, Region: c.Region}
	if registryID != nil {
		sp.Account = *registryID
	}
	return sp
}

// repository finds the repository that a request is about, if its policy lets
// the caller do action, "ecr:PutImage".
func (s *Service) repository(ctx context.Context, action string, registryID, name *string) (registry.Space, store.Row[model.ECRRepository], error) {
	sp := space(ctx, registryID)
	row, err := s.Catalog.Row(ctx, sp, *name)
	unknown := registry.CodeOf(err) == registry.NameUnknown
	if err != nil && !unknown {
		return sp, row, fmt.Errorf("read repository: %w", err)
	}
	policy := ""
	if !unknown {
		policy = row.V.Policy
	}
	text, err := s.Catalog.Policy(ctx, sp, policy)
	if err != nil {
		return sp, row, fmt.Errorf("read the registry's policy: %w", err)
	}
	if err := permit(ctx, sp, action, *name, text); err != nil {
		return sp, row, err
	}
	if unknown {
		return sp, row, repositoryNotFound(sp, *name)
	}
	return sp, row, nil
}

func repositoryNotFound(sp registry.Space, name string) error {
	return ecr.NewRepositoryNotFoundException("The repository with name '%s' does not exist in the registry with id '%s'", name, sp.Account)
}

// invalid is ECR's form of a refused parameter.
func invalid(parameter, constraint string, args ...any) error {
	return ecr.NewInvalidParameterException("Invalid parameter at '%s' failed to satisfy constraint: '%s'", parameter, fmt.Sprintf(constraint, args...))
}

// list is what the page tokens of a list are bound to, besides the operation:
// the registry, and the filters.
func list(sp registry.Space, operation string, filters ...string) []string {
	return append([]string{operation, sp.Account, sp.Region}, filters...)
}

// position is where the page that a token asks for begins, empty for the first.
func position(t *string, list []string) (string, error) {
	if t == nil || *t == "" {
		return "", nil
	}
	after, ok := pagetoken.Open(*t, list...)
	if !ok {
		return "", invalid("nextToken", "Invalid token")
	}
	return after, nil
}

// nextToken is the token of the page behind after.
func nextToken(after string, list []string) *string { return new(pagetoken.Make(after, list...)) }

// defaultPage is how much is listed where a request does not say.
const defaultPage = 100

func pageSize(n *int32) int {
	if n == nil {
		return defaultPage
	}
	return int(*n)
}

// failure turns an error of the registry into ECR's exception.
func failure(sp registry.Space, name string, err error) error {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		return err
	}
	switch e.Code {
	case registry.NameUnknown:
		return repositoryNotFound(sp, name)
	case registry.TagInvalid:
		return ecr.NewImageTagAlreadyExistsException("%s", e.Message)
	case registry.ManifestBlobUnknown:
		if strings.HasPrefix(e.Message, "Images") {
			return ecr.NewReferencedImagesNotFoundException("%s", e.Message)
		}
		return ecr.NewLayersNotFoundException("%s", e.Message)
	default:
		return err
	}
}

// manifestFailure is failure for an operation that was given a manifest.
func manifestFailure(sp registry.Space, name string, err error) error {
	if errors.Is(err, manifest.ErrInvalid) || registry.CodeOf(err) == registry.ManifestInvalid {
		return invalid("ImageManifest", "%v", err)
	}
	return failure(sp, name, err)
}

// maxTries bounds retryConflict: a conflict that stays is no other writer's.
const maxTries = 1000

// retryConflict calls f again while others change what it read.
func retryConflict(ctx context.Context, f func() error) error {
	for try := 1; ; try++ {
		err := f()
		if !errors.Is(err, store.ErrConflict) || ctx.Err() != nil || try == maxTries {
			return err
		}
	}
}

func orEmpty(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}
