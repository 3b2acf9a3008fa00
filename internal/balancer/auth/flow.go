package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"roadstead.dev/internal/balancer/l7"
)

// Provider is an OpenID Connect provider, and what the load balancer is to it.
type Provider struct {
	Issuer, AuthorizationEndpoint, TokenEndpoint, UserInfoEndpoint string
	ClientID, ClientSecret                                         string
}

// exchange makes a session of an authorization code.
func (c *Client) exchange(ctx context.Context, p *Provider, code, redirect string) (*session, error) {
	t, err := c.tokens(ctx, p, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}})
	if err != nil {
		return nil, err
	}
	if t.ID == "" {
		return nil, &refusal{http.StatusUnauthorized, reasonIDToken, l7.AuthError, errors.New("no ID token")}
	}
	subject, err := c.checkID(p, t.ID)
	if err != nil {
		return nil, &refusal{http.StatusUnauthorized, reasonIDToken, l7.AuthError, err}
	}
	s, user, err := c.describe(ctx, p, t)
	if err == nil && user.text("sub") != subject {
		err = &refusal{statusProvider, reasonUserInfo, l7.AuthError, errors.New("the user info is another user's")}
	}
	return s, err
}

// renew makes a session of another one's refresh token.
func (c *Client) renew(ctx context.Context, p *Provider, old *session) (*session, error) {
	t, err := c.tokens(ctx, p, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {old.Refresh}})
	if err != nil {
		return nil, err
	}
	if t.Refresh == "" {
		t.Refresh = old.Refresh
	}
	s, user, err := c.describe(ctx, p, t)
	if err != nil {
		return nil, err
	}
	var before claims
	if err := json.Unmarshal(old.Claims, &before); err != nil || before.text("sub") != user.text("sub") {
		return nil, &refusal{statusProvider, reasonUserInfo, l7.AuthError, errors.New("the user info is another user's")}
	}
	return s, nil
}

// tokens asks for tokens, by a code or by a refresh token.
func (c *Client) tokens(ctx context.Context, p *Provider, form url.Values) (*tokens, error) {
	a, err := c.grant(ctx, p, form)
	switch {
	case errors.Is(err, errLong):
		return nil, &refusal{statusProvider, reasonTokenResponse, l7.AuthError, err}
	case err != nil && timedOut(err):
		return nil, &refusal{http.StatusInternalServerError, reasonTokenTimeout, l7.AuthError, err}
	case err != nil:
		return nil, &refusal{http.StatusInternalServerError, reasonTokenFailed, l7.AuthError, err}
	}
	if a.status != http.StatusOK {
		var e tokenError
		_ = json.Unmarshal(a.body, &e)
		if e.Code == "invalid_grant" {
			return nil, &refusal{http.StatusUnauthorized, reasonGrant, l7.AuthFailure, errors.New(e.Code)}
		}
		return nil, &refusal{statusProvider, reasonTokenFailed, l7.AuthError, fmt.Errorf("the token endpoint answers %d", a.status)}
	}
	t := &tokens{}
	if err := json.Unmarshal(a.body, t); err != nil {
		return nil, &refusal{statusProvider, reasonTokenResponse, l7.AuthError, err}
	}
	if !printable(t.Access) || t.Type != "" && !strings.EqualFold(t.Type, "Bearer") {
		return nil, &refusal{statusProvider, reasonTokenResponse, l7.AuthError, errors.New("no access token that can be borne")}
	}
	return t, nil
}

// checkID checks the claims of an ID token, which came from the provider
// itself, and returns whose it is.
func (c *Client) checkID(p *Provider, raw string) (subject string, err error) {
	t, err := parseToken(raw)
	if err != nil {
		return "", err
	}
	if got := t.claims.text("iss"); got != p.Issuer {
		return "", fmt.Errorf("issued by %q", got)
	}
	audience := []string{t.claims.text("aud")}
	if list, ok := t.claims["aud"].([]any); ok {
		audience = nil
		for _, a := range list {
			s, _ := a.(string)
			audience = append(audience, s)
		}
	}
	if !slices.Contains(audience, p.ClientID) {
		return "", fmt.Errorf("meant for %q", audience)
	}
	if azp := t.claims.text("azp"); len(audience) > 1 && azp != "" && azp != p.ClientID {
		return "", fmt.Errorf("authorized for %q", azp)
	}
	until, ok, err := t.claims.time("exp")
	if err != nil {
		return "", err
	}
	if !ok || !c.cfg.Now().Before(until) {
		return "", errors.New("expired")
	}
	if subject = t.claims.text("sub"); subject == "" {
		return "", errors.New("no subject")
	}
	return subject, nil
}

// describe makes a session of tokens by asking who their user is. The session
// has no end yet.
func (c *Client) describe(ctx context.Context, p *Provider, t *tokens) (*session, claims, error) {
	a, err := c.userInfo(ctx, p, t.Access)
	large := &refusal{http.StatusInternalServerError, reasonUserInfoTooLarge, l7.AuthOversize, err}
	switch {
	case errors.Is(err, errLong):
		return nil, nil, large
	case err != nil && timedOut(err):
		return nil, nil, &refusal{http.StatusInternalServerError, reasonUserInfoTimeout, l7.AuthError, err}
	case err != nil:
		return nil, nil, &refusal{http.StatusInternalServerError, reasonUserInfoFailed, l7.AuthError, err}
	case a.status != http.StatusOK:
		return nil, nil, &refusal{statusProvider, reasonUserInfoFailed, l7.AuthError, fmt.Errorf("the user info endpoint answers %d", a.status)}
	}
	var user claims
	if err := json.Unmarshal(a.body, &user); err != nil || !printable(user.text("sub")) {
		return nil, nil, &refusal{statusProvider, reasonUserInfo, l7.AuthError, err}
	}
	compact, err := json.Marshal(user)
	if err != nil {
		return nil, nil, &refusal{statusProvider, reasonUserInfo, l7.AuthError, err}
	}
	if len(compact)+len(t.Access) > maxClaims {
		return nil, nil, large
	}
	s := &session{Access: t.Access, Refresh: t.Refresh, Claims: compact}
	if n, err := t.Expires.Int64(); err == nil && n > 0 && n < 1<<31 {
		s.Fresh = c.cfg.Now().Add(time.Duration(n) * time.Second).Unix()
	}
	return s, user, nil
}
