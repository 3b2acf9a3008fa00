package s3

import (
	"context"
	"errors"
	"net/http"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// DeleteObject implements s3.Handler. What is not there is deleted well.
func (s *Service) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	switch {
	case in.IfMatchLastModifiedTime != nil:
		return nil, notImplemented("x-amz-if-match-last-modified-time")
	case in.IfMatchSize != nil:
		return nil, notImplemented("x-amz-if-match-size")
	case in.MFA != nil:
		return nil, notImplemented("x-amz-mfa")
	}
	d, err := s.remove(ctx, b, *in.Key, str(in.VersionId), in.IfMatch)
	if err != nil {
		return nil, err
	}
	return &s3.DeleteObjectOutput{DeleteMarker: d.marker, VersionId: opt(d.version)}, nil
}

// deleted tells what became of a key.
type deleted struct {
	// marker: a delete marker was made, or removed.
	marker  *bool
	version string
}

// remove deletes an object, in a bucket with versioning by a delete marker, or a
// version of one for good.
func (s *Service) remove(ctx context.Context, b bucketRow, key, version string, match *string) (deleted, error) {
	if !possibleKey(key) {
		return deleted{}, nil
	}
	var d deleted
	var gone []model.S3Piece
	ctx = context.WithoutCancel(ctx)
	err := store.Transact(ctx, s.Store, func(tx *store.Txn) error {
		d, gone = deleted{}, nil
		if err := s.open(ctx, tx, &b); err != nil {
			return err
		}
		row, err := s.newest(ctx, b, key)
		if err != nil {
			return err
		}
		if match != nil {
			if row.V == nil || row.V.DeleteMarker {
				return noSuchKey(key)
			}
			if !matches(*match, row.V.ETag) {
				return preconditionFailed("If-Match")
			}
		}
		switch {
		case version != "":
			d, gone, err = s.removeVersion(ctx, tx, b, key, version)
		case b.V.Versioning != "":
			marker := &model.S3Object{Key: key, DeleteMarker: true, Modified: now(ctx)}
			gone, err = s.supersede(ctx, tx, b, row, marker)
			d = deleted{marker: new(true), version: marker.Version}
		case row.V != nil:
			gone = row.V.Pieces
			tables.S3Objects.Delete(tx, row)
		}
		return err
	})
	if err != nil {
		return deleted{}, s.written(err)
	}
	s.Contents.Remove(ids(gone)...)
	return d, nil
}

// maxDeletes is how many objects DeleteObjects takes.
const maxDeletes = 1000

// DeleteObjects implements s3.Handler. What is refused of an object is said of
// that object; the others are deleted.
func (s *Service) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (*s3.DeleteObjectsOutput, error) {
	c := api.CallFrom(ctx)
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		if !mayLearn(ctx, c, *in.Bucket) {
			return nil, errDenied
		}
		return nil, err
	}
	switch {
	case in.MFA != nil:
		return nil, notImplemented("x-amz-mfa")
	case len(in.Delete.Objects) == 0 || len(in.Delete.Objects) > maxDeletes:
		return nil, errMalformed
	}
	out := &s3.DeleteObjectsOutput{}
	for i := range in.Delete.Objects {
		o := &in.Delete.Objects[i]
		d, err := s.deleteOne(ctx, c, b, o)
		if f, ok := errors.AsType[api.Error](err); ok {
			out.Errors = append(out.Errors, s3.Error{Code: new(f.ErrorCode()), Message: new(f.ErrorMessage()), Key: o.Key, VersionId: o.VersionId})
			continue
		}
		if err != nil {
			return nil, err
		}
		if isTrue(in.Delete.Quiet) {
			continue
		}
		e := s3.DeletedObject{Key: o.Key, VersionId: o.VersionId, DeleteMarker: d.marker}
		if d.marker != nil {
			e.DeleteMarkerVersionId = opt(d.version)
		}
		out.Deleted = append(out.Deleted, e)
	}
	return out, nil
}

var errMalformed = fault(http.StatusBadRequest, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")

// mayLearn tells whether a caller may know that a bucket is not there.
func mayLearn(ctx context.Context, c *api.Call, bucket string) bool {
	return c.Authorize(ctx, "s3:DeleteObject", model.S3BucketARN(c.Region, bucket)+"/*", nil) == nil
}

func (s *Service) deleteOne(ctx context.Context, c *api.Call, b bucketRow, o *s3.ObjectIdentifier) (deleted, error) {
	switch {
	case o.LastModifiedTime != nil, o.Size != nil:
		return deleted{}, notImplemented("LastModifiedTime")
	case *o.Key == "":
		return deleted{}, fault(http.StatusBadRequest, "UserKeyMustBeSpecified", "The request was missing a user key.")
	}
	action, conditions := "s3:DeleteObject", map[string]string(nil)
	if v := str(o.VersionId); v != "" {
		action, conditions = withVersion(action), map[string]string{"s3:VersionId": v}
	}
	if err := c.Authorize(ctx, action, model.S3BucketARN(b.Key.Region, b.V.Name)+"/"+*o.Key, conditions); err != nil {
		return deleted{}, err
	}
	return s.remove(ctx, b, *o.Key, str(o.VersionId), o.ETag)
}
