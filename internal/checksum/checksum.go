// Package checksum has the checksums that clients of S3 choose from.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
package checksum

import (
	"crypto/sha1" //nolint:gosec // a checksum that clients choose, not a proof
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"hash/crc64"
)

// The algorithms, as they are called.
const (
	CRC32     = "CRC32"
	CRC32C    = "CRC32C"
	CRC64NVME = "CRC64NVME"
	SHA1      = "SHA1"
	SHA256    = "SHA256"
)

// Algorithms are all of them.
var Algorithms = []string{CRC32, CRC32C, CRC64NVME, SHA1, SHA256}

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	// nvme is CRC-64/NVME's polynomial, bits reversed.
	nvme = crc64.MakeTable(0x9a6c9329ac4bc9b5)
)

// New makes a hash; nil for an algorithm that is not among Algorithms.
func New(algorithm string) hash.Hash {
	switch algorithm {
	case CRC32:
		return crc32.NewIEEE()
	case CRC32C:
		return crc32.New(castagnoli)
	case CRC64NVME:
		return crc64.New(nvme)
	case SHA1:
		return sha1.New() //nolint:gosec // as above
	case SHA256:
		return sha256.New()
	}
	return nil
}

// Encode is a checksum as it travels.
func Encode(h hash.Hash) string { return base64.StdEncoding.EncodeToString(h.Sum(nil)) }

// Size is how many bytes an algorithm's checksums have, 0 for an unknown one.
func Size(algorithm string) int {
	if h := New(algorithm); h != nil {
		return h.Size()
	}
	return 0
}

// Valid tells whether a text can be an algorithm's checksum.
func Valid(algorithm, text string) bool {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	return err == nil && len(b) > 0 && len(b) == Size(algorithm)
}
