package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Config is how a load balancer reaches providers.
type Config struct {
	// Dial connects from the load balancer to ip:port.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Lookup resolves a name to IPv4 addresses, as the load balancer's VPC does.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Roots are the authorities that providers' certificates may come from.
	// Nil means the machine's.
	Roots func() *x509.CertPool
	// Now is the time.
	Now func() time.Time
}

// Client asks providers for a load balancer. Safe for concurrent use.
type Client struct {
	cfg  Config
	http *http.Client

	mu sync.Mutex
	// byPost are token endpoints that want clients to tell who they are in the
	// body of requests.
	byPost map[string]bool
	keys   map[string]*keySet // by the endpoints of the sets
	// refreshes under way, and just done, by a digest of the token.
	refreshes map[string]*refreshing
}

const (
	// patience is how long a provider may take.
	patience = 5 * time.Second
	// maxAnswer bounds what is read of a provider's answer.
	maxAnswer = 256 << 10
)

// NewClient makes a client.
func NewClient(cfg Config) *Client {
	c := &Client{cfg: cfg, byPost: map[string]bool{}, keys: map[string]*keySet{}, refreshes: map[string]*refreshing{}}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext: refusePlain, DialTLSContext: c.dialTLS, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c
}

// Close ends connections to providers that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// refusePlain keeps secrets off connections without TLS.
func refusePlain(context.Context, string, string) (net.Conn, error) { return nil, errPlain }

var errPlain = errors.New("the endpoint is not one of HTTPS")

func (c *Client) dialTLS(ctx context.Context, _, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = append(addrs, a)
	} else if addrs, err = c.cfg.Lookup(ctx, host); err != nil {
		return nil, fmt.Errorf("look up %s: %w", host, err)
	}
	err = fmt.Errorf("%s has no address", host)
	for _, a := range addrs {
		var conn net.Conn
		if conn, err = c.cfg.Dial(ctx, net.JoinHostPort(a.String(), port)); err != nil {
			continue
		}
		cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
		if c.cfg.Roots != nil {
			cfg.RootCAs = c.cfg.Roots()
		}
		tc := tls.Client(conn, cfg)
		if err = tc.HandshakeContext(ctx); err == nil {
			return tc, nil
		}
		_ = conn.Close()
	}
	return nil, err
}

// answer is what a provider answered.
type answer struct {
	status int
	kind   string // the media type
	body   []byte
}

var errLong = errors.New("the answer is too long")

// ask sends a request and reads the whole answer.
func (c *Client) ask(ctx context.Context, req *http.Request, limit int64) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "AWS-ELB")
	resp, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode}
	a.kind, _, _ = mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1)); err != nil {
		return a, err
	}
	if int64(len(a.body)) > limit {
		return a, errLong
	}
	return a, nil
}

// timedOut tells whether a provider took too long.
func timedOut(err error) bool {
	var ne net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &ne) && ne.Timeout()
}

// tokens are what a token endpoint gives.
type tokens struct {
	Access  string      `json:"access_token"`
	ID      string      `json:"id_token"`
	Refresh string      `json:"refresh_token"`
	Type    string      `json:"token_type"`
	Expires json.Number `json:"expires_in"`
}

// tokenError is what a token endpoint refuses with.
type tokenError struct {
	Code string `json:"error"`
}

// grant asks a token endpoint for tokens. The client tells who it is by HTTP
// basic authentication; an endpoint that does not know that is asked again
// with the secret in the body.
func (c *Client) grant(ctx context.Context, p *Provider, form url.Values) (answer, error) {
	c.mu.Lock()
	post := c.byPost[p.TokenEndpoint]
	c.mu.Unlock()
	a, err := c.grantBy(ctx, p, form, post)
	if err != nil || post || !unknownClient(a) {
		return a, err
	}
	again, err := c.grantBy(ctx, p, form, true)
	if err == nil && again.status == http.StatusOK {
		c.mu.Lock()
		c.byPost[p.TokenEndpoint] = true
		c.mu.Unlock()
	}
	return again, err
}

func unknownClient(a answer) bool {
	var e tokenError
	_ = json.Unmarshal(a.body, &e)
	return a.status == http.StatusUnauthorized || a.status == http.StatusBadRequest && e.Code == "invalid_client"
}

func (c *Client) grantBy(ctx context.Context, p *Provider, form url.Values, post bool) (answer, error) {
	if post {
		form = url.Values(http.Header(form).Clone())
		form.Set("client_id", p.ClientID)
		form.Set("client_secret", p.ClientSecret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.TokenEndpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if !post {
		req.SetBasicAuth(url.QueryEscape(p.ClientID), url.QueryEscape(p.ClientSecret))
	}
	return c.ask(ctx, req, maxAnswer)
}

// userInfo asks who an access token stands for.
func (c *Client) userInfo(ctx context.Context, p *Provider, access string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.UserInfoEndpoint, nil)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+access)
	return c.ask(ctx, req, maxAnswer)
}
