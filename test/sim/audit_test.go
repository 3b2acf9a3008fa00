package sim

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Flags of the simulator. A failing test prints the seed that repeats it.
var (
	seedFlag = flag.Uint64("seed", 0, "the seed of a history or a simulation; 0 means other ones each time")
	fullFlag = flag.Bool("full", false, "simulate at full size: 5,000 instances and 100,000 tasks, and thousands of histories")
)

// seedOf is the seed that was asked for, or a new one, which is printed when
// the test fails.
func seedOf(t *testing.T) uint64 {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64N(1 << 40)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat with: go test ./test/sim -run '^%s$' -seed %d", t.Name(), seed)
		}
	})
	return seed
}

// auditor checks every commit: the services' limits (observer) and what
// instances can hold (ledger).
type auditor struct {
	ledger   *ledger
	observer *observer
}

// audit follows all commits from now on until the function that it returns is
// called. The reading is apart from the checking, so that however fast commits
// come, none is missed.
func (w *world) audit() (*auditor, func()) {
	a := &auditor{newLedger(), &observer{services: map[string]*model.Service{}, tasks: map[string]map[string]*model.Task{}}}
	ctx, cancel := context.WithCancel(w.t.Context())
	watch, err := w.store.Watch(ctx, w.store.Revision(), tables.ECSServices.Kind(), tables.ECSTasks.Kind(), tables.ECSContainerInstances.Kind())
	if err != nil {
		w.t.Fatal(err)
	}
	var mu sync.Mutex
	var waiting [][]store.Event
	more := make(chan struct{}, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(more)
		for batch := range watch.Events {
			mu.Lock()
			waiting = append(waiting, batch)
			mu.Unlock()
			select {
			case more <- struct{}{}:
			default:
			}
		}
		if err := watch.Err(); ctx.Err() == nil {
			w.t.Error(fmt.Errorf("the auditor's watch: %w", err))
		}
	})
	wg.Go(func() {
		for range more {
			mu.Lock()
			batches := waiting
			waiting = nil
			mu.Unlock()
			for _, b := range batches {
				if err := a.ledger.batch(b); err != nil {
					w.t.Error(err)
				}
				if err := a.observer.batch(b); err != nil {
					w.t.Error(err)
				}
			}
		}
	})
	return a, func() {
		cancel()
		wg.Wait()
	}
}

// problems are what the auditor has found wrong.
func (a *auditor) problems() []string {
	synctest.Wait()
	return append(a.ledger.problems(), a.observer.broken...)
}
