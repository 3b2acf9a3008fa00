package l7

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/match"
)

// noting dials and tells of each connection.
func noting(opened chan<- struct{}) Dial {
	return func(ctx context.Context, address string) (net.Conn, error) {
		opened <- struct{}{}
		return tcpDial(ctx, address)
	}
}

type guardFunc func(context.Context, *Visit) Verdict

func (f guardFunc) Check(ctx context.Context, v *Visit) Verdict { return f(ctx, v) }

func TestGuards(t *testing.T) {
	target := backend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%q %q %q", r.Header["X-Amzn-Oidc-Identity"], r.Header["X_amzn_oidc_data"], r.Header["X-Second"])
	})
	g := NewGroup("g")
	g.Set(GroupSettings{}, []*Target{NewTarget(target, tcpDial)})
	knows := guardFunc(func(_ context.Context, v *Visit) Verdict {
		switch who, _ := v.Cookie("who"); who {
		case "":
			return Verdict{Status: 302, Location: "https://idp.test/?" + v.Host + v.Target, Cookies: []string{"n=1"}, Action: "authenticate"}
		case "nobody":
			return Verdict{Status: 401, Outcome: AuthFailure}
		default:
			return Verdict{Fields: []Field{{"X-Amzn-Oidc-Identity", who}}, Cookies: []string{"seen=" + who}}
		}
	})
	second := guardFunc(func(_ context.Context, v *Visit) Verdict {
		if a, ok := v.Field("authorization"); !ok || a != "Bearer x" {
			return Verdict{Status: 403}
		}
		return Verdict{Fields: []Field{{"X-Second", "yes"}}}
	})
	callback := guardFunc(func(_ context.Context, v *Visit) Verdict {
		return Verdict{Status: 302, Location: "https://" + v.Host + "/back"}
	})
	b := serve(t, Settings{}, g, Action{Guards: []Guard{knows, second}, Forward: &Forward{Groups: []WeightedGroup{{g, 1}}}})
	table := *b.server.table.Load()
	table.Callback = callback
	b.server.Swap(&table)
	const told = "X-Amzn-Oidc-Identity: root\r\nX_Amzn_Oidc_Data: forged\r\nConnection: close, X-Amzn-Oidc-Identity, X-Second\r\n"
	for _, c := range []struct{ raw, status, want string }{
		{"GET /a?b HTTP/1.1\r\nHost: a.test:8443\r\n" + told + "\r\n", "302 Found", "\r\nLocation: https://idp.test/?a.test:8443/a?b\r\nSet-Cookie: n=1\r\n"},
		{"GET / HTTP/1.1\r\nHost: a\r\nCookie: x=y; who=nobody\r\n" + told + "\r\n", "401 Unauthorized", "401"},
		{"GET / HTTP/1.1\r\nHost: a\r\nCookie: who=me\r\n" + told + "\r\n", "403 Forbidden", "Set-Cookie: seen=me\r\n"},
		{"GET / HTTP/1.1\r\nHost: a\r\nCookie: who=me\r\nAuthorization: Bearer x\r\nAuthorization: Bearer x\r\n" + told + "\r\n", "403 Forbidden", ""},
		{"GET / HTTP/1.1\r\nHost: a\r\nCookie: who=me\r\nauthorization: Bearer x\r\n" + told + "\r\n", "200 OK", `["me"] [] ["yes"]`},
		{"GET / HTTP/1.1\r\nHost: a\r\nCookie: who=me\r\nauthorization: Bearer x\r\n" + told + "\r\n", "200 OK", "Set-Cookie: seen=me\r\n"},
		{"GET /oauth2/idpresponse?code=1 HTTP/1.1\r\nHost: a\r\n" + told + "\r\n", "302 Found", "Location: https://a/back\r\n"},
	} {
		got := talk(t, b.addr, c.raw)
		if !strings.HasPrefix(got, "HTTP/1.1 "+c.status+"\r\n") || !strings.Contains(got, c.want) {
			t.Errorf("%q: got %q, want %s %q", c.raw, got, c.status, c.want)
		}
	}
	// Nobody says it to targets that are asked without a guard either.
	open := *b.server.table.Load()
	open.Actions = []Action{{Forward: &Forward{Groups: []WeightedGroup{{g, 1}}}}}
	b.server.Swap(&open)
	if got := talk(t, b.addr, "GET / HTTP/1.1\r\nHost: a\r\n"+strings.Replace(told, ", X-Amzn-Oidc-Identity", "", 1)+"\r\n"); !strings.HasSuffix(got, "[] [] []") {
		t.Errorf("got %q", got)
	}
	again := table
	again.Actions = []Action{{Guards: table.Actions[0].Guards, Forward: &Forward{Groups: []WeightedGroup{{g, 1}}}}}
	b.server.Swap(&again)
	// What one client was told no other one is.
	got := talk(t, b.addr, "GET / HTTP/1.1\r\nHost: a\r\nCookie: who=me\r\nAuthorization: Bearer x\r\n\r\nGET / HTTP/1.1\r\n\r\n")
	if _, bad, _ := strings.Cut(got, "400 Bad Request"); strings.Contains(bad, "Set-Cookie") || bad == "" {
		t.Errorf("got %q", got)
	}
	if n := b.stats.Auth[AuthFailure].Load(); n != 1 {
		t.Errorf("%d failures are counted", n)
	}
}

// A mistake in serving one request costs its connection, and no other.
func TestMistakesAreContained(t *testing.T) {
	g := NewGroup("g")
	b := serve(t, Settings{}, g, Action{Guards: []Guard{guardFunc(func(_ context.Context, v *Visit) Verdict {
		if v.Target == "/panic" {
			panic("a mistake")
		}
		return Verdict{}
	})}, Fixed: &model.FixedResponseAction{StatusCode: "200"}})
	other := dialOne(t, b.addr)
	for range 3 {
		o := dialOne(t, b.addr)
		if status, _, _, err := o.do("GET", "GET /panic HTTP/1.1\r\nHost: a\r\n\r\n"); err == nil {
			t.Errorf("status %d", status)
		}
		if status, _, _, err := other.do("GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil || status != 200 {
			t.Errorf("another connection: %d, %v", status, err)
		}
	}
}

// A guard that asks others gives up when the connection is cut.
func TestGuardIsAbandoned(t *testing.T) {
	asked, gaveUp := make(chan struct{}), make(chan struct{})
	g := NewGroup("g")
	b := serve(t, Settings{}, g, Action{Guards: []Guard{guardFunc(func(ctx context.Context, _ *Visit) Verdict {
		close(asked)
		<-ctx.Done()
		close(gaveUp)
		return Verdict{Status: 500}
	})}, Fixed: &model.FixedResponseAction{StatusCode: "200"}})
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	<-asked
	over, cancel := context.WithCancel(t.Context())
	cancel()
	b.server.Shutdown(over)
	<-gaveUp
}

func TestTransforms(t *testing.T) {
	target := backend(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host+" "+r.RequestURI) })
	transform := func(kind, regex, replace string) *match.Rewrite {
		w, err := match.NewRewrite(model.RuleTransform{Type: kind, Regex: regex, Replace: replace})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	for _, c := range []struct {
		name      string
		host, url *match.Rewrite
		want      string
	}{
		{"both", transform(model.TransformHost, `^shop\.(.+)$`, "internal.$1"), transform(model.TransformURL, `^/old/([^?]*)`, "/new/$1"), "internal.test /new/a?b=c"},
		{"query", nil, transform(model.TransformURL, `^/old/(.)\?b=(.)$`, "/p?x=$1&y=$2"), "shop.test:8080 /p?x=a&y=c"},
		{"no match", transform(model.TransformHost, `^other`, "x"), transform(model.TransformURL, `^/other`, "/x"), "shop.test:8080 /old/a?b=c"},
		{"no host", transform(model.TransformHost, `.*`, ""), nil, "500"},
		{"no such host", transform(model.TransformHost, `test`, "a b"), nil, "500"},
		{"no path", nil, transform(model.TransformURL, `^/`, ""), "500"},
		{"line break", nil, transform(model.TransformURL, `a`, "\r\nX: y"), "500"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := NewGroup("g")
			g.Set(GroupSettings{}, []*Target{NewTarget(target, tcpDial)})
			b := serve(t, Settings{Port: 8080}, g, Action{Rewrites: &Rewrites{c.host, c.url}, Forward: &Forward{Groups: []WeightedGroup{{g, 1}}}})
			got := talk(t, b.addr, "GET /old/a?b=c HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
			if !strings.HasSuffix(got, "\r\n\r\n"+c.want) && !strings.HasPrefix(got, "HTTP/1.1 "+c.want+" Internal") {
				t.Errorf("got %q", got)
			}
		})
	}
}

// Targets are told how clients' TLS is spoken, by the load balancer alone.
func TestTLSHeaders(t *testing.T) {
	target := backend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%q %q", r.Header["X-Version"], r.Header["X-Amzn-Tls-Cipher-Suite"])
	})
	b := start(t, Settings{Port: 443, Scheme: "https", TLSVersionField: "X-Version", TLSCipherField: "X-Amzn-Tls-Cipher-Suite"}, target)
	for name, want := range map[string]string{
		modern: `["TLSv1.3"] ["TLS_AES_128_GCM_SHA256"]`, "ELBSecurityPolicy-TLS-1-2-2017-01": `["TLSv1.2"] ["ECDHE-ECDSA-AES128-GCM-SHA256"]`,
	} {
		b.swapTLS(secure(t, name, certificate(t, 1, nil, "a.test")))
		for _, h2 := range []bool{false, true} {
			req, _ := http.NewRequest(http.MethodGet, "https://"+b.addr, nil)
			req.Header.Set("X-Version", "forged")
			resp, err := client(t, h2).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if string(got) != want {
				t.Errorf("%s, h2 %v: got %s, want %s", name, h2, got, want)
			}
		}
	}
}

// Every action is there on both kinds of listeners.
func TestRedirectOnHTTPS(t *testing.T) {
	a := &model.RedirectAction{Protocol: "#{protocol}", Port: "#{port}", Host: "www.#{host}", Path: "/#{path}", Query: "from=#{protocol}&#{query}", StatusCode: "HTTP_302"}
	b := serve(t, Settings{Port: 8443, Scheme: "https"}, NewGroup("none"), Action{Redirect: a})
	b.swapTLS(secure(t, modern, certificate(t, 1, nil, "a.test")))
	for _, h2 := range []bool{false, true} {
		c := client(t, h2)
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		req, _ := http.NewRequest(http.MethodGet, "https://"+b.addr+"/x/y?z", nil)
		req.Host = "a.test:8443"
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got, want := resp.Header.Get("Location"), "https://www.a.test:8443/x/y?from=https&z"; got != want || resp.StatusCode != http.StatusFound {
			t.Errorf("h2 %v: %d %s, want %s", h2, resp.StatusCode, got, want)
		}
	}
}
