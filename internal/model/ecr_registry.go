package model

import (
	"slices"
	"strings"
	"time"
)

// ECRRegistryID is the id of the one ECRRegistry of an account and region.
const ECRRegistryID = "registry"

// ECRRegistry holds the settings of an account's registry in a region. There
// is no record until something is set; the zero value is what AWS begins with.
// Writer: service/ecr.
type ECRRegistry struct {
	// Policy is the registry policy as it was put, or empty.
	Policy string `json:"policy,omitempty"`
	// PolicyScope is V1 or V2, which an empty one means: whether the policy
	// speaks of all actions or of those alone that bring images from elsewhere.
	PolicyScope string `json:"policyScope,omitempty"`
	// ScanRules say which repositories' images are scanned when they are
	// pushed. Where there are any, the repositories' own settings do not count.
	ScanRules   []ECRScanRule        `json:"scanRules,omitempty"`
	Replication []ECRReplicationRule `json:"replication,omitempty"`
	// ReplicationSince is when Replication was put: what was pushed before is
	// not replicated.
	ReplicationSince time.Time `json:"replicationSince,omitzero"`
}

// ECRScanRule applies to the repositories that a filter matches.
type ECRScanRule struct {
	// Frequency is SCAN_ON_PUSH or MANUAL.
	Frequency string `json:"frequency"`
	// Filters are names of repositories in which * stands for anything.
	Filters []string `json:"filters"`
}

// ECRReplicationRule says where images of repositories are copied to.
type ECRReplicationRule struct {
	Destinations []ECRDestination `json:"destinations"`
	// Prefixes of repositories' names; none means all repositories.
	Prefixes []string `json:"prefixes,omitempty"`
}

// ECRDestination is the registry of an account in a region.
type ECRDestination struct {
	Region  string `json:"region"`
	Account string `json:"account"`
}

// ECRReplication tells how far an image was replicated. Its record's id is
// that of the image. Writer: controller/ecrreplication.
type ECRReplication struct {
	Destinations []ECRReplicationStatus `json:"destinations"`
}

// ECRReplicationStatus is the state of an image's copy in one registry.
type ECRReplicationStatus struct {
	ECRDestination
	// Status is COMPLETE or FAILED; FailureCode says why it failed.
	Status      string `json:"status"`
	FailureCode string `json:"failureCode,omitempty"`
	// Tags that the copy was given, or that it could not be given.
	Tags []string `json:"tags,omitempty"`
}

// ECRPullThroughRule leads the repositories below a prefix to an upstream
// registry. Its record's id is the prefix, which has no slash at its end.
// Writer: service/ecr.
type ECRPullThroughRule struct {
	// Prefix of repositories here, or ROOT.
	Prefix string `json:"prefix"`
	// Upstream is AWS's word for the kind of registry, UpstreamURL its host.
	Upstream    string `json:"upstream"`
	UpstreamURL string `json:"upstreamUrl"`
	// UpstreamPrefix of repositories there; none, or ROOT, which is the same.
	UpstreamPrefix string `json:"upstreamPrefix,omitempty"`
	// CredentialARN names the secret that holds username and accessToken.
	CredentialARN string    `json:"credentialArn,omitempty"`
	CreatedAt     time.Time `json:"createdAt"`
	UpdatedAt     time.Time `json:"updatedAt,omitzero"`
}

// ECRRoot is the prefix that all names have.
const ECRRoot = "ROOT"

// ECRUpstreamCheck tells when a tag that came from upstream was last compared
// with it. Its record's id is that of the tag.
type ECRUpstreamCheck struct {
	CheckedAt time.Time `json:"checkedAt"`
}

// ECRCreationTemplate says what repositories are like that are made on demand.
// Its record's id is the prefix. Writer: service/ecr.
type ECRCreationTemplate struct {
	// Prefix of the repositories' names, or ROOT.
	Prefix      string `json:"prefix"`
	Description string `json:"description,omitempty"`
	// AppliedFor are REPLICATION, PULL_THROUGH_CACHE and CREATE_ON_PUSH.
	AppliedFor           []string  `json:"appliedFor"`
	TagMutability        string    `json:"tagMutability"`
	MutabilityExclusions []string  `json:"mutabilityExclusions,omitempty"`
	EncryptionType       string    `json:"encryptionType"`
	Tags                 Tags      `json:"tags,omitempty"`
	RepositoryPolicy     string    `json:"repositoryPolicy,omitempty"`
	LifecyclePolicy      string    `json:"lifecyclePolicy,omitempty"`
	CustomRoleARN        string    `json:"customRoleArn,omitempty"`
	CreatedAt            time.Time `json:"createdAt"`
	UpdatedAt            time.Time `json:"updatedAt"`
}

// ECRLifecyclePreview is what a lifecycle policy would have done. Its record's
// id is the repository's name. Writer: service/ecr.
type ECRLifecyclePreview struct {
	Policy    string       `json:"policy"`
	StartedAt time.Time    `json:"startedAt"`
	Expiring  []ECRPreview `json:"expiring,omitempty"`
}

// ECRPreview is an image that a lifecycle policy would expire.
type ECRPreview struct {
	Digest   string    `json:"digest"`
	Tags     []string  `json:"tags,omitempty"`
	PushedAt time.Time `json:"pushedAt"`
	Priority int       `json:"priority"`
}

// Destinations are the registries that an image of this registry is to be
// copied to: none for one that was pushed before replication was set up, or
// that is a copy itself.
func (r *ECRRegistry) Destinations(img *ECRImage) []ECRDestination {
	if img.Replica || img.PushedAt.Before(r.ReplicationSince) {
		return nil
	}
	var out []ECRDestination
	for _, rule := range r.Replication {
		if len(rule.Prefixes) > 0 && !slices.ContainsFunc(rule.Prefixes, func(p string) bool { return strings.HasPrefix(img.Repository, p) }) {
			continue
		}
		for _, d := range rule.Destinations {
			if !slices.Contains(out, d) {
				out = append(out, d)
			}
		}
	}
	return out
}

// ReplicationRefused is the error of a registry that does not take a copy.
// Code is what DescribeImageReplicationStatus shows.
type ReplicationRefused struct{ Code string }

func (e *ReplicationRefused) Error() string { return "the registry does not take the copy: " + e.Code }
