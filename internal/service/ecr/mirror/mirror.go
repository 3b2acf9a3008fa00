// Package mirror brings images into repositories from elsewhere: from upstream
// registries, as pull through cache rules say, and from other registries of
// this server, as replication says.
package mirror

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/url"

	"golang.org/x/sync/singleflight"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/blob"
	"roadstead.dev/internal/registry/manifest"
	"roadstead.dev/internal/registry/reference"
	"roadstead.dev/internal/service/ecr/catalog"
	"roadstead.dev/internal/store"
)

// Secrets reads the secrets that hold upstream's credentials.
type Secrets interface {
	SecretString(ctx context.Context, account, region, arn string) (string, error)
}

// Config is what a Mirror needs; Hosts and Log may be nil.
type Config struct {
	Store    store.Store
	Clock    clock.Clock
	Catalog  *catalog.Catalog
	Registry *registry.Registry
	Secrets  Secrets
	// Hosts leads upstream hosts elsewhere: "quay.io" to http://localhost:5000.
	Hosts map[string]*url.URL
	Log   *slog.Logger
}

// Mirror brings images.
type Mirror struct {
	Config
	// running joins those that wait for the same image.
	running singleflight.Group
}

var _ registry.Provider = (*Mirror)(nil)

// New makes a Mirror.
func New(c Config) *Mirror {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Mirror{Config: c}
}

// source is where an image comes from.
type source interface {
	// manifest reads what ref, a tag or a digest, names.
	manifest(ctx context.Context, ref string) (body []byte, mediaType string, err error)
	blob(ctx context.Context, digest string) (io.ReadCloser, error)
}

// place is where an image goes to.
type place struct {
	space   registry.Space
	name    string
	replica bool
}

// maxDepth is how deep indexes may list indexes.
const maxDepth = 3

// copy copies what ref names, with everything that it lists, and then gives it
// the tags. What is there is not read again.
func (m *Mirror) copy(ctx context.Context, from source, to place, ref string, tags []string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("copy %s: indexes list each other more than %d deep", ref, maxDepth)
	}
	body, mediaType, err := from.manifest(ctx, ref)
	if err != nil {
		return err
	}
	man, err := manifest.Decode(body, mediaType)
	if err != nil {
		return err
	}
	for _, child := range man.Children {
		if err := m.copy(ctx, from, to, child.Digest, nil, depth+1); err != nil {
			return err
		}
	}
	for _, b := range man.Blobs {
		if err := m.copyBlob(ctx, from, to, b.Digest); err != nil {
			return fmt.Errorf("copy layer %s: %w", b.Digest, err)
		}
	}
	d := blob.Sum(body)
	return m.Registry.Blobs.Put(to.space, d, body, func() error {
		_, err := m.Catalog.PutManifest(ctx, to.space, to.name, registry.Push{
			Digest: d, Size: int64(len(body)), Manifest: man, Tags: tags, Replica: to.replica,
		})
		return err
	})
}

func (m *Mirror) copyBlob(ctx context.Context, from source, to place, digest string) error {
	d, err := reference.ParseDigest(digest)
	if err != nil {
		return err
	}
	if _, err := m.Catalog.Blob(ctx, to.space, to.name, d); err == nil || registry.CodeOf(err) != registry.BlobUnknown {
		return err
	}
	content, err := from.blob(ctx, digest)
	if err != nil {
		return err
	}
	defer content.Close()
	id, err := m.Registry.Blobs.Start(to.space, to.name)
	if err != nil {
		return err
	}
	if _, err := m.Registry.CompleteUpload(ctx, to.space, to.name, id, d, blob.Part{At: -1, Body: content}); err != nil {
		_ = m.Registry.Blobs.Cancel(to.space, to.name, id) // else it expires
		return err
	}
	return nil
}

// local is a repository of this server.
type local struct {
	m     *Mirror
	space registry.Space
	name  string
}

func (l local) manifest(ctx context.Context, ref string) ([]byte, string, error) {
	d, err := reference.ParseDigest(ref)
	if err != nil {
		return nil, "", err
	}
	img, err := l.m.Catalog.Resolve(ctx, l.space, l.name, reference.Reference{Digest: d})
	if err != nil {
		return nil, "", err
	}
	body, err := l.m.Registry.Blobs.Read(l.space, d, manifest.MaxSize)
	return body, img.MediaType, err
}

func (l local) blob(_ context.Context, digest string) (io.ReadCloser, error) {
	return l.m.Registry.Blobs.Open(l.space, reference.Digest(digest))
}

// Replicate copies an image to the same repository of another registry, which
// is made if it is not there, and gives it tags. A registry of another account
// must allow it in its policy. It returns a *model.ReplicationRefused when the
// copy cannot be made as things are.
func (m *Mirror) Replicate(ctx context.Context, account, region, repository, digest string, to model.ECRDestination, tags []string) error {
	there := registry.Space{Account: to.Account, Region: to.Region}
	if to.Account != account {
		allowed, err := m.takes(ctx, account, there, repository)
		if err != nil {
			return err
		}
		if !allowed {
			return &model.ReplicationRefused{Code: "AccessDenied"}
		}
	}
	if err := m.Catalog.Provide(ctx, there, repository, "REPLICATION"); err != nil {
		return err
	}
	from := local{m, registry.Space{Account: account, Region: region}, repository}
	err := m.copy(ctx, from, place{there, repository, true}, digest, tags, 0)
	if registry.CodeOf(err) == registry.TagInvalid {
		return &model.ReplicationRefused{Code: "ImageTagAlreadyExists"}
	}
	return err
}

// takes tells whether a registry's policy lets another account replicate into
// a repository of it, and make that repository where it is not there.
func (m *Mirror) takes(ctx context.Context, account string, there registry.Space, repository string) (bool, error) {
	settings, err := m.Catalog.Settings(ctx, there)
	if err != nil || settings.V.Policy == "" {
		return false, err
	}
	doc, err := policy.Parse(settings.V.Policy, policy.Resource)
	if err != nil {
		return false, err
	}
	actions := []string{"ecr:ReplicateImage"}
	if _, err := m.Catalog.Row(ctx, there, repository); registry.CodeOf(err) == registry.NameUnknown {
		actions = append(actions, actCreate)
	}
	root := model.MakeARN("iam", "", account, "root")
	for _, action := range actions {
		effect, _ := doc.Decide(&policy.Request{
			Action: action, Resource: registry.RepositoryARN(there, repository),
			Principal: policy.Principal{ARN: root, Account: account, UniqueID: account},
			Context:   policy.Context{},
		})
		if effect != policy.Allow {
			return false, nil
		}
	}
	return true, nil
}
