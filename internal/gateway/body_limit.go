package gateway

// Sizes of bodies, in bytes.
const (
	// smallBody is what is read before anybody is known to have sent it.
	smallBody = 64 << 10
	// unsignedBody is the limit of requests without a signature, the largest of
	// which carry an assertion of another identity provider's.
	unsignedBody = 256 << 10
	// commonBody is the limit of the operations that have none of their own. The
	// documents that they take, policies and definitions, are far smaller.
	commonBody = 1 << 20
)

// limits of services, and of operations where the head names them. Each is
// what the longest input that AWS documents takes on the wire.
var limits = map[string]int64{
	// A part of a layer has 20 MiB, in base64.
	"ecr.UploadLayerPart": 28 << 20,
	// A manifest has 4 MiB, in a JSON string.
	"ecr.PutImage": 10 << 20,
	// A batch has 1 MiB of messages, in JSON strings, and 10,000 timestamps.
	"logs.PutLogEvents": 8 << 20,
	// An identity provider's metadata has 10 million characters, in a form.
	"iam": 30 << 20,
	// Keys of a thousand objects, or entity tags of ten thousand parts.
	"s3.DeleteObjects":           4 << 20,
	"s3.CompleteMultipartUpload": 4 << 20,
}

// limitOf is the largest body of a request for an operation, as sent and as
// expanded. m and name are what the request's head tells.
func limitOf(m *mounted, name string) int64 {
	if m == nil {
		return unsignedBody
	}
	if n, ok := limits[m.api.Name+"."+name]; ok {
		return n
	}
	if n, ok := limits[m.api.Name]; ok {
		return n
	}
	return commonBody
}
