// Package linklocal is the controller that opens the link-local services of
// each VPC (metadata, the API, DNS) and closes them with it.
package linklocal

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// openTimeout bounds how long the data plane may take to make a VPC before it
// is tried again.
const openTimeout = 10 * time.Second

// Services serves VPCs. Both methods are idempotent.
type Services interface {
	// Open waits until the data plane has made the VPC.
	Open(ctx context.Context, vpcID string, cidr netip.Prefix) error
	Close(vpcID string)
}

// New makes the controller.
func New(s store.Store, services Services) *controller.Controller {
	return &controller.Controller{
		Name:    "linklocal",
		Watches: []controller.Watch{controller.Own(tables.VPCs)},
		Reconcile: func(ctx context.Context, key controller.Key) (controller.Result, error) {
			row, err := tables.VPCs.Get(ctx, s, key.Account, key.Region, key.ID)
			if errors.Is(err, store.ErrNotFound) {
				services.Close(key.ID)
				return controller.Result{}, nil
			}
			if err != nil {
				return controller.Result{}, err
			}
			ctx, cancel := context.WithTimeout(ctx, openTimeout)
			defer cancel()
			return controller.Result{}, services.Open(ctx, key.ID, row.V.CIDR)
		},
	}
}
