package s3

import (
	"context"
	"net/http"
	"slices"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/s3"
)

// Access control lists say one thing here: their owner has full control. In
// buckets of BucketOwnerEnforced nothing else can be said, in others nothing
// else is taken.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html

// ownable tells whether a bucket's objects can be owned so.
func ownable(o s3.ObjectOwnership) bool {
	return o == s3.ObjectOwnershipBucketOwnerEnforced || o == s3.ObjectOwnershipBucketOwnerPreferred
}

func enforced(b bucketRow) bool {
	return b.V.Ownership == string(s3.ObjectOwnershipBucketOwnerEnforced)
}

// grants are the members of inputs that give somebody something.
var grants = []string{"GrantFullControl", "GrantRead", "GrantReadACP", "GrantWrite", "GrantWriteACP"}

func hasGrants(in any) bool {
	return slices.ContainsFunc(grants, func(name string) bool { return field(in, name) != "" })
}

// publicACLs let everybody in.
var publicACLs = []string{string(s3.BucketCannedACLPublicRead), string(s3.BucketCannedACLPublicReadWrite), string(s3.BucketCannedACLAuthenticatedRead)}

// otherACL refuses lists that say more than that the owner has full control.
func otherACL(b bucketRow, acl string) error {
	if b.V.PublicAccess != nil && b.V.PublicAccess.BlockPublicAcls && slices.Contains(publicACLs, acl) {
		return errDenied
	}
	return notImplemented("x-amz-acl")
}

// checkACL refuses what an object that is written to a bucket cannot have.
func checkACL(ctx context.Context, b bucketRow, in any) error {
	acl := field(in, "ACL")
	ours := acl == string(s3.ObjectCannedACLBucketOwnerFullControl)
	switch {
	case enforced(b) && (hasGrants(in) || acl != "" && !ours):
		return errACLs
	case hasGrants(in):
		return notImplemented("x-amz-grant-full-control")
	case acl != "" && !ours && acl != string(s3.ObjectCannedACLPrivate):
		return otherACL(b, acl)
	case b.V.Ownership == string(s3.ObjectOwnershipBucketOwnerPreferred) && !ours && api.CallFrom(ctx).Account != b.Key.Account:
		return notImplemented("an object that its writer owns") // all are the bucket owner's
	}
	return nil
}

// fullControl is the list of what an account owns.
func fullControl(account string) (*s3.Owner, []s3.Grant) {
	of := owner(account)
	return of, []s3.Grant{{Grantee: &s3.Grantee{Type: s3.TypeCanonicalUser, ID: of.ID}, Permission: s3.PermissionFullControl}}
}

// GetBucketAcl implements s3.Handler.
func (s *Service) GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput) (*s3.GetBucketAclOutput, error) { //nolint:staticcheck // AWS's name
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	out := &s3.GetBucketAclOutput{}
	out.Owner, out.Grants = fullControl(b.Key.Account)
	return out, nil
}

// GetObjectAcl implements s3.Handler.
func (s *Service) GetObjectAcl(ctx context.Context, in *s3.GetObjectAclInput) (*s3.GetObjectAclOutput, error) { //nolint:staticcheck // AWS's name
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if _, err := s.object(ctx, b, *in.Key, str(in.VersionId)); err != nil {
		return nil, err
	}
	out := &s3.GetObjectAclOutput{}
	out.Owner, out.Grants = fullControl(b.Key.Account)
	return out, nil
}

// PutBucketAcl implements s3.Handler: a list is taken that says what is so.
func (s *Service) PutBucketAcl(ctx context.Context, in *s3.PutBucketAclInput) (*s3.PutBucketAclOutput, error) { //nolint:staticcheck // AWS's name
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return &s3.PutBucketAclOutput{}, putACL(b, in, in.AccessControlPolicy)
}

// PutObjectAcl implements s3.Handler, likewise.
func (s *Service) PutObjectAcl(ctx context.Context, in *s3.PutObjectAclInput) (*s3.PutObjectAclOutput, error) { //nolint:staticcheck // AWS's name
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if _, err := s.object(ctx, b, *in.Key, str(in.VersionId)); err != nil {
		return nil, err
	}
	return &s3.PutObjectAclOutput{}, putACL(b, in, in.AccessControlPolicy)
}

// putACL takes the list that there is.
func putACL(b bucketRow, in any, list *s3.AccessControlPolicy) error {
	acl := field(in, "ACL")
	said := 0
	for _, is := range []bool{acl != "", hasGrants(in), list != nil} {
		if is {
			said++
		}
	}
	switch {
	case enforced(b):
		return errACLs
	case said == 0:
		return fault(http.StatusBadRequest, "MissingSecurityHeader", "Your request was missing a required header")
	case said > 1:
		return fault(http.StatusBadRequest, "InvalidRequest", "Specifying both Canned ACLs and Header Grants is not allowed")
	case acl == string(s3.ObjectCannedACLPrivate), acl == string(s3.ObjectCannedACLBucketOwnerFullControl), list != nil && saysSo(b, list):
		return nil
	}
	return otherACL(b, acl)
}

// saysSo tells whether a list gives the bucket's owner full control and nobody
// anything else.
func saysSo(b bucketRow, list *s3.AccessControlPolicy) bool {
	of := *owner(b.Key.Account).ID
	if list.Owner != nil && list.Owner.ID != nil && *list.Owner.ID != of || len(list.Grants) != 1 {
		return false
	}
	g := list.Grants[0]
	return g.Permission == s3.PermissionFullControl && g.Grantee != nil && g.Grantee.ID != nil && *g.Grantee.ID == of
}
