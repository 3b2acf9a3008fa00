package s3

import (
	"cmp"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/s3"
	"roadstead.dev/internal/model"
)

// refused are members of inputs that would have to act and cannot, with the
// headers that they travel in.
var refused = []struct{ member, header string }{
	{"SSECustomerAlgorithm", "x-amz-server-side-encryption-customer-algorithm"},
	{"SSECustomerKey", "x-amz-server-side-encryption-customer-key"},
	{"SSECustomerKeyMD5", "x-amz-server-side-encryption-customer-key-MD5"},
	{"CopySourceSSECustomerAlgorithm", "x-amz-copy-source-server-side-encryption-customer-algorithm"},
	{"CopySourceSSECustomerKey", "x-amz-copy-source-server-side-encryption-customer-key"},
	{"SSEKMSKeyId", "x-amz-server-side-encryption-aws-kms-key-id"},
	{"SSEKMSEncryptionContext", "x-amz-server-side-encryption-context"},
	{"WebsiteRedirectLocation", "x-amz-website-redirect-location"},
	{"WriteOffsetBytes", "x-amz-write-offset-bytes"},
	{"MpuObjectSize", "x-amz-mp-object-size"},
}

// checkHeaders refuses what an object cannot be written or read with.
func checkHeaders(in any) error {
	present := func(name string) bool {
		f := reflect.ValueOf(in).Elem().FieldByName(name)
		return f.IsValid() && !f.IsZero()
	}
	for _, r := range refused {
		if present(r.member) {
			return notImplemented(r.header)
		}
	}
	if sse := field(in, "ServerSideEncryption"); sse != "" && sse != string(s3.ServerSideEncryptionAes256) {
		return notImplemented("x-amz-server-side-encryption")
	}
	if key, _ := reflect.TypeAssert[*bool](fieldOr(in, "BucketKeyEnabled")); isTrue(key) {
		return notImplemented("x-amz-server-side-encryption-bucket-key-enabled")
	}
	if class := field(in, "StorageClass"); class != "" && class != string(s3.StorageClassStandard) {
		return fault(http.StatusBadRequest, "InvalidStorageClass", "The storage class you specified is not valid", detail("StorageClassRequested", class))
	}
	if slices.ContainsFunc([]string{"ObjectLockLegalHoldStatus", "ObjectLockMode", "ObjectLockRetainUntilDate"}, present) {
		return fault(http.StatusBadRequest, "InvalidRequest", "Bucket is missing Object Lock Configuration")
	}
	return nil
}

func fieldOr(in any, name string) reflect.Value {
	if f := reflect.ValueOf(in).Elem().FieldByName(name); f.IsValid() {
		return f
	}
	return reflect.ValueOf((*bool)(nil))
}

const (
	defaultType = "binary/octet-stream"
	// maxMetadata is how many bytes names and values of metadata may have.
	maxMetadata = 2 << 10
)

// headOf is what an input says of the object that it makes.
func headOf(in any) (model.S3Head, error) {
	h := model.S3Head{
		ContentType:        cmp.Or(field(in, "ContentType"), defaultType),
		CacheControl:       field(in, "CacheControl"),
		ContentDisposition: field(in, "ContentDisposition"),
		ContentEncoding:    withoutChunks(field(in, "ContentEncoding")),
		ContentLanguage:    field(in, "ContentLanguage"),
		Expires:            field(in, "Expires"),
	}
	meta, _ := reflect.TypeAssert[map[string]string](reflect.ValueOf(in).Elem().FieldByName("Metadata"))
	size := 0
	for k, v := range meta {
		if h.Metadata == nil {
			h.Metadata = map[string]string{}
		}
		h.Metadata[strings.ToLower(k)] = v
		size += len(k) + len(v)
	}
	if size > maxMetadata {
		return h, fault(http.StatusBadRequest, "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size", api.Detail{Name: "MaxSizeAllowed", Value: "2048"})
	}
	if text := field(in, "Tagging"); text != "" {
		var err error
		if h.Tags, err = tagsFromHeader(text); err != nil {
			return h, err
		}
	}
	return h, nil
}

// withoutChunks is a content's encoding without that of its way here.
func withoutChunks(encoding string) string {
	if !strings.Contains(encoding, "aws-chunked") {
		return encoding
	}
	var kept []string
	for e := range strings.SplitSeq(encoding, ",") {
		if e = strings.TrimSpace(e); e != "" && !strings.EqualFold(e, "aws-chunked") {
			kept = append(kept, e)
		}
	}
	return strings.Join(kept, ",")
}

func sortBy[T any](list []T, key func(T) string) {
	slices.SortFunc(list, func(a, b T) int { return strings.Compare(key(a), key(b)) })
}

func copyMetadata(m map[string]string) map[string]string { return maps.Clone(m) }
