package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/checksum"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/service/s3/contents"
)

// source is an object that is copied.
type source struct{ bucket, key, version string }

// parseSource reads the header x-amz-copy-source: /bucket/key?versionId=v,
// escaped.
func parseSource(text string) (source, error) {
	path, query, _ := strings.Cut(text, "?")
	path, err := url.PathUnescape(path)
	bucket, key, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if err != nil || !ok || bucket == "" || key == "" || strings.HasPrefix(path, "arn:") {
		return source{}, invalidArgument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey", "x-amz-copy-source", text)
	}
	src := source{bucket: bucket, key: key}
	if query != "" {
		version, ok := strings.CutPrefix(query, "versionId=")
		if !ok {
			return source{}, invalidArgument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey", "x-amz-copy-source", text)
		}
		src.version = version
	}
	return src, nil
}

// copyConditions are what a copy's source must be.
type copyConditions struct {
	match, noneMatch *string
	since, until     *time.Time
}

// maxCopy is the largest object that is copied at once.
const maxCopy = 5 << 30

// sourceOf finds what is copied, once the caller may read it.
func (s *Service) sourceOf(ctx context.Context, header, expectedOwner *string, cond copyConditions) (*model.S3Object, bucketRow, error) {
	c := api.CallFrom(ctx)
	src, err := parseSource(*header)
	if err != nil {
		return nil, bucketRow{}, err
	}
	action := "s3:GetObject"
	keys := map[string]string{}
	if src.version != "" {
		action = withVersion(action)
		keys["s3:VersionId"] = src.version
	}
	if err := c.Authorize(ctx, action, model.S3BucketARN(c.Region, src.bucket)+"/"+src.key, keys); err != nil {
		return nil, bucketRow{}, err
	}
	b, err := s.bucketOf(ctx, src.bucket, str(expectedOwner))
	if err != nil {
		return nil, b, err
	}
	o, err := s.object(ctx, b, src.key, src.version)
	if api.Code(err) == "MethodNotAllowed" {
		err = fault(http.StatusBadRequest, "InvalidRequest", "The source of a copy request may not specifically refer to a delete marker by version id.")
	}
	if err != nil {
		return nil, b, err
	}
	q := question{match: cond.match, noneMatch: cond.noneMatch, since: cond.since, until: cond.until}
	if err := q.conditions(o); err != nil {
		if f, ok := errors.AsType[*api.Fault](err); ok && f.Status == http.StatusNotModified {
			err = preconditionFailed("x-amz-copy-source-If-None-Match")
		}
		return nil, b, err
	}
	return o, b, nil
}

// CopyObject implements s3.Handler.
func (s *Service) CopyObject(ctx context.Context, in *s3.CopyObjectInput) (*s3.CopyObjectOutput, error) {
	if err := errors.Join(checkKey(*in.Key), checkHeaders(in)); err != nil {
		return nil, err
	}
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if err := checkACL(ctx, b, in); err != nil {
		return nil, err
	}
	allowed, err := putConditions(in.IfMatch, in.IfNoneMatch)
	if err != nil {
		return nil, err
	}
	for range readAgain {
		from, fromBucket, err := s.sourceOf(ctx, in.CopySource, in.ExpectedSourceBucketOwner, copyConditions{
			in.CopySourceIfMatch, in.CopySourceIfNoneMatch, in.CopySourceIfModifiedSince, in.CopySourceIfUnmodifiedSince,
		})
		if err != nil {
			return nil, err
		}
		o, err := copyOf(in, from, fromBucket.V.ID == b.V.ID && from.Key == *in.Key && !strings.Contains(*in.CopySource, "?versionId="))
		if err != nil {
			return nil, err
		}
		if err := s.askForTags(ctx, b, o.Key, o.Tags); err != nil {
			return nil, err
		}
		err = s.copyBytes(ctx, o, from, 0, from.Size, cmp.Or(string(in.ChecksumAlgorithm), algorithmOf(from)))
		if errors.Is(err, contents.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := s.put(ctx, b, o, allowed); err != nil {
			return nil, err
		}
		out := &s3.CopyObjectOutput{
			CopyObjectResult:     &s3.CopyObjectResult{ETag: quoted(o.ETag), LastModified: &o.Modified},
			ServerSideEncryption: s3.ServerSideEncryptionAes256, VersionId: opt(o.Version), CopySourceVersionId: opt(from.Version),
		}
		setChecksum(out.CopyObjectResult, o.Checksum)
		return out, nil
	}
	return nil, errGone
}

func algorithmOf(o *model.S3Object) string {
	if o.Checksum == nil {
		return checksum.CRC64NVME
	}
	return o.Checksum.Algorithm
}

// copyOf is the object that a copy makes, without its bytes.
func copyOf(in *s3.CopyObjectInput, from *model.S3Object, itself bool) (*model.S3Object, error) {
	if from.Size > maxCopy {
		return nil, fault(http.StatusBadRequest, "InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120")
	}
	replaces := in.MetadataDirective == s3.MetadataDirectiveReplace
	if itself && !replaces && in.TaggingDirective != s3.TaggingDirectiveReplace && in.ServerSideEncryption == "" && in.StorageClass == "" && in.ChecksumAlgorithm == "" {
		return nil, fault(http.StatusBadRequest, "InvalidRequest",
			"This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
	}
	o := &model.S3Object{Key: *in.Key, S3Head: from.S3Head}
	given, err := headOf(in)
	if err != nil {
		return nil, err
	}
	tags := from.Tags
	if in.TaggingDirective == s3.TaggingDirectiveReplace {
		tags = given.Tags
	}
	if replaces {
		o.S3Head = given
	}
	o.Metadata, o.Tags = copyMetadata(o.Metadata), tags
	return o, nil
}

// copyBytes gives o a copy of a range of an object's bytes.
func (s *Service) copyBytes(_ context.Context, o, from *model.S3Object, offset, length int64, algorithm string) error {
	if checksum.New(algorithm) == nil {
		return unsupportedChecksum()
	}
	r, err := s.Contents.Section(pieces(from.Pieces), offset, length)
	if err != nil {
		return err
	}
	got, err := s.receive(io.LimitReader(r, length), wanted{algorithm: algorithm})
	_ = r.Close() // it was read
	if err != nil {
		return fmt.Errorf("copy object: %w", err)
	}
	o.Pieces, o.Size, o.ETag, o.Checksum = []model.S3Piece{got.piece}, got.piece.Size, got.etag, got.checksum
	return nil
}
