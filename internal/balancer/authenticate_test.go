package balancer

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"roadstead.dev/internal/balancer/auth/authtest"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
	"roadstead.dev/internal/seal"
)

// movable is a clock that goes on by itself, and further when told to.
type movable struct {
	hurried
	ahead atomic.Int64
}

func (m *movable) Now() time.Time          { return time.Now().Add(time.Duration(m.ahead.Load())) }
func (m *movable) advance(d time.Duration) { m.ahead.Add(int64(d)) }

// login is a load balancer whose users log in at a provider, and a browser.
type login struct {
	*world
	t        *testing.T
	clock    *movable
	provider *authtest.Provider
	idp      string // the provider's URL
	lb       balance.LoadBalancer
	action   model.OIDCAction
	browser  *http.Client
	key      *seal.Key
}

const appHost = "app.test"

// newLogin has app.test serve what the target is told, to users who log in.
func newLogin(t *testing.T) *login {
	t.Helper()
	x := &login{t: t, clock: &movable{}}
	x.provider = &authtest.Provider{
		ClientID: "shop", ClientSecret: "s3cr:et &", RedirectURI: "https://" + appHost + "/oauth2/idpresponse",
		Life: time.Hour, Claims: map[string]any{"email": "user@example.com"}, Now: x.clock.Now,
	}
	server := httptest.NewTLSServer(x.provider)
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	x.idp = "https://example.com:" + port // what the server's certificate is for
	x.provider.Issuer = x.idp
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	var err error
	if x.key, err = seal.New(make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	x.world = &world{t: t, place: &local{ports: map[int32]string{}}, changed: make(chan struct{}, 1)}
	x.b = New(Config{
		Place: x.place, Clock: x.clock, Secrets: x.key, Roots: func() *x509.CertPool { return pool },
		Lookup: func(_ context.Context, lb, host string) ([]netip.Addr, error) {
			if lb != "lb" || host != "example.com" {
				return nil, fmt.Errorf("no such host %s", host)
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		},
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		x.b.Close(ctx)
	})
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{
			"path": r.RequestURI, "identity": r.Header.Get("X-Amzn-Oidc-Identity"),
			"access": r.Header.Get("X-Amzn-Oidc-Accesstoken"), "data": r.Header.Get("X-Amzn-Oidc-Data"),
		})
	}))
	t.Cleanup(target.Close)
	host, port, _ := net.SplitHostPort(target.Listener.Addr().String())
	n, _ := strconv.Atoi(port)
	x.lb = spec(balance.Target{IP: host, Port: int32(n), RegisteredAt: time.Unix(1, 0)})
	x.lb.ARN = "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/app/shop/1"
	l := &x.lb.Listeners[0]
	cert, _ := certified(t)
	l.Port, l.Protocol, l.SSLPolicy, l.Certificate = 443, "HTTPS", "ELBSecurityPolicy-TLS13-1-2-2021-06", &cert
	x.action = model.OIDCAction{
		Issuer: x.idp, AuthorizationEndpoint: x.idp + "/authorize", TokenEndpoint: x.idp + "/token", UserInfoEndpoint: x.idp + "/userinfo",
		ClientID: "shop", ClientSecret: x.key.Seal(model.ClientSecretName(l.Rules[0].ARN), []byte("s3cr:et &")),
		OnUnauthenticated: "authenticate", Scope: "openid email", CookieName: "AWSELBAuthSessionCookie", TimeoutSeconds: 86400,
		ExtraParams: map[string]string{"prompt": "login"},
	}
	x.reapply()
	x.browser = x.newBrowser()
	return x
}

// reapply has the load balancer authenticate as x.action says.
func (x *login) reapply() {
	x.t.Helper()
	a := x.action
	r := &x.lb.Listeners[0].Rules[0]
	last := r.Actions[len(r.Actions)-1]
	r.Actions = []model.RuleAction{{Type: model.ActionOIDC, Order: 1, OIDC: &a}, last}
	x.apply(x.lb)
}

// newBrowser keeps cookies, and reaches all hosts where they are.
func (x *login) newBrowser() *http.Client {
	jar, _ := cookiejar.New(nil)
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			host, port, _ := net.SplitHostPort(address)
			to := "127.0.0.1:" + port
			if host == appHost {
				x.place.mu.Lock()
				to = x.place.ports[443]
				x.place.mu.Unlock()
			}
			return new(net.Dialer).DialContext(ctx, "tcp", to)
		},
	}
	x.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Jar: jar}
}

// visit is a response with its body.
type visit struct {
	*http.Response
	body string
	told map[string]string
}

func (x *login) do(req *http.Request) visit {
	x.t.Helper()
	resp, err := x.browser.Do(req)
	if err != nil {
		x.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	v := visit{Response: resp, body: string(body)}
	_ = json.Unmarshal(body, &v.told)
	return v
}

func (x *login) get(url string) visit {
	x.t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	return x.do(req)
}

// enter logs a user in who was sent to the provider's page.
func (x *login) enter(page visit, user string) visit {
	x.t.Helper()
	if page.Request.URL.Path != "/authorize" || !strings.Contains(page.body, "<form") {
		x.t.Fatalf("at %s with %d: %s", page.Request.URL, page.StatusCode, page.body)
	}
	form := strings.NewReader(url.Values{"user": {user}}.Encode())
	req, _ := http.NewRequest(http.MethodPost, x.idp+"/login?"+page.Request.URL.RawQuery, form)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return x.do(req)
}

func (x *login) want(v visit, status int, what string) {
	x.t.Helper()
	if v.StatusCode != status {
		x.t.Errorf("%s: %d at %s, want %d: %s", what, v.StatusCode, v.Request.URL, status, v.body)
	}
}

// verify checks what targets are told as applications are told to.
func (x *login) verify(data string) (header, payload map[string]any) {
	x.t.Helper()
	parts := strings.Split(data, ".")
	if len(parts) != 3 {
		x.t.Fatalf("data is %q", data)
	}
	for i, into := range []*map[string]any{&header, &payload} {
		raw, err := base64.URLEncoding.DecodeString(parts[i]) // padded, unlike other tokens
		if err != nil {
			x.t.Fatal(err)
		}
		if err := json.Unmarshal(raw, into); err != nil {
			x.t.Fatal(err)
		}
	}
	block, _ := pem.Decode(x.b.signer.PublicKey(header["kid"].(string)))
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		x.t.Fatal(err)
	}
	sig, _ := base64.URLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(key.(*ecdsa.PublicKey), sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		x.t.Error("the signature is not the load balancer's")
	}
	return header, payload
}

// A user logs in once, and targets are told who it is.
func TestLogin(t *testing.T) {
	for _, post := range []bool{false, true} {
		t.Run(fmt.Sprintf("secret in body %v", post), func(t *testing.T) {
			x := newLogin(t)
			x.provider.Change(func(p *authtest.Provider) { p.Post = post })
			page := x.get("https://" + appHost + "/orders?id=1&x=%20y")
			q := x.provider.LastAuthorization()
			if q.Get("scope") != "openid email" || q.Get("prompt") != "login" || q.Get("state") == "" || q.Get("response_type") != "code" {
				t.Errorf("the provider was asked with %v", q)
			}
			v := x.enter(page, "alice")
			x.want(v, 200, "after the login")
			if v.told["path"] != "/orders?id=1&x=%20y" || v.told["identity"] != "alice" || v.told["access"] == "" {
				t.Errorf("the target was told %v", v.told)
			}
			header, payload := x.verify(v.told["data"])
			if header["alg"] != "ES256" || header["signer"] != x.lb.ARN || header["iss"] != x.idp || header["client"] != "shop" || header["exp"].(float64) < float64(time.Now().Unix()) {
				t.Errorf("header %v", header)
			}
			if payload["sub"] != "alice" || payload["email"] != "user@example.com" {
				t.Errorf("payload %v", payload)
			}
			before := x.provider.Asked("/token")
			again := x.get("https://" + appHost + "/next")
			x.want(again, 200, "the next request")
			if again.told["identity"] != "alice" || x.provider.Asked("/token") != before {
				t.Errorf("the next request: %v, and the provider was asked", again.told)
			}
			for _, c := range x.browser.Jar.Cookies(&url.URL{Scheme: "https", Host: appHost}) {
				if strings.Contains(c.Value, "alice") {
					t.Errorf("cookie %s can be read", c.Name)
				}
			}
			// The cookies of one are another's as long as they are whole.
			u := &url.URL{Scheme: "https", Host: appHost}
			for _, c := range x.browser.Jar.Cookies(u) {
				if c.Name == "AWSELBAuthSessionCookie-0" {
					c.Value = c.Value[:len(c.Value)-2] + "AA"
					x.browser.Jar.SetCookies(u, []*http.Cookie{c})
				}
			}
			x.browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			x.want(x.get("https://"+appHost+"/"), 302, "with a forged cookie")
			if x.b.lbs["lb"].stats.AuthNanos.Load() <= 0 {
				t.Error("the provider took no time")
			}
			if n := x.b.lbs["lb"].stats.Auth[l7.AuthSuccess].Load(); n != 1 {
				t.Errorf("%d logins are counted", n)
			}
		})
	}
}

// What is done about users who are not logged in.
func TestUnauthenticated(t *testing.T) {
	x := newLogin(t)
	x.action.OnUnauthenticated = "deny"
	x.reapply()
	x.want(x.get("https://"+appHost+"/"), 401, "denied")
	x.action.OnUnauthenticated = "allow"
	x.reapply()
	req, _ := http.NewRequest(http.MethodGet, "https://"+appHost+"/", nil)
	req.Header.Set("X-Amzn-Oidc-Identity", "root")
	v := x.do(req)
	x.want(v, 200, "allowed")
	if v.told["identity"] != "" || v.told["data"] != "" {
		t.Errorf("the target was told %v", v.told)
	}
	x.action.OnUnauthenticated = "authenticate"
	x.reapply()
	x.want(x.enter(x.get("https://"+appHost+"/"), "bob"), 200, "logged in")
	// The session is the same, whatever is done about others.
	x.action.OnUnauthenticated = "deny"
	x.reapply()
	if v := x.get("https://" + appHost + "/"); v.told["identity"] != "bob" {
		t.Errorf("%d %s", v.StatusCode, v.body)
	}
	// It is of no use to another client's action.
	x.action.ClientID = "other"
	x.reapply()
	x.want(x.get("https://"+appHost+"/"), 401, "another client")
}

// Sessions end in time, and are refreshed until then while the provider agrees.
func TestSessionTimes(t *testing.T) {
	x := newLogin(t)
	x.want(x.enter(x.get("https://"+appHost+"/"), "alice"), 200, "logged in")
	first := x.get("https://" + appHost + "/").told["access"]
	x.clock.advance(2 * time.Hour)
	done := make(chan string, 8)
	for range cap(done) {
		go func() {
			req, _ := http.NewRequest(http.MethodGet, "https://"+appHost+"/", nil)
			resp, err := x.browser.Do(req)
			if err != nil {
				done <- err.Error()
				return
			}
			defer resp.Body.Close()
			var told map[string]string
			_ = json.NewDecoder(resp.Body).Decode(&told)
			done <- told["identity"] + told["access"]
		}()
	}
	seen := map[string]bool{}
	for range cap(done) {
		seen[<-done] = true
	}
	if len(seen) != 1 || seen["alice"+first] {
		t.Errorf("after the refresh: %v", seen)
	}
	if n := x.provider.Asked("refresh_token"); n != 1 {
		t.Errorf("%d refreshes for requests at once", n)
	}
	// The browser keeps the new one.
	x.clock.advance(2 * time.Hour)
	x.want(x.get("https://"+appHost+"/"), 200, "second refresh")
	if n := x.provider.Asked("refresh_token"); n != 2 {
		t.Errorf("%d refreshes", n)
	}
	// Who logs out at the provider is logged out once the token expires.
	x.provider.LogOut("alice")
	x.want(x.get("https://"+appHost+"/"), 200, "before the token expires")
	x.clock.advance(2 * time.Hour)
	logins := x.provider.Asked("authorization_code")
	x.want(x.get("https://"+appHost+"/"), 200, "logged in again")
	if n := x.provider.Asked("authorization_code"); n != logins+1 {
		t.Errorf("%d logins, had %d", n, logins)
	}
	// Without refresh tokens the session goes on until its end.
	x.provider.Change(func(p *authtest.Provider) { p.NoRefresh = true })
	x.clock.advance(25 * time.Hour)
	x.want(x.get("https://"+appHost+"/"), 200, "logged in once more")
	refreshes := x.provider.Asked("refresh_token")
	x.clock.advance(20 * time.Hour)
	x.want(x.get("https://"+appHost+"/"), 200, "late")
	if n := x.provider.Asked("authorization_code"); n != logins+2 || x.provider.Asked("refresh_token") != refreshes {
		t.Errorf("%d logins", n)
	}
	x.clock.advance(5 * time.Hour)
	x.want(x.get("https://"+appHost+"/"), 200, "after the end")
	if n := x.provider.Asked("authorization_code"); n != logins+3 {
		t.Errorf("%d logins after the end", n)
	}
}

// Large claims take several cookies; those that are too large are refused.
func TestClaimsSize(t *testing.T) {
	x := newLogin(t)
	x.provider.Change(func(p *authtest.Provider) { p.Claims = map[string]any{"groups": strings.Repeat("g", 10<<10)} })
	v := x.enter(x.get("https://"+appHost+"/"), "alice")
	x.want(v, 200, "large claims")
	if _, payload := x.verify(v.told["data"]); len(payload["groups"].(string)) != 10<<10 {
		t.Error("claims are cut")
	}
	u := &url.URL{Scheme: "https", Host: appHost}
	names := map[string]bool{}
	for _, c := range x.browser.Jar.Cookies(u) {
		names[c.Name] = true
		if len(c.Name)+len(c.Value) > 4096 {
			t.Errorf("cookie %s has %d bytes", c.Name, len(c.Value))
		}
	}
	if !names["AWSELBAuthSessionCookie-0"] || !names["AWSELBAuthSessionCookie-3"] || names["AWSELBAuthSessionCookie-4"] {
		t.Errorf("cookies %v", names)
	}
	x.provider.Change(func(p *authtest.Provider) { p.Claims = map[string]any{"groups": strings.Repeat("g", 11<<10)} })
	x.browser = x.newBrowser()
	x.want(x.enter(x.get("https://"+appHost+"/"), "alice"), 500, "too large")
	if n := x.b.lbs["lb"].stats.Auth[l7.AuthOversize].Load(); n != 1 {
		t.Errorf("%d are counted", n)
	}
}

// Each way in which a login fails has its status.
func TestFailedLogins(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		<-r.Context().Done()
	}
	status := func(n int) http.HandlerFunc { return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(n) } }
	says := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }
	}
	breaks := func(path string, h http.HandlerFunc) func(*authtest.Provider) {
		return func(p *authtest.Provider) { p.Broken = map[string]http.HandlerFunc{path: h} }
	}
	idToken := func(f func(map[string]any)) func(*authtest.Provider) {
		return func(p *authtest.Provider) { p.IDToken = f }
	}
	for _, c := range []struct {
		name   string
		user   string
		change func(*authtest.Provider)
		want   int
	}{
		{"denied", "nobody", func(*authtest.Provider) {}, 401},
		{"wrong secret", "a", func(p *authtest.Provider) { p.ClientSecret = "x" }, 561},
		{"token endpoint fails", "a", breaks("/token", status(503)), 561},
		{"token endpoint redirects", "a", breaks("/token", http.RedirectHandler("/token", http.StatusFound).ServeHTTP), 561},
		{"no JSON", "a", breaks("/token", says("<html>")), 561},
		{"no token", "a", breaks("/token", says(`{}`)), 561},
		{"token with a line break", "a", breaks("/token", says(`{"access_token":"a\r\nX: y","id_token":"x"}`)), 561},
		{"no ID token", "a", idToken(func(m map[string]any) { clear(m) }), 401},
		{"another issuer", "a", idToken(func(m map[string]any) { m["iss"] = "https://evil.test" }), 401},
		{"another audience", "a", idToken(func(m map[string]any) { m["aud"] = []string{"x"} }), 401},
		{"among the audience", "a", idToken(func(m map[string]any) { m["aud"] = []string{"x", "shop"} }), 200},
		{"expired", "a", idToken(func(m map[string]any) { m["exp"] = 1 }), 401},
		{"another subject", "a", idToken(func(m map[string]any) { m["sub"] = "b" }), 561},
		{"user info fails", "a", breaks("/userinfo", status(500)), 561},
		{"no subject", "a", breaks("/userinfo", says(`{"name":"x"}`)), 561},
		{"subject with a line break", "a", breaks("/userinfo", says(`{"sub":"a\nX-Amzn-Oidc-Data: x"}`)), 561},
		{"token endpoint hangs", "a", breaks("/token", hang), 500},
		{"user info hangs", "a", breaks("/userinfo", hang), 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := newLogin(t)
			x.provider.Change(c.change)
			v := x.enter(x.get("https://"+appHost+"/"), c.user)
			x.want(v, c.want, c.name)
			if c.want == 561 && !strings.Contains(v.body, "<h1>561 Authentication Error</h1>") {
				t.Errorf("got %s", v.body)
			}
		})
	}
	x := newLogin(t)
	x.action.TokenEndpoint = "https://nowhere.test/token"
	x.reapply()
	x.want(x.enter(x.get("https://"+appHost+"/"), "a"), 500, "no such host")
	// A certificate of somebody's.
	x.action.TokenEndpoint = strings.Replace(x.idp, "example.com", "127.0.0.2", 1) + "/token"
	x.reapply()
	x.browser = x.newBrowser()
	x.want(x.enter(x.get("https://"+appHost+"/"), "a"), 500, "another's certificate")
	// A secret that cannot be opened lets nobody pass.
	x.action.ClientSecret = x.key.Seal("another rule", []byte("x"))
	x.reapply()
	x.want(x.get("https://"+appHost+"/"), 500, "no secret")
}

// What comes back from the provider is good once, for the browser that was
// sent there.
func TestCallback(t *testing.T) {
	x := newLogin(t)
	stop := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	begin := func() (state string) {
		x.browser.CheckRedirect = stop
		v := x.get("https://" + appHost + "/a")
		x.want(v, 302, "sent to the provider")
		to, err := v.Location()
		if err != nil {
			t.Fatal(err)
		}
		return to.Query().Get("state")
	}
	callback := "https://" + appHost + "/oauth2/idpresponse"
	x.want(x.get(callback), 401, "no state")
	x.want(x.get(callback+"?state=x&code=y"), 401, "bad state")
	state := begin()
	with := func(more string) string { return callback + "?state=" + url.QueryEscape(state) + more }
	x.want(x.get(with("")), 401, "no code")
	x.want(x.get(with("&error=server_error")), 561, "the provider's error")
	x.want(x.get(with("&code=unknown")), 401, "unknown code")
	// A second window does not put an end to the login of the first.
	if other := begin(); other == state {
		t.Error("states are alike")
	}
	x.want(x.get(with("&code=unknown")), 401, "unknown code")
	if n := x.provider.Asked("authorization_code"); n != 2 {
		t.Errorf("the provider was asked %d times", n)
	}
	mine := x.browser
	x.browser = x.newBrowser()
	x.want(x.get(with("&code=unknown")), 401, "another browser")
	if n := x.provider.Asked("authorization_code"); n != 2 {
		t.Error("the provider was asked for another browser")
	}
	x.browser = mine
	x.clock.advance(15 * time.Minute)
	x.want(x.get(with("&code=unknown")), 401, "too late")
	if n := x.provider.Asked("authorization_code"); n != 2 {
		t.Error("the provider was asked too late")
	}
	// A code is good once.
	state = begin()
	x.browser.CheckRedirect = nil
	page := x.get("https://" + appHost + "/a")
	var back string
	x.browser.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/oauth2/idpresponse" {
			back = r.URL.String()
		}
		return nil
	}
	x.want(x.enter(page, "alice"), 200, "logged in")
	x.browser.CheckRedirect = stop
	x.want(x.get(back), 401, "again")
}

// Requests pass with a token of the issuer's alone.
func TestJWTValidation(t *testing.T) {
	x := newLogin(t)
	r := &x.lb.Listeners[0].Rules[0]
	r.Actions = []model.RuleAction{{Type: model.ActionJWT, Order: 1, JWT: &model.JWTAction{
		Issuer: x.idp, JWKSEndpoint: x.idp + "/jwks", Claims: []model.JWTClaim{
			{Name: "scope", Format: model.JWTClaimSpaces, Values: []string{"read", "write"}},
			{Name: "aud", Format: model.JWTClaimArray, Values: []string{"shop"}},
			{Name: "client", Format: model.JWTClaimSingle, Values: []string{"c1"}},
		},
	}}, r.Actions[1]}
	x.apply(x.lb)
	now := x.clock.Now().Unix()
	base := func() map[string]any {
		return map[string]any{"iss": x.idp, "exp": now + 60, "iat": now - 1, "nbf": now - 1, "scope": "write admin read", "aud": []string{"a", "shop"}, "client": "c1"}
	}
	stranger := &authtest.Provider{}
	send := func(header ...string) int {
		t.Helper()
		req, _ := http.NewRequest(http.MethodGet, "https://"+appHost+"/", nil)
		for _, h := range header {
			req.Header.Add("Authorization", h)
		}
		return x.do(req).StatusCode
	}
	good := x.provider.Sign(base())
	if got := send("Bearer " + good); got != 200 {
		t.Fatalf("a good token: %d", got)
	}
	for name, change := range map[string]func(map[string]any){
		"expired": func(m map[string]any) { m["exp"] = now - 1 }, "no end": func(m map[string]any) { delete(m, "exp") },
		"end is text": func(m map[string]any) { m["exp"] = "1" }, "not yet": func(m map[string]any) { m["nbf"] = now + 60 },
		"of the future": func(m map[string]any) { m["iat"] = now + 60 }, "another issuer": func(m map[string]any) { m["iss"] = "https://x" },
		"no issuer": func(m map[string]any) { delete(m, "iss") }, "scope missing": func(m map[string]any) { m["scope"] = "read" },
		"scope is a list": func(m map[string]any) { m["scope"] = []string{"read", "write"} }, "audience": func(m map[string]any) { m["aud"] = []string{"x"} },
		"audience is text": func(m map[string]any) { m["aud"] = "shop" }, "client": func(m map[string]any) { m["client"] = "c2" }, "no client": func(m map[string]any) { delete(m, "client") },
	} {
		c := base()
		change(c)
		if got := send("Bearer " + x.provider.Sign(c)); got != 401 {
			t.Errorf("%s: %d", name, got)
		}
	}
	parts := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	for name, h := range map[string][]string{
		"none": nil, "basic": {"Basic " + good}, "two": {"Bearer " + good, "Bearer " + good}, "no token": {"Bearer"}, "garbage": {"Bearer a.b.c"},
		"cut": {"Bearer " + parts[0] + "." + parts[1]}, "unsigned": {"Bearer " + none + "." + parts[1] + "."},
		"signature of another": {"Bearer " + stranger.Sign(base())}, "altered": {"Bearer " + parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+x.idp+`"}`)) + "." + parts[2]},
	} {
		if got := send(h...); got != 401 {
			t.Errorf("%s: %d", name, got)
		}
	}
	if n := x.provider.Asked("/jwks"); n != 1 {
		t.Errorf("keys were asked for %d times", n)
	}
	// Keys that cannot be had let nobody pass, those of before still do.
	x.provider.Change(func(p *authtest.Provider) {
		p.Broken = map[string]http.HandlerFunc{"/jwks": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }}
	})
	x.clock.advance(11 * time.Minute)
	late := base()
	late["exp"] = x.clock.Now().Unix() + 60
	if got := send("Bearer " + x.provider.Sign(late)); got != 200 {
		t.Errorf("with the keys of before: %d", got)
	}
	r.Actions[0].JWT.JWKSEndpoint = x.idp + "/jwks?2"
	x.apply(x.lb)
	if got := send("Bearer " + x.provider.Sign(late)); got != 500 {
		t.Errorf("without keys: %d", got)
	}
	x.provider.Change(func(p *authtest.Provider) {
		p.Broken = map[string]http.HandlerFunc{"/jwks": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 151<<10)) }}
	})
	x.clock.advance(11 * time.Second)
	if got := send("Bearer " + x.provider.Sign(late)); got != 500 {
		t.Errorf("with too many keys: %d", got)
	}
}
