package ecr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// CreateRepository implements ecr.Handler.
func (s *Service) CreateRepository(ctx context.Context, in *ecr.CreateRepositoryInput) (*ecr.CreateRepositoryOutput, error) {
	sp, name := space(ctx, in.RegistryId), *in.RepositoryName
	// A registry's policy speaks of making repositories, whatever its scope.
	settings, err := s.Catalog.Settings(ctx, sp)
	if err != nil {
		return nil, fmt.Errorf("read the registry's policy: %w", err)
	}
	if err := permit(ctx, sp, "ecr:CreateRepository", name, settings.V.Policy); err != nil {
		return nil, err
	}
	v := &model.ECRRepository{
		Name: name, CreatedAt: api.CallFrom(ctx).Time.UTC().Truncate(time.Millisecond),
		EncryptionType: string(ecr.EncryptionTypeAes256), TagMutability: string(ecr.ImageTagMutabilityMutable),
	}
	if e := in.EncryptionConfiguration; e != nil {
		if e.EncryptionType != ecr.EncryptionTypeAes256 || e.KmsKey != nil {
			return nil, invalid("encryptionConfiguration", "Only the encryption type AES256 is supported")
		}
	}
	v.ScanOnPush = scanOnPush(in.ImageScanningConfiguration)
	if err := setMutability(v, in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters); err != nil {
		return nil, err
	}
	tags, err := addTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	v.Tags = tags.Initial()
	if _, err := s.Catalog.Row(ctx, sp, name); err == nil {
		return nil, alreadyExists(sp, name)
	}
	// What a deletion that was cut short has left must not come back.
	if err := s.Catalog.Purge(ctx, sp, name); err != nil {
		return nil, fmt.Errorf("purge %s: %w", name, err)
	}
	tx := store.NewTxn()
	tables.ECRRepositories.Create(tx, sp.Account, sp.Region, name, v)
	if _, err := tx.Commit(ctx, s.Store); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return nil, alreadyExists(sp, name)
		}
		return nil, fmt.Errorf("create repository: %w", err)
	}
	return &ecr.CreateRepositoryOutput{Repository: describe(ctx, sp, v)}, nil
}

func alreadyExists(sp registry.Space, name string) error {
	return ecr.NewRepositoryAlreadyExistsException("The repository with name '%s' already exists in the registry with id '%s'", name, sp.Account)
}

// describe is a repository as the API shows it. Its URI has the port by which
// the caller reached the server.
func describe(ctx context.Context, sp registry.Space, r *model.ECRRepository) *ecr.Repository {
	return &ecr.Repository{
		CreatedAt:                          new(r.CreatedAt),
		EncryptionConfiguration:            &ecr.EncryptionConfiguration{EncryptionType: ecr.EncryptionType(r.EncryptionType)},
		ImageScanningConfiguration:         &ecr.ImageScanningConfiguration{ScanOnPush: new(r.ScanOnPush)},
		ImageTagMutability:                 ecr.ImageTagMutability(r.TagMutability),
		ImageTagMutabilityExclusionFilters: filters(r.MutabilityExclusions),
		RegistryId:                         new(sp.Account),
		RepositoryArn:                      new(registry.RepositoryARN(sp, r.Name)),
		RepositoryName:                     new(r.Name),
		RepositoryUri:                      new(registry.Host(sp, api.CallFrom(ctx).Host) + "/" + r.Name),
	}
}

func filters(patterns []string) []ecr.ImageTagMutabilityExclusionFilter {
	var out []ecr.ImageTagMutabilityExclusionFilter
	for _, p := range patterns {
		out = append(out, ecr.ImageTagMutabilityExclusionFilter{
			Filter: new(p), FilterType: ecr.ImageTagMutabilityExclusionFilterTypeWildcard,
		})
	}
	return out
}

func scanOnPush(c *ecr.ImageScanningConfiguration) bool {
	return c != nil && c.ScanOnPush != nil && *c.ScanOnPush
}

// setMutability checks and sets whether tags can be moved.
func setMutability(v *model.ECRRepository, m ecr.ImageTagMutability, exclusions []ecr.ImageTagMutabilityExclusionFilter) error {
	if m == "" {
		m = ecr.ImageTagMutabilityMutable
	}
	excluding := m == ecr.ImageTagMutabilityMutableWithExclusion || m == ecr.ImageTagMutabilityImmutableWithExclusion
	if excluding != (len(exclusions) > 0) {
		if excluding {
			return invalid("imageTagMutabilityExclusionFilters", "Exclusion filters are required when image tag mutability is %s", m)
		}
		return invalid("imageTagMutabilityExclusionFilters", "Exclusion filters are not allowed when image tag mutability is %s", m)
	}
	var patterns []string
	for _, f := range exclusions {
		if strings.Count(*f.Filter, "*") > 2 {
			return invalid("imageTagMutabilityExclusionFilters", "A filter can hold two wildcards at most")
		}
		if !slices.Contains(patterns, *f.Filter) {
			patterns = append(patterns, *f.Filter)
		}
	}
	v.TagMutability, v.MutabilityExclusions = string(m), patterns
	return nil
}

// DescribeRepositories implements ecr.Handler.
func (s *Service) DescribeRepositories(ctx context.Context, in *ecr.DescribeRepositoriesInput) (*ecr.DescribeRepositoriesOutput, error) {
	sp := space(ctx, in.RegistryId)
	out := &ecr.DescribeRepositoriesOutput{Repositories: []ecr.Repository{}}
	if in.RepositoryNames != nil {
		if in.MaxResults != nil || in.NextToken != nil {
			return nil, invalid("maxResults", "Pagination parameters cannot be used together with repositoryNames")
		}
		for _, name := range in.RepositoryNames {
			_, row, err := s.repository(ctx, "ecr:DescribeRepositories", in.RegistryId, &name)
			if err != nil {
				return nil, err
			}
			out.Repositories = append(out.Repositories, *describe(ctx, sp, row.V))
		}
		return out, nil
	}
	if sp.Account != api.CallFrom(ctx).Account {
		// No repository's policy can speak for the whole registry.
		return nil, denied(api.CallFrom(ctx).Identity, "ecr:DescribeRepositories", registry.RepositoryARN(sp, "*"),
			"because no resource-based policy allows the ecr:DescribeRepositories action")
	}
	list := list(sp, "DescribeRepositories")
	after, err := position(in.NextToken, list)
	if err != nil {
		return nil, err
	}
	n := pageSize(in.MaxResults)
	rows, err := tables.ECRRepositories.List(ctx, s.Store, store.Query{Account: sp.Account, Region: sp.Region, After: after, Limit: n + 1})
	if err != nil {
		return nil, fmt.Errorf("list repositories: %w", err)
	}
	if len(rows) > n {
		rows = rows[:n]
		out.NextToken = nextToken(rows[n-1].Key.ID, list)
	}
	for _, r := range rows {
		out.Repositories = append(out.Repositories, *describe(ctx, sp, r.V))
	}
	return out, nil
}

// DeleteRepository implements ecr.Handler.
func (s *Service) DeleteRepository(ctx context.Context, in *ecr.DeleteRepositoryInput) (*ecr.DeleteRepositoryOutput, error) {
	name := *in.RepositoryName
	var out *ecr.DeleteRepositoryOutput
	sp := space(ctx, in.RegistryId)
	err := retryConflict(ctx, func() error {
		_, row, err := s.repository(ctx, "ecr:DeleteRepository", in.RegistryId, in.RepositoryName)
		if err != nil {
			return err
		}
		if in.Force == nil || !*in.Force {
			images, err := tables.ECRImages.List(ctx, s.Store, store.Query{Account: sp.Account, Region: sp.Region, Prefix: name + "@", Limit: 1})
			if err != nil {
				return fmt.Errorf("list images: %w", err)
			}
			if len(images) > 0 {
				return ecr.NewRepositoryNotEmptyException("The repository with name '%s' in registry with id '%s' cannot be deleted because it still contains images", name, sp.Account)
			}
		}
		tx := store.NewTxn()
		tables.ECRRepositories.Delete(tx, row)
		if _, err := tx.Commit(ctx, s.Store); err != nil {
			return fmt.Errorf("delete repository: %w", err)
		}
		out = &ecr.DeleteRepositoryOutput{Repository: describe(ctx, sp, row.V)}
		return nil
	})
	if err != nil {
		return nil, err
	}
	// Nothing can be added any more. What is cut short here is finished when
	// the name is used again, or by the sweep.
	s.Registry.Blobs.CancelUploads(sp, name)
	if err := s.Catalog.Purge(ctx, sp, name); err != nil {
		return nil, fmt.Errorf("purge %s: %w", name, err)
	}
	return out, nil
}

// update changes a repository's record, with the permission for action.
func (s *Service) update(ctx context.Context, action string, registryID, name *string, change func(*model.ECRRepository) error) (registry.Space, *model.ECRRepository, error) {
	sp, _, err := s.repository(ctx, action, registryID, name)
	if err != nil {
		return sp, nil, err
	}
	v, err := s.write(ctx, sp, *name, change)
	return sp, v, err
}

// write changes a repository's record.
func (s *Service) write(ctx context.Context, sp registry.Space, name string, change func(*model.ECRRepository) error) (*model.ECRRepository, error) {
	row, err := tables.ECRRepositories.Update(ctx, s.Store, sp.Account, sp.Region, name, change)
	if errors.Is(err, store.ErrNotFound) {
		return nil, repositoryNotFound(sp, name)
	}
	return row.V, err
}

// PutImageTagMutability implements ecr.Handler.
func (s *Service) PutImageTagMutability(ctx context.Context, in *ecr.PutImageTagMutabilityInput) (*ecr.PutImageTagMutabilityOutput, error) {
	sp, v, err := s.update(ctx, "ecr:PutImageTagMutability", in.RegistryId, in.RepositoryName, func(r *model.ECRRepository) error {
		return setMutability(r, in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters)
	})
	if err != nil {
		return nil, err
	}
	return &ecr.PutImageTagMutabilityOutput{
		ImageTagMutability:                 ecr.ImageTagMutability(v.TagMutability),
		ImageTagMutabilityExclusionFilters: filters(v.MutabilityExclusions),
		RegistryId:                         new(sp.Account),
		RepositoryName:                     in.RepositoryName,
	}, nil
}

// PutImageScanningConfiguration implements ecr.Handler.
func (s *Service) PutImageScanningConfiguration(ctx context.Context, in *ecr.PutImageScanningConfigurationInput) (*ecr.PutImageScanningConfigurationOutput, error) {
	sp, v, err := s.update(ctx, "ecr:PutImageScanningConfiguration", in.RegistryId, in.RepositoryName, func(r *model.ECRRepository) error {
		r.ScanOnPush = scanOnPush(in.ImageScanningConfiguration)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &ecr.PutImageScanningConfigurationOutput{
		ImageScanningConfiguration: &ecr.ImageScanningConfiguration{ScanOnPush: new(v.ScanOnPush)},
		RegistryId:                 new(sp.Account),
		RepositoryName:             in.RepositoryName,
	}, nil
}
