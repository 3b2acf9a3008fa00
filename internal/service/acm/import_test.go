package acm

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/acm"
	"roadstead.dev/internal/certificates"
)

func TestImport(t *testing.T) {
	f := newFixture(t)
	root := issue(t, nil, nil, ca("root"))
	middle := issue(t, nil, root, ca("middle"))
	leaf := issue(t, rsaKey(t, 2048), middle, nil)
	chain := slices.Concat(middle.pem, []byte("\n"), root.pem)
	out, err := f.ImportCertificate(f.ctx(), &acm.ImportCertificateInput{
		Certificate: leaf.pem, PrivateKey: leaf.key, CertificateChain: chain, Tags: []acm.Tag{{Key: new("k"), Value: new("v")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	arn := *out.CertificateArn
	if !strings.HasPrefix(arn, "arn:aws:acm:eu-west-1:111122223333:certificate/") {
		t.Error(arn)
	}
	d := f.describe(arn)
	if d.Status != acm.CertificateStatusIssued || d.Type != acm.CertificateTypeImported || *d.DomainName != "www.test" ||
		!slices.Equal(d.SubjectAlternativeNames, []string{"www.test", "api.test"}) || d.KeyAlgorithm != acm.KeyAlgorithmRsa2048 ||
		*d.Serial != "0a:1b" || *d.Issuer != "middle" || *d.SignatureAlgorithm != "SHA256WITHECDSA" || *d.Subject != "CN=www.test,O=Test" ||
		!d.NotAfter.Equal(leaf.NotAfter) || !d.ImportedAt.Equal(t0) || d.IssuedAt != nil || d.RenewalEligibility != acm.RenewalEligibilityIneligible ||
		len(d.KeyUsages) != 1 || d.KeyUsages[0].Name != acm.KeyUsageNameDigitalSignature || *d.ExtendedKeyUsages[0].OID != "1.3.6.1.5.5.7.3.1" ||
		len(d.DomainValidationOptions) != 0 || d.InUseBy == nil || len(d.InUseBy) != 0 {
		t.Errorf("%+v", d)
	}
	got, err := f.GetCertificate(f.ctx(), &acm.GetCertificateInput{CertificateArn: &arn})
	if err != nil || *got.Certificate != strings.TrimSpace(string(leaf.pem)) || *got.CertificateChain != strings.TrimSpace(string(middle.pem)+string(root.pem)) {
		t.Errorf("%+v, %v", got, err)
	}
	pair, err := certificates.NewOpener(f.Store, f.Key).Open(t.Context(), arn)
	if err != nil || len(pair.Certificate) != 3 {
		t.Errorf("%v", err)
	}
	f.at = leaf.NotAfter.Add(time.Second)
	if d := f.describe(arn); d.Status != acm.CertificateStatusExpired {
		t.Errorf("%s after its end", d.Status)
	}
}

func TestImportRefuses(t *testing.T) {
	f := newFixture(t)
	root := issue(t, nil, nil, ca("root"))
	middle := issue(t, nil, root, ca("middle"))
	leaf := issue(t, nil, middle, nil)
	other := issue(t, nil, nil, nil)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	odd := issue(t, ed, nil, nil)
	short := issue(t, rsaKey(t, 2560), nil, nil)
	past := issue(t, nil, nil, func(c *x509.Certificate) { c.NotAfter = t0.Add(-time.Minute) })
	future := issue(t, nil, nil, func(c *x509.Certificate) { c.NotBefore = t0.Add(time.Minute) })
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}})
	join := func(ps ...[]byte) []byte { return bytes.Join(ps, nil) }
	for name, tt := range map[string]struct {
		body, key, chain []byte
		want             error
	}{
		"no PEM":               {[]byte("x"), leaf.key, nil, errCertificate},
		"a key as certificate": {leaf.key, leaf.key, nil, errCertificate},
		"two certificates":     {join(leaf.pem, middle.pem), leaf.key, nil, errSeveral},
		"expired":              {past.pem, past.key, nil, errExpired},
		"not yet":              {future.pem, future.key, nil, errEarly},
		"no key":               {other.pem, []byte("x"), nil, errKey},
		"certificate as key":   {other.pem, other.pem, nil, errKey},
		"encrypted key":        {other.pem, encrypted, nil, errEncrypted},
		"another's key":        {other.pem, leaf.key, nil, errMismatch},
		"Ed25519":              {odd.pem, odd.key, nil, errKeyKind},
		"odd length":           {short.pem, short.key, nil, invalid("The private key length 2560 is not supported for key algorithm RSA.")},
		"no chain":             {leaf.pem, leaf.key, nil, errSelfSigned},
		"chain out of order":   {leaf.pem, leaf.key, join(root.pem, middle.pem), errChain},
		"chain of another":     {leaf.pem, leaf.key, other.pem, errChain},
		"itself in the chain":  {leaf.pem, leaf.key, join(leaf.pem, middle.pem), errChain},
		"no PEM as chain":      {leaf.pem, leaf.key, []byte("x"), errCertificate},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := f.ImportCertificate(f.ctx(), &acm.ImportCertificateInput{Certificate: tt.body, PrivateKey: tt.key, CertificateChain: tt.chain})
			var want api.Error
			if !errors.As(tt.want, &want) {
				t.Fatal("the test wants no error")
			}
			refused(t, err, "ValidationException", want.ErrorMessage())
		})
	}
	if l, err := f.ListCertificates(f.ctx(), &acm.ListCertificatesInput{}); err != nil || len(l.CertificateSummaryList) > 0 {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestReimport(t *testing.T) {
	f := newFixture(t)
	first := issue(t, nil, nil, nil)
	arn := f.imported(first, acm.Tag{Key: new("k"), Value: new("v")})
	again := func(p *pair, tags ...acm.Tag) error {
		_, err := f.ImportCertificate(f.ctx(), &acm.ImportCertificateInput{Certificate: p.pem, PrivateKey: p.key, CertificateArn: &arn, Tags: tags})
		return err
	}
	second := issue(t, nil, nil, func(c *x509.Certificate) { c.DNSNames = []string{"new.test"} })
	refused(t, again(second, acm.Tag{Key: new("x")}), "ValidationException", "Tagging is not permitted on re-import.")
	refused(t, again(issue(t, rsaKey(t, 2048), nil, nil)), "ValidationException", "")
	refused(t, again(issue(t, nil, nil, func(c *x509.Certificate) { c.Subject.CommonName, c.DNSNames = "", nil })), "ValidationException", "All of the domain names cannot be removed on re-import.")
	refused(t, again(issue(t, nil, nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement })), "ValidationException", "Key usage values cannot be removed on re-import.")
	refused(t, again(issue(t, nil, nil, func(c *x509.Certificate) { c.ExtKeyUsage = nil })), "ValidationException", "Extended key usage values cannot be removed on re-import.")
	if d := f.describe(arn); !d.ImportedAt.Equal(t0) {
		t.Error("a refused re-import changed the certificate")
	}
	f.at = t0.Add(time.Hour)
	if err := again(second); err != nil {
		t.Fatal(err)
	}
	d := f.describe(arn)
	if !slices.Equal(d.SubjectAlternativeNames, []string{"www.test", "new.test"}) || !d.ImportedAt.Equal(f.at) || !d.CreatedAt.Equal(t0) {
		t.Errorf("%+v", d)
	}
	tags, err := f.ListTagsForCertificate(f.ctx(), &acm.ListTagsForCertificateInput{CertificateArn: &arn})
	if err != nil || len(tags.Tags) != 1 {
		t.Errorf("%+v, %v", tags, err)
	}
	missing := strings.Replace(arn, "certificate/", "certificate/0", 1)
	_, err = f.ImportCertificate(f.ctx(), &acm.ImportCertificateInput{Certificate: second.pem, PrivateKey: second.key, CertificateArn: &missing})
	refused(t, err, "ResourceNotFoundException", "Could not find certificate "+missing+".")
	arn = f.requested(acm.RequestCertificateInput{DomainName: new("www.test")})
	refused(t, again(second), "ValidationException", "")
}

// What an import takes, TLS can serve by, and can be imported again.
func FuzzImport(f *testing.F) {
	root := issue(f, nil, nil, ca("root"))
	leaf := issue(f, nil, root, nil)
	self := issue(f, nil, nil, nil)
	f.Add(leaf.pem, leaf.key, root.pem)
	f.Add(self.pem, self.key, []byte{})
	f.Add(leaf.pem, append([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"), leaf.key...), root.pem)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"), []byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAA==\n-----END RSA PRIVATE KEY-----"), []byte("\n"))
	f.Fuzz(func(t *testing.T, body, key, chain []byte) {
		got, err := readImport(body, key, chain, t0)
		if err != nil {
			if api.Code(err) != "ValidationException" {
				t.Fatal(err)
			}
			return
		}
		if _, err := tls.X509KeyPair([]byte(got.leaf+got.chain), []byte(got.key)); err != nil {
			t.Fatal(err)
		}
		again, err := readImport([]byte(got.leaf), []byte(got.key), []byte(got.chain), t0)
		if err != nil || again.leaf != got.leaf || again.chain != got.chain || again.key != got.key {
			t.Fatalf("imported again: %v", err)
		}
	})
}
