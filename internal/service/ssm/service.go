// Package ssm serves the Parameter Store of AWS Systems Manager. SecureStrings
// are sealed before they reach the store.
package ssm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ssm"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/pagetoken"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Config is what a Service needs. All of it is required.
type Config struct {
	Store store.Store
	// Key seals SecureStrings.
	Key *seal.Key
}

// Service implements ssm.Handler.
type Service struct {
	Config
	publics publics
}

var (
	_ ssm.Handler        = (*Service)(nil)
	_ api.ResourceScoper = (*Service)(nil)
)

// New makes a Service.
func New(c Config) *Service { return &Service{Config: c} }

// errNotFound has no text, as AWS's has none.
var errNotFound = ssm.NewParameterNotFound("")

func invalid(format string, args ...any) error {
	return api.NewFault("ValidationException", format, args...)
}

// reference is how a request names a parameter, or a version of it.
type reference struct {
	name string
	// alternative is the other name that an ARN may stand for: "/a" beside
	// "a". Empty where there is none.
	alternative string
	// selector is a version or a label, empty for the newest version.
	selector string
	// foreign: the ARN is another account's or region's.
	foreign bool
}

// refer reads a name or an ARN, with a selector behind a colon or without.
func refer(c *api.Call, text string) reference {
	var r reference
	path, ok := text, false
	if strings.HasPrefix(text, "arn:") {
		a, err := model.ParseARN(text)
		if path, ok = strings.CutPrefix(a.Resource, "parameter/"); err != nil || !ok || a.Service != "ssm" {
			return reference{foreign: true}
		}
		public := a.Account == "" && strings.HasPrefix("/"+path, publicRoot)
		r.foreign = a.Account != c.Account && !public || a.Region != c.Region
	}
	r.name, r.selector, _ = strings.Cut(path, ":")
	if ok {
		if strings.Contains(r.name, "/") {
			r.name = "/" + r.name
		} else {
			r.alternative = "/" + r.name
		}
	}
	return r
}

// find reads the parameter that a reference names.
func (s *Service) find(ctx context.Context, r reference) (store.Row[model.Parameter], error) {
	c := api.CallFrom(ctx)
	if r.foreign || r.name == "" {
		return store.Row[model.Parameter]{}, errNotFound
	}
	row, err := tables.Parameters.Get(ctx, s.Store, c.Account, c.Region, r.name)
	if errors.Is(err, store.ErrNotFound) && r.alternative != "" {
		row, err = tables.Parameters.Get(ctx, s.Store, c.Account, c.Region, r.alternative)
	}
	if errors.Is(err, store.ErrNotFound) {
		return row, errNotFound
	}
	if err != nil {
		return row, fmt.Errorf("read parameter: %w", err)
	}
	return row, nil
}

// versions reads the versions of a parameter, the oldest first.
func (s *Service) versions(ctx context.Context, row store.Row[model.Parameter]) ([]*model.ParameterVersion, error) {
	rows, err := tables.ParameterVersions.List(ctx, s.Store, store.Query{
		Account: row.Key.Account, Region: row.Key.Region, Prefix: model.ParameterVersionPrefix(row.V.Name),
	})
	if err != nil {
		return nil, fmt.Errorf("read the versions of a parameter: %w", err)
	}
	out := make([]*model.ParameterVersion, len(rows))
	for i, r := range rows {
		out[i] = r.V
	}
	return out, nil
}

// update finds a parameter and writes what change makes of it, again and
// again while others change it in between. change may add writes to the
// transaction.
func (s *Service) update(ctx context.Context, r reference, change func(*store.Txn, store.Row[model.Parameter], *model.Parameter) error) (*model.Parameter, error) {
	for {
		row, err := s.find(ctx, r)
		if err != nil {
			return nil, err
		}
		v, tx := row.Copy(), store.NewTxn()
		if err := change(tx, row, v); err != nil {
			return nil, err
		}
		tables.Parameters.Replace(tx, row, v)
		switch _, err := tx.Commit(ctx, s.Store); {
		case err == nil:
			return v, nil
		case !errors.Is(err, store.ErrConflict):
			return nil, fmt.Errorf("write parameter: %w", err)
		}
	}
}

// sortBy sorts by key, as page wants it.
func sortBy[T any](all []T, key func(T) string) {
	slices.SortFunc(all, func(a, b T) int { return strings.Compare(key(a), key(b)) })
}

// page cuts a page out of what comes in the order of its keys. List says what
// the list is: the operation, and all that chose its elements.
func page[T any](all []T, key func(T) string, token *string, limit *int32, standard int, list ...string) (out []T, next *string, err error) {
	if token != nil {
		after, ok := pagetoken.Open(*token, list...)
		if !ok {
			return nil, nil, ssm.NewInvalidNextToken("The specified token isn't valid.")
		}
		for len(all) > 0 && key(all[0]) <= after {
			all = all[1:]
		}
	}
	size := standard
	if limit != nil {
		size = int(*limit)
	}
	if len(all) > size {
		all = all[:size]
		next = new(pagetoken.Make(key(all[size-1]), list...))
	}
	return all, next, nil
}

// listOf is what makes a list what it is, for page: the operation, whose it
// is, and what chose its elements.
func listOf(ctx context.Context, operation string, chosen ...any) []string {
	c := api.CallFrom(ctx)
	b, err := json.Marshal(chosen)
	if err != nil {
		panic(err) // inputs are made of strings and booleans
	}
	return []string{operation, c.Account, c.Region, string(b)}
}

func str(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// opt is nil for what is empty, as answers leave it out.
func opt(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func isTrue(p *bool) bool { return p != nil && *p }
