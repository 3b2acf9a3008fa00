package ecr

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/ecrlifecycle"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// StartLifecyclePolicyPreview implements ecr.Handler. What a policy would do
// is decided at once, and told by GetLifecyclePolicyPreview.
func (s *Service) StartLifecyclePolicyPreview(ctx context.Context, in *ecr.StartLifecyclePolicyPreviewInput) (*ecr.StartLifecyclePolicyPreviewOutput, error) {
	sp, repo, err := s.repository(ctx, "ecr:StartLifecyclePolicyPreview", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	text := repo.V.LifecyclePolicy
	if in.LifecyclePolicyText != nil {
		text = *in.LifecyclePolicyText
	}
	if text == "" {
		return nil, noLifecycle(sp, repo.V.Name)
	}
	policy, err := ecrlifecycle.Parse(text)
	if err != nil {
		return nil, invalid("LifecyclePolicyText", "%v", err)
	}
	p := &model.ECRLifecyclePreview{Policy: text, StartedAt: now(ctx)}
	images, err := s.judged(ctx, sp, repo.V.Name)
	if err != nil {
		return nil, err
	}
	for _, e := range ecrlifecycle.Expire(policy, images, p.StartedAt) {
		i := slices.IndexFunc(images, func(img ecrlifecycle.Image) bool { return img.Digest == e.Digest })
		p.Expiring = append(p.Expiring, model.ECRPreview{Digest: e.Digest, Tags: images[i].Tags, PushedAt: images[i].PushedAt, Priority: e.Priority})
	}
	slices.SortFunc(p.Expiring, func(a, b model.ECRPreview) int { return strings.Compare(a.Digest, b.Digest) })
	tx := store.NewTxn()
	tables.ECRRepositories.Check(tx, repo)
	tables.ECRLifecyclePreviews.Put(tx, sp.Account, sp.Region, repo.V.Name, p)
	if _, err := tx.Commit(ctx, s.Store); err != nil && !errors.Is(err, store.ErrConflict) {
		return nil, fmt.Errorf("keep the preview: %w", err)
	}
	return &ecr.StartLifecyclePolicyPreviewOutput{
		LifecyclePolicyText: new(text), RegistryId: new(sp.Account), RepositoryName: in.RepositoryName,
		Status: ecr.LifecyclePolicyPreviewStatusInProgress,
	}, nil
}

// judged are the images of a repository as lifecycle policies see them.
func (s *Service) judged(ctx context.Context, sp registry.Space, name string) ([]ecrlifecycle.Image, error) {
	tags, err := s.tagsByImage(ctx, sp, name)
	if err != nil {
		return nil, err
	}
	rows, err := tables.ECRImages.List(ctx, s.Store, store.Query{Account: sp.Account, Region: sp.Region, Prefix: name + "@"})
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	out := make([]ecrlifecycle.Image, len(rows))
	for i, r := range rows {
		out[i] = ecrlifecycle.Image{
			Digest: r.V.Digest, PushedAt: r.V.PushedAt, Tags: tags[r.V.Digest], Children: r.V.Children, Subject: r.V.Subject,
		}
	}
	return out, nil
}

// GetLifecyclePolicyPreview implements ecr.Handler.
func (s *Service) GetLifecyclePolicyPreview(ctx context.Context, in *ecr.GetLifecyclePolicyPreviewInput) (*ecr.GetLifecyclePolicyPreviewOutput, error) {
	sp, repo, err := s.repository(ctx, "ecr:GetLifecyclePolicyPreview", in.RegistryId, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	name := repo.V.Name
	row, err := tables.ECRLifecyclePreviews.Get(ctx, s.Store, sp.Account, sp.Region, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, ecr.NewLifecyclePolicyPreviewNotFoundException("Lifecycle policy preview does not exist for the repository with name '%s' in the registry with id '%s'", name, sp.Account)
	}
	if err != nil {
		return nil, fmt.Errorf("read the preview: %w", err)
	}
	if in.ImageIds != nil && (in.MaxResults != nil || in.NextToken != nil) {
		return nil, invalid("maxResults", "Pagination parameters cannot be used together with imageIds")
	}
	var want ecr.TagStatus
	if in.Filter != nil {
		want = in.Filter.TagStatus
	}
	list := list(sp, "GetLifecyclePolicyPreview", name, row.V.StartedAt.String(), string(want))
	after, err := position(in.NextToken, list)
	if err != nil {
		return nil, err
	}
	out := &ecr.GetLifecyclePolicyPreviewOutput{
		LifecyclePolicyText: new(row.V.Policy), PreviewResults: []ecr.LifecyclePolicyPreviewResult{},
		RegistryId: new(sp.Account), RepositoryName: in.RepositoryName, Status: ecr.LifecyclePolicyPreviewStatusComplete,
		Summary: &ecr.LifecyclePolicyPreviewSummary{ExpiringImageTotalCount: new(int32(len(row.V.Expiring)))},
	}
	for _, p := range row.V.Expiring {
		switch {
		case p.Digest <= after || !tagStatus(want, len(p.Tags) > 0) || in.ImageIds != nil && !named(p, in.ImageIds):
			continue
		case in.ImageIds == nil && len(out.PreviewResults) == pageSize(in.MaxResults):
			out.NextToken = nextToken(*out.PreviewResults[len(out.PreviewResults)-1].ImageDigest, list)
			return out, nil
		}
		out.PreviewResults = append(out.PreviewResults, ecr.LifecyclePolicyPreviewResult{
			Action:              &ecr.LifecyclePolicyRuleAction{Type: ecr.ImageActionTypeExpire},
			AppliedRulePriority: new(int32(p.Priority)),
			ImageDigest:         new(p.Digest), ImagePushedAt: new(p.PushedAt), ImageTags: p.Tags,
		})
	}
	return out, nil
}

func named(p model.ECRPreview, ids []ecr.ImageIdentifier) bool {
	return slices.ContainsFunc(ids, func(id ecr.ImageIdentifier) bool {
		return id.ImageDigest != nil && *id.ImageDigest == p.Digest || id.ImageTag != nil && slices.Contains(p.Tags, *id.ImageTag)
	})
}
