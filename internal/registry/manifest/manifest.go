// Package manifest decodes and checks what a registry must understand of
// image manifests and indexes, Docker's and OCI's. It reads no storage:
// whether the contents exist is the caller's question.
package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"

	"roadstead.dev/internal/registry/reference"
)

// MaxSize is the most bytes that a manifest may have: what the OCI
// specification asks registries to take at least, and ECR's own limit.
const MaxSize = 4 << 20

// maxContent is far more than any content's size, and so little that sums of
// sizes do not overflow.
const maxContent = 1 << 50

// The media types of manifests and indexes.
const (
	OCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	OCIIndex       = "application/vnd.oci.image.index.v1+json"
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// ErrInvalid is wrapped by every error of Decode.
var ErrInvalid = errors.New("manifest invalid")

// Descriptor points to a content.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// Manifest is what is known of a manifest or an index.
type Manifest struct {
	MediaType string
	// ArtifactType as the manifest says, or else its configuration's media
	// type; empty for an index that says none.
	ArtifactType string
	// Blobs are the configuration, if any, and the layers, without those that
	// are not distributed through registries. No digest comes twice.
	Blobs []Descriptor
	// Children are the manifests of an index.
	Children []Descriptor
	// Subject is the manifest that this one refers to.
	Subject     *Descriptor
	Annotations map[string]string
}

// Size is what the blobs hold together, in bytes.
func (m *Manifest) Size() int64 {
	var n int64
	for _, b := range m.Blobs {
		n += b.Size
	}
	return n
}

// Index tells whether the manifest lists manifests.
func (m *Manifest) Index() bool { return m.MediaType == OCIIndex || m.MediaType == DockerList }

type wire struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *Descriptor       `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Manifests     []Descriptor      `json:"manifests"`
	Subject       *Descriptor       `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
	// Members of other kinds of manifest; their presence tells the kind.
	FSLayers json.RawMessage `json:"fsLayers"`
}

// Decode reads a manifest. ContentType is how it was sent, and may be empty;
// what the manifest says of itself must agree with it.
func Decode(body []byte, contentType string) (*Manifest, error) {
	if len(body) > MaxSize {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrInvalid, MaxSize)
	}
	var w wire
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := oneMeaning(body); err != nil {
		return nil, err
	}
	mediaType, err := w.kind(contentType)
	if err != nil {
		return nil, err
	}
	m := &Manifest{MediaType: mediaType, ArtifactType: w.ArtifactType, Subject: w.Subject, Annotations: w.Annotations}
	if m.Index() {
		err = m.index(&w)
	} else {
		err = m.image(&w)
	}
	if err != nil {
		return nil, err
	}
	if m.Subject != nil {
		if err := check("subject", *m.Subject); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// kind decides the media type from the header, the member and the shape, and
// refuses what contradicts itself.
func (w *wire) kind(contentType string) (string, error) {
	if w.SchemaVersion != 2 {
		return "", fmt.Errorf("%w: schema version %d is not supported", ErrInvalid, w.SchemaVersion)
	}
	if contentType != "" {
		mt, _, err := mime.ParseMediaType(contentType)
		if err != nil {
			return "", fmt.Errorf("%w: content type %q", ErrInvalid, contentType)
		}
		contentType = mt
	}
	mediaType := w.MediaType
	switch {
	case mediaType == "":
		mediaType = contentType
	case contentType != "" && contentType != mediaType:
		return "", fmt.Errorf("%w: sent as %s, says that it is %s", ErrInvalid, contentType, mediaType)
	}
	if mediaType == "" {
		// OCI's media type member is optional.
		mediaType = OCIManifest
		if w.Manifests != nil {
			mediaType = OCIIndex
		}
	}
	switch mediaType {
	case OCIIndex, DockerList:
		if w.Config != nil || w.Layers != nil {
			return "", fmt.Errorf("%w: an index with config or layers", ErrInvalid)
		}
	case OCIManifest, DockerManifest:
		if w.Manifests != nil || w.FSLayers != nil {
			return "", fmt.Errorf("%w: an image manifest with manifests or fsLayers", ErrInvalid)
		}
	default:
		return "", fmt.Errorf("%w: media type %q is not supported", ErrInvalid, mediaType)
	}
	return mediaType, nil
}

func (m *Manifest) index(w *wire) error {
	seen := map[string]bool{}
	for _, d := range w.Manifests {
		if err := check("manifest", d); err != nil {
			return err
		}
		if !seen[d.Digest] {
			seen[d.Digest] = true
			m.Children = append(m.Children, d)
		}
	}
	return nil
}

func (m *Manifest) image(w *wire) error {
	if w.Config == nil {
		return fmt.Errorf("%w: no config", ErrInvalid)
	}
	if m.ArtifactType == "" {
		m.ArtifactType = w.Config.MediaType
	}
	seen := map[string]bool{}
	for i, d := range append([]Descriptor{*w.Config}, w.Layers...) {
		what := "layer"
		if i == 0 {
			what = "config"
		}
		if err := check(what, d); err != nil {
			return err
		}
		if i > 0 && foreign(d) || seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		m.Blobs = append(m.Blobs, d)
	}
	return nil
}

// foreign tells whether a layer comes from elsewhere, so that a registry need
// not hold it.
func foreign(d Descriptor) bool {
	switch d.MediaType {
	case "application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip":
		return true
	}
	return false
}

func check(what string, d Descriptor) error {
	if _, err := reference.ParseDigest(d.Digest); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalid, what, err)
	}
	if d.Size < 0 || d.Size > maxContent {
		return fmt.Errorf("%w: %s %s: size %d", ErrInvalid, what, d.Digest, d.Size)
	}
	if d.MediaType == "" {
		return fmt.Errorf("%w: %s %s: no media type", ErrInvalid, what, d.Digest)
	}
	return nil
}
