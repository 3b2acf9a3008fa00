package accesslog_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"roadstead.dev/internal/balancer/accesslog"
	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/balancer/rules"
	"roadstead.dev/internal/model"
)

const lbID = "app/web/50dc6c495c0c9188"

// listener serves rules, and logs to outputs.
func listener(t testing.TB, rs []rules.Rule, actions []l7.Action, outputs ...*accesslog.Output) string {
	t.Helper()
	compiled, err := rules.Compile(rs)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := accesslog.NewLog(lbID, outputs)
	s := l7.NewServer(&l7.Table{
		Rules: compiled, Actions: actions, Settings: l7.Settings{Port: 80, Name: "web.elb.localhost"}, Access: log.Access(), Connects: log.Connections(),
	}, new(l7.Stats), slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		<-done
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.Shutdown(ctx)
	})
	return l.Addr().String()
}

func forward(t testing.TB, target string) l7.Action {
	g := l7.NewGroup("arn:group")
	to := l7.NewTarget(target, func(ctx context.Context, a string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", a)
	})
	g.Set(l7.GroupSettings{}, []*l7.Target{to})
	t.Cleanup(to.Close)
	return l7.Action{Forward: &l7.Forward{Groups: []l7.WeightedGroup{{Group: g, Weight: 1}}}}
}

// fetch waits for n lines.
func fetch(t *testing.T, o *accesslog.Output, n int) []string {
	t.Helper()
	var lines []string
	for until := time.Now().Add(5 * time.Second); len(lines) < n; {
		o.Fetch(func(node netip.Addr, b []byte) {
			if node != netip.MustParseAddr("127.0.0.1") {
				t.Errorf("node %s", node)
			}
			lines = append(lines, strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")...)
		})
		if time.Now().After(until) {
			t.Fatalf("%d entries of %d: %q", len(lines), n, lines)
		}
	}
	return lines
}

func send(t *testing.T, c net.Conn, request string) {
	t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
}

func TestRequestsAreLogged(t *testing.T) {
	traces := make(chan string, 10)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		traces <- r.Header.Get("X-Amzn-Trace-Id")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "made")
	}))
	defer backend.Close()
	target := backend.Listener.Addr().String()
	access, connects := accesslog.NewOutput(accesslog.Access, accesslog.Format{}), accesslog.NewOutput(accesslog.Connection, accesslog.Format{})
	fixed := l7.Action{Priority: 7, Fixed: &model.FixedResponseAction{StatusCode: "418", MessageBody: "no"}}
	addr := listener(t, []rules.Rule{
		{Priority: 7, Conditions: []model.RuleCondition{{Field: model.ConditionPathPattern, Values: []string{"/fixed"}}}}, {Default: true},
	}, []l7.Action{fixed, forward(t, target)}, access, connects)

	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	body := strings.Repeat("x", 20_000) // comes in several pieces, and overwrites the head
	for _, request := range []string{
		"POST /put?a=b HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: te\"st\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body,
		"GET /fixed HTTP/1.1\r\nHost: shop.example.com\r\nX-Amzn-Trace-Id: Root=1-5-6\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
	} {
		send(t, c, request)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	lines := fetch(t, access, 3)
	client := regexp.QuoteMeta(c.LocalAddr().String())
	for i, want := range []string{
		`^http \S+Z app/web/50dc6c495c0c9188 ` + client + ` ` + regexp.QuoteMeta(target) + ` 0\.\d{3} 0\.\d{3} 0\.\d{3} 201 201 20\d\d\d \d+ ` +
			`"POST http://shop\.example\.com:80/put\?a=b HTTP/1\.1" "te\\x22st" - - arn:group "` + regexp.QuoteMeta(<-traces) + `" "-" "-" 0 \S+Z "forward" "-" "-" "` +
			regexp.QuoteMeta(target) + `" "201" "-" "-" (TID_[0-9a-f]{32}) "-" "-" "-"$`,
		`^http \S+Z \S+ ` + client + ` - -1 -1 -1 418 - 76 \d+ "GET http://shop\.example\.com:80/fixed HTTP/1\.1" "-" - - - "Self=\S+;Root=1-5-6" "-" "-" 7 \S+Z "fixed-response" "-" "-" "-" "-" "-" "-" TID_[0-9a-f]{32} "-" "-" "-"$`,
		`^http \S+Z \S+ ` + client + ` - -1 -1 -1 400 - 36 \d+ "- http://web\.elb\.localhost:80- -" "-" - - - "-" "-" "-" - \S+Z "-" "-" "-" "-" "-" "-" "-" TID_`,
	} {
		if !regexp.MustCompile(want).MatchString(lines[i]) {
			t.Errorf("entry %d:\n%s\nis not like\n%s", i, lines[i], want)
		}
	}
	trace := regexp.MustCompile(`TID_[0-9a-f]{32}`)
	conn := fetch(t, connects, 1)[0]
	if !regexp.MustCompile(`^\S+Z 127\.0\.0\.1 \d+ 80 - - - "-" - - - TID_`).MatchString(conn) {
		t.Error(conn)
	}
	for _, l := range lines {
		if trace.FindString(l) != trace.FindString(conn) {
			t.Errorf("connection %s in %s", trace.FindString(conn), l)
		}
	}
}

func TestClientThatGoesAway(t *testing.T) {
	asked, answer := make(chan bool), make(chan bool)
	backend := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- true; <-answer }))
	defer backend.Close()
	defer close(answer)
	access := accesslog.NewOutput(accesslog.Access, accesslog.Format{})
	addr := listener(t, []rules.Rule{{Default: true}}, []l7.Action{forward(t, backend.Listener.Addr().String())}, access)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	send(t, c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
	<-asked
	_ = c.Close()
	if l := fetch(t, access, 1)[0]; !strings.Contains(l, " -1 -1 -1 460 - ") {
		t.Error(l)
	}
}

// TestTunnel holds that an entry for a WebSocket is written at its end, with
// all that went through it.
func TestTunnel(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(c, c)
	}()
	access := accesslog.NewOutput(accesslog.Access, accesslog.Format{Fields: []string{"type", "elb_status_code", "target_status_code", "received_bytes", "sent_bytes"}})
	addr := listener(t, []rules.Rule{{Default: true}}, []l7.Action{forward(t, l.Addr().String())}, access)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	head := "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	send(t, c, head)
	r := bufio.NewReader(c)
	answer := 0
	for line := ""; line != "\r\n"; answer += len(line) {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	send(t, c, "hello")
	if _, err := io.ReadFull(r, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	access.Fetch(func(netip.Addr, []byte) { t.Error("there is an entry while the tunnel is open") })
	_ = c.Close()
	if got, want := fetch(t, access, 1)[0], fmt.Sprintf("ws 101 101 %d %d", len(head)+5, answer+5); got != want {
		t.Errorf("%s, not %s", got, want)
	}
}

func TestFullOutputDrops(t *testing.T) {
	o := accesslog.NewOutput(accesslog.Access, accesslog.Format{})
	log := accesslog.NewLog(lbID, []*accesslog.Output{o})
	r := &l7.Record{Agent: make([]byte, 1<<20)} // four times that, when escaped
	for range 10 {
		log.Access().Request(r)
	}
	if o.Dropped() != 6 {
		t.Errorf("%d dropped", o.Dropped())
	}
	o.Fetch(func(_ netip.Addr, b []byte) {
		if strings.Count(string(b), "\n") != 4 {
			t.Errorf("%d lines", strings.Count(string(b), "\n"))
		}
	})
	log.Access().Request(r)
	if o.Dropped() != 6 {
		t.Error("drops what there is room for")
	}
}

func TestNothingToLog(t *testing.T) {
	if l := accesslog.NewLog(lbID, nil); l.Access() != nil || l.Connections() != nil {
		t.Error("something is told for nothing")
	}
}

func BenchmarkEntry(b *testing.B) {
	o := accesslog.NewOutput(accesslog.Access, accesslog.Format{})
	log := accesslog.NewLog(lbID, []*accesslog.Output{o}).Access()
	r := &l7.Record{
		Created: time.Now(), Ended: time.Now(), Client: netip.MustParseAddrPort("192.168.131.39:2817"), Scheme: "http", Port: 80,
		Method: []byte("GET"), URI: []byte("/index.html?a=b"), Host: []byte("shop.example.com"), Agent: []byte("bench/1.0"), Trace: []byte("Root=1-58337262-36d228ad5d99923122bbe354"),
		Matched: true, Actions: "forward", Status: 200, TargetStatus: 200, Target: "10.0.0.1:80", TargetGroup: "arn:group", Connection: "TID_1234",
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		log.Request(r)
		if i%10_000 == 0 {
			o.Fetch(func(netip.Addr, []byte) {})
		}
	}
}
