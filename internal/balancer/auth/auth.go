// Package auth decides who may pass an application load balancer: users who
// log in at an OpenID Connect provider, and clients that show a JSON web
// token.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-authenticate-users.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/listener-verify-jwt.html
package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"roadstead.dev/internal/balancer/l7"
)

// Reasons why a request is refused, in the words of access logs.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html#error-reason-codes
const (
	reasonNonce            = "AuthInvalidAWSALBAuthNonce"
	reasonCookie           = "AuthInvalidCookie"
	reasonGrant            = "AuthInvalidGrantError"
	reasonIDToken          = "AuthInvalidIdToken" //nolint:gosec // no credential
	reasonState            = "AuthInvalidStateParam"
	reasonTokenResponse    = "AuthInvalidTokenResponse"
	reasonUserInfo         = "AuthInvalidUserinfoResponse"
	reasonNoCode           = "AuthMissingCodeParam"
	reasonNoHost           = "AuthMissingHostHeader"
	reasonNoState          = "AuthMissingStateParam"
	reasonTokenFailed      = "AuthTokenEpRequestFailed"  //nolint:gosec // no credential
	reasonTokenTimeout     = "AuthTokenEpRequestTimeout" //nolint:gosec // no credential
	reasonUserInfoFailed   = "AuthUserinfoEpRequestFailed"
	reasonUserInfoTimeout  = "AuthUserinfoEpRequestTimeout"
	reasonUserInfoTooLarge = "AuthUserinfoResponseSizeExceeded"
)

// statusProvider is the answer when the provider answers with an error.
const statusProvider = 561

// refusal is why an authentication ends without a session.
type refusal struct {
	status  int
	reason  string
	outcome l7.Outcome
	cause   error
}

func (r *refusal) Error() string {
	if r.cause == nil {
		return r.reason
	}
	return r.reason + ": " + r.cause.Error()
}

func (r *refusal) Unwrap() error { return r.cause }

// verdict is how the client hears of a refusal.
func (r *refusal) verdict() l7.Verdict {
	return l7.Verdict{Action: actionAuthenticate, Status: r.status, Reason: r.reason, Outcome: r.outcome}
}

// failure is how the client hears of any error.
func failure(err error) l7.Verdict {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.verdict()
	}
	return l7.Verdict{Action: actionAuthenticate, Status: http.StatusInternalServerError, Outcome: l7.AuthError}
}

const actionAuthenticate = "authenticate"

// claims are those of a token, or of a user.
type claims map[string]any

func (c claims) text(name string) string {
	s, _ := c[name].(string)
	return s
}

// time is a claim that counts seconds; ok is false when it is not there.
func (c claims) time(name string) (t time.Time, ok bool, err error) {
	v, there := c[name]
	if !there {
		return t, false, nil
	}
	n, isNumber := v.(float64)
	if !isNumber || n < 0 || n > 1<<40 {
		return t, true, fmt.Errorf("claim %s is no time", name)
	}
	return time.Unix(int64(n), 0), true, nil
}

// token is a JSON web token that was taken apart.
type token struct {
	header    claims
	claims    claims
	signed    string
	signature []byte
}

var errToken = errors.New("malformed token")

// parseToken takes a token apart, and checks nothing.
func parseToken(s string) (*token, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return nil, errToken
	}
	t := &token{signed: parts[0] + "." + parts[1]}
	for i, into := range []*claims{&t.header, &t.claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			return nil, errToken
		}
		if err := json.Unmarshal(raw, into); err != nil || *into == nil {
			return nil, errToken
		}
	}
	var err error
	if t.signature, err = base64.RawURLEncoding.DecodeString(parts[2]); err != nil {
		return nil, errToken
	}
	return t, nil
}

// printable tells whether a text can stand in a header.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' && s[i] != ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != "" && strings.TrimSpace(s) == s
}

// digest names a configuration.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
