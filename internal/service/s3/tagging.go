package s3

import (
	"context"
	"maps"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// tagSet is tags as answers have them.
func tagSet(tags model.Tags) []s3.Tag {
	out := make([]s3.Tag, 0, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, s3.Tag{Key: new(k), Value: new(tags[k])})
	}
	return out
}

// GetBucketTagging implements s3.Handler.
func (s *Service) GetBucketTagging(ctx context.Context, in *s3.GetBucketTaggingInput) (*s3.GetBucketTaggingOutput, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err == nil && len(b.V.Tags) == 0 {
		err = missing(b, "NoSuchTagSet", "The TagSet does not exist")
	}
	if err != nil {
		return nil, err
	}
	return &s3.GetBucketTaggingOutput{TagSet: tagSet(b.V.Tags)}, nil
}

// PutBucketTagging implements s3.Handler.
func (s *Service) PutBucketTagging(ctx context.Context, in *s3.PutBucketTaggingInput) (*s3.PutBucketTaggingOutput, error) {
	return &s3.PutBucketTaggingOutput{}, s.change(ctx, in.Bucket, in.ExpectedBucketOwner, func(_ *api.Call, b *model.S3Bucket) (err error) {
		b.Tags, err = tagsFrom(in.Tagging.TagSet, maxBucketTags)
		return err
	})
}

// DeleteBucketTagging implements s3.Handler.
func (s *Service) DeleteBucketTagging(ctx context.Context, in *s3.DeleteBucketTaggingInput) (*s3.DeleteBucketTaggingOutput, error) {
	return &s3.DeleteBucketTaggingOutput{}, s.change(ctx, in.Bucket, in.ExpectedBucketOwner, func(_ *api.Call, b *model.S3Bucket) error {
		if b.Tags != nil {
			b.Tags = model.Tags{}
		}
		return nil
	})
}

// GetObjectTagging implements s3.Handler.
func (s *Service) GetObjectTagging(ctx context.Context, in *s3.GetObjectTaggingInput) (*s3.GetObjectTaggingOutput, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	o, err := s.object(ctx, b, *in.Key, str(in.VersionId))
	if err != nil {
		return nil, err
	}
	return &s3.GetObjectTaggingOutput{TagSet: tagSet(o.Tags), VersionId: opt(o.Version)}, nil
}

// PutObjectTagging implements s3.Handler.
func (s *Service) PutObjectTagging(ctx context.Context, in *s3.PutObjectTaggingInput) (*s3.PutObjectTaggingOutput, error) {
	tags, err := tagsFrom(in.Tagging.TagSet, maxObjectTags)
	if err != nil {
		return nil, err
	}
	version, err := s.retag(ctx, in.Bucket, in.ExpectedBucketOwner, *in.Key, str(in.VersionId), tags)
	return &s3.PutObjectTaggingOutput{VersionId: opt(version)}, err
}

// DeleteObjectTagging implements s3.Handler.
func (s *Service) DeleteObjectTagging(ctx context.Context, in *s3.DeleteObjectTaggingInput) (*s3.DeleteObjectTaggingOutput, error) {
	version, err := s.retag(ctx, in.Bucket, in.ExpectedBucketOwner, *in.Key, str(in.VersionId), nil)
	return &s3.DeleteObjectTaggingOutput{VersionId: opt(version)}, err
}

// retag gives a version of an object other tags.
func (s *Service) retag(ctx context.Context, bucket, expectedOwner *string, key, version string, tags model.Tags) (string, error) {
	b, err := s.bucket(ctx, bucket, expectedOwner)
	if err != nil {
		return "", err
	}
	is := ""
	err = store.Transact(ctx, s.Store, func(tx *store.Txn) error {
		o, err := s.object(ctx, b, key, version)
		if err != nil {
			return err
		}
		h, err := s.hold(ctx, b, key, version)
		if err != nil {
			return err
		}
		row := h.newest
		if !h.is {
			row = h.kept
		}
		if row.V == nil {
			return noSuchKey(key) // it went in between
		}
		v := row.Copy()
		v.Tags, is = tags, o.Version
		h.rewrite(tx, v)
		return nil
	})
	if err != nil {
		return "", s.written(err)
	}
	return is, nil
}
