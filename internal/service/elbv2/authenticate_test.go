package elbv2

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"roadstead.dev/internal/api/elbv2"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/store"
	"roadstead.dev/internal/store/tables"
)

func oidc(change func(*elbv2.AuthenticateOidcActionConfig)) elbv2.Action {
	c := &elbv2.AuthenticateOidcActionConfig{
		Issuer: new("https://idp.test"), AuthorizationEndpoint: new("https://idp.test/authorize"), TokenEndpoint: new("https://idp.test/token"),
		UserInfoEndpoint: new("https://idp.test/userinfo"), ClientId: new("client"), ClientSecret: new("hunter2"),
	}
	if change != nil {
		change(c)
	}
	return elbv2.Action{Type: "authenticate-oidc", Order: new(int32(1)), AuthenticateOidcConfig: c}
}

func jwt(claims ...elbv2.JwtValidationActionAdditionalClaim) elbv2.Action {
	return elbv2.Action{Type: "jwt-validation", Order: new(int32(2)), JwtValidationConfig: &elbv2.JwtValidationActionConfig{
		Issuer: new("https://idp.test"), JwksEndpoint: new("https://idp.test/jwks"), AdditionalClaims: claims,
	}}
}

func claim(name string, format elbv2.JwtValidationActionAdditionalClaimFormatEnum, values ...string) elbv2.JwtValidationActionAdditionalClaim {
	return elbv2.JwtValidationActionAdditionalClaim{Name: &name, Format: format, Values: values}
}

// last is the forward action behind others.
func last(group string) elbv2.Action {
	return elbv2.Action{Type: "forward", Order: new(int32(50000)), TargetGroupArn: &group}
}

// secure creates an HTTPS listener.
func (w *world) secure(lb string, port int32, acts ...elbv2.Action) (elbv2.Listener, error) {
	out, err := w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{
		LoadBalancerArn: &lb, Port: &port, Protocol: "HTTPS", Certificates: named(w.certificate("c")), DefaultActions: acts,
	})
	if err != nil {
		return elbv2.Listener{}, err
	}
	return out.Listeners[0], nil
}

// secrets are the client secrets of all rules, opened.
func (w *world) secrets() []string {
	w.t.Helper()
	rows, err := tables.Rules.List(w.ctx, w.st, store.Query{Account: account, Region: region})
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, r := range rows {
		for _, a := range r.V.Actions {
			if a.OIDC == nil {
				continue
			}
			if strings.Contains(a.OIDC.ClientSecret, "hunter") {
				w.t.Error("the secret lies open in the store")
			}
			secret, err := w.s.Key.Open(model.ClientSecretName(r.V.ARN), a.OIDC.ClientSecret)
			if err != nil {
				w.t.Fatal(err)
			}
			out = append(out, string(secret))
		}
	}
	return out
}

func TestAuthenticateActions(t *testing.T) {
	w := newWorld(t)
	lb, group := w.loadBalancer("lb"), w.group("g")
	full := oidc(func(c *elbv2.AuthenticateOidcActionConfig) {
		c.OnUnauthenticatedRequest, c.Scope, c.SessionCookieName, c.SessionTimeout = "deny", new("openid email"), new("my-cookie"), new(int64(60))
		c.AuthenticationRequestExtraParams = map[string]string{"display": "page"}
	})
	// In whatever order they come.
	l, err := w.secure(lb, 443, last(group), full)
	if err != nil {
		t.Fatal(err)
	}
	shown := oidc(func(c *elbv2.AuthenticateOidcActionConfig) { *c = *full.AuthenticateOidcConfig; c.ClientSecret = nil })
	if d := cmp.Diff(shown, l.DefaultActions[0]); d != "" {
		t.Error(d)
	}
	if l.DefaultActions[1].Type != "forward" {
		t.Errorf("the last action is %v", l.DefaultActions[1])
	}
	// The same again is the same listener, and one with another secret is not.
	if again, err := w.secure(lb, 443, full, last(group)); err != nil || *again.ListenerArn != *l.ListenerArn {
		t.Errorf("again: %v", err)
	}
	_, err = w.secure(lb, 443, oidc(func(c *elbv2.AuthenticateOidcActionConfig) {
		*c = *full.AuthenticateOidcConfig
		c.ClientSecret = new("hunter3")
	}), last(group))
	refused(t, err, "DuplicateListener", "")
	// Defaults are filled in.
	rule := must(w.s.CreateRule(w.ctx, &elbv2.CreateRuleInput{
		ListenerArn: l.ListenerArn, Priority: new(int32(1)), Conditions: path("/a"), Actions: []elbv2.Action{oidc(nil), last(group)},
	}))(w).Rules[0]
	want := oidc(func(c *elbv2.AuthenticateOidcActionConfig) {
		c.ClientSecret, c.OnUnauthenticatedRequest, c.Scope = nil, "authenticate", new("openid")
		c.SessionCookieName, c.SessionTimeout = new("AWSELBAuthSessionCookie"), new(int64(604800))
	})
	if d := cmp.Diff(want, rule.Actions[0]); d != "" {
		t.Error(d)
	}
	if got := w.secrets(); !cmp.Equal(got, []string{"hunter2", "hunter2"}) {
		t.Errorf("secrets %q", got)
	}
	// A change keeps the secret, or brings another.
	modify := func(a elbv2.Action) error {
		_, err := w.s.ModifyRule(w.ctx, &elbv2.ModifyRuleInput{RuleArn: rule.RuleArn, Actions: []elbv2.Action{a, last(group)}})
		return err
	}
	existing := oidc(func(c *elbv2.AuthenticateOidcActionConfig) {
		c.ClientSecret, c.UseExistingClientSecret = nil, new(true)
	})
	for _, c := range []struct {
		action elbv2.Action
		secret string
	}{{existing, "hunter2"}, {oidc(func(c *elbv2.AuthenticateOidcActionConfig) { c.ClientSecret = new("new") }), "new"}, {existing, "new"}} {
		if err := modify(c.action); err != nil {
			t.Fatal(err)
		}
		if got := w.secrets(); len(got) != 2 || got[0] != c.secret && got[1] != c.secret {
			t.Errorf("secrets %q, want %s", got, c.secret)
		}
	}
	if _, err := w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: l.ListenerArn, DefaultActions: []elbv2.Action{existing, last(group)}}); err != nil {
		t.Error(err)
	}
	must(w.s.ModifyRule(w.ctx, &elbv2.ModifyRuleInput{RuleArn: rule.RuleArn, Actions: forward(group)}))(w)
	refused(t, modify(existing), "InvalidLoadBalancerAction", "there is no existing client secret")
	// A listener that authenticates stays one of TLS.
	_, err = w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: l.ListenerArn, Protocol: "HTTP"})
	refused(t, err, "InvalidLoadBalancerAction", "HTTPS listeners only")
	must(w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: l.ListenerArn, DefaultActions: forward(group)}))(w)
	must(w.s.ModifyRule(w.ctx, &elbv2.ModifyRuleInput{RuleArn: rule.RuleArn, Actions: []elbv2.Action{jwt(), last(group)}}))(w)
	_, err = w.s.ModifyListener(w.ctx, &elbv2.ModifyListenerInput{ListenerArn: l.ListenerArn, Protocol: "HTTP"})
	refused(t, err, "InvalidLoadBalancerAction", "'jwt-validation' are supported for HTTPS listeners only")
}

func TestJWTActions(t *testing.T) {
	w := newWorld(t)
	a := jwt(claim("scope", "space-separated-values", "a", "b"), claim("client", "single-string", "c"), claim("aud", "string-array", "x"))
	l, err := w.secure(w.loadBalancer("lb"), 443, a, last(w.group("g")))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(a, l.DefaultActions[0]); d != "" {
		t.Error(d)
	}
}

func TestAuthenticateRefusals(t *testing.T) {
	w := newWorld(t)
	lb, group := w.loadBalancer("lb"), w.group("g")
	with := func(f func(*elbv2.AuthenticateOidcActionConfig)) []elbv2.Action {
		return []elbv2.Action{oidc(f), last(group)}
	}
	claims := func(cs ...elbv2.JwtValidationActionAdditionalClaim) []elbv2.Action {
		return []elbv2.Action{jwt(cs...), last(group)}
	}
	many := map[string]string{}
	for k := range strings.SplitSeq("a b c d e f g h i j k", " ") {
		many[k] = "x"
	}
	unordered := oidc(nil)
	unordered.Order = nil
	ordered := last(group)
	ordered.Order = new(int32(1))
	late := oidc(nil)
	late.Order = new(int32(50000))
	first := last(group)
	first.Order = new(int32(1))
	other := oidc(nil)
	other.Order = new(int32(2))
	for name, c := range map[string]struct {
		acts []elbv2.Action
		text string
	}{
		"no config":     {[]elbv2.Action{{Type: "authenticate-oidc", Order: new(int32(1))}, last(group)}, "configuration must be specified"},
		"cognito":       {[]elbv2.Action{{Type: "authenticate-cognito", Order: new(int32(1))}, last(group)}, "Amazon Cognito"},
		"alone":         {[]elbv2.Action{oidc(nil)}, "must be a forward action"},
		"last":          {[]elbv2.Action{first, late}, "must be a forward action"},
		"no order":      {[]elbv2.Action{unordered, last(group)}, "An order must be specified"},
		"same order":    {[]elbv2.Action{oidc(nil), ordered}, "order '1'"},
		"two ends":      {[]elbv2.Action{first, last(group)}, "only specify one of"},
		"http endpoint": {with(func(c *elbv2.AuthenticateOidcActionConfig) { c.TokenEndpoint = new("http://idp.test/token") }), "TokenEndpoint 'http://idp.test/token'"},
		"no URL":        {with(func(c *elbv2.AuthenticateOidcActionConfig) { c.Issuer = new("idp") }), "Issuer 'idp'"},
		"no client":     {with(func(c *elbv2.AuthenticateOidcActionConfig) { c.ClientId = new("") }), "client ID"},
		"no secret":     {with(func(c *elbv2.AuthenticateOidcActionConfig) { c.ClientSecret = nil }), "A client secret must be specified"},
		"both secrets":  {with(func(c *elbv2.AuthenticateOidcActionConfig) { c.UseExistingClientSecret = new(true) }), "You cannot both specify a client secret and set UseExistingClientSecret to true"},
		"existing of none": {with(func(c *elbv2.AuthenticateOidcActionConfig) {
			c.ClientSecret, c.UseExistingClientSecret = nil, new(true)
		}), "no existing"},
		"timeout":    {with(func(c *elbv2.AuthenticateOidcActionConfig) { c.SessionTimeout = new(int64(604801)) }), "between 1 and 604800"},
		"no timeout": {with(func(c *elbv2.AuthenticateOidcActionConfig) { c.SessionTimeout = new(int64(0)) }), "between 1 and 604800"},
		"cookie":     {with(func(c *elbv2.AuthenticateOidcActionConfig) { c.SessionCookieName = new("a;b") }), "cookie name"},
		"params":     {with(func(c *elbv2.AuthenticateOidcActionConfig) { c.AuthenticationRequestExtraParams = many }), "up to 10"},
		"own param": {with(func(c *elbv2.AuthenticateOidcActionConfig) {
			c.AuthenticationRequestExtraParams = map[string]string{"state": "x"}
		}), "'state'"},
		"claim exp":   {claims(claim("exp", "single-string", "1")), "'exp'"},
		"claim twice": {claims(claim("a", "single-string", "1"), claim("a", "single-string", "1")), "more than once"},
		"two of one":  {claims(claim("a", "single-string", "1", "2")), "must have one value"},
		"no value":    {claims(claim("a", "string-array")), "between 1 and 10 values"},
		"space":       {claims(claim("a", "space-separated-values", "x y")), "'x y'"},
	} {
		_, err := w.secure(lb, 443, c.acts...)
		if err == nil {
			t.Errorf("%s is accepted", name)
			continue
		}
		refused(t, err, "InvalidLoadBalancerAction", c.text)
	}
	_, err := w.secure(lb, 443, oidc(nil), other, last(group))
	refused(t, err, "TooManyActions", "'authenticate-oidc'")
	_, err = w.s.CreateListener(w.ctx, &elbv2.CreateListenerInput{LoadBalancerArn: &lb, Port: new(int32(80)), Protocol: "HTTP", DefaultActions: with(nil)})
	refused(t, err, "InvalidLoadBalancerAction", "HTTPS listeners only")
	http := w.listener(lb, 80, forward(group))
	_, err = w.s.CreateRule(w.ctx, &elbv2.CreateRuleInput{ListenerArn: &http, Priority: new(int32(1)), Conditions: path("/a"), Actions: with(nil)})
	refused(t, err, "InvalidLoadBalancerAction", "HTTPS listeners only")
}
