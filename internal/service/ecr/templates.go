package ecr

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/ecrlifecycle"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxTemplates is how many creation templates a registry may have.
const maxTemplates = 50

func templateNotFound(sp registry.Space, prefix string) error {
	return ecr.NewTemplateNotFoundException("The repository creation template with prefix '%s' does not exist in the registry with id '%s'", prefix, sp.Account)
}

// templateChange is what creating and updating a template both can set. What
// is nil stays as it is.
type templateChange struct {
	appliedFor       []ecr.RCTAppliedFor
	customRole       *string
	description      *string
	encryption       *ecr.EncryptionConfigurationForRepositoryCreationTemplate
	mutability       ecr.ImageTagMutability
	exclusions       []ecr.ImageTagMutabilityExclusionFilter
	lifecyclePolicy  *string
	repositoryPolicy *string
	tags             []ecr.Tag
}

func (s *Service) applyTemplate(ctx context.Context, sp registry.Space, t *model.ECRCreationTemplate, ch templateChange) error {
	if ch.appliedFor != nil {
		t.AppliedFor = nil
		for _, f := range ch.appliedFor {
			t.AppliedFor = append(t.AppliedFor, string(f))
		}
	}
	if len(t.AppliedFor) == 0 {
		return invalid("appliedFor", "A template must be applied for something")
	}
	if e := ch.encryption; e != nil && (e.EncryptionType != ecr.EncryptionTypeAes256 || orEmpty(e.KmsKey) != "") {
		return invalid("encryptionConfiguration", "Only the encryption type AES256 is supported")
	}
	t.EncryptionType = string(ecr.EncryptionTypeAes256)
	if ch.mutability != "" || t.TagMutability == "" {
		var r model.ECRRepository
		if err := setMutability(&r, ch.mutability, ch.exclusions); err != nil {
			return err
		}
		t.TagMutability, t.MutabilityExclusions = r.TagMutability, r.MutabilityExclusions
	}
	for _, p := range []struct{ to, from *string }{
		{&t.Description, ch.description},
		{&t.LifecyclePolicy, ch.lifecyclePolicy},
		{&t.RepositoryPolicy, ch.repositoryPolicy},
		{&t.CustomRoleARN, ch.customRole},
	} {
		if p.from != nil {
			*p.to = *p.from
		}
	}
	if ch.tags != nil {
		tags, err := addTags(nil, ch.tags)
		if err != nil {
			return err
		}
		t.Tags = tags
	}
	if t.LifecyclePolicy != "" {
		if _, err := ecrlifecycle.Parse(t.LifecyclePolicy); err != nil {
			return invalid("lifecyclePolicy", "%v", err)
		}
	}
	if t.RepositoryPolicy != "" {
		if _, err := parsePolicy(t.RepositoryPolicy); err != nil {
			return invalid("repositoryPolicy", "Invalid repository policy provided")
		}
	}
	if len(t.Tags) > 0 && t.CustomRoleARN == "" {
		return invalid("customRoleArn", "A custom role is required when resource tags are given")
	}
	return s.roleExists(ctx, sp, t.CustomRoleARN)
}

// roleExists refuses roles that could not be assumed.
func (s *Service) roleExists(ctx context.Context, sp registry.Space, arn string) error {
	if arn == "" {
		return nil
	}
	a, err := model.ParseARN(arn)
	if err == nil && a.Account == sp.Account {
		row, err := tables.Roles.Get(ctx, s.Store, sp.Account, "", strings.ToLower(a.Resource[strings.LastIndexByte(a.Resource, '/')+1:]))
		if err == nil && row.V.ARN == arn {
			return nil
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("read role: %w", err)
		}
	}
	return invalid("customRoleArn", "The role %s does not exist", arn)
}

// CreateRepositoryCreationTemplate implements ecr.Handler.
func (s *Service) CreateRepositoryCreationTemplate(ctx context.Context, in *ecr.CreateRepositoryCreationTemplateInput) (*ecr.CreateRepositoryCreationTemplateOutput, error) {
	sp, prefix := space(ctx, nil), rulePrefix(in.Prefix)
	t := &model.ECRCreationTemplate{Prefix: prefix, CreatedAt: now(ctx), UpdatedAt: now(ctx)}
	if err := s.applyTemplate(ctx, sp, t, templateChange{
		in.AppliedFor, in.CustomRoleArn, in.Description, in.EncryptionConfiguration, in.ImageTagMutability,
		in.ImageTagMutabilityExclusionFilters, in.LifecyclePolicy, in.RepositoryPolicy, in.ResourceTags,
	}); err != nil {
		return nil, err
	}
	rows, err := tables.ECRCreationTemplates.List(ctx, s.Store, store.Query{Account: sp.Account, Region: sp.Region})
	if err != nil {
		return nil, fmt.Errorf("list templates: %w", err)
	}
	if len(rows) >= maxTemplates {
		return nil, ecr.NewLimitExceededException("The registry with id '%s' already has the maximum number of repository creation templates: %d", sp.Account, maxTemplates)
	}
	tx := store.NewTxn()
	tables.ECRCreationTemplates.Create(tx, sp.Account, sp.Region, prefix, t)
	if _, err := tx.Commit(ctx, s.Store); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return nil, ecr.NewTemplateAlreadyExistsException("The repository creation template with prefix '%s' already exists in the registry with id '%s'", prefix, sp.Account)
		}
		return nil, fmt.Errorf("create template: %w", err)
	}
	return &ecr.CreateRepositoryCreationTemplateOutput{RegistryId: new(sp.Account), RepositoryCreationTemplate: showTemplate(t)}, nil
}

func showTemplate(t *model.ECRCreationTemplate) *ecr.RepositoryCreationTemplate {
	out := &ecr.RepositoryCreationTemplate{
		Prefix: new(t.Prefix), Description: orNil(t.Description), CustomRoleArn: orNil(t.CustomRoleARN),
		EncryptionConfiguration:            &ecr.EncryptionConfigurationForRepositoryCreationTemplate{EncryptionType: ecr.EncryptionType(t.EncryptionType)},
		ImageTagMutability:                 ecr.ImageTagMutability(t.TagMutability),
		ImageTagMutabilityExclusionFilters: filters(t.MutabilityExclusions),
		LifecyclePolicy:                    orNil(t.LifecyclePolicy), RepositoryPolicy: orNil(t.RepositoryPolicy),
		CreatedAt: new(t.CreatedAt), UpdatedAt: new(t.UpdatedAt),
	}
	for _, f := range t.AppliedFor {
		out.AppliedFor = append(out.AppliedFor, ecr.RCTAppliedFor(f))
	}
	for _, k := range slices.Sorted(maps.Keys(t.Tags)) {
		out.ResourceTags = append(out.ResourceTags, ecr.Tag{Key: new(k), Value: new(t.Tags[k])})
	}
	return out
}

// UpdateRepositoryCreationTemplate implements ecr.Handler.
func (s *Service) UpdateRepositoryCreationTemplate(ctx context.Context, in *ecr.UpdateRepositoryCreationTemplateInput) (*ecr.UpdateRepositoryCreationTemplateOutput, error) {
	sp, prefix := space(ctx, nil), rulePrefix(in.Prefix)
	row, err := tables.ECRCreationTemplates.Update(ctx, s.Store, sp.Account, sp.Region, prefix, func(t *model.ECRCreationTemplate) error {
		t.UpdatedAt = now(ctx)
		return s.applyTemplate(ctx, sp, t, templateChange{
			in.AppliedFor, in.CustomRoleArn, in.Description, in.EncryptionConfiguration, in.ImageTagMutability,
			in.ImageTagMutabilityExclusionFilters, in.LifecyclePolicy, in.RepositoryPolicy, in.ResourceTags,
		})
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, templateNotFound(sp, prefix)
	}
	if err != nil {
		return nil, err
	}
	return &ecr.UpdateRepositoryCreationTemplateOutput{RegistryId: new(sp.Account), RepositoryCreationTemplate: showTemplate(row.V)}, nil
}

// DescribeRepositoryCreationTemplates implements ecr.Handler. Prefixes that
// have no template are left out.
func (s *Service) DescribeRepositoryCreationTemplates(ctx context.Context, in *ecr.DescribeRepositoryCreationTemplatesInput) (*ecr.DescribeRepositoryCreationTemplatesOutput, error) {
	sp := space(ctx, nil)
	out := &ecr.DescribeRepositoryCreationTemplatesOutput{RegistryId: new(sp.Account), RepositoryCreationTemplates: []ecr.RepositoryCreationTemplate{}}
	var prefixes []string
	for _, p := range in.Prefixes {
		prefixes = append(prefixes, rulePrefix(&p))
	}
	list := list(sp, "DescribeRepositoryCreationTemplates", prefixes...)
	after, err := position(in.NextToken, list)
	if err != nil {
		return nil, err
	}
	rows, err := tables.ECRCreationTemplates.List(ctx, s.Store, store.Query{Account: sp.Account, Region: sp.Region, After: after})
	if err != nil {
		return nil, fmt.Errorf("list templates: %w", err)
	}
	for _, r := range rows {
		if len(prefixes) > 0 && !slices.Contains(prefixes, r.V.Prefix) {
			continue
		}
		if n := pageSize(in.MaxResults); len(out.RepositoryCreationTemplates) == n {
			out.NextToken = nextToken(*out.RepositoryCreationTemplates[n-1].Prefix, list)
			break
		}
		out.RepositoryCreationTemplates = append(out.RepositoryCreationTemplates, *showTemplate(r.V))
	}
	return out, nil
}

// DeleteRepositoryCreationTemplate implements ecr.Handler.
func (s *Service) DeleteRepositoryCreationTemplate(ctx context.Context, in *ecr.DeleteRepositoryCreationTemplateInput) (*ecr.DeleteRepositoryCreationTemplateOutput, error) {
	sp, prefix := space(ctx, nil), rulePrefix(in.Prefix)
	var out *ecr.DeleteRepositoryCreationTemplateOutput
	err := retryConflict(ctx, func() error {
		row, err := tables.ECRCreationTemplates.Get(ctx, s.Store, sp.Account, sp.Region, prefix)
		if errors.Is(err, store.ErrNotFound) {
			return templateNotFound(sp, prefix)
		}
		if err != nil {
			return err
		}
		tx := store.NewTxn()
		tables.ECRCreationTemplates.Delete(tx, row)
		out = &ecr.DeleteRepositoryCreationTemplateOutput{RegistryId: new(sp.Account), RepositoryCreationTemplate: showTemplate(row.V)}
		_, err = tx.Commit(ctx, s.Store)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
