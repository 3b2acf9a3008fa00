package model

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// S3BucketName is who has the name of a bucket, which is one for all accounts
// and regions. Its record has neither, and the name for an id.
type S3BucketName struct {
	Account string `json:"account"`
	Region  string `json:"region"`
}

// S3Bucket is a bucket. Its record's id is its name.
type S3Bucket struct {
	Name string `json:"name"`
	// ID begins the ids of the bucket's objects: a bucket that is made again
	// under the name has another.
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"createdAt"`
	Tags      Tags      `json:"tags,omitzero"`
	// Policy as it was put, or empty.
	Policy string `json:"policy,omitempty"`
	// PublicAccess is what of the block of public access is on; nil where it
	// was deleted.
	PublicAccess *S3PublicAccessBlock `json:"publicAccess,omitempty"`
	// Ownership of objects; empty where the controls were deleted.
	Ownership string `json:"ownership,omitempty"`
	// Versioning is empty, Enabled or Suspended.
	Versioning string `json:"versioning,omitempty"`
	// DeletingSince is when somebody began to delete the bucket: nothing is
	// written to it for a while.
	DeletingSince time.Time `json:"deletingSince,omitzero"`
}

// S3DeletionLasts is how long a bucket is kept from writers by DeletingSince.
const S3DeletionLasts = time.Minute

// Deleting tells whether somebody is deleting the bucket.
func (b *S3Bucket) Deleting(now time.Time) bool {
	return !b.DeletingSince.IsZero() && now.Before(b.DeletingSince.Add(S3DeletionLasts))
}

// S3PublicAccessBlock are the four settings of the block of public access.
type S3PublicAccessBlock struct {
	BlockPublicAcls       bool `json:"blockPublicAcls"`
	IgnorePublicAcls      bool `json:"ignorePublicAcls"`
	BlockPublicPolicy     bool `json:"blockPublicPolicy"`
	RestrictPublicBuckets bool `json:"restrictPublicBuckets"`
}

// S3Head is what a client says of an object beyond its bytes.
type S3Head struct {
	ContentType        string `json:"contentType,omitempty"`
	CacheControl       string `json:"cacheControl,omitempty"`
	ContentDisposition string `json:"contentDisposition,omitempty"`
	ContentEncoding    string `json:"contentEncoding,omitempty"`
	ContentLanguage    string `json:"contentLanguage,omitempty"`
	Expires            string `json:"expires,omitempty"`
	// Metadata by name in lower case, without the prefix of its headers.
	Metadata map[string]string `json:"metadata,omitempty"`
	Tags     Tags              `json:"tags,omitzero"`
}

// S3Checksum is a checksum of an object or a part.
type S3Checksum struct {
	Algorithm string `json:"algorithm"`
	// Value in base64; of a composite one, with a dash and the number of parts.
	Value string `json:"value"`
	// Type is FULL_OBJECT or COMPOSITE.
	Type string `json:"type,omitempty"`
}

// S3Piece is a file that holds a part of an object's bytes.
type S3Piece struct {
	ID   string `json:"id"`
	Size int64  `json:"size"`
	// Checksum of the piece, where it was a part with one.
	Checksum string `json:"checksum,omitempty"`
}

// S3Object is a version of an object. The newest version's record has the id
// S3ObjectID, in the table of objects. Every version that was made while its
// bucket had versioning, the newest too, has one in the table of versions, with
// the id S3VersionID.
type S3Object struct {
	S3Head
	Key string `json:"key"`
	// Version is the version's id: empty for what was written before the bucket
	// had versioning, "null" for that once there are later versions and for what
	// is written while versioning is suspended.
	Version string `json:"version,omitempty"`
	// Sequence is one more than that of the version that was the newest before;
	// 0 where Version is empty.
	Sequence int64 `json:"sequence,omitempty"`
	// DeleteMarker: the object has been deleted; there are older versions.
	DeleteMarker bool  `json:"deleteMarker,omitempty"`
	Size         int64 `json:"size"`
	// ETag without the quotes.
	ETag     string    `json:"etag,omitempty"`
	Modified time.Time `json:"modified"`
	// Pieces hold the bytes, in order; each is a part where Parts is set.
	Pieces   []S3Piece   `json:"pieces,omitempty"`
	Parts    bool        `json:"parts,omitempty"`
	Checksum *S3Checksum `json:"checksum,omitempty"`
}

// S3ObjectID is the id of an object's record. Those of a bucket come in the
// order of their keys' bytes.
func S3ObjectID(bucketID, key string) string { return bucketID + "/" + key }

// S3NullVersion is the id of the version that has none of its own.
const S3NullVersion = "null"

// S3VersionPrefix begins the ids of the records of versions of the objects
// whose keys begin with prefix. They come in the order of the keys' bytes.
func S3VersionPrefix(bucketID, prefix string) string {
	return bucketID + "/" + strings.ReplaceAll(prefix, "\x01", "\x01\x02")
}

// maxS3Sequence is more versions than an object ever has.
const maxS3Sequence = 1<<48 - 1

// S3VersionID is the id of the record of the version of a key with a sequence.
// Those of a key come newest first.
func S3VersionID(bucketID, key string, sequence int64) string {
	return fmt.Sprintf("%s\x01\x01%012x", S3VersionPrefix(bucketID, key), maxS3Sequence-sequence)
}

// S3Upload is a multipart upload. Its record's id is S3ObjectID and, behind a
// slash, the upload's id.
type S3Upload struct {
	S3Head
	Key       string    `json:"key"`
	ID        string    `json:"id"`
	Initiated time.Time `json:"initiated"`
	// Initiator is the ARN of who began it.
	Initiator string `json:"initiator"`
	// Algorithm of the parts' checksums and the type of the whole's; empty
	// where the client chose none.
	Algorithm    string `json:"algorithm,omitempty"`
	ChecksumType string `json:"checksumType,omitempty"`
}

// S3Part is a part of a multipart upload. Its record's id is the upload's and,
// behind a slash, the number in five digits.
type S3Part struct {
	Number   int32       `json:"number"`
	Piece    S3Piece     `json:"piece"`
	ETag     string      `json:"etag"`
	Modified time.Time   `json:"modified"`
	Checksum *S3Checksum `json:"checksum,omitempty"`
}

// S3BucketARN is a bucket's.
func S3BucketARN(region, name string) string {
	return "arn:" + Partition(region) + ":s3:::" + name
}

// CanonicalUserID is the id by which S3 knows an account.
func CanonicalUserID(account string) string {
	sum := sha256.Sum256([]byte("canonical user of account " + account))
	return hex.EncodeToString(sum[:])
}
