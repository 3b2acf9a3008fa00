// Package registrytest starts a registry on real HTTP for tests.
package registrytest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/registry"
	"roadstead.dev/internal/registry/blob"
	"roadstead.dev/internal/registry/token"
	"roadstead.dev/internal/service/ecr/catalog"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

// The registry that bare hosts lead to.
const (
	Account = "000000000000"
	Region  = "us-east-1"
)

// Space is the default registry.
var Space = registry.Space{Account: Account, Region: Region}

// AuthorizerFunc is a registry.Authorizer.
type AuthorizerFunc func(account string, caller api.Identity, a registry.Access) error

// AuthorizeRegistry calls f; a nil f allows everything.
func (f AuthorizerFunc) AuthorizeRegistry(_ context.Context, account string, caller api.Identity, a registry.Access) error {
	if f == nil {
		return nil
	}
	return f(account, caller, a)
}

// Server is a registry that runs.
type Server struct {
	*registry.Handler
	Catalog *catalog.Catalog
	Store   store.Store
	Blobs   *blob.Store
	// URL without a slash at the end; Addr is its host and port.
	URL, Addr string
	Dir       string
}

// Options of a server.
type Options struct {
	Clock      clock.Clock
	Authorizer AuthorizerFunc
	Blobs      blob.Options
	// Dir and Store of an earlier server, which this one goes on from.
	Dir   string
	Store store.Store
}

// Start starts a registry that ends with the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Store == nil {
		o.Store = memory.New()
		t.Cleanup(func() { _ = o.Store.Close() })
	}
	o.Blobs.Clock = o.Clock
	blobs, err := blob.Open(o.Dir, o.Blobs)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := token.LoadSigner(o.Dir + "/token.key")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Store: o.Store, Blobs: blobs, Dir: o.Dir, Catalog: &catalog.Catalog{Store: o.Store, Clock: o.Clock}}
	s.Handler = registry.NewHandler(registry.Config{
		Registry: &registry.Registry{Catalog: s.Catalog, Blobs: blobs}, Signer: signer,
		Authorizer: o.Authorizer, Clock: o.Clock, Default: Space,
	})
	srv := httptest.NewServer(s.Handler)
	t.Cleanup(srv.Close)
	s.URL = srv.URL
	s.Addr = strings.TrimPrefix(srv.URL, "http://")
	return s
}

// Create makes repositories in a registry.
func (s *Server) Create(t testing.TB, sp registry.Space, names ...string) {
	t.Helper()
	for _, name := range names {
		s.CreateRepository(t, sp, model.ECRRepository{Name: name, TagMutability: "MUTABLE", EncryptionType: "AES256"})
	}
}

// CreateRepository makes a repository.
func (s *Server) CreateRepository(t testing.TB, sp registry.Space, r model.ECRRepository) {
	t.Helper()
	tx := store.NewTxn()
	tables.ECRRepositories.Put(tx, sp.Account, sp.Region, r.Name, &r)
	if _, err := tx.Commit(t.Context(), s.Store); err != nil {
		t.Fatal(err)
	}
}

// Password is a docker password of the root of an account.
func (s *Server) Password(t testing.TB, account string) string {
	t.Helper()
	return s.PasswordOf(t, account, api.Identity{ARN: "arn:aws:iam::" + account + ":root", UserID: account, Root: true}, token.Lifetime)
}

// PasswordOf is a docker password of somebody, for a time.
func (s *Server) PasswordOf(t testing.TB, account string, who api.Identity, life time.Duration) string {
	t.Helper()
	pw, err := s.Signer.Issue(token.Claims{Account: account, Identity: who, Expires: s.Clock.Now().Add(life)})
	if err != nil {
		t.Fatal(err)
	}
	return pw
}

// Request makes a request with the root's password; prepare may be nil.
func (s *Server) Request(t testing.TB, method, path, body string, prepare func(*http.Request)) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("AWS", s.Password(t, Account))
	if prepare != nil {
		prepare(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}
