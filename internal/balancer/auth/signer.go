package auth

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"time"
)

// Signer signs what targets are told of users. Safe for concurrent use.
type Signer struct {
	key *ecdsa.PrivateKey
	id  string
	pem []byte
}

// NewSigner makes the signer that a secret stands for: always the same, so
// that all processes of a server sign alike.
func NewSigner(secret [32]byte) (*Signer, error) {
	var key *ecdsa.PrivateKey
	for i := byte(0); key == nil; i++ {
		raw := sha256.Sum256(append(secret[:], i))
		// Fails for the few numbers that are no key.
		key, _ = ecdsa.ParseRawPrivateKey(elliptic.P256(), raw[:])
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256(der)
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	h := hex.EncodeToString(id[:16])
	return &Signer{
		key: key, id: h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:],
		pem: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
	}, nil
}

// PublicKey is the key with that id, in PEM; nil when it is none of the
// signer's.
func (s *Signer) PublicKey(id string) []byte {
	if id != s.id {
		return nil
	}
	return s.pem
}

// header is that of x-amzn-oidc-data.
type header struct {
	Type    string `json:"typ"`
	Key     string `json:"kid"`
	Alg     string `json:"alg"`
	Issuer  string `json:"iss"`
	Client  string `json:"client"`
	Signer  string `json:"signer"`
	Expires int64  `json:"exp"`
}

// sign makes a token of a user's claims. Unlike other tokens it is padded.
func (s *Signer) sign(lb, issuer, client string, user claims, until time.Time) (string, error) {
	payload := make(claims, len(user)+2)
	maps.Copy(payload, user)
	payload["exp"], payload["iss"] = until.Unix(), issuer
	h, err := json.Marshal(header{"JWT", s.id, "ES256", issuer, client, lb, until.Unix()})
	if err != nil {
		return "", err
	}
	p, err := json.Marshal(payload)
	if err != nil {
		return "", err
	}
	signed := base64.URLEncoding.EncodeToString(h) + "." + base64.URLEncoding.EncodeToString(p)
	sum := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign claims: %w", err)
	}
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	v.FillBytes(sig[32:])
	return signed + "." + base64.URLEncoding.EncodeToString(sig), nil
}
