package tables

import (
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// The tables of S3. Ids are as model says; all but the names of buckets are in
// the account and region of their bucket.
var (
	S3BucketNames = store.NewTable[model.S3BucketName]("s3", "BucketName")
	S3Buckets     = store.NewTable[model.S3Bucket]("s3", "Bucket")
	S3Objects     = store.NewTable[model.S3Object]("s3", "Object")
	S3Versions    = store.NewTable[model.S3Object]("s3", "Version").WithIndex("null", nullVersion)
	S3Uploads     = store.NewTable[model.S3Upload]("s3", "Upload")
	S3Parts       = store.NewTable[model.S3Part]("s3", "Part")
)

// nullVersion finds a key's null version, among the ids of the key's versions.
func nullVersion(o *model.S3Object) []string {
	if o.Version == model.S3NullVersion {
		return []string{o.Key}
	}
	return nil
}
