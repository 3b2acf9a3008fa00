package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/internal/balancer/l7"
)

const (
	// maxClaims limits a user's claims with the access token.
	maxClaims = 11 << 10
	// shardSize is how much of a session one cookie holds: browsers limit
	// cookies, with their names, to 4096 bytes.
	shardSize = 3900
	// maxShards is how many cookies a session may take: with more of them a
	// browser's requests would be refused for their size.
	maxShards = 4
	// cookieLife is how long browsers keep the cookies of a session, however
	// long that lasts.
	cookieLife = 7 * 24 * time.Hour
)

// session is what a client's cookies hold of it.
type session struct {
	Access  string          `json:"a"`
	Refresh string          `json:"r,omitempty"`
	Claims  json.RawMessage `json:"c"`
	// Fresh is until when the access token is good, 0 when nobody said.
	Fresh int64 `json:"f,omitempty"`
	// Until ends the session.
	Until int64 `json:"u"`
}

// box seals what clients keep for the load balancer, each thing for its own
// purpose.
type box struct{ aead cipher.AEAD }

func newBox(key [32]byte) *box {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key's length is right
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return &box{aead}
}

var errSealed = errors.New("sealed text cannot be opened")

func (b *box) seal(purpose string, v any) (string, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, b.aead.NonceSize(), b.aead.NonceSize()+len(plain)+b.aead.Overhead())
	_, _ = rand.Read(nonce) // never fails
	return base64.RawURLEncoding.EncodeToString(b.aead.Seal(nonce, nonce, plain, []byte(purpose))), nil
}

func (b *box) open(purpose, sealed string, into any) error {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	n := b.aead.NonceSize()
	if err != nil || len(raw) < n {
		return errSealed
	}
	plain, err := b.aead.Open(nil, raw[:n], raw[n:], []byte(purpose))
	if err != nil {
		return errSealed
	}
	return json.Unmarshal(plain, into)
}

// cookies are those that hold a session, and one that takes the place of what a
// longer session left.
func (o *OIDC) cookies(s *session) ([]string, error) {
	sealed, err := o.box.seal(o.purpose, s)
	if err != nil {
		return nil, &refusal{http.StatusInternalServerError, "", l7.AuthError, err}
	}
	name, now := o.CookieName, o.client.cfg.Now()
	if len(sealed) > maxShards*(shardSize-len(name)) {
		return nil, &refusal{http.StatusInternalServerError, reasonUserInfoTooLarge, l7.AuthOversize, nil}
	}
	var out []string
	n := 0
	for ; n == 0 || len(sealed) > 0; n++ {
		piece := sealed[:min(len(sealed), shardSize-len(name))]
		sealed = sealed[len(piece):]
		out = append(out, cookie(name+"-"+strconv.Itoa(n), piece, now.Add(cookieLife)))
	}
	if n < maxShards {
		out = append(out, cookie(name+"-"+strconv.Itoa(n), "", time.Unix(0, 0)))
	}
	return out, nil
}

// join puts a session's cookies together; empty when there is none.
func join(v *l7.Visit, name string) string {
	var b strings.Builder
	for n := range maxShards {
		piece, ok := v.Cookie(name + "-" + strconv.Itoa(n))
		if !ok || piece == "" {
			break
		}
		b.WriteString(piece)
	}
	return b.String()
}

func cookie(name, value string, until time.Time) string {
	return name + "=" + value + "; Expires=" + until.UTC().Format(http.TimeFormat) + "; Path=/; SameSite=None; Secure; HttpOnly"
}
