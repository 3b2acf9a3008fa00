package match

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"roadstead.dev/internal/model"
)

func TestCompile(t *testing.T) {
	for _, c := range []struct {
		expr, in string
		fold     bool
		want     bool
	}{
		{`^/api/v[0-9]+$`, "/api/v12", false, true},
		{`^/api/`, "/API/", false, false},
		{`^(.+)\.example\.com$`, "Shop.EXAMPLE.com", true, true},
		{`a|b`, "B", true, true},
		{`\\p`, `\p`, false, true},
	} {
		re, err := Compile(c.expr, c.fold)
		if err != nil {
			t.Fatalf("%s: %v", c.expr, err)
		}
		if got := re.MatchString(c.in); got != c.want {
			t.Errorf("%s on %q: %v", c.expr, c.in, got)
		}
	}
	for _, expr := range []string{`(?=a)`, `(?<!a)b`, `(a)\1`, `(?>a)`, `a++`, `(?R)`, `\p{L}`, `[\PL]`, `a)(b`, `(`} {
		if _, err := Compile(expr, true); err == nil {
			t.Errorf("%s is accepted", expr)
		}
	}
}

func TestRewrite(t *testing.T) {
	for _, c := range []struct{ kind, regex, replace, in, want string }{
		{model.TransformURL, `^/dp/([A-Za-z0-9]+)/?$`, "/product.php?id=$1", "/dp/B09G3HRMW/", "/product.php?id=B09G3HRMW"},
		{model.TransformURL, `^/api/(.+)$`, "/$1", "/api/a/b?c=d", "/a/b?c=d"},
		{model.TransformURL, `a`, "b", "/aa", "/ba"},
		{model.TransformURL, `^/(x)?y`, "/[$1]", "/y", "/[]"},
		{model.TransformURL, `^/(.)`, "/$10$", "/a", "/a0$"},
		{model.TransformURL, `^/old`, "/new", "/other", ""},
		{model.TransformHost, `^mywebsite-(.+).com$`, "internal.dev.$1.myapi.com", "MyWebsite-One.com", "internal.dev.One.myapi.com"},
	} {
		w, err := NewRewrite(model.RuleTransform{Type: c.kind, Regex: c.regex, Replace: c.replace})
		if err != nil {
			t.Fatalf("%s: %v", c.regex, err)
		}
		if got, _ := w.Apply([]byte(c.in)); string(got) != c.want {
			t.Errorf("%s on %s: %q, want %q", c.regex, c.in, got, c.want)
		}
	}
	if _, err := NewRewrite(model.RuleTransform{Type: model.TransformURL, Regex: "(a)", Replace: "$2"}); !errors.Is(err, ErrGroup) {
		t.Errorf("a group that is not there: %v", err)
	}
}

// What is said to be sure of an expression holds for all that it matches.
func TestSureHolds(t *testing.T) {
	for expr, want := range map[string]string{`^/api/.*`: "/api/", `/api/`: "", `^(/a|/b)`: "", `(?i)^/api`: "", `^/a?`: "/"} {
		if got := Sure(expr, false); got != want {
			t.Errorf("%s begins with %q, want %q", expr, got, want)
		}
	}
	for expr, want := range map[string]string{`^.*\.Example\.com$`: ".example.com", `com`: "", `:80$`: "", `80$`: ""} {
		if got := Sure(expr, true); got != want {
			t.Errorf("%s ends with %q, want %q", expr, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "B", ".", "/", "(a)", "b?", "a*", "a|", "1", ":1"}), 0, 5).Draw(t, "parts")
		expr := rapid.SampledFrom([]string{"", "^"}).Draw(t, "begin") + strings.Join(parts, "") + rapid.SampledFrom([]string{"", "$"}).Draw(t, "end")
		re := regexp.MustCompile("(?i:" + expr + ")")
		s := rapid.StringOfN(rapid.RuneFrom([]rune("aAbB/1")), 0, 6, -1).Draw(t, "text")
		if regexp.MustCompile(expr).MatchString(s) && !strings.HasPrefix(s, Sure(expr, false)) {
			t.Fatalf("%s matches %q, which does not begin with %q", expr, s, Sure(expr, false))
		}
		host, port := s, rapid.SampledFrom([]string{"", ":1", ":"}).Draw(t, "port")
		if re.MatchString(host+port) && !strings.HasSuffix(strings.ToLower(host), Sure(expr, true)) {
			t.Fatalf("%s matches %q, which does not end with %q", expr, host+port, Sure(expr, true))
		}
	})
}

func FuzzRewrite(f *testing.F) {
	f.Add(`^/(a+)(b)?`, "/$2$1$", "/aab")
	f.Add(`(?P<x>.)`, "$1$10", "/")
	f.Fuzz(func(t *testing.T, regex, replace, in string) {
		w, err := NewRewrite(model.RuleTransform{Type: model.TransformURL, Regex: regex, Replace: replace})
		if err != nil {
			return
		}
		if out, matched := w.Apply([]byte(in)); !matched && out != nil {
			t.Errorf("rewritten to %q without a match", out)
		}
	})
}
