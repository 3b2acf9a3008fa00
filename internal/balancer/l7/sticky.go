package l7

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	mrand "math/rand/v2"
	"net/http"
	"time"

	"roadstead.dev/internal/balancer/h1"
)

// The cookies of an application load balancer. The one for cross-origin
// requests has the same value and differs in its attributes.
const (
	targetCookie    = "AWSALB"
	targetCORS      = "AWSALBCORS"
	groupCookie     = "AWSALBTG"
	groupCORSCookie = "AWSALBTGCORS"
)

// choose finds the group for a request, and tells whether the client is to be
// given a new group cookie.
func (f *Forward) choose(r *h1.Request, s *Settings) (g *Group, remember bool) {
	if len(f.Groups) == 1 {
		return f.Groups[0].Group, false
	}
	if f.Sticky {
		if id, ok := fromCookies(r, s, groupCookie, groupCORSCookie); ok {
			for i := range f.Groups {
				if f.Groups[i].Group.ID == id && f.Groups[i].Weight > 0 {
					return f.Groups[i].Group, false
				}
			}
		}
	}
	if f.total == 0 {
		return nil, false
	}
	n := mrand.IntN(f.total) //nolint:gosec // spreading load needs no secrecy
	for i := range f.Groups {
		if n -= f.Groups[i].Weight; n < 0 {
			return f.Groups[i].Group, f.Sticky
		}
	}
	return nil, false
}

// stuck is the target that the client's cookie binds it to, nil when there is
// none that may take requests.
func (s *groupState) stuck(r *h1.Request, set *Settings, group string) *Target {
	if !s.settings.Sticky {
		return nil
	}
	v, ok := fromCookies(r, set, targetCookie, targetCORS)
	if !ok {
		return nil
	}
	of, addr, ok := cut(v)
	if !ok || of != group {
		return nil
	}
	return s.find(addr)
}

func cut(v string) (group, addr string, ok bool) {
	if i := bytes.IndexByte([]byte(v), ' '); i >= 0 {
		return v[:i], v[i+1:], true
	}
	return "", "", false
}

// appendCookies writes the Set-Cookie lines that bind a client.
func appendCookies(b []byte, name, cors, value string, s *Settings, lasts time.Duration) []byte {
	until := time.Now().Add(lasts)
	sealed := s.cookies.seal(value, until)
	expires := until.UTC().Format(http.TimeFormat)
	for i, n := range [2]string{name, cors} {
		b = append(b, "Set-Cookie: "...)
		b = append(b, n...)
		b = append(b, '=')
		b = append(b, sealed...)
		b = append(b, "; Expires="...)
		b = append(b, expires...)
		b = append(b, "; Path=/"...)
		if i == 1 {
			b = append(b, "; SameSite=None"...)
			if s.Scheme == "https" {
				b = append(b, "; Secure"...)
			}
		}
		b = append(b, "\r\n"...)
	}
	return b
}

// fromCookies opens the first cookie of either name that is genuine.
func fromCookies(r *h1.Request, s *Settings, names ...string) (string, bool) {
	for i := range r.Fields {
		if r.Fields[i].ID != h1.Cookie {
			continue
		}
		rest := r.Fields[i].Value
		for len(rest) > 0 {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte{';'})
			k, v, _ := bytes.Cut(bytes.TrimSpace(pair), []byte{'='})
			for _, n := range names {
				if string(k) != n {
					continue
				}
				if opened, ok := s.cookies.open(v); ok {
					return opened, true
				}
			}
		}
	}
	return "", false
}

// sealer makes cookies that clients can neither read nor forge.
type sealer struct{ aead cipher.AEAD }

func newSealer(key [32]byte) *sealer {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key's length is right
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return &sealer{aead}
}

func (s *sealer) seal(value string, until time.Time) string {
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+8+len(value)+s.aead.Overhead())
	_, _ = rand.Read(nonce)
	plain := binary.BigEndian.AppendUint64(nil, uint64(until.Unix()))
	plain = append(plain, value...)
	return base64.RawStdEncoding.EncodeToString(s.aead.Seal(nonce, nonce, plain, nil))
}

func (s *sealer) open(sealed []byte) (string, bool) {
	raw, err := base64.RawStdEncoding.DecodeString(string(sealed))
	if err != nil || len(raw) < s.aead.NonceSize() {
		return "", false
	}
	plain, err := s.aead.Open(nil, raw[:s.aead.NonceSize()], raw[s.aead.NonceSize():], nil)
	if err != nil || len(plain) < 8 {
		return "", false
	}
	if int64(binary.BigEndian.Uint64(plain)) < time.Now().Unix() {
		return "", false
	}
	return string(plain[8:]), true
}
