package s3

import (
	"context"
	"fmt"
	"strings"

	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/tables"
)

// ListParts implements s3.Handler.
func (s *Service) ListParts(ctx context.Context, in *s3.ListPartsInput) (*s3.ListPartsOutput, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	u, err := s.upload(ctx, b, *in.Key, *in.UploadId)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(in.MaxParts, "max-parts")
	if err != nil {
		return nil, err
	}
	after := int32(0)
	if in.PartNumberMarker != nil {
		if after = *in.PartNumberMarker; after < 0 {
			return nil, invalidArgument("Argument partNumberMarker must be an integer between 0 and 2147483647", "partNumberMarker", number32(after))
		}
	}
	rows, err := s.parts(ctx, u, min(after, maxParts), size+1)
	if err != nil {
		return nil, err
	}
	out := &s3.ListPartsOutput{
		Bucket: in.Bucket, Key: in.Key, UploadId: in.UploadId, MaxParts: new(int32(size)), IsTruncated: new(len(rows) > size && size > 0),
		PartNumberMarker: &after, Owner: owner(b.Key.Account), Initiator: initiator(u.V, b),
		StorageClass: s3.StorageClassStandard, ChecksumAlgorithm: s3.ChecksumAlgorithm(u.V.Algorithm), ChecksumType: s3.ChecksumType(u.V.ChecksumType),
		Parts: []s3.Part{},
	}
	for _, r := range rows[:min(size, len(rows))] {
		p := s3.Part{PartNumber: &r.V.Number, ETag: quoted(r.V.ETag), Size: &r.V.Piece.Size, LastModified: &r.V.Modified}
		if u.V.Algorithm != "" {
			setChecksum(&p, r.V.Checksum)
		}
		out.Parts = append(out.Parts, p)
	}
	if *out.IsTruncated {
		out.NextPartNumberMarker = out.Parts[size-1].PartNumber
	}
	return out, nil
}

// initiator is who began an upload; root is known by the account's id.
func initiator(u *model.S3Upload, b bucketRow) *s3.Initiator {
	if strings.HasSuffix(u.Initiator, ":root") || u.Initiator == "" {
		return &s3.Initiator{ID: owner(b.Key.Account).ID}
	}
	return &s3.Initiator{ID: &u.Initiator}
}

// ListMultipartUploads implements s3.Handler.
func (s *Service) ListMultipartUploads(ctx context.Context, in *s3.ListMultipartUploadsInput) (*s3.ListMultipartUploadsOutput, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(in.MaxUploads, "max-uploads")
	if err != nil {
		return nil, err
	}
	rows, err := tables.S3Uploads.List(ctx, s.Store, objectsOf(b, str(in.Prefix), "", 0))
	if err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	// Records come in the order of key and id with a slash between; uploads come
	// by key, then by the time that they began.
	sortBy(rows, func(r uploadRow) string {
		return r.V.Key + "\x00" + r.V.Initiated.UTC().Format("20060102T150405.000Z") + r.V.ID
	})
	enc := encoder(in.EncodingType)
	out := &s3.ListMultipartUploadsOutput{
		Bucket: in.Bucket, Prefix: enc(str(in.Prefix)), Delimiter: encoded(enc, in.Delimiter), KeyMarker: enc(str(in.KeyMarker)), UploadIdMarker: new(str(in.UploadIdMarker)),
		EncodingType: in.EncodingType, MaxUploads: new(int32(size)), IsTruncated: new(false),
	}
	passed := str(in.KeyMarker) == "" || str(in.UploadIdMarker) == ""
	last := ""
	for _, r := range rows {
		common, rolled := "", false
		if strings.HasPrefix(r.V.Key, str(in.Prefix)) {
			common, rolled = commonPrefix(r.V.Key, str(in.Prefix), str(in.Delimiter))
		} else {
			continue
		}
		switch {
		case r.V.Key < str(in.KeyMarker), rolled && common <= str(in.KeyMarker), rolled && common == last:
			continue
		case r.V.Key == str(in.KeyMarker):
			// With an upload's id the marker is that upload, without it the key.
			if here := r.V.ID == str(in.UploadIdMarker); in.UploadIdMarker == nil || !passed {
				passed = passed || here
				continue
			}
		}
		if len(out.Uploads)+len(out.CommonPrefixes) == size {
			out.IsTruncated = new(size > 0)
			break
		}
		if rolled {
			last = common
			out.CommonPrefixes = append(out.CommonPrefixes, s3.CommonPrefix{Prefix: enc(common)})
			out.NextKeyMarker, out.NextUploadIdMarker = enc(common), new("")
			continue
		}
		out.Uploads = append(out.Uploads, s3.MultipartUpload{
			Key: enc(r.V.Key), UploadId: &r.V.ID, Initiated: &r.V.Initiated, Owner: owner(b.Key.Account), Initiator: initiator(r.V, b), StorageClass: s3.StorageClassStandard,
			ChecksumAlgorithm: s3.ChecksumAlgorithm(r.V.Algorithm), ChecksumType: s3.ChecksumType(r.V.ChecksumType),
		})
		out.NextKeyMarker, out.NextUploadIdMarker = enc(r.V.Key), &r.V.ID
	}
	if !*out.IsTruncated {
		out.NextKeyMarker, out.NextUploadIdMarker = nil, nil
	}
	return out, nil
}
