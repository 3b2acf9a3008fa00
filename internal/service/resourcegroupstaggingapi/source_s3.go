package resourcegroupstaggingapi

import (
	"context"
	"maps"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// s3Source are buckets. S3 has no operation that adds a tag: what there are,
// are written anew.
var s3Source = source{
	list: []lister{
		from(tables.S3Buckets, func(v *model.S3Bucket) model.Tags { return v.Tags }, func(r store.Row[model.S3Bucket]) string {
			return model.S3BucketARN(r.Key.Region, r.V.Name)
		}),
	},
	tag: func(ctx context.Context, ops Operations, arn model.ARN, tags map[string]string) error {
		return retagBucket(ctx, ops, arn.Resource, func(all []s3.Tag) []s3.Tag {
			all = slices.DeleteFunc(all, func(t s3.Tag) bool { _, ok := tags[*t.Key]; return ok })
			for _, k := range slices.Sorted(maps.Keys(tags)) {
				all = append(all, s3.Tag{Key: new(k), Value: new(tags[k])})
			}
			return all
		})
	},
	untag: func(ctx context.Context, ops Operations, arn model.ARN, keys []string) error {
		return retagBucket(ctx, ops, arn.Resource, func(all []s3.Tag) []s3.Tag {
			return slices.DeleteFunc(all, func(t s3.Tag) bool { return slices.Contains(keys, *t.Key) })
		})
	},
}

// retagBucket reads a bucket's tags and writes what change makes of them.
func retagBucket(ctx context.Context, ops Operations, bucket string, change func([]s3.Tag) []s3.Tag) error {
	var tags []s3.Tag
	out, err := ops.Invoke(ctx, "s3", "GetBucketTagging", &s3.GetBucketTaggingInput{Bucket: &bucket})
	if err != nil && api.Code(err) != "NoSuchTagSet" {
		return err
	}
	if got, ok := out.(*s3.GetBucketTaggingOutput); ok && got != nil {
		tags = got.TagSet
	}
	return does(ops.Invoke(ctx, "s3", "PutBucketTagging", &s3.PutBucketTaggingInput{Bucket: &bucket, Tagging: &s3.Tagging{TagSet: change(tags)}}))
}
