package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestKillWhileObjectsAreWritten kills the server under clients who write,
// replace, delete and complete, again and again: what was acknowledged is so
// afterwards, and no file is left that belongs to nothing.
func TestKillWhileObjectsAreWritten(t *testing.T) {
	t.Parallel()
	sv := ownServer(t, "fake")
	c := s3.NewFromConfig(sv.cfg, func(o *s3.Options) { o.UsePathStyle, o.RetryMaxAttempts = true, 1 })
	for bucket, status := range map[string]types.BucketVersioningStatus{"plain": "", "versions": types.BucketVersioningStatusEnabled} {
		if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
			t.Fatal(err)
		}
		if status == "" {
			continue
		}
		if _, err := c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: status}}); err != nil {
			t.Fatal(err)
		}
	}
	const writers = 4
	states := make([]map[string]*outcomes, writers)
	for w := range states {
		states[w] = map[string]*outcomes{}
	}
	for round := range 3 {
		var g sync.WaitGroup
		for w := range writers {
			g.Go(func() {
				o := &objectWriter{c: c, bucket: []string{"plain", "versions"}[w%2], name: fmt.Sprintf("%d-%d", w, round), states: states[w]}
				o.run(t.Context())
			})
		}
		<-time.After(1500 * time.Millisecond)
		err := sv.kill()
		g.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if err := sv.start(); err != nil {
			t.Fatal(err)
		}
	}
	acknowledged := 0
	for w, keys := range states {
		for key, want := range keys {
			acknowledged += want.acknowledged
			if got := readObject(t, c, []string{"plain", "versions"}[w%2], key); !want.possible(got) {
				t.Errorf("%s holds %.20q, and may hold %.20q", key, got, want.may)
			}
		}
	}
	t.Logf("%d acknowledged writes", acknowledged)
	if acknowledged < 30 {
		t.Errorf("%d writes were acknowledged: too few to tell", acknowledged)
	}
	eventually(t, 20*time.Second, "only files are left that belong to something", func() error {
		have := 0
		if err := filepath.WalkDir(filepath.Join(sv.dataDir, "s3"), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				have++
			}
			return err
		}); err != nil {
			return err
		}
		if want := contentsOf(t, c, "plain") + contentsOf(t, c, "versions"); have != want {
			return errorf("there are %d files of %d contents", have, want)
		}
		return nil
	})
}

// outcomes are what a key may hold: "" for nothing.
type outcomes struct {
	may          []string
	acknowledged int
}

func (o *outcomes) possible(content string) bool {
	return slices.Contains(o.may, content)
}

// objectWriter writes objects until the server is gone, and notes what they
// may hold.
type objectWriter struct {
	c            *s3.Client
	bucket, name string
	states       map[string]*outcomes
}

func (w *objectWriter) run(ctx context.Context) {
	for i := 0; ; i++ {
		key := fmt.Sprintf("%s-%d", w.name, i%7)
		content := fmt.Sprintf("%s %d %s", key, i, strings.Repeat("x", 4000))
		var err error
		switch i % 5 {
		case 0, 1, 2:
			err = w.try(key, content, func() error {
				_, err := w.c.PutObject(ctx, &s3.PutObjectInput{Bucket: &w.bucket, Key: &key, Body: strings.NewReader(content)})
				return err
			})
		case 3:
			err = w.try(key, "", func() error {
				_, err := w.c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &w.bucket, Key: &key})
				return err
			})
		case 4:
			err = w.try(key, content, func() error { return w.multipart(ctx, key, content) })
		}
		if err != nil {
			return
		}
	}
}

// try writes, and notes that the key holds content where that was acknowledged,
// or may hold it where it was not.
func (w *objectWriter) try(key, content string, write func() error) error {
	o := w.states[key]
	if o == nil {
		o = &outcomes{may: []string{""}}
		w.states[key] = o
	}
	if err := write(); err != nil {
		o.may = append(o.may, content)
		return err
	}
	o.may, o.acknowledged = []string{content}, o.acknowledged+1
	return nil
}

func (w *objectWriter) multipart(ctx context.Context, key, content string) error {
	u, err := w.c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &w.bucket, Key: &key})
	if err != nil {
		return err
	}
	p, err := w.c.UploadPart(ctx, &s3.UploadPartInput{Bucket: &w.bucket, Key: &key, UploadId: u.UploadId, PartNumber: new(int32(1)), Body: strings.NewReader(content)})
	if err != nil {
		return err
	}
	_, err = w.c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &w.bucket, Key: &key, UploadId: u.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: new(int32(1)), ETag: p.ETag}}},
	})
	return err
}

// readObject is what an object holds, "" where there is none.
func readObject(t *testing.T, c *s3.Client, bucket, key string) string {
	t.Helper()
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		if strings.Contains(err.Error(), "NoSuchKey") {
			return ""
		}
		t.Fatal(err)
	}
	defer out.Body.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, out.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// contentsOf counts the versions of a bucket's objects and the parts of its
// uploads: each has one file here.
func contentsOf(t *testing.T, c *s3.Client, bucket string) int {
	t.Helper()
	n := 0
	versions := s3.NewListObjectVersionsPaginator(c, &s3.ListObjectVersionsInput{Bucket: &bucket})
	for versions.HasMorePages() {
		page, err := versions.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n += len(page.Versions)
	}
	uploads, err := c.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range uploads.Uploads {
		parts, err := c.ListParts(t.Context(), &s3.ListPartsInput{Bucket: &bucket, Key: u.Key, UploadId: u.UploadId})
		if err != nil {
			t.Fatal(err)
		}
		n += len(parts.Parts)
	}
	return n
}
