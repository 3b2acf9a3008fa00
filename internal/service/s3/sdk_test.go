package s3_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/go-cmp/cmp"
)

func TestBuckets(t *testing.T) {
	w := newWorld(t)
	c, foreign, ctx := w.client("AKIAOWNER"), w.client("AKIAOTHER"), t.Context()
	irish := func(o *awss3.Options) { o.Region = "eu-west-1" }
	w.bucket(c, "first")
	w.bucket(c, "first") // us-east-1 says that all is well
	in := func(r types.BucketLocationConstraint) *types.CreateBucketConfiguration {
		return &types.CreateBucketConfiguration{LocationConstraint: r}
	}
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"another's": {second(foreign.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("first")})), "BucketAlreadyExists"},
		"Irish":     {second(c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("irish"), CreateBucketConfiguration: in("eu-west-1")}, irish)), ""},
		"again":     {second(c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("irish"), CreateBucketConfiguration: in("eu-west-1")}, irish)), ""},
		"no region": {second(c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("none")}, irish)), "IllegalLocationConstraintException"},
		"not here":  {second(c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("none"), CreateBucketConfiguration: in("eu-west-1")})), "IllegalLocationConstraintException"},
		"ACLs":      {second(c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("none"), ACL: types.BucketCannedACLPublicRead})), "InvalidBucketAclWithObjectOwnership"},
		"locked":    {second(c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("none"), ObjectLockEnabledForBucket: aws.Bool(true)})), "NotImplemented"},
	} {
		// Maps have no order: what is made again may come first.
		if got := outcome(tt.err); got != tt.want && got != "BucketAlreadyOwnedByYou" {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	for _, name := range []string{"ab", "Upper", "a..b", "under_score", "-dash", "192.168.5.4", "xn--a", "a-s3alias", strings.Repeat("a", 64)} {
		if status, body := w.plainly(http.MethodPut, "/"+name, ""); status != http.StatusForbidden && status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, status, body)
		}
		_, err := c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: &name})
		if got := outcome(err); got != "InvalidBucketName" {
			t.Errorf("%s: %q", name, got)
		}
	}
	list, err := c.ListBuckets(ctx, &awss3.ListBucketsInput{})
	if err != nil || len(list.Buckets) != 2 || *list.Buckets[0].Name != "first" || list.Buckets[0].CreationDate == nil || list.Owner.ID == nil {
		t.Fatalf("%+v, %v", list, err)
	}
	page, err := c.ListBuckets(ctx, &awss3.ListBucketsInput{MaxBuckets: aws.Int32(1)})
	if err != nil || len(page.Buckets) != 1 || page.ContinuationToken == nil {
		t.Fatalf("%+v, %v", page, err)
	}
	page, err = c.ListBuckets(ctx, &awss3.ListBucketsInput{MaxBuckets: aws.Int32(1), ContinuationToken: page.ContinuationToken})
	if err != nil || len(page.Buckets) != 1 || *page.Buckets[0].Name != "irish" || *page.Buckets[0].BucketRegion != "eu-west-1" || page.ContinuationToken != nil {
		t.Errorf("%+v, %v", page, err)
	}
	if list, err := foreign.ListBuckets(ctx, &awss3.ListBucketsInput{}); err != nil || len(list.Buckets) != 0 {
		t.Errorf("another account sees %+v, %v", list, err)
	}
	if l, err := c.GetBucketLocation(ctx, &awss3.GetBucketLocationInput{Bucket: aws.String("irish")}); err != nil || l.LocationConstraint != "eu-west-1" {
		t.Errorf("%+v, %v", l, err)
	}
	if l, err := c.GetBucketLocation(ctx, &awss3.GetBucketLocationInput{Bucket: aws.String("first")}); err != nil || l.LocationConstraint != "" {
		t.Errorf("%+v, %v", l, err)
	}
	if h, err := c.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: aws.String("irish")}, irish); err != nil || *h.BucketRegion != "eu-west-1" {
		t.Errorf("%+v, %v", h, err)
	}
	_, err = c.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("irish")})
	if got := outcome(err); got != "PermanentRedirect" {
		t.Errorf("in the wrong region: %q", got)
	}
	_, err = c.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: aws.String("nobodys")})
	if got := outcome(err); got != "NotFound" {
		t.Errorf("no bucket: %q", got)
	}
	_, err = foreign.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: aws.String("first")})
	if got := outcome(err); got != "Forbidden" {
		t.Errorf("another's bucket: %q", got)
	}
	_, err = c.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: aws.String("first"), ExpectedBucketOwner: aws.String(other)})
	if got := outcome(err); got != "Forbidden" {
		t.Errorf("another expected owner: %q", got)
	}
	w.put(c, "first", "key", "x")
	_, err = c.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: aws.String("first")})
	if got := outcome(err); got != "BucketNotEmpty" {
		t.Errorf("not empty: %q", got)
	}
	w.put(c, "first", "key2", "it is open again")
	for _, key := range []string{"key", "key2", "never"} {
		if _, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: aws.String("first"), Key: &key}); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: aws.String("first")}); err != nil {
		t.Error(err)
	}
	w.bucket(foreign, "first")
}

func second[T any](_ T, err error) error { return err }

// files counts the contents on disk.
func (w *world) files() int {
	n := 0
	_ = filepath.WalkDir(w.dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return nil
	})
	return n
}

func TestObjects(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	w.bucket(c, "objects")
	b := aws.String("objects")
	content := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	sum := md5.Sum(content)
	put, err := c.PutObject(ctx, &awss3.PutObjectInput{
		Bucket: b, Key: aws.String("/../a b//ü+%2F?x=1&y#\x01"), Body: bytes.NewReader(content), ContentType: aws.String("text/plain"),
		CacheControl: aws.String("no-cache"), ContentEncoding: aws.String("identity"), ContentDisposition: aws.String("inline"), ContentLanguage: aws.String("en"),
		Metadata: map[string]string{"One": "1", "two-words": "a  b"}, Tagging: aws.String("k=v&l="),
	})
	if err != nil || *put.ETag != fmt.Sprintf("%q", hex.EncodeToString(sum[:])) || put.ChecksumCRC64NVME == nil {
		t.Fatalf("%+v, %v", put, err)
	}
	key := aws.String("/../a b//ü+%2F?x=1&y#\x01")
	head, err := c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: b, Key: key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		t.Fatal(err)
	}
	if *head.ContentLength != int64(len(content)) || *head.ContentType != "text/plain" || *head.CacheControl != "no-cache" || *head.ContentDisposition != "inline" ||
		*head.ContentLanguage != "en" || *head.ETag != *put.ETag || *head.ChecksumCRC64NVME != *put.ChecksumCRC64NVME || *head.TagCount != 2 {
		t.Errorf("%+v", head)
	}
	if diff := cmp.Diff(map[string]string{"one": "1", "two-words": "a  b"}, head.Metadata); diff != "" {
		t.Error(diff)
	}
	if got, code := get(ctx, c, &awss3.GetObjectInput{Bucket: b, Key: key, ChecksumMode: types.ChecksumModeEnabled}); got != string(content) {
		t.Errorf("%d bytes, %s", len(got), code)
	}
	for header, want := range map[string]string{
		"bytes=0-3": string(content[:4]), "bytes=16-": string(content[16:]), "bytes=-5": string(content[len(content)-5:]),
		"bytes=3199999-4000000": "f", "bytes=3200000-": "InvalidRange", "bytes=-0": "InvalidRange", "bytes=5-1": string(content), "lines=1-2": string(content),
		"bytes=1-2,4-5": string(content),
	} {
		got, code := get(ctx, c, &awss3.GetObjectInput{Bucket: b, Key: key, Range: &header})
		if got+code != want {
			t.Errorf("%s: %d bytes, %q", header, len(got), code)
		}
	}
	before, after := head.LastModified.Add(-time.Hour), head.LastModified.Add(time.Hour)
	wrong := aws.String(`"0"`)
	for name, tt := range map[string]struct {
		in   awss3.GetObjectInput
		want string
	}{
		"match":                       {awss3.GetObjectInput{IfMatch: put.ETag}, ""},
		"no match":                    {awss3.GetObjectInput{IfMatch: wrong}, "PreconditionFailed"},
		"none match":                  {awss3.GetObjectInput{IfNoneMatch: wrong}, ""},
		"one matches":                 {awss3.GetObjectInput{IfNoneMatch: put.ETag}, "NotModified"},
		"modified since":              {awss3.GetObjectInput{IfModifiedSince: &before}, ""},
		"not modified since":          {awss3.GetObjectInput{IfModifiedSince: &after}, "NotModified"},
		"unmodified since":            {awss3.GetObjectInput{IfUnmodifiedSince: &after}, ""},
		"not unmodified since":        {awss3.GetObjectInput{IfUnmodifiedSince: &before}, "PreconditionFailed"},
		"match though modified":       {awss3.GetObjectInput{IfMatch: put.ETag, IfUnmodifiedSince: &before}, ""},
		"none match, though modified": {awss3.GetObjectInput{IfNoneMatch: put.ETag, IfModifiedSince: &before}, "NotModified"},
		"no such version":             {awss3.GetObjectInput{VersionId: aws.String("x")}, "InvalidArgument"},
	} {
		tt.in.Bucket, tt.in.Key = b, key
		if _, code := get(ctx, c, &tt.in); code != tt.want {
			t.Errorf("%s: %q, want %q", name, code, tt.want)
		}
	}
	out, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: b, Key: key, ResponseContentType: aws.String("image/png"), Range: aws.String("bytes=0-0")})
	if err != nil || *out.ContentType != "image/png" || *out.ContentRange != "bytes 0-0/3200000" {
		t.Errorf("%+v, %v", out, err)
	}
	if _, code := get(ctx, c, &awss3.GetObjectInput{Bucket: b, Key: aws.String("none")}); code != "NoSuchKey" {
		t.Errorf("no key: %q", code)
	}
	if n := w.files(); n != 1 {
		t.Errorf("%d files", n)
	}
	// What is replaced, and what is deleted, is off the disk, and can be read on.
	reading, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: b, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	w.put(c, "objects", *key, "new")
	if got, err := io.ReadAll(reading.Body); !bytes.Equal(got, content) || err != nil {
		t.Errorf("%d bytes while it was replaced, %v", len(got), err)
	}
	if got, _ := get(ctx, c, &awss3.GetObjectInput{Bucket: b, Key: key}); got != "new" {
		t.Errorf("%q", got)
	}
	if _, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: b, Key: key}); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); w.files() > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("%d files", w.files())
		}
	}
}

func TestPutRefusals(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	w.bucket(c, "refuses")
	for name, tt := range map[string]struct {
		in   awss3.PutObjectInput
		want string
	}{
		"MD5":                {awss3.PutObjectInput{ContentMD5: aws.String("XUFAKrxLKna5cZ2REBfFkg==")}, ""},
		"another MD5":        {awss3.PutObjectInput{ContentMD5: aws.String("AAAAAAAAAAAAAAAAAAAAAA==")}, "BadDigest"},
		"no MD5":             {awss3.PutObjectInput{ContentMD5: aws.String("x")}, "InvalidDigest"},
		"SHA-256":            {awss3.PutObjectInput{ChecksumSHA256: aws.String("LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=")}, ""},
		"another SHA-256":    {awss3.PutObjectInput{ChecksumSHA256: aws.String("AAAAul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=")}, "BadDigest"},
		"a short CRC":        {awss3.PutObjectInput{ChecksumCRC32: aws.String("AA==")}, "InvalidRequest"},
		"an algorithm":       {awss3.PutObjectInput{ChecksumAlgorithm: types.ChecksumAlgorithmSha1}, ""},
		"ACL":                {awss3.PutObjectInput{ACL: types.ObjectCannedACLPublicRead}, "AccessControlListNotSupported"},
		"the owner's":        {awss3.PutObjectInput{ACL: types.ObjectCannedACLBucketOwnerFullControl}, ""},
		"KMS":                {awss3.PutObjectInput{ServerSideEncryption: types.ServerSideEncryptionAwsKms}, "NotImplemented"},
		"AES":                {awss3.PutObjectInput{ServerSideEncryption: types.ServerSideEncryptionAes256}, ""},
		"a storage class":    {awss3.PutObjectInput{StorageClass: types.StorageClassGlacier}, "InvalidStorageClass"},
		"a lock":             {awss3.PutObjectInput{ObjectLockLegalHoldStatus: types.ObjectLockLegalHoldStatusOn}, "InvalidRequest"},
		"a redirect":         {awss3.PutObjectInput{WebsiteRedirectLocation: aws.String("/x")}, "NotImplemented"},
		"much metadata":      {awss3.PutObjectInput{Metadata: map[string]string{"a": strings.Repeat("x", 3000)}}, "MetadataTooLarge"},
		"a tag twice":        {awss3.PutObjectInput{Tagging: aws.String("a=1&a=2")}, "InvalidTag"},
		"a system's tag":     {awss3.PutObjectInput{Tagging: aws.String("aws:a=1")}, "InvalidTag"},
		"many tags":          {awss3.PutObjectInput{Tagging: aws.String("a&b&c&d&e&f&g&h&i&j&k")}, "BadRequest"},
		"a long key":         {awss3.PutObjectInput{Key: aws.String(strings.Repeat("k", 1025))}, "KeyTooLongError"},
		"the longest key":    {awss3.PutObjectInput{Key: aws.String(strings.Repeat("k", 1024))}, ""},
		"a zero byte":        {awss3.PutObjectInput{Key: aws.String("a\x00b")}, "InvalidArgument"},
		"no bucket":          {awss3.PutObjectInput{Bucket: aws.String("nobodys")}, "NoSuchBucket"},
		"no bucket's name":   {awss3.PutObjectInput{Bucket: aws.String("Nobody")}, "InvalidBucketName"},
		"over one":           {awss3.PutObjectInput{Key: aws.String("there"), IfNoneMatch: aws.String("*")}, "PreconditionFailed"},
		"over none":          {awss3.PutObjectInput{Key: aws.String("not there"), IfNoneMatch: aws.String("*")}, ""},
		"over another":       {awss3.PutObjectInput{Key: aws.String("there"), IfMatch: aws.String(`"0"`)}, "PreconditionFailed"},
		"over none of those": {awss3.PutObjectInput{Key: aws.String("never"), IfMatch: aws.String(`"0"`)}, "NoSuchKey"},
	} {
		if tt.in.Bucket == nil {
			tt.in.Bucket = aws.String("refuses")
		}
		if tt.in.Key == nil {
			tt.in.Key = aws.String("key")
		}
		w.put(c, "refuses", "there", "x")
		tt.in.Body = strings.NewReader("hello")
		_, err := c.PutObject(ctx, &tt.in)
		if got := outcome(err); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	// Nothing that was refused is left: there, key, the longest, not there.
	if n := w.files(); n != 4 {
		t.Errorf("%d files are left", n)
	}
}

func TestLists(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	w.bucket(c, "lists")
	keys := []string{"a", "a/", "a/1", "a/2", "a/b/3", "b", "b/1", "c\x01d & <e>", "z/ü 1", "z/ü 2"}
	for _, k := range keys {
		w.put(c, "lists", k, k)
	}
	for name, tt := range map[string]struct {
		in   awss3.ListObjectsV2Input
		want string
	}{
		"all":              {awss3.ListObjectsV2Input{}, strings.Join(keys, " | ")},
		"in folders":       {awss3.ListObjectsV2Input{Delimiter: aws.String("/")}, "a | b | c\x01d & <e> | a/* | b/* | z/*"},
		"in a folder":      {awss3.ListObjectsV2Input{Delimiter: aws.String("/"), Prefix: aws.String("a/")}, "a/ | a/1 | a/2 | a/b/*"},
		"by a prefix":      {awss3.ListObjectsV2Input{Prefix: aws.String("z/ü")}, "z/ü 1 | z/ü 2"},
		"by none":          {awss3.ListObjectsV2Input{Prefix: aws.String("q")}, ""},
		"by a word":        {awss3.ListObjectsV2Input{Delimiter: aws.String("ü ")}, "a | a/ | a/1 | a/2 | a/b/3 | b | b/1 | c\x01d & <e> | z/ü *"},
		"behind":           {awss3.ListObjectsV2Input{StartAfter: aws.String("a/2")}, "a/b/3 | b | b/1 | c\x01d & <e> | z/ü 1 | z/ü 2"},
		"behind a folder":  {awss3.ListObjectsV2Input{StartAfter: aws.String("a/"), Delimiter: aws.String("/")}, "b | c\x01d & <e> | b/* | z/*"},
		"none of it":       {awss3.ListObjectsV2Input{MaxKeys: aws.Int32(0)}, ""},
		"behind it in one": {awss3.ListObjectsV2Input{StartAfter: aws.String("a/1"), Prefix: aws.String("a/")}, "a/2 | a/b/3"},
	} {
		for size := range int32(4) {
			in := tt.in
			in.Bucket, in.EncodingType = aws.String("lists"), types.EncodingTypeUrl
			if size > 0 {
				if in.MaxKeys != nil {
					continue
				}
				in.MaxKeys = aws.Int32(size)
			}
			var objects, prefixes []string
			for {
				out, err := c.ListObjectsV2(ctx, &in)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if n := len(out.Contents) + len(out.CommonPrefixes); n != int(*out.KeyCount) || size > 0 && n > int(size) {
					t.Fatalf("%s: %d in a page of %d", name, n, size)
				}
				for _, o := range out.Contents {
					objects = append(objects, plain(t, *o.Key))
				}
				for _, p := range out.CommonPrefixes {
					prefixes = append(prefixes, plain(t, *p.Prefix)+"*")
				}
				if !*out.IsTruncated {
					break
				}
				in.ContinuationToken = out.NextContinuationToken
			}
			if got := strings.Join(append(objects, prefixes...), " | "); got != tt.want {
				t.Errorf("%s in pages of %d: %q, want %q", name, size, got, tt.want)
			}
		}
	}
	// The older way pages by names.
	in, got := &awss3.ListObjectsInput{Bucket: aws.String("lists"), Delimiter: aws.String("/"), MaxKeys: aws.Int32(1)}, []string{}
	for {
		out, err := c.ListObjects(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range out.Contents {
			got = append(got, *o.Key)
		}
		for _, p := range out.CommonPrefixes {
			got = append(got, *p.Prefix)
		}
		if !*out.IsTruncated {
			break
		}
		in.Marker = out.NextMarker
	}
	if diff := cmp.Diff([]string{"a", "a/", "b", "b/", "c\ufffdd & <e>", "z/"}, got); diff != "" {
		t.Error(diff)
	}
	_, err := c.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("lists"), ContinuationToken: aws.String("x")})
	if got := outcome(err); got != "InvalidArgument" {
		t.Errorf("a wrong token: %q", got)
	}
}

func TestDeleteObjects(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	w.bucket(c, "many")
	var ids []types.ObjectIdentifier
	for i := range 20 {
		k := fmt.Sprintf("k/%d", i)
		w.put(c, "many", k, k)
		ids = append(ids, types.ObjectIdentifier{Key: &k})
	}
	u := w.user("half", `"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::many/k/1*"`)
	out, err := u.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: aws.String("many"), Delete: &types.Delete{Objects: ids}})
	if err != nil || len(out.Deleted) != 11 || len(out.Errors) != 9 || *out.Errors[0].Code != "AccessDenied" {
		t.Fatalf("%+v, %v", out, err)
	}
	out, err = c.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: aws.String("many"), Delete: &types.Delete{Objects: ids, Quiet: aws.Bool(true)}})
	if err != nil || len(out.Deleted) != 0 || len(out.Errors) != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	if list, err := c.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("many")}); err != nil || len(list.Contents) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	if n := w.files(); n != 0 {
		t.Errorf("%d files", n)
	}
}

func TestCopies(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	w.bucket(c, "from")
	w.bucket(c, "there")
	if _, err := c.PutObject(ctx, &awss3.PutObjectInput{
		Bucket: aws.String("from"), Key: aws.String("a b+c"), Body: strings.NewReader("hello"), ContentType: aws.String("text/plain"), Metadata: map[string]string{"k": "v"}, Tagging: aws.String("t=1"),
	}); err != nil {
		t.Fatal(err)
	}
	source := aws.String("from/a%20b%2Bc")
	out, err := c.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: aws.String("there"), Key: aws.String("copy"), CopySource: source})
	if err != nil || *out.CopyObjectResult.ETag != `"5d41402abc4b2a76b9719d911017c592"` {
		t.Fatalf("%+v, %v", out, err)
	}
	head := func() *awss3.HeadObjectOutput {
		h, err := c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String("there"), Key: aws.String("copy")})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	if h := head(); *h.ContentType != "text/plain" || h.Metadata["k"] != "v" || *h.TagCount != 1 {
		t.Errorf("%+v", h)
	}
	if _, err := c.CopyObject(ctx, &awss3.CopyObjectInput{
		Bucket: aws.String("there"), Key: aws.String("copy"), CopySource: aws.String("/there/copy"), MetadataDirective: types.MetadataDirectiveReplace,
		Metadata: map[string]string{"n": "w"}, TaggingDirective: types.TaggingDirectiveReplace,
	}); err != nil {
		t.Fatal(err)
	}
	if h := head(); *h.ContentType != "binary/octet-stream" || h.Metadata["n"] != "w" || h.Metadata["k"] != "" || h.TagCount != nil {
		t.Errorf("%+v", h)
	}
	if got, _ := get(ctx, c, &awss3.GetObjectInput{Bucket: aws.String("there"), Key: aws.String("copy")}); got != "hello" {
		t.Errorf("%q", got)
	}
	reader := w.user("writer", `"Effect":"Allow","Action":["s3:PutObject","s3:PutObjectTagging","s3:ListBucket"],"Resource":"*"`)
	for name, tt := range map[string]struct {
		c    *awss3.Client
		in   awss3.CopyObjectInput
		want string
	}{
		"itself":        {c, awss3.CopyObjectInput{CopySource: aws.String("there/copy")}, "InvalidRequest"},
		"nothing":       {c, awss3.CopyObjectInput{CopySource: aws.String("there/none")}, "NoSuchKey"},
		"no bucket":     {c, awss3.CopyObjectInput{CopySource: aws.String("nobodys/none")}, "NoSuchBucket"},
		"no source":     {c, awss3.CopyObjectInput{CopySource: aws.String("x")}, "InvalidArgument"},
		"another's":     {w.client("AKIAOTHER"), awss3.CopyObjectInput{CopySource: source}, "AccessDenied"},
		"unreadable":    {reader, awss3.CopyObjectInput{CopySource: source}, "AccessDenied"},
		"a condition":   {c, awss3.CopyObjectInput{CopySource: source, CopySourceIfMatch: aws.String("x")}, "PreconditionFailed"},
		"another one":   {c, awss3.CopyObjectInput{CopySource: source, CopySourceIfNoneMatch: aws.String(`"5d41402abc4b2a76b9719d911017c592"`)}, "PreconditionFailed"},
		"a wrong owner": {c, awss3.CopyObjectInput{CopySource: source, ExpectedSourceBucketOwner: aws.String(other)}, "AccessDenied"},
	} {
		tt.in.Bucket, tt.in.Key = aws.String("there"), aws.String("copy")
		_, err := tt.c.CopyObject(ctx, &tt.in)
		if got := outcome(err); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	w := newWorld(t)
	c, foreign, ctx := w.client("AKIAOWNER"), w.client("AKIAOTHER"), t.Context()
	w.bucket(c, "guarded")
	w.put(c, "guarded", "pub/a", "hello")
	reads := w.user("r", `"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::guarded/pub/*"`)
	lists := w.user("ls", `"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::guarded","Condition":{"StringLike":{"s3:prefix":"pub/*"}}`)
	code := func(c *awss3.Client, key string) string {
		_, code := get(ctx, c, &awss3.GetObjectInput{Bucket: aws.String("guarded"), Key: &key})
		return code
	}
	for name, tt := range map[string][2]string{
		"the owner":               {code(c, "pub/a"), ""},
		"another account":         {code(foreign, "pub/a"), "AccessDenied"},
		"a reader":                {code(reads, "pub/a"), ""},
		"a reader elsewhere":      {code(reads, "a"), "AccessDenied"},
		"a reader of nothing":     {code(reads, "pub/none"), "AccessDenied"}, // who may not list does not learn it
		"who lists":               {code(lists, "pub/a"), "AccessDenied"},
		"who lists the folder":    {outcome(second(lists.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("guarded"), Prefix: aws.String("pub/")}))), ""},
		"who lists everything":    {outcome(second(lists.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: aws.String("guarded")}))), "AccessDenied"},
		"a reader who writes":     {outcome(second(reads.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String("guarded"), Key: aws.String("pub/b"), Body: strings.NewReader("x")}))), "AccessDenied"},
		"a reader who deletes":    {outcome(second(reads.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: aws.String("guarded"), Key: aws.String("pub/a")}))), "AccessDenied"},
		"a foreigner who deletes": {outcome(second(foreign.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: aws.String("guarded")}))), "AccessDenied"},
	} {
		if tt[0] != tt[1] {
			t.Errorf("%s: %q, want %q", name, tt[0], tt[1])
		}
	}
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{http.MethodGet, "/guarded/pub/a", "", http.StatusForbidden, "<Code>AccessDenied</Code><Message>Access Denied</Message>"},
		{http.MethodGet, "/guarded", "", http.StatusForbidden, "AccessDenied"},
		{http.MethodPut, "/guarded/x", "x", http.StatusForbidden, "AccessDenied"},
		{http.MethodDelete, "/guarded/pub/a", "", http.StatusForbidden, "AccessDenied"},
		{http.MethodPut, "/mine-now", "", http.StatusForbidden, "AccessDenied"},
		{http.MethodGet, "/nobodys/x", "", http.StatusForbidden, "AccessDenied"},
		{http.MethodPost, "/guarded?delete", "<Delete><Object><Key>pub/a</Key></Object></Delete>", http.StatusOK, "<Code>AccessDenied</Code>"},
	} {
		if status, body := w.plainly(tt.method, tt.path, tt.body); status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s unsigned: %d %s", tt.method, tt.path, status, body)
		}
	}
	if got := code(c, "pub/a"); got != "" {
		t.Errorf("afterwards: %q", got)
	}
}

func plain(t *testing.T, encoded string) string {
	t.Helper()
	s, err := url.PathUnescape(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
