package metricstore

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/clock"
)

// TestRunAgesAtOnce holds that a server which is restarted often lets its data
// age as well.
func TestRunAgesAtOnce(t *testing.T) {
	s := open(t)
	synctest.Test(t, func(t *testing.T) {
		now := clock.System{}.Now()
		m := metric("Old")
		store(t, s, Datum{m, "Count", now.Add(-16 * day), one(1)}, Datum{m, "Count", now.Add(-16 * day).Add(time.Minute), one(2)})
		stop := running(t, s)
		synctest.Wait()
		if ps := read(t, s, m, "Count", now.Add(-17*day), now, time.Minute); len(ps) != 1 || ps[0].Count != 2 {
			t.Errorf("%+v", ps)
		}
		stop()
	})
}

// TestRunOutlivesFailures holds that a server does not end because metrics
// cannot age.
func TestRunOutlivesFailures(t *testing.T) {
	s := open(t)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		stop := running(t, s)
		time.Sleep(3 * ageEvery) // of the fake clock
		stop()
	})
}

// running runs the store; the function it returns ends that.
func running(t *testing.T, s *Store) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, clock.System{}, slog.New(slog.DiscardHandler)) }()
	return func() {
		t.Helper()
		select {
		case err := <-done:
			t.Errorf("ended early: %v", err)
		default:
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
}
