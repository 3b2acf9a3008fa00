package certificates

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// Users are the load balancers of an account and region that use certificates,
// by the certificates' ARNs.
func Users(ctx context.Context, s store.Store, account, region string) (map[string][]string, error) {
	listeners, err := tables.Listeners.List(ctx, s, store.Query{Account: account, Region: region})
	if err != nil {
		return nil, fmt.Errorf("list listeners: %w", err)
	}
	users := map[string][]string{}
	for _, l := range listeners {
		for _, arn := range l.V.Certificates {
			if !slices.Contains(users[arn], l.V.LoadBalancerARN) {
				users[arn] = append(users[arn], l.V.LoadBalancerARN)
			}
		}
	}
	return users, nil
}

// Uses are the listeners that use a certificate, by its key and its ARN. Tx,
// which removes or renames the certificate, fails when another listener begins
// to use it before tx is committed.
func Uses(ctx context.Context, s store.Store, tx *store.Txn, certificate store.Key, arn string) ([]store.Row[model.Listener], error) {
	// It is read before the listeners are.
	use, err := tables.CertificateUses.Get(ctx, s, certificate.Account, certificate.Region, certificate.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	tables.CertificateUses.Check(tx, use)
	if use.V != nil {
		tables.CertificateUses.Erase(tx, use.Key.Account, use.Key.Region, use.Key.ID)
	}
	listeners, err := tables.Listeners.List(ctx, s, store.Query{Account: certificate.Account, Region: certificate.Region})
	if err != nil {
		return nil, fmt.Errorf("list listeners: %w", err)
	}
	return slices.DeleteFunc(listeners, func(l store.Row[model.Listener]) bool { return !slices.Contains(l.V.Certificates, arn) }), nil
}
