package s3

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/pagetoken"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// maxPage is the largest page of objects, and the one that is answered where
// nothing else is asked for.
const maxPage = 1000

// objectsOf selects objects of a bucket, by the beginning of their keys and
// behind one of them.
func objectsOf(b bucketRow, prefix, after string, limit int) store.Query {
	q := store.Query{Account: b.Key.Account, Region: b.Key.Region, Prefix: model.S3ObjectID(b.V.ID, prefix), Limit: limit}
	if after != "" {
		q.After = model.S3ObjectID(b.V.ID, after)
	}
	return q
}

// pageSize reads a limit: more than a page is a page.
func pageSize(n *int32, name string) (int, error) {
	switch {
	case n == nil:
		return maxPage, nil
	case *n < 0:
		return 0, invalidArgument("Argument "+name+" must be an integer between 0 and 2147483647", name, number(n))
	}
	return min(int(*n), maxPage), nil
}

// listed is a version of an object in a listing.
type listed struct {
	*model.S3Object
	// latest: it is its key's newest version.
	latest bool
}

// current is a key as listings of objects show it.
func current(row objectRow) []listed {
	if row.V.DeleteMarker {
		return nil
	}
	return []listed{{row.V, true}}
}

// listing is a page of a bucket's objects.
type listing struct {
	objects  []listed
	prefixes []string
	// truncated: there is more behind last, a key or a common prefix.
	truncated bool
	last      string
}

// list reads a page of the keys that begin with prefix, behind after. Keys that
// hold the delimiter behind the prefix are rolled up to one common prefix; shown
// is what is listed of a key, by its newest version's record.
func (s *Service) list(ctx context.Context, b bucketRow, prefix, delimiter, after string, size int, shown func(objectRow) []listed) (listing, error) {
	var l listing
	if size == 0 {
		return l, nil
	}
	for from := after; ; {
		want := size - len(l.objects) - len(l.prefixes) + 1
		rows, err := tables.S3Objects.List(ctx, s.Store, objectsOf(b, prefix, from, want))
		if err != nil {
			return l, fmt.Errorf("list objects: %w", err)
		}
		jumped := false
		for _, row := range rows {
			key := row.V.Key
			from = key
			entries := shown(row)
			if len(entries) == 0 {
				continue
			}
			common, rolled := commonPrefix(key, prefix, delimiter)
			if rolled {
				// No key that begins with it is of further interest. 0xff is in no
				// key.
				from, jumped = common+"\xff", true
				if common <= after {
					break
				}
				key = common
			}
			free := size - len(l.objects) - len(l.prefixes)
			if free > 0 {
				l.last = key
			}
			if rolled && free > 0 {
				l.prefixes = append(l.prefixes, common)
				break
			}
			l.objects = append(l.objects, entries[:min(free, len(entries))]...)
			if len(entries) > free {
				l.truncated = true
				return l, nil
			}
		}
		if len(rows) < want && !jumped {
			return l, nil
		}
	}
}

// commonPrefix is the part of a key up to the delimiter behind the prefix.
func commonPrefix(key, prefix, delimiter string) (string, bool) {
	if delimiter == "" {
		return "", false
	}
	i := strings.Index(key[len(prefix):], delimiter)
	if i < 0 {
		return "", false
	}
	return key[:len(prefix)+i+len(delimiter)], true
}

// encoder is how names are written: plainly, or so that XML can hold them.
func encoder(t s3.EncodingType) func(string) *string {
	if t != s3.EncodingTypeUrl {
		return func(s string) *string { return &s }
	}
	return func(s string) *string {
		return new(strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(s), "+", "%20"), "%2F", "/"))
	}
}

// encoded is an optional name, written by enc.
func encoded(enc func(string) *string, s *string) *string {
	if s == nil {
		return nil
	}
	return enc(*s)
}

func (l *listing) contents(enc func(string) *string, of *s3.Owner) []s3.Object {
	out := make([]s3.Object, 0, len(l.objects))
	for _, o := range l.objects {
		e := s3.Object{
			Key: enc(o.Key), ETag: quoted(o.ETag), LastModified: &o.Modified, Size: &o.Size,
			StorageClass: s3.ObjectStorageClassStandard, Owner: of,
		}
		if o.Checksum != nil {
			e.ChecksumAlgorithm = []s3.ChecksumAlgorithm{s3.ChecksumAlgorithm(o.Checksum.Algorithm)}
			e.ChecksumType = s3.ChecksumType(o.Checksum.Type)
		}
		out = append(out, e)
	}
	return out
}

func (l *listing) common(enc func(string) *string) []s3.CommonPrefix {
	out := make([]s3.CommonPrefix, 0, len(l.prefixes))
	for _, p := range l.prefixes {
		out = append(out, s3.CommonPrefix{Prefix: enc(p)})
	}
	return out
}

// ListObjectsV2 implements s3.Handler.
func (s *Service) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input) (*s3.ListObjectsV2Output, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(in.MaxKeys, "max-keys")
	if err != nil {
		return nil, err
	}
	prefix, delimiter, after := str(in.Prefix), str(in.Delimiter), str(in.StartAfter)
	of := []string{"ListObjectsV2", b.V.ID, prefix, delimiter}
	if in.ContinuationToken != nil {
		var ok bool
		if after, ok = pagetoken.Open(*in.ContinuationToken, of...); !ok {
			return nil, invalidArgument("The continuation token provided is incorrect", "continuation-token", *in.ContinuationToken)
		}
	}
	l, err := s.list(ctx, b, prefix, delimiter, after, size, current)
	if err != nil {
		return nil, err
	}
	enc := encoder(in.EncodingType)
	out := &s3.ListObjectsV2Output{
		Name: in.Bucket, Prefix: enc(prefix), Delimiter: encoded(enc, in.Delimiter), StartAfter: encoded(enc, in.StartAfter),
		EncodingType: in.EncodingType, MaxKeys: new(int32(size)), KeyCount: new(int32(len(l.objects) + len(l.prefixes))),
		IsTruncated: &l.truncated, ContinuationToken: in.ContinuationToken, CommonPrefixes: l.common(enc),
	}
	var who *s3.Owner
	if isTrue(in.FetchOwner) {
		who = owner(b.Key.Account)
	}
	out.Contents = l.contents(enc, who)
	if l.truncated {
		out.NextContinuationToken = new(pagetoken.Make(l.last, of...))
	}
	return out, nil
}

// ListObjects implements s3.Handler.
func (s *Service) ListObjects(ctx context.Context, in *s3.ListObjectsInput) (*s3.ListObjectsOutput, error) {
	b, err := s.bucket(ctx, in.Bucket, in.ExpectedBucketOwner)
	if err != nil {
		return nil, err
	}
	size, err := pageSize(in.MaxKeys, "max-keys")
	if err != nil {
		return nil, err
	}
	l, err := s.list(ctx, b, str(in.Prefix), str(in.Delimiter), str(in.Marker), size, current)
	if err != nil {
		return nil, err
	}
	enc := encoder(in.EncodingType)
	out := &s3.ListObjectsOutput{
		Name: in.Bucket, Prefix: enc(str(in.Prefix)), Marker: enc(str(in.Marker)), Delimiter: encoded(enc, in.Delimiter),
		EncodingType: in.EncodingType, MaxKeys: new(int32(size)), IsTruncated: &l.truncated,
		Contents: l.contents(enc, owner(b.Key.Account)), CommonPrefixes: l.common(enc),
	}
	if l.truncated && in.Delimiter != nil {
		out.NextMarker = enc(l.last)
	}
	return out, nil
}
