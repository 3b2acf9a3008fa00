// Package retention removes log events whose time is over, and what deleted
// groups and streams have left behind.
package retention

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
	"roadstead.dev/internal/telemetry/logstore"
)

// Events is the log store.
type Events interface {
	Groups() ([]string, error)
	GroupStats(group string) (map[string]logstore.Stats, error)
	Expire(ctx context.Context, group string, before int64) (int, error)
	DeleteGroup(group string) error
	DeleteStream(stream logstore.Stream) error
}

var _ Events = (*logstore.Store)(nil)

// Keeper removes what is not kept.
type Keeper struct {
	store  store.Store
	events Events
	clock  clock.Clock
	log    *slog.Logger
}

// New makes a Keeper.
func New(s store.Store, events Events, c clock.Clock, log *slog.Logger) *Keeper {
	return &Keeper{store: s, events: events, clock: c, log: log}
}

// interval is the pause between passes. Expired events are hidden at once; this
// only gives back their space.
const interval = time.Hour

// Run makes a pass now and every hour until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	for {
		if err := k.Pass(ctx); err != nil && ctx.Err() == nil {
			k.log.ErrorContext(ctx, "log retention failed; it is tried again", "error", err)
		}
		timer := k.clock.NewTimer(interval)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// Pass removes expired events and orphans once.
func (k *Keeper) Pass(ctx context.Context) error {
	// What holds events is listed before the records: a record is always
	// written first, so what has none then was deleted.
	held, err := k.events.Groups()
	if err != nil {
		return err
	}
	stats := make(map[string]map[string]logstore.Stats, len(held))
	for _, g := range held {
		if stats[g], err = k.events.GroupStats(g); err != nil {
			return err
		}
	}
	streams, err := tables.LogStreams.List(ctx, k.store, store.Query{})
	if err != nil {
		return err
	}
	groups, err := tables.LogGroups.List(ctx, k.store, store.Query{})
	if err != nil {
		return err
	}
	live := make(map[string]*model.LogGroup, len(groups))
	for _, g := range groups {
		live[g.V.UID] = g.V
	}
	var errs []error
	known := make(map[string]bool, len(streams))
	for _, s := range streams {
		if live[s.V.GroupUID] == nil {
			errs = append(errs, k.dropRecord(ctx, s))
			continue
		}
		known[s.V.UID] = true
	}
	for _, uid := range held {
		errs = append(errs, k.keep(ctx, uid, live[uid], stats[uid], known))
	}
	return errors.Join(errs...)
}

func (k *Keeper) dropRecord(ctx context.Context, s store.Row[model.LogStream]) error {
	tx := store.NewTxn()
	tables.LogStreams.Delete(tx, s)
	_, err := tx.Commit(ctx, k.store)
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	return err
}

// keep handles one group that holds events; g is nil where it was deleted.
func (k *Keeper) keep(ctx context.Context, uid string, g *model.LogGroup, stats map[string]logstore.Stats, known map[string]bool) error {
	if g == nil {
		return k.events.DeleteGroup(uid)
	}
	for id := range stats {
		if !known[id] {
			if err := k.events.DeleteStream(logstore.Stream{Group: uid, ID: id}); err != nil {
				return err
			}
		}
	}
	if g.RetentionDays == 0 {
		return nil
	}
	before := k.clock.Now().Add(-time.Duration(g.RetentionDays) * 24 * time.Hour)
	n, err := k.events.Expire(ctx, uid, before.UnixMilli())
	if n > 0 {
		k.log.InfoContext(ctx, "log events expired", "group", g.Name, "events", n)
	}
	return err
}
