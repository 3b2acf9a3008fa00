package containerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"roadstead.dev/internal/engine"
	"roadstead.dev/internal/imageref"
)

// keyLock makes work on one thing (pulls of a reference) follow each other:
// the second finds everything there.
type keyLock struct {
	sync.Mutex
	users int
}

func (e *Engine) lock(key string) (unlock func()) {
	e.mu.Lock()
	l := e.locks[key]
	if l == nil {
		l = &keyLock{}
		e.locks[key] = l
	}
	l.users++
	e.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		e.mu.Lock()
		defer e.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(e.locks, key)
		}
	}
}

// PullImage resolves the reference, fetches what is missing and unpacks it.
func (e *Engine) PullImage(ctx context.Context, req engine.PullRequest) (engine.Image, error) {
	ref, err := imageref.Parse(req.Ref)
	if err != nil {
		return engine.Image{}, err
	}
	name := ref.String()
	defer e.lock("pull " + name)()
	ctx = e.context(ctx)
	platform := platforms.DefaultSpec()
	if req.OS != "" {
		platform.OS = req.OS
	}
	if req.Architecture != "" {
		platform.Architecture, platform.Variant = req.Architecture, ""
	}
	platform = platforms.Normalize(platform)

	present, f := e.present(ctx, name, platform)
	if f != nil && req.IfNotPresent {
		return named(f, name), nil
	}
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: e.hosts(req.Auth)})
	if f != nil {
		// Asked in any case: what a tag names changes, and so do permissions.
		_, desc, err := resolver.Resolve(ctx, name)
		if err != nil {
			return engine.Image{}, pullError(fmt.Errorf("failed to resolve reference %q: %w", name, err), name, platform)
		}
		if desc.Digest == present.Target.Digest {
			return named(f, name), e.touch(ctx, present)
		}
	}
	img, err := e.client.Pull(ctx, name,
		client.WithPullUnpack,
		client.WithPullSnapshotter(e.snapshotter),
		client.WithPlatformMatcher(platforms.Only(platform)),
		client.WithMaxConcurrentDownloads(3),
		client.WithResolver(resolver),
	)
	if err != nil {
		return engine.Image{}, pullError(err, name, platform)
	}
	if f, err = e.read(ctx, img, platform); err != nil {
		return engine.Image{}, err
	}
	return named(f, name), nil
}

func named(f *facts, ref string) engine.Image {
	i := f.image
	i.Ref = ref
	return i
}

// present finds an image that is here and unpacked; its facts are nil when
// there is none.
func (e *Engine) present(ctx context.Context, name string, platform ocispec.Platform) (images.Image, *facts) {
	img, err := e.client.ImageService().Get(ctx, name)
	if err != nil {
		return img, nil
	}
	f, err := e.read(ctx, client.NewImageWithPlatform(e.client, img, platforms.Only(platform)), platform)
	if err != nil {
		return img, nil
	}
	if _, err := e.client.SnapshotService(e.snapshotter).Stat(ctx, f.chain); err != nil {
		return img, nil
	}
	return img, f
}

// freshness is how exactly an image's last use is known. RemoveUnusedImages
// thinks in days.
const freshness = time.Hour

// touch notes that an image was asked for.
func (e *Engine) touch(ctx context.Context, img images.Image) error {
	if time.Since(img.UpdatedAt) < freshness {
		return nil
	}
	if _, err := e.client.ImageService().Update(ctx, img, "target"); err != nil {
		return fmt.Errorf("note the use of image %s: %w", img.Name, err)
	}
	return nil
}

// pullError words a failure as the service does.
func pullError(err error, ref string, platform ocispec.Platform) error {
	e := &pullFailure{errs: []error{err}}
	e.text = strings.Replace(err.Error(), fmt.Sprintf("failed to resolve reference %q", ref), "failed to resolve ref "+ref, 1)
	if !errdefs.IsNotFound(err) {
		return e
	}
	e.errs = append(e.errs, engine.ErrNotFound)
	if strings.Contains(e.text, "no match for platform") {
		e.text = fmt.Sprintf("image Manifest does not contain descriptor matching platform '%s/%s'", platform.OS, platform.Architecture)
	}
	return e
}

// pullFailure is an error with a text of its own.
type pullFailure struct {
	text string
	errs []error
}

func (e *pullFailure) Error() string   { return e.text }
func (e *pullFailure) Unwrap() []error { return e.errs }

// hosts tells how to reach each registry.
func (e *Engine) hosts(auth *engine.RegistryAuth) docker.RegistryHosts {
	httpClient := &http.Client{Transport: e.registry}
	options := []docker.AuthorizerOpt{docker.WithAuthClient(httpClient)}
	if auth != nil {
		options = append(options, docker.WithAuthCreds(func(string) (string, string, error) {
			return auth.Username, auth.Password, nil
		}))
	}
	authorizer := docker.NewDockerAuthorizer(options...)
	return func(host string) ([]docker.RegistryHost, error) {
		name, err := docker.DefaultHost(host)
		if err != nil {
			return nil, err
		}
		scheme := "https"
		if isLoopback(host) {
			scheme = "http"
		}
		return []docker.RegistryHost{{
			Client: httpClient, Authorizer: authorizer, Host: name, Scheme: scheme, Path: "/v2",
			Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
		}}, nil
	}
}

func (e *Engine) transport() *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if host, port, err := net.SplitHostPort(address); err == nil && isLocalhostName(host) {
				address = net.JoinHostPort(e.cfg.LoopbackAddress, port)
			}
			return e.cfg.Dial(ctx, network, address)
		},
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 60 * time.Second,
		IdleConnTimeout:       5 * time.Second,
		MaxIdleConns:          10,
		ForceAttemptHTTP2:     true,
	}
}

// isLoopback tells whether the registry is on this machine, where plain HTTP
// is fine, as docker has it.
func isLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	if isLocalhostName(host) {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}

func isLocalhostName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func (e *Engine) purgeContent(ctx context.Context) error {
	cs := e.client.ContentStore()
	var all []content.Info
	err := cs.Walk(ctx, func(i content.Info) error {
		all = append(all, i)
		return nil
	})
	if err != nil {
		return fmt.Errorf("list content: %w", err)
	}
	var errs []error
	for _, i := range all {
		if err := cs.Delete(ctx, i.Digest); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove content %s: %w", i.Digest, err))
		}
	}
	return errors.Join(errs...)
}
