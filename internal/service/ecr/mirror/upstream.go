package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"roadstead.dev/internal/imagebuild"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/reference"
	"roadstead.dev/internal/service/ecr/catalog"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	// checkEvery is how often a tag that came from upstream is compared with
	// it, as AWS does.
	checkEvery = 24 * time.Hour
	// checkTimeout bounds the check of a rule.
	checkTimeout = 10 * time.Second
)

// The actions that pulling through needs besides those of pulling.
const (
	actImport = "ecr:BatchImportUpstreamImage"
	actCreate = "ecr:CreateRepository"
)

// rule is the pull through cache rule that covers a repository, the one with
// the longest prefix, and the repository's name upstream. It is nil when there
// is none.
func (m *Mirror) rule(ctx context.Context, sp registry.Space, repository string) (*model.ECRPullThroughRule, string, error) {
	rows, err := tables.ECRPullThroughRules.List(ctx, m.Store, store.Query{Account: sp.Account, Region: sp.Region})
	if err != nil {
		return nil, "", fmt.Errorf("list pull through cache rules: %w", err)
	}
	var best *model.ECRPullThroughRule
	upstream := repository
	for _, r := range rows {
		// The more a prefix takes, the shorter the rest; ROOT takes nothing.
		if rest, ok := catalog.UnderPrefix(r.V.Prefix, repository); ok && (best == nil || len(rest) < len(upstream)) {
			best, upstream = r.V, rest
		}
	}
	if best != nil && best.UpstreamPrefix != "" && best.UpstreamPrefix != model.ECRRoot {
		upstream = best.UpstreamPrefix + "/" + upstream
	}
	return best, upstream, nil
}

// Pull implements registry.Provider: it brings what ref names if a rule covers
// the repository and it is not there, or was not looked for in a day. An
// upstream that fails does not take away what is there.
func (m *Mirror) Pull(ctx context.Context, sp registry.Space, repository string, ref reference.Reference, may func(action string) error) error {
	rule, upstream, err := m.rule(ctx, sp, repository)
	if err != nil || rule == nil {
		return err
	}
	have, err := m.fresh(ctx, sp, repository, ref)
	if err != nil || have == fresh {
		return err
	}
	if err := m.mayImport(ctx, sp, repository, may); err != nil {
		return err
	}
	_, err, _ = m.running.Do(strings.Join([]string{sp.Account, sp.Region, repository, ref.Tag, ref.Digest.String()}, " "), func() (any, error) {
		// Those who wait for it do not depend on the one who began.
		return nil, m.bring(context.WithoutCancel(ctx), sp, rule, repository, upstream, ref)
	})
	if err != nil {
		m.Log.Warn("an image was not brought from upstream", slog.String("repository", repository), slog.String("upstream", rule.UpstreamURL+"/"+upstream), slog.Any("error", err))
		if have == stale {
			return nil
		}
		return upstreamError(err)
	}
	return nil
}

type freshness int

const (
	absent freshness = iota
	stale
	fresh
)

func (m *Mirror) fresh(ctx context.Context, sp registry.Space, repository string, ref reference.Reference) (freshness, error) {
	_, err := m.Catalog.Resolve(ctx, sp, repository, ref)
	switch {
	case registry.CodeOf(err) == registry.ManifestUnknown:
		return absent, nil
	case err != nil:
		return absent, err
	case ref.Tag == "":
		return fresh, nil
	}
	row, err := tables.ECRUpstreamChecks.Get(ctx, m.Store, sp.Account, sp.Region, repository+":"+ref.Tag)
	switch {
	case errors.Is(err, store.ErrNotFound): // it was pushed here
		return fresh, nil
	case err != nil:
		return absent, err
	case m.Clock.Now().Sub(row.V.CheckedAt) < checkEvery:
		return fresh, nil
	}
	return stale, nil
}

func (m *Mirror) mayImport(ctx context.Context, sp registry.Space, repository string, may func(action string) error) error {
	if err := may(actImport); err != nil {
		return err
	}
	if _, err := m.Catalog.Row(ctx, sp, repository); registry.CodeOf(err) == registry.NameUnknown {
		return may(actCreate)
	}
	return nil
}

// Push implements registry.Provider: it makes the repository where a creation
// template is for that.
func (m *Mirror) Push(ctx context.Context, sp registry.Space, repository string, may func(action string) error) error {
	const reason = "CREATE_ON_PUSH"
	t, err := m.Catalog.Template(ctx, sp, repository, reason)
	if err != nil || t == nil {
		return err
	}
	if err := may(actCreate); err != nil {
		return err
	}
	return m.Catalog.Provide(ctx, sp, repository, reason)
}

// bring copies an image from upstream. The repository is made when the image
// was found.
func (m *Mirror) bring(ctx context.Context, sp registry.Space, rule *model.ECRPullThroughRule, repository, upstream string, ref reference.Reference) error {
	from, err := m.upstream(ctx, sp, rule, upstream)
	if err != nil {
		return err
	}
	what, tags := ref.Digest.String(), []string(nil)
	if ref.Tag != "" {
		what, tags = ref.Tag, []string{ref.Tag}
	}
	if _, _, err := from.manifest(ctx, what); err != nil {
		return err
	}
	if err := m.Catalog.Provide(ctx, sp, repository, "PULL_THROUGH_CACHE"); err != nil {
		return err
	}
	if err := m.copy(ctx, from, place{space: sp, name: repository}, what, tags, 0); err != nil || ref.Tag == "" {
		return err
	}
	tx := store.NewTxn()
	tables.ECRUpstreamChecks.Put(tx, sp.Account, sp.Region, repository+":"+ref.Tag, &model.ECRUpstreamCheck{CheckedAt: m.Clock.Now().UTC()})
	_, err = tx.Commit(ctx, m.Store)
	return err
}

// upstreamError is what a client is told of an image that did not come.
func upstreamError(err error) error {
	t, ok := errors.AsType[*transport.Error](err)
	if !ok {
		if _, ok := errors.AsType[*registry.Error](err); ok {
			return err
		}
		return registry.Errorf(registry.ManifestUnknown, "The image could not be brought from the upstream registry: %v", err)
	}
	switch t.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return registry.Errorf(registry.Denied, "The authentication to the upstream registry failed. Verify that the credentials are valid.")
	case http.StatusTooManyRequests:
		return registry.Errorf(registry.TooManyRequests, "The upstream registry has throttled the request.")
	}
	return nil // not there either
}

// remoteSource is a repository of an upstream registry.
type remoteSource struct {
	repository name.Repository
	puller     *remote.Puller
}

func (m *Mirror) upstream(ctx context.Context, sp registry.Space, rule *model.ECRPullThroughRule, repository string) (*remoteSource, error) {
	host, options := rule.UpstreamURL, []name.Option(nil)
	if to := m.Hosts[host]; to != nil {
		host = to.Host
		if to.Scheme == "http" {
			options = append(options, name.Insecure)
		}
	}
	repo, err := name.NewRepository(host+"/"+repository, options...)
	if err != nil {
		return nil, fmt.Errorf("upstream repository: %w", err)
	}
	auth, err := m.credentials(ctx, sp, rule)
	if err != nil {
		return nil, err
	}
	puller, err := remote.NewPuller(remote.WithAuth(auth), remote.WithTransport(imagebuild.Transport()))
	if err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	return &remoteSource{repo, puller}, nil
}

func (m *Mirror) credentials(ctx context.Context, sp registry.Space, rule *model.ECRPullThroughRule) (authn.Authenticator, error) {
	if rule.CredentialARN == "" {
		return authn.Anonymous, nil
	}
	text, err := m.Secrets.SecretString(ctx, sp.Account, sp.Region, rule.CredentialARN)
	if err != nil {
		return nil, fmt.Errorf("the secret of the pull through cache rule: %w", err)
	}
	var secret struct {
		Username    string `json:"username"`
		AccessToken string `json:"accessToken"`
	}
	if err := json.Unmarshal([]byte(text), &secret); err != nil || secret.Username == "" || secret.AccessToken == "" {
		return nil, registry.Errorf(registry.Denied, "The secret of the pull through cache rule must hold username and accessToken.")
	}
	return &authn.Basic{Username: secret.Username, Password: secret.AccessToken}, nil
}

func (r *remoteSource) manifest(ctx context.Context, ref string) ([]byte, string, error) {
	var at name.Reference = r.repository.Tag(ref)
	if strings.Contains(ref, ":") {
		at = r.repository.Digest(ref)
	}
	d, err := r.puller.Get(ctx, at)
	if err != nil {
		return nil, "", err
	}
	return d.Manifest, string(d.MediaType), nil
}

func (r *remoteSource) blob(ctx context.Context, digest string) (io.ReadCloser, error) {
	l, err := r.puller.Layer(ctx, r.repository.Digest(digest))
	if err != nil {
		return nil, err
	}
	return l.Compressed()
}

// Secret implements ecr.Upstreams.
func (m *Mirror) Secret(ctx context.Context, sp registry.Space, arn string) error {
	_, err := m.Secrets.SecretString(ctx, sp.Account, sp.Region, arn)
	return err
}

// Check implements ecr.Upstreams: it logs in.
func (m *Mirror) Check(ctx context.Context, sp registry.Space, rule *model.ECRPullThroughRule) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	from, err := m.upstream(ctx, sp, rule, "library/check")
	if err != nil {
		return err
	}
	auth, err := m.credentials(ctx, sp, rule)
	if err != nil {
		return err
	}
	status, err := login(ctx, from.repository.Registry, auth)
	switch {
	case err != nil:
		m.Log.Warn("a pull through cache rule does not work", slog.String("upstream", rule.UpstreamURL), slog.Any("error", err))
		return errors.New("The upstream registry could not be reached.")
	case status/100 == 4:
		return errors.New("The authentication to the upstream registry failed. Verify that the credentials are valid.")
	}
	return nil
}

// login asks for a registry's root with credentials, and returns the status of
// the answer.
func login(ctx context.Context, reg name.Registry, auth authn.Authenticator) (int, error) {
	rt, err := transport.NewWithContext(ctx, reg, auth, imagebuild.Transport(), []string{reg.Scope("")})
	if t, ok := errors.AsType[*transport.Error](err); ok {
		return t.StatusCode, nil
	}
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, reg.Scheme()+"://"+reg.RegistryStr()+"/v2/", http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}
