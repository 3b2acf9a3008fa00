// Package authtest is a provider of identities for tests: OpenID Connect's
// authorization code flow, with a page to log in at, over net/http.
package authtest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Provider is an http.Handler. Its exported fields are set before it serves;
// Change alters them later.
type Provider struct {
	// Issuer is the URL that the provider is reached by.
	Issuer string
	// ClientID, ClientSecret and RedirectURI are of the only client.
	ClientID, ClientSecret, RedirectURI string
	// Post wants the client's secret in the body of requests.
	Post bool
	// Life is how long access tokens are good.
	Life time.Duration
	// NoRefresh gives no refresh tokens.
	NoRefresh bool
	// Claims are of every user, beside the subject.
	Claims map[string]any
	// Broken answers instead of the provider, by path.
	Broken map[string]http.HandlerFunc
	// IDToken alters the claims of ID tokens.
	IDToken func(map[string]any)
	// Now is the time.
	Now func() time.Time

	key  *rsa.PrivateKey
	once sync.Once

	mu      sync.Mutex
	codes   map[string]grant
	access  map[string]string // users by access token
	refresh map[string]string
	// Asked counts requests by path, and those for tokens by grant type.
	asked map[string]int
	// last holds the parameters of the last authorization request.
	last url.Values
}

type grant struct{ user, redirect string }

// Change alters the provider while it serves.
func (p *Provider) Change(f func(*Provider)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

// Asked is how many requests there were for a path, or a grant type.
func (p *Provider) Asked(what string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[what]
}

// LastAuthorization are the parameters of the last authorization request.
func (p *Provider) LastAuthorization() url.Values {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// LogOut ends the logins of a user: refresh tokens are worth nothing.
func (p *Provider) LogOut(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for t, u := range p.refresh {
		if u == user {
			delete(p.refresh, t)
		}
	}
}

func (p *Provider) begin() {
	p.once.Do(func() {
		p.key, _ = rsa.GenerateKey(rand.Reader, 2048)
		p.codes, p.access, p.refresh, p.asked = map[string]grant{}, map[string]string{}, map[string]string{}, map[string]int{}
		if p.Now == nil {
			p.Now = time.Now
		}
	})
}

func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.begin()
	p.mu.Lock()
	p.asked[r.URL.Path]++
	broken := p.Broken[r.URL.Path]
	p.mu.Unlock()
	if broken != nil {
		broken(w, r)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch r.URL.Path {
	case "/authorize":
		p.authorize(w, r)
	case "/login":
		http.SetCookie(w, &http.Cookie{Name: "user", Value: r.FormValue("user"), Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
		http.Redirect(w, r, "/authorize?"+r.URL.RawQuery, http.StatusSeeOther) //nolint:gosec // to itself
	case "/token":
		p.token(w, r)
	case "/userinfo":
		p.userinfo(w, r)
	case "/jwks":
		reply(w, http.StatusOK, map[string]any{"keys": []any{p.jwk()}})
	default:
		http.NotFound(w, r)
	}
}

func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p.last = q
	if q.Get("client_id") != p.ClientID || q.Get("redirect_uri") != p.RedirectURI {
		http.Error(w, "unknown client or redirect URI", http.StatusBadRequest)
		return
	}
	back := func(v url.Values) {
		v.Set("state", q.Get("state"))
		http.Redirect(w, r, p.RedirectURI+"?"+v.Encode(), http.StatusFound)
	}
	c, err := r.Cookie("user")
	switch {
	case q.Get("response_type") != "code":
		back(url.Values{"error": {"unsupported_response_type"}})
	case err != nil:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<form method=post action=\"/login?" + r.URL.RawQuery + "\"><input name=user></form>")) //nolint:gosec // for tests
	case c.Value == "nobody":
		back(url.Values{"error": {"access_denied"}})
	default:
		code := random()
		p.codes[code] = grant{c.Value, q.Get("redirect_uri")}
		back(url.Values{"code": {code}})
	}
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	id, secret, basic := r.BasicAuth()
	// RFC 6749, 2.3.1.
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	if p.Post {
		id, secret, basic = r.PostFormValue("client_id"), r.PostFormValue("client_secret"), true
	}
	if !basic || id != p.ClientID || secret != p.ClientSecret {
		reply(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	kind := r.PostFormValue("grant_type")
	p.asked[kind]++
	var user string
	switch kind {
	case "authorization_code":
		g, ok := p.codes[r.PostFormValue("code")]
		delete(p.codes, r.PostFormValue("code"))
		if ok && g.redirect == r.PostFormValue("redirect_uri") {
			user = g.user
		}
	case "refresh_token":
		// Each is good for one use.
		user = p.refresh[r.PostFormValue("refresh_token")]
		delete(p.refresh, r.PostFormValue("refresh_token"))
	}
	if user == "" {
		reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	access := random()
	p.access[access] = user
	id1 := map[string]any{"iss": p.Issuer, "aud": p.ClientID, "sub": user, "exp": p.Now().Add(time.Hour).Unix(), "iat": p.Now().Unix()}
	if p.IDToken != nil {
		p.IDToken(id1)
	}
	out := map[string]any{"access_token": access, "token_type": "Bearer", "id_token": p.sign(id1)}
	if len(id1) == 0 {
		delete(out, "id_token")
	}
	if p.Life > 0 {
		out["expires_in"] = int(p.Life.Seconds())
	}
	if !p.NoRefresh {
		refresh := random()
		p.refresh[refresh] = user
		out["refresh_token"] = refresh
	}
	reply(w, http.StatusOK, out)
}

func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request) {
	user, ok := p.access[trimBearer(r.Header.Get("Authorization"))]
	if !ok {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	out := map[string]any{"sub": user}
	maps.Copy(out, p.Claims)
	reply(w, http.StatusOK, out)
}

func trimBearer(s string) string {
	if len(s) > 7 && s[:7] == "Bearer " {
		return s[7:]
	}
	return ""
}

// Sign makes a token of the provider's with these claims.
func (p *Provider) Sign(claims map[string]any) string {
	p.begin()
	return p.sign(claims)
}

func (p *Provider) sign(claims map[string]any) string {
	h, _ := json.Marshal(map[string]any{"alg": "RS256", "typ": "JWT", "kid": "one"})
	c, _ := json.Marshal(claims)
	signed := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	sum := sha256.Sum256([]byte(signed))
	sig, _ := rsa.SignPKCS1v15(nil, p.key, crypto.SHA256, sum[:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func (p *Provider) jwk() map[string]any {
	return map[string]any{
		"kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig",
		"n": base64.RawURLEncoding.EncodeToString(p.key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(p.key.E)).Bytes()),
	}
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func random() string { return rand.Text() }
