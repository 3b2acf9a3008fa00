// Package ecs serves Amazon ECS's API: it checks requests, writes what is
// wanted into the store, and shows what controllers and nodes have written.
package ecs

import (
	"context"
	"errors"
	"log/slog"
	"math/big"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ecs"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/pagetoken"
	"roadstead.dev/internal/store"
)

// Config is what the service stands on.
type Config struct {
	Store store.Store
	// Placer places tasks on container instances; without it no cluster has any.
	Placer Placer
	// Fleet tells what container instances have left; without it, what they
	// registered.
	Fleet Fleet
	// Reports takes what agents report; without it nobody's reports are taken.
	Reports Reports
	// Documents verifies instances' identity documents; without it only an
	// instance's credentials prove which one it is.
	Documents Documents
	// Log may be nil.
	Log *slog.Logger
}

// Service implements ecs.Handler.
type Service struct {
	store     store.Store
	placer    Placer
	fleet     Fleet
	reports   Reports
	documents Documents
	log       *slog.Logger
}

var _ ecs.Handler = (*Service)(nil)

// New makes the service.
func New(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Service{store: c.Store, placer: c.Placer, fleet: c.Fleet, reports: c.Reports, documents: c.Documents, log: c.Log}
}

// scope is the account and region that a call is about, and its time.
type scope struct {
	account, region string
	now             time.Time
	call            *api.Call
}

func scopeOf(ctx context.Context) scope {
	c := api.CallFrom(ctx)
	return scope{account: c.Account, region: c.Region, now: c.Time.UTC().Truncate(time.Millisecond), call: c}
}

// maxTries bounds retry: one of so many tries meets no other writer, unless
// the conflict is with records that do not fit each other and stays.
const maxTries = 1000

// retry runs a read-decide-write again while others change what it read.
func retry[T any](ctx context.Context, f func() (T, error)) (T, error) {
	for try := 1; ; try++ {
		v, err := f()
		if !errors.Is(err, store.ErrConflict) || ctx.Err() != nil || try == maxTries {
			return v, err
		}
	}
}

// val is what p points to, or the zero value.
func val[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// orEmpty makes a list that is shown even when it has nothing.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// digits19 is a random number of nineteen digits, as in the ids of
// deployments and service revisions.
func digits19() string {
	n, _ := new(big.Int).SetString(id.Hex(30), 16)
	span := new(big.Int).Exp(big.NewInt(10), big.NewInt(18), nil)
	return string(rune('1'+n.Bit(0)+2*n.Bit(1))) + pad18(n.Rsh(n, 2).Mod(n, span).String())
}

func pad18(s string) string {
	for len(s) < 18 {
		s = "0" + s
	}
	return s
}

func missing(arn string) ecs.Failure {
	return ecs.Failure{Arn: new(arn), Reason: new("MISSING")}
}

// page is the part of a list that maxResults and nextToken ask for: AWS's
// limit is a hundred unless maximum says otherwise.
func (sc scope) page(maxResults *int32, nextToken *string, maximum int, filters ...string) (after string, limit int, err error) {
	limit = maximum
	if maxResults != nil {
		limit = int(*maxResults)
		if limit < 1 || limit > maximum {
			return "", 0, ecs.NewInvalidParameterException("maxResults must be between 1 and %d.", maximum)
		}
	}
	if val(nextToken) == "" {
		return "", limit, nil
	}
	after, ok := pagetoken.Open(*nextToken, sc.filters(filters)...)
	if !ok {
		return "", 0, ecs.NewInvalidParameterException("Invalid token")
	}
	return after, limit, nil
}

// token is what the next page starts behind, nil on the last one.
func (sc scope) token(more bool, last string, filters ...string) *string {
	if !more {
		return nil
	}
	return new(pagetoken.Make(last, sc.filters(filters)...))
}

func (sc scope) filters(f []string) []string {
	return append([]string{sc.account, sc.region}, f...)
}
