package l7

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// classic serves like a classic load balancer, with targets that tell their
// names.
func classic(t *testing.T, how *ClassicStickiness, h func(name string, w http.ResponseWriter, r *http.Request), names ...string) (*lb, []*Target) {
	t.Helper()
	g := NewGroup("arn:classic")
	var ts []*Target
	for _, n := range names {
		ts = append(ts, NewTarget(backend(t, func(w http.ResponseWriter, r *http.Request) {
			if h != nil {
				h(n, w, r)
			}
			_, _ = io.WriteString(w, n)
		}), tcpDial))
	}
	g.Set(GroupSettings{Classic: how}, ts)
	return serve(t, Settings{Classic: true, PreserveHost: true}, g, Action{Forward: &Forward{Groups: []WeightedGroup{{g, 1}}}}), ts
}

// ask sends a request with cookies, and returns who answered and the cookies
// that came.
func ask(t *testing.T, b *lb, cookies ...*http.Cookie) (string, []string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://"+b.addr+"/", nil)
	r.RequestURI = ""
	for _, c := range cookies {
		r.AddCookie(c)
	}
	resp, err := new(http.Transport).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), resp.Header["Set-Cookie"]
}

func cookieOf(t *testing.T, lines []string) *http.Cookie {
	t.Helper()
	for _, l := range lines {
		c, err := http.ParseSetCookie(l)
		if err == nil && c.Name == classicCookie {
			return c
		}
	}
	t.Fatalf("no %s in %q", classicCookie, lines)
	return nil
}

func TestClassicDurationCookie(t *testing.T) {
	b, ts := classic(t, &ClassicStickiness{Lasts: time.Minute}, nil, "a", "b")
	name, set := ask(t, b)
	if len(set) != 2 || !strings.HasSuffix(set[0], ";PATH=/;MAX-AGE=60") || !strings.HasPrefix(set[1], "AWSELBCORS=") ||
		!strings.HasSuffix(set[1], ";PATH=/;MAX-AGE=60;SECURE;SAMESITE=None") {
		t.Fatalf("cookies %q", set)
	}
	mine := cookieOf(t, set)
	for range 4 {
		if again, set := ask(t, b, mine); again != name || len(set) != 0 {
			t.Errorf("%s answered with cookies %q, want %s without", again, set, name)
		}
	}
	// The target takes no more requests: the client is bound to another.
	other := ts[0]
	if name == "a" {
		other = ts[1]
	}
	b.group.Set(GroupSettings{Classic: &ClassicStickiness{Lasts: time.Minute}}, []*Target{other})
	if again, set := ask(t, b, mine); again == name || len(set) != 2 {
		t.Errorf("%s answered with cookies %q", again, set)
	}
	// What was not sealed here binds nobody.
	b.group.Set(GroupSettings{Classic: &ClassicStickiness{}}, ts)
	_, set = ask(t, b, &http.Cookie{Name: classicCookie, Value: "forged"})
	if len(set) != 2 || !strings.HasSuffix(set[0], ";PATH=/") {
		t.Errorf("a session's cookies %q", set)
	}
}

func TestClassicApplicationCookie(t *testing.T) {
	b, ts := classic(t, &ClassicStickiness{AppCookie: "app"}, func(_ string, w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("app"); err != nil {
			w.Header().Add("Set-Cookie", "app=1; Path=/shop; HttpOnly; Max-Age=9; Priority=High")
		}
	}, "a", "b")
	name, set := ask(t, b)
	if len(set) != 3 || !strings.HasSuffix(set[1], ";Path=/shop;HttpOnly;Max-Age=9") || !strings.HasSuffix(set[2], ";Path=/shop;HttpOnly;Max-Age=9;SECURE;SAMESITE=None") {
		t.Fatalf("cookies %q", set)
	}
	mine, app := cookieOf(t, set), &http.Cookie{Name: "app", Value: "1"}
	for range 4 {
		if again, set := ask(t, b, mine, app); again != name || len(set) != 0 {
			t.Errorf("%s answered with cookies %q, want %s without", again, set, name)
		}
	}
	// Without the application's own cookie the load balancer's binds nobody.
	seen := map[string]bool{}
	for range 4 {
		again, set := ask(t, b, mine)
		seen[again] = true
		if len(set) != 3 {
			t.Errorf("cookies %q", set)
		}
	}
	if len(seen) != 2 {
		t.Errorf("%v answered", seen)
	}
	// A session whose target is gone is bound to its new one.
	other := ts[0]
	if name == "a" {
		other = ts[1]
	}
	b.group.Set(GroupSettings{Classic: &ClassicStickiness{AppCookie: "app"}}, []*Target{other})
	again, set := ask(t, b, mine, app)
	if again == name || len(set) != 2 {
		t.Fatalf("%s answered with cookies %q", again, set)
	}
	moved := cookieOf(t, set)
	b.group.Set(GroupSettings{Classic: &ClassicStickiness{AppCookie: "app"}}, ts)
	for range 4 {
		if got, _ := ask(t, b, moved, app); got != again {
			t.Errorf("%s answered, want %s", got, again)
		}
	}
}

// What becomes of the cookies of applications that not all browsers read alike.
func TestClassicOddApplicationCookies(t *testing.T) {
	for line, want := range map[string]string{
		"app=1; Path=/my_shop": ";Path=/my%5Fshop",
		"app=1; Path=/;":       "",
		"app=1":                "",
	} {
		b, _ := classic(t, &ClassicStickiness{AppCookie: "app"}, func(_ string, w http.ResponseWriter, _ *http.Request) { w.Header().Set("Set-Cookie", line) }, "a")
		_, set := ask(t, b)
		switch {
		case strings.HasSuffix(line, ";"):
			if len(set) != 1 {
				t.Errorf("%q: cookies %q", line, set)
			}
		case len(set) != 3 || want != "" && !strings.HasSuffix(set[1], want) || want == "" && strings.Contains(set[1], ";"):
			t.Errorf("%q: cookies %q", line, set)
		}
	}
}

// A classic load balancer knows no method but by its length.
func TestClassicMethods(t *testing.T) {
	b, _ := classic(t, nil, nil, "a")
	for method, want := range map[string]string{
		"TRACE": "200 OK", "BREW": "200 OK", strings.Repeat("M", 127): "200 OK",
		strings.Repeat("M", 128): "405 METHOD_NOT_ALLOWED", "CONNECT": "400 BAD_REQUEST",
	} {
		if got := exchangeRaw(t, b.addr, method+" / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 "+want+"\r\n") {
			t.Errorf("%s: %q, want %s", method, got, want)
		}
	}
	if got := exchangeRaw(t, b.addr, "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: "+strings.Repeat("10.0.0.1, ", 40)+"10.0.0.1\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("by many proxies: %q", got)
	}
}

// A target that cannot be reached any more loses its clients to another.
func TestClassicDeadTarget(t *testing.T) {
	b, ts := classic(t, &ClassicStickiness{}, nil, "a")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := NewTarget(l.Addr().String(), tcpDial)
	_ = l.Close()
	b.group.Set(GroupSettings{Classic: &ClassicStickiness{}}, []*Target{dead, ts[0]})
	bound := &http.Cookie{Name: classicCookie, Value: b.server.table.Load().Settings.cookies.seal(dead.Addr, time.Now().Add(time.Hour))}
	if name, set := ask(t, b, bound); name != "a" || len(set) != 2 {
		t.Errorf("%s answered with cookies %q", name, set)
	}
}

// exchangeRaw sends text and returns all that comes back.
func exchangeRaw(t *testing.T, addr, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestClassicAnswers(t *testing.T) {
	empty, _ := classic(t, nil, nil)
	if got, want := exchangeRaw(t, empty.addr, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
		"HTTP/1.1 503 Service Unavailable: Back-end server is at capacity\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n"; got != want {
		t.Errorf("without targets: %q", got)
	}
	if got := exchangeRaw(t, empty.addr, "GET\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 BAD_REQUEST\r\n") {
		t.Errorf("a malformed request: %q", got)
	}
}

// What a target gets: the host as it was, where the request came from, no
// trace id and no wish for another protocol.
func TestClassicRequest(t *testing.T) {
	heads := make(chan http.Header, 1)
	hosts := make(chan string, 1)
	b, _ := classic(t, nil, func(_ string, _ http.ResponseWriter, r *http.Request) { heads <- r.Header; hosts <- r.Host }, "a")
	got := exchangeRaw(t, b.addr, "GET / HTTP/1.1\r\nHost: shop.test\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") {
		t.Fatalf("got %q", got)
	}
	h := <-heads
	if host := <-hosts; host != "shop.test" {
		t.Errorf("host %q", host)
	}
	if h.Get("X-Amzn-Trace-Id") != "" || h.Get("Upgrade") != "" {
		t.Errorf("head %v", h)
	}
	if h.Get("X-Forwarded-For") != "192.0.2.1, 127.0.0.1" || h.Get("X-Forwarded-Proto") != "http" || h.Get("X-Forwarded-Port") != "80" {
		t.Errorf("head %v", h)
	}
	got = exchangeRaw(t, b.addr, "GET / HTTP/1.1\r\nHost: a\r\nX-Amzn-Trace-Id: Root=1\r\nConnection: close\r\n\r\n")
	if h := <-heads; h.Get("X-Amzn-Trace-Id") != "Root=1" || !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("head %v, answer %q", h, got)
	}
	<-hosts
}

// Each address of a load balancer may have a group of its own.
func TestForwardByAddress(t *testing.T) {
	b, ts := classic(t, nil, nil, "a", "b")
	one, two := NewGroup("one"), NewGroup("two")
	one.Set(GroupSettings{}, ts[:1])
	two.Set(GroupSettings{}, ts[1:])
	table := *b.server.table.Load()
	table.Actions = []Action{{Forward: &Forward{ByAddress: map[netip.Addr]*Group{netip.MustParseAddr("127.0.0.1"): two, netip.MustParseAddr("127.0.0.2"): one}}}}
	b.server.Swap(&table)
	for range 3 {
		if got, _ := ask(t, b); got != "b" {
			t.Errorf("%q answered", got)
		}
	}
	other := table // the server has the first one
	other.Actions = []Action{{Forward: &Forward{ByAddress: map[netip.Addr]*Group{netip.MustParseAddr("127.0.0.2"): one}}}}
	b.server.Swap(&other)
	c, err := net.Dial("tcp", b.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 503 ") {
		t.Errorf("an address without a group: %q, %v", line, err)
	}
}

// A connection that a request used while others were dropped is not used again.
func TestDropIdle(t *testing.T) {
	target := NewTarget(backend(t, func(http.ResponseWriter, *http.Request) {}), tcpDial)
	used, err := target.get(t.Context(), true, false)
	if err != nil {
		t.Fatal(err)
	}
	target.DropIdle()
	target.put(used)
	if n := target.Connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	anew, err := target.get(t.Context(), true, false)
	if err != nil {
		t.Fatal(err)
	}
	target.put(anew)
	if n := target.Connections(); n != 1 {
		t.Errorf("%d connections are kept", n)
	}
	target.Close()
}
