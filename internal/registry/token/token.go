// Package token makes and reads the passwords that docker login gets from
// GetAuthorizationToken. They are opaque to their bearers, say who they were
// given to, and end by themselves; the server keeps no list of them.
package token

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"roadstead.dev/internal/api"
)

// Lifetime of a token, which is ECR's.
const Lifetime = 12 * time.Hour

// Errors of Verify.
var (
	ErrInvalid = errors.New("authorization token is invalid")
	ErrExpired = errors.New("authorization token has expired")
)

// Claims are what a token says.
type Claims struct {
	// Account of the identity.
	Account  string       `json:"a"`
	Identity api.Identity `json:"i"`
	Expires  time.Time    `json:"e"`
}

// Signer makes and checks tokens and signed URLs.
type Signer struct{ key []byte }

// NewSigner makes a Signer of a secret key of 32 bytes or more.
func NewSigner(key []byte) (*Signer, error) {
	if len(key) < 32 {
		return nil, fmt.Errorf("token key has %d bytes, needs 32", len(key))
	}
	return &Signer{key: key}, nil
}

// LoadSigner makes a Signer of the key in a file, which it writes on first use.
// Servers that share a registry's folder share the key.
func LoadSigner(path string) (*Signer, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = newKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("token key: %w", err)
	}
	return NewSigner(key)
}

// newKey writes a new key, unless another process was faster.
func newKey(path string) ([]byte, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".key-*")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // one name too many is no harm
	_, err = tmp.Write(key)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(path)
}

// Issue makes a token that ends at c.Expires.
func (s *Signer) Issue(c Claims) (string, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("issue token: %w", err)
	}
	return base64.StdEncoding.EncodeToString(append(s.mac("token", b), b...)), nil
}

// Verify reads a token: an error is ErrInvalid or ErrExpired.
func (s *Signer) Verify(token string, now time.Time) (Claims, error) {
	b, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(b) < sha256.Size {
		return Claims{}, ErrInvalid
	}
	body := b[sha256.Size:]
	if !hmac.Equal(b[:sha256.Size], s.mac("token", body)) {
		return Claims{}, ErrInvalid
	}
	var c Claims
	dec := json.NewDecoder(bytes.NewReader(body))
	if err := dec.Decode(&c); err != nil {
		return Claims{}, ErrInvalid
	}
	if !now.Before(c.Expires) {
		return Claims{}, ErrExpired
	}
	return c, nil
}

// SignURL signs the parts of a URL until expires.
func (s *Signer) SignURL(expires time.Time, parts ...string) string {
	return base64.RawURLEncoding.EncodeToString(s.mac("url", urlBody(expires, parts)))
}

// VerifyURL checks what SignURL made.
func (s *Signer) VerifyURL(signature string, now, expires time.Time, parts ...string) error {
	got, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !hmac.Equal(got, s.mac("url", urlBody(expires, parts))) {
		return ErrInvalid
	}
	if !now.Before(expires) {
		return ErrExpired
	}
	return nil
}

func urlBody(expires time.Time, parts []string) []byte {
	return fmt.Appendf(nil, "%d\n%s", expires.Unix(), strings.Join(parts, "\n"))
}

// mac is bound to a purpose, so that a signature for one is none for another.
func (s *Signer) mac(purpose string, b []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write([]byte(purpose + "\n"))
	h.Write(b)
	return h.Sum(nil)
}
