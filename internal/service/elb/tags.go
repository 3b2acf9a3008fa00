package elb

import (
	"context"
	"maps"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/loadbalancers"
)

const maxTags = 50

// tagsOf checks the tags of a load balancer that is to be made, and that the
// caller may tag it.
func tagsOf(ctx context.Context, arn string, in []elb.Tag) (model.Tags, error) {
	tags, err := newTags(in)
	if err != nil || len(tags) == 0 {
		return tags, err
	}
	return tags, api.CallFrom(ctx).Authorize(ctx, loadbalancers.TagAction, arn, loadbalancers.TagConditions("CreateLoadBalancer", tags))
}

// newTags checks the tags of a request.
func newTags(in []elb.Tag) (model.Tags, error) {
	if len(in) > maxTags {
		return nil, tooManyTags
	}
	tags := model.Tags{}
	for _, t := range in {
		k := value(t.Key)
		if reserved(k) {
			return nil, errReserved
		}
		if _, twice := tags[k]; twice {
			return nil, elb.NewDuplicateTagKeysException("Tag key '%s' was specified more than once", k)
		}
		tags[k] = value(t.Value)
	}
	return tags.Initial(), nil
}

var tooManyTags = elb.NewTooManyTagsException("The quota for the number of tags that can be assigned to a load balancer has been reached")

// reserved keys are AWS's own.
func reserved(key string) bool { return strings.HasPrefix(strings.ToLower(key), "aws:") }

var errReserved = invalid("aws: prefixed tag key names are not allowed for external use.")

// one is the only load balancer that a request names.
func one(names []string) (*string, error) {
	if len(names) != 1 {
		return nil, invalid("Exactly one load balancer name must be specified")
	}
	return &names[0], nil
}

// AddTags adds tags to a load balancer, or changes their values.
func (s *Service) AddTags(ctx context.Context, in *elb.AddTagsInput) (*elb.AddTagsOutput, error) {
	name, err := one(in.LoadBalancerNames)
	if err != nil {
		return nil, err
	}
	add, err := newTags(in.Tags)
	if err != nil {
		return nil, err
	}
	_, err = s.change(ctx, name, func(_ *store.Txn, b *balancer) error {
		if b.lb.Tags == nil {
			b.lb.Tags = model.Tags{}
		}
		if maps.Copy(b.lb.Tags, add); len(b.lb.Tags) > maxTags {
			return tooManyTags
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elb.AddTagsOutput{}, nil
}

// RemoveTags removes tags from a load balancer.
func (s *Service) RemoveTags(ctx context.Context, in *elb.RemoveTagsInput) (*elb.RemoveTagsOutput, error) {
	name, err := one(in.LoadBalancerNames)
	if err != nil {
		return nil, err
	}
	_, err = s.change(ctx, name, func(_ *store.Txn, b *balancer) error {
		for _, t := range in.Tags {
			if reserved(value(t.Key)) {
				return errReserved
			}
			delete(b.lb.Tags, value(t.Key))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &elb.RemoveTagsOutput{}, nil
}

// DescribeTags lists the tags of load balancers.
func (s *Service) DescribeTags(ctx context.Context, in *elb.DescribeTagsInput) (*elb.DescribeTagsOutput, error) {
	out := &elb.DescribeTagsOutput{TagDescriptions: []elb.TagDescription{}}
	for _, name := range in.LoadBalancerNames {
		b, err := s.find(ctx, name)
		if err != nil {
			return nil, err
		}
		d := elb.TagDescription{LoadBalancerName: &name, Tags: []elb.Tag{}}
		for _, k := range slices.Sorted(maps.Keys(b.lb.Tags)) {
			d.Tags = append(d.Tags, elb.Tag{Key: &k, Value: new(b.lb.Tags[k])})
		}
		out.TagDescriptions = append(out.TagDescriptions, d)
	}
	return out, nil
}
