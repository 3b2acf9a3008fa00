package s3

import (
	"context"
	"crypto/md5" //nolint:gosec // what ETags are
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/checksum"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// minPart is the size of a part that is not the last, at least.
const minPart = 5 << 20

// CompleteMultipartUpload implements s3.Handler. The object has the parts'
// files: nothing is copied.
func (s *Service) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (*s3.CompleteMultipartUploadOutput, error) {
	if err := checkHeaders(in); err != nil {
		return nil, err
	}
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	allowed, err := putConditions(in.IfMatch, in.IfNoneMatch)
	if err != nil {
		return nil, err
	}
	u, err := s.upload(ctx, b, *in.Key, *in.UploadId)
	if err != nil {
		return nil, err
	}
	if in.MultipartUpload == nil || len(in.MultipartUpload.Parts) == 0 {
		return nil, errMalformed
	}
	rows, err := s.parts(ctx, u, 0, 0)
	if err != nil {
		return nil, err
	}
	chosen, err := choose(rows, in.MultipartUpload.Parts)
	if err != nil {
		return nil, err
	}
	o, err := assemble(u.V, chosen)
	if err != nil {
		return nil, err
	}
	if err := checkWhole(in, o); err != nil {
		return nil, err
	}
	var left []model.S3Piece
	if err := s.putWith(ctx, b, o, func(tx *store.Txn, old *model.S3Object) error {
		if err := allowed(old); err != nil {
			return err
		}
		// Parts that came since make the transaction fail no more than those
		// that were there: both go.
		again, err := s.upload(ctx, b, u.V.Key, u.V.ID)
		if err != nil {
			return err
		}
		all, err := s.eraseUpload(ctx, tx, again)
		left = unused(all, o.Pieces)
		if err == nil && len(all)-len(left) != len(o.Pieces) {
			err = errInvalidPart // one was replaced meanwhile
		}
		return err
	}); err != nil {
		return nil, err
	}
	s.Contents.Remove(ids(left)...)
	out := &s3.CompleteMultipartUploadOutput{
		Bucket: in.Bucket, Key: in.Key, ETag: quoted(o.ETag), VersionId: opt(o.Version), ServerSideEncryption: s3.ServerSideEncryptionAes256,
		Location: new("/" + *in.Bucket + "/" + *in.Key),
	}
	setChecksum(out, o.Checksum)
	return out, nil
}

// unused are the pieces of all that are not among kept.
func unused(all, kept []model.S3Piece) []model.S3Piece {
	used := make(map[string]bool, len(kept))
	for _, p := range kept {
		used[p.ID] = true
	}
	var out []model.S3Piece
	for _, p := range all {
		if !used[p.ID] {
			out = append(out, p)
		}
	}
	return out
}

var errInvalidPart = fault(http.StatusBadRequest, "InvalidPart",
	"One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.")

// choose picks the parts that a client names.
func choose(rows []partRow, named []s3.CompletedPart) ([]*model.S3Part, error) {
	if len(named) > maxParts {
		return nil, errMalformed
	}
	have := make(map[int32]*model.S3Part, len(rows))
	for _, r := range rows {
		have[r.V.Number] = r.V
	}
	out := make([]*model.S3Part, 0, len(named))
	last := int32(0)
	for i := range named {
		n := &named[i]
		switch {
		case n.PartNumber == nil || n.ETag == nil:
			return nil, errMalformed
		case *n.PartNumber <= last:
			return nil, fault(http.StatusBadRequest, "InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.")
		}
		last = *n.PartNumber
		p := have[last]
		if p == nil || strings.Trim(*n.ETag, `"`) != p.ETag {
			return nil, errInvalidPart
		}
		algorithm, value, err := checksumOf(n)
		if err != nil {
			return nil, err
		}
		if algorithm != "" && (p.Checksum == nil || p.Checksum.Algorithm != algorithm || p.Checksum.Value != value) {
			return nil, errInvalidPart
		}
		if i < len(named)-1 && p.Piece.Size < minPart {
			return nil, fault(http.StatusBadRequest, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size",
				detail("ETag", p.ETag), detail("MinSizeAllowed", strconv.Itoa(minPart)), detail("PartNumber", number32(p.Number)), detail("ProposedSize", strconv.FormatInt(p.Piece.Size, 10)))
		}
		out = append(out, p)
	}
	return out, nil
}

// maxObject is how many bytes an object may have.
const maxObject = 5 << 40

// assemble is the object that parts make.
func assemble(u *model.S3Upload, parts []*model.S3Part) (*model.S3Object, error) {
	o := &model.S3Object{S3Head: u.S3Head, Key: u.Key, Parts: true}
	etags := md5.New() //nolint:gosec // as above
	for _, p := range parts {
		sum, err := hex.DecodeString(p.ETag)
		if err != nil {
			return nil, fmt.Errorf("entity tag of part %d: %w", p.Number, err)
		}
		_, _ = etags.Write(sum) // a hash never fails
		piece := p.Piece
		if p.Checksum != nil {
			piece.Checksum = p.Checksum.Value
		}
		o.Pieces = append(o.Pieces, piece)
		o.Size += piece.Size
	}
	if o.Size > maxObject {
		return nil, fault(http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
	}
	o.ETag = hex.EncodeToString(etags.Sum(nil)) + "-" + strconv.Itoa(len(parts))
	var err error
	o.Checksum, err = wholeChecksum(u, parts)
	return o, err
}

// wholeChecksum is the checksum of an object by those of its parts; nil where
// they have none in common.
func wholeChecksum(u *model.S3Upload, parts []*model.S3Part) (*model.S3Checksum, error) {
	algorithm, kind := u.Algorithm, u.ChecksumType
	if algorithm == "" {
		algorithm, kind = checksum.CRC64NVME, fullObject
	}
	sums := make([][]byte, 0, len(parts))
	for _, p := range parts {
		if p.Checksum == nil || p.Checksum.Algorithm != algorithm {
			return nil, nil
		}
		b, err := base64.StdEncoding.DecodeString(p.Checksum.Value)
		if err != nil {
			return nil, fmt.Errorf("checksum of part %d: %w", p.Number, err)
		}
		sums = append(sums, b)
	}
	if kind == fullObject {
		whole := sums[0]
		for i, sum := range sums[1:] {
			whole = checksum.Combine(algorithm, whole, sum, parts[i+1].Piece.Size)
		}
		return &model.S3Checksum{Algorithm: algorithm, Value: base64.StdEncoding.EncodeToString(whole), Type: kind}, nil
	}
	h := checksum.New(algorithm)
	for _, sum := range sums {
		_, _ = h.Write(sum) // a hash never fails
	}
	return &model.S3Checksum{Algorithm: algorithm, Value: checksum.Encode(h) + "-" + strconv.Itoa(len(parts)), Type: kind}, nil
}

// checkWhole checks what a client says of the whole object.
func checkWhole(in *s3.CompleteMultipartUploadInput, o *model.S3Object) error {
	algorithm, value, err := checksumOf(in)
	if err != nil || algorithm == "" {
		return err
	}
	if o.Checksum == nil || o.Checksum.Algorithm != algorithm || in.ChecksumType != "" && string(in.ChecksumType) != o.Checksum.Type {
		return fault(http.StatusBadRequest, "InvalidRequest", "The upload was created without the "+strings.ToLower(algorithm)+" checksum that was given to complete it.")
	}
	if value != o.Checksum.Value {
		return fault(http.StatusBadRequest, "BadDigest", "The "+algorithm+" you specified did not match the calculated checksum.")
	}
	return nil
}
