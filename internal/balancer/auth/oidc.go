package auth

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/balancer/l7"
)

// What is done about users who are not logged in.
const (
	Deny         = "deny"
	Allow        = "allow"
	Authenticate = "authenticate"
)

// OIDC has users log in at a provider.
type OIDC struct {
	Provider
	// OnUnauthenticated is Deny, Allow or Authenticate.
	OnUnauthenticated string
	Scope             string
	CookieName        string
	// Timeout bounds a session.
	Timeout time.Duration
	// Extra are parameters of the redirect to the provider.
	Extra map[string]string
	// LoadBalancer is the ARN, by which targets know who signed.
	LoadBalancer string
	Signer       *Signer

	client  *Client
	box     *box
	purpose string
}

var _ l7.Guard = (*OIDC)(nil)

// NewOIDC completes o. Key seals the cookies of the load balancer's sessions.
func NewOIDC(o OIDC, client *Client, key [32]byte) *OIDC {
	o.client, o.box = client, newBox(key)
	o.purpose = digest(o.LoadBalancer, o.Issuer, o.AuthorizationEndpoint, o.TokenEndpoint, o.UserInfoEndpoint, o.ClientID, o.CookieName)
	return &o
}

// nonceCookie binds a login to the browser that began it.
const nonceCookie = "AWSALBAuthNonce"

// loginTime is how long a login may take.
const loginTime = 15 * time.Minute

// dataLife is how long what targets are told may be taken for new.
const dataLife = 2 * time.Minute

// Check lets users pass who are logged in.
func (o *OIDC) Check(ctx context.Context, v *l7.Visit) l7.Verdict {
	s, reason := o.session(v)
	if s == nil {
		return o.unauthenticated(v, reason)
	}
	out := l7.Verdict{Action: actionAuthenticate}
	if s.Refresh != "" && s.Fresh != 0 && o.client.cfg.Now().Unix() >= s.Fresh {
		fresh, first, err := o.client.refresh(ctx, &o.Provider, s)
		if err != nil {
			why := reasonTokenFailed
			if r, ok := errors.AsType[*refusal](err); ok {
				why = r.reason
			}
			return o.unauthenticated(v, why)
		}
		renewed := *fresh
		renewed.Until = s.Until
		cookies, err := o.cookies(&renewed)
		if err != nil {
			return failure(err)
		}
		s, out.Cookies = &renewed, cookies
		if first {
			out.Outcome = l7.AuthRefreshed
		}
	}
	fields, err := o.fields(s)
	if err != nil {
		return failure(err)
	}
	out.Fields = fields
	return out
}

// session opens the client's session; nil when it has none that is good, and
// why when it has a bad one.
func (o *OIDC) session(v *l7.Visit) (s *session, reason string) {
	sealed := join(v, o.CookieName)
	if sealed == "" {
		return nil, ""
	}
	s = &session{}
	if err := o.box.open(o.purpose, sealed, s); err != nil {
		return nil, reasonCookie
	}
	if o.client.cfg.Now().Unix() >= s.Until {
		return nil, ""
	}
	return s, ""
}

// fields are what the target is told of a user.
func (o *OIDC) fields(s *session) ([]l7.Field, error) {
	var user claims
	if err := json.Unmarshal(s.Claims, &user); err != nil {
		return nil, err
	}
	data, err := o.Signer.sign(o.LoadBalancer, o.Issuer, o.ClientID, user, o.client.cfg.Now().Add(dataLife))
	if err != nil {
		return nil, err
	}
	return []l7.Field{
		{Name: "x-amzn-oidc-accesstoken", Value: s.Access}, {Name: "x-amzn-oidc-identity", Value: user.text("sub")}, {Name: "x-amzn-oidc-data", Value: data},
	}, nil
}

// state is what comes back from the provider with a user.
type state struct {
	// Guard is the action that the user was sent away by.
	Guard string `json:"g"`
	// Host and Target are where the user wanted to go.
	Host   string `json:"h"`
	Target string `json:"t"`
	Nonce  string `json:"n"`
	At     int64  `json:"a"`
}

// The purposes of what is sealed beside sessions.
const (
	stateOf = "state of "
	nonceOf = "nonce of "
)

// unauthenticated does what is to be done about a user who is not logged in.
func (o *OIDC) unauthenticated(v *l7.Visit, reason string) l7.Verdict {
	switch {
	case o.OnUnauthenticated == Allow:
		return l7.Verdict{Action: actionAuthenticate, Reason: reason}
	case o.OnUnauthenticated == Deny:
		return l7.Verdict{Action: actionAuthenticate, Status: http.StatusUnauthorized, Reason: reason}
	case v.Host == "":
		return l7.Verdict{Action: actionAuthenticate, Status: http.StatusUnauthorized, Reason: reasonNoHost, Outcome: l7.AuthError}
	}
	now := o.client.cfg.Now()
	nonce, err := o.nonce(v, now)
	if err != nil {
		return failure(err)
	}
	sealed, err := o.box.seal(stateOf+o.LoadBalancer, state{Guard: o.purpose, Host: v.Host, Target: v.Target, Nonce: digest(nonce), At: now.Unix()})
	if err != nil {
		return failure(err)
	}
	return l7.Verdict{
		Action: actionAuthenticate, Status: http.StatusFound, Reason: reason,
		Location: o.login(v.Host, sealed), Cookies: []string{cookie(nonceCookie, nonce, now.Add(loginTime))},
	}
}

// nonce is what binds the login to the browser. One that is there already
// stays: users log in with several windows at a time.
func (o *OIDC) nonce(v *l7.Visit, now time.Time) (string, error) {
	if old, ok := v.Cookie(nonceCookie); ok {
		var at int64
		if o.box.open(nonceOf+o.LoadBalancer, old, &at) == nil && now.Sub(time.Unix(at, 0)) < loginTime {
			return old, nil
		}
	}
	return o.box.seal(nonceOf+o.LoadBalancer, now.Unix())
}

// login is where the provider has users log in.
func (o *OIDC) login(host, sealed string) string {
	q := url.Values{
		"client_id": {o.ClientID}, "redirect_uri": {redirectURI(host)}, "response_type": {"code"}, "scope": {o.Scope}, "state": {sealed},
	}
	for k, val := range o.Extra {
		if !slices.Contains(ownParameters, k) {
			q.Set(k, val)
		}
	}
	sep := "?"
	if strings.Contains(o.AuthorizationEndpoint, "?") {
		sep = "&"
	}
	return o.AuthorizationEndpoint + sep + q.Encode()
}

// ownParameters are those of the redirect that nobody else sets.
var ownParameters = []string{"client_id", "redirect_uri", "response_type", "scope", "state"}

func redirectURI(host string) string { return "https://" + host + "/oauth2/idpresponse" }
