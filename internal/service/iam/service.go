// Package iam serves AWS Identity and Access Management: users, groups, roles,
// policies, access keys and instance profiles.
package iam

import (
	"context"
	"crypto/sha256"
	"errors"
	"sort"
	"strings"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/pagetoken"
	"roadstead.dev/internal/plan/policy"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
)

// Principals knows what policies bear on a principal.
type Principals interface {
	// PoliciesOf is the policies of a user, group or role, with the context
	// keys that describe it.
	PoliciesOf(ctx context.Context, arn string) (*policy.Set, policy.Context, error)
}

// Config is what a Service needs. All of it is required.
type Config struct {
	Store      store.Store
	Principals Principals
	// Key seals the private keys of server certificates.
	Key *seal.Key
}

// Service implements IAM's operations.
type Service struct {
	store      store.Store
	principals Principals
	key        *seal.Key
}

var (
	_ iam.Handler        = (*Service)(nil)
	_ api.ResourceScoper = (*Service)(nil)
)

// New makes the service.
func New(cfg Config) *Service {
	return &Service{store: cfg.Store, principals: cfg.Principals, key: cfg.Key}
}

// write runs change on an empty transaction and commits it, again and again
// while records that it read change in between.
func (s *Service) write(ctx context.Context, change func(tx *store.Txn) error) error {
	for {
		tx := store.NewTxn()
		if err := change(tx); err != nil {
			return err
		}
		_, err := tx.Commit(ctx, s.store)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// now is the time of the call as IAM keeps times: in whole seconds.
func now(c *api.Call) time.Time { return c.Time.UTC().Truncate(time.Second) }

// uniqueID makes one of IAM's unique ids.
func uniqueID(prefix string) string { return prefix + id.Upper(17) }

// key is the record id of a name: names differ by more than case.
func key(name string) string { return strings.ToLower(name) }

func str(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// pathOf is a path that was given, or the default.
func pathOf(p *string) string {
	if p == nil || *p == "" {
		return "/"
	}
	return *p
}

func arnOf(account, typ, path, name string) string {
	return "arn:aws:iam::" + account + ":" + typ + path + name
}

// fault is an error of a code that IAM's model does not list.
func fault(status int, code, format string, args ...any) error {
	f := api.NewFault(code, format, args...)
	f.Status = status
	return f
}

// absent makes store.ErrNotFound the service's own error.
func absent(err, own error) error {
	if errors.Is(err, store.ErrNotFound) {
		return own
	}
	return err
}

// defaultItems is how many items a page holds where the caller does not say.
const defaultItems = 100

// page cuts a page from items, which it sorts by their ids. List says what the
// items are: the operation, and all that chose them.
func page[T any](ctx context.Context, items []T, idOf func(T) string, marker *string, limit *int32, list ...string) (cut []T, truncated *bool, next *string, err error) {
	list = append([]string{api.CallFrom(ctx).Account}, list...)
	whole := idOf
	idOf = func(item T) string { return clipped(whole(item)) }
	sort.SliceStable(items, func(i, j int) bool { return idOf(items[i]) < idOf(items[j]) })
	start := 0
	if marker != nil {
		after, ok := pagetoken.Open(*marker, list...)
		if !ok {
			return nil, nil, nil, fault(400, "ValidationError", "Invalid Marker.")
		}
		start = sort.Search(len(items), func(i int) bool { return idOf(items[i]) > after })
	}
	n := defaultItems
	if limit != nil {
		n = int(*limit)
	}
	items = items[start:]
	if len(items) <= n {
		if items == nil {
			items = []T{}
		}
		return items, new(false), nil, nil
	}
	return items[:n], new(true), new(pagetoken.Make(idOf(items[n-1]), list...)), nil
}

// clipped is an id that fits into a marker, which has 320 characters at most.
func clipped(id string) string {
	const most, kept = 160, 140
	if len(id) <= most {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return id[:kept] + "\xff" + string(sum[:12])
}

// The quotas of an account, as AWS sets them for everybody.
const (
	maxUsers    = 5000
	maxGroupsOf = 300
	maxRoles    = 1000
	maxProfiles = 1000
	maxPolicies = 1500
	maxOIDC     = 100
)

// within checks that an account may have one more record of a table.
func within[T any](ctx context.Context, s *Service, table *store.Table[T], quota string, most int32) error {
	have, err := count(ctx, s.store, table, store.Query{Account: api.CallFrom(ctx).Account})
	if err == nil && have >= most {
		err = iam.NewLimitExceededException("Cannot exceed quota for %s: %d", quota, most)
	}
	return err
}

// mapped is f of each item.
func mapped[T, U any](items []T, f func(T) U) []U {
	out := make([]U, len(items))
	for i := range items {
		out[i] = f(items[i])
	}
	return out
}

func same(s string) string { return s }

// parsePolicy checks a document and makes IAM's error of what is wrong.
func parsePolicy(text string, kind policy.Kind) (*policy.Document, error) {
	doc, err := policy.Parse(text, kind)
	if m, ok := errors.AsType[*policy.Malformed](err); ok {
		return nil, iam.NewMalformedPolicyDocumentException("%s", m.Message)
	}
	return doc, err
}

// documentSize counts a document as IAM's quotas do: without white space.
func documentSize(text string) int {
	n := 0
	for _, r := range text {
		switch r {
		case ' ', '\t', '\n', '\r':
		default:
			n++
		}
	}
	return n
}

// boundaryType is how outputs name a permissions boundary.
func boundaryOf(arn string) *iam.AttachedPermissionsBoundary {
	if arn == "" {
		return nil
	}
	return &iam.AttachedPermissionsBoundary{
		PermissionsBoundaryArn:  &arn,
		PermissionsBoundaryType: iam.PermissionsBoundaryAttachmentTypePermissionsBoundaryPolicy,
	}
}

func modelTags(list []iam.Tag) (model.Tags, error) {
	tags := model.Tags{}
	seen := map[string]bool{}
	for _, t := range list {
		k := str(t.Key)
		if seen[strings.ToLower(k)] {
			return nil, iam.NewInvalidInputException("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
		}
		seen[strings.ToLower(k)] = true
		if strings.HasPrefix(strings.ToLower(k), "aws:") {
			return nil, iam.NewInvalidInputException("Tag keys beginning with aws: are reserved for system use.")
		}
		tags[k] = str(t.Value)
	}
	return tags.Initial(), nil
}
