package iam_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base32"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/iam"
	"roadstead.dev/internal/certificates"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// callTime is when the bench's calls are.
var callTime = time.Date(2025, 6, 1, 12, 0, 0, 5e8, time.UTC)

// issued is a certificate with its key, both in PEM.
type issued struct {
	*x509.Certificate
	signer    *ecdsa.PrivateKey
	pem, keys string
}

// issue makes a certificate; parent nil makes it sign itself.
func issue(t *testing.T, name string, parent *issued) *issued {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: callTime.Add(-time.Hour), NotAfter: callTime.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	issuer, signer := template, key
	if parent != nil {
		issuer, signer = parent.Certificate, parent.signer
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &issued{
		c, key,
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: k})),
	}
}

func TestServerCertificate(t *testing.T) {
	b := newBench(t)
	root := issue(t, "root.test", nil)
	middle := issue(t, "middle.test", root)
	leaf := issue(t, "www.test", middle)
	upload := func(name, body, key, chain string) error {
		in := &iam.UploadServerCertificateInput{ServerCertificateName: &name, CertificateBody: &body, PrivateKey: &key, Path: new("/web/"), Tags: []iam.Tag{{Key: new("k"), Value: new("v")}}}
		if chain != "" {
			in.CertificateChain = &chain
		}
		_, err := b.UploadServerCertificate(b.ctx, in)
		return err
	}
	for name, c := range map[string]struct{ body, key, chain, code, message string }{
		"no PEM":        {"x", leaf.keys, "", "MalformedCertificate", "Unable to parse certificate. Please ensure the certificate is in PEM format."},
		"two of them":   {leaf.pem + middle.pem, leaf.keys, "", "MalformedCertificate", "Unable to parse certificate. Please ensure the certificate is in PEM format."},
		"no key":        {leaf.pem, "x", "", "MalformedCertificate", "Unable to parse private key. Please ensure that the key is in PEM format and is not encrypted."},
		"another's key": {leaf.pem, root.keys, "", "KeyPairMismatch", "The public key certificate and the private key do not match."},
		"out of order": {
			leaf.pem, leaf.keys, root.pem + middle.pem, "MalformedCertificate",
			"Unable to validate certificate chain. The certificate chain must start with the immediate signing certificate, followed by any intermediaries in order. The index within the chain of the invalid certificate is: -1",
		},
	} {
		t.Run(name, func(t *testing.T) { refused(t, upload("www", c.body, c.key, c.chain), c.code, c.message) })
	}
	if err := upload("www", leaf.pem, leaf.keys, middle.pem+root.pem); err != nil {
		t.Fatal(err)
	}
	refused(t, upload("WWW", leaf.pem, leaf.keys, ""), "EntityAlreadyExists", "The Server Certificate with name WWW already exists.")
	got, err := b.GetServerCertificate(b.ctx, &iam.GetServerCertificateInput{ServerCertificateName: new("www")})
	c := ok(t, got, err).ServerCertificate
	m := c.ServerCertificateMetadata
	if *m.Arn != "arn:aws:iam::123456789012:server-certificate/web/www" || !strings.HasPrefix(*m.ServerCertificateId, "ASCA") || !m.Expiration.Equal(leaf.NotAfter) {
		t.Errorf("%+v", m)
	}
	if *c.CertificateBody != strings.TrimSpace(leaf.pem) || *c.CertificateChain != strings.TrimSpace(middle.pem+root.pem) {
		t.Error("another certificate comes back")
	}
	if pair, err := certificates.NewOpener(b.store, b.sealing).Open(b.ctx, *m.Arn); err != nil || len(pair.Certificate) != 3 {
		t.Errorf("%v", err)
	}
	// What listeners use goes on under its new name.
	uses := func() []string {
		row, err := tables.Listeners.Get(b.ctx, b.store, "123456789012", "eu-west-1", "lb/l")
		if err != nil {
			t.Fatal(err)
		}
		return row.V.Certificates
	}
	tx := store.NewTxn()
	tables.Listeners.Put(tx, "123456789012", "eu-west-1", "lb/l", &model.Listener{LoadBalancerARN: "lb", Certificates: []string{"x", *m.Arn, *m.Arn}})
	if _, err := tx.Commit(b.ctx, b.store); err != nil {
		t.Fatal(err)
	}
	_, err = b.DeleteServerCertificate(b.ctx, &iam.DeleteServerCertificateInput{ServerCertificateName: new("www")})
	refused(t, err, "DeleteConflict", "Certificate: "+*m.ServerCertificateId+" is currently in use by lb. Please remove it first before deleting it from IAM.")
	if _, err := b.UpdateServerCertificate(b.ctx, &iam.UpdateServerCertificateInput{ServerCertificateName: new("www"), NewServerCertificateName: new("other")}); err != nil {
		t.Fatal(err)
	}
	if _, err := certificates.NewOpener(b.store, b.sealing).Open(b.ctx, "arn:aws:iam::123456789012:server-certificate/web/other"); err != nil {
		t.Error("its key is lost with its name:", err)
	}
	if d := cmp.Diff([]string{"x", "arn:aws:iam::123456789012:server-certificate/web/other", "arn:aws:iam::123456789012:server-certificate/web/other"}, uses()); d != "" {
		t.Error(d)
	}
	tx = store.NewTxn()
	tables.Listeners.Erase(tx, "123456789012", "eu-west-1", "lb/l")
	if _, err := tx.Commit(b.ctx, b.store); err != nil {
		t.Fatal(err)
	}
	listed, err := b.ListServerCertificates(b.ctx, &iam.ListServerCertificatesInput{PathPrefix: new("/web")})
	if l := ok(t, listed, err).ServerCertificateMetadataList; len(l) != 1 || *l[0].ServerCertificateName != "other" {
		t.Errorf("%+v", l)
	}
	if _, err := b.DeleteServerCertificate(b.ctx, &iam.DeleteServerCertificateInput{ServerCertificateName: new("other")}); err != nil {
		t.Fatal(err)
	}
	_, err = b.GetServerCertificate(b.ctx, &iam.GetServerCertificateInput{ServerCertificateName: new("other")})
	refused(t, err, "NoSuchEntity", "The Server Certificate with name other cannot be found.")
}

func TestSSHPublicKey(t *testing.T) {
	b := newBench(t)
	b.createUser(t, "bob")
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public)))
	upload := func(body string) (*iam.UploadSSHPublicKeyOutput, error) {
		return b.UploadSSHPublicKey(b.ctx, &iam.UploadSSHPublicKeyInput{UserName: new("bob"), SSHPublicKeyBody: &body})
	}
	for _, bad := range []string{"ssh-rsa AAAA", "nothing", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"} {
		if _, err := upload(bad); api.Code(err) != "InvalidPublicKey" {
			t.Errorf("%s: %v", bad, err)
		}
	}
	made, err := upload(line + " bob@host")
	k := ok(t, made, err).SSHPublicKey
	if *k.SSHPublicKeyBody != line || *k.Fingerprint != ssh.FingerprintLegacyMD5(public) || k.Status != "Active" {
		t.Errorf("%+v", k)
	}
	if _, err := upload(line); api.Code(err) != "DuplicateSSHPublicKey" {
		t.Error(err)
	}
	got, err := b.GetSSHPublicKey(b.ctx, &iam.GetSSHPublicKeyInput{UserName: new("bob"), SSHPublicKeyId: k.SSHPublicKeyId, Encoding: "PEM"})
	block, _ := pem.Decode([]byte(*ok(t, got, err).SSHPublicKey.SSHPublicKeyBody))
	if parsed, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil || !private.PublicKey.Equal(parsed) {
		t.Errorf("the PEM holds another key: %v", err)
	}
	if _, err := b.UpdateSSHPublicKey(b.ctx, &iam.UpdateSSHPublicKeyInput{UserName: new("bob"), SSHPublicKeyId: k.SSHPublicKeyId, Status: "Inactive"}); err != nil {
		t.Fatal(err)
	}
	listed, err := b.ListSSHPublicKeys(b.ctx, &iam.ListSSHPublicKeysInput{UserName: new("bob")})
	if l := ok(t, listed, err).SSHPublicKeys; len(l) != 1 || l[0].Status != "Inactive" {
		t.Errorf("%+v", l)
	}
	_, err = b.DeleteUser(b.ctx, &iam.DeleteUserInput{UserName: new("bob")})
	refused(t, err, "DeleteConflict", "Cannot delete entity, must remove referenced objects first.")
	del := &iam.DeleteSSHPublicKeyInput{UserName: new("bob"), SSHPublicKeyId: k.SSHPublicKeyId}
	if _, err := b.DeleteSSHPublicKey(b.ctx, del); err != nil {
		t.Fatal(err)
	}
	_, err = b.DeleteSSHPublicKey(b.ctx, del)
	refused(t, err, "NoSuchEntity", "The Public Key with id "+*k.SSHPublicKeyId+" cannot be found.")
}

func TestMFADevice(t *testing.T) {
	b := newBench(t)
	b.createUser(t, "bob")
	in := &iam.CreateVirtualMFADeviceInput{VirtualMFADeviceName: new("phone"), Path: new("/people/")}
	made, err := b.CreateVirtualMFADevice(b.ctx, in)
	d := ok(t, made, err).VirtualMFADevice
	if *d.SerialNumber != "arn:aws:iam::123456789012:mfa/people/phone" || !strings.HasPrefix(string(d.QRCodePNG), "\x89PNG") {
		t.Errorf("%s, %d bytes of PNG", *d.SerialNumber, len(d.QRCodePNG))
	}
	_, err = b.CreateVirtualMFADevice(b.ctx, in)
	refused(t, err, "EntityAlreadyExists", "MFADevice entity at the same path and name already exists.")
	seed, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(string(d.Base32StringSeed))
	if err != nil {
		t.Fatal(err)
	}
	enable := func(first, second int64) error {
		step := model.MFAStep(callTime)
		_, err := b.EnableMFADevice(b.ctx, &iam.EnableMFADeviceInput{
			UserName: new("bob"), SerialNumber: d.SerialNumber,
			AuthenticationCode1: new(model.MFACode(seed, step+first)), AuthenticationCode2: new(model.MFACode(seed, step+second)),
		})
		return err
	}
	refused(t, enable(0, 0), "InvalidAuthenticationCode", "Authentication code for device is not valid.")
	if err := enable(-1, 0); err != nil {
		t.Fatal(err)
	}
	if err := enable(-1, 0); api.Code(err) != "EntityAlreadyExists" {
		t.Error(err)
	}
	listed, err := b.ListMFADevices(b.ctx, &iam.ListMFADevicesInput{UserName: new("bob")})
	if l := ok(t, listed, err).MFADevices; len(l) != 1 || *l[0].SerialNumber != *d.SerialNumber {
		t.Errorf("%+v", l)
	}
	for status, want := range map[iam.AssignmentStatusType]int{"Any": 1, "Assigned": 1, "Unassigned": 0} {
		l, err := b.ListVirtualMFADevices(b.ctx, &iam.ListVirtualMFADevicesInput{AssignmentStatus: status})
		if len(ok(t, l, err).VirtualMFADevices) != want {
			t.Errorf("%s: %+v", status, l.VirtualMFADevices)
		}
	}
	_, err = b.DeleteVirtualMFADevice(b.ctx, &iam.DeleteVirtualMFADeviceInput{SerialNumber: d.SerialNumber})
	refused(t, err, "DeleteConflict", "MFA VirtualDevice in use. Must deactivate first.")
	_, err = b.DeleteUser(b.ctx, &iam.DeleteUserInput{UserName: new("bob")})
	refused(t, err, "DeleteConflict", "Cannot delete entity, must delete MFA device first.")
	// A user takes its devices along under a new name.
	if _, err := b.UpdateUser(b.ctx, &iam.UpdateUserInput{UserName: new("bob"), NewUserName: new("rob")}); err != nil {
		t.Fatal(err)
	}
	got, err := b.GetMFADevice(b.ctx, &iam.GetMFADeviceInput{SerialNumber: d.SerialNumber})
	if g := ok(t, got, err); *g.UserName != "rob" || g.EnableDate == nil {
		t.Errorf("%+v", g)
	}
	off := &iam.DeactivateMFADeviceInput{UserName: new("rob"), SerialNumber: d.SerialNumber}
	if _, err := b.DeactivateMFADevice(b.ctx, off); err != nil {
		t.Fatal(err)
	}
	if _, err := b.DeactivateMFADevice(b.ctx, off); api.Code(err) != "NoSuchEntity" {
		t.Error(err)
	}
	if _, err := b.DeleteVirtualMFADevice(b.ctx, &iam.DeleteVirtualMFADeviceInput{SerialNumber: d.SerialNumber}); err != nil {
		t.Fatal(err)
	}
	_, err = b.GetMFADevice(b.ctx, &iam.GetMFADeviceInput{SerialNumber: d.SerialNumber})
	refused(t, err, "NoSuchEntity", "VirtualMFADevice with serial number arn:aws:iam::123456789012:mfa/people/phone doesn't exist.")
}

func TestSAMLProvider(t *testing.T) {
	b := newBench(t)
	metadata := `<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="https://idp.test" validUntil="2030-01-02T03:04:05Z">` +
		`<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol"/></md:EntityDescriptor><!--` + strings.Repeat("x", 1000) + "-->"
	for _, bad := range []string{"<a/>", "<md:EntityDescriptor", strings.Replace(metadata, "IDPSSO", "SPSSO", 1)} {
		_, err := b.CreateSAMLProvider(b.ctx, &iam.CreateSAMLProviderInput{Name: new("corp"), SAMLMetadataDocument: &bad})
		refused(t, err, "InvalidInput", "Could not parse metadata")
	}
	made, err := b.CreateSAMLProvider(b.ctx, &iam.CreateSAMLProviderInput{Name: new("corp"), SAMLMetadataDocument: &metadata})
	arn := ok(t, made, err).SAMLProviderArn
	got, err := b.GetSAMLProvider(b.ctx, &iam.GetSAMLProviderInput{SAMLProviderArn: arn})
	if g := ok(t, got, err); *g.SAMLMetadataDocument != metadata || g.ValidUntil.Format(time.RFC3339) != "2030-01-02T03:04:05Z" {
		t.Errorf("%+v", g)
	}
	if _, err := b.DeleteSAMLProvider(b.ctx, &iam.DeleteSAMLProviderInput{SAMLProviderArn: arn}); err != nil {
		t.Fatal(err)
	}
	_, err = b.GetSAMLProvider(b.ctx, &iam.GetSAMLProviderInput{SAMLProviderArn: arn})
	refused(t, err, "NoSuchEntity", "Manifest not found for arn arn:aws:iam::123456789012:saml-provider/corp")
}

func TestAccountAuthorizationDetails(t *testing.T) {
	b := newBench(t)
	b.createUser(t, "bob")
	b.createRole(t, "web")
	b.createPolicy(t, "read")
	if _, err := b.AttachRolePolicy(b.ctx, &iam.AttachRolePolicyInput{RoleName: new("web"), PolicyArn: new(admin)}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.PutUserPolicy(b.ctx, &iam.PutUserPolicyInput{UserName: new("bob"), PolicyName: new("p"), PolicyDocument: new(allow)}); err != nil {
		t.Fatal(err)
	}
	users, roles, policies := 0, 0, 0
	var marker *string
	for {
		got, err := b.GetAccountAuthorizationDetails(b.ctx, &iam.GetAccountAuthorizationDetailsInput{MaxItems: new(int32(1)), Marker: marker})
		out := ok(t, got, err)
		users, roles, policies = users+len(out.UserDetailList), roles+len(out.RoleDetailList), policies+len(out.Policies)
		if marker = out.Marker; marker == nil {
			break
		}
	}
	if users != 1 || roles != 1 || policies != 2 {
		t.Errorf("%d users, %d roles, %d policies", users, roles, policies)
	}
	got, err := b.GetAccountAuthorizationDetails(b.ctx, &iam.GetAccountAuthorizationDetailsInput{Filter: []iam.EntityType{"Role"}})
	if out := ok(t, got, err); len(out.RoleDetailList) != 1 || len(out.UserDetailList)+len(out.Policies) != 0 ||
		*out.RoleDetailList[0].AttachedManagedPolicies[0].PolicyName != "AdministratorAccess" {
		t.Errorf("%+v", out)
	}
}
