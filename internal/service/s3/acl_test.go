package s3_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestACLs(t *testing.T) {
	w := newWorld(t)
	c, foreign, ctx := w.client("AKIAOWNER"), w.client("AKIAOTHER"), t.Context()
	w.bucket(c, "enforced")
	if _, err := c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("preferred"), ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred, ACL: types.BucketCannedACLPrivate}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: aws.String("preferred"), Policy: aws.String(policy(
		`"Effect":"Allow","Principal":{"AWS":"` + other + `"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::preferred/*"`))}); err != nil {
		t.Fatal(err)
	}
	for _, bucket := range []string{"enforced", "preferred"} {
		w.put(c, bucket, "key", "x")
		list, err := c.GetObjectAcl(ctx, &awss3.GetObjectAclInput{Bucket: &bucket, Key: aws.String("key")})
		if err != nil || len(list.Grants) != 1 || list.Grants[0].Permission != types.PermissionFullControl || *list.Grants[0].Grantee.ID != *list.Owner.ID {
			t.Errorf("%s: %+v, %v", bucket, list, err)
		}
	}
	list, err := c.GetBucketAcl(ctx, &awss3.GetBucketAclInput{Bucket: aws.String("preferred")})
	if err != nil {
		t.Fatal(err)
	}
	same := &types.AccessControlPolicy{Owner: list.Owner, Grants: list.Grants}
	more := &types.AccessControlPolicy{Owner: list.Owner, Grants: append([]types.Grant{{
		Grantee: &types.Grantee{Type: types.TypeGroup, URI: aws.String("http://acs.amazonaws.com/groups/s3/LogDelivery")}, Permission: types.PermissionWrite,
	}}, list.Grants...)}
	bucketACL := func(bucket string, acl types.BucketCannedACL, list *types.AccessControlPolicy) error {
		_, err := c.PutBucketAcl(ctx, &awss3.PutBucketAclInput{Bucket: &bucket, ACL: acl, AccessControlPolicy: list})
		return err
	}
	objectACL := func(bucket, key string, acl types.ObjectCannedACL) error {
		_, err := c.PutObjectAcl(ctx, &awss3.PutObjectAclInput{Bucket: &bucket, Key: &key, ACL: acl})
		return err
	}
	write := func(c *awss3.Client, bucket string, acl types.ObjectCannedACL) error {
		_, err := c.PutObject(ctx, &awss3.PutObjectInput{Bucket: &bucket, Key: aws.String("written"), ACL: acl, Body: strings.NewReader("x")})
		return err
	}
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"enforced":                           {bucketACL("enforced", types.BucketCannedACLPrivate, nil), "AccessControlListNotSupported"},
		"enforced object":                    {objectACL("enforced", "key", types.ObjectCannedACLPrivate), "AccessControlListNotSupported"},
		"enforced write":                     {write(c, "enforced", types.ObjectCannedACLPrivate), "AccessControlListNotSupported"},
		"enforced write, the owner's":        {write(c, "enforced", types.ObjectCannedACLBucketOwnerFullControl), ""},
		"private":                            {bucketACL("preferred", types.BucketCannedACLPrivate, nil), ""},
		"what there is":                      {bucketACL("preferred", "", same), ""},
		"somebody else":                      {bucketACL("preferred", "", more), "NotImplemented"},
		"both":                               {bucketACL("preferred", types.BucketCannedACLPrivate, same), "InvalidRequest"},
		"nothing":                            {bucketACL("preferred", "", nil), "MissingSecurityHeader"},
		"public":                             {bucketACL("preferred", types.BucketCannedACLPublicRead, nil), "AccessDenied"},
		"object":                             {objectACL("preferred", "key", types.ObjectCannedACLPrivate), ""},
		"no object":                          {objectACL("preferred", "none", types.ObjectCannedACLPrivate), "NoSuchKey"},
		"write":                              {write(c, "preferred", types.ObjectCannedACLPrivate), ""},
		"public write":                       {write(c, "preferred", types.ObjectCannedACLPublicRead), "AccessDenied"},
		"another account's":                  {write(foreign, "preferred", ""), "NotImplemented"},
		"another account's, for the owner's": {write(foreign, "preferred", types.ObjectCannedACLBucketOwnerFullControl), ""},
	} {
		if got := outcome(tt.err); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
