package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/checksum"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// objectRow is an object's record.
type objectRow = store.Row[model.S3Object]

// PutObject implements s3.Handler.
func (s *Service) PutObject(ctx context.Context, in *s3.PutObjectInput) (*s3.PutObjectOutput, error) {
	if err := errors.Join(checkKey(*in.Key), checkHeaders(in)); err != nil {
		return nil, err
	}
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	if err := checkACL(ctx, b, in); err != nil {
		return nil, err
	}
	head, err := headOf(in)
	if err != nil {
		return nil, err
	}
	conditions, err := putConditions(in.IfMatch, in.IfNoneMatch)
	if err != nil {
		return nil, err
	}
	if err := s.askForTags(ctx, b, *in.Key, head.Tags); err != nil {
		return nil, err
	}
	want, err := wantedOf(in, in.Body, checksum.CRC64NVME)
	if err != nil {
		return nil, err
	}
	got, err := s.receive(in.Body, want)
	if err != nil {
		return nil, err
	}
	o := &model.S3Object{S3Head: head, Key: *in.Key, Size: got.piece.Size, ETag: got.etag, Pieces: []model.S3Piece{got.piece}, Checksum: got.checksum}
	if err := s.put(ctx, b, o, conditions); err != nil {
		return nil, err
	}
	out := &s3.PutObjectOutput{ETag: quoted(o.ETag), ServerSideEncryption: s3.ServerSideEncryptionAes256, VersionId: opt(o.Version)}
	setChecksum(out, o.Checksum)
	return out, nil
}

func quoted(etag string) *string { return new(`"` + etag + `"`) }

// putCondition tells whether an object may be written in place of old, which is
// nil where there is none.
type putCondition func(old *model.S3Object) error

func putConditions(match, noneMatch *string) (putCondition, error) {
	if match != nil && noneMatch != nil || noneMatch != nil && *noneMatch != "*" || match != nil && *match == "*" {
		return nil, notImplemented("If-None-Match")
	}
	return func(old *model.S3Object) error {
		switch {
		case noneMatch != nil && old != nil && !old.DeleteMarker:
			return preconditionFailed("If-None-Match")
		case match != nil && (old == nil || old.DeleteMarker):
			return noSuchKey("")
		case match != nil && strings.Trim(*match, `"`) != old.ETag:
			return preconditionFailed("If-Match")
		}
		return nil
	}, nil
}

func preconditionFailed(which string) error {
	return fault(http.StatusPreconditionFailed, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold", detail("Condition", which))
}

// put makes o the newest version of its object, with pieces that are on disk
// and that no record names yet. Where it fails they are removed.
func (s *Service) put(ctx context.Context, b bucketRow, o *model.S3Object, allowed putCondition) error {
	return s.putWith(ctx, b, o, func(_ *store.Txn, old *model.S3Object) error { return allowed(old) })
}

// putWith is put, in one transaction with what change adds to it.
func (s *Service) putWith(ctx context.Context, b bucketRow, o *model.S3Object, change func(tx *store.Txn, old *model.S3Object) error) error {
	o.Modified = now(ctx)
	// A client that goes now must not leave open whether the object was written.
	ctx = context.WithoutCancel(ctx)
	var replaced []model.S3Piece
	err := store.Transact(ctx, s.Store, func(tx *store.Txn) error {
		replaced = nil
		if err := s.open(ctx, tx, &b); err != nil {
			return err
		}
		row, err := s.newest(ctx, b, o.Key)
		if err != nil {
			return err
		}
		if err := change(tx, row.V); err != nil {
			return err
		}
		replaced, err = s.supersede(ctx, tx, b, row, o)
		return err
	})
	fresh := o.Pieces
	if o.Parts {
		fresh = nil // they are an upload's yet
	}
	s.settle(fresh, replaced, err)
	if err != nil {
		return s.written(err)
	}
	return nil
}

// written words the failure of a transaction.
func (s *Service) written(err error) error {
	if errors.Is(err, store.ErrConflict) {
		return errContended
	}
	return fmt.Errorf("write object: %w", err)
}

// open reads a bucket again, and makes the transaction fail where the bucket
// changes meanwhile. Nothing is written to one that is being deleted.
func (s *Service) open(ctx context.Context, tx *store.Txn, b *bucketRow) error {
	row, err := tables.S3Buckets.Get(ctx, s.Store, b.Key.Account, b.Key.Region, b.Key.ID)
	switch {
	case errors.Is(err, store.ErrNotFound) || err == nil && row.V.ID != b.V.ID:
		return noSuchBucket(b.V.Name)
	case err != nil:
		return fmt.Errorf("read bucket: %w", err)
	case row.V.Deleting(now(ctx)):
		return errContended
	}
	tables.S3Buckets.Check(tx, row)
	*b = row
	return nil
}

// newest is the record of a key's newest version; its value is nil where there
// is none.
func (s *Service) newest(ctx context.Context, b bucketRow, key string) (objectRow, error) {
	row, err := tables.S3Objects.Get(ctx, s.Store, b.Key.Account, b.Key.Region, model.S3ObjectID(b.V.ID, key))
	if errors.Is(err, store.ErrNotFound) {
		return row, nil
	}
	if err != nil {
		return row, fmt.Errorf("read object: %w", err)
	}
	return row, nil
}
