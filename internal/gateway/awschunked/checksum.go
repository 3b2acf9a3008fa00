package awschunked

import (
	"hash"
	"net/http"
	"strings"

	"roadstead.dev/internal/checksum"
)

// checksumPrefix begins the names of headers and trailers that hold one.
const checksumPrefix = "x-amz-checksum-"

// newChecksum makes the hash that a header or trailer is named after, nil for
// an unknown one.
func newChecksum(name string) hash.Hash {
	algorithm, ok := strings.CutPrefix(strings.ToLower(name), checksumPrefix)
	if !ok {
		return nil
	}
	return checksum.New(strings.ToUpper(algorithm))
}

// Verify checks a whole body against the checksums that headers give.
func Verify(h http.Header, body []byte) error {
	for name, values := range h {
		sum := newChecksum(name)
		if sum == nil {
			continue
		}
		_, _ = sum.Write(body) // a hash never fails
		if len(values) != 1 || values[0] != encode(sum) {
			return &ChecksumError{strings.TrimPrefix(strings.ToLower(name), checksumPrefix)}
		}
	}
	return nil
}

// encode is a checksum as it travels.
func encode(h hash.Hash) string { return checksum.Encode(h) }
