package truststores_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/truststore"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
	"roadstead.dev/internal/truststores"
)

func open(t *testing.T, dir string) *truststores.Contents {
	t.Helper()
	key, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	c, err := truststores.Open(dir, key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func put(t *testing.T, c *truststores.Contents, text string) string {
	t.Helper()
	name, err := c.Put([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func write(t *testing.T, s store.Store, f func(*store.Txn)) {
	t.Helper()
	tx := store.NewTxn()
	f(tx)
	if _, err := tx.Commit(context.Background(), s); err != nil {
		t.Fatal(err)
	}
}

func TestContents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trust")
	c := open(t, dir)
	a, b, lost := put(t, c, "a"), put(t, c, "b"), put(t, c, "lost")
	c = open(t, dir)
	if text, err := c.Get(a); err != nil || string(text) != "a" {
		t.Errorf("%q, %v", text, err)
	}
	for _, name := range []string{"", "x", "../" + a, strings.ToUpper(a), a + "0"} {
		if _, err := c.Get(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ".new-1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := memory.New()
	write(t, s, func(tx *store.Txn) {
		tables.TrustStores.Put(tx, "1", "r", "t", &model.TrustStore{Bundle: a, Revocations: []model.TrustStoreRevocation{{Content: b}}})
	})
	if err := c.Sweep(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*")); len(files) != 2 {
		t.Errorf("left: %v", files)
	}
	if _, err := c.Get(lost); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not swept: %v", err)
	}
	c.Remove(a, "../"+b)
	if _, err := c.Get(a); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not removed: %v", err)
	}
	if _, err := c.Get(b); err != nil {
		t.Error(err)
	}
}

func TestURLs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, t.TempDir())
		a, b := put(t, c, "a"), put(t, c, "b")
		h := c.Handler(clock.System{})
		ask := func(method, url string) (int, string) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(method, url, http.NoBody))
			body, _ := io.ReadAll(w.Result().Body)
			return w.Code, string(body)
		}
		url := c.URL("http://127.0.0.1:4566", a, time.Now().Add(time.Hour))
		if code, body := ask("GET", url); code != 200 || body != "a" {
			t.Errorf("%s: %d %s", url, code, body)
		}
		for _, other := range []string{strings.Replace(url, a, b, 1), strings.Split(url, "?")[0], url[:len(url)-2], "/_roadstead/trust-stores/?ticket=x"} {
			if code, _ := ask("GET", other); code != 403 {
				t.Errorf("%s: %d", other, code)
			}
		}
		if code, _ := ask("POST", url); code != 405 {
			t.Errorf("POST: %d", code)
		}
		c.Remove(a)
		if code, _ := ask("GET", url); code != 404 {
			t.Errorf("removed: %d", code)
		}
		url = c.URL("http://127.0.0.1:4566", b, time.Now().Add(time.Hour))
		time.Sleep(time.Hour)
		if code, _ := ask("GET", url); code != 403 {
			t.Errorf("expired: %d", code)
		}
	})
}

func TestOpener(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true, SubjectKeyId: []byte{1},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	client := *tmpl
	client.SerialNumber, client.IsCA, client.Subject = big.NewInt(7), false, pkix.Name{CommonName: "client"}
	clientDER, err := x509.CreateCertificate(rand.Reader, &client, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := x509.ParseCertificate(clientDER)
	if err != nil {
		t.Fatal(err)
	}
	crl, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(7), RevocationTime: now}},
	}, tmpl, key)
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, t.TempDir())
	bundle := put(t, c, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	list := put(t, c, string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: crl})))
	s := memory.New()
	o := truststores.NewOpener(s, c)
	arn := model.MakeARN("elasticloadbalancing", "eu-west-1", "111122223333", "truststore/n/t")
	set := func(v model.TrustStore) {
		v.ARN = arn
		write(t, s, func(tx *store.Txn) { tables.TrustStores.Put(tx, "111122223333", "eu-west-1", "t", &v) })
	}
	get := func() *truststore.Trust {
		t.Helper()
		trust, err := o.Open(t.Context(), arn)
		if err != nil {
			t.Fatal(err)
		}
		return trust
	}
	for _, none := range []string{arn, "", "x", arn + "0"} {
		if _, err := o.Open(t.Context(), none); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", none, err)
		}
	}
	set(model.TrustStore{Bundle: bundle})
	first := get()
	if err := first.Verify([]*x509.Certificate{shown}, now, false); err != nil {
		t.Error(err)
	}
	set(model.TrustStore{Bundle: bundle, Tags: model.Tags{"a": "b"}})
	if get() != first {
		t.Error("what did not change was opened again")
	}
	revoked := model.TrustStore{Bundle: bundle, Revocations: []model.TrustStoreRevocation{{ID: 1, Content: list}}}
	set(revoked)
	if err := get().Verify([]*x509.Certificate{shown}, now, false); !errors.Is(err, truststore.Revoked) {
		t.Errorf("revoked: %v", err)
	}
	// A list that is known is not read again.
	c.Remove(list)
	set(model.TrustStore{Bundle: put(t, c, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))), Revocations: revoked.Revocations})
	if err := get().Verify([]*x509.Certificate{shown}, now, false); !errors.Is(err, truststore.Revoked) {
		t.Errorf("revoked: %v", err)
	}
	set(model.TrustStore{Bundle: strings.Repeat("0", 32)})
	if _, err := o.Open(t.Context(), arn); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its content: %v", err)
	}
}
