package elbv2

import (
	"crypto/subtle"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
)

// Limits and defaults of actions that authenticate.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_AuthenticateOidcActionConfig.html
const (
	defaultCookieName = "AWSELBAuthSessionCookie"
	defaultScope      = "openid"
	maxSessionSeconds = 604800
	maxExtraParams    = 10
	maxClaims         = 10
	maxClaimValues    = 10
	maxJWTText        = 256
	maxCookieName     = 128
)

// requested are the actions that a request asks for, checked. What they keep
// secret is not among them yet.
type requested struct {
	actions []model.RuleAction
	// secret is that of the client of the action that authenticates; nil for
	// the one that the rule has.
	secret *string
}

func badAction(format string, args ...any) error {
	return elbv2.NewInvalidLoadBalancerActionException(format, args...)
}

// guarded tells whether actions need a listener that speaks TLS.
func guarded(acts []model.RuleAction) (kind string, is bool) {
	for _, a := range acts {
		if a.OIDC != nil || a.JWT != nil {
			return a.Type, true
		}
	}
	return "", false
}

// oidcAction checks an action that authenticates. Secret is what was given,
// nil for the one that is there.
func oidcAction(in *elbv2.AuthenticateOidcActionConfig) (a *model.OIDCAction, secret *string, err error) {
	if in == nil {
		return nil, nil, badAction("An authenticate-oidc configuration must be specified")
	}
	a = &model.OIDCAction{
		Issuer: value(in.Issuer), AuthorizationEndpoint: value(in.AuthorizationEndpoint), TokenEndpoint: value(in.TokenEndpoint),
		UserInfoEndpoint: value(in.UserInfoEndpoint), ClientID: value(in.ClientId),
		OnUnauthenticated: string(in.OnUnauthenticatedRequest), Scope: value(in.Scope), CookieName: value(in.SessionCookieName),
		TimeoutSeconds: maxSessionSeconds, ExtraParams: maps.Clone(in.AuthenticationRequestExtraParams),
	}
	for _, e := range []struct{ name, url string }{
		{"Issuer", a.Issuer}, {"AuthorizationEndpoint", a.AuthorizationEndpoint}, {"TokenEndpoint", a.TokenEndpoint}, {"UserInfoEndpoint", a.UserInfoEndpoint},
	} {
		if err := checkEndpoint(e.name, e.url); err != nil {
			return nil, nil, err
		}
	}
	if a.OnUnauthenticated == "" {
		a.OnUnauthenticated = string(elbv2.AuthenticateOidcActionConditionalBehaviorEnumAuthenticate)
	}
	if a.Scope == "" {
		a.Scope = defaultScope
	}
	if a.CookieName == "" {
		a.CookieName = defaultCookieName
	}
	if in.SessionTimeout != nil {
		a.TimeoutSeconds = *in.SessionTimeout
	}
	switch {
	case a.ClientID == "":
		return nil, nil, badAction("A client ID must be specified")
	case a.TimeoutSeconds < 1 || a.TimeoutSeconds > maxSessionSeconds:
		return nil, nil, badAction("The session timeout must be between 1 and %d seconds", maxSessionSeconds)
	case len(a.CookieName) > maxCookieName || strings.Trim(a.CookieName, tokenChars) != "":
		return nil, nil, badAction("The session cookie name '%s' is not valid", a.CookieName)
	case strings.ContainsFunc(a.Scope, func(r rune) bool { return r < ' ' || r >= 0x7f }):
		return nil, nil, badAction("The scope '%s' is not valid", a.Scope)
	case len(a.ExtraParams) > maxExtraParams:
		return nil, nil, badAction("You can specify up to %d authentication request extra parameters", maxExtraParams)
	}
	for k := range a.ExtraParams {
		if slices.Contains([]string{"", "client_id", "redirect_uri", "response_type", "scope", "state"}, k) {
			return nil, nil, badAction("The authentication request extra parameter '%s' is not valid", k)
		}
	}
	secret, existing := in.ClientSecret, value(in.UseExistingClientSecret)
	switch {
	case secret != nil && existing:
		return nil, nil, badAction("You cannot both specify a client secret and set UseExistingClientSecret to true")
	case value(secret) == "" && !existing:
		return nil, nil, badAction("A client secret must be specified")
	}
	return a, secret, nil
}

// checkEndpoint refuses what is no full URL of HTTPS.
func checkEndpoint(name, endpoint string) error {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return badAction("%s '%s' must be a full URL, including the HTTPS protocol, the domain, and the path", name, endpoint)
	}
	return nil
}

// jwtAction checks an action that validates tokens.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_JwtValidationActionConfig.html
func jwtAction(in *elbv2.JwtValidationActionConfig) (*model.JWTAction, error) {
	if in == nil {
		return nil, badAction("A jwt-validation configuration must be specified")
	}
	a := &model.JWTAction{Issuer: value(in.Issuer), JWKSEndpoint: value(in.JwksEndpoint)}
	if err := checkEndpoint("JwksEndpoint", a.JWKSEndpoint); err != nil {
		return nil, err
	}
	switch {
	case a.Issuer == "" || len(a.Issuer) > maxJWTText:
		return nil, badAction("The issuer must have between 1 and %d characters", maxJWTText)
	case len(a.JWKSEndpoint) > maxJWTText:
		return nil, badAction("The JWKS endpoint cannot be longer than %d characters", maxJWTText)
	case len(in.AdditionalClaims) > maxClaims:
		return nil, badAction("You can specify up to %d additional claims", maxClaims)
	}
	seen := map[string]bool{}
	for _, c := range in.AdditionalClaims {
		claim := model.JWTClaim{Name: value(c.Name), Format: string(c.Format), Values: c.Values}
		switch {
		case claim.Name == "" || slices.Contains([]string{"exp", "iss", "nbf", "iat"}, claim.Name):
			return nil, badAction("The additional claim '%s' is not valid", claim.Name)
		case seen[claim.Name]:
			return nil, badAction("The additional claim '%s' was specified more than once", claim.Name)
		case len(claim.Values) == 0 || len(claim.Values) > maxClaimValues:
			return nil, badAction("The additional claim '%s' must have between 1 and %d values", claim.Name, maxClaimValues)
		case claim.Format == model.JWTClaimSingle && len(claim.Values) > 1:
			return nil, badAction("The additional claim '%s' with format '%s' must have one value", claim.Name, claim.Format)
		}
		seen[claim.Name] = true
		for _, v := range claim.Values {
			if v == "" || len(v) > maxJWTText || claim.Format == model.JWTClaimSpaces && strings.Contains(v, " ") {
				return nil, badAction("The value '%s' of the additional claim '%s' is not valid", v, claim.Name)
			}
		}
		a.Claims = append(a.Claims, claim)
	}
	return a, nil
}

// seal completes the actions for the rule with the ARN, with the secret that
// they bring or that the rule's present actions have.
func (r requested) seal(s *Service, rule string, now []model.RuleAction) ([]model.RuleAction, error) {
	out := slices.Clone(r.actions)
	for i := range out {
		if out[i].OIDC == nil {
			continue
		}
		a := *out[i].OIDC
		if r.secret != nil {
			a.ClientSecret = s.Key.Seal(model.ClientSecretName(rule), []byte(*r.secret))
		} else if a.ClientSecret = sealedSecret(now); a.ClientSecret == "" {
			return nil, badAction("You cannot set UseExistingClientSecret to true: there is no existing client secret")
		}
		out[i].OIDC = &a
	}
	return out, nil
}

func sealedSecret(acts []model.RuleAction) string {
	for _, a := range acts {
		if a.OIDC != nil {
			return a.OIDC.ClientSecret
		}
	}
	return ""
}

// same tells whether a rule's actions are what is asked for.
func (r requested) same(s *Service, rule string, acts []model.RuleAction) (bool, error) {
	bare := slices.Clone(acts)
	for i := range bare {
		if bare[i].OIDC == nil {
			continue
		}
		a := *bare[i].OIDC
		if r.secret != nil {
			old, err := s.Key.Open(model.ClientSecretName(rule), a.ClientSecret)
			if err != nil {
				return false, fmt.Errorf("client secret: %w", err)
			}
			if subtle.ConstantTimeCompare(old, []byte(*r.secret)) != 1 {
				return false, nil
			}
		}
		a.ClientSecret = ""
		bare[i].OIDC = &a
	}
	return reflect.DeepEqual(bare, r.actions), nil
}

func renderOIDC(a *model.OIDCAction) *elbv2.AuthenticateOidcActionConfig {
	return &elbv2.AuthenticateOidcActionConfig{
		Issuer: new(a.Issuer), AuthorizationEndpoint: new(a.AuthorizationEndpoint), TokenEndpoint: new(a.TokenEndpoint),
		UserInfoEndpoint: new(a.UserInfoEndpoint), ClientId: new(a.ClientID),
		OnUnauthenticatedRequest: elbv2.AuthenticateOidcActionConditionalBehaviorEnum(a.OnUnauthenticated),
		Scope:                    new(a.Scope), SessionCookieName: new(a.CookieName), SessionTimeout: new(a.TimeoutSeconds),
		AuthenticationRequestExtraParams: maps.Clone(a.ExtraParams),
	}
}

func renderJWT(a *model.JWTAction) *elbv2.JwtValidationActionConfig {
	out := &elbv2.JwtValidationActionConfig{Issuer: new(a.Issuer), JwksEndpoint: new(a.JWKSEndpoint)}
	for _, c := range a.Claims {
		out.AdditionalClaims = append(out.AdditionalClaims, elbv2.JwtValidationActionAdditionalClaim{
			Name: new(c.Name), Format: elbv2.JwtValidationActionAdditionalClaimFormatEnum(c.Format), Values: slices.Clone(c.Values),
		})
	}
	return out
}
