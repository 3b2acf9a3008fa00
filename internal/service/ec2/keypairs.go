package ec2

import (
	"context"
	"crypto/ed25519"
	"crypto/md5" //nolint:gosec // AWS's fingerprints
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // AWS's fingerprints
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/api/ec2"
	"roadstead.dev/internal/id"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

var keyPairs = kind[model.KeyPair]{
	noun: nounKey, table: tables.KeyPairs,
	id:   func(v *model.KeyPair) string { return v.ID },
	tags: func(v *model.KeyPair) model.Tags { return v.Tags },
	field: func(v *model.KeyPair, name string) ([]string, bool) {
		switch name {
		case "key-pair-id":
			return one(v.ID)
		case "key-name":
			return one(v.Name)
		case "fingerprint":
			return one(v.Fingerprint)
		}
		return nil, false
	},
}

// colons writes bytes in hexadecimal with colons between.
func colons(b []byte) string {
	parts := make([]string, len(b))
	for i := range b {
		parts[i] = hex.EncodeToString(b[i : i+1])
	}
	return strings.Join(parts, ":")
}

// madeKey is a new pair.
type madeKey struct {
	material, fingerprint string
	public                ssh.PublicKey
}

// makeKey makes a pair, with the fingerprint that EC2 tells of its own: of
// the private key for RSA, of the public one for ED25519.
func makeKey(kind ec2.KeyType) (*madeKey, error) {
	if kind == ec2.KeyTypeEd25519 {
		public, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		sp, err := ssh.NewPublicKey(public)
		if err != nil {
			return nil, err
		}
		block, err := ssh.MarshalPrivateKey(private, "")
		if err != nil {
			return nil, err
		}
		return &madeKey{string(pem.EncodeToMemory(block)), sha256Print(sp), sp}, nil
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	sp, err := ssh.NewPublicKey(&private.PublicKey)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum(der) //nolint:gosec // AWS's fingerprints
	material := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})
	return &madeKey{string(material), colons(sum[:]), sp}, nil
}

func sha256Print(k ssh.PublicKey) string {
	sum := sha256.Sum256(k.Marshal())
	return base64.StdEncoding.EncodeToString(sum[:])
}

func badKey() error {
	return api.NewFault("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
}

// readKey reads public key material: OpenSSH's format, RFC 4716's, or the DER
// of an RSA key in Base64.
func readKey(material []byte) (ssh.PublicKey, error) {
	text := strings.TrimSpace(string(material))
	if k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text)); err == nil {
		return k, nil
	}
	if strings.HasPrefix(text, "---- BEGIN SSH2 PUBLIC KEY ----") {
		return readRFC4716(text)
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, badKey()
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, badKey()
	}
	k, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, badKey()
	}
	return k, nil
}

func readRFC4716(text string) (ssh.PublicKey, error) {
	var body strings.Builder
	continued := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		header := continued || strings.Contains(line, ":")
		continued = header && strings.HasSuffix(line, "\\")
		if !header && !strings.HasPrefix(line, "----") {
			body.WriteString(line)
		}
	}
	raw, err := base64.StdEncoding.DecodeString(body.String())
	if err != nil {
		return nil, badKey()
	}
	k, err := ssh.ParsePublicKey(raw)
	if err != nil {
		return nil, badKey()
	}
	return k, nil
}

// importedKind is the type of a key that a user made, and its fingerprint.
func importedKind(k ssh.PublicKey) (kind ec2.KeyType, fingerprint string, err error) {
	crypto, ok := k.(ssh.CryptoPublicKey)
	if !ok {
		return "", "", badKey()
	}
	switch public := crypto.CryptoPublicKey().(type) {
	case ed25519.PublicKey:
		return ec2.KeyTypeEd25519, sha256Print(k), nil
	case *rsa.PublicKey:
		if !slices.Contains([]int{1024, 2048, 4096}, public.N.BitLen()) {
			return "", "", api.NewFault("InvalidKey.Format", "Invalid RSA key length. Supported lengths: 1024, 2048, 4096")
		}
		der, err := x509.MarshalPKIXPublicKey(public)
		if err != nil {
			return "", "", err
		}
		sum := md5.Sum(der) //nolint:gosec // AWS's fingerprints
		return ec2.KeyTypeRsa, colons(sum[:]), nil
	}
	return "", "", badKey()
}

// saveKey stores a pair under a name that nothing has yet.
func (s *Service) saveKey(ctx context.Context, call *api.Call, v *model.KeyPair, specs []ec2.TagSpecification) error {
	if len(v.Name) > 255 {
		return invalidValue("Value (%s) for parameter KeyName is invalid. Length exceeds maximum of 255.", v.Name)
	}
	var err error
	if v.Tags, err = tagsFor(typeKey, specs); err != nil {
		return err
	}
	return retry(func() error {
		if _, err := tables.KeyPairNames.Get(ctx, s.store, call.Account, call.Region, v.Name); err == nil {
			return api.NewFault("InvalidKeyPair.Duplicate", "The keypair already exists")
		}
		tx := store.NewTxn()
		tables.KeyPairNames.Create(tx, call.Account, call.Region, v.Name, &v.ID)
		tables.KeyPairs.Create(tx, call.Account, call.Region, v.ID, v)
		_, err := tx.Commit(ctx, s.store)
		return err
	})
}

// CreateKeyPair makes a pair and hands its private key out, once.
func (s *Service) CreateKeyPair(ctx context.Context, in *ec2.CreateKeyPairInput) (*ec2.CreateKeyPairOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	if in.KeyFormat == ec2.KeyFormatPpk {
		return nil, unsupported("private keys in PuTTY's format")
	}
	kind := in.KeyType
	if kind == "" {
		kind = ec2.KeyTypeRsa
	}
	made, err := makeKey(kind)
	if err != nil {
		return nil, fmt.Errorf("make a key pair: %w", err)
	}
	v := &model.KeyPair{
		ID: id.Resource("key"), Name: deref(in.KeyName), Type: string(kind), Fingerprint: made.fingerprint,
		PublicKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(made.public))), CreatedAt: call.Time,
	}
	if err := s.saveKey(ctx, call, v, in.TagSpecifications); err != nil {
		return nil, err
	}
	return &ec2.CreateKeyPairOutput{
		KeyPairId: new(v.ID), KeyName: new(v.Name), KeyFingerprint: new(v.Fingerprint), KeyMaterial: new(made.material), Tags: tagsOut(v.Tags),
	}, nil
}

// ImportKeyPair stores the public key of a pair that the user made.
func (s *Service) ImportKeyPair(ctx context.Context, in *ec2.ImportKeyPairInput) (*ec2.ImportKeyPairOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	public, err := readKey(in.PublicKeyMaterial)
	if err != nil {
		return nil, err
	}
	kind, fingerprint, err := importedKind(public)
	if err != nil {
		return nil, err
	}
	v := &model.KeyPair{
		ID: id.Resource("key"), Name: deref(in.KeyName), Type: string(kind), Fingerprint: fingerprint,
		PublicKey: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(public))), CreatedAt: call.Time,
	}
	if err := s.saveKey(ctx, call, v, in.TagSpecifications); err != nil {
		return nil, err
	}
	return &ec2.ImportKeyPairOutput{KeyPairId: new(v.ID), KeyName: new(v.Name), KeyFingerprint: new(v.Fingerprint), Tags: tagsOut(v.Tags)}, nil
}

// keyID is the id of the pair with a name.
func (s *Service) keyID(ctx context.Context, call *api.Call, name string) (string, error) {
	row, err := tables.KeyPairNames.Get(ctx, s.store, call.Account, call.Region, name)
	if err != nil {
		return "", noKey(name)
	}
	return *row.V, nil
}

func noKey(name string) error {
	return api.NewFault("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", name)
}

// DescribeKeyPairs lists pairs.
func (s *Service) DescribeKeyPairs(ctx context.Context, in *ec2.DescribeKeyPairsInput) (*ec2.DescribeKeyPairsOutput, error) {
	call, err := s.begin(ctx)
	if err != nil {
		return nil, err
	}
	ids := slices.Clone(in.KeyPairIds)
	for _, name := range in.KeyNames {
		kid, err := s.keyID(ctx, call, name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, kid)
	}
	found, _, err := keyPairs.describe(ctx, s, call, query{op: "DescribeKeyPairs", ids: ids, filters: in.Filters})
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeKeyPairsOutput{}
	for _, v := range found {
		k := ec2.KeyPairInfo{
			KeyPairId: new(v.ID), KeyName: new(v.Name), KeyType: ec2.KeyType(v.Type), KeyFingerprint: new(v.Fingerprint),
			CreateTime: new(v.CreatedAt), Tags: tagsOut(v.Tags),
		}
		if deref(in.IncludePublicKey) {
			k.PublicKey = new(v.PublicKey + " " + v.Name + "\n")
		}
		out.KeyPairs = append(out.KeyPairs, k)
	}
	return out, nil
}

// DeleteKeyPair forgets a pair. One that is not there by name is no error.
func (s *Service) DeleteKeyPair(ctx context.Context, in *ec2.DeleteKeyPairInput) (*ec2.DeleteKeyPairOutput, error) {
	call, err := s.change(ctx, in.DryRun)
	if err != nil {
		return nil, err
	}
	out := &ec2.DeleteKeyPairOutput{Return: new(true)}
	kid := deref(in.KeyPairId)
	if in.KeyPairId == nil {
		if in.KeyName == nil {
			return nil, required("KeyName or KeyPairId")
		}
		if kid, err = s.keyID(ctx, call, *in.KeyName); err != nil {
			return out, nil //nolint:nilerr // as EC2 does
		}
	}
	err = retry(func() error {
		row, err := keyPairs.get(ctx, s, call, kid)
		if err != nil {
			return err
		}
		tx := store.NewTxn()
		tables.KeyPairs.Delete(tx, row)
		tables.KeyPairNames.Erase(tx, call.Account, call.Region, row.V.Name)
		_, err = tx.Commit(ctx, s.store)
		return err
	})
	if err != nil {
		return nil, err
	}
	out.KeyPairId = new(kid)
	return out, nil
}
