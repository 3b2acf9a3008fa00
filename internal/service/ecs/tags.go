package ecs

import (
	"context"
	"errors"
	"maps"
	"strings"

	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxTags is how many tags a resource may have.
const maxTags = 50

// checkTags checks the tags of a request, which asked is the list of.
func checkTags[T tag](asked []T) error {
	tags := tagsOf(asked)
	if len(tags) < len(asked) {
		return ecs.NewInvalidParameterException("Tags cannot contain duplicate keys.")
	}
	if len(tags) > maxTags {
		return ecs.NewInvalidParameterException("Resources may have a maximum of %d tags.", maxTags)
	}
	for k := range tags {
		if strings.HasPrefix(strings.ToLower(k), "aws:") {
			return ecs.NewInvalidParameterException("Tag keys that start with 'aws:' are reserved for AWS use.")
		}
	}
	return nil
}

// taggable reads and writes the tags of one resource.
type taggable interface {
	tags(ctx context.Context, s *Service, sc scope) (model.Tags, error)
	update(ctx context.Context, s *Service, sc scope, change func(model.Tags) (model.Tags, error)) error
}

// tagged is a taggable of one table.
type tagged[T any] struct {
	table *store.Table[T]
	id    string
	of    func(*T) *model.Tags
	gone  func(*T) error
	none  error
}

func (t tagged[T]) tags(ctx context.Context, s *Service, sc scope) (model.Tags, error) {
	row, err := t.table.Get(ctx, s.store, sc.account, sc.region, t.id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, t.none
	}
	if err != nil {
		return nil, err
	}
	if err := t.gone(row.V); err != nil {
		return nil, err
	}
	return *t.of(row.V), nil
}

func (t tagged[T]) update(ctx context.Context, s *Service, sc scope, change func(model.Tags) (model.Tags, error)) error {
	_, err := t.table.Update(ctx, s.store, sc.account, sc.region, t.id, func(v *T) error {
		if err := t.gone(v); err != nil {
			return err
		}
		tags, err := change(maps.Clone(*t.of(v)))
		*t.of(v) = tags
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return t.none
	}
	return err
}

// taggableOf finds the resource of an ARN.
func taggableOf(sc scope, arn string) (taggable, error) {
	invalid := ecs.NewInvalidParameterException("Invalid identifier: Identifier provided is not a valid ARN: %s", arn)
	a, err := model.ParseARN(arn)
	if err != nil || a.Service != "ecs" {
		return nil, invalid
	}
	kind, rest, _ := strings.Cut(a.Resource, "/")
	notFound := ecs.NewResourceNotFoundException("The specified resource was not found. Specify a valid resource ARN and try again.")
	if !sc.inScope(arn) {
		return nil, notFound
	}
	inactive := func(what, status string) error {
		if status != model.ECSInactive {
			return nil
		}
		return ecs.NewInvalidParameterException("The specified %s is inactive. Specify an active %s and try again.", what, what)
	}
	switch kind {
	case "cluster":
		return tagged[model.Cluster]{
			tables.ECSClusters, rest, func(c *model.Cluster) *model.Tags { return &c.Tags },
			func(c *model.Cluster) error { return inactive(kind, c.Status) },
			ecs.NewClusterNotFoundException("Cluster not found."),
		}, nil
	case "service":
		return tagged[model.Service]{
			tables.ECSServices, rest, func(c *model.Service) *model.Tags { return &c.Tags },
			func(c *model.Service) error { return inactive(kind, c.Status) }, notFound,
		}, nil
	case "task":
		return tagged[model.Task]{
			tables.ECSTasks, rest, func(c *model.Task) *model.Tags { return &c.Tags },
			func(*model.Task) error { return nil }, notFound,
		}, nil
	case "container-instance":
		return tagged[model.ContainerInstance]{
			tables.ECSContainerInstances, rest, func(c *model.ContainerInstance) *model.Tags { return &c.Tags },
			func(c *model.ContainerInstance) error { return inactive("container instance", c.Status) }, notFound,
		}, nil
	case "capacity-provider":
		return tagged[model.CapacityProvider]{
			tables.ECSCapacityProviders, rest, func(c *model.CapacityProvider) *model.Tags { return &c.Tags },
			func(c *model.CapacityProvider) error { return inactive("capacity provider", c.Status) }, notFound,
		}, nil
	case "task-definition":
		recordID, ok := model.TaskDefinitionIDFromARN(arn)
		if !ok {
			return nil, invalid
		}
		return tagged[model.TaskDefinition]{
			tables.ECSTaskDefinitions, recordID, func(c *model.TaskDefinition) *model.Tags { return &c.Tags },
			func(*model.TaskDefinition) error { return nil }, notFound,
		}, nil
	}
	return nil, invalid
}

// TagResource adds tags, or changes their values.
func (s *Service) TagResource(ctx context.Context, in *ecs.TagResourceInput) (*ecs.TagResourceOutput, error) {
	sc := scopeOf(ctx)
	t, err := taggableOf(sc, val(in.ResourceArn))
	if err != nil {
		return nil, err
	}
	more := tagsOf(in.Tags)
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	return &ecs.TagResourceOutput{}, t.update(ctx, s, sc, func(tags model.Tags) (model.Tags, error) {
		if tags == nil {
			tags = model.Tags{}
		}
		maps.Copy(tags, more)
		user := 0
		for k := range tags {
			if !strings.HasPrefix(k, "aws:") {
				user++
			}
		}
		if user > maxTags {
			return nil, ecs.NewLimitExceededException("Resources may have a maximum of %d tags.", maxTags)
		}
		return tags, nil
	})
}

// UntagResource removes tags.
func (s *Service) UntagResource(ctx context.Context, in *ecs.UntagResourceInput) (*ecs.UntagResourceOutput, error) {
	sc := scopeOf(ctx)
	t, err := taggableOf(sc, val(in.ResourceArn))
	if err != nil {
		return nil, err
	}
	return &ecs.UntagResourceOutput{}, t.update(ctx, s, sc, func(tags model.Tags) (model.Tags, error) {
		for _, k := range in.TagKeys {
			if strings.HasPrefix(strings.ToLower(k), "aws:") {
				return nil, ecs.NewInvalidParameterException("Tag keys that start with 'aws:' are reserved for AWS use.")
			}
			delete(tags, k)
		}
		return tags, nil
	})
}

// ListTagsForResource lists a resource's tags.
func (s *Service) ListTagsForResource(ctx context.Context, in *ecs.ListTagsForResourceInput) (*ecs.ListTagsForResourceOutput, error) {
	sc := scopeOf(ctx)
	t, err := taggableOf(sc, val(in.ResourceArn))
	if err != nil {
		return nil, err
	}
	tags, err := t.tags(ctx, s, sc)
	return &ecs.ListTagsForResourceOutput{Tags: tagList[ecs.Tag](tags)}, err
}
