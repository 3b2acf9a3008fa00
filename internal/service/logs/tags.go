package logs

import (
	"context"
	"errors"
	"maps"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/logs"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
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

// TagResource adds tags to a group, or to what deliveries are made of.
func (s *Service) TagResource(ctx context.Context, in *logs.TagResourceInput) (*logs.TagResourceOutput, error) {
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	return &logs.TagResourceOutput{}, s.retag(ctx, *in.ResourceArn, func(tags model.Tags) error {
		maps.Copy(tags, in.Tags)
		if len(tags) > maxTags {
			return logs.NewTooManyTagsException("The maximum number of tags per resource is %d.", maxTags)
		}
		return nil
	})
}

// UntagResource removes such tags.
func (s *Service) UntagResource(ctx context.Context, in *logs.UntagResourceInput) (*logs.UntagResourceOutput, error) {
	return &logs.UntagResourceOutput{}, s.retag(ctx, *in.ResourceArn, func(tags model.Tags) error {
		for _, k := range in.TagKeys {
			delete(tags, k)
		}
		return nil
	})
}

// ListTagsForResource lists such tags.
func (s *Service) ListTagsForResource(ctx context.Context, in *logs.ListTagsForResourceInput) (*logs.ListTagsForResourceOutput, error) {
	out := map[string]string{}
	err := s.retag(ctx, *in.ResourceArn, func(tags model.Tags) error {
		maps.Copy(out, tags)
		return store.ErrUnchanged
	})
	return &logs.ListTagsForResourceOutput{Tags: out}, err
}

// retag changes the tags of what an ARN names.
func (s *Service) retag(ctx context.Context, arn string, change func(model.Tags) error) error {
	c := api.CallFrom(ctx)
	kind, name := deliveryPart(c, arn)
	switch kind {
	case model.DeliverySourceKind:
		return retagged(ctx, s.store, tables.LogDeliverySources, name, "delivery source", func(v *model.LogDeliverySource) *model.Tags { return &v.Tags }, change)
	case model.DeliveryDestinationKind:
		return retagged(ctx, s.store, tables.LogDeliveryDestinations, name, "delivery destination", func(v *model.LogDeliveryDestination) *model.Tags { return &v.Tags }, change)
	case model.DeliveryKind:
		return retagged(ctx, s.store, tables.LogDeliveries, name, "delivery", func(v *model.LogDelivery) *model.Tags { return &v.Tags }, change)
	}
	name, err := tagged(ctx, arn)
	if err != nil {
		return err
	}
	return s.change(ctx, name, func(g *model.LogGroup) error {
		if g.Tags == nil {
			g.Tags = make(model.Tags)
		}
		return change(g.Tags)
	})
}

// retagged changes the tags of a record.
func retagged[T any](ctx context.Context, s store.Store, t *store.Table[T], name, what string, of func(*T) *model.Tags, change func(model.Tags) error) error {
	c := api.CallFrom(ctx)
	_, err := t.Update(ctx, s, c.Account, c.Region, name, func(v *T) error {
		tags := of(v)
		if *tags == nil {
			*tags = model.Tags{}
		}
		return change(*tags)
	})
	if errors.Is(err, store.ErrNotFound) {
		err = noDelivery(what)
	}
	return err
}

// deliveryPart is what of a delivery an ARN names: a kind of
// model.LogDeliveryARN's, of the caller's account and region.
func deliveryPart(c *api.Call, arn string) (kind, name string) {
	for _, kind := range []string{model.DeliverySourceKind, model.DeliveryDestinationKind, model.DeliveryKind} {
		if name, ok := strings.CutPrefix(arn, model.LogDeliveryARN(kind, c.Region, c.Account, "")); ok && name != "" {
			return kind, name
		}
	}
	return "", ""
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
