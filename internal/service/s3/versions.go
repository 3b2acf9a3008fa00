package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// A version's id ends in its sequence, so that its record is found, and the
// place where a listing goes on even when the version is gone.
const sequenceDigits = 12

func newVersion(sequence int64) string {
	return id.Hex(32-sequenceDigits) + fmt.Sprintf("%0*x", sequenceDigits, sequence)
}

// versionForm is the form of versions' ids, AWS's among them.
var versionForm = regexp.MustCompile(`^[A-Za-z0-9._]{32}$`)

// sequenceOf is the sequence that a version's id ends in; 0 where it is none of
// ours. Malformed ids are refused.
func sequenceOf(version string) (int64, error) {
	if !versionForm.MatchString(version) {
		return 0, errBadVersion
	}
	n, _ := strconv.ParseInt(version[len(version)-sequenceDigits:], 16, 64) // 0 where it is no number
	return n, nil
}

// isNull tells whether a version is its key's null version.
func isNull(o *model.S3Object) bool { return o.Version == "" || o.Version == model.S3NullVersion }

// supersede makes o the newest version of its key, in place of the record old,
// whose value is nil where there is none. It returns the pieces that nothing
// refers to afterwards.
//
// Whatever changes a version of a key writes or checks the key's newest record,
// so that no two change versions of one key at a time.
func (s *Service) supersede(ctx context.Context, tx *store.Txn, b bucketRow, old objectRow, o *model.S3Object) (gone []model.S3Piece, err error) {
	o.Version, o.Sequence = "", 0
	if b.V.Versioning != "" {
		if gone, err = s.keep(ctx, tx, b, old, o); err != nil {
			return nil, err
		}
	} else if old.V != nil {
		gone = old.V.Pieces
	}
	if old.V != nil {
		tables.S3Objects.Replace(tx, old, o)
	} else {
		tables.S3Objects.Create(tx, b.Key.Account, b.Key.Region, model.S3ObjectID(b.V.ID, o.Key), o)
	}
	return gone, nil
}

// keep gives o a version and a record among the versions. While versioning is
// suspended o takes the place of the null version.
func (s *Service) keep(ctx context.Context, tx *store.Txn, b bucketRow, old objectRow, o *model.S3Object) (gone []model.S3Piece, err error) {
	o.Sequence = 1
	if old.V != nil {
		o.Sequence = old.V.Sequence + 1
	}
	suspended := b.V.Versioning != string(s3.BucketVersioningStatusEnabled)
	o.Version = newVersion(o.Sequence)
	if suspended {
		o.Version = model.S3NullVersion
	}
	switch {
	case old.V == nil:
	case old.V.Version == "" && suspended:
		gone = old.V.Pieces
	case old.V.Version == "":
		before := old.Copy()
		before.Version = model.S3NullVersion
		s.createVersion(tx, b, before)
	case suspended:
		null, err := s.nullVersion(ctx, b, o.Key)
		if err != nil {
			return nil, err
		}
		if null.V != nil {
			tables.S3Versions.Delete(tx, null)
			gone = null.V.Pieces
		}
	}
	s.createVersion(tx, b, o)
	return gone, nil
}

func (s *Service) createVersion(tx *store.Txn, b bucketRow, o *model.S3Object) {
	tables.S3Versions.Create(tx, b.Key.Account, b.Key.Region, model.S3VersionID(b.V.ID, o.Key, o.Sequence), o)
}

// versionsOf selects the versions of a key, newest first.
func versionsOf(b bucketRow, key string, limit int) store.Query {
	return store.Query{Account: b.Key.Account, Region: b.Key.Region, Prefix: model.S3VersionPrefix(b.V.ID, key) + "\x01\x01", Limit: limit}
}

// nullVersion is the null version of a key among the versions; its value is nil
// where there is none.
func (s *Service) nullVersion(ctx context.Context, b bucketRow, key string) (objectRow, error) {
	q := versionsOf(b, key, 1)
	q.Index = store.Index{Name: "null", Value: key}
	rows, err := tables.S3Versions.List(ctx, s.Store, q)
	if err != nil {
		return objectRow{}, fmt.Errorf("read null version: %w", err)
	}
	if len(rows) == 0 {
		return objectRow{}, nil
	}
	return rows[0], nil
}

// held are the records of a version. The value of a record that is not there is
// nil.
type held struct {
	// newest is the key's newest version's.
	newest objectRow
	// kept is the version's own, among the versions.
	kept objectRow
	// is tells that the version is the newest.
	is bool
}

// object is the version; nil where there is none.
func (h *held) object() *model.S3Object {
	if h.is {
		return h.newest.V
	}
	return h.kept.V
}

// hold finds the records of a version; "" is the newest.
func (s *Service) hold(ctx context.Context, b bucketRow, key, version string) (h held, err error) {
	var sequence int64
	if version != "" && version != model.S3NullVersion {
		if sequence, err = sequenceOf(version); err != nil {
			return h, err
		}
	}
	if h.newest, err = s.newest(ctx, b, key); err != nil || h.newest.V == nil {
		return h, err
	}
	n := h.newest.V
	h.is = version == "" || version == n.Version || version == model.S3NullVersion && isNull(n)
	switch {
	case h.is && n.Version == "":
		return h, nil // it was never among the versions
	case h.is:
		sequence = n.Sequence
	case version == model.S3NullVersion:
		h.kept, err = s.nullVersion(ctx, b, key)
		return h, err
	}
	row, err := tables.S3Versions.Get(ctx, s.Store, b.Key.Account, b.Key.Region, model.S3VersionID(b.V.ID, key, sequence))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return h, nil
	case err != nil:
		return h, fmt.Errorf("read version: %w", err)
	case h.is || row.V.Version == version:
		h.kept = row
	}
	return h, nil
}

// removeVersion deletes a version for good. The one before it becomes the
// newest where it was.
func (s *Service) removeVersion(ctx context.Context, tx *store.Txn, b bucketRow, key, version string) (deleted, []model.S3Piece, error) {
	d := deleted{version: version}
	h, err := s.hold(ctx, b, key, version)
	o := h.object()
	if err != nil || o == nil {
		return d, nil, err
	}
	if o.DeleteMarker {
		d.marker = new(true)
	}
	if h.kept.V != nil {
		tables.S3Versions.Delete(tx, h.kept)
	}
	if !h.is {
		tables.S3Objects.Check(tx, h.newest)
		return d, o.Pieces, nil
	}
	rows, err := tables.S3Versions.List(ctx, s.Store, versionsOf(b, key, 2))
	if err != nil {
		return d, nil, fmt.Errorf("list versions: %w", err)
	}
	for _, r := range rows {
		if r.Key.ID != h.kept.Key.ID {
			tables.S3Objects.Replace(tx, h.newest, r.V)
			return d, o.Pieces, nil
		}
	}
	tables.S3Objects.Delete(tx, h.newest)
	return d, o.Pieces, nil
}

// rewrite writes v in place of a version wherever it is recorded.
func (h *held) rewrite(tx *store.Txn, v *model.S3Object) {
	if h.kept.V != nil {
		tables.S3Versions.Replace(tx, h.kept, v)
	}
	if h.is {
		tables.S3Objects.Replace(tx, h.newest, v)
	} else {
		tables.S3Objects.Check(tx, h.newest)
	}
}

// isMarker is what is said of a delete marker that is asked for by its version.
func isMarker(o *model.S3Object) error {
	f := fault(http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource.", detail("ResourceType", "DeleteMarker"))
	f.Header = markerHeader(o)
	f.Header["Allow"] = http.MethodDelete
	f.Header["Last-Modified"] = o.Modified.UTC().Format(http.TimeFormat)
	return f
}

func markerHeader(o *model.S3Object) map[string]string {
	return map[string]string{"X-Amz-Delete-Marker": "true", "X-Amz-Version-Id": o.Version}
}

// PutBucketVersioning implements s3.Handler.
func (s *Service) PutBucketVersioning(ctx context.Context, in *s3.PutBucketVersioningInput) (*s3.PutBucketVersioningOutput, error) {
	want := in.VersioningConfiguration
	if want.MFADelete == s3.MFADeleteEnabled {
		return nil, notImplemented("MfaDelete")
	}
	if want.Status == "" {
		return nil, fault(http.StatusBadRequest, "IllegalVersioningConfigurationException", "The Versioning element must be specified")
	}
	return &s3.PutBucketVersioningOutput{}, s.change(ctx, in.Bucket, in.ExpectedBucketOwner, func(_ *api.Call, b *model.S3Bucket) error {
		b.Versioning = string(want.Status)
		return nil
	})
}

// GetBucketVersioning implements s3.Handler.
func (s *Service) GetBucketVersioning(ctx context.Context, in *s3.GetBucketVersioningInput) (*s3.GetBucketVersioningOutput, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	return &s3.GetBucketVersioningOutput{Status: s3.BucketVersioningStatus(b.V.Versioning)}, nil
}
