package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/pagetoken"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// usEast1 is the region whose buckets have no location constraint.
const usEast1 = "us-east-1"

// CreateBucket implements s3.Handler.
func (s *Service) CreateBucket(ctx context.Context, in *s3.CreateBucketInput) (*s3.CreateBucketOutput, error) {
	c := api.CallFrom(ctx)
	name := *in.Bucket
	_, conditions := s.ScopeOf(ctx, nil, in)
	err := s.Authorizer.AuthorizeResource(ctx, c, "s3:CreateBucket", model.S3BucketARN(c.Region, name), c.Account, "", conditions)
	if err != nil {
		return nil, worded(c, err)
	}
	if !validName(name) {
		return nil, invalidBucketName(name)
	}
	tags, err := creatable(c, in)
	if err != nil {
		return nil, err
	}
	b := &model.S3Bucket{
		Name: name, ID: id.Hex(16), CreatedAt: now(ctx), Tags: tags.Initial(),
		PublicAccess: &model.S3PublicAccessBlock{BlockPublicAcls: true, IgnorePublicAcls: true, BlockPublicPolicy: true, RestrictPublicBuckets: true},
		Ownership:    cmp.Or(string(in.ObjectOwnership), string(s3.ObjectOwnershipBucketOwnerEnforced)),
	}
	tx := store.NewTxn()
	tables.S3BucketNames.Create(tx, "", "", name, &model.S3BucketName{Account: c.Account, Region: c.Region})
	tables.S3Buckets.Create(tx, c.Account, c.Region, name, b)
	_, err = tx.Commit(ctx, s.Store)
	if errors.Is(err, store.ErrConflict) {
		return s.bucketExists(ctx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("create bucket: %w", err)
	}
	return created(name), nil
}

// worded is a denial as S3 words it.
func worded(c *api.Call, err error) error {
	denied, ok := errors.AsType[*model.Denied](err)
	switch {
	case !ok:
		return err
	case c.Identity.Anonymous:
		return errDenied
	}
	return fault(http.StatusForbidden, "AccessDenied", "User: "+c.Identity.ARN+" is not authorized to perform: "+denied.Action+` on resource: "`+denied.Resource+`" `+denied.Reason)
}

func created(name string) *s3.CreateBucketOutput {
	return &s3.CreateBucketOutput{Location: new("/" + name), BucketArn: new(model.S3BucketARN("", name))}
}

// creatable checks what a bucket is to be.
func creatable(c *api.Call, in *s3.CreateBucketInput) (model.Tags, error) {
	switch {
	case in.ObjectOwnership != "" && !ownable(in.ObjectOwnership):
		return nil, notImplemented("x-amz-object-ownership")
	case in.ACL != "" && in.ACL != s3.BucketCannedACLPrivate,
		in.GrantFullControl != nil, in.GrantRead != nil, in.GrantReadACP != nil, in.GrantWrite != nil, in.GrantWriteACP != nil:
		return nil, fault(http.StatusBadRequest, "InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
	case isTrue(in.ObjectLockEnabledForBucket):
		return nil, notImplemented("x-amz-bucket-object-lock-enabled")
	case in.BucketNamespace != "" && in.BucketNamespace != s3.BucketNamespaceGlobal:
		return nil, notImplemented("x-amz-bucket-namespace")
	}
	cfg := in.CreateBucketConfiguration
	if cfg == nil {
		cfg = &s3.CreateBucketConfiguration{}
	}
	if cfg.Bucket != nil || cfg.Location != nil {
		return nil, fault(http.StatusNotImplemented, "NotImplemented", "Directory buckets are not implemented.")
	}
	want := c.Region
	if want == usEast1 {
		want = ""
	}
	switch {
	case string(cfg.LocationConstraint) == want, cfg.LocationConstraint == "EU" && want == "eu-west-1":
	case cfg.LocationConstraint == "":
		return nil, fault(http.StatusBadRequest, "IllegalLocationConstraintException", "The unspecified location constraint is incompatible for the region specific endpoint this request was sent to.")
	default:
		return nil, fault(http.StatusBadRequest, "IllegalLocationConstraintException",
			"The "+string(cfg.LocationConstraint)+" location constraint is incompatible for the region specific endpoint this request was sent to.")
	}
	return tagsFrom(cfg.Tags, maxBucketTags)
}

// bucketExists answers who makes a bucket that there is. In us-east-1 its owner
// is told that all is well.
func (s *Service) bucketExists(ctx context.Context, name string) (*s3.CreateBucketOutput, error) {
	c := api.CallFrom(ctx)
	b, err := s.lookup(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, errContended // it went away meanwhile
	case err != nil:
		return nil, fmt.Errorf("read bucket: %w", err)
	case b.Key.Account != c.Account:
		return nil, fault(http.StatusConflict, "BucketAlreadyExists",
			"The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again.", detail("BucketName", name))
	case b.Key.Region == usEast1 && c.Region == usEast1:
		return created(name), nil
	}
	return nil, fault(http.StatusConflict, "BucketAlreadyOwnedByYou", "Your previous request to create the named bucket succeeded and you already own it.", detail("BucketName", name))
}

// HeadBucket implements s3.Handler.
func (s *Service) HeadBucket(ctx context.Context, in *s3.HeadBucketInput) (*s3.HeadBucketOutput, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return &s3.HeadBucketOutput{BucketRegion: &b.Key.Region, BucketArn: new(model.S3BucketARN(b.Key.Region, b.V.Name)), AccessPointAlias: new(false)}, nil
}

// GetBucketLocation implements s3.Handler. Unlike the others it answers in
// every region.
func (s *Service) GetBucketLocation(ctx context.Context, in *s3.GetBucketLocationInput) (*s3.GetBucketLocationOutput, error) {
	b, err := s.lookup(ctx, *in.Bucket)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, noSuchBucket(*in.Bucket)
	case err != nil:
		return nil, fmt.Errorf("read bucket: %w", err)
	case in.ExpectedBucketOwner != nil && *in.ExpectedBucketOwner != b.Key.Account:
		return nil, errDenied
	case b.Key.Region == usEast1:
		return &s3.GetBucketLocationOutput{}, nil
	}
	return &s3.GetBucketLocationOutput{LocationConstraint: s3.BucketLocationConstraint(b.Key.Region)}, nil
}

// maxBuckets is the largest page of buckets.
const maxBuckets = 10_000

// ListBuckets implements s3.Handler.
func (s *Service) ListBuckets(ctx context.Context, in *s3.ListBucketsInput) (*s3.ListBucketsOutput, error) {
	c := api.CallFrom(ctx)
	limit := maxBuckets
	if in.MaxBuckets != nil {
		if limit = int(*in.MaxBuckets); limit < 1 || limit > maxBuckets {
			return nil, invalidArgument("Argument max-buckets must be an integer between 1 and 10000", "max-buckets", number(in.MaxBuckets))
		}
	}
	list := []string{"ListBuckets", c.Account, str(in.Prefix), str(in.BucketRegion)}
	after := ""
	if in.ContinuationToken != nil {
		var ok bool
		if after, ok = pagetoken.Open(*in.ContinuationToken, list...); !ok {
			return nil, invalidArgument("The continuation token provided is incorrect", "continuation-token", *in.ContinuationToken)
		}
	}
	rows, err := tables.S3Buckets.List(ctx, s.Store, store.Query{Account: c.Account})
	if err != nil {
		return nil, fmt.Errorf("list buckets: %w", err)
	}
	out := &s3.ListBucketsOutput{Owner: owner(c.Account), Prefix: in.Prefix, Buckets: []s3.Bucket{}}
	sortBy(rows, func(r bucketRow) string { return r.V.Name })
	for _, r := range rows {
		if r.V.Name <= after || !strings.HasPrefix(r.V.Name, str(in.Prefix)) || in.BucketRegion != nil && *in.BucketRegion != r.Key.Region {
			continue
		}
		if len(out.Buckets) == limit {
			out.ContinuationToken = new(pagetoken.Make(*out.Buckets[limit-1].Name, list...))
			break
		}
		e := s3.Bucket{Name: &r.V.Name, CreationDate: &r.V.CreatedAt, BucketArn: new(model.S3BucketARN(r.Key.Region, r.V.Name))}
		if in.MaxBuckets != nil || in.Prefix != nil || in.BucketRegion != nil || in.ContinuationToken != nil {
			e.BucketRegion = &r.Key.Region
		}
		out.Buckets = append(out.Buckets, e)
	}
	return out, nil
}

func owner(account string) *s3.Owner {
	return &s3.Owner{ID: new(model.CanonicalUserID(account))}
}

// DeleteBucket implements s3.Handler. Writers are kept off while it looks
// whether the bucket is empty.
func (s *Service) DeleteBucket(ctx context.Context, in *s3.DeleteBucketInput) (*s3.DeleteBucketOutput, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if b, err = s.closeBucket(ctx, b); err != nil {
		return nil, err
	}
	empty, err := s.isEmpty(ctx, b)
	if err != nil || !empty {
		_, undo := tables.S3Buckets.Update(context.WithoutCancel(ctx), s.Store, b.Key.Account, b.Key.Region, b.Key.ID, func(v *model.S3Bucket) error {
			v.DeletingSince = time.Time{}
			return nil
		})
		if err := errors.Join(err, undo); err != nil {
			return nil, fmt.Errorf("delete bucket: %w", err)
		}
		message := "The bucket you tried to delete is not empty"
		if b.V.Versioning != "" {
			message += ". You must delete all versions in the bucket."
		}
		return nil, fault(http.StatusConflict, "BucketNotEmpty", message, detail("BucketName", b.V.Name))
	}
	tx := store.NewTxn()
	tables.S3Buckets.Delete(tx, b)
	tables.S3BucketNames.Erase(tx, "", "", b.V.Name)
	if err := s.eraseUploads(ctx, tx, b); err != nil {
		return nil, err
	}
	_, err = tx.Commit(ctx, s.Store)
	if errors.Is(err, store.ErrConflict) {
		return nil, errContended
	}
	if err != nil {
		return nil, fmt.Errorf("delete bucket: %w", err)
	}
	return &s3.DeleteBucketOutput{}, nil
}

// closeBucket keeps writers off a bucket.
func (s *Service) closeBucket(ctx context.Context, b bucketRow) (bucketRow, error) {
	if b.V.Deleting(now(ctx)) {
		return b, errContended
	}
	v := b.Copy()
	v.DeletingSince = now(ctx)
	tx := store.NewTxn()
	tables.S3Buckets.Replace(tx, b, v)
	rev, err := tx.Commit(ctx, s.Store)
	if errors.Is(err, store.ErrConflict) {
		return b, errContended
	}
	if err != nil {
		return b, fmt.Errorf("close bucket: %w", err)
	}
	b.V, b.Modified = v, rev
	return b, nil
}

func (s *Service) isEmpty(ctx context.Context, b bucketRow) (bool, error) {
	rows, err := tables.S3Objects.List(ctx, s.Store, objectsOf(b, "", "", 1))
	return len(rows) == 0, err
}
