// Package secretsmanager serves AWS Secrets Manager. Secrets are records;
// their values are sealed before they reach the store. There is no rotation
// and no replication.
package secretsmanager

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/secretsmanager"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Config is what a Service needs. All of it is required.
type Config struct {
	Store store.Store
	Clock clock.Clock
	// Key seals the values.
	Key *seal.Key
}

// Service implements secretsmanager.Handler.
type Service struct{ Config }

var (
	_ secretsmanager.Handler = (*Service)(nil)
	_ api.ResourceScoper     = (*Service)(nil)
	_ api.ResourcePolicies   = (*Service)(nil)
)

// New makes a Service.
func New(c Config) *Service { return &Service{c} }

// Errors in Secrets Manager's words.
var (
	errNotFound  = secretsmanager.NewResourceNotFoundException("Secrets Manager can't find the specified secret.")
	errDeleted   = secretsmanager.NewInvalidRequestException("You can't perform this operation on the secret because it was marked for deletion.")
	errNoToken   = secretsmanager.NewInvalidRequestException("You must provide a ClientRequestToken value. We recommend a UUID-type value.")
	errNextToken = secretsmanager.NewInvalidNextTokenException("Invalid NextToken.")
)

func invalid(format string, args ...any) error {
	return secretsmanager.NewInvalidParameterException(format, args...)
}

// place is where a secret id leads.
type place struct {
	account, region, name string
	// arn is set when the id is a whole ARN: the secret must have it.
	arn string
}

var (
	names = regexp.MustCompile(`^[A-Za-z0-9/_+=.@!-]+$`)
	// suffixed matches what a whole ARN says of the secret. A name that looks
	// so itself cannot be used in a partial ARN, as on AWS.
	suffixed = regexp.MustCompile(`^(.+)-[A-Za-z0-9]{6}$`)
)

// locate reads a secret id: a name, an ARN, or an ARN without its suffix.
func locate(c *api.Call, id string) (place, error) {
	p := place{account: c.Account, region: c.Region, name: id}
	if strings.HasPrefix(id, "arn:") {
		a, err := model.ParseARN(id)
		name, ok := strings.CutPrefix(a.Resource, "secret:")
		if err != nil || a.Service != "secretsmanager" || a.Region != c.Region || !ok {
			return place{}, errNotFound
		}
		p.account, p.name = a.Account, name
		if m := suffixed.FindStringSubmatch(name); m != nil {
			p.name, p.arn = m[1], id
		}
	}
	return p, checkName(p.name)
}

func checkName(name string) error {
	if !names.MatchString(name) {
		return api.NewFault("ValidationException", "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!")
	}
	return nil
}

// read finds a secret, one that is to be deleted too.
func (s *Service) read(ctx context.Context, id string) (store.Row[model.Secret], error) {
	c := api.CallFrom(ctx)
	p, err := locate(c, id)
	if err != nil {
		return store.Row[model.Secret]{}, err
	}
	row, err := tables.Secrets.Get(ctx, s.Store, p.account, p.region, p.name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return row, errNotFound
	case err != nil:
		return row, fmt.Errorf("read secret: %w", err)
	case row.V.Gone(c.Time) || p.arn != "" && row.V.ARN != p.arn:
		return row, errNotFound
	}
	return row, nil
}

// usable finds a secret that is not to be deleted.
func (s *Service) usable(ctx context.Context, id string) (store.Row[model.Secret], error) {
	row, err := s.read(ctx, id)
	if err == nil && !row.V.DeletionDate.IsZero() {
		err = errDeleted
	}
	return row, err
}

// find is read or usable.
type find func(ctx context.Context, id string) (store.Row[model.Secret], error)

// update finds a secret and writes what change makes of it, again and again
// while others change it in between. change may add writes to the transaction.
func (s *Service) update(ctx context.Context, f find, id string, change func(*store.Txn, store.Key, *model.Secret) error) (*model.Secret, error) {
	for {
		row, err := f(ctx, id)
		if err != nil {
			return nil, err
		}
		v, tx := row.Copy(), store.NewTxn()
		if err := change(tx, row.Key, v); err != nil {
			if errors.Is(err, store.ErrUnchanged) {
				return v, nil
			}
			return nil, err
		}
		tables.Secrets.Replace(tx, row, v)
		_, err = tx.Commit(ctx, s.Store)
		switch {
		case err == nil:
			return v, nil
		case !errors.Is(err, store.ErrConflict):
			return nil, fmt.Errorf("write secret: %w", err)
		}
	}
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
