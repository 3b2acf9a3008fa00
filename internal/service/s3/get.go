package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/service/s3/contents"
)

// readAgain is how often an object is read again that was replaced between its
// record and its bytes.
const readAgain = 8

// GetObject implements s3.Handler.
func (s *Service) GetObject(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	c := api.CallFrom(ctx)
	if c.Identity.Anonymous && (in.ResponseCacheControl != nil || in.ResponseContentDisposition != nil || in.ResponseContentEncoding != nil ||
		in.ResponseContentLanguage != nil || in.ResponseContentType != nil || in.ResponseExpires != nil) {
		return nil, fault(http.StatusBadRequest, "InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests.")
	}
	if err := checkHeaders(in); err != nil {
		return nil, err
	}
	q := question{
		key: *in.Key, version: str(in.VersionId), rng: str(in.Range), part: in.PartNumber,
		match: in.IfMatch, noneMatch: in.IfNoneMatch, since: in.IfModifiedSince, until: in.IfUnmodifiedSince,
	}
	for range readAgain {
		o, cut, err := s.find(ctx, in.Bucket, in.ExpectedBucketOwner, &q)
		if err != nil {
			return nil, err
		}
		body, err := s.Contents.Section(pieces(o.Pieces), cut.offset, cut.length)
		if errors.Is(err, contents.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open object: %w", err)
		}
		return got(in, o, cut, body), nil
	}
	return nil, errGone
}

// got is the answer with an object.
func got(in *s3.GetObjectInput, o *model.S3Object, cut section, body io.ReadCloser) *s3.GetObjectOutput {
	out := &s3.GetObjectOutput{
		AcceptRanges: new("bytes"), Body: body, ContentLength: &cut.length, ContentRange: opt(cut.header(o)),
		CacheControl: or(in.ResponseCacheControl, o.CacheControl), ContentDisposition: or(in.ResponseContentDisposition, o.ContentDisposition),
		ContentEncoding: or(in.ResponseContentEncoding, o.ContentEncoding), ContentLanguage: or(in.ResponseContentLanguage, o.ContentLanguage),
		ContentType: or(in.ResponseContentType, o.ContentType), Expires: or(nil, o.Expires),
		ETag: quoted(o.ETag), LastModified: &o.Modified, Metadata: o.Metadata, VersionId: opt(o.Version),
		ServerSideEncryption: s3.ServerSideEncryptionAes256, TagCount: tagCount(o), PartsCount: cut.parts,
	}
	if in.ResponseExpires != nil {
		out.Expires = new(in.ResponseExpires.UTC().Format(http.TimeFormat))
	}
	if in.ChecksumMode == s3.ChecksumModeEnabled && out.ContentRange == nil {
		setChecksum(out, o.Checksum)
	}
	return out
}

func or(override *string, kept string) *string {
	if override != nil {
		return override
	}
	return opt(kept)
}

func tagCount(o *model.S3Object) *int32 {
	if len(o.Tags) == 0 {
		return nil
	}
	return new(int32(len(o.Tags)))
}

// HeadObject implements s3.Handler.
func (s *Service) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	if err := checkHeaders(in); err != nil {
		return nil, err
	}
	o, cut, err := s.find(ctx, in.Bucket, in.ExpectedBucketOwner, &question{
		key: *in.Key, version: str(in.VersionId), rng: str(in.Range), part: in.PartNumber,
		match: in.IfMatch, noneMatch: in.IfNoneMatch, since: in.IfModifiedSince, until: in.IfUnmodifiedSince,
	})
	if err != nil {
		return nil, err
	}
	out := &s3.HeadObjectOutput{
		AcceptRanges: new("bytes"), ContentLength: &cut.length, ContentRange: opt(cut.header(o)),
		CacheControl: or(in.ResponseCacheControl, o.CacheControl), ContentDisposition: or(in.ResponseContentDisposition, o.ContentDisposition),
		ContentEncoding: or(in.ResponseContentEncoding, o.ContentEncoding), ContentLanguage: or(in.ResponseContentLanguage, o.ContentLanguage),
		ContentType: or(in.ResponseContentType, o.ContentType), Expires: or(nil, o.Expires),
		ETag: quoted(o.ETag), LastModified: &o.Modified, Metadata: o.Metadata, VersionId: opt(o.Version),
		ServerSideEncryption: s3.ServerSideEncryptionAes256, TagCount: tagCount(o), PartsCount: cut.parts,
	}
	if in.ResponseExpires != nil {
		out.Expires = new(in.ResponseExpires.UTC().Format(http.TimeFormat))
	}
	if in.ChecksumMode == s3.ChecksumModeEnabled && out.ContentRange == nil {
		setChecksum(out, o.Checksum)
	}
	return out, nil
}

// question is what is asked of an object.
type question struct {
	key, version     string
	rng              string
	part             *int32
	match, noneMatch *string
	since, until     *time.Time
}

// find finds the object that is asked for, and what of it.
func (s *Service) find(ctx context.Context, bucket, expectedOwner *string, q *question) (*model.S3Object, section, error) {
	b, err := s.bucket(ctx, bucket, expectedOwner)
	if err != nil {
		return nil, section{}, err
	}
	o, err := s.object(ctx, b, q.key, q.version)
	if err != nil {
		return nil, section{}, err
	}
	if err := q.conditions(o); err != nil {
		return nil, section{}, err
	}
	cut, err := q.cut(o)
	return o, cut, err
}

// object finds a version of an object that is no delete marker. Who may not list the bucket does not learn that it is
// not there.
func (s *Service) object(ctx context.Context, b bucketRow, key, version string) (*model.S3Object, error) {
	o, err := s.version(ctx, b, key, version)
	if err != nil {
		return nil, err
	}
	if o != nil && o.DeleteMarker && version != "" {
		return nil, isMarker(o)
	}
	if o == nil || o.DeleteMarker {
		c := api.CallFrom(ctx)
		if err := c.Authorize(ctx, "s3:ListBucket", model.S3BucketARN(b.Key.Region, b.V.Name), nil); err != nil {
			return nil, err
		}
		if version != "" {
			return nil, noSuchVersion(key, version)
		}
		f := noSuchKey(key)
		if o != nil {
			f.Header = markerHeader(o)
		}
		return nil, f
	}
	return o, nil
}

// version reads a version of an object; nil where there is none.
func (s *Service) version(ctx context.Context, b bucketRow, key, version string) (*model.S3Object, error) {
	if !possibleKey(key) {
		return nil, nil
	}
	var o *model.S3Object
	var err error
	if version == "" {
		var row objectRow
		row, err = s.newest(ctx, b, key)
		o = row.V
	} else {
		var h held
		h, err = s.hold(ctx, b, key, version)
		o = h.object()
	}
	if err != nil || o == nil || o.Version != "" || b.V.Versioning == "" {
		return o, err
	}
	v := *o
	v.Version = model.S3NullVersion
	return &v, nil
}

// conditions are HTTP's. https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2
func (q *question) conditions(o *model.S3Object) error {
	modified := o.Modified.Truncate(time.Second)
	switch {
	case q.match != nil && !matches(*q.match, o.ETag):
		return preconditionFailed("If-Match")
	case q.match == nil && q.until != nil && modified.After(*q.until):
		return preconditionFailed("If-Unmodified-Since")
	case q.noneMatch != nil && matches(*q.noneMatch, o.ETag),
		q.noneMatch == nil && q.since != nil && !modified.After(*q.since):
		f := fault(http.StatusNotModified, "NotModified", "Not Modified")
		f.Header = map[string]string{"Etag": *quoted(o.ETag), "Last-Modified": o.Modified.UTC().Format(http.TimeFormat)}
		return f
	}
	return nil
}

// matches tells whether a list of entity tags has one.
func matches(list, etag string) bool {
	for e := range strings.SplitSeq(list, ",") {
		if e = strings.TrimSpace(e); e == "*" || strings.Trim(strings.TrimPrefix(e, "W/"), `"`) == etag {
			return true
		}
	}
	return false
}

// section is what of an object is asked for.
type section struct {
	offset, length int64
	partial        bool
	parts          *int32
}

func (c section) header(o *model.S3Object) string {
	if !c.partial || c.length == 0 {
		return ""
	}
	return fmt.Sprintf("bytes %d-%d/%d", c.offset, c.offset+c.length-1, o.Size)
}

// cut reads the range or the part that is asked for.
func (q *question) cut(o *model.S3Object) (section, error) {
	if q.part != nil {
		if q.rng != "" {
			return section{}, fault(http.StatusBadRequest, "InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
		}
		return partOf(o, *q.part)
	}
	first, last, ok := parseRange(q.rng, o.Size)
	if !ok {
		return section{length: o.Size}, nil
	}
	if first > last {
		f := fault(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The requested range is not satisfiable",
			detail("RangeRequested", q.rng), detail("ActualObjectSize", strconv.FormatInt(o.Size, 10)))
		f.Header = map[string]string{"Content-Range": fmt.Sprintf("bytes */%d", o.Size)}
		return section{}, f
	}
	return section{offset: first, length: last - first + 1, partial: true}, nil
}

func partOf(o *model.S3Object, number int32) (section, error) {
	if !o.Parts && number == 1 {
		return section{length: o.Size, partial: true}, nil
	}
	if !o.Parts || number < 1 || int(number) > len(o.Pieces) {
		return section{}, fault(http.StatusRequestedRangeNotSatisfiable, "InvalidPartNumber", "The requested partnumber is not satisfiable",
			detail("PartNumberRequested", number32(number)), detail("ActualPartCount", strconv.Itoa(max(1, len(o.Pieces)))))
	}
	cut := section{partial: true, parts: new(int32(len(o.Pieces)))}
	for _, p := range o.Pieces[:number-1] {
		cut.offset += p.Size
	}
	cut.length = o.Pieces[number-1].Size
	return cut, nil
}

func number32(n int32) string { return strconv.Itoa(int(n)) }

// parseRange reads a header Range for so many bytes. It is not ok where there
// is none, or none that is served: then the whole is answered. What cannot be
// satisfied has its first byte behind its last one.
func parseRange(header string, size int64) (first, last int64, ok bool) {
	unit, spec, found := strings.Cut(header, "=")
	from, to, dash := strings.Cut(strings.TrimSpace(spec), "-")
	if !found || !dash || !strings.EqualFold(strings.TrimSpace(unit), "bytes") || strings.Contains(spec, ",") {
		return 0, 0, false
	}
	a, aok := position(from)
	b, bok := position(to)
	switch {
	case from == "" && bok: // the last b bytes
		if b == 0 {
			return 1, 0, true
		}
		return max(0, size-b), size - 1, true
	case aok && to == "":
		return a, size - 1, true
	case aok && bok && a <= b:
		return a, min(b, size-1), true
	}
	return 0, 0, false
}

func position(s string) (int64, bool) {
	s = strings.TrimSpace(s)
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true // far behind every end
	}
	return n, true
}
