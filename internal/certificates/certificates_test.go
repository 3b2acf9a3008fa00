package certificates_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"roadstead.dev/internal/certificates"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/loadbalancers"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "111122223333"
	region  = "eu-west-1"
)

// selfSigned is a certificate and its key, in PEM.
func selfSigned(t *testing.T, name string) (string, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k})
}

func TestOpen(t *testing.T) {
	key, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	s := memory.New()
	leaf, private := selfSigned(t, "www.test")
	chain, _ := selfSigned(t, "ca.test")

	const prefix = "arn:aws:acm:" + region + ":" + account + ":certificate/"
	const iamPrefix = "arn:aws:iam::" + account + ":server-certificate/"
	tx := store.NewTxn()
	add := func(id, under string) {
		arn := prefix + id
		tables.Certificates.Create(tx, account, region, id, &model.Certificate{
			ID: id, ARN: arn, Leaf: leaf, Chain: chain, Key: key.Seal(under, private),
		})
	}
	add("good", model.CertificateKeyName(prefix+"good"))
	add("swapped", model.CertificateKeyName(prefix+"good"))
	tables.Certificates.Create(tx, account, region, "pending", &model.Certificate{
		ID: "pending", ARN: prefix + "pending", Status: model.CertificatePending, Key: key.Seal(model.CertificateKeyName(prefix+"pending"), private),
	})
	// IAM keeps what was uploaded without blanks around it.
	tables.ServerCertificates.Create(tx, account, "", "web", &model.ServerCertificate{
		Name: "Web", ID: "ASCA1", ARN: iamPrefix + "x/Web", Body: leaf[:len(leaf)-1], Key: key.Seal("ASCA1", private),
	})
	if _, err := tx.Commit(context.Background(), s); err != nil {
		t.Fatal(err)
	}

	for arn, length := range map[string]int{prefix + "good": 2, iamPrefix + "x/Web": 1} {
		c, err := certificates.NewOpener(s, key).Open(t.Context(), arn)
		if err != nil {
			t.Errorf("%s: %v", arn, err)
			continue
		}
		if len(c.Certificate) != length || c.PrivateKey == nil || c.Leaf == nil || c.Leaf.DNSNames[0] != "www.test" {
			t.Errorf("%s: %+v", arn, c)
		}
	}
	for arn, want := range map[string]error{
		prefix + "pending": certificates.ErrNotReady,
		prefix + "swapped": seal.ErrOpen,
		prefix + "none":    store.ErrNotFound,
		"arn:aws:acm:" + region + ":" + account + ":other/good":          store.ErrNotFound,
		"arn:aws-cn:acm:" + region + ":" + account + ":certificate/good": store.ErrNotFound,
		"arn:aws:s3:::bucket":    store.ErrNotFound,
		iamPrefix + "y/Web":      store.ErrNotFound,
		iamPrefix + "x/none":     store.ErrNotFound,
		iamPrefix[:20] + "x/Web": store.ErrNotFound,
		"nonsense":               store.ErrNotFound,
		"":                       store.ErrNotFound,
	} {
		if _, err := certificates.NewOpener(s, key).Open(t.Context(), arn); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", arn, err, want)
		}
	}
}

// An opened certificate is opened anew when its record changes, and not before.
func TestOpenerRemembers(t *testing.T) {
	key, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	s := memory.New()
	const arn = "arn:aws:acm:" + region + ":" + account + ":certificate/a"
	put := func(name string) {
		t.Helper()
		leaf, private := selfSigned(t, name)
		tx := store.NewTxn()
		tables.Certificates.Put(tx, account, region, "a", &model.Certificate{ID: "a", ARN: arn, Leaf: leaf, Key: key.Seal(model.CertificateKeyName(arn), private)})
		if _, err := tx.Commit(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	o := certificates.NewOpener(s, key)
	open := func() *tls.Certificate {
		t.Helper()
		c, err := o.Open(t.Context(), arn)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	put("a.test")
	first := open()
	if open() != first {
		t.Error("what did not change was opened again")
	}
	put("b.test")
	if c := open(); c == first || c.Leaf.DNSNames[0] != "b.test" {
		t.Errorf("%+v", c.Leaf.DNSNames)
	}
	tx := store.NewTxn()
	tables.Certificates.Erase(tx, account, region, "a")
	if _, err := tx.Commit(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Open(t.Context(), arn); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// A listener that begins to use a certificate between what its end reads and
// writes makes the end fail.
func TestUsesConflict(t *testing.T) {
	s := memory.New()
	const arn = "arn:aws:acm:" + region + ":" + account + ":certificate/a"
	commit := func(f func(*store.Txn)) error {
		tx := store.NewTxn()
		f(tx)
		_, err := tx.Commit(t.Context(), s)
		return err
	}
	use := func() error {
		tx := store.NewTxn()
		p := loadbalancers.Place{Store: s, Account: account, Region: region}
		if err := p.Certificate(t.Context(), tx, arn); err != nil {
			return err
		}
		if err := p.Certificate(t.Context(), tx, arn); err != nil { // two listeners at once
			return err
		}
		tables.Listeners.Put(tx, account, region, "lb/l", &model.Listener{Certificates: []string{arn}})
		_, err := tx.Commit(t.Context(), s)
		return err
	}
	for _, known := range []bool{false, true} {
		if err := commit(func(tx *store.Txn) {
			tables.Certificates.Put(tx, account, region, "a", &model.Certificate{ID: "a", ARN: arn, Leaf: "leaf"})
			tables.Listeners.Erase(tx, account, region, "lb/l")
		}); err != nil {
			t.Fatal(err)
		}
		if known {
			if err := use(); err != nil {
				t.Fatal(err)
			}
			if err := commit(func(tx *store.Txn) { tables.Listeners.Erase(tx, account, region, "lb/l") }); err != nil {
				t.Fatal(err)
			}
		}
		row, err := tables.Certificates.Get(t.Context(), s, account, region, "a")
		if err != nil {
			t.Fatal(err)
		}
		end := store.NewTxn()
		if users, err := certificates.Uses(t.Context(), s, end, row.Key, arn); err != nil || len(users) != 0 {
			t.Fatalf("%v, %v", users, err)
		}
		tables.Certificates.Delete(end, row)
		if err := use(); err != nil {
			t.Fatal(err)
		}
		if _, err := end.Commit(t.Context(), s); !errors.Is(err, store.ErrConflict) {
			t.Errorf("known %v: deleted while a listener began to use it: %v", known, err)
		}
		end = store.NewTxn()
		if users, err := certificates.Uses(t.Context(), s, end, row.Key, arn); err != nil || len(users) != 1 {
			t.Errorf("%v, %v", users, err)
		}
	}
	// And the other way round.
	if err := commit(func(tx *store.Txn) { tables.Certificates.Erase(tx, account, region, "a") }); err != nil {
		t.Fatal(err)
	}
	if err := use(); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("used though deleted: %v", err)
	}
}
