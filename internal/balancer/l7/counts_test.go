package l7

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/balancer/rules"
	"roadstead.dev/internal/model"
)

// Rules are counted until one applies, those behind the tenth once more, and the
// default one is not.
func TestEvaluatedRules(t *testing.T) {
	b := start(t, Settings{})
	var rs []rules.Rule
	var actions []Action
	for i := range 12 {
		p := int32(10 * (i + 1))
		rs = append(rs, rules.Rule{Priority: p, Conditions: []model.RuleCondition{{Field: model.ConditionPathPattern, Values: []string{fmt.Sprintf("/%d", i+1)}}}})
		actions = append(actions, Action{Priority: p, Fixed: &model.FixedResponseAction{StatusCode: "200"}})
	}
	rs = append(rs, rules.Rule{Default: true})
	actions = append(actions, Action{Fixed: &model.FixedResponseAction{StatusCode: "200"}})
	compiled, err := rules.Compile(rs)
	if err != nil {
		t.Fatal(err)
	}
	b.server.Swap(&Table{Rules: compiled, Actions: actions, Settings: Settings{Port: 80}})
	var all, billed int64
	for _, c := range []struct {
		path          string
		rules, beyond int64
	}{{"/1", 1, 0}, {"/10", 10, 0}, {"/12", 12, 2}, {"/none", 12, 2}} {
		talk(t, b.addr, "GET "+c.path+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		all, billed = all+c.rules, billed+c.beyond
		if got := [2]int64{b.stats.Rules.Load(), b.stats.BilledRules.Load()}; got != [2]int64{all, billed} {
			t.Errorf("%s: %v, want %d and %d", c.path, got, all, billed)
		}
	}
}

func TestIrregularFieldsAreCounted(t *testing.T) {
	addr := backend(t, func(http.ResponseWriter, *http.Request) {})
	for _, c := range []struct {
		drop               bool
		field              string
		dropped, forwarded int64
	}{
		{false, "X-Even: 1", 0, 0},
		{false, "X_Odd: 1", 0, 1},
		{true, "X_Odd: 1\r\nX.Odd: 1", 1, 0},
		{true, "X-Even: a_b", 0, 0},
	} {
		b := start(t, Settings{DropInvalidFields: c.drop}, addr)
		talk(t, b.addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"+c.field+"\r\n\r\n")
		if d, f := b.stats.IrregularDropped.Load(), b.stats.IrregularForwarded.Load(); d != c.dropped || f != c.forwarded {
			t.Errorf("%+v: %d dropped, %d forwarded", c, d, f)
		}
	}
}

// A redirect whose URL is too long is none.
func TestRedirectTooLong(t *testing.T) {
	b := serve(t, Settings{}, NewGroup("g"), Action{Redirect: &model.RedirectAction{Protocol: "#{protocol}", Host: "#{host}", Port: "#{port}", Path: "/#{path}", Query: "#{query}", StatusCode: "HTTP_301"}})
	for _, c := range []struct {
		length int
		want   string
	}{{8000, "HTTP/1.1 301 "}, {8 << 10, "HTTP/1.1 414 "}} {
		if got := talk(t, b.addr, "GET /"+strings.Repeat("a", c.length)+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, c.want) {
			t.Errorf("%d: %.40s", c.length, got)
		}
	}
	if made, not := b.stats.Redirects.Load(), b.stats.RedirectsTooLong.Load(); made != 1 || not != 1 {
		t.Errorf("%d made, %d not", made, not)
	}
}

// What is counted by target group.
func TestGroupCounts(t *testing.T) {
	addr := backend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "a") })
	target := func() []*Target { return []*Target{NewTarget(addr, tcpDial)} }
	const get = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
	b := start(t, Settings{}, addr)
	b.group.Set(GroupSettings{Sticky: true, StickyFor: time.Hour}, target())
	first := talk(t, b.addr, get+"\r\n")
	_, cookie, _ := strings.Cut(first, "Set-Cookie: ")
	cookie, _, _ = strings.Cut(cookie, ";")
	talk(t, b.addr, get+"Cookie: "+cookie+"\r\n\r\n")
	talk(t, b.addr, get+"Cookie: AWSALB=forged\r\n\r\n")
	if n := b.group.Stats.NonSticky.Load(); n != 2 {
		t.Errorf("%d requests that no cookie bound", n)
	}
	b.group.Set(GroupSettings{Sticky: true, StickyFor: time.Hour, AppCookie: "session"}, target())
	talk(t, b.addr, get+"\r\n")
	if n := b.group.Stats.AppNonSticky.Load(); n != 1 {
		t.Errorf("%d requests that no cookie of the application's bound", n)
	}
	b.group.SetPools(GroupSettings{}, Pool{Targets: target(), FailOpen: true}, nil)
	talk(t, b.addr, get+"\r\n")
	if n := b.group.Stats.FailOpen.Load(); n != 1 {
		t.Errorf("%d requests to whichever target", n)
	}
	b.group.Set(GroupSettings{}, []*Target{NewTarget(addr, func(context.Context, string) (net.Conn, error) {
		return nil, fmt.Errorf("%w: %w", ErrHandshake, errors.New("no common version"))
	})})
	if got := talk(t, b.addr, get+"\r\n"); !strings.HasPrefix(got, "HTTP/1.1 502 ") {
		t.Errorf("%.40s", got)
	}
	if tls, other := b.group.Stats.TLSErrors.Load(), b.group.Stats.ConnectionErrors.Load(); tls != 1 || other != 0 {
		t.Errorf("%d handshakes and %d connections failed", tls, other)
	}
}

// A connection that speaks HTTP/2 takes so many requests, and the client goes on
// with another one.
func TestMaxRequests(t *testing.T) {
	b := startTLS(t, secure(t, modern, certificate(t, 1, nil, "a.test")), backend(t, func(http.ResponseWriter, *http.Request) {}))
	b.server.maxRequests = 5
	c := client(t, true)
	for i := range 12 {
		resp, err := c.Get("https://" + b.addr + "/")
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("request %d: %s", i, resp.Status)
		}
	}
	if n := b.stats.Connections.Load(); n != 3 {
		t.Errorf("%d connections for 12 requests", n)
	}
}
