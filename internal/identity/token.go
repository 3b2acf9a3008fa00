package identity

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

// tokenFormat begins every session token, so that the format can change.
const tokenFormat = 1

// tokenKeyID is the record that holds the key in use.
const tokenKeyID = "1"

// openSeal reads the sealing key, or makes it.
func openSeal(ctx context.Context, s store.Store, now time.Time) (cipher.AEAD, error) {
	for {
		row, err := tables.TokenKeys.Get(ctx, s, "", "", tokenKeyID)
		if err == nil {
			block, err := aes.NewCipher(row.V.Key)
			if err != nil {
				return nil, err
			}
			return cipher.NewGCM(block)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		tx := store.NewTxn()
		tables.TokenKeys.Create(tx, "", "", tokenKeyID, &model.TokenKey{ID: tokenKeyID, Key: key, Created: now.UTC().Truncate(time.Millisecond)})
		if _, err := tx.Commit(ctx, s); err != nil && !errors.Is(err, store.ErrConflict) {
			return nil, err
		}
	}
}

// Credentials are temporary credentials, ready to be handed out.
type Credentials struct {
	AccessKeyID  string
	Secret       string
	SessionToken string
	Expires      time.Time
}

// Mint makes credentials for a session: it sets the session's key, secret and
// times, and returns the token that goes with them. The rest of the session
// is the caller's.
func (d *Directory) Mint(s *model.Session, duration time.Duration) (token string, err error) {
	now := d.clock.Now().UTC().Truncate(time.Second)
	s.Issued, s.Expires = now, now.Add(duration)
	if s.AccessKeyID, err = NewAccessKeyID(model.IAMSessionKeyPrefix, s.Account); err != nil {
		return "", err
	}
	s.Secret = NewSecret()
	return d.sealSession(s)
}

// NewAccessKeyID makes a random access key id of the account.
func NewAccessKeyID(prefix, account string) (string, error) {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return model.MakeAccessKeyID(prefix, account, binary.BigEndian.Uint64(b[:]))
}

// NewSecret makes a secret access key, 40 characters of base64.
func NewSecret() string {
	var b [30]byte
	_, _ = rand.Read(b[:]) // never fails
	return base64.StdEncoding.EncodeToString(b[:])
}

func (d *Directory) sealSession(s *model.Session) (string, error) {
	plain, err := json.Marshal(s) //nolint:gosec // the secret is sealed below
	if err != nil {
		return "", fmt.Errorf("encode the session: %w", err)
	}
	out := make([]byte, 1+d.seal.NonceSize(), 1+d.seal.NonceSize()+len(plain)+d.seal.Overhead())
	out[0] = tokenFormat
	_, _ = rand.Read(out[1:])                                     // never fails
	out = d.seal.Seal(out, out[1:], plain, []byte(s.AccessKeyID)) //nolint:gosec // the nonce is random
	return base64.StdEncoding.EncodeToString(out), nil
}

// openSession reads a token that was sealed for the access key. Expiry is the
// caller's to check.
func (d *Directory) openSession(accessKeyID, token string) (*model.Session, error) {
	if s := d.sessions.get(accessKeyID, token); s != nil {
		return s, nil
	}
	b, err := base64.StdEncoding.DecodeString(token)
	n := 1 + d.seal.NonceSize()
	if err != nil || len(b) < n || b[0] != tokenFormat {
		return nil, model.ErrSecurityToken
	}
	plain, err := d.seal.Open(nil, b[1:n], b[n:], []byte(accessKeyID))
	if err != nil {
		return nil, model.ErrSecurityToken
	}
	s := &model.Session{}
	if err := json.Unmarshal(plain, s); err != nil {
		return nil, fmt.Errorf("decode the session of %s: %w", accessKeyID, err)
	}
	d.sessions.put(accessKeyID, token, s)
	return s, nil
}

// Session is the session of temporary credentials that signed a request of
// late; nil for long-term keys and those not seen.
func (d *Directory) Session(accessKeyID string) *model.Session {
	if !strings.HasPrefix(accessKeyID, model.IAMSessionKeyPrefix) {
		return nil
	}
	return d.sessions.byKey(accessKeyID)
}

// sessionCache saves opening the same token for every request.
type sessionCache struct {
	mu   sync.RWMutex
	keys map[string]cachedSession
}

type cachedSession struct {
	token   string
	session *model.Session
}

// cachedSessions bounds the cache; a full one is dropped whole.
const cachedSessions = 16384

func newSessionCache() *sessionCache { return &sessionCache{keys: map[string]cachedSession{}} }

func (c *sessionCache) get(key, token string) *model.Session {
	c.mu.RLock()
	e, ok := c.keys[key]
	c.mu.RUnlock()
	if !ok || subtle.ConstantTimeCompare([]byte(e.token), []byte(token)) != 1 {
		return nil
	}
	return e.session
}

func (c *sessionCache) byKey(key string) *model.Session {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.keys[key].session
}

func (c *sessionCache) put(key, token string, s *model.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.keys) >= cachedSessions {
		c.keys = map[string]cachedSession{}
	}
	c.keys[key] = cachedSession{token, s}
}
