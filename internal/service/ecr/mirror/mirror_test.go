package mirror_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/imagebuild"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/registrytest"
	"roadstead.dev/internal/service/ecr/mirror"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// fakeClock stands still until it is moved.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *fakeClock) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

// vault holds the secret of every rule.
type vault string

func (v vault) SecretString(context.Context, string, string, string) (string, error) {
	if v == "" {
		return "", errors.New("no such secret")
	}
	return string(v), nil
}

// pair is a registry with a rule that leads to another one.
type pair struct {
	t              *testing.T
	here, upstream *registrytest.Server
	mirror         *mirror.Mirror
	clock          *fakeClock
}

func newPair(t *testing.T, may registrytest.AuthorizerFunc, rules ...model.ECRPullThroughRule) *pair {
	t.Helper()
	p := &pair{t: t, clock: &fakeClock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}}
	p.upstream = registrytest.Start(t, registrytest.Options{})
	p.here = registrytest.Start(t, registrytest.Options{Clock: p.clock, Authorizer: may})
	to, err := url.Parse(p.upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	secret := vault(`{"username":"AWS","accessToken":"` + p.upstream.Password(t, registrytest.Account) + `"}`)
	p.mirror = mirror.New(mirror.Config{
		Store: p.here.Store, Clock: p.clock, Catalog: p.here.Catalog, Registry: p.here.Registry, Secrets: secret,
		Hosts: map[string]*url.URL{"registry-1.docker.io": to, "ghcr.io": {Scheme: "http", Host: "127.0.0.1:1"}},
	})
	p.here.Provider = p.mirror
	tx := store.NewTxn()
	for _, r := range rules {
		r.CredentialARN = "arn:aws:secretsmanager:us-east-1:000000000000:secret:ecr-pullthroughcache/x"
		tables.ECRPullThroughRules.Put(tx, registrytest.Account, registrytest.Region, r.Prefix, &r)
	}
	if _, err := tx.Commit(t.Context(), p.here.Store); err != nil {
		t.Fatal(err)
	}
	return p
}

var hub = model.ECRPullThroughRule{Prefix: "hub", Upstream: "docker-hub", UpstreamURL: "registry-1.docker.io", UpstreamPrefix: "ROOT"}

// publish pushes an index of two images upstream, and returns its digest.
func (p *pair) publish(repository, tag string) string {
	p.t.Helper()
	index := mutate.AppendManifests(empty.Index)
	for range 2 {
		img, err := random.Image(100, 2)
		if err != nil {
			p.t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img})
	}
	ref, err := name.ParseReference(p.upstream.Addr+"/"+repository+":"+tag, name.Insecure)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index, remote.WithAuth(&authn.Basic{Username: "AWS", Password: p.upstream.Password(p.t, registrytest.Account)}), remote.WithTransport(imagebuild.Transport())); err != nil {
		p.t.Fatal(err)
	}
	d, err := index.Digest()
	if err != nil {
		p.t.Fatal(err)
	}
	return d.String()
}

// pull asks for a manifest here: status and digest.
func (p *pair) pull(repository, ref string) (int, string) {
	p.t.Helper()
	resp := p.here.Request(p.t, http.MethodGet, "/v2/"+repository+"/manifests/"+ref, "", nil)
	return resp.StatusCode, resp.Header.Get("Docker-Content-Digest")
}

func TestPullThrough(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil, hub)
	p.upstream.Create(t, registrytest.Space, "library/nginx")
	want := p.publish("library/nginx", "1.27")

	if code, got := p.pull("hub/library/nginx", "1.27"); code != http.StatusOK || got != want {
		t.Fatalf("the first pull: %d %s, want %s", code, got, want)
	}
	// All of it is here now: what the index lists, and their layers.
	images, err := tables.ECRImages.List(t.Context(), p.here.Store, store.Query{})
	if err != nil || len(images) != 3 {
		t.Fatalf("%d images, want an index of two: %v", len(images), err)
	}
	for _, img := range images {
		for _, b := range img.V.Blobs {
			if resp := p.here.Request(t, http.MethodGet, "/v2/hub/library/nginx/blobs/"+b, "", nil); resp.StatusCode != http.StatusOK {
				t.Errorf("layer %s: %s", b, resp.Status)
			}
		}
	}

	// A new image under the tag is found a day later, and by its digest at once.
	next := p.publish("library/nginx", "1.27")
	if _, got := p.pull("hub/library/nginx", "1.27"); got != want {
		t.Errorf("within a day: %s, want the first image", got)
	}
	if code, got := p.pull("hub/library/nginx", next); code != http.StatusOK || got != next {
		t.Errorf("by digest: %d %s", code, got)
	}
	p.clock.advance(25 * time.Hour)
	if _, got := p.pull("hub/library/nginx", "1.27"); got != next {
		t.Errorf("a day later: %s, want the new image", got)
	}

	// What is not there upstream is not here, and makes no repository.
	for _, repository := range []string{"hub/library/none", "elsewhere/nginx"} {
		if code, _ := p.pull(repository, "1"); code != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", repository, code)
		}
		if _, err := p.here.Catalog.Row(t.Context(), registrytest.Space, repository); registry.CodeOf(err) != registry.NameUnknown {
			t.Errorf("%s was made: %v", repository, err)
		}
	}
}

// An upstream that is away does not take away what is here.
func TestPullThroughWithoutUpstream(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil, hub, model.ECRPullThroughRule{Prefix: "gone", Upstream: "github-container-registry", UpstreamURL: "ghcr.io", UpstreamPrefix: "ROOT"})
	p.upstream.Create(t, registrytest.Space, "app")
	want := p.publish("app", "v1")
	if _, got := p.pull("hub/app", "v1"); got != want {
		t.Fatalf("%s, want %s", got, want)
	}
	p.mirror.Hosts["registry-1.docker.io"] = &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	p.clock.advance(25 * time.Hour)
	if code, got := p.pull("hub/app", "v1"); code != http.StatusOK || got != want {
		t.Errorf("without its upstream: %d %s", code, got)
	}
	if code, _ := p.pull("gone/app", "v1"); code != http.StatusNotFound {
		t.Errorf("what never was here: %d, want 404", code)
	}
}

func TestPullThroughPrefixes(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil,
		model.ECRPullThroughRule{Prefix: "ROOT", UpstreamURL: "registry-1.docker.io", UpstreamPrefix: "ROOT"},
		model.ECRPullThroughRule{Prefix: "team/web", UpstreamURL: "registry-1.docker.io", UpstreamPrefix: "acme"},
	)
	p.upstream.Create(t, registrytest.Space, "acme/front", "team/back")
	front, back := p.publish("acme/front", "1"), p.publish("team/back", "1")
	if _, got := p.pull("team/web/front", "1"); got != front {
		t.Errorf("the longest prefix: %q, want %s", got, front)
	}
	if _, got := p.pull("team/back", "1"); got != back {
		t.Errorf("ROOT: %q, want %s", got, back)
	}
}

// Pulling through needs rights of its own.
func TestPullThroughDenied(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"ecr:BatchImportUpstreamImage", "ecr:CreateRepository"} {
		p := newPair(t, func(_ string, _ api.Identity, a registry.Access) error {
			if a.Action == action {
				return api.NewFault("AccessDeniedException", "not authorized to perform: %s", a.Action)
			}
			return nil
		}, hub)
		p.upstream.Create(t, registrytest.Space, "app")
		p.publish("app", "v1")
		if code, _ := p.pull("hub/app", "v1"); code != http.StatusForbidden {
			t.Errorf("without %s: %d, want 403", action, code)
		}
	}
}

func TestCreateOnPush(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	tx := store.NewTxn()
	tables.ECRCreationTemplates.Put(tx, registrytest.Account, registrytest.Region, "team", &model.ECRCreationTemplate{
		Prefix: "team", AppliedFor: []string{"CREATE_ON_PUSH"}, TagMutability: "IMMUTABLE", EncryptionType: "AES256", Tags: model.Tags{"made": "here"},
	})
	if _, err := tx.Commit(t.Context(), p.here.Store); err != nil {
		t.Fatal(err)
	}
	for repository, want := range map[string]int{"team/app": http.StatusAccepted, "other/app": http.StatusNotFound} {
		if resp := p.here.Request(t, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", "", nil); resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", repository, resp.StatusCode, want)
		}
	}
	row, err := p.here.Catalog.Row(t.Context(), registrytest.Space, "team/app")
	if err != nil || row.V.TagMutability != "IMMUTABLE" || row.V.Tags["made"] != "here" {
		t.Errorf("%+v %v", row.V, err)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	rule := hub
	rule.CredentialARN = "arn"
	if err := p.mirror.Check(t.Context(), registrytest.Space, &rule); err != nil {
		t.Error(err)
	}
	p.mirror.Secrets = vault(`{"username":"AWS","accessToken":"wrong"}`)
	if err := p.mirror.Check(t.Context(), registrytest.Space, &rule); err == nil || !strings.Contains(err.Error(), "authentication") {
		t.Errorf("with a wrong password: %v", err)
	}
	p.mirror.Secrets = vault("")
	if err := p.mirror.Check(t.Context(), registrytest.Space, &rule); err == nil {
		t.Error("without a secret: no error")
	}
}

func TestReplicate(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	p.upstream = p.here // images are pushed here
	p.here.Create(t, registrytest.Space, "app")
	digest := p.publish("app", "v1")
	replicate := func(to model.ECRDestination, tags ...string) error {
		return p.mirror.Replicate(t.Context(), registrytest.Account, registrytest.Region, "app", digest, to, tags)
	}
	west := model.ECRDestination{Region: "eu-west-1", Account: registrytest.Account}
	if err := replicate(west, "v1"); err != nil {
		t.Fatal(err)
	}
	images, err := tables.ECRImages.List(t.Context(), p.here.Store, store.Query{Account: west.Account, Region: west.Region})
	if err != nil || len(images) != 3 {
		t.Fatalf("%d images, want 3: %v", len(images), err)
	}
	for _, img := range images {
		if !img.V.Replica {
			t.Errorf("%s is not marked as a copy", img.Key.ID)
		}
	}

	// Another account's registry must allow it.
	other := model.ECRDestination{Region: registrytest.Region, Account: "111122223333"}
	var refused *model.ReplicationRefused
	if err := replicate(other); !errors.As(err, &refused) || refused.Code != "AccessDenied" {
		t.Errorf("without a policy: %v", err)
	}
	tx := store.NewTxn()
	tables.ECRRegistries.Put(tx, other.Account, other.Region, model.ECRRegistryID, &model.ECRRegistry{Policy: `{"Version":"2012-10-17","Statement":[{"Sid":"r","Effect":"Allow",
		"Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":["ecr:CreateRepository","ecr:ReplicateImage"],"Resource":"arn:aws:ecr:us-east-1:111122223333:repository/*"}]}`})
	if _, err := tx.Commit(t.Context(), p.here.Store); err != nil {
		t.Fatal(err)
	}
	if err := replicate(other, "v1"); err != nil {
		t.Errorf("with a policy: %v", err)
	}

	// A tag that may not be moved there stays.
	fixed := model.ECRDestination{Region: "eu-north-1", Account: registrytest.Account}
	sp := registry.Space{Account: fixed.Account, Region: fixed.Region}
	p.here.CreateRepository(t, sp, model.ECRRepository{Name: "app", TagMutability: "IMMUTABLE", EncryptionType: "AES256"})
	if err := replicate(fixed, "v1"); err != nil {
		t.Fatal(err)
	}
	digest = p.publish("app", "v2")
	if err := replicate(fixed, "v1"); !errors.As(err, &refused) || refused.Code != "ImageTagAlreadyExists" {
		t.Errorf("over an immutable tag: %v", err)
	}
}
