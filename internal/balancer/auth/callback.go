package auth

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"roadstead.dev/internal/balancer/l7"
)

// Callback answers users who come back from the providers of a listener's
// actions.
type Callback struct {
	guards map[string]*OIDC // by purpose
	any    *OIDC
}

var _ l7.Guard = (*Callback)(nil)

// NewCallback makes a callback for actions of one load balancer, of which
// there is at least one.
func NewCallback(guards []*OIDC) *Callback {
	c := &Callback{guards: map[string]*OIDC{}, any: guards[0]}
	for _, g := range guards {
		c.guards[g.purpose] = g
	}
	return c
}

// Check logs the user in, and sends the user where the user wanted to go. It
// never lets a request go on.
func (c *Callback) Check(ctx context.Context, v *l7.Visit) l7.Verdict {
	o, st, code, refused := c.recognize(v)
	if refused != nil {
		return refused.verdict()
	}
	began := o.client.cfg.Now()
	s, err := o.client.exchange(ctx, &o.Provider, code, redirectURI(v.Host))
	now := o.client.cfg.Now()
	verdict := o.loggedIn(s, err, st, now)
	verdict.Asked = max(now.Sub(began), 1)
	return verdict
}

// loggedIn is what becomes of a user whom the provider was asked for.
func (o *OIDC) loggedIn(s *session, err error, st state, now time.Time) l7.Verdict {
	if err != nil {
		return failure(err)
	}
	s.Until = now.Add(o.Timeout).Unix()
	cookies, err := o.cookies(s)
	if err != nil {
		return failure(err)
	}
	return l7.Verdict{
		Action: actionAuthenticate, Status: http.StatusFound, Location: "https://" + st.Host + st.Target,
		Cookies: cookies, Outcome: l7.AuthSuccess,
	}
}

// recognize finds the action that sent the user away, and the code that the
// user brings.
func (c *Callback) recognize(v *l7.Visit) (o *OIDC, st state, code string, refused *refusal) {
	no := func(status int, reason string, outcome l7.Outcome) (*OIDC, state, string, *refusal) {
		return nil, st, "", &refusal{status: status, reason: reason, outcome: outcome}
	}
	const unauthorized = http.StatusUnauthorized
	_, query, _ := strings.Cut(v.Target, "?")
	q, err := url.ParseQuery(query)
	switch {
	case v.Host == "":
		return no(unauthorized, reasonNoHost, l7.AuthError)
	case err != nil || q.Get("state") == "":
		return no(unauthorized, reasonNoState, l7.AuthError)
	}
	if err := c.any.box.open(stateOf+c.any.LoadBalancer, q.Get("state"), &st); err != nil {
		return no(unauthorized, reasonState, l7.AuthError)
	}
	// The load balancer's actions may have changed since.
	if o = c.guards[st.Guard]; o == nil || st.Host != v.Host || o.client.cfg.Now().Sub(time.Unix(st.At, 0)) >= loginTime {
		return no(unauthorized, reasonState, l7.AuthError)
	}
	if nonce, ok := v.Cookie(nonceCookie); !ok || digest(nonce) != st.Nonce {
		return no(unauthorized, reasonNonce, l7.AuthError)
	}
	switch e := q.Get("error"); {
	case e == "access_denied":
		return no(unauthorized, reasonGrant, l7.AuthFailure)
	case e != "":
		return no(statusProvider, reasonGrant, l7.AuthError)
	}
	if code = q.Get("code"); code == "" {
		return no(unauthorized, reasonNoCode, l7.AuthError)
	}
	return o, st, code, nil
}
