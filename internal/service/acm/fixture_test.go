package acm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/acm"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/seal"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/memory"
	"roadstead.dev/internal/store/tables"
)

const (
	account = "111122223333"
	region  = "eu-west-1"
)

var t0 = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// fixture is the service, called at a time that the test sets.
type fixture struct {
	*Service
	t  *testing.T
	at time.Time
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	key, err := seal.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{New(Config{Store: memory.New(), Key: key}), t, t0}
}

func (f *fixture) ctx() context.Context {
	return api.WithCall(f.t.Context(), &api.Call{Account: account, Region: region, Partition: "aws", Time: f.at})
}

// pair is a certificate with its key.
type pair struct {
	*x509.Certificate
	signer   crypto.Signer
	pem, key []byte
}

// issue makes a certificate, signed by itself where there is no issuer.
func issue(t testing.TB, signer crypto.Signer, issuer *pair, change func(*x509.Certificate)) *pair {
	t.Helper()
	if signer == nil {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signer = k
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(0x0a1b), Subject: pkix.Name{CommonName: "www.test", Organization: []string{"Test"}},
		DNSNames: []string{"www.test", "api.test"}, NotBefore: t0.Add(-time.Hour), NotAfter: t0.AddDate(0, 1, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if change != nil {
		change(c)
	}
	parent, by := c, signer
	if issuer != nil {
		parent, by = issuer.Certificate, issuer.signer
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, signer.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{signer: signer, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
	if p.Certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	p.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k})
	return p
}

// ca makes a certificate one that may sign.
func ca(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject, c.DNSNames = pkix.Name{CommonName: name}, nil
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage, c.ExtKeyUsage = true, true, x509.KeyUsageCertSign, nil
	}
}

func rsaKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (f *fixture) imported(p *pair, tags ...acm.Tag) string {
	f.t.Helper()
	out, err := f.ImportCertificate(f.ctx(), &acm.ImportCertificateInput{Certificate: p.pem, PrivateKey: p.key, Tags: tags})
	if err != nil {
		f.t.Fatal(err)
	}
	return *out.CertificateArn
}

func (f *fixture) requested(in acm.RequestCertificateInput) string {
	f.t.Helper()
	out, err := f.RequestCertificate(f.ctx(), &in)
	if err != nil {
		f.t.Fatal(err)
	}
	return *out.CertificateArn
}

// issued does the controller's part for a requested certificate.
func (f *fixture) issued(arn string) {
	f.t.Helper()
	p := issue(f.t, nil, nil, nil)
	err := f.update(f.ctx(), arn, func(v *model.Certificate) error {
		v.Status, v.IssuedAt, v.Leaf, v.Chain = model.CertificateIssued, f.at, string(p.pem), string(p.pem)
		v.NotBefore, v.NotAfter = p.NotBefore, p.NotAfter
		v.Key = f.Key.Seal(model.CertificateKeyName(arn), p.key)
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// used makes a listener have a certificate.
func (f *fixture) used(arn string) {
	f.t.Helper()
	tx := store.NewTxn()
	tables.Listeners.Put(tx, account, region, "l", &model.Listener{LoadBalancerARN: "lb", Certificates: []string{arn}})
	if _, err := tx.Commit(f.t.Context(), f.Store); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) describe(arn string) *acm.CertificateDetail {
	f.t.Helper()
	out, err := f.DescribeCertificate(f.ctx(), &acm.DescribeCertificateInput{CertificateArn: &arn})
	if err != nil {
		f.t.Fatal(err)
	}
	return out.Certificate
}

// refused checks an error.
func refused(t *testing.T, err error, code, message string) {
	t.Helper()
	if api.Code(err) != code {
		t.Errorf("%v, want %s", err, code)
		return
	}
	if e, ok := errors.AsType[api.Error](err); ok && message != "" && e.ErrorMessage() != message {
		t.Errorf("%q, want %q", e.ErrorMessage(), message)
	}
}
