package s3

import (
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/model"
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
	return b.V.Policy
}
