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
	reason string // why the endpoint gave none when it was asked last
	// asking is closed when the endpoint has answered; nil while nobody asks.
	asking chan struct{}
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
// endpoint gives none; where it has none of that id there is no reason. Keys that
// are known are used until there are others: whoever makes the endpoint be asked,
// by the id of a key that nobody has, keeps nobody else waiting.
func (c *Client) keysOf(ctx context.Context, endpoint, id string) (keys []*rsa.PublicKey, reason string) {
	s := c.keySet(endpoint)
	for {
		now := c.cfg.Now()
		s.mu.Lock()
		keys, reason = s.find(id), s.reason
		asking := s.asking
		good := len(keys) > 0 && now.Sub(s.at) < keysLife
		paused := !s.asked.IsZero() && now.Sub(s.asked) < keysPause
		if !good && !paused && asking == nil {
			s.asked, s.asking = now, make(chan struct{})
			s.mu.Unlock()
			c.learn(context.WithoutCancel(ctx), s, endpoint)
			continue
		}
		s.mu.Unlock()
		switch {
		case len(keys) > 0:
			return keys, ""
		case asking == nil:
			return nil, reason
		}
		select {
		case <-asking:
		case <-ctx.Done():
			return nil, jwksFailed
		}
	}
}

func (c *Client) keySet(endpoint string) *keySet {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.keys[endpoint]
	if s == nil {
		s = &keySet{}
		c.keys[endpoint] = s
	}
	return s
}

// learn asks an endpoint for its keys, for all who wait for them.
func (c *Client) learn(ctx context.Context, s *keySet, endpoint string) {
	got, reason := c.fetchKeys(ctx, endpoint)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason = reason; reason == "" {
		s.keys, s.at = got, c.cfg.Now()
	}
	close(s.asking)
	s.asking = nil
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
