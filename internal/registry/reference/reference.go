// Package reference parses the names of the OCI distribution protocol:
// repositories, tags, digests and upload ids. What it accepts is safe as a
// path element; it never touches the disk.
package reference

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Errors that the parsers wrap.
var (
	ErrName   = errors.New("invalid repository name")
	ErrTag    = errors.New("invalid tag")
	ErrDigest = errors.New("invalid digest")
)

// The bounds of ECR's repository names.
const (
	minName = 2
	maxName = 256
)

var (
	name = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tag  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	uuid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

// CheckName returns an error that wraps ErrName unless s is a repository name
// that ECR allows.
func CheckName(s string) error {
	if len(s) < minName || len(s) > maxName || !name.MatchString(s) {
		return fmt.Errorf("%w: %q", ErrName, s)
	}
	return nil
}

// CheckTag returns an error that wraps ErrTag unless s is a tag.
func CheckTag(s string) error {
	if !tag.MatchString(s) {
		return fmt.Errorf("%w: %q", ErrTag, s)
	}
	return nil
}

// IsUploadID tells whether s has the form of an upload's id, a lowercase UUID.
func IsUploadID(s string) bool { return uuid.MatchString(s) }

// Digest is a content digest that has been checked: "<algorithm>:<hex>".
type Digest string

// The algorithms that are served, and the length of their hexadecimal form.
const (
	SHA256 = "sha256"
	SHA512 = "sha512"
)

// ParseDigest checks the form of a digest. Upper-case hexadecimal digits are
// refused: a content has one name.
func ParseDigest(s string) (Digest, error) {
	algorithm, hex, ok := strings.Cut(s, ":")
	want := 0
	switch algorithm {
	case SHA256:
		want = 64
	case SHA512:
		want = 128
	}
	if !ok || want == 0 || len(hex) != want {
		return "", fmt.Errorf("%w: %q", ErrDigest, s)
	}
	for _, c := range []byte(hex) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", fmt.Errorf("%w: %q", ErrDigest, s)
		}
	}
	return Digest(s), nil
}

// Algorithm is what stands before the colon.
func (d Digest) Algorithm() string {
	a, _, _ := strings.Cut(string(d), ":")
	return a
}

// Hex is what stands behind the colon.
func (d Digest) Hex() string {
	_, h, _ := strings.Cut(string(d), ":")
	return h
}

func (d Digest) String() string { return string(d) }

// Reference names a manifest in a repository: by digest, or by tag.
type Reference struct {
	Tag    string
	Digest Digest
}

// Parse reads a tag or a digest. What holds a colon is a digest, and a wrong
// one wraps ErrDigest; anything else that is no tag wraps ErrTag.
func Parse(s string) (Reference, error) {
	if strings.Contains(s, ":") {
		d, err := ParseDigest(s)
		return Reference{Digest: d}, err
	}
	if err := CheckTag(s); err != nil {
		return Reference{}, err
	}
	return Reference{Tag: s}, nil
}

func (r Reference) String() string {
	if r.Digest != "" {
		return string(r.Digest)
	}
	return r.Tag
}
