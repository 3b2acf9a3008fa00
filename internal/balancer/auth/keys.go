package auth

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"sync"
	"time"
)

const (
	// maxKeySet and maxKeys limit what an endpoint may answer.
	maxKeySet = 150 << 10
	maxKeys   = 10
	// keysLife is how long a set is used, keysPause how long an endpoint is not
	// asked again for a key that it does not have, or did not answer for.
	keysLife  = 10 * time.Minute
	keysPause = 10 * time.Second
)

// keySet is what is known of an endpoint's keys.
type keySet struct {
	mu     sync.Mutex
	keys   []namedKey
	at     time.Time // of keys
	asked  time.Time
	reason string // why there are none
}

type namedKey struct {
	id  string
	key *rsa.PublicKey
}

// find lists the keys of an id; a token without one may be signed by any.
func (s *keySet) find(id string) (out []*rsa.PublicKey) {
	for _, k := range s.keys {
		if id == "" || k.id == id {
			out = append(out, k.key)
		}
	}
	return out
}

// keysOf finds the keys that a token may be signed by. Reason tells why the
// endpoint gives none; where it has none of that id there is no reason.
func (c *Client) keysOf(ctx context.Context, endpoint, id string) (keys []*rsa.PublicKey, reason string) {
	c.mu.Lock()
	s := c.keys[endpoint]
	if s == nil {
		s = &keySet{}
		c.keys[endpoint] = s
	}
	c.mu.Unlock()
	// One request asks, and the others wait for what it learns.
	s.mu.Lock()
	defer s.mu.Unlock()
	now := c.cfg.Now()
	keys = s.find(id)
	if len(keys) > 0 && now.Sub(s.at) < keysLife {
		return keys, ""
	}
	if !s.asked.IsZero() && now.Sub(s.asked) < keysPause {
		return keys, s.reason
	}
	got, reason := c.fetchKeys(ctx, endpoint)
	if ctx.Err() != nil {
		return nil, jwksFailed // the client went away: the endpoint is not to blame
	}
	s.asked, s.reason = now, reason
	if reason != "" {
		if len(keys) > 0 {
			s.reason = "" // the keys of before are better than none
			return keys, ""
		}
		return nil, reason
	}
	s.keys, s.at = got, now
	return s.find(id), ""
}

func (c *Client) fetchKeys(ctx context.Context, endpoint string) ([]namedKey, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return nil, jwksFailed
	}
	a, err := c.ask(ctx, req, maxKeySet)
	switch {
	case errors.Is(err, errLong):
		return nil, jwksSize
	case err != nil && timedOut(err):
		return nil, jwksTimeout
	case err != nil || a.status != http.StatusOK:
		return nil, jwksFailed
	}
	keys, err := parseKeys(a.body)
	switch {
	case errors.Is(err, errLong):
		return nil, jwksSize
	case err != nil:
		return nil, jwksInvalid
	}
	return keys, ""
}

// parseKeys reads a JSON web key set: the RSA keys for signatures that it has.
func parseKeys(body []byte) ([]namedKey, error) {
	var set struct {
		Keys []struct {
			Type string `json:"kty"`
			Use  string `json:"use"`
			Alg  string `json:"alg"`
			ID   string `json:"kid"`
			N    string `json:"n"`
			E    string `json:"e"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, err
	}
	if len(set.Keys) > maxKeys {
		return nil, errLong
	}
	var out []namedKey
	for _, k := range set.Keys {
		if k.Type != "RSA" || k.Use != "" && k.Use != "sig" || k.Alg != "" && k.Alg != "RS256" {
			continue
		}
		n, err := base64.RawURLEncoding.DecodeString(k.N)
		if err != nil {
			return nil, err
		}
		e, err := base64.RawURLEncoding.DecodeString(k.E)
		if err != nil {
			return nil, err
		}
		exponent := new(big.Int).SetBytes(e)
		modulus := new(big.Int).SetBytes(n)
		if modulus.BitLen() < 2048 || modulus.BitLen() > 8192 || !exponent.IsInt64() || exponent.Int64() < 3 || exponent.Int64() >= 1<<31 {
			return nil, errors.New("unusable RSA key")
		}
		out = append(out, namedKey{k.ID, &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}})
	}
	return out, nil
}
