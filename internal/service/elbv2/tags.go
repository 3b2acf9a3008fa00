package elbv2

import (
	"context"
	"maps"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/loadbalancers"
	"roadstead.dev/internal/store/tables"
)

const maxTags = 50

// tagsOf checks the tags of a request that makes something under the ARN, and
// that the caller may tag it.
func tagsOf(ctx context.Context, operation, arn string, in []elbv2.Tag) (model.Tags, error) {
	tags, err := newTags(in)
	if err != nil || len(tags) == 0 {
		return tags, err
	}
	return tags, api.CallFrom(ctx).Authorize(ctx, loadbalancers.TagAction, arn, loadbalancers.TagConditions(operation, tags))
}

// newTags checks the tags of a request.
func newTags(in []elbv2.Tag) (model.Tags, error) {
	if len(in) > maxTags {
		return nil, elbv2.NewTooManyTagsException("The maximum number of tags for a resource is %d", maxTags)
	}
	tags := model.Tags{}
	for _, t := range in {
		if reserved(value(t.Key)) {
			return nil, errReserved
		}
		if _, twice := tags[value(t.Key)]; twice {
			return nil, elbv2.NewDuplicateTagKeysException("Tag key '%s' was specified more than once", value(t.Key))
		}
		tags[value(t.Key)] = value(t.Value)
	}
	return tags.Initial(), nil
}

// reserved keys are AWS's own.
func reserved(key string) bool { return strings.HasPrefix(strings.ToLower(key), "aws:") }

var errReserved = invalid("aws: prefixed tag key names are not allowed for external use.")

// tagged reads the tags of the resource with the ARN; when change is not nil
// it alters them, and tx writes them.
func (s *Service) tagged(ctx context.Context, tx *store.Txn, arn string, change func(model.Tags) (model.Tags, error)) (model.Tags, error) {
	switch {
	case model.LoadBalancerID(arn) != "":
		row, err := s.loadBalancer(ctx, arn)
		if err != nil || change == nil {
			return present(row.V, err, func(v *model.LoadBalancer) model.Tags { return v.Tags }), err
		}
		v := row.Copy()
		if v.Tags, err = change(v.Tags); err == nil {
			tables.LoadBalancers.Replace(tx, row, v)
		}
		return nil, err
	case model.TargetGroupID(arn) != "":
		row, err := s.targetGroup(ctx, arn)
		if err != nil || change == nil {
			return present(row.V, err, func(v *model.TargetGroup) model.Tags { return v.Tags }), err
		}
		v := row.Copy()
		if v.Tags, err = change(v.Tags); err == nil {
			tables.TargetGroups.Replace(tx, row, v)
		}
		return nil, err
	case model.ListenerID(arn) != "":
		row, err := s.listener(ctx, arn)
		if err != nil || change == nil {
			return present(row.V, err, func(v *model.Listener) model.Tags { return v.Tags }), err
		}
		v := row.Copy()
		if v.Tags, err = change(v.Tags); err == nil {
			tables.Listeners.Replace(tx, row, v)
		}
		return nil, err
	case model.RuleID(arn) != "":
		row, err := s.rule(ctx, arn)
		if err != nil || change == nil {
			return present(row.V, err, func(v *model.Rule) model.Tags { return v.Tags }), err
		}
		v := row.Copy()
		if v.Tags, err = change(v.Tags); err == nil {
			tables.Rules.Replace(tx, row, v)
		}
		return nil, err
	case model.TrustStoreID(arn) != "":
		row, err := s.trustStore(ctx, arn)
		if err != nil || change == nil {
			return present(row.V, err, func(v *model.TrustStore) model.Tags { return v.Tags }), err
		}
		v := row.Copy()
		if v.Tags, err = change(v.Tags); err == nil {
			tables.TrustStores.Replace(tx, row, v)
		}
		return nil, err
	default:
		return nil, invalid("'%s' is not a valid resource ARN", arn)
	}
}

func present[T any](v *T, err error, get func(*T) model.Tags) model.Tags {
	if err != nil {
		return nil
	}
	return get(v)
}

// AddTags adds tags to resources, or changes their values.
func (s *Service) AddTags(ctx context.Context, in *elbv2.AddTagsInput) (*elbv2.AddTagsOutput, error) {
	add, err := newTags(in.Tags)
	if err != nil {
		return nil, err
	}
	err = s.changeTags(ctx, in.ResourceArns, func(tags model.Tags) (model.Tags, error) {
		if tags == nil {
			tags = model.Tags{}
		}
		maps.Copy(tags, add)
		if len(tags) > maxTags {
			return nil, elbv2.NewTooManyTagsException("The maximum number of tags for a resource is %d", maxTags)
		}
		return tags, nil
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.AddTagsOutput{}, nil
}

// RemoveTags removes tags from resources.
func (s *Service) RemoveTags(ctx context.Context, in *elbv2.RemoveTagsInput) (*elbv2.RemoveTagsOutput, error) {
	if slices.ContainsFunc(in.TagKeys, reserved) {
		return nil, errReserved
	}
	err := s.changeTags(ctx, in.ResourceArns, func(tags model.Tags) (model.Tags, error) {
		for _, k := range in.TagKeys {
			delete(tags, k)
		}
		return tags, nil
	})
	if err != nil {
		return nil, err
	}
	return &elbv2.RemoveTagsOutput{}, nil
}

func (s *Service) changeTags(ctx context.Context, arns []string, change func(model.Tags) (model.Tags, error)) error {
	arns = slices.Compact(slices.Sorted(slices.Values(arns)))
	return s.commit(ctx, func(tx *store.Txn) error {
		for _, arn := range arns {
			if _, err := s.tagged(ctx, tx, arn, change); err != nil {
				return err
			}
		}
		return nil
	})
}

// DescribeTags lists the tags of resources.
func (s *Service) DescribeTags(ctx context.Context, in *elbv2.DescribeTagsInput) (*elbv2.DescribeTagsOutput, error) {
	if err := checkARNs("resourceArns", in.ResourceArns); err != nil {
		return nil, err
	}
	out := &elbv2.DescribeTagsOutput{TagDescriptions: []elbv2.TagDescription{}}
	for _, arn := range in.ResourceArns {
		tags, err := s.tagged(ctx, nil, arn, nil)
		if err != nil {
			return nil, err
		}
		d := elbv2.TagDescription{ResourceArn: new(arn), Tags: []elbv2.Tag{}}
		for _, k := range slices.Sorted(maps.Keys(tags)) {
			d.Tags = append(d.Tags, elbv2.Tag{Key: new(k), Value: new(tags[k])})
		}
		out.TagDescriptions = append(out.TagDescriptions, d)
	}
	return out, nil
}
