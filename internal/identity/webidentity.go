package identity

import (
	"context"
	"crypto/sha1" //nolint:gosec // thumbprints are defined so
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// WebIdentity is what a verified token of an identity provider says.
type WebIdentity struct {
	Provider *model.OIDCProvider
	Issuer   string
	Subject  string
	// Audience is the one of the token's that the provider's record lists.
	Audience string
	// AMR are the authentication methods, where the token tells them.
	AMR []string
}

// Errors of VerifyWebIdentity; what is wrong is in their text.
type (
	// InvalidToken is a token that is malformed, another's, or not signed by its
	// issuer.
	InvalidToken struct{ Message string }
	// ExpiredToken is a token that was good once.
	ExpiredToken struct{ Now, Expiry time.Time }
	// ProviderUnreachable is an issuer whose keys could not be fetched.
	ProviderUnreachable struct{ Err error }
)

func (e *InvalidToken) Error() string { return e.Message }

func (e *ExpiredToken) Error() string {
	return fmt.Sprintf("Token expired: current date/time %d must be before the expiration date/time %d", e.Now.Unix(), e.Expiry.Unix())
}

func (e *ProviderUnreachable) Error() string { return "fetch the issuer's keys: " + e.Err.Error() }
func (e *ProviderUnreachable) Unwrap() error { return e.Err }

// signatureAlgorithms are those that IAM verifies.
var signatureAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512}

// VerifyWebIdentity checks a JSON web token for an account: its issuer must be
// one of the account's identity providers and its audience one of the
// provider's client ids, and a key of the issuer's must have signed it.
func (d *Directory) VerifyWebIdentity(ctx context.Context, account, token string) (*WebIdentity, error) {
	parsed, err := jwt.ParseSigned(token, signatureAlgorithms)
	if err != nil {
		return nil, &InvalidToken{"The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"}
	}
	var claims struct {
		jwt.Claims
		AMR []string `json:"amr"`
	}
	if err := parsed.UnsafeClaimsWithoutVerification(&claims); err != nil || claims.Expiry == nil {
		return nil, &InvalidToken{"The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"}
	}
	host, ok := strings.CutPrefix(claims.Issuer, "https://")
	if !ok {
		return nil, &InvalidToken{"Issuer must be a valid URL"}
	}
	row, err := tables.OIDCProviders.Get(ctx, d.store, account, "", host)
	if errors.Is(err, store.ErrNotFound) {
		return nil, &InvalidToken{"No OpenIDConnect provider found in your account for " + claims.Issuer}
	}
	if err != nil {
		return nil, fmt.Errorf("read identity provider: %w", err)
	}
	i := slices.IndexFunc(claims.Audience, func(a string) bool { return slices.Contains(row.V.ClientIDs, a) })
	if i < 0 {
		return nil, &InvalidToken{"Incorrect token audience"}
	}
	if err := d.issuers.verify(ctx, row.V, parsed, d.clock.Now()); err != nil {
		return nil, err
	}
	now := d.clock.Now()
	if !now.Before(claims.Expiry.Time()) {
		return nil, &ExpiredToken{now, claims.Expiry.Time()}
	}
	if claims.NotBefore != nil && now.Add(time.Minute).Before(claims.NotBefore.Time()) {
		return nil, &InvalidToken{"Token is not yet valid"}
	}
	if claims.Subject == "" {
		return nil, &InvalidToken{"Missing a required claim: sub"}
	}
	return &WebIdentity{Provider: row.V, Issuer: host, Subject: claims.Subject, Audience: claims.Audience[i], AMR: claims.AMR}, nil
}

// issuers fetches and keeps the keys of identity providers.
type issuers struct {
	mu   sync.Mutex
	keys map[string]issuerKeys
	// transport is nil outside of tests.
	transport http.RoundTripper
}

type issuerKeys struct {
	set     jose.JSONWebKeySet
	fetched time.Time
}

const (
	// keysFor is how long fetched keys serve, and refetchAfter how soon a token
	// of an unknown key makes them be fetched again.
	keysFor      = time.Hour
	refetchAfter = 10 * time.Second
	// fetchTimeout and maxDocument bound what an issuer may cost.
	fetchTimeout = 5 * time.Second
	maxDocument  = 1 << 20
	// maxIssuers bounds the cache; a full one is dropped whole.
	maxIssuers = 256
)

// verify checks a token's signature by its issuer's keys.
func (s *issuers) verify(ctx context.Context, p *model.OIDCProvider, token *jwt.JSONWebToken, now time.Time) error {
	id := p.ARN + " " + strings.Join(p.Thumbprints, " ")
	s.mu.Lock()
	have, known := s.keys[id]
	s.mu.Unlock()
	if known && now.Sub(have.fetched) < keysFor {
		if signedBy(token, &have.set) {
			return nil
		}
		if now.Sub(have.fetched) < refetchAfter {
			return errSignature
		}
	}
	set, err := s.fetch(ctx, p)
	if err != nil {
		return &ProviderUnreachable{err}
	}
	s.mu.Lock()
	if s.keys == nil || len(s.keys) >= maxIssuers {
		s.keys = map[string]issuerKeys{}
	}
	s.keys[id] = issuerKeys{*set, now}
	s.mu.Unlock()
	if !signedBy(token, set) {
		return errSignature
	}
	return nil
}

var errSignature = &InvalidToken{"Couldn't verify the token's signature with the keys of your identity provider."}

func signedBy(token *jwt.JSONWebToken, set *jose.JSONWebKeySet) bool {
	for _, k := range set.Keys {
		if id := token.Headers[0].KeyID; id != "" && k.KeyID != "" && k.KeyID != id {
			continue
		}
		var claims jwt.Claims
		if k.IsPublic() && token.Claims(k.Key, &claims) == nil {
			return true
		}
	}
	return false
}

// fetch reads an issuer's configuration and, from where that says, its keys.
func (s *issuers) fetch(ctx context.Context, p *model.OIDCProvider) (*jose.JSONWebKeySet, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	client := &http.Client{
		Transport: s.transport,
		// An issuer is where it says that it is.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if s.transport == nil {
		client.Transport = &http.Transport{
			DisableKeepAlives: true,
			DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				host, _, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				d := tls.Dialer{Config: trusting(host, p.Thumbprints)}
				return d.DialContext(ctx, network, addr)
			},
		}
	}
	var configuration struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	issuer := "https://" + p.URL
	if err := fetchJSON(ctx, client, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", &configuration); err != nil {
		return nil, err
	}
	if configuration.Issuer != issuer {
		return nil, fmt.Errorf("the configuration of %s is of the issuer %q", issuer, configuration.Issuer)
	}
	if u, err := url.Parse(configuration.Keys); err != nil || u.Scheme != "https" {
		return nil, fmt.Errorf("jwks_uri %q is no HTTPS URL", configuration.Keys)
	}
	set := &jose.JSONWebKeySet{}
	return set, fetchJSON(ctx, client, configuration.Keys, set)
}

// trusting trusts whom the machine trusts, and issuers that show a certificate
// with one of the provider's thumbprints.
func trusting(host string, thumbprints []string) *tls.Config {
	return &tls.Config{
		ServerName:         host,
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it
		VerifyConnection: func(cs tls.ConnectionState) error {
			for _, c := range cs.PeerCertificates {
				sum := sha1.Sum(c.Raw) //nolint:gosec // as above
				if slices.ContainsFunc(thumbprints, func(t string) bool { return strings.EqualFold(t, hex.EncodeToString(sum[:])) }) &&
					cs.PeerCertificates[0].VerifyHostname(host) == nil && leadsTo(cs.PeerCertificates, c) {
					return nil
				}
			}
			pool := x509.NewCertPool()
			for _, c := range cs.PeerCertificates[1:] {
				pool.AddCert(c)
			}
			_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: host, Intermediates: pool})
			return err
		},
	}
}

// leadsTo tells whether the chain's first certificate is the trusted one or is
// signed, over the certificates between, by it.
func leadsTo(chain []*x509.Certificate, trusted *x509.Certificate) bool {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(trusted)
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err == nil
}

func fetchJSON(ctx context.Context, client *http.Client, from string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", from, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(into); err != nil {
		return fmt.Errorf("read %s: %w", from, err)
	}
	return nil
}
