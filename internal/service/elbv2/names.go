package elbv2

import (
	"context"
	"errors"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// NameAll gives DNS names' records to the load balancers that have none: those
// that were made before there were such records. It is for the start.
func (s *Service) NameAll(ctx context.Context) error {
	rows, err := tables.LoadBalancers.List(ctx, s.Store, store.Query{})
	if err != nil {
		return err
	}
	for _, r := range rows {
		_, err := tables.LoadBalancerDNSNames.Get(ctx, s.Store, model.AmazonAccount, "", r.V.DNSName)
		if r.V.DeletedAt != nil || !errors.Is(err, store.ErrNotFound) {
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
			continue
		}
		tx := store.NewTxn()
		tables.LoadBalancerDNSNames.Create(tx, model.AmazonAccount, "", r.V.DNSName, &model.LoadBalancerDNSName{Account: r.Key.Account, Region: r.Key.Region, ID: r.V.ID})
		if _, err := tx.Commit(ctx, s.Store); err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return nil
}
