package elb

import (
	"context"
	"testing"

	"roadstead.dev/internal/api/elb"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// meddler is a store in which others write once while a request is served, after
// it has read the load balancer's listeners.
type meddler struct {
	store.Store
	listed func()
}

func (m *meddler) List(ctx context.Context, q store.Query) ([]store.Record, uint64, error) {
	rs, rev, err := m.Store.List(ctx, q)
	if do := m.listed; do != nil && q.Kind == tables.Listeners.Kind() {
		m.listed = nil
		do()
	}
	return rs, rev, err
}

// TestListenersDeletedTwice holds that of two who delete a listener at once none
// fails.
func TestListenersDeletedTwice(t *testing.T) {
	w := newWorld(t)
	name := w.create("web")
	in := &elb.DeleteLoadBalancerListenersInput{LoadBalancerName: name, LoadBalancerPorts: []int32{80}}
	s := New(Config{Store: &meddler{Store: w.st, listed: func() { must(w.s.DeleteLoadBalancerListeners(w.ctx, in))(w) }}})
	if _, err := s.DeleteLoadBalancerListeners(w.ctx, in); err != nil {
		t.Error(err)
	}
	if left := w.describe(name).ListenerDescriptions; len(left) != 0 {
		t.Errorf("%d listeners are left", len(left))
	}
}
