package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/registry/reference"
	"roadstead.dev/internal/registry/token"
)

// Access is what a caller wants to do.
type Access struct {
	// Space is the registry that holds the resource. Its account may be another
	// than the caller's.
	Space Space
	// Action is the IAM action, "ecr:PutImage".
	Action string
	// Resource is the repository's ARN, or "*".
	Resource string
	// ResourcePolicy is the repository's policy, or empty.
	ResourcePolicy string
	// SourceIP is the caller's address.
	SourceIP string
	Time     time.Time
}

// Authorizer decides whether a caller may do what it wants. It returns nil, or
// an api.Error whose message says what was denied.
type Authorizer interface {
	AuthorizeRegistry(ctx context.Context, account string, caller api.Identity, a Access) error
}

// Config is what a Handler is made of. All fields but Log are required.
type Config struct {
	Registry   *Registry
	Signer     *token.Signer
	Authorizer Authorizer
	Clock      clock.Clock
	// Default is the registry of hosts that name none, such as localhost.
	Default Space
	Log     *slog.Logger
	// Throttle tells whether an account may call an operation of ECR's once
	// more; nil lets all pass.
	Throttle func(account, region, operation string) bool
	// Provider, if there is one, brings what is not there.
	Provider Provider
	// StallTimeout is how long a body that is sent may stand still; default a
	// minute.
	StallTimeout time.Duration
}

// Handler serves /v2/.
type Handler struct{ Config }

var _ http.Handler = (*Handler)(nil)

// NewHandler makes a Handler.
func NewHandler(c Config) *Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.StallTimeout == 0 {
		c.StallTimeout = time.Minute
	}
	return &Handler{c}
}

// call is one request.
type call struct {
	*Handler
	ctx    context.Context
	w      http.ResponseWriter
	r      *http.Request
	space  Space
	claims token.Claims
	// name and last are the parts of the path.
	name, last string
	repository Repository
}

// ServeHTTP answers a request of the distribution protocol.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	space, ok := SpaceOfHost(r.Host)
	if !ok {
		space = h.Default
	}
	c := &call{Handler: h, ctx: r.Context(), w: w, r: r, space: space}
	err := c.serve()
	if err == nil {
		return
	}
	e := asError(err)
	switch {
	case e != nil:
	case errors.Is(err, context.Canceled) || errors.Is(err, io.ErrUnexpectedEOF):
		return // the client is gone
	default:
		h.Log.LogAttrs(r.Context(), slog.LevelError, "registry request failed",
			slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Any("error", err))
		e = Errorf(Unknown, "")
	}
	if e.Code == Unauthorized {
		c.challenge()
		return
	}
	writeError(w, e)
}

func (c *call) serve() error {
	path := c.r.URL.Path
	if path == "/v2" || path == "/v2/" {
		return c.ping()
	}
	e, name, last, allow := find(c.r.Method, path)
	c.name, c.last = name, last
	if e != nil && c.signedURL() {
		return e.serve(c)
	}
	if err := c.authenticate(); err != nil {
		return err
	}
	if e == nil {
		if allow != nil {
			slices.Sort(allow)
			c.w.Header().Set("Allow", strings.Join(allow, ", "))
			return Errorf(Unsupported, "")
		}
		return Errorf(NameUnknown, "no such resource: %s", path)
	}
	if c.limited(e.action) {
		return Errorf(TooManyRequests, "Rate exceeded")
	}
	if name == "" {
		if err := c.authorize(e.action, "*", ""); err != nil {
			return err
		}
		return e.serve(c)
	}
	if err := reference.CheckName(name); err != nil {
		return err
	}
	// Who may not know whether a repository exists is told that it is denied.
	repo, notFound := c.Registry.Catalog.Repository(c.ctx, c.space, name)
	if notFound != nil && CodeOf(notFound) != NameUnknown {
		return notFound
	}
	if repo.ARN == "" {
		repo.ARN = RepositoryARN(c.space, name)
	}
	if err := c.authorize(e.action, repo.ARN, repo.Policy); err != nil {
		return err
	}
	if turn, err := c.provide(e.action, repo, notFound == nil); err != nil {
		return err
	} else if turn && notFound != nil {
		repo, notFound = c.Registry.Catalog.Repository(c.ctx, c.space, name)
	}
	if notFound != nil {
		return notFound
	}
	c.repository = repo
	return e.serve(c)
}

func (c *call) ping() error {
	if err := c.authenticate(); err != nil {
		return err
	}
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		c.w.Header().Set("Allow", "GET, HEAD")
		return Errorf(Unsupported, "")
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("Content-Length", "2")
	_, _ = io.WriteString(c.w, "{}") // a client that left needs no answer
	return nil
}

// authenticate reads the token of the request.
func (c *call) authenticate() error {
	header := c.r.Header.Get("Authorization")
	if header == "" {
		return Errorf(Unauthorized, "")
	}
	scheme, value, _ := strings.Cut(header, " ")
	password := value
	switch strings.ToLower(scheme) {
	case "basic":
		b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		user, pw, ok := strings.Cut(string(b), ":")
		if err != nil || !ok || user != "AWS" {
			return Errorf(TokenInvalid, "")
		}
		password = pw
	case "bearer":
		// The token as GetAuthorizationToken gives it is taken too: clients that
		// find it in their configuration send it unopened.
		if b, err := base64.StdEncoding.DecodeString(value); err == nil {
			if user, pw, ok := strings.Cut(string(b), ":"); ok && user == "AWS" {
				password = pw
			}
		}
	default:
		return Errorf(Unauthorized, "")
	}
	claims, err := c.Signer.Verify(password, c.Clock.Now())
	switch {
	case errors.Is(err, token.ErrExpired):
		return Errorf(Denied, "Your authorization token has expired. Reauthenticate and try again.")
	case err != nil:
		return Errorf(TokenInvalid, "")
	}
	c.claims = claims
	return nil
}

// challenge answers a request without a token as ECR does.
func (c *call) challenge() {
	const body = "Not Authorized\n"
	h := c.w.Header()
	h.Set("Www-Authenticate", fmt.Sprintf(`Basic realm="https://%s/",service="ecr.amazonaws.com"`, c.r.Host))
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(c.w, body)
}

// limited tells whether the caller's account asks too often for the action.
func (c *call) limited(action string) bool {
	return c.Throttle != nil && !c.Throttle(c.claims.Account, c.space.Region, strings.TrimPrefix(action, "ecr:"))
}

// authorize asks whether the caller may do action on a resource.
func (c *call) authorize(action, resource, policy string) error {
	ip, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		ip = c.r.RemoteAddr
	}
	err = c.Authorizer.AuthorizeRegistry(c.ctx, c.claims.Account, c.claims.Identity, Access{
		Space: c.space, Action: action, Resource: resource, ResourcePolicy: policy,
		SourceIP: ip, Time: c.Clock.Now(),
	})
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[api.Error](err); ok && e.HTTPStatus() < 500 {
		return Errorf(Denied, "%s", e.ErrorMessage())
	}
	return fmt.Errorf("authorize %s: %w", action, err)
}

// mayRead tells whether the caller may read blobs of another repository of
// the same registry.
func (c *call) mayRead(name string) bool {
	repo, err := c.Registry.Catalog.Repository(c.ctx, c.space, name)
	if err != nil {
		return false
	}
	return c.authorize(actGetBlob, repo.ARN, repo.Policy) == nil
}

// body is the request's, and gives up on a client that stops sending.
func (c *call) body() io.Reader {
	return &stallReader{r: c.r.Body, rc: http.NewResponseController(c.w), d: c.StallTimeout}
}

type stallReader struct {
	r  io.Reader
	rc *http.ResponseController
	d  time.Duration
}

// Read moves the connection's deadline before each read. The deadline is the
// machine's, not the server clock's: it is the kernel that keeps it.
func (s *stallReader) Read(p []byte) (int, error) {
	supported := s.rc.SetReadDeadline(time.Now().Add(s.d)) == nil
	n, err := s.r.Read(p)
	if supported && err != nil {
		_ = s.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}
