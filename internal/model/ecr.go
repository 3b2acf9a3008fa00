package model

import "time"

// ECRRepository is a repository of an account's registry in a region. Its
// record's id is its name. Its images, tags and layers have records of their
// own whose ids start with the name and an at sign or a colon, neither of
// which a name can hold.
type ECRRepository struct {
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"createdAt"`
	// TagMutability is MUTABLE, IMMUTABLE, MUTABLE_WITH_EXCLUSION or
	// IMMUTABLE_WITH_EXCLUSION.
	TagMutability string `json:"tagMutability"`
	// MutabilityExclusions are the tag patterns, with * as wildcard, to which
	// the two WITH_EXCLUSION settings do not apply.
	MutabilityExclusions []string `json:"mutabilityExclusions,omitempty"`
	// EncryptionType is AES256: what AWS calls its default.
	EncryptionType string `json:"encryptionType"`
	// ScanOnPush asks for a scan of each image that is pushed.
	ScanOnPush bool `json:"scanOnPush,omitempty"`
	Tags       Tags `json:"tags,omitzero"`
	// Policy is the repository policy as it was set, or empty.
	Policy string `json:"policy,omitempty"`
	// LifecyclePolicy is the lifecycle policy as it was put, or empty.
	LifecyclePolicy string `json:"lifecyclePolicy,omitempty"`
	// LifecycleEvaluatedAt is when the lifecycle policy was last applied; its
	// one writer is what applies it.
	LifecycleEvaluatedAt time.Time `json:"lifecycleEvaluatedAt,omitzero"`
}

// ECRImage is a manifest in a repository: of an image, of an index or of
// another artifact. Its record's id is "<repository>@<digest>". The manifest
// itself is a blob on disk.
type ECRImage struct {
	Repository string `json:"repository"`
	// Digest of the manifest, "sha256:…".
	Digest    string `json:"digest"`
	MediaType string `json:"mediaType"`
	// ArtifactType of the manifest, or the media type of its configuration.
	ArtifactType string `json:"artifactType,omitempty"`
	// ManifestSize is the manifest's length in bytes.
	ManifestSize int64 `json:"manifestSize"`
	// Size is what the image holds in bytes: configuration and layers.
	Size     int64     `json:"size"`
	PushedAt time.Time `json:"pushedAt"`
	// Blobs are the digests of the configuration and the layers that the
	// repository must keep for this image.
	Blobs []string `json:"blobs,omitempty"`
	// Children are the digests of the manifests that an index lists.
	Children []string `json:"children,omitempty"`
	// Subject is the digest of the manifest that this one refers to.
	Subject     string            `json:"subject,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// ScanRequestedAt is when a scan was last asked for, by pushing or by name.
	ScanRequestedAt time.Time `json:"scanRequestedAt,omitzero"`
	// Replica tells that the image was replicated from another registry: it is
	// not replicated from here.
	Replica bool `json:"replica,omitempty"`
}

// ECRImagePull tells when an image was last pulled. It is apart from the image
// since pulls are frequent and nobody decides anything on its revision. Its
// record's id is that of the image.
type ECRImagePull struct {
	LastPulledAt time.Time `json:"lastPulledAt"`
}

// ECRTag is a tag of a repository. Its record's id is "<repository>:<tag>".
type ECRTag struct {
	Repository string `json:"repository"`
	Tag        string `json:"tag"`
	// Digest of the manifest that the tag names.
	Digest   string    `json:"digest"`
	TaggedAt time.Time `json:"taggedAt"`
}

// ECRLayer says that a repository holds a blob, which it thereby may be asked
// for. Its record's id is "<repository>@<digest>".
type ECRLayer struct {
	Repository string `json:"repository"`
	Digest     string `json:"digest"`
	// Size in bytes.
	Size int64 `json:"size"`
	// LinkedAt is when the blob was pushed to the repository, or mounted in it.
	LinkedAt time.Time `json:"linkedAt"`
}
