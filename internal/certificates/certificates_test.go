package certificates_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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
		c, err := certificates.Open(t.Context(), s, key, arn)
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
		if _, err := certificates.Open(t.Context(), s, key, arn); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", arn, err, want)
		}
	}
}
