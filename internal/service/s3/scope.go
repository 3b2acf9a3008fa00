package s3

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// actions are those that are not called as their operation.
// https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations.html names
// each operation's permissions.
var actions = map[string]string{
	"HeadBucket":              "s3:ListBucket",
	"ListObjects":             "s3:ListBucket",
	"ListObjectsV2":           "s3:ListBucket",
	"ListObjectVersions":      "s3:ListBucketVersions",
	"ListBuckets":             "s3:ListAllMyBuckets",
	"HeadObject":              "s3:GetObject",
	"GetObjectAttributes":     "s3:GetObject",
	"CopyObject":              "s3:PutObject",
	"CreateMultipartUpload":   "s3:PutObject",
	"UploadPart":              "s3:PutObject",
	"UploadPartCopy":          "s3:PutObject",
	"CompleteMultipartUpload": "s3:PutObject",
	"ListParts":               "s3:ListMultipartUploadParts",
	"ListMultipartUploads":    "s3:ListBucketMultipartUploads",
	"CreateBucket":            "", // asked for whoever has a bucket of the name
	"DeleteObjects":           "", // asked for object by object
	"DeleteBucketTagging":     "s3:PutBucketTagging",

	"GetBucketAccelerateConfiguration":   "s3:GetAccelerateConfiguration",
	"GetBucketCors":                      "s3:GetBucketCORS",
	"DeleteBucketCors":                   "s3:PutBucketCORS",
	"GetBucketEncryption":                "s3:GetEncryptionConfiguration",
	"PutBucketEncryption":                "s3:PutEncryptionConfiguration",
	"DeleteBucketEncryption":             "s3:PutEncryptionConfiguration",
	"GetBucketLifecycleConfiguration":    "s3:GetLifecycleConfiguration",
	"DeleteBucketLifecycle":              "s3:PutLifecycleConfiguration",
	"GetBucketNotificationConfiguration": "s3:GetBucketNotification",
	"GetBucketReplication":               "s3:GetReplicationConfiguration",
	"DeleteBucketReplication":            "s3:PutReplicationConfiguration",
	"GetObjectLockConfiguration":         "s3:GetBucketObjectLockConfiguration",
	"GetPublicAccessBlock":               "s3:GetBucketPublicAccessBlock",
	"PutPublicAccessBlock":               "s3:PutBucketPublicAccessBlock",
	"DeletePublicAccessBlock":            "s3:PutBucketPublicAccessBlock",
	"DeleteBucketOwnershipControls":      "s3:PutBucketOwnershipControls",
}

// versioned are the actions that have another name where a version is named.
var versioned = map[string]string{
	"s3:GetObject":           "s3:GetObjectVersion",
	"s3:DeleteObject":        "s3:DeleteObjectVersion",
	"s3:GetObjectTagging":    "s3:GetObjectVersionTagging",
	"s3:PutObjectTagging":    "s3:PutObjectVersionTagging",
	"s3:DeleteObjectTagging": "s3:DeleteObjectVersionTagging",
	"s3:GetObjectAcl":        "s3:GetObjectVersionAcl",
	"s3:PutObjectAcl":        "s3:PutObjectVersionAcl",
}

// ActionOf implements api.ActionNamer.
func (s *Service) ActionOf(op *api.Operation, in any) string {
	action, ok := actions[op.Name]
	if !ok {
		action = op.Action()
	}
	if field(in, "VersionId") != "" {
		return withVersion(action)
	}
	return action
}

func withVersion(action string) string {
	if v := versioned[action]; v != "" {
		return v
	}
	return action
}

// ScopeOf implements api.ResourceScoper: operations act on the bucket or the
// object that they name.
func (s *Service) ScopeOf(ctx context.Context, _ *api.Operation, in any) ([]string, map[string]string) {
	c := api.CallFrom(ctx)
	keys := map[string]string{}
	set := func(key, value string) {
		if value != "" {
			keys[key] = value
		}
	}
	set("s3:VersionId", field(in, "VersionId"))
	set("s3:prefix", field(in, "Prefix"))
	set("s3:delimiter", field(in, "Delimiter"))
	set("s3:x-amz-acl", field(in, "ACL"))
	set("s3:x-amz-copy-source", field(in, "CopySource"))
	set("s3:x-amz-metadata-directive", field(in, "MetadataDirective"))
	set("s3:x-amz-server-side-encryption", field(in, "ServerSideEncryption"))
	set("s3:x-amz-storage-class", field(in, "StorageClass"))
	set("s3:object-ownership", field(in, "ObjectOwnership"))
	set("s3:LocationConstraint", location(in))
	switch in := in.(type) {
	case *s3.ListObjectsInput:
		set("s3:max-keys", number(in.MaxKeys))
	case *s3.ListObjectVersionsInput:
		set("s3:max-keys", number(in.MaxKeys))
	case *s3.ListObjectsV2Input:
		set("s3:max-keys", number(in.MaxKeys))
	}
	for k, v := range parseTags(field(in, "Tagging")) {
		keys["s3:RequestObjectTag/"+k] = v
	}
	bucket := field(in, "Bucket")
	if bucket == "" {
		return nil, keys
	}
	arn := model.S3BucketARN(c.Region, bucket)
	if key := field(in, "Key"); key != "" {
		arn += "/" + key
	}
	return []string{arn}, keys
}

func location(in any) string {
	if create, ok := in.(*s3.CreateBucketInput); ok && create.CreateBucketConfiguration != nil {
		return string(create.CreateBucketConfiguration.LocationConstraint)
	}
	return ""
}

func number(n *int32) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(int(*n))
}

// PolicyOf implements api.ResourcePolicies.
func (s *Service) PolicyOf(ctx context.Context, arn string) (policy, owner string, err error) {
	c := api.CallFrom(ctx)
	bucket, _, ok := splitARN(arn)
	if !ok {
		return "", c.Account, nil
	}
	b, err := s.lookup(ctx, bucket)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, model.ErrName) {
		return "", c.Account, nil // the handler says what is wrong
	}
	if err != nil {
		return "", "", fmt.Errorf("read bucket: %w", err)
	}
	return policyFor(c, b), b.Key.Account, nil
}

// field is the string in a field of a generated input, "" where there is none.
func field(in any, name string) string {
	f := reflect.ValueOf(in).Elem().FieldByName(name)
	switch {
	case !f.IsValid():
		return ""
	case f.Kind() == reflect.String:
		return f.String()
	}
	p, _ := reflect.TypeAssert[*string](f)
	return str(p)
}
