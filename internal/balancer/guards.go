package balancer

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"time"

	"roadstead.dev/internal/balancer/auth"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/seal"
)

// sessionsPurpose is what a secret of the sealing key is for, with the ARN of a
// load balancer: the cookies of its users' sessions.
const sessionsPurpose = "sessions of "

// NewSigner makes the signer of what targets are told of users.
func NewSigner(key *seal.Key) (*auth.Signer, error) {
	return auth.NewSigner([32]byte(key.Derive("claims of users of load balancers")))
}

// newClient makes what asks providers from a load balancer.
func (b *Balancer) newClient(lb string) *auth.Client {
	return auth.NewClient(auth.Config{
		Dial:   func(ctx context.Context, address string) (net.Conn, error) { return b.cfg.Place.Dial(ctx, lb, address) },
		Lookup: func(ctx context.Context, host string) ([]netip.Addr, error) { return b.cfg.Lookup(ctx, lb, host) },
		Roots:  b.cfg.Roots, Now: b.cfg.Clock.Now,
	})
}

// shut lets nobody pass: what it should ask is not to be had.
type shut struct{}

func (shut) Check(context.Context, *l7.Visit) l7.Verdict {
	return l7.Verdict{Status: http.StatusInternalServerError, Outcome: l7.AuthError}
}

// guard makes a rule's actions but the last act, and a listener's callback of
// those that authenticate.
func (in *instance) guard(t *l7.Table, lb balance.LoadBalancer, l balance.Listener, order []string) {
	before := map[string][]model.RuleAction{}
	for _, r := range l.Rules {
		before[r.ARN] = r.Actions[:len(r.Actions)-1]
	}
	var logins []*auth.OIDC
	for i, arn := range order {
		for _, a := range before[arn] {
			switch {
			case a.OIDC != nil:
				g := in.login(lb, arn, a.OIDC)
				if g == nil {
					t.Actions[i].Guards = append(t.Actions[i].Guards, shut{})
					continue
				}
				logins = append(logins, g)
				t.Actions[i].Guards = append(t.Actions[i].Guards, g)
			case a.JWT != nil:
				t.Actions[i].Guards = append(t.Actions[i].Guards, auth.NewJWT(auth.JWT{
					Issuer: a.JWT.Issuer, Endpoint: a.JWT.JWKSEndpoint, Claims: a.JWT.Claims,
				}, in.client))
			default:
				t.Actions[i].Guards = append(t.Actions[i].Guards, shut{})
			}
		}
	}
	if len(logins) > 0 {
		t.Callback = auth.NewCallback(logins)
	}
}

// login is an action that authenticates; nil when its secret cannot be opened.
func (in *instance) login(lb balance.LoadBalancer, rule string, a *model.OIDCAction) *auth.OIDC {
	cfg := in.b.cfg
	if cfg.Secrets == nil || in.b.signer == nil {
		return nil
	}
	secret, err := cfg.Secrets.Open(model.ClientSecretName(rule), a.ClientSecret)
	if err != nil {
		cfg.Log.Error("rule cannot authenticate users", "rule", rule, "error", err)
		return nil
	}
	return auth.NewOIDC(auth.OIDC{
		Provider: auth.Provider{
			Issuer: a.Issuer, AuthorizationEndpoint: a.AuthorizationEndpoint, TokenEndpoint: a.TokenEndpoint,
			UserInfoEndpoint: a.UserInfoEndpoint, ClientID: a.ClientID, ClientSecret: string(secret),
		},
		OnUnauthenticated: a.OnUnauthenticated, Scope: a.Scope, CookieName: a.CookieName,
		Timeout: time.Duration(a.TimeoutSeconds) * time.Second, Extra: a.ExtraParams,
		LoadBalancer: lb.ARN, Signer: in.b.signer,
	}, in.client, [32]byte(cfg.Secrets.Derive(sessionsPurpose+lb.ARN)))
}
