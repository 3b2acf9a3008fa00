package acm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"time"
)

// imported is what an import brings, checked, and in PEM as it is kept.
type imported struct {
	certificate      *x509.Certificate
	leaf, chain, key string
	algorithm        string
	// names are the common name, if it is a host's, and the DNS names.
	names []string
}

const pemCertificate = "CERTIFICATE"

// The words of refusals of imports.
// https://repost.aws/knowledge-center/acm-import-troubleshooting
var (
	errCertificate = invalid("The certificate body/chain provided is not in a valid PEM format. Unable to parse certificate. Please ensure the certificate is in PEM format.")
	errSeveral     = invalid("The certificate field contains more than one certificate. You can specify only one certificate in this field.")
	errVersion     = invalid("The certificate is not supported. Only X.509 version 3 certificates can be imported.")
	errEarly       = invalid("The certificate is not in effect yet, is not valid.")
	errExpired     = invalid("The certificate has expired, is not valid.")
	errKey         = invalid("The private key is not PEM-encoded or is not valid.")
	errKeyKind     = invalid("The private key is not supported.")
	errEncrypted   = invalid("Your private key should not be encrypted.")
	errMismatch    = invalid("The private key does not match the certificate.")
	errSelfSigned  = invalid("Provided certificate is not a valid self signed. Please provide either a valid self-signed certificate or certificate chain.")
	errChain       = invalid("Could not validate the certificate with the certificate chain.")
)

// readImport reads and checks what is to be imported at a time.
func readImport(body, key, chain []byte, at time.Time) (*imported, error) {
	own, err := readCertificates(body)
	switch {
	case err != nil:
		return nil, err
	case len(own) > 1:
		return nil, errSeveral
	}
	leaf := own[0]
	switch {
	case leaf.Version != 3:
		return nil, errVersion
	case at.Before(leaf.NotBefore):
		return nil, errEarly
	case at.After(leaf.NotAfter):
		return nil, errExpired
	}
	signer, err := readKey(key)
	if err != nil {
		return nil, err
	}
	algorithm, err := algorithmOf(signer.Public())
	if err != nil {
		return nil, err
	}
	if public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(leaf.PublicKey) {
		return nil, errMismatch
	}
	issuers, err := readChain(leaf, chain)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return nil, errKeyKind
	}
	return &imported{
		certificate: leaf, leaf: encode(leaf), chain: encode(issuers...), algorithm: algorithm, names: namesOf(leaf),
		key: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}, nil
}

func encode(cs ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range cs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.Raw}))
	}
	return b.String()
}

// readCertificates reads certificates that nothing else stands between.
func readCertificates(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for rest := bytes.TrimSpace(text); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		if !bytes.HasPrefix(rest, []byte("-----BEGIN ")) {
			return nil, errCertificate
		}
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != pemCertificate {
			return nil, errCertificate
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errCertificate
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errCertificate
	}
	return out, nil
}

// readChain reads the certificates that certify leaf, each one the one before
// it. A certificate that signs itself needs none.
func readChain(leaf *x509.Certificate, text []byte) ([]*x509.Certificate, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		if !bytes.Equal(leaf.RawIssuer, leaf.RawSubject) || leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) != nil {
			return nil, errSelfSigned
		}
		return nil, nil
	}
	issuers, err := readCertificates(text)
	if err != nil {
		return nil, err
	}
	child := leaf
	for _, issuer := range issuers {
		if issuer.Equal(leaf) || child.CheckSignatureFrom(issuer) != nil {
			return nil, errChain
		}
		child = issuer
	}
	return issuers, nil
}

// readKey reads a private key by the forms that OpenSSL writes.
func readKey(text []byte) (crypto.Signer, error) {
	block, rest := pem.Decode(text)
	for block != nil && block.Type == "EC PARAMETERS" {
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, errKey
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, errEncrypted
	}
	var key any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, errKey
	}
	if err != nil {
		return nil, errKey
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errKeyKind
	}
	return signer, nil
}

// algorithmOf names the algorithm of a key as Certificate Manager does.
func algorithmOf(public crypto.PublicKey) (string, error) {
	switch k := public.(type) {
	case *rsa.PublicKey:
		switch bits := k.N.BitLen(); bits {
		case 1024:
			return "RSA_1024", nil
		case 2048:
			return "RSA_2048", nil
		case 3072:
			return "RSA_3072", nil
		case 4096:
			return "RSA_4096", nil
		default:
			return "", invalid("The private key length %d is not supported for key algorithm RSA.", bits)
		}
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return "EC_prime256v1", nil
		case elliptic.P384():
			return "EC_secp384r1", nil
		case elliptic.P521():
			return "EC_secp521r1", nil
		}
	}
	return "", errKeyKind
}

func namesOf(c *x509.Certificate) []string {
	var names []string
	for _, n := range append([]string{c.Subject.CommonName}, c.DNSNames...) {
		if n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names
}
