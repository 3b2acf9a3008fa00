package resourcegroupstaggingapi

import (
	"context"
	"maps"
	"slices"

	"roadstead.dev/internal/api/autoscaling"
	"roadstead.dev/internal/model"
)

// autoScalingSource tags Auto Scaling groups, and lists none: on AWS, too,
// GetResources, GetTagKeys and GetTagValues do not know them.
// https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/supported-services.html
var autoScalingSource = source{
	tag: func(ctx context.Context, ops Operations, arn model.ARN, tags map[string]string) error {
		var list []autoscaling.Tag
		for _, k := range slices.Sorted(maps.Keys(tags)) {
			list = append(list, groupTag(arn, k, new(tags[k])))
		}
		return does(ops.Invoke(ctx, "autoscaling", "CreateOrUpdateTags", &autoscaling.CreateOrUpdateTagsInput{Tags: list}))
	},
	untag: func(ctx context.Context, ops Operations, arn model.ARN, keys []string) error {
		var list []autoscaling.Tag
		for _, k := range keys {
			list = append(list, groupTag(arn, k, nil))
		}
		return does(ops.Invoke(ctx, "autoscaling", "DeleteTags", &autoscaling.DeleteTagsInput{Tags: list}))
	},
}

func groupTag(arn model.ARN, key string, value *string) autoscaling.Tag {
	return autoscaling.Tag{ResourceId: new(arn.String()), ResourceType: new("auto-scaling-group"), Key: &key, Value: value}
}
