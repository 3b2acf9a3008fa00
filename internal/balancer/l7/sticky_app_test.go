package l7

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// browser keeps cookies as it is told to.
type browser struct {
	t       *testing.T
	b       *lb
	cookies map[string]string
	header  http.Header
}

// get tells who answered, and the cookies that were set.
func (c *browser) get(path string) (string, map[string]*http.Cookie) {
	c.t.Helper()
	req, _ := http.NewRequest(http.MethodGet, "http://"+c.b.addr+path, nil)
	maps.Copy(req.Header, c.header)
	for k, v := range c.cookies {
		req.AddCookie(&http.Cookie{Name: k, Value: v})
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	set := map[string]*http.Cookie{}
	for _, k := range resp.Cookies() {
		set[k.Name] = k
		c.cookies[k.Name] = k.Value
	}
	return string(body), set
}

// Applications that set their cookie at /login.
func startApplications(t *testing.T, id string, n int) *lb {
	t.Helper()
	var addrs []string
	for i := range n {
		addrs = append(addrs, backend(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/login" {
				http.SetCookie(w, &http.Cookie{Name: "session", Value: "s", Path: "/x", MaxAge: 5})
			}
			_, _ = fmt.Fprint(w, i)
		}))
	}
	var ts []*Target
	for _, a := range addrs {
		ts = append(ts, NewTarget(a, tcpDial))
	}
	g := NewGroup(id)
	g.Set(GroupSettings{Sticky: true, StickyFor: time.Hour, AppCookie: "session"}, ts)
	return serve(t, Settings{}, g, Action{Forward: &Forward{Groups: []WeightedGroup{{g, 1}}}})
}

func TestApplicationStickiness(t *testing.T) {
	b := startApplications(t, "arn:one", 3)
	c := &browser{t: t, b: b, cookies: map[string]string{}}
	who := map[string]bool{}
	for range 6 {
		w, set := c.get("/")
		who[w] = true
		if len(set) != 0 {
			t.Fatalf("cookies %v before the application set its own", set)
		}
	}
	if len(who) != 3 {
		t.Errorf("only %v were asked", who)
	}
	first, set := c.get("/login")
	k := set["AWSALBAPP-0"]
	if len(set) != 2 || k == nil || k.Path != "/" || k.MaxAge != 0 || k.SameSite != 0 || k.Secure {
		t.Fatalf("cookies %v", set)
	}
	if d := time.Until(k.Expires); d > 7*24*time.Hour || d < 7*24*time.Hour-time.Minute {
		t.Errorf("the cookie expires in %v", d)
	}
	for range 6 {
		w, set := c.get("/")
		if w != first || set["AWSALBAPP-0"] == nil {
			t.Fatalf("%s answered, not %s; cookies %v", w, first, set)
		}
	}
	// Both cookies are needed.
	for _, missing := range []string{"session", "AWSALBAPP-0"} {
		kept := c.cookies[missing]
		delete(c.cookies, missing)
		who := map[string]bool{}
		for range 6 {
			w, set := c.get("/")
			who[w] = true
			if len(set) != 0 {
				t.Fatalf("without %s: cookies %v", missing, set)
			}
		}
		if len(who) != 3 {
			t.Errorf("without %s only %v were asked", missing, who)
		}
		c.cookies[missing] = kept
	}
	// A target that fails loses its clients for good.
	all := b.group.state.Load().targets
	rest := make([]*Target, 0, 2)
	for i, x := range all {
		if fmt.Sprint(i) != first {
			rest = append(rest, x)
		}
	}
	settings := b.group.state.Load().settings
	b.group.Set(settings, rest)
	second, _ := c.get("/")
	b.group.Set(settings, all)
	for range 6 {
		if w, _ := c.get("/"); w != second || w == first {
			t.Fatalf("%s answered, not %s", w, second)
		}
	}
	// The stickiness of a shorter time ends, whatever the cookie's is.
	settings.StickyFor = -time.Minute
	b.group.Set(settings, all)
	c.get("/")
	who = map[string]bool{}
	for range 6 {
		w, _ := c.get("/")
		who[w] = true
	}
	if len(who) != 3 {
		t.Errorf("after its time only %v were asked", who)
	}
}

func TestApplicationStickinessAcrossOrigins(t *testing.T) {
	b := startApplications(t, "arn:one", 1)
	for agent, want := range map[string]bool{
		"Mozilla/5.0 (X11; Linux x86_64) Chrome/79.0.3945.88 Safari/537.36": false,
		"Mozilla/5.0 (X11; Linux x86_64) Chrome/80.0.3987.87 Safari/537.36": true,
		"Mozilla/5.0 Firefox/128.0":                                         false,
	} {
		for _, origin := range []string{"", "https://elsewhere.test"} {
			c := &browser{t: t, b: b, cookies: map[string]string{}, header: http.Header{"User-Agent": {agent}}}
			if origin != "" {
				c.header["Origin"] = []string{origin}
			}
			_, set := c.get("/login")
			k := set["AWSALBAPP-0"]
			if got := k.SameSite == http.SameSiteNoneMode && k.Secure; got != (want && origin != "") {
				t.Errorf("%s from %q: %v", agent, origin, k.Raw)
			}
		}
	}
}

// One cookie holds the bindings to several groups.
func TestApplicationStickinessOfGroups(t *testing.T) {
	one, two := startApplications(t, "arn:one", 3), startApplications(t, "arn:another", 3)
	c := &browser{t: t, b: one, cookies: map[string]string{}}
	first, _ := c.get("/login")
	c.b = two
	second, _ := c.get("/login")
	for range 5 {
		c.b = one
		if w, _ := c.get("/"); w != first {
			t.Errorf("%s answered, not %s", w, first)
		}
		c.b = two
		if w, _ := c.get("/"); w != second {
			t.Errorf("%s answered, not %s", w, second)
		}
	}
}

func FuzzBindings(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendBindings(nil, []binding{{1, 2, "10.0.0.1:80"}, {3, 4, "[::1]:80"}}))
	f.Add([]byte(strings.Repeat("\xff", 40)))
	f.Fuzz(func(t *testing.T, b []byte) {
		all := parseBindings(string(b))
		again := parseBindings(string(appendBindings(nil, all)))
		if d := cmp.Diff(all, again, cmp.AllowUnexported(binding{})); d != "" {
			t.Error(d)
		}
	})
}
