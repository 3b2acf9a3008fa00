// Package imageref parses references to container images as docker and ECS
// read them: "nginx" is docker.io/library/nginx:latest.
package imageref

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// ErrReference is wrapped by what Parse returns.
var ErrReference = errors.New("invalid reference format")

// Reference is an image reference, taken apart and made complete.
type Reference struct {
	// Registry is host or host:port; docker.io when the reference named none.
	Registry string
	// Repository is the path in the registry, library/nginx.
	Repository string
	// Tag is latest when the reference gave neither tag nor digest. Both may
	// be set; then the digest decides.
	Tag string
	// Digest is algorithm:hex.
	Digest string
}

// DockerHub is the registry of references that name none.
const DockerHub = "docker.io"

var (
	component  = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	domain     = regexp.MustCompile(`^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?$`)
	tag        = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}$`)
	digest     = regexp.MustCompile(`^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-f0-9]{32,}$`)
	identifier = regexp.MustCompile(`^[a-f0-9]{64}$`)
)

// digestLengths are the hexadecimal digits of the known algorithms.
var digestLengths = map[string]int{"sha256": 64, "sha384": 96, "sha512": 128}

// Parse reads a reference.
func Parse(s string) (Reference, error) {
	var r Reference
	if s == "" {
		return r, fmt.Errorf("%w: the reference is empty", ErrReference)
	}
	if identifier.MatchString(s) {
		return r, fmt.Errorf("%w: %q is an image id", ErrReference, s)
	}
	rest, dgst, hasDigest := strings.Cut(s, "@")
	if hasDigest {
		if !ValidDigest(dgst) {
			return r, fmt.Errorf("%w: %q: bad digest", ErrReference, s)
		}
		r.Digest = dgst
	}
	first, path, hasSlash := strings.Cut(rest, "/")
	if hasSlash && (strings.ContainsAny(first, ".:[") || first == "localhost" || first != strings.ToLower(first)) {
		r.Registry = first
	} else {
		r.Registry, path = DockerHub, rest
	}
	if r.Registry == "index.docker.io" {
		r.Registry = DockerHub
	}
	if !domain.MatchString(r.Registry) {
		return Reference{}, fmt.Errorf("%w: %q: bad registry", ErrReference, s)
	}
	path, t, hasTag := strings.Cut(path, ":")
	if hasTag {
		if !tag.MatchString(t) {
			return Reference{}, fmt.Errorf("%w: %q: bad tag", ErrReference, s)
		}
		r.Tag = t
	}
	for c := range strings.SplitSeq(path, "/") {
		if !component.MatchString(c) {
			return Reference{}, fmt.Errorf("%w: %q: bad repository", ErrReference, s)
		}
	}
	if r.Registry == DockerHub && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	if len(r.Registry)+1+len(path) > 255 {
		return Reference{}, fmt.Errorf("%w: %q: longer than 255 characters", ErrReference, s)
	}
	r.Repository = path
	if r.Tag == "" && r.Digest == "" {
		r.Tag = "latest"
	}
	return r, nil
}

// ValidDigest tells whether s is a digest of a known algorithm.
func ValidDigest(s string) bool {
	algorithm, hex, _ := strings.Cut(s, ":")
	return digest.MatchString(s) && digestLengths[algorithm] == len(hex)
}

// String is the complete reference. Parsing it gives the same Reference.
func (r Reference) String() string {
	s := r.Registry + "/" + r.Repository
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}
