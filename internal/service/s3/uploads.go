package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/checksum"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

type (
	uploadRow = store.Row[model.S3Upload]
	partRow   = store.Row[model.S3Part]
)

// uploadID is the form of uploads' ids.
var uploadID = regexp.MustCompile(`^[A-Z2-7]{64}$`)

func uploadKey(b bucketRow, key, upload string) string {
	return model.S3ObjectID(b.V.ID, key) + "/" + upload
}

func partKey(upload string, number int32) string { return fmt.Sprintf("%s/%05d", upload, number) }

var errNoUpload = fault(http.StatusNotFound, "NoSuchUpload",
	"The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.")

// upload finds an upload.
func (s *Service) upload(ctx context.Context, b bucketRow, key, upload string) (uploadRow, error) {
	if !uploadID.MatchString(upload) || !possibleKey(key) {
		return uploadRow{}, errNoUpload
	}
	row, err := tables.S3Uploads.Get(ctx, s.Store, b.Key.Account, b.Key.Region, uploadKey(b, key, upload))
	if errors.Is(err, store.ErrNotFound) || err == nil && (row.V.Key != key || row.V.ID != upload) {
		return row, errNoUpload
	}
	if err != nil {
		return row, fmt.Errorf("read upload: %w", err)
	}
	return row, nil
}

// parts lists an upload's parts in order, behind a number.
func (s *Service) parts(ctx context.Context, u uploadRow, after int32, limit int) ([]partRow, error) {
	q := store.Query{Account: u.Key.Account, Region: u.Key.Region, Prefix: u.V.ID + "/", Limit: limit}
	if after > 0 {
		q.After = partKey(u.V.ID, after)
	}
	rows, err := tables.S3Parts.List(ctx, s.Store, q)
	if err != nil {
		return nil, fmt.Errorf("list parts: %w", err)
	}
	return rows, nil
}

// CreateMultipartUpload implements s3.Handler.
func (s *Service) CreateMultipartUpload(ctx context.Context, in *s3.CreateMultipartUploadInput) (*s3.CreateMultipartUploadOutput, error) {
	c := api.CallFrom(ctx)
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
	u := &model.S3Upload{Key: *in.Key, ID: id.Upper(64), Initiated: now(ctx), Initiator: c.Identity.ARN}
	if u.S3Head, err = headOf(in); err != nil {
		return nil, err
	}
	if err := s.askForTags(ctx, b, u.Key, u.Tags); err != nil {
		return nil, err
	}
	if u.Algorithm, u.ChecksumType, err = uploadChecksum(string(in.ChecksumAlgorithm), string(in.ChecksumType)); err != nil {
		return nil, err
	}
	err = store.Transact(ctx, s.Store, func(tx *store.Txn) error {
		if err := s.open(ctx, tx, &b); err != nil {
			return err
		}
		tables.S3Uploads.Create(tx, b.Key.Account, b.Key.Region, uploadKey(b, u.Key, u.ID), u)
		return nil
	})
	if err != nil {
		return nil, s.written(err)
	}
	return &s3.CreateMultipartUploadOutput{
		Bucket: in.Bucket, Key: in.Key, UploadId: &u.ID, ServerSideEncryption: s3.ServerSideEncryptionAes256,
		ChecksumAlgorithm: s3.ChecksumAlgorithm(u.Algorithm), ChecksumType: s3.ChecksumType(u.ChecksumType),
	}, nil
}

// uploadChecksum is the algorithm of an upload's checksums and the type of the
// whole's.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
func uploadChecksum(algorithm, kind string) (string, string, error) {
	switch {
	case algorithm == "" && kind != "":
		return "", "", fault(http.StatusBadRequest, "InvalidRequest", "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
	case algorithm == "":
		return "", "", nil
	case checksum.New(algorithm) == nil:
		return "", "", unsupportedChecksum()
	case kind == "" && algorithm == checksum.CRC64NVME:
		kind = fullObject
	case kind == "":
		kind = composite
	}
	if kind == fullObject && !checksum.Combinable(algorithm) || kind == composite && algorithm == checksum.CRC64NVME {
		return "", "", fault(http.StatusBadRequest, "InvalidRequest",
			"The "+kind+" checksum type cannot be used with the "+strings.ToLower(algorithm)+" checksum algorithm.")
	}
	return algorithm, kind, nil
}

// maxParts is how many parts an upload may have.
const maxParts = 10_000

func checkPart(number int32) error {
	if number < 1 || number > maxParts {
		return invalidArgument("Part number must be an integer between 1 and 10000, inclusive", "partNumber", number32(number))
	}
	return nil
}

// UploadPart implements s3.Handler.
func (s *Service) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	if err := errors.Join(checkPart(*in.PartNumber), checkHeaders(in)); err != nil {
		return nil, err
	}
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	u, err := s.upload(ctx, b, *in.Key, *in.UploadId)
	if err != nil {
		return nil, err
	}
	algorithm := cmp.Or(u.V.Algorithm, checksum.CRC64NVME)
	want, err := wantedOf(in, in.Body, algorithm)
	if err != nil {
		return nil, err
	}
	if want.algorithm != algorithm {
		if u.V.Algorithm != "" {
			return nil, fault(http.StatusBadRequest, "InvalidRequest", "Checksum Type mismatch occurred, expected checksum Type: "+
				strings.ToLower(algorithm)+", actual checksum Type: "+strings.ToLower(want.algorithm))
		}
	}
	got, err := s.receive(in.Body, want)
	if err != nil {
		return nil, err
	}
	p := &model.S3Part{Number: *in.PartNumber, Piece: got.piece, ETag: got.etag, Checksum: got.checksum}
	if err := s.putPart(ctx, b, u, p); err != nil {
		return nil, err
	}
	out := &s3.UploadPartOutput{ETag: quoted(p.ETag), ServerSideEncryption: s3.ServerSideEncryptionAes256}
	setChecksum(out, p.Checksum)
	return out, nil
}

// putPart makes p a part of an upload.
func (s *Service) putPart(ctx context.Context, b bucketRow, u uploadRow, p *model.S3Part) error {
	p.Modified = now(ctx)
	ctx = context.WithoutCancel(ctx)
	var replaced []model.S3Piece
	err := store.Transact(ctx, s.Store, func(tx *store.Txn) error {
		replaced = nil
		u, err := s.upload(ctx, b, u.V.Key, u.V.ID)
		if err != nil {
			return err
		}
		tables.S3Uploads.Check(tx, u)
		row, err := tables.S3Parts.Get(ctx, s.Store, b.Key.Account, b.Key.Region, partKey(u.V.ID, p.Number))
		switch {
		case errors.Is(err, store.ErrNotFound):
			tables.S3Parts.Create(tx, b.Key.Account, b.Key.Region, partKey(u.V.ID, p.Number), p)
			return nil
		case err != nil:
			return fmt.Errorf("read part: %w", err)
		}
		replaced = []model.S3Piece{row.V.Piece}
		tables.S3Parts.Replace(tx, row, p)
		return nil
	})
	s.settle([]model.S3Piece{p.Piece}, replaced, err)
	if err != nil {
		return s.written(err)
	}
	return nil
}

// settle ends a write of new pieces in place of old ones.
func (s *Service) settle(written, replaced []model.S3Piece, err error) {
	s.Contents.Release(ids(written)...)
	if err == nil {
		s.Contents.Remove(ids(replaced)...)
		return
	}
	if _, ok := errors.AsType[api.Error](err); ok || errors.Is(err, store.ErrConflict) {
		s.Contents.Remove(ids(written)...) // else the sweep sees whether there is a record
	}
}

// UploadPartCopy implements s3.Handler.
func (s *Service) UploadPartCopy(ctx context.Context, in *s3.UploadPartCopyInput) (*s3.UploadPartCopyOutput, error) {
	if err := errors.Join(checkPart(*in.PartNumber), checkHeaders(in)); err != nil {
		return nil, err
	}
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	u, err := s.upload(ctx, b, *in.Key, *in.UploadId)
	if err != nil {
		return nil, err
	}
	from, _, err := s.sourceOf(ctx, in.CopySource, in.ExpectedSourceBucketOwner, copyConditions{
		in.CopySourceIfMatch, in.CopySourceIfNoneMatch, in.CopySourceIfModifiedSince, in.CopySourceIfUnmodifiedSince,
	})
	if err != nil {
		return nil, err
	}
	cut := section{length: from.Size}
	if in.CopySourceRange != nil {
		first, last, ok := parseRange(*in.CopySourceRange, 1<<62)
		if !ok || last >= from.Size || first > last {
			return nil, invalidArgument("Range specified is not valid for source object of size: "+fmt.Sprint(from.Size), "x-amz-copy-source-range", *in.CopySourceRange)
		}
		cut = section{offset: first, length: last - first + 1}
	}
	if cut.length > maxCopy {
		return nil, fault(http.StatusBadRequest, "InvalidRequest", "The specified copy source is larger than the maximum allowable size for a copy source: 5368709120")
	}
	o := &model.S3Object{}
	if err := s.copyBytes(ctx, o, from, cut.offset, cut.length, cmp.Or(u.V.Algorithm, checksum.CRC64NVME)); err != nil {
		return nil, err
	}
	p := &model.S3Part{Number: *in.PartNumber, Piece: o.Pieces[0], ETag: o.ETag, Checksum: o.Checksum}
	if err := s.putPart(ctx, b, u, p); err != nil {
		return nil, err
	}
	out := &s3.UploadPartCopyOutput{CopyPartResult: &s3.CopyPartResult{ETag: quoted(p.ETag), LastModified: &p.Modified}, ServerSideEncryption: s3.ServerSideEncryptionAes256}
	if u.V.Algorithm != "" {
		setChecksum(out.CopyPartResult, p.Checksum)
	}
	return out, nil
}

// AbortMultipartUpload implements s3.Handler.
func (s *Service) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput) (*s3.AbortMultipartUploadOutput, error) {
	if in.IfMatchInitiatedTime != nil {
		return nil, notImplemented("x-amz-if-match-initiated-time")
	}
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	var gone []model.S3Piece
	err = store.Transact(context.WithoutCancel(ctx), s.Store, func(tx *store.Txn) error {
		u, err := s.upload(ctx, b, *in.Key, *in.UploadId)
		if err != nil {
			return err
		}
		gone, err = s.eraseUpload(ctx, tx, u)
		return err
	})
	if err != nil {
		return nil, s.written(err)
	}
	s.Contents.Remove(ids(gone)...)
	return &s3.AbortMultipartUploadOutput{}, nil
}

// eraseUpload removes an upload's records. It returns the pieces of its parts.
func (s *Service) eraseUpload(ctx context.Context, tx *store.Txn, u uploadRow) ([]model.S3Piece, error) {
	tables.S3Uploads.Delete(tx, u)
	rows, err := s.parts(ctx, u, 0, 0)
	if err != nil {
		return nil, err
	}
	gone := make([]model.S3Piece, 0, len(rows))
	for _, r := range rows {
		tables.S3Parts.Delete(tx, r)
		gone = append(gone, r.V.Piece)
	}
	return gone, nil
}

// eraseUploads ends the uploads of a bucket that goes. What they have on disk
// is left to the sweep.
func (s *Service) eraseUploads(ctx context.Context, tx *store.Txn, b bucketRow) error {
	rows, err := tables.S3Uploads.List(ctx, s.Store, objectsOf(b, "", "", 0))
	if err != nil {
		return fmt.Errorf("list uploads: %w", err)
	}
	for _, u := range rows {
		if _, err := s.eraseUpload(ctx, tx, u); err != nil {
			return err
		}
	}
	return nil
}
