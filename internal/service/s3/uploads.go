package s3

import (
	"context"

	"roadstead.dev/internal/store"
)

// eraseUploads ends the uploads of a bucket that goes.
func (s *Service) eraseUploads(context.Context, *store.Txn, bucketRow) error { return nil }
