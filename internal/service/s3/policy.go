package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// splitARN is the bucket and the key that an ARN of S3's names.
func splitARN(arn string) (bucket, key string, ok bool) {
	a, err := model.ParseARN(arn)
	if err != nil || a.Service != "s3" || a.Region != "" || a.Account != "" {
		return "", "", false
	}
	bucket, key, _ = strings.Cut(a.Resource, "/")
	return bucket, key, true
}

// policyFor is the policy of a bucket as far as it concerns a caller: where
// public buckets are restricted, a public policy lets in nobody of another
// account.
func policyFor(c *api.Call, b bucketRow) string {
	if b.V.Policy != "" && b.V.PublicAccess != nil && b.V.PublicAccess.RestrictPublicBuckets && c.Account != b.Key.Account && isPublic(b.V.Policy) {
		return ""
	}
	return b.V.Policy
}

// limiting are the condition keys that keep a policy for everybody from being
// public.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
var limiting = map[string]bool{
	"aws:sourceip": true, "aws:sourcearn": true, "aws:sourcevpc": true, "aws:sourcevpce": true, "aws:sourceowner": true, "aws:sourceaccount": true,
	"aws:userid": true, "aws:principalarn": true, "aws:principalaccount": true, "aws:principalorgid": true, "aws:principalorgpaths": true,
	"aws:principalserviceprincipal": true, "s3:x-amz-server-side-encryption-aws-kms-key-id": true, "s3:dataaccesspointarn": true, "s3:dataaccesspointaccount": true,
}

// isPublic tells whether a policy lets in everybody.
func isPublic(text string) bool {
	doc, err := policy.Parse(text, policy.Resource)
	if err != nil {
		return true // it was put, so this cannot be; nobody gains by it
	}
	for i := range doc.Statements {
		st := &doc.Statements[i]
		if st.Effect != policy.Allow || st.NotPrincipal == nil && (st.Principal == nil || !st.Principal.Any) {
			continue
		}
		limited := false
		for _, k := range st.Keys {
			limited = limited || limiting[strings.ToLower(k)]
		}
		if !limited {
			return true
		}
	}
	return false
}

// change writes what f makes of a bucket, again and again while others change
// it in between.
func (s *Service) change(ctx context.Context, name, expectedOwner *string, f func(c *api.Call, b *model.S3Bucket) error) error {
	c := api.CallFrom(ctx)
	err := store.Transact(ctx, s.Store, func(tx *store.Txn) error {
		b, err := s.bucket(ctx, name, expectedOwner)
		if err != nil {
			return err
		}
		v := b.Copy()
		if err := f(c, v); err != nil {
			return err
		}
		tables.S3Buckets.Replace(tx, b, v)
		return nil
	})
	if errors.Is(err, store.ErrConflict) {
		return errContended
	}
	if err != nil {
		return fmt.Errorf("change bucket: %w", err)
	}
	return nil
}

// maxPolicy is how many bytes a policy may have.
const maxPolicy = 20 << 10

func malformedPolicy(message string) error {
	return fault(http.StatusBadRequest, "MalformedPolicy", message)
}

// checkPolicy refuses what is no policy for a bucket.
func checkPolicy(text, bucket string) error {
	if len(text) > maxPolicy {
		return malformedPolicy("Policy exceeds the maximum allowed document size.")
	}
	doc, err := policy.Parse(text, policy.Resource)
	if err != nil {
		message := "This policy contains invalid Json"
		if m, ok := errors.AsType[*policy.Malformed](err); ok {
			message = m.Message
		}
		return malformedPolicy(message)
	}
	for i := range doc.Statements {
		st := &doc.Statements[i]
		if len(st.Resource) == 0 && len(st.NotResource) == 0 {
			return malformedPolicy("Missing required field Resource")
		}
		for _, a := range append(append([]string(nil), st.Action...), st.NotAction...) {
			if service, _, _ := strings.Cut(a, ":"); a != "*" && !strings.EqualFold(service, "s3") {
				return malformedPolicy("Policy has invalid action")
			}
		}
		for _, r := range append(append([]string(nil), st.Resource...), st.NotResource...) {
			if of, _, ok := splitARN(r); !ok || of != bucket {
				return malformedPolicy("Policy has invalid resource")
			}
		}
	}
	return nil
}

// PutBucketPolicy implements s3.Handler.
func (s *Service) PutBucketPolicy(ctx context.Context, in *s3.PutBucketPolicyInput) (*s3.PutBucketPolicyOutput, error) {
	return &s3.PutBucketPolicyOutput{}, s.change(ctx, in.Bucket, in.ExpectedBucketOwner, func(c *api.Call, b *model.S3Bucket) error {
		if err := checkPolicy(*in.Policy, b.Name); err != nil {
			return err
		}
		if b.PublicAccess != nil && b.PublicAccess.BlockPublicPolicy && isPublic(*in.Policy) {
			return fault(http.StatusForbidden, "AccessDenied", "User: "+c.Identity.ARN+` is not authorized to perform: s3:PutBucketPolicy on resource: "`+
				model.S3BucketARN(c.Region, b.Name)+`" because public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access.`)
		}
		b.Policy = *in.Policy
		return nil
	})
}

// GetBucketPolicy implements s3.Handler.
func (s *Service) GetBucketPolicy(ctx context.Context, in *s3.GetBucketPolicyInput) (*s3.GetBucketPolicyOutput, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err == nil && b.V.Policy == "" {
		err = noPolicy(b)
	}
	if err != nil {
		return nil, err
	}
	return &s3.GetBucketPolicyOutput{Policy: &b.V.Policy}, nil
}

func noPolicy(b bucketRow) error {
	return missing(b, "NoSuchBucketPolicy", "The bucket policy does not exist")
}

// missing is what a bucket answers that has not been told something.
func missing(b bucketRow, code, message string) error {
	return fault(http.StatusNotFound, code, message, detail("BucketName", b.V.Name))
}

// DeleteBucketPolicy implements s3.Handler.
func (s *Service) DeleteBucketPolicy(ctx context.Context, in *s3.DeleteBucketPolicyInput) (*s3.DeleteBucketPolicyOutput, error) {
	return &s3.DeleteBucketPolicyOutput{}, s.change(ctx, in.Bucket, in.ExpectedBucketOwner, func(_ *api.Call, b *model.S3Bucket) error {
		b.Policy = ""
		return nil
	})
}

// GetBucketPolicyStatus implements s3.Handler.
func (s *Service) GetBucketPolicyStatus(ctx context.Context, in *s3.GetBucketPolicyStatusInput) (*s3.GetBucketPolicyStatusOutput, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err == nil && b.V.Policy == "" {
		err = noPolicy(b)
	}
	if err != nil {
		return nil, err
	}
	return &s3.GetBucketPolicyStatusOutput{PolicyStatus: &s3.PolicyStatus{IsPublic: new(isPublic(b.V.Policy))}}, nil
}

// PutPublicAccessBlock implements s3.Handler.
func (s *Service) PutPublicAccessBlock(ctx context.Context, in *s3.PutPublicAccessBlockInput) (*s3.PutPublicAccessBlockOutput, error) {
	p := in.PublicAccessBlockConfiguration
	return &s3.PutPublicAccessBlockOutput{}, s.change(ctx, in.Bucket, in.ExpectedBucketOwner, func(_ *api.Call, b *model.S3Bucket) error {
		b.PublicAccess = &model.S3PublicAccessBlock{
			BlockPublicAcls: isTrue(p.BlockPublicAcls), IgnorePublicAcls: isTrue(p.IgnorePublicAcls),
			BlockPublicPolicy: isTrue(p.BlockPublicPolicy), RestrictPublicBuckets: isTrue(p.RestrictPublicBuckets),
		}
		return nil
	})
}

// GetPublicAccessBlock implements s3.Handler.
func (s *Service) GetPublicAccessBlock(ctx context.Context, in *s3.GetPublicAccessBlockInput) (*s3.GetPublicAccessBlockOutput, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err == nil && b.V.PublicAccess == nil {
		err = missing(b, "NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found")
	}
	if err != nil {
		return nil, err
	}
	p := b.V.PublicAccess
	return &s3.GetPublicAccessBlockOutput{PublicAccessBlockConfiguration: &s3.PublicAccessBlockConfiguration{
		BlockPublicAcls: &p.BlockPublicAcls, IgnorePublicAcls: &p.IgnorePublicAcls, BlockPublicPolicy: &p.BlockPublicPolicy, RestrictPublicBuckets: &p.RestrictPublicBuckets,
	}}, nil
}

// DeletePublicAccessBlock implements s3.Handler.
func (s *Service) DeletePublicAccessBlock(ctx context.Context, in *s3.DeletePublicAccessBlockInput) (*s3.DeletePublicAccessBlockOutput, error) {
	return &s3.DeletePublicAccessBlockOutput{}, s.change(ctx, in.Bucket, in.ExpectedBucketOwner, func(_ *api.Call, b *model.S3Bucket) error {
		b.PublicAccess = nil
		return nil
	})
}
