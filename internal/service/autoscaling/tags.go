package autoscaling

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	maxTags      = 50
	resourceType = "auto-scaling-group"
)

// newTags checks the tags of a group that is being made.
func newTags(group string, in []autoscaling.Tag) ([]model.ASGTag, error) {
	for i := range in {
		if r := in[i].ResourceId; r != nil && *r != group {
			return nil, invalid("The ResourceId of a tag, %s, is not the name of the group.", *r)
		}
	}
	return putTags(nil, in)
}

// putTags adds tags to those that are there, or changes them.
func putTags(tags []model.ASGTag, in []autoscaling.Tag) ([]model.ASGTag, error) {
	seen := map[string]bool{}
	for i := range in {
		t := &in[i]
		key := *t.Key
		switch {
		case t.ResourceType != nil && *t.ResourceType != resourceType:
			return nil, badType(*t.ResourceType)
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			return nil, reservedTag
		case seen[key]:
			return nil, invalid("Duplicate keys are not allowed for the same resource: %s", key)
		}
		seen[key] = true
		i := slices.IndexFunc(tags, func(had model.ASGTag) bool { return had.Key == key })
		if i < 0 {
			i, tags = len(tags), append(tags, model.ASGTag{Key: key, PropagateAtLaunch: true})
		}
		tags[i].Value = value(t.Value)
		if t.PropagateAtLaunch != nil {
			tags[i].PropagateAtLaunch = *t.PropagateAtLaunch
		}
	}
	if len(tags) > maxTags {
		return nil, autoscaling.NewLimitExceededFault("You have already reached your limit of %d tags per Auto Scaling group.", maxTags)
	}
	slices.SortFunc(tags, func(a, b model.ASGTag) int { return strings.Compare(a.Key, b.Key) })
	return tags, nil
}

var reservedTag = invalid("Tag keys that begin with aws: are reserved for internal use.")

func badType(kind string) error {
	return invalid("Invalid resource type: %s. The only valid value is %s.", kind, resourceType)
}

// byGroup sorts the tags of a request by the groups that they are for.
func byGroup(c *api.Call, in []autoscaling.Tag) (names []string, tags map[string][]autoscaling.Tag, err error) {
	tags = map[string][]autoscaling.Tag{}
	for _, t := range in {
		switch {
		case value(t.ResourceId) == "":
			return nil, nil, invalid("Resource ID is required for tag %s.", *t.Key)
		case t.ResourceType == nil:
			return nil, nil, invalid("Resource type is required for tag %s.", *t.Key)
		case *t.ResourceType != resourceType:
			return nil, nil, badType(*t.ResourceType)
		}
		name := nameOf(c, *t.ResourceId)
		if tags[name] == nil {
			names = append(names, name)
		}
		tags[name] = append(tags[name], t)
	}
	return names, tags, nil
}

// changeTags alters the tags of all groups of a request, or of none.
func (s *Service) changeTags(ctx context.Context, in []autoscaling.Tag, f func(had []model.ASGTag, in []autoscaling.Tag) ([]model.ASGTag, error)) error {
	names, tags, err := byGroup(api.CallFrom(ctx), in)
	if err != nil {
		return err
	}
	return s.commit(ctx, func(tx *store.Txn) error {
		for _, name := range names {
			row, err := s.group(ctx, name)
			if api.Code(err) == "ValidationError" {
				return invalid("AutoScalingGroup not found - AutoScaling Group %s not found", name)
			}
			if err != nil {
				return err
			}
			v := row.Copy()
			if v.Tags, err = f(v.Tags, tags[name]); err != nil {
				return err
			}
			tables.AutoScalingGroups.Replace(tx, row, v)
		}
		return nil
	})
}

// CreateOrUpdateTags adds tags to groups, or changes them.
func (s *Service) CreateOrUpdateTags(ctx context.Context, in *autoscaling.CreateOrUpdateTagsInput) (*autoscaling.CreateOrUpdateTagsOutput, error) {
	if err := s.changeTags(ctx, in.Tags, putTags); err != nil {
		return nil, err
	}
	return &autoscaling.CreateOrUpdateTagsOutput{}, nil
}

// DeleteTags removes tags from groups: those with the value given, if one is.
func (s *Service) DeleteTags(ctx context.Context, in *autoscaling.DeleteTagsInput) (*autoscaling.DeleteTagsOutput, error) {
	err := s.changeTags(ctx, in.Tags, func(had []model.ASGTag, gone []autoscaling.Tag) ([]model.ASGTag, error) {
		for _, t := range gone {
			if strings.HasPrefix(strings.ToLower(*t.Key), "aws:") {
				return nil, reservedTag
			}
			had = slices.DeleteFunc(had, func(h model.ASGTag) bool { return h.Key == *t.Key && (t.Value == nil || *t.Value == h.Value) })
		}
		return had, nil
	})
	if err != nil {
		return nil, err
	}
	return &autoscaling.DeleteTagsOutput{}, nil
}

func tagsOut(group string, tags []model.ASGTag) []autoscaling.TagDescription {
	out := []autoscaling.TagDescription{}
	for _, t := range tags {
		out = append(out, autoscaling.TagDescription{
			ResourceId: new(group), ResourceType: new(resourceType), Key: new(t.Key), Value: new(t.Value), PropagateAtLaunch: new(t.PropagateAtLaunch),
		})
	}
	return out
}

// DescribeTags lists the tags of groups.
func (s *Service) DescribeTags(ctx context.Context, in *autoscaling.DescribeTagsInput) (*autoscaling.DescribeTagsOutput, error) {
	c := api.CallFrom(ctx)
	fields := map[string]func(*autoscaling.TagDescription) string{
		"auto-scaling-group":  func(t *autoscaling.TagDescription) string { return *t.ResourceId },
		"key":                 func(t *autoscaling.TagDescription) string { return *t.Key },
		"value":               func(t *autoscaling.TagDescription) string { return *t.Value },
		"propagate-at-launch": func(t *autoscaling.TagDescription) string { return strconv.FormatBool(*t.PropagateAtLaunch) },
	}
	for _, f := range in.Filters {
		if fields[value(f.Name)] == nil {
			return nil, invalid("Filter type %s is not correct. Allowed Filter types are: auto-scaling-group, key, value, propagate-at-launch", value(f.Name))
		}
	}
	rows, err := tables.AutoScalingGroups.List(ctx, s.Store, everything(c))
	if err != nil {
		return nil, err
	}
	all := []autoscaling.TagDescription{}
	for _, r := range rows {
		for _, t := range tagsOut(r.V.Name, r.V.Tags) {
			if !slices.ContainsFunc(in.Filters, func(f autoscaling.Filter) bool { return !slices.Contains(f.Values, fields[*f.Name](&t)) }) {
				all = append(all, t)
			}
		}
	}
	position := func(t autoscaling.TagDescription) string { return *t.ResourceId + "\x00" + *t.Key }
	slices.SortFunc(all, func(a, b autoscaling.TagDescription) int { return strings.Compare(position(a), position(b)) })
	all, next, err := page(ctx, paged{in.NextToken, in.MaxRecords, 50, 100, "DescribeTags", in.Filters}, all, position)
	if err != nil {
		return nil, err
	}
	return &autoscaling.DescribeTagsOutput{Tags: all, NextToken: next}, nil
}
