package awschunked

import (
	"crypto/sha1" //nolint:gosec // a checksum that clients choose, not a proof
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"strings"
)

// checksumPrefix begins the names of headers and trailers that hold one.
const checksumPrefix = "x-amz-checksum-"

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	// nvme is CRC-64/NVME's polynomial, bits reversed.
	nvme = crc64.MakeTable(0x9a6c9329ac4bc9b5)
)

// newChecksum makes the hash that a header or trailer is named after, nil for
// an unknown one.
func newChecksum(name string) hash.Hash {
	algorithm, ok := strings.CutPrefix(strings.ToLower(name), checksumPrefix)
	if !ok {
		return nil
	}
	switch algorithm {
	case "crc32":
		return crc32.NewIEEE()
	case "crc32c":
		return crc32.New(castagnoli)
	case "crc64nvme":
		return crc64.New(nvme)
	case "sha1":
		return sha1.New() //nolint:gosec // as above
	case "sha256":
		return sha256.New()
	}
	return nil
}

// encode is a checksum as it travels.
func encode(h hash.Hash) string { return base64.StdEncoding.EncodeToString(h.Sum(nil)) }
