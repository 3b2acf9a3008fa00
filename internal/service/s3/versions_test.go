package s3_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"pgregory.net/rapid"
)

func (w *world) versioning(c *awss3.Client, bucket string, status types.BucketVersioningStatus) {
	w.t.Helper()
	if _, err := c.PutBucketVersioning(w.t.Context(), &awss3.PutBucketVersioningInput{
		Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: status},
	}); err != nil {
		w.t.Fatal(err)
	}
}

func TestVersions(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	w.bucket(c, "versions")
	bucket, key := aws.String("versions"), aws.String("key")
	if out := w.put(c, *bucket, *key, "before"); out.VersionId != nil {
		t.Errorf("without versioning: %q", *out.VersionId)
	}
	if v, err := c.GetBucketVersioning(ctx, &awss3.GetBucketVersioningInput{Bucket: bucket}); err != nil || v.Status != "" {
		t.Errorf("%+v, %v", v, err)
	}
	w.versioning(c, *bucket, types.BucketVersioningStatusEnabled)
	first := *w.put(c, *bucket, *key, "first").VersionId
	second := *w.put(c, *bucket, *key, "second").VersionId
	marker, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: bucket, Key: key})
	if err != nil || !aws.ToBool(marker.DeleteMarker) || marker.VersionId == nil {
		t.Fatalf("%+v, %v", marker, err)
	}
	read := func(version string) string {
		in := &awss3.GetObjectInput{Bucket: bucket, Key: key}
		if version != "" {
			in.VersionId = &version
		}
		content, code := get(ctx, c, in)
		return content + code
	}
	for version, want := range map[string]string{
		"": "NoSuchKey", "null": "before", first: "first", second: "second", *marker.VersionId: "MethodNotAllowed",
		strings.Repeat("x", 32): "NoSuchVersion", "no id": "InvalidArgument", first[:31] + "f": "NoSuchVersion",
	} {
		if got := read(version); got != want {
			t.Errorf("version %q: %q, want %q", version, got, want)
		}
	}
	_, err = c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: bucket, Key: key, VersionId: marker.VersionId})
	if got := outcome(err); got != "MethodNotAllowed" {
		t.Errorf("a delete marker's head: %q", got)
	}
	if l, err := c.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: bucket}); err != nil || len(l.Contents) != 0 {
		t.Errorf("a deleted object is listed: %+v, %v", l, err)
	}
	if _, err := c.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: bucket}); outcome(err) != "BucketNotEmpty" {
		t.Errorf("a bucket with versions: %v", err)
	}

	// An older version is restored by a copy, which is a version of its own.
	restored, err := c.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: bucket, Key: key, CopySource: aws.String("versions/key?versionId=" + first)})
	if err != nil || aws.ToString(restored.CopySourceVersionId) != first || restored.VersionId == nil || read("") != "first" {
		t.Errorf("%+v, %v", restored, err)
	}
	_, err = c.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("versions/key?versionId=" + *marker.VersionId)})
	if got := outcome(err); got != "InvalidRequest" {
		t.Errorf("a copy of a delete marker: %q", got)
	}

	// Tags are a version's.
	tagging := &types.Tagging{TagSet: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}}}
	if _, err := c.PutObjectTagging(ctx, &awss3.PutObjectTaggingInput{Bucket: bucket, Key: key, VersionId: &second, Tagging: tagging}); err != nil {
		t.Error(err)
	}
	for version, want := range map[*string]int{&second: 1, &first: 0, nil: 0} {
		if got, err := c.GetObjectTagging(ctx, &awss3.GetObjectTaggingInput{Bucket: bucket, Key: key, VersionId: version}); err != nil || len(got.TagSet) != want {
			t.Errorf("tags of %q: %+v, %v", aws.ToString(version), got, err)
		}
	}
	// The newest's too, wherever it is read.
	if _, err := c.PutObjectTagging(ctx, &awss3.PutObjectTaggingInput{Bucket: bucket, Key: key, Tagging: tagging}); err != nil {
		t.Error(err)
	}
	for _, version := range []*string{restored.VersionId, nil} {
		if got, err := c.GetObjectTagging(ctx, &awss3.GetObjectTaggingInput{Bucket: bucket, Key: key, VersionId: version}); err != nil || len(got.TagSet) != 1 {
			t.Errorf("tags of the newest: %+v, %v", got, err)
		}
	}

	// Without its newest version an object is what it was before.
	var all []types.ObjectIdentifier
	for _, v := range []*string{restored.VersionId, marker.VersionId} {
		all = append(all, types.ObjectIdentifier{Key: key, VersionId: v})
	}
	gone, err := c.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: all}})
	if err != nil || len(gone.Deleted) != 2 || gone.Deleted[0].DeleteMarker != nil || !aws.ToBool(gone.Deleted[1].DeleteMarker) || *gone.Deleted[1].DeleteMarkerVersionId != *marker.VersionId {
		t.Errorf("%+v, %v", gone, err)
	}
	if got := read(""); got != "second" {
		t.Errorf("the newest is %q", got)
	}

	// While versioning is suspended the null version is written, again and again.
	w.versioning(c, *bucket, types.BucketVersioningStatusSuspended)
	for range 3 {
		if out := w.put(c, *bucket, *key, "suspended"); *out.VersionId != "null" {
			t.Errorf("while suspended: %q", *out.VersionId)
		}
	}
	if got := read("null") + read("") + read(first); got != "suspendedsuspendedfirst" {
		t.Error(got)
	}
	if out, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: bucket, Key: key}); err != nil || aws.ToString(out.VersionId) != "null" || !aws.ToBool(out.DeleteMarker) {
		t.Errorf("%+v, %v", out, err)
	}
	list, err := c.ListObjectVersions(ctx, &awss3.ListObjectVersionsInput{Bucket: bucket})
	if err != nil || len(list.DeleteMarkers) != 1 || !*list.DeleteMarkers[0].IsLatest || len(list.Versions) != 2 || *list.Versions[0].VersionId != second || *list.Versions[0].IsLatest {
		t.Errorf("%+v, %v", list, err)
	}
	if n := w.files(); n != 2 {
		t.Errorf("%d files for two versions", n)
	}
	if _, err := c.PutBucketVersioning(ctx, &awss3.PutBucketVersioningInput{Bucket: bucket, VersioningConfiguration: &types.VersioningConfiguration{}}); outcome(err) != "IllegalVersioningConfigurationException" {
		t.Errorf("no status: %v", err)
	}
}

// TestDeleteMarkerHeaders looks at what SDKs do not show.
func TestDeleteMarkerHeaders(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	w.bucket(c, "marked")
	w.versioning(c, "marked", types.BucketVersioningStatusEnabled)
	out, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: aws.String("marked"), Key: aws.String("never was")})
	if err != nil {
		t.Fatal(err)
	}
	presigned := awss3.NewPresignClient(c)
	for version, want := range map[*string]int{nil: http.StatusNotFound, out.VersionId: http.StatusMethodNotAllowed} {
		u, err := presigned.PresignGetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String("marked"), Key: aws.String("never was"), VersionId: version})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Get(u.URL) //nolint:noctx // a test's
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want || resp.Header.Get("X-Amz-Delete-Marker") != "true" || resp.Header.Get("X-Amz-Version-Id") != *out.VersionId {
			t.Errorf("%d %v, want %d", resp.StatusCode, resp.Header, want)
		}
		if want == http.StatusMethodNotAllowed && (resp.Header.Get("Allow") != "DELETE" || resp.Header.Get("Last-Modified") == "") {
			t.Errorf("%v", resp.Header)
		}
	}
}

func TestVersionPermissions(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	w.bucket(c, "guarded")
	w.versioning(c, "guarded", types.BucketVersioningStatusEnabled)
	bucket, key := aws.String("guarded"), aws.String("key")
	version := w.put(c, "guarded", "key", "x").VersionId
	u := w.user("newest", `"Effect":"Allow","Action":["s3:GetObject","s3:DeleteObject"],"Resource":"*"`)
	if _, code := get(ctx, u, &awss3.GetObjectInput{Bucket: bucket, Key: key}); code != "" {
		t.Error(code)
	}
	if _, code := get(ctx, u, &awss3.GetObjectInput{Bucket: bucket, Key: key, VersionId: version}); code != "AccessDenied" {
		t.Errorf("a version without s3:GetObjectVersion: %q", code)
	}
	if _, err := u.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: bucket, Key: key, VersionId: version}); outcome(err) != "AccessDenied" {
		t.Errorf("a version without s3:DeleteObjectVersion: %v", err)
	}
	if _, err := u.ListObjectVersions(ctx, &awss3.ListObjectVersionsInput{Bucket: bucket}); outcome(err) != "AccessDenied" {
		t.Errorf("versions without s3:ListBucketVersions: %v", err)
	}
	out, err := u.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: key, VersionId: version}, {Key: key}}}})
	if err != nil || len(out.Errors) != 1 || *out.Errors[0].Code != "AccessDenied" || len(out.Deleted) != 1 || !*out.Deleted[0].DeleteMarker {
		t.Errorf("%+v, %v", out, err)
	}
}

// kept is a version as a test knows it.
type kept struct {
	id, content string
	marker      bool
}

// versions writes what there is of keys as list does.
func versions(keys map[string][]kept) []string {
	var out []string
	for _, key := range slices.Sorted(func(yield func(string) bool) {
		for k := range keys {
			if !yield(k) {
				return
			}
		}
	}) {
		for i, v := range keys[key] {
			out = append(out, fmt.Sprint(key, v.id, v.marker, i == 0))
		}
	}
	return out
}

// list reads all versions in pages, without their order between versions and
// delete markers of one page, which answers do not tell.
func (w *world) list(t *rapid.T, c *awss3.Client, bucket string, page int32) []string {
	var out []string
	in := &awss3.ListObjectVersionsInput{Bucket: &bucket, MaxKeys: &page, EncodingType: types.EncodingTypeUrl}
	plain := func(s *string) string {
		p, err := url.PathUnescape(*s)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for {
		l, err := c.ListObjectVersions(w.t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(l.Versions) + len(l.DeleteMarkers); n > int(page) || n == 0 && *l.IsTruncated {
			t.Fatalf("a page of %d has %d", page, n)
		}
		for _, v := range l.Versions {
			out = append(out, fmt.Sprint(plain(v.Key), *v.VersionId, false, *v.IsLatest))
		}
		for _, v := range l.DeleteMarkers {
			out = append(out, fmt.Sprint(plain(v.Key), *v.VersionId, true, *v.IsLatest))
		}
		if !*l.IsTruncated {
			return out
		}
		in.KeyMarker, in.VersionIdMarker = new(plain(l.NextKeyMarker)), l.NextVersionIdMarker
	}
}

// TestVersionsProperty compares a bucket with a model of it, through every
// order of writes, deletions and changes of versioning.
func TestVersionsProperty(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		if n++; n > 20 {
			return // they are slow: each write is synced to disk
		}
		bucket, before := fmt.Sprintf("bucket-%d", n), w.files()
		w.bucket(c, bucket)
		keys := map[string][]kept{} // newest first
		status := ""
		forget := func(key, id string) {
			keys[key] = slices.DeleteFunc(keys[key], func(v kept) bool { return v.id == id })
			if len(keys[key]) == 0 {
				delete(keys, key)
			}
		}
		write := func(key string, v kept) {
			if status != "Enabled" {
				forget(key, "null")
			}
			keys[key] = append([]kept{v}, keys[key]...)
		}
		key := rapid.SampledFrom([]string{"a", "a\x01", "a\x01\x01", "a/b", "b"})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				k, content := key.Draw(t, "key"), rapid.StringN(0, 3, -1).Draw(t, "content")
				out := w.put(c, bucket, k, content)
				if id := aws.ToString(out.VersionId); (id == "") != (status == "") || (id == "null") != (status == "Suspended") {
					t.Fatalf("version %q of a bucket with versioning %q", id, status)
				}
				id := aws.ToString(out.VersionId)
				if id == "" {
					id = "null"
				}
				write(k, kept{id: id, content: content})
			},
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				out, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &bucket, Key: &k})
				if err != nil {
					t.Fatal(err)
				}
				if status == "" {
					forget(k, "null")
				} else {
					write(k, kept{id: *out.VersionId, marker: true})
				}
			},
			"delete version": func(t *rapid.T) {
				k := key.Draw(t, "key")
				id := "null"
				if len(keys[k]) > 0 {
					id = rapid.SampledFrom(keys[k]).Draw(t, "version").id
				}
				if _, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &bucket, Key: &k, VersionId: &id}); err != nil {
					t.Fatal(err)
				}
				forget(k, id)
			},
			"versioning": func(t *rapid.T) {
				status = rapid.SampledFrom([]string{"Enabled", "Suspended"}).Draw(t, "status")
				w.versioning(c, bucket, types.BucketVersioningStatus(status))
			},
			"": func(t *rapid.T) {
				want := versions(keys)
				got := w.list(t, c, bucket, rapid.Int32Range(1, 5).Draw(t, "page"))
				files := 0
				for k, list := range keys {
					for i, v := range list {
						if v.marker {
							continue
						}
						files++
						content, code := get(ctx, c, &awss3.GetObjectInput{Bucket: &bucket, Key: &k, VersionId: &v.id})
						if i == 0 {
							content, code = get(ctx, c, &awss3.GetObjectInput{Bucket: &bucket, Key: &k})
						}
						if content+code != v.content {
							t.Fatalf("%q of version %s of %q, want %q", content+code, v.id, k, v.content)
						}
					}
				}
				slices.Sort(want)
				slices.Sort(got)
				if !slices.Equal(want, got) {
					t.Fatalf("listed\n%q, want\n%q", got, want)
				}
				if n := w.files() - before; n != files {
					t.Fatalf("%d files for %d versions", n, files)
				}
			},
		})
	})
}
