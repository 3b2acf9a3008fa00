package loadbalancer

import (
	"context"
	"errors"

	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/plan/truststore"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// TrustStores opens trust stores by their ARNs. Where there is none the error is
// a store.ErrNotFound.
type TrustStores func(ctx context.Context, arn string) (*truststore.Trust, error)

// openTrustStores opens the trust stores of the listeners. A listener whose trust
// store is gone trusts nobody.
func (c *LoadBalancers) openTrustStores(ctx context.Context, in *balance.Input) error {
	in.TrustStores = map[string]*truststore.Trust{}
	if c.TrustStores == nil {
		return nil
	}
	for _, l := range in.Listeners {
		arn := l.TrustStore()
		if _, seen := in.TrustStores[arn]; seen || arn == "" {
			continue
		}
		trust, err := c.TrustStores(ctx, arn)
		if errors.Is(err, store.ErrNotFound) {
			c.Log.Warn("listener's trust store is gone", "listener", l.ARN, "error", err)
			err = nil
		}
		if err != nil {
			return err
		}
		in.TrustStores[arn] = trust
	}
	return nil
}

// ofTrustStore names the load balancers with listeners that verify by a trust
// store.
func (c *LoadBalancers) ofTrustStore(ctx context.Context, r store.Record) ([]controller.Key, error) {
	rows, err := tables.Listeners.List(ctx, c.Store, store.Query{Account: r.Key.Account, Region: r.Key.Region})
	if err != nil {
		return nil, err
	}
	var keys []controller.Key
	for _, l := range rows {
		if model.TrustStoreID(l.V.TrustStore()) == r.Key.ID {
			keys = append(keys, controller.Key{Account: l.Key.Account, Region: l.Key.Region, ID: lbKey + l.V.LoadBalancerID})
		}
	}
	return keys, nil
}
