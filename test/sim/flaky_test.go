package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"roadstead.dev/internal/store"
)

// errMadeUp is why a flaky store refuses a commit that nothing is wrong with.
var errMadeUp = errors.New("made up")

// flaky is a store whose commits fail now and then, without a write: as lost
// races, or as the disk's fault.
type flaky struct {
	store.Store

	mu   sync.Mutex
	rand *rand.Rand
	// conflicts and faults of a hundred commits fail so.
	conflicts, faults int
}

func newFlaky(s store.Store, seed uint64) *flaky {
	return &flaky{Store: s, rand: rand.New(rand.NewPCG(seed, 4))}
}

// fail sets how many of a hundred commits fail.
func (f *flaky) fail(conflicts, faults int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conflicts, f.faults = conflicts, faults
}

func (f *flaky) Commit(ctx context.Context, conds []store.Condition, ops []store.Op) (uint64, error) {
	f.mu.Lock()
	n, conflicts, faults := f.rand.IntN(100), f.conflicts, f.faults
	f.mu.Unlock()
	switch {
	case n < conflicts:
		return 0, fmt.Errorf("%w: %w", errMadeUp, store.ErrConflict)
	case n < conflicts+faults:
		return 0, errMadeUp
	}
	return f.Store.Commit(ctx, conds, ops)
}
