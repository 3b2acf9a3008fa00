package imagebuild

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Credentials of a registry; the zero value is none.
type Credentials struct{ Username, Password string }

// ECRCredentials are those in a token from ECR's GetAuthorizationToken.
func ECRCredentials(authorizationToken string) (Credentials, error) {
	b, err := base64.StdEncoding.DecodeString(authorizationToken)
	if err != nil {
		return Credentials{}, fmt.Errorf("authorization token: %w", err)
	}
	user, password, ok := strings.Cut(string(b), ":")
	if !ok {
		return Credentials{}, fmt.Errorf("authorization token: no user in it")
	}
	return Credentials{user, password}, nil
}

// Push pushes an image to a reference, "host:port/name:tag", and returns its
// digest. Registries on this machine are spoken to over plain HTTP.
func Push(ctx context.Context, reference string, img v1.Image, c Credentials) (digest string, err error) {
	ref, err := parse(reference)
	if err != nil {
		return "", err
	}
	if err := remote.Write(ref, img, options(ctx, c)...); err != nil {
		return "", fmt.Errorf("push %s: %w", reference, err)
	}
	d, err := img.Digest()
	if err != nil {
		return "", fmt.Errorf("push %s: %w", reference, err)
	}
	return d.String(), nil
}

// Pull describes an image in a registry; its layers are read when asked for.
func Pull(ctx context.Context, reference string, c Credentials) (v1.Image, error) {
	ref, err := parse(reference)
	if err != nil {
		return nil, err
	}
	img, err := remote.Image(ref, options(ctx, c)...)
	if err != nil {
		return nil, fmt.Errorf("pull %s: %w", reference, err)
	}
	return img, nil
}

func parse(reference string) (name.Reference, error) {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, fmt.Errorf("image reference: %w", err)
	}
	return ref, nil
}

func options(ctx context.Context, c Credentials) []remote.Option {
	auth := authn.Anonymous
	if c != (Credentials{}) {
		auth = &authn.Basic{Username: c.Username, Password: c.Password}
	}
	return []remote.Option{remote.WithContext(ctx), remote.WithAuth(auth), remote.WithTransport(Transport())}
}

// Transport is an HTTP transport to which all names below localhost are this
// machine, as RFC 6761 says, whatever the resolver thinks.
func Transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	var d net.Dialer
	t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return d.DialContext(ctx, network, loopback(addr))
	}
	t.Proxy = func(r *http.Request) (*url.URL, error) {
		if local(r.URL.Hostname()) {
			return nil, nil
		}
		return http.ProxyFromEnvironment(r)
	}
	return t
}

// loopback replaces names below localhost by the loopback address.
func loopback(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || !local(host) {
		return addr
	}
	return net.JoinHostPort("127.0.0.1", port)
}

func local(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
