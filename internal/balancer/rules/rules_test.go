package rules

import (
	"net/netip"
	"path"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"roadstead.dev/internal/balancer/h1"
	"roadstead.dev/internal/model"
)

func request(t *testing.T, head string) *h1.Request {
	t.Helper()
	r := new(h1.Request)
	if err := r.Parse([]byte(head)); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestConditions(t *testing.T) {
	cond := func(field string, values ...string) model.RuleCondition {
		return model.RuleCondition{Field: field, Values: values}
	}
	regex := func(field string, values ...string) model.RuleCondition {
		return model.RuleCondition{Field: field, RegexValues: values}
	}
	query := func(pairs ...model.QueryStringPair) model.RuleCondition {
		return model.RuleCondition{Field: model.ConditionQueryString, QueryStrings: pairs}
	}
	header := func(name string, values ...string) model.RuleCondition {
		return model.RuleCondition{Field: model.ConditionHTTPHeader, HeaderName: name, Values: values}
	}
	get := func(target string) string {
		return "GET " + target + " HTTP/1.1\r\nHost: Shop.Example.com:8080\r\nX-Env: Beta\r\nX-Env: blue\r\n\r\n"
	}
	for _, c := range []struct {
		name string
		cond model.RuleCondition
		head string
		want bool
	}{
		{"path", cond("path-pattern", "/img/*"), get("/img/a.png"), true},
		{"path is case-sensitive", cond("path-pattern", "/img/*"), get("/IMG/a.png"), false},
		{"path without query", cond("path-pattern", "/a"), get("/a?b=c"), true},
		{"path does not match the query", cond("path-pattern", "*c"), get("/a?b=c"), false},
		{"path is anchored", cond("path-pattern", "/a"), get("/a/b"), false},
		{"any of", cond("path-pattern", "/x", "/a/?"), get("/a/b"), true},
		{"star spans slashes", cond("path-pattern", "/a/*/z"), get("/a/b/c/z"), true},
		{"host ignores case and port", cond("host-header", "*.EXAMPLE.com"), get("/"), true},
		{"host is anchored", cond("host-header", "example.com"), get("/"), false},
		{"method", cond("http-request-method", "POST", "GET"), get("/"), true},
		{"other method", cond("http-request-method", "get"), get("/"), false},
		{"header ignores case", header("x-env", "b?ta"), get("/"), true},
		{"second header line", header("X-Env", "blue"), get("/"), true},
		{"header is missing", header("X-No", "*"), get("/"), false},
		{"query pair", query(model.QueryStringPair{Key: "v", Value: "1*"}), get("/?a=b&V=12"), true},
		{"query any key", query(model.QueryStringPair{Value: "12"}), get("/?a=12"), true},
		{"query other", query(model.QueryStringPair{Key: "v", Value: "1"}), get("/?v=2&w=1"), false},
		{"query escaped", query(model.QueryStringPair{Key: "v", Value: "a b"}), get("/?v=a%20b"), true},
		{"query literal star", query(model.QueryStringPair{Key: "v", Value: `\*`}), get("/?v=x"), false},
		{"query literal star itself", query(model.QueryStringPair{Key: "v", Value: `\*`}), get("/?v=*"), true},
		{"regex path", regex("path-pattern", `^/a/[0-9]+$`), get("/a/12?b"), true},
		{"regex path is case-sensitive", regex("path-pattern", `^/a`), get("/A"), false},
		{"regex finds a part", regex("path-pattern", `b+`), get("/abba"), true},
		{"regex host ignores case", regex("host-header", `^shop\.example\.com`), get("/"), true},
		{"regex host with port", regex("host-header", `^shop\.example\.com:8080$`), get("/"), true},
		{"regex host sees the port", regex("host-header", `com$`), get("/"), false},
		{"regex header", model.RuleCondition{Field: model.ConditionHTTPHeader, HeaderName: "x-env", RegexValues: []string{`^bl(ue|ack)$`}}, get("/"), true},
		{"regex any of", regex("path-pattern", `^/x`, `^/a`), get("/a"), true},
		{"source", cond("source-ip", "10.0.0.0/8", "192.0.2.0/24"), get("/"), true},
		{"other source", cond("source-ip", "198.51.100.0/24"), get("/"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			table, err := Compile([]Rule{{Priority: 1, Conditions: []model.RuleCondition{c.cond}}})
			if err != nil {
				t.Fatal(err)
			}
			if got := table.Match(request(t, c.head), netip.MustParseAddr("192.0.2.7")) == 0; got != c.want {
				t.Errorf("match is %v", got)
			}
		})
	}
}

func TestOrder(t *testing.T) {
	p := func(s string) []model.RuleCondition {
		return []model.RuleCondition{{Field: model.ConditionPathPattern, Values: []string{s}}}
	}
	rs := []Rule{
		{Default: true},
		{Priority: 20, Conditions: p("/a*")},
		{Priority: 10, Conditions: p("/ab*")},
		{Priority: 5, Conditions: append(p("/a*"), model.RuleCondition{Field: model.ConditionRequestMethod, Values: []string{"POST"}})},
	}
	table, err := Compile(rs)
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]int32{"/abc": 10, "/ac": 20, "/x": 0} {
		i := table.Match(request(t, "GET "+target+" HTTP/1.1\r\nHost: a\r\n\r\n"), netip.Addr{})
		if i < 0 || rs[i].Priority != want {
			t.Errorf("%s matches rule %d, want %d", target, i, want)
		}
	}
	if i := table.Match(request(t, "POST /abc HTTP/1.1\r\nHost: a\r\n\r\n"), netip.Addr{}); rs[i].Priority != 5 {
		t.Errorf("all conditions of rule 5 hold, and %d matched", rs[i].Priority)
	}
	for _, c := range []model.RuleCondition{
		{Field: "path-pattern", RegexValues: []string{"("}}, {Field: "source-ip", RegexValues: []string{"1"}},
	} {
		if _, err := Compile([]Rule{{Conditions: []model.RuleCondition{c}}}); err == nil {
			t.Errorf("%v is accepted", c)
		}
	}
	if _, err := Compile([]Rule{{Conditions: []model.RuleCondition{{Field: "color"}}}}); err == nil {
		t.Error("an unknown field is accepted")
	}
}

// A pattern matches what the regular expression that it stands for matches.
func TestPatternIsRegexp(t *testing.T) {
	letters := rapid.StringOfN(rapid.RuneFrom([]rune("abAB*?/")), 0, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		p, s := letters.Draw(t, "pattern"), rapid.StringOfN(rapid.RuneFrom([]rune("abAB/")), 0, 16, -1).Draw(t, "text")
		fold := rapid.Bool().Draw(t, "fold")
		re := regexp.QuoteMeta(p)
		re = strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(re)
		if fold {
			re = "(?i)" + re
		}
		want := regexp.MustCompile("^" + strings.TrimPrefix(re, "(?i)") + "$")
		if fold {
			want = regexp.MustCompile("(?i)^" + strings.TrimPrefix(re, "(?i)") + "$")
		}
		c := compilePattern(p, fold, false)
		if got := c.match([]byte(s)); got != want.MatchString(s) {
			t.Fatalf("%q on %q (fold %v): %v", p, s, fold, got)
		}
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("/a*b?c", "/axxbyc")
	f.Add("*a*a*a*a*b", strings.Repeat("a", 100))
	f.Add(`\*\?\`, "*?")
	f.Fuzz(func(t *testing.T, p, s string) {
		c := compilePattern(p, false, false)
		got := c.match([]byte(s))
		if strings.ContainsAny(p, `[]\^-/`) || strings.ContainsAny(s, "/") {
			return // path.Match reads these differently
		}
		for _, r := range p + s {
			if r >= 0x80 {
				return // it counts runes
			}
		}
		if want, err := path.Match(p, s); err == nil && want != got {
			t.Errorf("%q on %q: %v", p, s, got)
		}
	})
}

func TestHostOnly(t *testing.T) {
	for in, want := range map[string]string{"a": "a", "a:80": "a", "[::1]": "[::1]", "[::1]:80": "[::1]", "": "", "a:b": "a:b", "[::1]:": "[::1]", "1": "1"} {
		if got := string(HostOnly([]byte(in))); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}
