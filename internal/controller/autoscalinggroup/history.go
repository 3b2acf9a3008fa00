package autoscalinggroup

import (
	"context"
	"errors"
	"time"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Memory is how long activities are kept.
const Memory = 6 * 7 * 24 * time.Hour

// historyEvery is how often old activities are looked for.
const historyEvery = time.Hour

// NewHistory makes the controller that forgets old activities, those of
// deleted groups too.
func NewHistory(c Config) *controller.Controller {
	return &controller.Controller{
		Name:    "autoscalinghistory",
		Workers: 1,
		Resync:  historyEvery,
		Watches: []controller.Watch{{Kind: tables.ScalingActivities.Kind(), Keys: func(_ context.Context, r store.Record) ([]controller.Key, error) {
			row, err := tables.ScalingActivities.Row(r)
			if err != nil || c.Clock.Now().Sub(row.V.StartedAt) < Memory {
				return nil, err
			}
			return []controller.Key{controller.KeyOf(r.Key)}, nil
		}}},
		Reconcile: func(ctx context.Context, key controller.Key) (controller.Result, error) {
			row, err := tables.ScalingActivities.Get(ctx, c.Store, key.Account, key.Region, key.ID)
			if errors.Is(err, store.ErrNotFound) || err == nil && row.V.EndedAt.IsZero() {
				return controller.Result{}, nil
			}
			if err != nil {
				return controller.Result{}, err
			}
			tx := store.NewTxn()
			tables.ScalingActivities.Delete(tx, row)
			_, err = tx.Commit(ctx, c.Store)
			return controller.Result{}, err
		},
	}
}
