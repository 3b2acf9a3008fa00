package logs

import (
	"context"
	"maps"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/model"
)

const maxTags = 50

// tagged is the name of the group that an ARN of the tagging operations names.
func tagged(ctx context.Context, arn string) (string, error) {
	if !strings.HasPrefix(arn, "arn:") {
		return "", invalid("Invalid ARN: %s", arn)
	}
	return groupOf(api.CallFrom(ctx), arn)
}

// checkTags refuses AWS's own keys.
func checkTags(tags map[string]string) error {
	for k := range tags {
		if strings.HasPrefix(strings.ToLower(k), "aws:") {
			return invalid("The tag key '%s' is reserved: keys must not start with 'aws:'.", k)
		}
	}
	return nil
}

// tag adds tags to a group; tooMany is what AWS answers when they are.
func (s *Service) tag(ctx context.Context, group string, tags map[string]string, tooMany error) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	return s.change(ctx, group, func(g *model.LogGroup) error {
		if g.Tags == nil {
			g.Tags = make(model.Tags)
		}
		maps.Copy(g.Tags, tags)
		if len(g.Tags) > maxTags {
			return tooMany
		}
		return nil
	})
}

func (s *Service) untag(ctx context.Context, group string, keys []string) error {
	return s.change(ctx, group, func(g *model.LogGroup) error {
		for _, k := range keys {
			delete(g.Tags, k)
		}
		return nil
	})
}

func (s *Service) tags(ctx context.Context, group string) (map[string]string, error) {
	c := api.CallFrom(ctx)
	g, err := s.group(ctx, c.Account, c.Region, group)
	if err != nil {
		return nil, err
	}
	if g.V.Tags == nil {
		return map[string]string{}, nil
	}
	return g.V.Tags, nil
}

// TagResource adds tags to a group.
func (s *Service) TagResource(ctx context.Context, in *logs.TagResourceInput) (*logs.TagResourceOutput, error) {
	name, err := tagged(ctx, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return &logs.TagResourceOutput{}, s.tag(ctx, name, in.Tags,
		logs.NewTooManyTagsException("The maximum number of tags per log group is %d.", maxTags))
}

// UntagResource removes tags from a group.
func (s *Service) UntagResource(ctx context.Context, in *logs.UntagResourceInput) (*logs.UntagResourceOutput, error) {
	name, err := tagged(ctx, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return &logs.UntagResourceOutput{}, s.untag(ctx, name, in.TagKeys)
}

// ListTagsForResource lists a group's tags.
func (s *Service) ListTagsForResource(ctx context.Context, in *logs.ListTagsForResourceInput) (*logs.ListTagsForResourceOutput, error) {
	name, err := tagged(ctx, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	tags, err := s.tags(ctx, name)
	return &logs.ListTagsForResourceOutput{Tags: tags}, err
}

// TagLogGroup adds tags to a group by its name.
func (s *Service) TagLogGroup(ctx context.Context, in *logs.TagLogGroupInput) (*logs.TagLogGroupOutput, error) {
	return &logs.TagLogGroupOutput{}, s.tag(ctx, *in.LogGroupName, in.Tags,
		invalid("The maximum number of tags per log group is %d.", maxTags))
}

// UntagLogGroup removes tags from a group by its name.
func (s *Service) UntagLogGroup(ctx context.Context, in *logs.UntagLogGroupInput) (*logs.UntagLogGroupOutput, error) {
	return &logs.UntagLogGroupOutput{}, s.untag(ctx, *in.LogGroupName, in.Tags)
}

// ListTagsLogGroup lists a group's tags by its name.
func (s *Service) ListTagsLogGroup(ctx context.Context, in *logs.ListTagsLogGroupInput) (*logs.ListTagsLogGroupOutput, error) {
	tags, err := s.tags(ctx, *in.LogGroupName)
	return &logs.ListTagsLogGroupOutput{Tags: tags}, err
}
