package ec2_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	api2 "roadstead.dev/internal/api/ec2"
)

func TestKeyPairs(t *testing.T) {
	w := newWorld(t)
	for _, kind := range []api2.KeyType{"", api2.KeyTypeRsa, api2.KeyTypeEd25519} {
		name := "made-" + string(kind)
		made := must[*api2.CreateKeyPairOutput](t)(w.CreateKeyPair(w.ctx, &api2.CreateKeyPairInput{KeyName: &name, KeyType: kind, TagSpecifications: []api2.TagSpecification{
			{ResourceType: "key-pair", Tags: []api2.Tag{{Key: new("a"), Value: new("b")}}},
		}}))
		private, err := ssh.ParsePrivateKey([]byte(*made.KeyMaterial))
		if err != nil {
			t.Fatal(err)
		}
		got := must[*api2.DescribeKeyPairsOutput](t)(w.DescribeKeyPairs(w.ctx, &api2.DescribeKeyPairsInput{KeyNames: []string{name}, IncludePublicKey: new(true)})).KeyPairs
		if len(got) != 1 || *got[0].KeyPairId != *made.KeyPairId || len(got[0].Tags) != 1 {
			t.Fatalf("pairs %+v", got)
		}
		// The public key belongs to the private one.
		if want := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(private.PublicKey()))); *got[0].PublicKey != want+" "+name+"\n" {
			t.Errorf("public key %q, want %q", *got[0].PublicKey, want)
		}
		if *got[0].KeyFingerprint != *made.KeyFingerprint || strings.Contains(*made.KeyFingerprint, ":") == (kind == api2.KeyTypeEd25519) {
			t.Errorf("fingerprint %s", *made.KeyFingerprint)
		}
		_, err = w.CreateKeyPair(w.ctx, &api2.CreateKeyPairInput{KeyName: &name})
		fails(t, err, "InvalidKeyPair.Duplicate", "The keypair already exists")
	}
	id := must[*api2.DeleteKeyPairOutput](t)(w.DeleteKeyPair(w.ctx, &api2.DeleteKeyPairInput{KeyName: new("made-rsa")})).KeyPairId
	if id == nil {
		t.Error("nothing was deleted")
	}
	_, err := w.DescribeKeyPairs(w.ctx, &api2.DescribeKeyPairsInput{KeyNames: []string{"made-rsa"}})
	fails(t, err, "InvalidKeyPair.NotFound", "The key pair 'made-rsa' does not exist")
	must[*api2.DeleteKeyPairOutput](t)(w.DeleteKeyPair(w.ctx, &api2.DeleteKeyPairInput{KeyName: new("made-rsa")}))
	_, err = w.CreateKeyPair(w.ctx, &api2.CreateKeyPairInput{KeyName: new("p"), KeyFormat: api2.KeyFormatPpk})
	fails(t, err, "UnsupportedOperation", "")
}

func TestImportKeyPair(t *testing.T) {
	w := newWorld(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	odd, err := rsa.GenerateKey(rand.Reader, 1536)
	if err != nil {
		t.Fatal(err)
	}
	edKey, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	line := func(public any) string {
		k, err := ssh.NewPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		return string(ssh.MarshalAuthorizedKey(k))
	}
	der, err := x509.MarshalPKIXPublicKey(&rsaKey.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	body := strings.Fields(line(&rsaKey.PublicKey))[1]
	const known = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ"
	tests := map[string]struct{ material, kind, code string }{
		"OpenSSH":       {strings.TrimSpace(line(&rsaKey.PublicKey)) + " me@example.com\n", "rsa", ""},
		"ED25519":       {line(edKey), "ed25519", ""},
		"DER":           {base64.StdEncoding.EncodeToString(der), "rsa", ""},
		"RFC 4716":      {"---- BEGIN SSH2 PUBLIC KEY ----\nComment: \"a long \\\ncomment\"\n" + body[:70] + "\n" + body[70:] + "\n---- END SSH2 PUBLIC KEY ----\n", "rsa", ""},
		"an odd length": {line(&odd.PublicKey), "", "InvalidKey.Format"},
		"cut off":       {known, "", "InvalidKey.Format"},
		"nothing":       {"", "", "InvalidKey.Format"},
	}
	prints := map[string]bool{}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := w.ImportKeyPair(w.ctx, &api2.ImportKeyPairInput{KeyName: new(name), PublicKeyMaterial: []byte(tt.material)})
			if tt.code != "" {
				fails(t, err, tt.code, "")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.kind == "rsa" {
				prints[*out.KeyFingerprint] = true
			}
			got := must[*api2.DescribeKeyPairsOutput](t)(w.DescribeKeyPairs(w.ctx, &api2.DescribeKeyPairsInput{Filters: filter("key-name", name)})).KeyPairs
			if len(got) != 1 || string(got[0].KeyType) != tt.kind || got[0].PublicKey != nil {
				t.Errorf("pairs %+v", got)
			}
		})
	}
	if len(prints) != 1 {
		t.Errorf("one key has the fingerprints %v", prints)
	}
}

// A fingerprint is the one that ssh-keygen tells.
func TestFingerprintOfAnImportedKey(t *testing.T) {
	w := newWorld(t)
	// Made with ssh-keygen -t ed25519; its SHA-256 as ssh-keygen -l tells it.
	out := must[*api2.ImportKeyPairOutput](t)(w.ImportKeyPair(w.ctx, &api2.ImportKeyPairInput{
		KeyName: new("k"), PublicKeyMaterial: []byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIL9jROubWDxAWrnZmOSOYnQVlqxhlobn+Dd/zpIcVnIF"),
	}))
	if *out.KeyFingerprint != "frpjwmYXBZ1Qwemt38yQiNiEYsBcdhRd/yWy8QzHnpM=" {
		t.Errorf("fingerprint %s", *out.KeyFingerprint)
	}
}
