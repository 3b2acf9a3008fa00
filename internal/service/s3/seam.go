package s3

import (
	"context"
	"errors"
	"fmt"
	"io"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/checksum"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/objects"
	"roadstead.dev/internal/service/s3/contents"
	"roadstead.dev/internal/store"
)

// Objects is the service for those who read and write in-process.
type Objects struct{ s *Service }

var (
	_ objects.Buckets = Objects{}
	_ objects.Reader  = Objects{}
	_ objects.Writer  = Objects{}
)

// Objects is the service for those who read and write in-process.
func (s *Service) Objects() Objects { return Objects{s} }

// find finds a bucket.
func (o Objects) find(ctx context.Context, name string) (bucketRow, error) {
	if !validName(name) {
		return bucketRow{}, fmt.Errorf("%q: %w", name, objects.ErrNoBucket)
	}
	b, err := o.s.lookup(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return b, fmt.Errorf("%s: %w", name, objects.ErrNoBucket)
	}
	return b, err
}

// Bucket implements objects.Buckets.
func (o Objects) Bucket(ctx context.Context, name string) (objects.BucketInfo, error) {
	b, err := o.find(ctx, name)
	return objects.BucketInfo{Account: b.Key.Account, Region: b.Key.Region}, err
}

// allow asks whether a principal may do something to an object.
func (o Objects) allow(ctx context.Context, who objects.Principal, b bucketRow, action string, at objects.Location) error {
	arn := model.S3BucketARN(b.Key.Region, b.V.Name) + "/" + at.Key
	conditions := map[string]string{}
	if at.Version != "" {
		conditions["s3:VersionId"] = at.Version
	}
	var err error
	if who.Call != nil {
		err = o.s.Authorizer.AuthorizeResource(ctx, who.Call, action, arn, b.Key.Account, policyFor(who.Call, b), conditions)
	} else {
		if action == "s3:PutObject" {
			// What services write is its bucket's owner's.
			conditions["s3:x-amz-acl"] = "bucket-owner-full-control"
		}
		err = o.s.Authorizer.AuthorizeService(ctx, who.Service, who.SourceAccount, who.SourceARN, who.Accounts, action, arn, b.V.Policy, conditions)
	}
	if denied, ok := errors.AsType[*model.Denied](err); ok {
		return fmt.Errorf("%w: %w", objects.ErrDenied, denied)
	}
	return err
}

// Get implements objects.Reader.
func (o Objects) Get(ctx context.Context, who objects.Principal, at objects.Location) (io.ReadCloser, objects.Info, error) {
	b, err := o.find(ctx, at.Bucket)
	if err != nil {
		return nil, objects.Info{}, err
	}
	action := "s3:GetObject"
	if at.Version != "" {
		action = withVersion(action)
	}
	if err := o.allow(ctx, who, b, action, at); err != nil {
		return nil, objects.Info{}, err
	}
	for range readAgain {
		v, err := o.s.version(ctx, b, at.Key, at.Version)
		switch {
		case errors.Is(err, error(errBadVersion)), err == nil && v == nil && at.Version != "":
			return nil, objects.Info{}, fmt.Errorf("%s: %w", at.ARN(), objects.ErrNoVersion)
		case err != nil:
			return nil, objects.Info{}, err
		case v == nil || v.DeleteMarker:
			return nil, objects.Info{}, fmt.Errorf("%s: %w", at.ARN(), objects.ErrNoObject)
		}
		r, err := o.s.Contents.Section(pieces(v.Pieces), 0, v.Size)
		if errors.Is(err, contents.ErrNotFound) {
			continue
		}
		return r, info(v), err
	}
	return nil, objects.Info{}, errGone
}

func info(o *model.S3Object) objects.Info {
	return objects.Info{Size: o.Size, ETag: *quoted(o.ETag), ContentType: o.ContentType, Modified: o.Modified, Version: o.Version}
}

// MayPut implements objects.Writer.
func (o Objects) MayPut(ctx context.Context, who objects.Principal, at objects.Location) error {
	b, err := o.find(ctx, at.Bucket)
	if err != nil {
		return err
	}
	return o.allow(ctx, who, b, "s3:PutObject", at)
}

// Put implements objects.Writer.
func (o Objects) Put(ctx context.Context, who objects.Principal, at objects.Location, body io.Reader, opts objects.PutOptions) (objects.Info, error) {
	b, err := o.find(ctx, at.Bucket)
	if err != nil {
		return objects.Info{}, err
	}
	if err := checkKey(at.Key); err != nil {
		return objects.Info{}, err
	}
	if err := o.allow(ctx, who, b, "s3:PutObject", at); err != nil {
		return objects.Info{}, err
	}
	got, err := o.s.receive(body, wanted{algorithm: checksum.CRC64NVME})
	if err != nil {
		return objects.Info{}, err
	}
	v := &model.S3Object{
		Key: at.Key, Size: got.piece.Size, ETag: got.etag, Pieces: []model.S3Piece{got.piece}, Checksum: got.checksum,
		S3Head: model.S3Head{ContentType: opts.ContentType, ContentEncoding: opts.ContentEncoding},
	}
	if v.ContentType == "" {
		v.ContentType = defaultType
	}
	ctx = api.WithCall(ctx, &api.Call{Account: b.Key.Account, Region: b.Key.Region, Time: o.s.Clock.Now()})
	if err := o.s.put(ctx, b, v, func(*model.S3Object) error { return nil }); err != nil {
		if api.Code(err) == "NoSuchBucket" {
			err = fmt.Errorf("%s: %w", at.Bucket, objects.ErrNoBucket)
		}
		return objects.Info{}, err
	}
	return info(v), nil
}
