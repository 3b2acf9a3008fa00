// Package identity answers who signed a request and what they may do: it
// looks up credentials, mints temporary ones, and evaluates the policies that
// bear on a caller. It reads IAM's records from the store on every request,
// so a change takes effect at once.
package identity

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/plan/policy/managed"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// RootKey is a long-term key of an account's root user.
type RootKey struct {
	AccessKeyID string
	Secret      string
	Account     string
}

// Config is what a Directory needs; Store and Clock are required.
type Config struct {
	Store store.Store
	Clock clock.Clock
	Log   *slog.Logger
	// Root lists the root users' keys; those without an id or a secret are
	// left out.
	Root []RootKey
	// Issuers fetches the keys of identity providers; nil goes over the network
	// and trusts whom the machine and the providers' thumbprints trust.
	Issuers http.RoundTripper
}

// Directory knows the principals of all accounts. Safe for concurrent use.
type Directory struct {
	store store.Store
	clock clock.Clock
	log   *slog.Logger
	root  map[string]RootKey

	seal     cipher.AEAD
	sessions *sessionCache
	docs     *documentCache
	used     usage
	issuers  issuers
}

// New opens the directory. The key that seals session tokens is in the store,
// made on first use, so that tokens outlive the server and hold on all
// replicas.
func New(ctx context.Context, cfg Config) (*Directory, error) {
	d := &Directory{
		store:    cfg.Store,
		clock:    cfg.Clock,
		log:      cfg.Log,
		root:     map[string]RootKey{},
		sessions: newSessionCache(),
		docs:     newDocumentCache(),
		issuers:  issuers{transport: cfg.Issuers},
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	for _, k := range cfg.Root {
		if k.AccessKeyID == "" || k.Secret == "" {
			continue // not configured: nobody may sign as root with nothing
		}
		d.root[k.AccessKeyID] = k
	}
	var err error
	if d.seal, err = openSeal(ctx, cfg.Store, cfg.Clock.Now()); err != nil {
		return nil, fmt.Errorf("open the session token key: %w", err)
	}
	return d, nil
}

// Role reads a role by its ARN; store.ErrNotFound when there is none with
// that account, path and name.
func (d *Directory) Role(ctx context.Context, arn string) (*model.Role, error) {
	account, _, name, ok := model.IAMNameOf(arn, "role")
	if !ok {
		return nil, fmt.Errorf("role %q: %w", arn, store.ErrNotFound)
	}
	row, err := tables.Roles.Get(ctx, d.store, account, "", strings.ToLower(name))
	if err != nil {
		return nil, fmt.Errorf("role %q: %w", arn, err)
	}
	if row.V.ARN != arn {
		return nil, fmt.Errorf("role %q: %w", arn, store.ErrNotFound)
	}
	return row.V, nil
}

// PolicyDocument is the default version's text of a managed policy, AWS's or
// a customer's; store.ErrNotFound when there is none.
func (d *Directory) PolicyDocument(ctx context.Context, arn string) (string, error) {
	if p, ok := managed.Get(arn); ok {
		return p.Document, nil
	}
	account, _, name, ok := model.IAMNameOf(arn, "policy")
	if !ok {
		return "", fmt.Errorf("policy %q: %w", arn, store.ErrNotFound)
	}
	row, err := tables.Policies.Get(ctx, d.store, account, "", strings.ToLower(name))
	if err != nil {
		return "", fmt.Errorf("policy %q: %w", arn, err)
	}
	if row.V.ARN != arn {
		return "", fmt.Errorf("policy %q: %w", arn, store.ErrNotFound)
	}
	return row.V.Document(), nil
}

// named reads and parses a managed policy. One that is gone says nothing; it
// could not have been deleted while attached.
func (d *Directory) named(ctx context.Context, arn string) (policy.Named, bool, error) {
	text, err := d.PolicyDocument(ctx, arn)
	if errors.Is(err, store.ErrNotFound) {
		return policy.Named{}, false, nil
	}
	if err != nil {
		return policy.Named{}, false, err
	}
	doc, err := d.docs.parse(text, policy.Identity)
	if err != nil {
		return policy.Named{}, false, fmt.Errorf("policy %s: %w", arn, err)
	}
	return policy.Named{Name: arn, Document: doc}, true, nil
}

// documentCache keeps parsed documents by their text.
type documentCache struct {
	mu   sync.RWMutex
	docs [3]map[string]*policy.Document
}

// cachedDocuments bounds each kind's part of the cache. A full part is
// dropped whole: parsing is cheap enough.
const cachedDocuments = 4096

func newDocumentCache() *documentCache {
	c := &documentCache{}
	for i := range c.docs {
		c.docs[i] = map[string]*policy.Document{}
	}
	return c
}

func (c *documentCache) parse(text string, kind policy.Kind) (*policy.Document, error) {
	c.mu.RLock()
	doc := c.docs[kind][text]
	c.mu.RUnlock()
	if doc != nil {
		return doc, nil
	}
	doc, err := policy.Parse(text, kind)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.docs[kind]) >= cachedDocuments {
		c.docs[kind] = map[string]*policy.Document{}
	}
	c.docs[kind][text] = doc
	return doc, nil
}
