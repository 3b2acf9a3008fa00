package loadbalancer

import (
	"context"
	"crypto/tls"
	"fmt"
	"testing"
	"testing/synctest"

	"roadstead.dev/internal/certificates"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// A listener follows its certificates: imported anew, issued late, and gone.
func TestCertificatesAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		arn := func(id string) string { return model.MakeARN("acm", region, account, "certificate/"+id) }
		iam := "arn:aws:iam::" + account + ":server-certificate/p/Www"
		var st store.Store
		// What is opened tells the record that it was opened from.
		w := newWorldWith(t, func(ctx context.Context, a string) (*tls.Certificate, error) {
			if a == iam {
				row, err := tables.ServerCertificates.Get(ctx, st, account, "", "www")
				if err != nil {
					return nil, err
				}
				return &tls.Certificate{Certificate: [][]byte{[]byte(row.V.Body)}}, nil
			}
			row, err := tables.Certificates.Get(ctx, st, account, region, a[len(arn("")):])
			switch {
			case err != nil:
				return nil, err
			case row.V.Leaf == "":
				return nil, certificates.ErrNotReady
			}
			return &tls.Certificate{Certificate: [][]byte{[]byte(row.V.Leaf)}}, nil
		})
		defer w.end()
		st = w.st
		put := func(id, leaf string) {
			w.write(func(tx *store.Txn) {
				tables.Certificates.Put(tx, account, region, id, &model.Certificate{ID: id, ARN: arn(id), Leaf: leaf})
			})
		}
		putIAM := func(body string) {
			w.write(func(tx *store.Txn) {
				tables.ServerCertificates.Put(tx, account, "", "www", &model.ServerCertificate{Name: "Www", ARN: iam, Body: body})
			})
		}
		put("a", "a1")
		put("b", "")
		putIAM("w1")
		w.listen()
		w.write(func(tx *store.Txn) {
			tables.Listeners.Put(tx, account, region, lbID+"/l", &model.Listener{
				ID: "l", ARN: model.MakeARN("elasticloadbalancing", region, account, "listener/app/lb/"+lbID+"/l"),
				LoadBalancerARN: lbARN, LoadBalancerID: lbID, Port: 443, Protocol: "HTTPS", SSLPolicy: "ELBSecurityPolicy-2016-08",
				Certificates: []string{arn("a"), arn("b"), iam},
			})
		})
		want := func(want string) {
			t.Helper()
			synctest.Wait()
			lb, _ := w.plane.LoadBalancer(lbID)
			l := lb.Listeners[0]
			got := l.SSLPolicy + ":"
			if l.Certificate != nil {
				got += fmt.Sprintf(" default %s", l.Certificate.Certificate[0])
			}
			for _, c := range l.Certificates {
				got += fmt.Sprintf(" %s", c.Certificate[0])
			}
			if got != "ELBSecurityPolicy-2016-08:"+want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		want(" default a1 w1")
		put("a", "a2")
		want(" default a2 w1")
		put("b", "b1")
		want(" default a2 b1 w1")
		putIAM("w2")
		want(" default a2 b1 w2")
		w.write(func(tx *store.Txn) {
			row, err := tables.Certificates.Get(t.Context(), w.st, account, region, "a")
			if err != nil {
				t.Fatal(err)
			}
			tables.Certificates.Delete(tx, row)
		})
		want(" b1 w2")
	})
}
