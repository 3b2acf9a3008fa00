package balancer

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roadstead.dev/internal/clock"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
)

// local stands in for a place: ports of load balancers are free ports of the
// loopback address.
type local struct {
	mu    sync.Mutex
	ports map[int32]string
	host  string // where ports are opened, unless at 127.0.0.1
}

func (l *local) Make(context.Context, balance.LoadBalancer) error { return nil }
func (l *local) Remove(context.Context, string) error             { return nil }

func (l *local) Listen(_ context.Context, _ string, port int32) (net.Listener, error) {
	nl, err := net.Listen("tcp", cmp.Or(l.host, "127.0.0.1")+":0")
	if err == nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.ports[port] = nl.Addr().String()
	}
	return nl, err
}

func (l *local) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", address)
}

func (l *local) address(port int32) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ports[port]
}

func (l *local) url(port int32) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return "http://" + l.ports[port] + "/"
}

// hurried fires timers at once, so that intervals between health checks do
// not take their time.
type hurried struct{}

func (hurried) Now() time.Time                       { return time.Now() }
func (hurried) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(min(d, time.Millisecond)) }

// app is a target whose health can be changed.
type app struct {
	balance.Target
	status  atomic.Int64
	fails   atomic.Bool   // all but the checks
	release chan struct{} // requests to /slow wait for it
}

func newApp(t *testing.T, name string) *app {
	t.Helper()
	a := &app{release: make(chan struct{})}
	a.status.Store(200)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/health":
			w.WriteHeader(int(a.status.Load()))
		case "/slow":
			<-a.release
		}
		if a.fails.Load() && r.URL.Path != "/health" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, name)
	}))
	t.Cleanup(s.Close)
	host, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	n, _ := strconv.Atoi(port)
	a.Target = balance.Target{IP: host, Port: int32(n), RegisteredAt: time.Unix(1, 0)}
	return a
}

func (a *app) addr() string { return net.JoinHostPort(a.IP, strconv.Itoa(int(a.Port))) }

type world struct {
	t       *testing.T
	b       *Balancer
	place   *local
	changed chan struct{}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldAt(t, hurried{})
}

func newWorldAt(t *testing.T, c clock.Clock) *world {
	t.Helper()
	return newWorldWith(t, Config{Clock: c})
}

// newWorldWith is a world with what cfg has, on the loopback address.
func newWorldWith(t *testing.T, cfg Config) *world {
	t.Helper()
	w := &world{t: t, place: &local{ports: map[int32]string{}}, changed: make(chan struct{}, 1)}
	cfg.Place = w.place
	cfg.Changed = func(string) {
		select {
		case w.changed <- struct{}{}:
		default:
		}
	}
	w.b = New(cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		w.b.Close(ctx)
	})
	return w
}

// spec forwards port 80 to the targets.
func spec(targets ...balance.Target) balance.LoadBalancer {
	return balance.LoadBalancer{
		ID: "lb",
		Listeners: []balance.Listener{{Port: 80, Protocol: "HTTP", Rules: []model.Rule{{Default: true, Actions: []model.RuleAction{
			{Type: "forward", Forward: &model.ForwardAction{TargetGroups: []model.WeightedTargetGroup{{TargetGroupARN: "g", Weight: 1}}}},
		}}}}},
		Groups: []balance.TargetGroup{{
			ID: "tg", ARN: "g", Targets: targets,
			HealthCheck: model.HealthCheck{
				Enabled: true, Protocol: "HTTP", Path: "/health", Port: "traffic-port", IntervalSeconds: 30, TimeoutSeconds: 5,
				HealthyThreshold: 3, UnhealthyThreshold: 2, HTTPCode: "200-204",
			},
		}},
	}
}

func (w *world) apply(lb balance.LoadBalancer) {
	w.t.Helper()
	if err := w.b.Apply(context.Background(), lb); err != nil {
		w.t.Fatal(err)
	}
}

// wait waits until the balancer reports the health of the app.
func (w *world) wait(a *app, state, reason string) {
	w.t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		h := w.b.Targets("lb")["tg"][a.addr()].Health
		if h.State == state && h.Reason == reason {
			return
		}
		select {
		case <-w.changed:
		case <-timeout:
			w.t.Fatalf("health is %+v, want %s %s", h, state, reason)
		}
	}
}

func (w *world) get(path string) (int, string) {
	w.t.Helper()
	return w.getBy(http.DefaultClient, path)
}

func (w *world) getBy(c *http.Client, path string) (int, string) {
	w.t.Helper()
	resp, err := c.Get(w.place.url(80) + path)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// who counts who answers n requests.
func (w *world) who(n int) map[string]int {
	w.t.Helper()
	got := map[string]int{}
	for range n {
		_, body := w.get("")
		got[body]++
	}
	return got
}

func TestHealthDecidesWhoIsAsked(t *testing.T) {
	w := newWorld(t)
	a, b := newApp(t, "a"), newApp(t, "b")
	w.apply(spec(a.Target, b.Target))
	w.wait(a, "healthy", "")
	w.wait(b, "healthy", "")
	if got := w.who(10); got["a"] != 5 || got["b"] != 5 {
		t.Errorf("both healthy: %v", got)
	}
	b.status.Store(503)
	w.wait(b, "unhealthy", "Target.ResponseCodeMismatch")
	if got := w.who(10); got["a"] != 10 {
		t.Errorf("b is unhealthy: %v", got)
	}
	a.status.Store(500)
	w.wait(a, "unhealthy", "Target.ResponseCodeMismatch")
	if got := w.who(10); got["a"] != 5 || got["b"] != 5 {
		t.Errorf("none healthy, so all are asked: %v", got)
	}
	b.status.Store(204)
	w.wait(b, "healthy", "")
	if got := w.who(10); got["b"] != 10 {
		t.Errorf("b recovered: %v", got)
	}
}

func TestDrainingFinishesRequests(t *testing.T) {
	w := newWorld(t)
	a, b := newApp(t, "a"), newApp(t, "b")
	w.apply(spec(a.Target))
	w.wait(a, "healthy", "")
	type result struct {
		status int
		body   string
	}
	slow := make(chan result, 1)
	go func() {
		s, body := w.get("slow")
		slow <- result{s, body}
	}()
	inFlight := func() int64 { return w.b.Targets("lb")["tg"][a.addr()].InFlight }
	for deadline := time.Now().Add(10 * time.Second); inFlight() != 1; {
		if time.Now().After(deadline) {
			t.Fatal("the request does not reach the target")
		}
	}
	draining := a.Target
	draining.Draining = true
	w.apply(spec(draining, b.Target))
	if got := w.who(5); got["b"] != 5 {
		t.Errorf("a drains: %v", got)
	}
	if n := inFlight(); n != 1 {
		t.Errorf("%d requests in flight at a", n)
	}
	close(a.release)
	if r := <-slow; r.status != 200 || r.body != "a" {
		t.Errorf("the request that was under way got %+v", r)
	}
	w.apply(spec(b.Target))
	if _, known := w.b.Targets("lb")["tg"][a.addr()]; known {
		t.Error("a is still known")
	}
}

func TestRecordedHealthIsTakenUp(t *testing.T) {
	w := newWorldAt(t, slowClock{}) // the first check comes at once, the second never
	a := newApp(t, "a")
	a.status.Store(500)
	a.Health = &model.TargetHealth{State: "healthy", Since: time.Unix(2, 0)}
	w.apply(spec(a.Target))
	// One failed check does not make a healthy target unhealthy.
	if h := w.b.Targets("lb")["tg"][a.addr()].Health; h.State != "healthy" {
		t.Errorf("health %+v", h)
	}
}

type slowClock struct{}

func (slowClock) Now() time.Time                     { return time.Now() }
func (slowClock) NewTimer(time.Duration) *time.Timer { return time.NewTimer(time.Hour) }

func TestHealthCheckFailures(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	port := func(addr string) int32 {
		_, p, _ := net.SplitHostPort(addr)
		n, _ := strconv.Atoi(p)
		return int32(n)
	}
	garbage, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := garbage.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "220 smtp\r\n\r\n")
			_ = c.Close()
		}
	}()
	defer func() { _ = garbage.Close(); <-done }()
	for _, c := range []struct {
		name   string
		port   int32
		reason string
		logged string
	}{
		{"refused", 1, "Target.FailedHealthChecks", "ConnectionReset"},
		{"silent", port(silent.Addr().String()), "Target.Timeout", "TimedOut"},
		{"garbage", port(garbage.Addr().String()), "Target.FailedHealthChecks", "ConnectionReset"},
	} {
		t.Run(c.name, func(t *testing.T) {
			hc := spec().Groups[0].HealthCheck
			p, err := newProbe(hc, model.VersionHTTP1, net.JoinHostPort("127.0.0.1", fmt.Sprint(c.port)), func(ctx context.Context, a string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", a)
			})
			if err != nil {
				t.Fatal(err)
			}
			p.timeout = 50 * time.Millisecond
			if r := p.run(context.Background()); r.OK || r.Reason != c.reason || r.reason != c.logged || r.status != "" {
				t.Errorf("got %+v", r)
			}
		})
	}
}

func TestListenersComeAndGo(t *testing.T) {
	w := newWorld(t)
	a := newApp(t, "a")
	lb := spec(a.Target)
	w.apply(lb)
	first := w.place.url(80)
	w.apply(lb)
	if w.place.url(80) != first {
		t.Error("the listener was opened again")
	}
	lb.Listeners[0].Rules[0].Actions = []model.RuleAction{{FixedResponse: &model.FixedResponseAction{StatusCode: "418", MessageBody: "tea"}}}
	second := lb.Listeners[0]
	second.Port = 8080
	lb.Listeners = append(lb.Listeners, second)
	w.apply(lb)
	if s, body := w.get(""); s != 418 || body != "tea" {
		t.Errorf("after the swap: %d %q", s, body)
	}
	lb.Listeners = lb.Listeners[1:]
	w.apply(lb)
	http.DefaultClient.CloseIdleConnections()
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("tcp", first[len("http://"):len(first)-1])
		if err != nil {
			break
		}
		_ = c.Close()
		if time.Now().After(deadline) {
			t.Fatal("the removed listener still accepts")
		}
	}
	if err := w.b.Remove(context.Background(), "lb"); err != nil {
		t.Fatal(err)
	}
	if w.b.Targets("lb") != nil {
		t.Error("the load balancer is still known")
	}
}
