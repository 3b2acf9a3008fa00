package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store/tables"
)

// ListObjectVersions implements s3.Handler: keys in their order, and the
// versions of each from the newest on.
func (s *Service) ListObjectVersions(ctx context.Context, in *s3.ListObjectVersionsInput) (*s3.ListObjectVersionsOutput, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(in.MaxKeys, "max-keys")
	if err != nil {
		return nil, err
	}
	if str(in.VersionIdMarker) != "" && str(in.KeyMarker) == "" {
		return nil, invalidArgument("A version-id marker cannot be specified without a key marker.", "version-id-marker", *in.VersionIdMarker)
	}
	l, err := s.listVersions(ctx, b, in, size)
	if err != nil {
		return nil, err
	}
	enc := encoder(in.EncodingType)
	out := &s3.ListObjectVersionsOutput{
		Name: in.Bucket, Prefix: enc(str(in.Prefix)), Delimiter: encoded(enc, in.Delimiter), KeyMarker: enc(str(in.KeyMarker)), VersionIdMarker: new(str(in.VersionIdMarker)),
		EncodingType: in.EncodingType, MaxKeys: new(int32(size)), IsTruncated: &l.truncated, CommonPrefixes: l.common(enc),
	}
	of := owner(b.Key.Account)
	for _, o := range l.objects {
		version := versionID(o.S3Object)
		if o.DeleteMarker {
			out.DeleteMarkers = append(out.DeleteMarkers, s3.DeleteMarkerEntry{Key: enc(o.Key), VersionId: &version, IsLatest: &o.latest, LastModified: &o.Modified, Owner: of})
			continue
		}
		e := s3.ObjectVersion{
			Key: enc(o.Key), VersionId: &version, IsLatest: &o.latest, LastModified: &o.Modified, Owner: of,
			ETag: quoted(o.ETag), Size: &o.Size, StorageClass: s3.ObjectVersionStorageClassStandard,
		}
		if o.Checksum != nil {
			e.ChecksumAlgorithm = []s3.ChecksumAlgorithm{s3.ChecksumAlgorithm(o.Checksum.Algorithm)}
			e.ChecksumType = s3.ChecksumType(o.Checksum.Type)
		}
		out.Versions = append(out.Versions, e)
	}
	if l.truncated {
		out.NextKeyMarker = enc(l.last)
		if n := len(l.objects); n > 0 && l.objects[n-1].Key == l.last {
			out.NextVersionIdMarker = new(marker(l.objects[n-1].S3Object))
		}
	}
	return out, nil
}

func versionID(o *model.S3Object) string {
	if o.Version == "" {
		return model.S3NullVersion
	}
	return o.Version
}

// marker is where a listing goes on behind a version, even when it is gone.
func marker(o *model.S3Object) string {
	if o.Version == model.S3NullVersion {
		return newVersion(o.Sequence)
	}
	return versionID(o)
}

// listVersions reads a page of versions.
func (s *Service) listVersions(ctx context.Context, b bucketRow, in *s3.ListObjectVersionsInput, size int) (listing, error) {
	prefix, delimiter, after := str(in.Prefix), str(in.Delimiter), str(in.KeyMarker)
	var first []listed
	if v := str(in.VersionIdMarker); v != "" && strings.HasPrefix(after, prefix) && !isRolled(after, prefix, delimiter) {
		row, err := s.newest(ctx, b, after)
		if err != nil {
			return listing{}, err
		}
		if first, err = s.versionsBehind(ctx, b, row, v, size+1); err != nil {
			return listing{}, err
		}
	}
	if len(first) > size && size > 0 {
		return listing{objects: first[:size], truncated: true, last: after}, nil
	}
	full := len(first) == size && size > 0
	if full {
		size++ // to see whether there is more
	}
	var failed error
	l, err := s.list(ctx, b, prefix, delimiter, after, size-len(first), func(row objectRow) []listed {
		rows, err := s.versionsBehind(ctx, b, row, "", size+1)
		if err != nil {
			failed = err
		}
		return rows
	})
	if err != nil || failed != nil {
		return l, fmt.Errorf("list versions: %w", errors.Join(err, failed))
	}
	if full {
		return listing{objects: first, truncated: len(l.objects)+len(l.prefixes) > 0, last: after}, nil
	}
	l.objects = append(first, l.objects...)
	return l, nil
}

func isRolled(key, prefix, delimiter string) bool {
	_, rolled := commonPrefix(key, prefix, delimiter)
	return rolled
}

// versionsBehind reads versions of a key, of which row is the newest's record,
// behind one of them.
func (s *Service) versionsBehind(ctx context.Context, b bucketRow, row objectRow, version string, limit int) ([]listed, error) {
	if row.V == nil {
		return nil, nil
	}
	if row.V.Version == "" {
		if version != "" {
			return nil, nil
		}
		return []listed{{row.V, true}}, nil
	}
	q := versionsOf(b, row.V.Key, limit)
	switch version {
	case "":
	case model.S3NullVersion:
		null, err := s.nullVersion(ctx, b, row.V.Key)
		if err != nil || null.V == nil {
			return nil, err
		}
		q.After = null.Key.ID
	default:
		sequence, err := sequenceOf(version)
		if err != nil {
			return nil, err
		}
		q.After = model.S3VersionID(b.V.ID, row.V.Key, sequence)
	}
	rows, err := tables.S3Versions.List(ctx, s.Store, q)
	if err != nil {
		return nil, fmt.Errorf("list versions: %w", err)
	}
	out := make([]listed, 0, len(rows))
	for _, r := range rows {
		out = append(out, listed{r.V, r.V.Sequence == row.V.Sequence})
	}
	return out, nil
}
