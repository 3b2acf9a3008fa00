package loadbalancer

import (
	"fmt"
	"testing"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

// directoryOf is a directory of n load balancers named lb-<i>.
func directoryOf(tb testing.TB, n int) *Directory {
	tb.Helper()
	st := memory.New()
	tb.Cleanup(func() { _ = st.Close() })
	for i := range n {
		id, name := fmt.Sprintf("%016x", i), fmt.Sprintf("lb-%d.us-east-1.elb.localhost", i)
		tx := store.NewTxn()
		tables.LoadBalancerDNSNames.Create(tx, model.AmazonAccount, "", name, &model.LoadBalancerDNSName{Account: account, Region: region, ID: id})
		tables.LoadBalancers.Create(tx, account, region, id, &model.LoadBalancer{
			ID: id, DNSName: name, VpcID: "vpc-1",
			Status: model.LoadBalancerStatus{Interfaces: []model.LoadBalancerInterface{{PrivateIPv4Address: fmt.Sprintf("10.0.%d.%d", i/256, i%256)}}},
		})
		tables.Listeners.Create(tx, account, region, id+"/l", &model.Listener{ID: "l", LoadBalancerID: id, Port: 80})
		if _, err := tx.Commit(tb.Context(), st); err != nil {
			tb.Fatal(err)
		}
	}
	return NewDirectory(st)
}

func TestDirectory(t *testing.T) {
	d := directoryOf(t, 300)
	for _, c := range []struct {
		name, address string
		port          int32
	}{
		{"lb-299.us-east-1.elb.localhost", "10.0.1.43:80", 0},
		{"lb-7.us-east-1.elb.localhost", "10.0.0.7:80", 80},
		{"dualstack.lb-7.us-east-1.elb.localhost", "10.0.0.7:80", 80},
		{"lb-7.us-east-1.elb.localhost", "", 81},
		{"lb-300.us-east-1.elb.localhost", "", 80},
		{"", "", 80},
	} {
		vpc, address, ok := d.Resolve(t.Context(), c.name, c.port)
		if ok != (c.address != "") || address != c.address || ok && vpc != "vpc-1" {
			t.Errorf("%q on port %d: %q in %q, %v; want %q", c.name, c.port, address, vpc, ok, c.address)
		}
	}
	// One that is being deleted is not there any more.
	if _, err := tables.LoadBalancers.Update(t.Context(), d.store, account, region, fmt.Sprintf("%016x", 7), func(lb *model.LoadBalancer) error {
		lb.DeletedAt = &lb.CreatedAt
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, _, ok := d.Resolve(t.Context(), "lb-7.us-east-1.elb.localhost", 80); ok {
		t.Error("a deleted load balancer is found")
	}
}

// What a connection from the host costs must not grow with the load balancers.
func BenchmarkDirectory(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			d := directoryOf(b, n)
			name := fmt.Sprintf("lb-%d.us-east-1.elb.localhost", n/2)
			for b.Loop() {
				if _, _, ok := d.Resolve(b.Context(), name, 80); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}
