// Package ecscleanup ends ECS records whose time has come: task definitions
// that were deleted while tasks still had them, deleted services after the
// time that AWS lets one look at them, and client tokens that nobody may
// repeat any more.
package ecscleanup

import (
	"context"
	"errors"
	"strings"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// InactiveLife is how long an INACTIVE service can be described.
const InactiveLife = 24 * time.Hour

// Config is what the controller needs.
type Config struct {
	Store store.Store
	Clock clock.Clock
}

type cleanup struct{ Config }

// The keys' ids begin with the kind of record that they are about.
const (
	definition = "definition/"
	service    = "service/"
	token      = "token/"
)

// New makes the controller.
func New(c Config) *controller.Controller {
	k := &cleanup{c}
	key := func(r store.Key, prefix, id string) []controller.Key {
		return []controller.Key{{Account: r.Account, Region: r.Region, ID: prefix + id}}
	}
	used := func(r store.Key, arn string) []controller.Key {
		if id, ok := model.TaskDefinitionIDFromARN(arn); ok {
			return key(r, definition, id)
		}
		return nil
	}
	return &controller.Controller{
		Name:    "ecscleanup",
		Workers: 1,
		Watches: []controller.Watch{
			controller.On(tables.ECSTaskDefinitions, func(r store.Row[model.TaskDefinition]) []controller.Key {
				if r.V.Status != model.ECSDeleteInProgress {
					return nil
				}
				return key(r.Key, definition, r.Key.ID)
			}),
			controller.On(tables.ECSTasks, func(r store.Row[model.Task]) []controller.Key {
				if r.V.Status.LastStatus != model.TaskStopped {
					return nil
				}
				return used(r.Key, r.V.Spec.TaskDefinitionARN)
			}).Passing(none), // the definitions name themselves
			controller.On(tables.ECSServices, func(r store.Row[model.Service]) []controller.Key {
				keys := used(r.Key, r.V.Spec.TaskDefinition)
				if r.V.Status == model.ECSInactive {
					keys = append(keys, key(r.Key, service, r.Key.ID)...)
				}
				return keys
			}),
			controller.On(tables.ECSClientTokens, func(r store.Row[model.ECSClientToken]) []controller.Key {
				return key(r.Key, token, r.Key.ID)
			}),
		},
		Reconcile: k.reconcile,
	}
}

func none() []store.Query { return nil }

func (k *cleanup) reconcile(ctx context.Context, key controller.Key) (controller.Result, error) {
	var wait time.Duration
	var err error
	if id, ok := strings.CutPrefix(key.ID, definition); ok {
		err = k.definition(ctx, key, id)
	} else if id, ok := strings.CutPrefix(key.ID, service); ok {
		wait, err = k.service(ctx, key, id)
	} else if id, ok := strings.CutPrefix(key.ID, token); ok {
		wait, err = k.token(ctx, key, id)
	}
	if errors.Is(err, store.ErrNotFound) {
		return controller.Result{}, nil
	}
	return controller.Result{RequeueAfter: wait}, err
}

// definition removes a task definition that is to be deleted once nothing has
// it any more. None that is not ACTIVE can come into use again.
func (k *cleanup) definition(ctx context.Context, key controller.Key, id string) error {
	row, err := tables.ECSTaskDefinitions.Get(ctx, k.Store, key.Account, key.Region, id)
	if err != nil || row.V.Status != model.ECSDeleteInProgress {
		return err
	}
	q := store.Query{Account: key.Account, Region: key.Region, Index: store.Index{Name: tables.ByTaskDefinition, Value: row.V.TaskDefinitionARN}, Limit: 1}
	tasks, err := tables.ECSTasks.List(ctx, k.Store, q)
	if err != nil || len(tasks) > 0 {
		return err
	}
	services, err := tables.ECSServices.List(ctx, k.Store, q)
	if err != nil || len(services) > 0 {
		return err
	}
	tx := store.NewTxn()
	tables.ECSTaskDefinitions.Delete(tx, row)
	_, err = tx.Commit(ctx, k.Store)
	return err
}

// service removes what is left of a deleted service.
func (k *cleanup) service(ctx context.Context, key controller.Key, id string) (time.Duration, error) {
	row, err := tables.ECSServices.Get(ctx, k.Store, key.Account, key.Region, id)
	if err != nil || row.V.Status != model.ECSInactive {
		return 0, err
	}
	if left := row.V.DeletedAt.Add(InactiveLife).Sub(k.Clock.Now()); left > 0 {
		return left, nil
	}
	tx := store.NewTxn()
	tables.ECSServices.Delete(tx, row)
	events, err := tables.ECSServiceEvents.Get(ctx, k.Store, key.Account, key.Region, id)
	if err == nil {
		tables.ECSServiceEvents.Delete(tx, events)
	} else if !errors.Is(err, store.ErrNotFound) {
		return 0, err
	}
	history, err := tables.ECSServiceDeployments.List(ctx, k.Store, store.Query{Account: key.Account, Region: key.Region, Prefix: id + "/"})
	if err != nil {
		return 0, err
	}
	for _, h := range history {
		tables.ECSServiceDeployments.Delete(tx, h)
	}
	_, err = tx.Commit(ctx, k.Store)
	return 0, err
}

// token removes a client token that has expired.
func (k *cleanup) token(ctx context.Context, key controller.Key, id string) (time.Duration, error) {
	row, err := tables.ECSClientTokens.Get(ctx, k.Store, key.Account, key.Region, id)
	if err != nil {
		return 0, err
	}
	if left := row.V.ExpiresAt.Sub(k.Clock.Now()); left > 0 {
		return left, nil
	}
	tx := store.NewTxn()
	tables.ECSClientTokens.Delete(tx, row)
	_, err = tx.Commit(ctx, k.Store)
	return 0, err
}
