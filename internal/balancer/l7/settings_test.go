package l7

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRequestHeaderSettings(t *testing.T) {
	addr := backend(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-For")+"|"+r.Header.Get("X_Odd")+"|"+r.Header.Get("X-Amzn-Trace-Id"))
	})
	const peer = "127.0.0.1"
	for _, c := range []struct {
		name     string
		settings Settings
		headers  string
		xff, odd string
		trace    string // a prefix
	}{
		{"append to nothing", Settings{XFF: XFFAppend}, "", peer, "", "Root=1-"},
		{"append", Settings{XFF: XFFAppend}, "X-Forwarded-For: a\r\nX-Forwarded-For: b\r\n", "a, b, " + peer, "", "Root=1-"},
		{"preserve", Settings{XFF: XFFPreserve}, "X-Forwarded-For: a\r\n", "a", "", "Root=1-"},
		{"preserve nothing", Settings{XFF: XFFPreserve}, "", "", "", "Root=1-"},
		{"remove", Settings{XFF: XFFRemove}, "X-Forwarded-For: a\r\n", "", "", "Root=1-"},
		{"odd names pass", Settings{}, "X_Odd: 1\r\n", peer, "1", "Root=1-"},
		{"odd names are dropped", Settings{DropInvalidFields: true}, "X_Odd: 1\r\n", peer, "", "Root=1-"},
		{"trace goes on", Settings{}, "X-Amzn-Trace-Id: Self=1-x;Root=1-2-3;CalledFrom=app\r\n", peer, "", "Self=1-"},
		{"trace without root", Settings{}, "X-Amzn-Trace-Id: CalledFrom=app\r\n", peer, "", "Root=1-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, c.settings, addr)
			got := talk(t, b.addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"+c.headers+"\r\n")
			_, body, _ := strings.Cut(got, "\r\n\r\n")
			part := strings.SplitN(body, "|", 3)
			if len(part) != 3 || part[0] != c.xff || part[1] != c.odd || !strings.HasPrefix(part[2], c.trace) {
				t.Fatalf("got %q", body)
			}
			if c.name == "trace goes on" && (!strings.HasSuffix(part[2], ";Root=1-2-3;CalledFrom=app") || strings.Contains(part[2], "Self=1-x")) {
				t.Errorf("trace %q", part[2])
			}
		})
	}
	b := start(t, Settings{XFFClientPort: true}, addr)
	got := talk(t, b.addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if !strings.Contains(got, "\r\n\r\n127.0.0.1:") {
		t.Errorf("got %q", got)
	}
}

// The cookie of a group keeps a client there; without it the weights decide.
func TestWeightedGroups(t *testing.T) {
	group := func(name string) *Group {
		g := NewGroup(name)
		g.Set(GroupSettings{}, []*Target{NewTarget(backend(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }), tcpDial)})
		return g
	}
	blue, green, never := group("blue"), group("green"), group("never")
	b := serve(t, Settings{}, blue, Action{Forward: &Forward{
		Groups: []WeightedGroup{{blue, 3}, {never, 0}, {green, 1}}, Sticky: true, StickyFor: time.Hour,
	}})
	get := func(cookie string) (string, []*http.Cookie) {
		req, _ := http.NewRequest(http.MethodGet, "http://"+b.addr, nil)
		if cookie != "" {
			req.Header.Set("Cookie", cookie)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		return string(body), resp.Cookies()
	}
	count := map[string]int{}
	cookies := map[string]string{}
	for range 400 {
		who, set := get("")
		count[who]++
		if len(set) != 2 || set[0].Name != "AWSALBTG" || set[1].Name != "AWSALBTGCORS" {
			t.Fatalf("cookies %v", set)
		}
		cookies[who] = "AWSALBTG=" + set[0].Value
	}
	// 300 are expected; 240 and 360 are seven standard deviations away.
	if count["blue"] < 240 || count["blue"] > 360 || count["never"] != 0 {
		t.Errorf("requests %v", count)
	}
	for _, who := range []string{"blue", "green"} {
		for range 20 {
			if got, set := get(cookies[who]); got != who || len(set) != 0 {
				t.Fatalf("a client of %s got %s, %v", who, got, set)
			}
		}
	}
	if _, set := get("AWSALBTG=forged"); len(set) != 2 {
		t.Error("a forged cookie is taken")
	}
}

func TestLeastOutstanding(t *testing.T) {
	g := NewGroup("g")
	ts := []*Target{NewTarget("a", nil), NewTarget("b", nil), NewTarget("c", nil)}
	g.Set(GroupSettings{Algorithm: LeastOutstanding}, ts)
	ts[0].inflight.Store(2)
	ts[1].inflight.Store(1)
	ts[2].inflight.Store(3)
	st := g.state.Load()
	if got := st.pick(g, nil); got != ts[1] {
		t.Errorf("picked %s", got.Addr)
	}
	if got := st.pick(g, ts[1]); got != ts[0] {
		t.Errorf("picked %s instead of b", got.Addr)
	}
	ts[0].inflight.Store(1)
	seen := map[string]int{}
	for range 30 {
		seen[st.pick(g, nil).Addr]++
	}
	if seen["a"] < 5 || seen["b"] < 5 || seen["c"] != 0 {
		t.Errorf("equals do not take turns: %v", seen)
	}
}

// A listener's own fields come with every response, once.
func TestAddedFields(t *testing.T) {
	addr := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Frame-Options", "ALLOWALL")
		w.Header().Set("X-Other", "stays")
	})
	add := []Field{{"Strict-Transport-Security", "max-age=60"}, {"X-Frame-Options", "DENY"}}
	for name, b := range map[string]*lb{
		"a target's response": start(t, Settings{Add: add}, addr),
		"the listener's own":  start(t, Settings{Add: add}),
	} {
		got := talk(t, b.addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		head, _, _ := strings.Cut(got, "\r\n\r\n")
		if strings.Count(head, "\r\nX-Frame-Options: ") != 1 || !strings.Contains(head, "\r\nX-Frame-Options: DENY\r\n") ||
			!strings.Contains(head, "\r\nStrict-Transport-Security: max-age=60\r\n") {
			t.Errorf("%s: %s", name, head)
		}
		if name == "a target's response" && !strings.Contains(head, "\r\nX-Other: stays\r\n") {
			t.Errorf("a field of the target's is lost: %s", head)
		}
	}
}

// A target that has just become healthy takes a share that grows.
func TestSlowStart(t *testing.T) {
	g := NewGroup("g")
	warm, cold := NewTarget("warm", nil), NewTarget("cold", nil)
	g.Set(GroupSettings{SlowStart: time.Hour}, []*Target{warm, cold})
	turns := func() (n int) {
		for range 3000 {
			if g.state.Load().pick(g, nil) == cold {
				n++
			}
		}
		return n
	}
	if n := turns(); n != 1500 {
		t.Errorf("%d turns of 3000 without slow start", n)
	}
	cold.Warm(time.Now())
	if n := turns(); n > 10 {
		t.Errorf("%d turns of 3000 at the beginning", n)
	}
	// Of two turns the cold one takes half of its own.
	cold.Warm(time.Now().Add(-30 * time.Minute))
	if n := turns(); n < 650 || n > 850 {
		t.Errorf("%d turns of 3000 half way, want about 750", n)
	}
	warm.Warm(time.Now())
	cold.Warm(time.Now())
	if n := turns(); n < 1300 || n > 1700 {
		t.Errorf("%d turns of 3000 when both are cold", n)
	}
	cold.Warm(time.Now().Add(-time.Hour))
	if n := turns(); n < 2900 {
		t.Errorf("%d turns of 3000 at the end, beside a cold one", n)
	}
}
