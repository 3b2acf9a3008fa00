package acm

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"strings"

	"roadstead.dev/internal/api/acm"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
)

// ExportCertificate implements acm.Handler.
func (s *Service) ExportCertificate(ctx context.Context, in *acm.ExportCertificateInput) (*acm.ExportCertificateOutput, error) {
	var out *acm.ExportCertificateOutput
	err := s.update(ctx, *in.CertificateArn, func(v *model.Certificate) error {
		switch {
		case !v.Exportable:
			return invalid("Certificate ARN: %s is not exportable.", v.ARN)
		case v.Leaf == "":
			return inProgress(v)
		case v.Status != model.CertificateIssued:
			return invalid("Certificate %s cannot be exported: it is %s.", v.ARN, v.Status)
		}
		key, err := s.Key.Open(model.CertificateKeyName(v.ARN), v.Key)
		if err != nil {
			return fmt.Errorf("key of %s: %w", v.ARN, err)
		}
		encrypted, err := encryptKey(key, in.Passphrase)
		if err != nil {
			return fmt.Errorf("key of %s: %w", v.ARN, err)
		}
		out = &acm.ExportCertificateOutput{Certificate: new(v.Leaf), CertificateChain: opt(v.Chain), PrivateKey: &encrypted}
		v.Exported = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// The parts of PBES2, by which PKCS #8 encrypts keys (RFC 8018).
var (
	oidPBES2      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2     = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidHMACSHA256 = asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9}
	oidAES256CBC  = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
)

const (
	// iterations make each guess at a passphrase cost about a tenth of a second.
	iterations = 600_000
	keySize    = 32
	saltSize   = 16
)

type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	PRF        pkix.AlgorithmIdentifier
}

type pbes2Params struct {
	KDF struct {
		Algorithm  asn1.ObjectIdentifier
		Parameters pbkdf2Params
	}
	Cipher struct {
		Algorithm asn1.ObjectIdentifier
		IV        []byte
	}
}

type encryptedKey struct {
	Algorithm struct {
		Algorithm  asn1.ObjectIdentifier
		Parameters pbes2Params
	}
	Data []byte
}

// encryptKey makes of a PKCS #8 key in PEM one that needs a passphrase.
func encryptKey(text, passphrase []byte) (string, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return "", errKey
	}
	salt, iv := make([]byte, saltSize), make([]byte, aes.BlockSize)
	_, _ = rand.Read(salt) // never fails
	_, _ = rand.Read(iv)
	derived, err := pbkdf2.Key(sha256.New, strings.TrimSuffix(string(passphrase), "\n"), salt, iterations, keySize)
	if err != nil {
		return "", err
	}
	c, err := aes.NewCipher(derived)
	if err != nil {
		return "", err
	}
	padding := aes.BlockSize - len(block.Bytes)%aes.BlockSize
	data := append([]byte(nil), block.Bytes...)
	for range padding {
		data = append(data, byte(padding))
	}
	cipher.NewCBCEncrypter(c, iv).CryptBlocks(data, data)

	var k encryptedKey
	k.Algorithm.Algorithm, k.Data = oidPBES2, data
	p := &k.Algorithm.Parameters
	p.KDF.Algorithm, p.KDF.Parameters = oidPBKDF2, pbkdf2Params{salt, iterations, pkix.AlgorithmIdentifier{Algorithm: oidHMACSHA256, Parameters: asn1.NullRawValue}}
	p.Cipher.Algorithm, p.Cipher.IV = oidAES256CBC, iv
	der, err := asn1.Marshal(k)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der})), nil
}

// RevokeCertificate implements acm.Handler.
func (s *Service) RevokeCertificate(ctx context.Context, in *acm.RevokeCertificateInput) (*acm.RevokeCertificateOutput, error) {
	at := now(ctx)
	err := s.updateWith(ctx, *in.CertificateArn, func(tx *store.Txn, row store.Row[model.Certificate], v *model.Certificate) error {
		if err := s.unused(ctx, tx, row); err != nil {
			return err
		}
		switch {
		case v.Status == model.CertificateRevoked:
			return acm.NewConflictException("Certificate %s is revoked already.", v.ARN)
		case v.Status != model.CertificateIssued || !v.Exported:
			return acm.NewConflictException("Certificate %s cannot be revoked: it was never exported.", v.ARN)
		}
		v.Status, v.RevokedAt, v.RevocationReason = model.CertificateRevoked, at, string(in.RevocationReason)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &acm.RevokeCertificateOutput{CertificateArn: in.CertificateArn}, nil
}
