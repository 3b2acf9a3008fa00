package acm

import (
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/authority"
	"roadstead.dev/internal/certificates"
	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/controller"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "111122223333"
	region  = "eu-west-1"
	prefix  = "arn:aws:acm:" + region + ":" + account + ":certificate/"
)

// world is a store with certificates, and the controller that issues them.
type world struct {
	t     *testing.T
	store store.Store
	key   *seal.Key
	pair  authority.Pair
}

func newWorld(t *testing.T) *world {
	t.Helper()
	key, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return &world{t, memory.New(), key, authority.Pair{
		Local: authority.New(authority.Config{Dir: dir}),
		Other: authority.New(authority.Config{Dir: filepath.Join(dir, "certificates"), Unconstrained: true}),
	}}
}

// step reconciles a certificate once.
func (w *world) step(id string) controller.Result {
	w.t.Helper()
	i := &issuer{Config{Store: w.store, Clock: clock.System{}, Signer: w.pair, Key: w.key}}
	r, err := i.reconcile(w.t.Context(), controller.Key{Account: account, Region: region, ID: id})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *world) put(v *model.Certificate) {
	w.t.Helper()
	v.ARN = prefix + v.ID
	tx := store.NewTxn()
	tables.Certificates.Put(tx, account, region, v.ID, v)
	if _, err := tx.Commit(w.t.Context(), w.store); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) get(id string) *model.Certificate {
	w.t.Helper()
	row, err := tables.Certificates.Get(w.t.Context(), w.store, account, region, id)
	if err != nil {
		w.t.Fatal(err)
	}
	return row.V
}

// requested is a pending certificate.
func requested(id, algorithm string, names ...string) *model.Certificate {
	return &model.Certificate{
		ID: id, Type: model.CertificateAmazonIssued, Status: model.CertificatePending, DomainName: names[0], Names: names,
		KeyAlgorithm: algorithm, CreatedAt: time.Now(),
	}
}

// trusts tells whether a client that trusts an authority takes a certificate.
func (w *world) trusts(a *authority.Authority, v *model.Certificate, name string) error {
	w.t.Helper()
	root, err := a.Certificate()
	if err != nil {
		w.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	pair, err := certificates.NewOpener(w.store, w.key).Open(w.t.Context(), v.ARN)
	if err != nil {
		w.t.Fatal(err)
	}
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, CurrentTime: time.Now()})
	return err
}

func TestRequestedCertificatesAreIssued(t *testing.T) {
	for _, tt := range []struct {
		id, algorithm string
		names         []string
		local         bool
	}{
		{"local", "EC_prime256v1", []string{"app.localhost", "*.app.localhost"}, true},
		{"other", "RSA_2048", []string{"example.com", "*.example.com"}, false},
		{"mixed", "EC_secp384r1", []string{"app.localhost", "example.com"}, false},
	} {
		t.Run(tt.id, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.put(requested(tt.id, tt.algorithm, tt.names...))
				if r := w.step(tt.id); r.RequeueAfter != Validation || w.get(tt.id).Status != model.CertificatePending {
					t.Fatalf("%+v, %s", r, w.get(tt.id).Status)
				}
				time.Sleep(Validation)
				w.step(tt.id)
				v := w.get(tt.id)
				if v.Status != model.CertificateIssued || v.IssuedAt.IsZero() || time.Until(v.NotAfter).Round(time.Hour) != Life {
					t.Fatalf("%+v", v)
				}
				mine, foreign := w.pair.Other, w.pair.Local
				if tt.local {
					mine, foreign = foreign, mine
				}
				for _, n := range []string{tt.names[0], "x.app.localhost"} {
					if n != tt.names[0] && !tt.local {
						continue
					}
					if err := w.trusts(mine, v, n); err != nil {
						t.Errorf("%s: %v", n, err)
					}
					if w.trusts(foreign, v, n) == nil {
						t.Errorf("%s: the other authority signed it", n)
					}
				}
				root, err := mine.PEM()
				if err != nil || v.Chain != string(root) {
					t.Errorf("the chain does not end in the authority: %v", err)
				}
				if r := w.step(tt.id); r.RequeueAfter.Round(time.Hour) != Life-RenewBefore {
					t.Errorf("looked at again after %v", r.RequeueAfter)
				}
			})
		})
	}
}

func TestCertificatesInUseAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.put(requested("a", "EC_prime256v1", "example.com"))
		time.Sleep(Validation)
		w.step("a")
		first := w.get("a")

		time.Sleep(Life - RenewBefore)
		if r := w.step("a"); r.RequeueAfter != lookAgain || w.get("a").Leaf != first.Leaf {
			t.Fatalf("one that nothing uses was renewed: %+v", r)
		}
		tx := store.NewTxn()
		tables.Listeners.Put(tx, account, region, "l", &model.Listener{LoadBalancerARN: "lb", Certificates: []string{first.ARN}})
		if _, err := tx.Commit(t.Context(), w.store); err != nil {
			t.Fatal(err)
		}
		w.step("a")
		v := w.get("a")
		if v.Leaf == first.Leaf || v.Key == first.Key || v.RenewedAt.IsZero() || v.Generation != first.Generation+1 || !v.IssuedAt.Equal(first.IssuedAt) {
			t.Fatalf("%+v", v)
		}
		if err := w.trusts(w.pair.Other, v, "example.com"); err != nil {
			t.Error(err)
		}
	})
}

func TestAskedRenewal(t *testing.T) {
	w := newWorld(t)
	v := requested("a", "EC_prime256v1", "example.com")
	v.CreatedAt = time.Now().Add(-time.Minute)
	w.put(v)
	w.step("a")
	v = w.get("a")
	again := *v
	again.RenewalAskedAt = time.Now()
	w.put(&again)
	w.step("a")
	if n := w.get("a"); n.Leaf == v.Leaf || !n.RenewalAskedAt.IsZero() || n.RenewedAt.IsZero() {
		t.Errorf("%+v", n)
	}
}

func TestOthersAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	imported := requested("imported", "RSA_2048", "a.test")
	imported.Type, imported.Status = model.CertificateImported, model.CertificateIssued
	revoked := requested("revoked", "RSA_2048", "a.test")
	revoked.Status = model.CertificateRevoked
	for _, v := range []*model.Certificate{imported, revoked} {
		w.put(v)
		if r := w.step(v.ID); r != (controller.Result{}) || w.get(v.ID).Leaf != "" {
			t.Errorf("%s: %+v", v.ID, r)
		}
	}
	if r := w.step("none"); r != (controller.Result{}) {
		t.Errorf("%+v", r)
	}
}

func TestKeysAreSealedUnderTheirName(t *testing.T) {
	w := newWorld(t)
	v := requested("a", "EC_prime256v1", "example.com")
	v.CreatedAt = time.Now().Add(-time.Minute)
	w.put(v)
	w.step("a")
	if b, _ := pem.Decode([]byte(w.get("a").Key)); b != nil {
		t.Fatal("the key lies open")
	}
	if _, err := w.key.Open(model.CertificateKeyName(prefix+"b"), w.get("a").Key); err == nil {
		t.Error("the key opens under another name")
	}
}
