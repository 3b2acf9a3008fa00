// Package seal encrypts what must not lie readable in the store: the values
// of secrets. One key, in a file beside the store, seals everything; each
// sealed value is bound to the name of what it belongs to, so that one cannot
// be put in another's place.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"roadstead.dev/internal/durable"
)

// keySize makes it AES-256.
const keySize = 32

// ErrOpen tells that a value was not sealed by this key under this name, or
// was changed since.
var ErrOpen = errors.New("sealed value cannot be opened")

// Key seals and opens values.
type Key struct {
	aead   cipher.AEAD
	secret []byte
}

// New makes a Key of 32 secret bytes.
func New(key []byte) (*Key, error) {
	if len(key) != keySize {
		return nil, fmt.Errorf("sealing key has %d bytes, needs %d", len(key), keySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Key{aead, bytes.Clone(key)}, nil
}

// Derive is a secret of 32 bytes for one purpose, always the same. It tells
// nothing of the key, nor of what is derived for other purposes.
func (k *Key) Derive(purpose string) []byte {
	b, err := hkdf.Key(sha256.New, k.secret, nil, purpose, keySize)
	if err != nil {
		panic(err) // 32 bytes are never too many
	}
	return b
}

// Load makes a Key of a file's content. It writes the file, which only its
// owner can read, on first use.
func Load(path string) (*Key, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, err = create(path)
	}
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	return New(key)
}

// create writes a new key, unless another process was faster. The key is on
// disk before it is used: what it seals would be lost without it.
func create(path string) ([]byte, error) {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(key)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := durable.SyncDir(dir); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// Seal encrypts a value that belongs to name. Sealing the same value again
// gives another text.
func (k *Key) Seal(name string, value []byte) string {
	nonce := make([]byte, k.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return base64.StdEncoding.EncodeToString(k.aead.Seal(nonce, nonce, value, []byte(name)))
}

// Open decrypts what Seal made for name; any failure is ErrOpen.
func (k *Key) Open(name, sealed string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil || len(b) < k.aead.NonceSize() {
		return nil, fmt.Errorf("%w: %s", ErrOpen, name)
	}
	n := k.aead.NonceSize()
	value, err := k.aead.Open(nil, b[:n], b[n:], []byte(name))
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrOpen, name)
	}
	return value, nil
}
