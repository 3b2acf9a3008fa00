package containerd

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/leases"
)

// lease keeps what is being made for containers from the daemon's garbage
// collection, until the container that refers to it is there. It serves for
// hours: one for each container would mean two more writes to the daemon's
// disk. What is left in it by a crash goes when it ends.
type lease struct {
	mu    sync.Mutex
	id    string
	renew time.Time
}

const (
	leaseLife  = 24 * time.Hour
	leaseRenew = 12 * time.Hour
)

// leased is ctx with the lease.
func (e *Engine) leased(ctx context.Context) (context.Context, error) {
	e.lease.mu.Lock()
	defer e.lease.mu.Unlock()
	// By the wall clock, which the daemon goes by too: machines sleep.
	now := time.Now().Round(0)
	if e.lease.id == "" || !now.Before(e.lease.renew) {
		l, err := e.client.LeasesService().Create(ctx, leases.WithRandomID(), leases.WithExpiration(leaseLife))
		if err != nil {
			return nil, fmt.Errorf("make a lease: %w", err)
		}
		e.lease.id, e.lease.renew = l.ID, now.Add(leaseRenew)
	}
	return leases.WithLease(ctx, e.lease.id), nil
}
