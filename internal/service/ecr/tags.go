package ecr

import (
	"context"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecr"
	"roadstead.dev/internal/model"
)

// The bounds of tags, which AWS sets for all resources.
const (
	maxTags     = 50
	maxTagKey   = 128
	maxTagValue = 256
)

// addTags is old with tags set.
func addTags(old model.Tags, tags []ecr.Tag) (model.Tags, error) {
	out := maps.Clone(old)
	if out == nil {
		out = model.Tags{}
	}
	seen := map[string]bool{}
	for _, t := range tags {
		k, v := *t.Key, *t.Value
		switch {
		case k == "" || utf8.RuneCountInString(k) > maxTagKey:
			return nil, ecr.NewInvalidTagParameterException("Invalid parameter at 'tags' failed to satisfy constraint: 'Tag keys must have between 1 and %d characters'", maxTagKey)
		case utf8.RuneCountInString(v) > maxTagValue:
			return nil, ecr.NewInvalidTagParameterException("Invalid parameter at 'tags' failed to satisfy constraint: 'Tag values must have at most %d characters'", maxTagValue)
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return nil, ecr.NewInvalidTagParameterException("Invalid parameter at 'tags' failed to satisfy constraint: 'Tag keys must not start with aws:'")
		case seen[k]:
			return nil, ecr.NewInvalidTagParameterException("Invalid parameter at 'tags' failed to satisfy constraint: 'Duplicate tag key %s'", k)
		}
		seen[k] = true
		out[k] = v
	}
	if len(out) > maxTags {
		return nil, ecr.NewTooManyTagsException("A resource can have %d tags at most", maxTags)
	}
	return out, nil
}

// taggable finds the repository's name in an ARN of the caller's region.
func taggable(ctx context.Context, arn string) (registryID, name *string, err error) {
	a, perr := model.ParseARN(arn)
	c := api.CallFrom(ctx)
	repo, ok := strings.CutPrefix(a.Resource, "repository/")
	if perr != nil || a.Service != "ecr" || a.Region != c.Region || !ok || repo == "" || len(a.Account) != 12 {
		return nil, nil, invalid("resourceArn", "Invalid ARN")
	}
	return &a.Account, &repo, nil
}

// TagResource implements ecr.Handler.
func (s *Service) TagResource(ctx context.Context, in *ecr.TagResourceInput) (*ecr.TagResourceOutput, error) {
	id, name, err := taggable(ctx, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	_, _, err = s.update(ctx, "ecr:TagResource", id, name, func(r *model.ECRRepository) error {
		var err error
		r.Tags, err = addTags(r.Tags, in.Tags)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ecr.TagResourceOutput{}, nil
}

// UntagResource implements ecr.Handler.
func (s *Service) UntagResource(ctx context.Context, in *ecr.UntagResourceInput) (*ecr.UntagResourceOutput, error) {
	id, name, err := taggable(ctx, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	_, _, err = s.update(ctx, "ecr:UntagResource", id, name, func(r *model.ECRRepository) error {
		for _, k := range in.TagKeys {
			delete(r.Tags, k)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &ecr.UntagResourceOutput{}, nil
}

// ListTagsForResource implements ecr.Handler.
func (s *Service) ListTagsForResource(ctx context.Context, in *ecr.ListTagsForResourceInput) (*ecr.ListTagsForResourceOutput, error) {
	id, name, err := taggable(ctx, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	_, row, err := s.repository(ctx, "ecr:ListTagsForResource", id, name)
	if err != nil {
		return nil, err
	}
	tags := []ecr.Tag{}
	for _, k := range slices.Sorted(maps.Keys(row.V.Tags)) {
		tags = append(tags, ecr.Tag{Key: new(k), Value: new(row.V.Tags[k])})
	}
	return &ecr.ListTagsForResourceOutput{Tags: tags}, nil
}
