package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// material is a certificate to import, in PEM.
type material struct {
	Certificate string `json:"certificate"`
	PrivateKey  string `json:"private_key"`
	Chain       string `json:"chain"`
}

// certified makes certificates for names, with the authority that signed them
// as their chain.
func certified(t *testing.T, names ...string) []material {
	t.Helper()
	issue := func(c, parent *x509.Certificate, by *ecdsa.PrivateKey) (string, *x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
		if parent == nil {
			parent, by = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), c, key
	}
	root := &x509.Certificate{Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	chain, ca, caKey := issue(root, nil, nil)
	var out []material
	for _, n := range names {
		leaf, _, key := issue(&x509.Certificate{Subject: pkix.Name{CommonName: n}, DNSNames: []string{n}}, ca, caKey)
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, material{leaf, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), chain})
	}
	return out
}

// ca is what roadstead ca prints.
func (s *server) ca(t *testing.T, flags ...string) string {
	t.Helper()
	out, err := exec.Command(built.roadstead, s.args(append([]string{"ca"}, flags...)...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestCertificates imports and requests certificates as users do: with the CLI
// and boto3. OpenSSL is the judge of what comes out.
func TestCertificates(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "fake")
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}

	m := certified(t, "www.example.net")[0]
	body, key, chain := file("cert", m.Certificate), file("key", m.PrivateKey), file("chain", m.Chain)
	imported := strings.TrimSpace(s.awscli(t, "acm", "import-certificate", "--certificate", "fileb://"+body, "--private-key", "fileb://"+key, "--certificate-chain", "fileb://"+chain,
		"--query", "CertificateArn", "--output", "text"))
	if got := s.awscli(t, "acm", "get-certificate", "--certificate-arn", imported, "--query", "Certificate", "--output", "text"); strings.TrimSpace(got) != strings.TrimSpace(m.Certificate) {
		t.Errorf("another certificate comes back:\n%s", got)
	}

	// What was requested is issued by the server that comes after a crash, too.
	request := func(name string, more ...string) string {
		return strings.TrimSpace(s.awscli(t, append([]string{
			"acm", "request-certificate", "--domain-name", name, "--validation-method", "DNS",
			"--query", "CertificateArn", "--output", "text",
		}, more...)...))
	}
	local := request("app.localhost", "--subject-alternative-names", "*.app.localhost")
	other := request("shop.example.com", "--key-algorithm", "EC_secp384r1", "--options", "Export=ENABLED")
	if err := s.kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}

	got := s.python(t, `
import boto3
acm, elb, ec2, tagging = (boto3.client(n) for n in ("acm", "elbv2", "ec2", "resourcegroupstaggingapi"))
imported, local, other = "`+imported+`", "`+local+`", "`+other+`"
for arn in (local, other): acm.get_waiter("certificate_validated").wait(CertificateArn=arn, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
def listed(**args): return sorted(c["DomainName"] for p in acm.get_paginator("list_certificates").paginate(PaginationConfig={"PageSize": 1}, **args) for c in p["CertificateSummaryList"])
print(listed(), listed(Includes={"keyTypes": ["RSA_2048", "EC_prime256v1", "EC_secp384r1"]}))
d = acm.describe_certificate(CertificateArn=local)["Certificate"]
print(d["Status"], d["KeyAlgorithm"], d["SubjectAlternativeNames"], [o["ValidationStatus"] for o in d["DomainValidationOptions"]], d["RenewalEligibility"], (d["NotAfter"] - d["NotBefore"]).days)
tagging.tag_resources(ResourceARNList=[local], Tags={"team": "blue"})
print(acm.list_tags_for_certificate(CertificateArn=local)["Tags"], [r["ResourceARN"] == local for r in tagging.get_resources(ResourceTypeFilters=["acm"])["ResourceTagMappingList"]])
lb = elb.create_load_balancer(Name="tls", Subnets=[x["SubnetId"] for x in ec2.describe_subnets()["Subnets"]])["LoadBalancers"][0]["LoadBalancerArn"]
listener = elb.create_listener(LoadBalancerArn=lb, Protocol="HTTPS", Port=443, Certificates=[{"CertificateArn": local}], DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}])["Listeners"][0]["ListenerArn"]
d = acm.describe_certificate(CertificateArn=local)["Certificate"]
print(d["InUseBy"] == [lb], d["RenewalEligibility"])
def refused(call, **args):
    try: call(**args)
    except acm.exceptions.ClientError as e: print(e.response["Error"]["Code"], e.response["ResponseMetadata"]["HTTPStatusCode"], e.response["Error"]["Message"])
refused(acm.delete_certificate, CertificateArn=local)
elb.delete_listener(ListenerArn=listener)
acm.delete_certificate(CertificateArn=imported)
refused(acm.describe_certificate, CertificateArn=imported)
refused(acm.import_certificate, Certificate=b"x", PrivateKey=b"x")
refused(acm.request_certificate, DomainName="example.com", KeyAlgorithm="RSA_4096")
`)
	want := []string{
		"['app.localhost'] ['app.localhost', 'shop.example.com', 'www.example.net']",
		"ISSUED RSA_2048 ['app.localhost', '*.app.localhost'] ['SUCCESS', 'SUCCESS'] INELIGIBLE 198",
		"[{'Key': 'team', 'Value': 'blue'}] [True]",
		"True ELIGIBLE",
		"ResourceInUseException 400 Certificate " + local + " in account 000000000000 is in use.",
		"ResourceNotFoundException 400 Could not find certificate " + imported + " in account 000000000000.",
		"ValidationException 400 The certificate body/chain provided is not in a valid PEM format.",
		"InvalidParameterException 400 The key algorithm RSA_4096 is not supported",
	}
	lines := strings.Split(got, "\n")
	if len(lines) != len(want) {
		t.Fatalf("got %d lines, want %d:\n%s", len(lines), len(want), got)
	}
	for i, w := range want {
		if !strings.HasPrefix(lines[i], w) {
			t.Errorf("got %s\nwant %s", lines[i], w)
		}
	}

	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	judge := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), openssl, args...).CombinedOutput(); err != nil {
			t.Errorf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	leaf := func(arn string) string {
		return s.awscli(t, "acm", "get-certificate", "--certificate-arn", arn, "--query", "Certificate", "--output", "text")
	}
	judge("verify", "-CAfile", file("local.pem", s.ca(t)), "-verify_hostname", "x.app.localhost", file("app", leaf(local)))
	judge("verify", "-CAfile", file("other.pem", s.ca(t, "--certificates")), "-verify_hostname", "shop.example.com", file("shop", leaf(other)))

	var exported struct{ PrivateKey, Certificate string }
	if err := json.Unmarshal([]byte(s.awscli(t, "acm", "export-certificate", "--certificate-arn", other, "--passphrase", "fileb://"+file("pass", "open sesame"), "--output", "json")), &exported); err != nil {
		t.Fatal(err)
	}
	judge("pkey", "-in", file("exported", exported.PrivateKey), "-passin", "pass:open sesame", "-out", filepath.Join(dir, "plain"))
	public := func(args ...string) string {
		out, err := exec.CommandContext(t.Context(), openssl, args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if public("pkey", "-in", filepath.Join(dir, "plain"), "-pubout") != public("x509", "-in", filepath.Join(dir, "shop"), "-pubkey", "-noout") {
		t.Error("the key that was exported is another certificate's")
	}
}

// TestTerraformCertificates applies Terraform's resources of Certificate
// Manager.
func TestTerraformCertificates(t *testing.T) {
	t.Parallel()
	needTerraform(t)
	s := ownServer(t, "fake")
	certificates, err := json.Marshal(certified(t, "one.example.net", "one.example.net"))
	if err != nil {
		t.Fatal(err)
	}
	tf := configure(t, s, "acm", map[string]string{"certificates": string(certificates)})
	tf.apply("1", "4 added, 0 changed, 0 destroyed")
	if got, want := tf.output("lookups"), "true ISSUED 1 one.example.net 3 true"; got != want {
		t.Errorf("what the data source says: %s, want %s", got, want)
	}
	tf.apply("2", "0 added, 2 changed, 0 destroyed")
	tf.destroy("2")
	if left := s.awscli(t, "acm", "list-certificates", "--includes", "keyTypes=RSA_2048,EC_prime256v1", "--query", "length(CertificateSummaryList)"); strings.TrimSpace(left) != "0" {
		t.Errorf("destroyed, and yet there are %s certificates", left)
	}
}
