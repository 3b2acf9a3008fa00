package s3_test

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const mib = 1 << 20

// begin begins an upload and sends parts of it.
func (w *world) begin(c *awss3.Client, in *awss3.CreateMultipartUploadInput, parts ...[]byte) (string, []types.CompletedPart) {
	w.t.Helper()
	in.Bucket, in.Key = aws.String("uploads"), aws.String("big")
	up, err := c.CreateMultipartUpload(w.t.Context(), in)
	if err != nil {
		w.t.Fatal(err)
	}
	var done []types.CompletedPart
	for i, b := range parts {
		out, err := c.UploadPart(w.t.Context(), &awss3.UploadPartInput{
			Bucket: in.Bucket, Key: in.Key, UploadId: up.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(b), ChecksumAlgorithm: in.ChecksumAlgorithm,
		})
		if err != nil {
			w.t.Fatal(err)
		}
		done = append(done, types.CompletedPart{PartNumber: aws.Int32(int32(i + 1)), ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32, ChecksumSHA256: out.ChecksumSHA256})
	}
	return *up.UploadId, done
}

func (w *world) complete(c *awss3.Client, id string, parts []types.CompletedPart) (*awss3.CompleteMultipartUploadOutput, error) {
	return c.CompleteMultipartUpload(w.t.Context(), &awss3.CompleteMultipartUploadInput{
		Bucket: aws.String("uploads"), Key: aws.String("big"), UploadId: &id, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
}

func TestMultipartUploads(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	w.bucket(c, "uploads")
	b, key := aws.String("uploads"), aws.String("big")
	one, two, three := bytes.Repeat([]byte("1"), 5*mib), bytes.Repeat([]byte("2"), 5*mib+3), []byte("three")
	whole := string(one) + string(two) + string(three)
	for name, tt := range map[string]struct {
		algorithm types.ChecksumAlgorithm
		kind      types.ChecksumType
		// plain is the algorithm of an object that was put in one piece, whose
		// checksum must be the same; empty where the whole's is composite.
		plain types.ChecksumAlgorithm
	}{
		"by default":  {"", "", types.ChecksumAlgorithmCrc64nvme},
		"CRC32 whole": {types.ChecksumAlgorithmCrc32, types.ChecksumTypeFullObject, types.ChecksumAlgorithmCrc32},
		"CRC32":       {types.ChecksumAlgorithmCrc32, "", ""},
		"SHA256":      {types.ChecksumAlgorithmSha256, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			id, parts := w.begin(c, &awss3.CreateMultipartUploadInput{
				ChecksumAlgorithm: tt.algorithm, ChecksumType: tt.kind, ContentType: aws.String("text/x"), Metadata: map[string]string{"k": "v"}, Tagging: aws.String("a=b"),
			}, one, two, three)
			list, err := c.ListParts(ctx, &awss3.ListPartsInput{Bucket: b, Key: key, UploadId: &id, MaxParts: aws.Int32(2)})
			if err != nil || len(list.Parts) != 2 || !*list.IsTruncated || *list.Parts[1].Size != 5*mib+3 {
				t.Fatalf("%+v, %v", list, err)
			}
			list, err = c.ListParts(ctx, &awss3.ListPartsInput{Bucket: b, Key: key, UploadId: &id, PartNumberMarker: list.NextPartNumberMarker})
			if err != nil || len(list.Parts) != 1 || *list.IsTruncated || *list.Parts[0].ETag != *parts[2].ETag {
				t.Fatalf("%+v, %v", list, err)
			}
			done, err := w.complete(c, id, parts)
			if err != nil {
				t.Fatal(err)
			}
			sums := md5.New()
			for _, p := range [][]byte{one, two, three} {
				s := md5.Sum(p)
				sums.Write(s[:])
			}
			if want := fmt.Sprintf(`"%s-3"`, hex.EncodeToString(sums.Sum(nil))); *done.ETag != want {
				t.Errorf("%s, want %s", *done.ETag, want)
			}
			if got, code := get(ctx, c, &awss3.GetObjectInput{Bucket: b, Key: key}); got != whole {
				t.Errorf("%d bytes, %q", len(got), code)
			}
			if got, _ := get(ctx, c, &awss3.GetObjectInput{Bucket: b, Key: key, Range: aws.String("bytes=5242878-10485763")}); got != whole[5242878:10485764] {
				t.Errorf("a range: %d bytes", len(got))
			}
			if got, _ := get(ctx, c, &awss3.GetObjectInput{Bucket: b, Key: key, PartNumber: aws.Int32(3)}); got != "three" {
				t.Errorf("a part: %q", got)
			}
			head, err := c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: b, Key: key, ChecksumMode: types.ChecksumModeEnabled})
			if err != nil || *head.ContentType != "text/x" || head.Metadata["k"] != "v" || *head.ContentLength != int64(len(whole)) {
				t.Fatalf("%+v, %v", head, err)
			}
			if tt.plain != "" {
				put, err := c.PutObject(ctx, &awss3.PutObjectInput{Bucket: b, Key: aws.String("plain"), Body: strings.NewReader(whole), ChecksumAlgorithm: tt.plain})
				if err != nil {
					t.Fatal(err)
				}
				if head.ChecksumType != types.ChecksumTypeFullObject || str(put.ChecksumCRC32) != str(head.ChecksumCRC32) || str(put.ChecksumCRC64NVME) != str(head.ChecksumCRC64NVME) {
					t.Errorf("%q %q, want %q %q", str(head.ChecksumCRC32), str(head.ChecksumCRC64NVME), str(put.ChecksumCRC32), str(put.ChecksumCRC64NVME))
				}
			} else if sum := str(head.ChecksumCRC32) + str(head.ChecksumSHA256); !strings.HasSuffix(sum, "-3") || head.ChecksumType != types.ChecksumTypeComposite {
				t.Errorf("%q, %s", sum, head.ChecksumType)
			}
			if _, err := w.complete(c, id, parts); outcome(err) != "NoSuchUpload" {
				t.Errorf("again: %v", err)
			}
		})
	}
	if n := w.files(); n != 4 {
		t.Errorf("%d files for two objects of 3 and 1", n)
	}
}

func str(p *string) string { return aws.ToString(p) }

func TestMultipartRefusals(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	w.bucket(c, "uploads")
	b, key := aws.String("uploads"), aws.String("big")
	small, large := []byte("small"), bytes.Repeat([]byte("x"), 5*mib)
	id, parts := w.begin(c, &awss3.CreateMultipartUploadInput{}, small, large)
	wrong := types.CompletedPart{PartNumber: aws.Int32(2), ETag: aws.String(`"0"`)}
	for name, tt := range map[string]struct {
		parts []types.CompletedPart
		want  string
	}{
		"none":         {nil, "MalformedXML"},
		"a small part": {parts, "EntityTooSmall"},
		"backwards":    {[]types.CompletedPart{parts[1], parts[0]}, "InvalidPartOrder"},
		"twice":        {[]types.CompletedPart{parts[1], parts[1]}, "InvalidPartOrder"},
		"another tag":  {[]types.CompletedPart{wrong}, "InvalidPart"},
		"no such part": {[]types.CompletedPart{{PartNumber: aws.Int32(7), ETag: parts[0].ETag}}, "InvalidPart"},
	} {
		if _, err := w.complete(c, id, tt.parts); outcome(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	for name, tt := range map[string]struct {
		number int32
		id     string
		want   string
	}{
		"part 0": {0, id, "InvalidArgument"}, "part 10001": {10001, id, "InvalidArgument"}, "no upload": {1, strings.Repeat("A", 64), "NoSuchUpload"},
		"a path": {1, "../" + id, "NoSuchUpload"},
	} {
		_, err := c.UploadPart(ctx, &awss3.UploadPartInput{Bucket: b, Key: key, UploadId: &tt.id, PartNumber: &tt.number, Body: bytes.NewReader(small)})
		if got := outcome(err); got != tt.want {
			t.Errorf("%s: %q, want %s", name, got, tt.want)
		}
	}
	_, err := c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: b, Key: key, ChecksumAlgorithm: types.ChecksumAlgorithmSha256, ChecksumType: types.ChecksumTypeFullObject})
	if got := outcome(err); got != "InvalidRequest" {
		t.Errorf("a whole SHA-256: %q", got)
	}
	// A part that is sent again takes the place of the first; a copy is a part.
	w.put(c, "uploads", "source", "0123456789")
	cp, err := c.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{
		Bucket: b, Key: key, UploadId: &id, PartNumber: aws.Int32(3), CopySource: aws.String("uploads/source"), CopySourceRange: aws.String("bytes=2-5"),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{
		Bucket: b, Key: key, UploadId: &id, PartNumber: aws.Int32(3), CopySource: aws.String("uploads/source"), CopySourceRange: aws.String("bytes=2-15"),
	})
	if got := outcome(err); got != "InvalidArgument" {
		t.Errorf("a range too far: %q", got)
	}
	again, err := c.UploadPart(ctx, &awss3.UploadPartInput{Bucket: b, Key: key, UploadId: &id, PartNumber: aws.Int32(2), Body: bytes.NewReader(append(large, 'y'))})
	if err != nil {
		t.Fatal(err)
	}
	uploads, err := c.ListMultipartUploads(ctx, &awss3.ListMultipartUploadsInput{Bucket: b})
	if err != nil || len(uploads.Uploads) != 1 || *uploads.Uploads[0].UploadId != id {
		t.Fatalf("%+v, %v", uploads, err)
	}
	if _, err := w.complete(c, id, []types.CompletedPart{{PartNumber: aws.Int32(2), ETag: again.ETag}, {PartNumber: aws.Int32(3), ETag: cp.CopyPartResult.ETag}}); err != nil {
		t.Fatal(err)
	}
	if got, _ := get(ctx, c, &awss3.GetObjectInput{Bucket: b, Key: key}); got != string(large)+"y2345" {
		t.Errorf("%d bytes", len(got))
	}
	if n := w.files(); n != 3 {
		t.Errorf("%d files", n)
	}
	id, _ = w.begin(c, &awss3.CreateMultipartUploadInput{}, small)
	for _, want := range []string{"", "NoSuchUpload"} {
		_, err := c.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: b, Key: key, UploadId: &id})
		if got := outcome(err); got != want {
			t.Errorf("abort: %q, want %q", got, want)
		}
	}
	if n := w.files(); n != 3 {
		t.Errorf("%d files after the upload was aborted", n)
	}
}

func TestListMultipartUploads(t *testing.T) {
	w := newWorld(t)
	c, ctx := w.client("AKIAOWNER"), t.Context()
	w.bucket(c, "uploads")
	var want []string
	for _, key := range []string{"a", "a/b", "a/c", "b", "b"} {
		up, err := c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: aws.String("uploads"), Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, key+" "+*up.UploadId)
	}
	in, got := &awss3.ListMultipartUploadsInput{Bucket: aws.String("uploads"), MaxUploads: aws.Int32(2)}, map[string]bool{}
	for pages := 0; ; pages++ {
		out, err := c.ListMultipartUploads(ctx, in)
		if err != nil || pages > 5 {
			t.Fatal(pages, err)
		}
		for _, u := range out.Uploads {
			got[*u.Key+" "+*u.UploadId] = true
		}
		if !*out.IsTruncated {
			break
		}
		in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
	}
	for _, u := range want {
		if !got[u] {
			t.Errorf("%s is not listed", u)
		}
	}
	out, err := c.ListMultipartUploads(ctx, &awss3.ListMultipartUploadsInput{Bucket: aws.String("uploads"), Delimiter: aws.String("/")})
	if err != nil || len(out.Uploads) != 3 || len(out.CommonPrefixes) != 1 || *out.CommonPrefixes[0].Prefix != "a/" {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := c.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: aws.String("uploads")}); err != nil {
		t.Errorf("delete the bucket: %v", err)
	}
}
