package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"roadstead.dev/internal/gateway/awschunked"
)

// Skew is how far a request's time may be from the server's.
const Skew = 15 * time.Minute

// TimeError is a signature whose time is out of range. Its text is AWS's.
type TimeError struct {
	// Early is set where the signature lies in the future.
	Early bool
	// Presigned is set where a presigned query's time has run out.
	Presigned bool
	message   string
}

func (e *TimeError) Error() string { return e.message }

// ErrMismatch means that the signature is not the one that the secret gives.
var ErrMismatch = errors.New("signature does not match")

// Check tells, in AWS's order, whether the signature is good at now, has all
// its parts and is one for the service. Only who holds the secret can make one
// that passes Verify too.
func (s *Signature) Check(service string, now time.Time) error {
	if err := s.CheckTime(now); err != nil {
		return err
	}
	if s.late != nil {
		return s.late
	}
	return s.CheckScope(service)
}

// CheckTime tells whether the signature is good at now.
func (s *Signature) CheckTime(now time.Time) error {
	now = now.UTC()
	if s.Time.After(now.Add(Skew)) {
		return &TimeError{Early: true, message: "Signature not yet current: " + s.TimeText + " is still later than " +
			now.Add(Skew).Format(timeLayout) + " (" + now.Format(timeLayout) + " + 15 min.)"}
	}
	limit := Skew
	if s.Presigned {
		limit = s.Expires
	}
	if s.Time.Add(limit).Before(now) {
		if s.Presigned {
			return &TimeError{Presigned: true, message: "Request has expired."}
		}
		return &TimeError{message: "Signature expired: " + s.TimeText + " is now earlier than " +
			now.Add(-Skew).Format(timeLayout) + " (" + now.Format(timeLayout) + " - 15 min.)"}
	}
	return nil
}

// ScopeError is a signature that was made for something else than the request:
// its credential scope does not fit, or it does not cover the host. Its text is
// AWS's.
type ScopeError struct{ Message string }

func (e *ScopeError) Error() string { return e.Message }

// CheckScope tells whether the scope fits the service, a region and the date.
func (s *Signature) CheckScope(service string) error {
	var wrong string
	if !validRegion(s.Scope.Region) {
		wrong += "Credential should be scoped to a valid region. "
	}
	if s.Scope.Service != service {
		wrong += "Credential should be scoped to correct service: '" + service + "'. "
	}
	if s.Scope.Terminator != terminator {
		wrong += "Credential should be scoped with a valid terminator: 'aws4_request', not '" + s.Scope.Terminator + "'. "
	}
	if s.Scope.Date != s.Time.Format(dateLayout) {
		wrong += "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '" +
			s.Scope.Date + "' != '" + s.Time.Format(dateLayout) + "', from '" + s.TimeText + "'. "
	}
	if wrong != "" {
		return &ScopeError{wrong}
	}
	return nil
}

// validRegion accepts names of the form xx-word-1, and no more than that: any
// region may be used.
func validRegion(r string) bool {
	parts, digits := 1, 0
	for i := range len(r) {
		switch c := r[i]; {
		case c == '-':
			parts++
			digits = 0
		case '0' <= c && c <= '9':
			digits++
		case c < 'a' || c > 'z':
			return false
		default:
			digits = 0
		}
	}
	return parts >= 3 && digits > 0 && len(r) < 32
}

// Verify checks the signature of r against the secret.
func (s *Signature) Verify(r *Request, secret string) error {
	payload, err := payloadHash(r, s)
	if err != nil {
		return err
	}
	return s.VerifyHead(r, secret, payload)
}

// VerifyHead checks the signature of r against the secret before the body is
// there: payload is what the signer says of it, which must be checked yet.
func (s *Signature) VerifyHead(r *Request, secret, payload string) error {
	if s.matches(canonical(r, s, payload), secret) {
		return nil
	}
	if s.Presigned && s.SessionToken != "" {
		// A session's token may be added to a query that was signed without it.
		// Who it belongs to is not the signature's to say.
		without := *r
		without.RawQuery = withoutToken(r.RawQuery)
		if s.matches(canonical(&without, s, payload), secret) {
			return nil
		}
	}
	return ErrMismatch
}

// matches compares the signature of a canonical request in constant time.
func (s *Signature) matches(canonical []byte, secret string) bool {
	sum := sha256.Sum256(canonical)
	toSign := make([]byte, 0, 160)
	toSign = append(toSign, Algorithm...)
	toSign = append(append(append(toSign, '\n'), s.TimeText...), '\n')
	toSign = append(append(toSign, s.Scope.String()...), '\n')
	toSign = hex.AppendEncode(toSign, sum[:])
	want := hex.EncodeToString(mac(signingKey(secret, s.Scope), toSign))
	return subtle.ConstantTimeCompare([]byte(want), []byte(s.Signature)) == 1
}

// Chain is what the signatures of a body's chunks are made of. It means nothing
// before the signature itself is verified.
func (s *Signature) Chain(secret string) awschunked.Chain {
	return awschunked.Chain{Key: signingKey(secret, s.Scope), Time: s.TimeText, Scope: s.Scope.String(), Seed: s.Signature}
}

// withoutToken is a query without its session token.
func withoutToken(raw string) string {
	parts := strings.Split(raw, "&")
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return strings.HasPrefix(p, "X-Amz-Security-Token=") }), "&")
}

func mac(key, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write(data) // a hash never fails
	return h.Sum(nil)
}

// keys caches signing keys, which change once a day.
var keys = struct {
	sync.RWMutex
	m map[keyID][]byte
}{m: make(map[keyID][]byte)}

type keyID struct {
	secret string
	scope  Scope
}

// maxKeys bounds the cache; a full one starts again.
const maxKeys = 4096

func signingKey(secret string, scope Scope) []byte {
	id := keyID{secret, scope}
	keys.RLock()
	k := keys.m[id]
	keys.RUnlock()
	if k != nil {
		return k
	}
	k = mac([]byte("AWS4"+secret), []byte(scope.Date))
	k = mac(k, []byte(scope.Region))
	k = mac(k, []byte(scope.Service))
	k = mac(k, []byte(scope.Terminator))
	keys.Lock()
	if len(keys.m) >= maxKeys {
		clear(keys.m)
	}
	keys.m[id] = k
	keys.Unlock()
	return k
}
