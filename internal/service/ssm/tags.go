package ssm

import (
	"context"
	"errors"
	"maps"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// taggable is the parameter of a tagging request: other kinds of resources
// are not there.
func taggable(ctx context.Context, kind ssm.ResourceTypeForTagging, id string) (reference, error) {
	if kind != ssm.ResourceTypeForTaggingParameter {
		return reference{}, ssm.NewInvalidResourceType("")
	}
	return refer(api.CallFrom(ctx), id), nil
}

// noResource is what tagging says of a parameter that is not there.
func noResource(err error) error {
	if errors.Is(err, errNotFound) {
		return ssm.NewInvalidResourceId("")
	}
	return err
}

// AddTagsToResource implements ssm.Handler.
func (s *Service) AddTagsToResource(ctx context.Context, in *ssm.AddTagsToResourceInput) (*ssm.AddTagsToResourceOutput, error) {
	r, err := taggable(ctx, in.ResourceType, *in.ResourceId)
	if err != nil {
		return nil, err
	}
	_, err = s.update(ctx, r, func(_ *store.Txn, _ store.Row[model.Parameter], p *model.Parameter) error {
		if p.Tags == nil {
			p.Tags = model.Tags{}
		}
		for _, t := range in.Tags {
			p.Tags[*t.Key] = *t.Value
		}
		if len(p.Tags) > maxTags {
			return ssm.NewTooManyTagsError("")
		}
		return nil
	})
	if err != nil {
		return nil, noResource(err)
	}
	return &ssm.AddTagsToResourceOutput{}, nil
}

// RemoveTagsFromResource implements ssm.Handler.
func (s *Service) RemoveTagsFromResource(ctx context.Context, in *ssm.RemoveTagsFromResourceInput) (*ssm.RemoveTagsFromResourceOutput, error) {
	r, err := taggable(ctx, in.ResourceType, *in.ResourceId)
	if err != nil {
		return nil, err
	}
	_, err = s.update(ctx, r, func(_ *store.Txn, _ store.Row[model.Parameter], p *model.Parameter) error {
		for _, k := range in.TagKeys {
			delete(p.Tags, k)
		}
		return nil
	})
	if err != nil {
		return nil, noResource(err)
	}
	return &ssm.RemoveTagsFromResourceOutput{}, nil
}

// ListTagsForResource implements ssm.Handler.
func (s *Service) ListTagsForResource(ctx context.Context, in *ssm.ListTagsForResourceInput) (*ssm.ListTagsForResourceOutput, error) {
	r, err := taggable(ctx, in.ResourceType, *in.ResourceId)
	if err != nil {
		return nil, err
	}
	row, err := s.find(ctx, r)
	if err != nil {
		return nil, noResource(err)
	}
	out := &ssm.ListTagsForResourceOutput{TagList: []ssm.Tag{}}
	for _, k := range slices.Sorted(maps.Keys(row.V.Tags)) {
		out.TagList = append(out.TagList, ssm.Tag{Key: new(k), Value: new(row.V.Tags[k])})
	}
	return out, nil
}
