package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// asked is a provider's side of a Client: it answers requests by f.
type asked func(*http.Request) (string, error)

func (f asked) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := f(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func keySetOf(t *testing.T, id string) string {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "kid": id, "n": base64.RawURLEncoding.EncodeToString(k.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.E)).Bytes()),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Whoever shows a token of a key that nobody has keeps nobody else waiting, and
// breaks nothing for them; the endpoint is asked once for many.
func TestKeysWhileTheEndpointIsAsked(t *testing.T) {
	var ahead, requests atomic.Int64
	c := NewClient(Config{Now: func() time.Time { return time.Unix(1e9, 0).Add(time.Duration(ahead.Load())) }})
	set := keySetOf(t, "known")
	c.http.Transport = asked(func(*http.Request) (string, error) { requests.Add(1); return set, nil })
	if keys, reason := c.keysOf(t.Context(), "https://idp/keys", "known"); len(keys) != 1 || reason != "" {
		t.Fatal(keys, reason)
	}
	for _, after := range []time.Duration{keysPause, keysLife} {
		ahead.Add(int64(after))
		before := requests.Load()
		begun, answer := make(chan struct{}), make(chan struct{})
		c.http.Transport = asked(func(*http.Request) (string, error) {
			requests.Add(1)
			close(begun)
			<-answer
			return "", errors.New("the endpoint is down")
		})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if keys, reason := c.keysOf(t.Context(), "https://idp/keys", "unknown"); len(keys) != 0 || reason != jwksFailed {
					t.Errorf("after %v: %d keys, %q", after, len(keys), reason)
				}
			})
		}
		<-begun
		check := func(when string) {
			if keys, reason := c.keysOf(t.Context(), "https://idp/keys", "known"); len(keys) != 1 || reason != "" {
				t.Errorf("after %v, %s: %d keys, %q", after, when, len(keys), reason)
			}
		}
		check("while the endpoint is asked")
		close(answer)
		wg.Wait()
		check("when it has failed")
		if n := requests.Load() - before; n != 1 {
			t.Errorf("after %v the endpoint was asked %d times", after, n)
		}
	}
}

// Nothing is said to providers without TLS.
func TestPlainEndpoints(t *testing.T) {
	c := NewClient(Config{Now: time.Now})
	req, err := http.NewRequest(http.MethodGet, "http://127.0.0.1:1/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ask(t.Context(), req, 1); !errors.Is(err, errPlain) {
		t.Error(err)
	}
}

// A session whose cookies a browser could not send back is none.
func TestSessionsThatAreTooLarge(t *testing.T) {
	o := NewOIDC(OIDC{CookieName: "AWSELBAuthSessionCookie"}, NewClient(Config{Now: time.Now}), [32]byte{1})
	for size, fits := range map[int]bool{100: true, 11_000: true, 12_000: false, 60_000: false} {
		cookies, err := o.cookies(&session{Access: "a", Refresh: strings.Repeat("r", size), Claims: json.RawMessage("{}")})
		total := 0
		for _, k := range cookies {
			pair, _, _ := strings.Cut(k, ";")
			total += len(pair) + 2
		}
		if fits != (err == nil) || total > 16<<10 {
			t.Errorf("%d: %v, %d cookies of %d bytes", size, err, len(cookies), total)
		}
	}
}
