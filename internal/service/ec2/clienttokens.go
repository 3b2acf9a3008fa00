package ec2

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

const (
	// keepToken is how long a request is known again by its client token.
	keepToken      = 24 * time.Hour
	maxTokenLength = 64
)

// earlier says that a request was answered before, with this resource.
type earlier struct{ id string }

func (e *earlier) Error() string { return "made before: " + e.id }

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// claimToken adds to tx that a request with a token makes the resource id. It
// fails with *earlier when the same request made one that still exists, and
// with EC2's refusal when another request had the token. Without a token it
// does nothing.
func (s *Service) claimToken(ctx context.Context, call *api.Call, tx *store.Txn, token *string, in any, id string, exists func(id string) (bool, error)) error {
	if deref(token) == "" {
		return nil
	}
	if len(*token) > maxTokenLength {
		return invalidValue("Value (%s) for parameter ClientToken is invalid. Length exceeds maximum of %d.", *token, maxTokenLength)
	}
	input := reflect.New(reflect.TypeOf(in).Elem())
	input.Elem().Set(reflect.ValueOf(in).Elem())
	input.Elem().FieldByName("ClientToken").SetZero()
	b, err := json.Marshal(input.Interface())
	if err != nil {
		return err
	}
	v := &model.ClientToken{Request: hashOf(b), ResourceID: id, At: call.Time}
	key := input.Elem().Type().Name() + "/" + hashOf([]byte(*token))
	row, err := tables.ClientTokens.Get(ctx, s.store, call.Account, call.Region, key)
	if errors.Is(err, store.ErrNotFound) {
		tables.ClientTokens.Create(tx, call.Account, call.Region, key, v)
		return s.forgetTokens(ctx, call, tx)
	}
	if err != nil {
		return err
	}
	if call.Time.Sub(row.V.At) < keepToken {
		if row.V.Request != v.Request {
			return api.NewFault("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
		}
		there, err := exists(row.V.ResourceID)
		if err != nil {
			return err
		}
		if there {
			return &earlier{row.V.ResourceID}
		}
	}
	tables.ClientTokens.Replace(tx, row, v)
	return nil
}

// forgetTokens adds to tx the removal of tokens of two days ago, which no
// request is known by any more.
func (s *Service) forgetTokens(ctx context.Context, call *api.Call, tx *store.Txn) error {
	const most = 100 // in one transaction
	rows, err := tables.ClientTokens.List(ctx, s.store, store.Query{
		Account: call.Account, Region: call.Region, Index: store.Index{Name: tables.ByDay, Value: call.Time.Add(-2 * keepToken).UTC().Format(time.DateOnly)},
	})
	for i, row := range rows {
		if i < most {
			tables.ClientTokens.Erase(tx, call.Account, call.Region, row.Key.ID)
		}
	}
	return err
}

// exists tells whether a resource of the kind can still be described.
func (k kind[T]) exists(ctx context.Context, s *Service, call *api.Call) func(id string) (bool, error) {
	return func(id string) (bool, error) {
		row, err := k.table.Get(ctx, s.store, call.Account, call.Region, id)
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		}
		return err == nil && (k.hidden == nil || !k.hidden(row.V)), err
	}
}

// once stores a new resource, or finds the one that the same request made
// before. with, when not nil, adds to the transaction, and is called again
// for each attempt.
func once[T any](ctx context.Context, s *Service, call *api.Call, k kind[T], v *T, token *string, in any, with func(tx *store.Txn) error) (*T, error) {
	err := retry(func() error {
		tx := store.NewTxn()
		if err := s.claimToken(ctx, call, tx, token, in, k.id(v), k.exists(ctx, s, call)); err != nil {
			return err
		}
		if with != nil {
			if err := with(tx); err != nil {
				return err
			}
		}
		k.table.Create(tx, call.Account, call.Region, k.id(v), v)
		_, err := tx.Commit(ctx, s.store)
		return err
	})
	if had, ok := errors.AsType[*earlier](err); ok {
		row, err := k.get(ctx, s, call, had.id)
		return row.V, err
	}
	return v, err
}

// inVPC makes a transaction fail when the VPC goes meanwhile.
func (s *Service) inVPC(ctx context.Context, call *api.Call, vpcID string) func(tx *store.Txn) error {
	return func(tx *store.Txn) error {
		vpc, err := vpcs.get(ctx, s, call, vpcID)
		if err == nil {
			tables.VPCs.Check(tx, vpc)
		}
		return err
	}
}
