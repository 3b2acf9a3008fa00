package l7

import (
	"bytes"
	"context"
	"strings"
	"time"

	"roadstead.dev/internal/balancer/h1"
)

// Guard decides whether a request may go on to the last action of its rule.
// Safe for concurrent use.
type Guard interface {
	// Check looks at a request. It may ask others, until ctx ends.
	Check(ctx context.Context, v *Visit) Verdict
}

// Visit is a request as a guard sees it, valid until Check returns.
type Visit struct {
	Method string
	// Host as the client gave it, with its port; empty when there is none.
	Host string
	// Target is the path with its query.
	Target string

	req *h1.Request
}

// Field is the value of the only header field of a name, which is given in
// lower case. Ok is false when there is none, or several.
func (v *Visit) Field(name string) (value string, ok bool) {
	n := 0
	for i := range v.req.Fields {
		if strings.EqualFold(string(v.req.Fields[i].Name), name) {
			value = string(v.req.Fields[i].Value)
			n++
		}
	}
	return value, n == 1
}

// Cookie is the value of the first cookie of a name.
func (v *Visit) Cookie(name string) (value string, ok bool) {
	for i := range v.req.Fields {
		if v.req.Fields[i].ID != h1.Cookie {
			continue
		}
		rest := v.req.Fields[i].Value
		for len(rest) > 0 {
			var pair []byte
			pair, rest, _ = bytes.Cut(rest, []byte{';'})
			if k, val, _ := bytes.Cut(bytes.TrimSpace(pair), []byte{'='}); string(k) == name {
				return string(val), true
			}
		}
	}
	return "", false
}

// Verdict is what a guard decides.
type Verdict struct {
	// Action is what was done, in the words of access logs: authenticate.
	Action string
	// Status to answer with; 0 lets the request go on.
	Status int
	// Location of a redirect.
	Location string
	// Cookies are the values of Set-Cookie lines for the client, whoever
	// answers in the end.
	Cookies []string
	// Fields are what the target is told in headers.
	Fields []Field
	// Outcome is what is counted.
	Outcome Outcome
	// Asked is how long the provider took to tell who the user is, 0 when it was
	// not asked.
	Asked time.Duration
	// Reason is why a request was refused, in the words of access logs:
	// AuthInvalidCookie.
	Reason string
}

// Outcome is what became of an authentication.
type Outcome uint8

// The Outcomes, by the metrics that count them.
const (
	// AuthNone counts nothing.
	AuthNone Outcome = iota
	// AuthSuccess: a user logged in (ELBAuthSuccess).
	AuthSuccess
	// AuthFailure: the provider denies access (ELBAuthFailure).
	AuthFailure
	// AuthError: the provider cannot be asked (ELBAuthError).
	AuthError
	// AuthRefreshed: a refresh token was used (ELBAuthRefreshTokenSuccess).
	AuthRefreshed
	// AuthOversize: the claims are too large (ELBAuthUserClaimsSizeExceeded).
	AuthOversize
	// Outcomes is how many there are.
	Outcomes
)

// callbackPath is where providers send users back to.
const callbackPath = "/oauth2/idpresponse"

// identityPrefix begins the names of headers that tell targets who the user
// is. Servers may take an underscore for a hyphen.
const identityPrefix = "x-amzn-oidc-"

func tellsIdentity(name []byte) bool {
	if len(name) < len(identityPrefix) {
		return false
	}
	for i := range len(identityPrefix) {
		b := name[i]
		switch {
		case b == '_':
			b = '-'
		case b >= 'A' && b <= 'Z':
			b |= 0x20
		}
		if b != identityPrefix[i] {
			return false
		}
	}
	return true
}

// admit asks the guards of an action. It tells whether the request may go on;
// where it may not it has been answered, and again tells whether the
// connection can go on.
func (c *conn) admit(guards []Guard) (admitted, again bool) {
	for _, g := range guards {
		v := c.ask(g)
		for _, f := range v.Fields {
			c.req.Add(f.Name, f.Value)
		}
		if v.Status != 0 {
			return false, c.turnAway(v)
		}
	}
	return true, false
}

// ask lets a guard decide.
func (c *conn) ask(g Guard) Verdict {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.abandon.Store(&cancel)
	defer c.abandon.Store(nil)
	if c.cutC.Load() {
		cancel()
	}
	v := g.Check(ctx, &Visit{Method: string(c.req.Method), Host: string(c.req.Host), Target: string(c.req.Target), req: &c.req})
	c.stats.Auth[v.Outcome].Add(1)
	if v.Asked > 0 {
		c.stats.AuthNanos.Add(int64(v.Asked))
		c.stats.Times.Observe(int64(v.Asked))
	}
	for _, cookie := range v.Cookies {
		c.extra = appendField(c.extra, []byte("Set-Cookie"), []byte(cookie))
	}
	c.acted(v.Action)
	if c.rec != nil {
		c.rec.ErrorReason = v.Reason
	}
	return v
}

// turnAway answers as a guard decided.
func (c *conn) turnAway(v Verdict) bool {
	c.stats.own(v.Status)
	return c.answer(v.Status, "text/html", page(v.Status), v.Location, c.skipBody())
}
