package retention

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
	"roadstead.dev/internal/telemetry/logstore"
)

type fixed struct{ now time.Time }

func (f fixed) Now() time.Time                       { return f.now }
func (f fixed) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }
func msAgo(now time.Time, d time.Duration) int64     { return now.Add(-d).UnixMilli() }
func event(at int64) []logstore.Event {
	return []logstore.Event{{Position: logstore.Position{Timestamp: at}, Message: "m"}}
}

func TestPass(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	events, err := logstore.Open(filepath.Join(t.TempDir(), "logs.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	s := memory.New()
	put := func(f func(tx *store.Txn)) {
		tx := store.NewTxn()
		f(tx)
		if _, err := tx.Commit(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	put(func(tx *store.Txn) {
		tables.LogGroups.Create(tx, "1", "r", "short", &model.LogGroup{Name: "short", UID: "short", RetentionDays: 1})
		tables.LogGroups.Create(tx, "1", "r", "ever", &model.LogGroup{Name: "ever", UID: "ever"})
		for _, g := range []string{"short", "ever", "deleted"} {
			tables.LogStreams.Create(tx, "1", "r", model.LogStreamID(g, "s"), &model.LogStream{Name: "s", GroupUID: g, UID: "s-" + g})
		}
	})
	const day = 24 * time.Hour
	for _, g := range []string{"short", "ever", "deleted"} {
		for _, id := range []string{"s-" + g, "deleted"} {
			stream := logstore.Stream{Group: g, ID: id}
			old, young := event(msAgo(now, 2*day)), event(msAgo(now, day/2))
			if err := events.Append(t.Context(), []logstore.Batch{{Stream: stream, Events: old}, {Stream: stream, Events: young}}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	k := New(s, events, fixed{now}, slog.New(slog.DiscardHandler))
	for range 2 {
		if err := k.Pass(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if groups, _ := events.Groups(); !slices.Equal(groups, []string{"ever", "short"}) {
		t.Errorf("groups %v", groups)
	}
	for group, want := range map[string]int64{"short": 1, "ever": 2} {
		stats, err := events.GroupStats(group)
		if err != nil || len(stats) != 1 || stats["s-"+group].Events != want {
			t.Errorf("%s: %+v %v", group, stats, err)
		}
	}
	if rows, _ := tables.LogStreams.List(t.Context(), s, store.Query{}); len(rows) != 2 {
		t.Errorf("%d stream records", len(rows))
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	events, err := logstore.Open(filepath.Join(t.TempDir(), "logs.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(memory.New(), events, fixed{}, slog.New(slog.DiscardHandler)).Run(ctx); err != nil {
		t.Error(err)
	}
}
