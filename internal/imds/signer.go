package imds

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Signer signs identity documents with a key of the server's, where EC2 does
// with keys of the region's. Safe for concurrent use.
type Signer struct {
	path string

	mu   sync.Mutex
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

// NewSigner makes a Signer whose key is in a file, which is written when it is
// first needed.
func NewSigner(path string) *Signer { return &Signer{path: path} }

// Sign is a document's signature, RSA with SHA-256, in base64.
func (s *Signer) Sign(document []byte) (string, error) {
	key, _, err := s.load()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(document)
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	return wrap(sig), err
}

// Verify tells whether Sign made the signature of the document.
func (s *Signer) Verify(document []byte, signature string) error {
	key, _, err := s.load()
	if err != nil {
		return err
	}
	sig, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(signature), ""))
	if err != nil {
		return fmt.Errorf("the identity document's signature: %w", err)
	}
	sum := sha256.Sum256(document)
	return rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, sum[:], sig)
}

// The parts of a PKCS #7 message that holds what it signs (RFC 2315).
type (
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content any `asn1:"explicit,tag:0"`
	}
	signedData struct {
		Version      int
		Digests      []pkix.AlgorithmIdentifier `asn1:"set"`
		Content      contentInfo
		Certificates asn1.RawValue
		Signers      []signerInfo `asn1:"set"`
	}
	signerInfo struct {
		Version int
		Issuer  issuer
		Digest  pkix.AlgorithmIdentifier
		Cipher  pkix.AlgorithmIdentifier
		Sum     []byte
	}
	issuer struct {
		Name   asn1.RawValue
		Serial *big.Int
	}
)

var (
	oidData       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidSHA256     = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidRSA        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
)

// PKCS7 is a document with its signature and the signer's certificate, in
// base64. EC2's pkcs7 is signed with DSA; this is its rsa2048.
func (s *Signer) PKCS7(document []byte) (string, error) {
	key, cert, err := s.load()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(document)
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	digest := pkix.AlgorithmIdentifier{Algorithm: oidSHA256, Parameters: asn1.NullRawValue}
	b, err := asn1.Marshal(contentInfo{oidSignedData, signedData{
		Version: 1, Digests: []pkix.AlgorithmIdentifier{digest}, Content: contentInfo{oidData, document},
		Certificates: asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: cert.Raw},
		Signers: []signerInfo{{
			Version: 1, Issuer: issuer{asn1.RawValue{FullBytes: cert.RawIssuer}, cert.SerialNumber},
			Digest: digest, Cipher: pkix.AlgorithmIdentifier{Algorithm: oidRSA, Parameters: asn1.NullRawValue}, Sum: sig,
		}},
	}})
	return wrap(b), err
}

// Certificate is the signer's, in PEM.
func (s *Signer) Certificate() (string, error) {
	_, cert, err := s.load()
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})), nil
}

// wrap is base64 in lines of 64.
func wrap(b []byte) string {
	text := base64.StdEncoding.EncodeToString(b)
	var out strings.Builder
	for len(text) > 64 {
		out.WriteString(text[:64] + "\n")
		text = text[64:]
	}
	return out.String() + text
}

func (s *Signer) load() (*rsa.PrivateKey, *x509.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key != nil {
		return s.key, s.cert, nil
	}
	b, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = create(s.path)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("the key of identity documents: %w", err)
	}
	keyBlock, rest := pem.Decode(b)
	certBlock, _ := pem.Decode(rest)
	if keyBlock == nil || certBlock == nil {
		return nil, nil, fmt.Errorf("%s holds no key and certificate", s.path)
	}
	key, err := x509.ParsePKCS1PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, nil, err
	}
	s.key, s.cert = key, cert
	return key, cert, nil
}

// create writes a new key with its certificate.
func create(path string) ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "Roadstead instance identity"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(100, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Write(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b.Bytes(), 0o600); err != nil {
		return nil, err
	}
	return b.Bytes(), os.Rename(tmp, path)
}
