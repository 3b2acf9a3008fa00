package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"golang.org/x/crypto/ssh"
)

// TestTerraformIdentities applies Terraform's resources of IAM, Secrets Manager and
// Parameter Store beyond those of TestTerraform.
func TestTerraformIdentities(t *testing.T) {
	t.Parallel()
	needTerraform(t)
	s := ownServer(t, "fake")
	t.Run("iam_more", func(t *testing.T) {
		tf := configure(t, s, "iam_more", identityMaterial(t))
		tf.apply("1", "25 added, 0 changed, 0 destroyed")
		if got, want := tf.output("lookups"), "/service-role/ /more/ 1 /more/ 1 /more/ /more/ 1 tf-account-1 2 /more/ true true"; got != want {
			t.Errorf("what the data sources say:\n%s, want\n%s", got, want)
		}
		tf.apply("2", "1 added, 17 changed, 1 destroyed")
		tf.reimport("2", identityImports)
		tf.destroy("2")
		identitiesDestroyed(t, s)
	})
	t.Run("secrets", func(t *testing.T) {
		tf := configure(t, s, "secrets", nil)
		tf.apply("1", "11 added, 0 changed, 0 destroyed")
		if got, want := tf.output("lookups"), "revision 1 true 1 40 secret 1 5 true 17"; got != want {
			t.Errorf("what the data sources say: %s, want %s", got, want)
		}
		tf.apply("2", "2 added, 8 changed, 2 destroyed")
		tf.reimport("2", secretImports)
		tf.destroy("2")
		secretsDestroyed(t, s)
	})
}

var identityImports = reimports{
	ids: map[string]func(*stateResource) string{
		"aws_iam_policy_attachment":      notImportable,
		"aws_iam_role_policy_attachment": joined("/", "role", "policy_arn"),
		"aws_iam_user_ssh_key":           joined(":", "username", "ssh_public_key_id", "encoding"),
		// Its private key cannot be read back.
		"aws_iam_server_certificate":                notImportable,
		"aws_iam_role_policies_exclusive":           attribute("role_name"),
		"aws_iam_role_policy_attachments_exclusive": attribute("role_name"),
		"aws_iam_user_policies_exclusive":           attribute("user_name"),
		"aws_iam_group_policies_exclusive":          attribute("group_name"),
	},
	// An import does not tell what to do when a resource is deleted.
	changed: []string{"aws_iam_role", "aws_iam_user"},
}

var secretImports = reimports{
	ids: map[string]func(*stateResource) string{
		// Arguments that only the provider knows would change them, on AWS too.
		"aws_secretsmanager_secret": func(r *stateResource) string {
			if r.Values["recovery_window_in_days"] != float64(0) {
				return ""
			}
			return r.str("arn")
		},
		"aws_ssm_parameter": func(r *stateResource) string {
			if r.str("tier") != "Standard" || r.Values["overwrite"] == true {
				return ""
			}
			return r.str("name")
		},
	},
}

// identityMaterial makes the keys and documents that the case is given.
func identityMaterial(t *testing.T) map[string]string {
	t.Helper()
	fail := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	user, err := rsa.GenerateKey(rand.Reader, 2048)
	fail(err)
	public, err := ssh.NewPublicKey(&user.PublicKey)
	fail(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fail(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "www.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	fail(err)
	private, err := x509.MarshalECPrivateKey(key)
	fail(err)
	return map[string]string{
		"ssh_key":     strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))),
		"certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})),
		"saml": `<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="https://idp.example.com">` +
			`<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol"/><!--` + strings.Repeat("-x", 500) + `--></md:EntityDescriptor>`,
	}
}

// identitiesDestroyed looks for what is left of IAM's.
func identitiesDestroyed(t *testing.T, s *server) {
	ctx := t.Context()
	d, err := s.iam.GetAccountAuthorizationDetails(ctx, &iam.GetAccountAuthorizationDetailsInput{})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(d.UserDetailList) + len(d.GroupDetailList) + len(d.RoleDetailList) + len(d.Policies); n != 0 {
		t.Errorf("destroyed, and yet there are %d entities: %+v", n, d)
	}
	sum, err := s.iam.GetAccountSummary(ctx, &iam.GetAccountSummaryInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"InstanceProfiles", "ServerCertificates", "Providers", "MFADevices"} {
		if sum.SummaryMap[k] != 0 {
			t.Errorf("destroyed, and yet there are %d %s", sum.SummaryMap[k], k)
		}
	}
	_, err = s.iam.GetAccountPasswordPolicy(ctx, &iam.GetAccountPasswordPolicyInput{})
	gone(t, "NoSuchEntity", err)
}

// secretsDestroyed looks for what is left of secrets and parameters.
func secretsDestroyed(t *testing.T, s *server) {
	list, err := secretsmanager.NewFromConfig(s.cfg).ListSecrets(t.Context(), &secretsmanager.ListSecretsInput{})
	if err != nil || len(list.SecretList) != 0 {
		t.Errorf("destroyed, and yet there are %d secrets: %v", len(list.SecretList), err)
	}
	params, err := ssm.NewFromConfig(s.cfg).DescribeParameters(t.Context(), &ssm.DescribeParametersInput{})
	if err != nil || len(params.Parameters) != 0 {
		t.Errorf("destroyed, and yet there are %d parameters: %v", len(params.Parameters), err)
	}
}
