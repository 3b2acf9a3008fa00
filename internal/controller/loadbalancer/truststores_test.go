package loadbalancer

import (
	"context"
	"testing"
	"testing/synctest"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/truststore"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// A listener follows its trust store: changed, and gone.
func TestTrustStoresAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		arn := model.MakeARN("elasticloadbalancing", region, account, "truststore/n/t")
		bundles := map[string]*truststore.Trust{"a": truststore.New(nil, nil), "b": truststore.New(nil, nil)}
		var st store.Store
		w := newWorldWith(t, nil, func(ctx context.Context, a string) (*truststore.Trust, error) {
			row, err := tables.TrustStores.Get(ctx, st, account, region, model.TrustStoreID(a))
			if err != nil {
				return nil, err
			}
			return bundles[row.V.Bundle], nil
		})
		defer w.end()
		st = w.st
		put := func(bundle string) {
			w.write(func(tx *store.Txn) {
				tables.TrustStores.Put(tx, account, region, "t", &model.TrustStore{ID: "t", ARN: arn, Bundle: bundle})
			})
		}
		put("a")
		w.listen()
		w.write(func(tx *store.Txn) {
			tables.Listeners.Put(tx, account, region, lbID+"/l", &model.Listener{
				ID: "l", ARN: model.MakeARN("elasticloadbalancing", region, account, "listener/app/lb/"+lbID+"/l"),
				LoadBalancerARN: lbARN, LoadBalancerID: lbID, Port: 443, Protocol: "HTTPS", SSLPolicy: "ELBSecurityPolicy-2016-08",
				MutualAuthentication: &model.MutualAuthentication{Mode: model.MutualVerify, TrustStoreARN: arn},
			})
		})
		want := func(want *truststore.Trust) {
			t.Helper()
			synctest.Wait()
			lb, _ := w.plane.LoadBalancer(lbID)
			if l := lb.Listeners[0]; l.Trust != want || l.MutualAuthentication == nil {
				t.Errorf("listener %+v", l)
			}
		}
		want(bundles["a"])
		put("b")
		want(bundles["b"])
		w.write(func(tx *store.Txn) { tables.TrustStores.Erase(tx, account, region, "t") })
		want(nil)
	})
}
