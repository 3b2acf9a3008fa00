package ecr

import (
	"context"
	"errors"
	"fmt"
	"time"

	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/manifest"
	"roadstead.dev/internal/service/ecr/catalog"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// There is no database of vulnerabilities here, so no operating system is one
// whose packages could be looked up. A scan ends as AWS's ends for an image
// whose system it does not know, and never says that an image has no findings.
const unscannable = "UnsupportedImageError: The operating system and/or package manager are not supported."

// scanQuota is how often an image can be scanned by name.
const scanQuota = 24 * time.Hour

// scanStatus is that of an image, nil when no scan was asked for.
func scanStatus(img *model.ECRImage) *ecr.ImageScanStatus {
	if img.ScanRequestedAt.IsZero() {
		return nil
	}
	return &ecr.ImageScanStatus{Status: ecr.ScanStatusFailed, Description: new(unscannable)}
}

// image finds the image that an identifier names.
func (s *Service) image(ctx context.Context, sp registry.Space, name string, id ecr.ImageIdentifier) (store.Row[model.ECRImage], error) {
	var none store.Row[model.ECRImage]
	img, failed, err := s.locate(ctx, sp, name, id)
	switch {
	case err != nil:
		return none, err
	case failed == nil:
	case failed.FailureCode == ecr.ImageFailureCodeImageNotFound || failed.FailureCode == ecr.ImageFailureCodeImageTagDoesNotMatchDigest:
		return none, imageNotFound(sp, name, id)
	default:
		return none, invalid("imageId", "%s", *failed.FailureReason)
	}
	row, err := tables.ECRImages.Get(ctx, s.Store, sp.Account, sp.Region, name+"@"+img.Digest.String())
	if errors.Is(err, store.ErrNotFound) {
		return none, imageNotFound(sp, name, id)
	}
	if err != nil {
		return none, fmt.Errorf("read image: %w", err)
	}
	return row, nil
}

// StartImageScan implements ecr.Handler.
func (s *Service) StartImageScan(ctx context.Context, in *ecr.StartImageScanInput) (*ecr.StartImageScanOutput, error) {
	sp, repo, err := s.repository(ctx, "ecr:StartImageScan", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	err = retryConflict(ctx, func() error {
		row, err := s.image(ctx, sp, repo.V.Name, *in.ImageId)
		if err != nil {
			return err
		}
		at := now(ctx)
		switch row.V.MediaType {
		case manifest.OCIManifest, manifest.DockerManifest:
		default:
			return ecr.NewUnsupportedImageTypeException("The image is of a type that cannot be scanned: %s", row.V.MediaType)
		}
		if last := row.V.ScanRequestedAt; !last.IsZero() && at.Sub(last) < scanQuota {
			return ecr.NewLimitExceededException("The scan quota per image has been exceeded. Wait and try again.")
		}
		v := row.Copy()
		v.ScanRequestedAt = at
		tx := store.NewTxn()
		tables.ECRImages.Replace(tx, row, v)
		_, err = tx.Commit(ctx, s.Store)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ecr.StartImageScanOutput{
		ImageId: in.ImageId, ImageScanStatus: &ecr.ImageScanStatus{Status: ecr.ScanStatusInProgress},
		RegistryId: new(sp.Account), RepositoryName: in.RepositoryName,
	}, nil
}

// DescribeImageScanFindings implements ecr.Handler.
func (s *Service) DescribeImageScanFindings(ctx context.Context, in *ecr.DescribeImageScanFindingsInput) (*ecr.DescribeImageScanFindingsOutput, error) {
	sp, repo, err := s.repository(ctx, "ecr:DescribeImageScanFindings", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	row, err := s.image(ctx, sp, repo.V.Name, *in.ImageId)
	if err != nil {
		return nil, err
	}
	status := scanStatus(row.V)
	if status == nil {
		return nil, ecr.NewScanNotFoundException("Image scan does not exist for the image with '%s' in the repository with name '%s' in the registry with id '%s'",
			identifierText(*in.ImageId), repo.V.Name, sp.Account)
	}
	if _, err := position(in.NextToken, list(sp, "DescribeImageScanFindings", row.Key.ID)); err != nil {
		return nil, err
	}
	id := ecr.ImageIdentifier{ImageDigest: new(row.V.Digest), ImageTag: in.ImageId.ImageTag}
	return &ecr.DescribeImageScanFindingsOutput{
		ImageId: &id, ImageScanStatus: status, RegistryId: new(sp.Account), RepositoryName: in.RepositoryName,
	}, nil
}

func identifierText(id ecr.ImageIdentifier) string {
	text := func(p *string) string {
		if p == nil {
			return "null"
		}
		return *p
	}
	return fmt.Sprintf("{imageDigest:'%s', imageTag:'%s'}", text(id.ImageDigest), text(id.ImageTag))
}

func scanFilters(names []string) []ecr.ScanningRepositoryFilter {
	out := []ecr.ScanningRepositoryFilter{}
	for _, n := range names {
		out = append(out, ecr.ScanningRepositoryFilter{Filter: new(n), FilterType: ecr.ScanningRepositoryFilterTypeWildcard})
	}
	return out
}

func showScanning(r *model.ECRRegistry) *ecr.RegistryScanningConfiguration {
	out := &ecr.RegistryScanningConfiguration{ScanType: ecr.ScanTypeBasic, Rules: []ecr.RegistryScanningRule{}}
	for _, rule := range r.ScanRules {
		out.Rules = append(out.Rules, ecr.RegistryScanningRule{ScanFrequency: ecr.ScanFrequency(rule.Frequency), RepositoryFilters: scanFilters(rule.Filters)})
	}
	return out
}

// GetRegistryScanningConfiguration implements ecr.Handler.
func (s *Service) GetRegistryScanningConfiguration(ctx context.Context, _ *ecr.GetRegistryScanningConfigurationInput) (*ecr.GetRegistryScanningConfigurationOutput, error) {
	sp, r, err := s.settings(ctx)
	if err != nil {
		return nil, err
	}
	return &ecr.GetRegistryScanningConfigurationOutput{RegistryId: new(sp.Account), ScanningConfiguration: showScanning(r)}, nil
}

// PutRegistryScanningConfiguration implements ecr.Handler.
func (s *Service) PutRegistryScanningConfiguration(ctx context.Context, in *ecr.PutRegistryScanningConfigurationInput) (*ecr.PutRegistryScanningConfigurationOutput, error) {
	if in.ScanType == ecr.ScanTypeEnhanced {
		return nil, invalid("scanType", "Enhanced scanning is not supported in this Region")
	}
	var rules []model.ECRScanRule
	seen := map[ecr.ScanFrequency]bool{}
	for _, r := range in.Rules {
		switch {
		case r.ScanFrequency == ecr.ScanFrequencyContinuousScan:
			return nil, invalid("rules", "The scan frequency CONTINUOUS_SCAN is not valid for the scan type BASIC")
		case seen[r.ScanFrequency]:
			return nil, invalid("rules", "There can be one rule for each scan frequency")
		case len(r.RepositoryFilters) == 0:
			return nil, invalid("rules", "A rule needs a repository filter")
		}
		seen[r.ScanFrequency] = true
		rule := model.ECRScanRule{Frequency: string(r.ScanFrequency)}
		for _, f := range r.RepositoryFilters {
			rule.Filters = append(rule.Filters, *f.Filter)
		}
		rules = append(rules, rule)
	}
	var out *ecr.RegistryScanningConfiguration
	if _, err := s.setUp(ctx, func(r *model.ECRRegistry) error {
		r.ScanRules = rules
		out = showScanning(r)
		return nil
	}); err != nil {
		return nil, err
	}
	return &ecr.PutRegistryScanningConfigurationOutput{RegistryScanningConfiguration: out}, nil
}

// BatchGetRepositoryScanningConfiguration implements ecr.Handler.
func (s *Service) BatchGetRepositoryScanningConfiguration(ctx context.Context, in *ecr.BatchGetRepositoryScanningConfigurationInput) (*ecr.BatchGetRepositoryScanningConfigurationOutput, error) {
	sp, settings, err := s.settings(ctx)
	if err != nil {
		return nil, err
	}
	out := &ecr.BatchGetRepositoryScanningConfigurationOutput{
		ScanningConfigurations: []ecr.RepositoryScanningConfiguration{}, Failures: []ecr.RepositoryScanningConfigurationFailure{},
	}
	for _, name := range in.RepositoryNames {
		row, err := s.Catalog.Row(ctx, sp, name)
		if registry.CodeOf(err) == registry.NameUnknown {
			out.Failures = append(out.Failures, ecr.RepositoryScanningConfigurationFailure{
				FailureCode: ecr.ScanningConfigurationFailureCodeRepositoryNotFound, RepositoryName: new(name),
				FailureReason: new("Requested repository not found"),
			})
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read repository: %w", err)
		}
		scans, filters := catalog.ScansOnPush(settings, row.V)
		c := ecr.RepositoryScanningConfiguration{
			RepositoryName: new(name), RepositoryArn: new(registry.RepositoryARN(sp, name)),
			ScanOnPush: new(scans), ScanFrequency: ecr.ScanFrequencyManual, AppliedScanFilters: scanFilters(filters),
		}
		if scans {
			c.ScanFrequency = ecr.ScanFrequencyScanOnPush
		}
		out.ScanningConfigurations = append(out.ScanningConfigurations, c)
	}
	return out, nil
}
