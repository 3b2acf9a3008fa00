package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"
)

// revoking is an authority's certificate, and a list of one that it revoked.
func revoking(t *testing.T, name string) (authority, list string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, SubjectKeyId: []byte(name),
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	crl, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Hour),
		RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: big.NewInt(7), RevocationTime: now}},
	}, c, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: crl}))
}

// TestTerraformTrustStores applies Terraform's resources of mutual TLS, with
// objects in S3 behind them.
func TestTerraformTrustStores(t *testing.T) {
	t.Parallel()
	needTerraform(t)
	s := ownServer(t, "fake")
	one, list := revoking(t, "one")
	two, _ := revoking(t, "two")
	encode := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	tf := configure(t, s, "trust", map[string]string{
		"authorities": encode([]string{one, two + one}), "revoked": list, "certificate": encode(certified(t, "tf.example.net")[0]),
	})
	tf.apply("1", "10 added, 0 changed, 0 destroyed")
	arn := tf.output("trust_store")
	told := func(want string) {
		t.Helper()
		got := s.awscli(t, "elbv2", "describe-trust-stores", "--query", "TrustStores[].[Name,Status,NumberOfCaCertificates,TotalRevokedEntries]", "--output", "text")
		if strings.Join(strings.Fields(got), " ") != want {
			t.Errorf("trust stores: %s, want %s", got, want)
		}
	}
	told("tf-clients ACTIVE 1 1")
	get := func(args ...string) string {
		t.Helper()
		location := strings.TrimSpace(s.awscli(t, append(append([]string{"elbv2"}, args...), "--trust-store-arn", arn, "--query", "Location", "--output", "text")...))
		resp, err := http.Get(location)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %v", location, resp.Status, err)
		}
		return string(b)
	}
	if got := get("get-trust-store-ca-certificates-bundle"); got != one {
		t.Errorf("bundle %s", got)
	}
	if got := get("get-trust-store-revocation-content", "--revocation-id", "1"); got != list {
		t.Errorf("list %s", got)
	}
	tf.apply("2", "0 added, 3 changed, 0 destroyed")
	told("tf-clients ACTIVE 2 1")
	if got := get("get-trust-store-ca-certificates-bundle"); got != two+one {
		t.Errorf("bundle %s", got)
	}
	tf.destroy("2")
	told("")
}
