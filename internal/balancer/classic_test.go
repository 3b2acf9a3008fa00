package balancer

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
)

// instances are two at addresses of the loopback network, of zones a and b,
// that serve HTTP at one port.
type instances struct {
	port    int32
	healthy [2]atomic.Bool
	release chan struct{} // requests to /slow wait for it
	agent   atomic.Value
}

func newInstances(t *testing.T, secure *tls.Config) *instances {
	t.Helper()
	x := &instances{release: make(chan struct{})}
	for i := range x.healthy {
		x.healthy[i].Store(true)
		at := fmt.Sprintf("127.0.0.%d:%d", 2+i, x.port)
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		if x.port == 0 {
			x.port = int32(l.Addr().(*net.TCPAddr).Port)
		}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/health":
				x.agent.Store(r.UserAgent())
				if !x.healthy[i].Load() {
					w.WriteHeader(http.StatusInternalServerError)
				}
			case "/slow":
				_, _ = io.WriteString(w, "begun ")
				_ = http.NewResponseController(w).Flush()
				<-x.release
			}
			_, _ = fmt.Fprint(w, i)
		}))
		_ = s.Listener.Close()
		s.Listener = l
		if s.TLS = secure; secure != nil {
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
	}
	return x
}

// records are those of a classic load balancer with the listeners.
type records struct {
	in  balance.Input
	tg  string
	lis []*model.Listener
}

func classicRecords(x *instances, check string, listeners ...*model.Listener) *records {
	r := &records{tg: model.ClassicGroupARN("us-east-1", "1", "c", "0123456789abcdef"), lis: listeners}
	lb := &model.LoadBalancer{ID: "lb", ARN: "classic", Type: model.LoadBalancerClassic, Classic: &model.ClassicLoadBalancer{}, AvailabilityZones: []model.LoadBalancerZone{{ZoneName: "a"}, {ZoneName: "b"}}, Attributes: map[string]string{"load_balancing.cross_zone.enabled": "true"}}
	hc := model.HealthCheck{Enabled: true, Protocol: check, Port: strconv.Itoa(int(x.port)), Path: "/health", HTTPCode: "200", IntervalSeconds: 5, TimeoutSeconds: 2, HealthyThreshold: 2, UnhealthyThreshold: 2}
	g := &model.TargetGroup{ID: "lb", ARN: r.tg, TargetType: model.TargetTypeIP, Classic: true, HealthCheck: hc}
	r.in = balance.Input{
		LoadBalancer: lb, Groups: map[string]*model.TargetGroup{r.tg: g}, Rules: map[string][]*model.Rule{},
		Interfaces: []balance.Interface{{Address: "127.0.0.1/8", Zone: "a"}},
		Targets: map[string][]*model.Target{r.tg: {
			{ID: "127.0.0.2", Port: model.ClassicTargetPort, RegisteredAt: time.Unix(1, 0)},
			{ID: "127.0.0.3", Port: model.ClassicTargetPort, RegisteredAt: time.Unix(1, 0)},
		}},
		Subnets: []*model.Subnet{{Zone: "a", CIDR: netip.MustParsePrefix("127.0.0.2/32")}, {Zone: "b", CIDR: netip.MustParsePrefix("127.0.0.3/32")}},
	}
	for _, l := range listeners {
		l.ARN = fmt.Sprint("listener ", l.Port)
		r.in.Rules[l.ARN] = []*model.Rule{{Default: true, Actions: []model.RuleAction{{Forward: &model.ForwardAction{TargetGroups: []model.WeightedTargetGroup{{TargetGroupARN: r.tg}}}}}}}
		r.in.Listeners = append(r.in.Listeners, l)
	}
	return r
}

func classicListener(protocol string, port int32, instance string, x *instances) *model.Listener {
	return &model.Listener{Port: port, Protocol: protocol, Classic: &model.ClassicListener{InstanceProtocol: instance, InstancePort: x.port}}
}

func (w *world) applyClassic(r *records) {
	w.t.Helper()
	if err := w.b.Apply(w.t.Context(), balance.Compose(r.in)); err != nil {
		w.t.Fatal(err)
	}
}

// states are the health of the instances.
func (w *world) states() string {
	var out []string
	for _, addr := range []string{"127.0.0.2:1", "127.0.0.3:1"} {
		out = append(out, w.b.Targets("lb")["lb"][addr].Health.State)
	}
	return strings.Join(out, " ")
}

func (w *world) until(what, want string, got func() string) {
	w.t.Helper()
	deadline := time.After(10 * time.Second)
	for got() != want {
		select {
		case <-w.changed:
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			w.t.Fatalf("%s: %q, want %q", what, got(), want)
		}
	}
}

// fetch gets a path over a connection of its own: the body's last character,
// or the status.
func (w *world) fetch(port int32, path string) string {
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr, Timeout: 10 * time.Second}).Get(strings.TrimSuffix(w.place.url(port), "/") + path)
	if err != nil {
		return "no answer"
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return strconv.Itoa(resp.StatusCode)
	}
	return string(b)
}

// answers are those of several requests, each once.
func (w *world) answers(port int32) string {
	seen := map[string]bool{}
	for range 4 {
		seen[w.fetch(port, "/")] = true
	}
	var out []string
	for _, a := range []string{"0", "1", "503", "no answer"} {
		if seen[a] {
			out = append(out, a)
		}
	}
	return strings.Join(out, " ")
}

func TestClassicBalances(t *testing.T) {
	w, x := newWorld(t), newInstances(t, nil)
	r := classicRecords(x, "HTTP", classicListener("HTTP", 80, "HTTP", x), classicListener("TCP", 81, "TCP", x))
	w.applyClassic(r)
	w.until("both are in service", "healthy healthy", w.states)
	if a := x.agent.Load(); a != "ELB-HealthChecker/1.0" {
		t.Errorf("checked by %v", a)
	}
	for _, port := range []int32{80, 81} {
		w.until(fmt.Sprint("both serve port ", port), "0 1", func() string { return w.answers(port) })
	}
	x.healthy[0].Store(false)
	w.until("one is out of service", "unhealthy healthy", w.states)
	for _, port := range []int32{80, 81} {
		w.until(fmt.Sprint("one serves port ", port), "1", func() string { return w.answers(port) })
	}
	x.healthy[1].Store(false)
	w.until("none is in service", "unhealthy unhealthy", w.states)
	w.until("nobody answers requests", "503", func() string { return w.answers(80) })
	w.until("nobody takes connections", "no answer", func() string { return w.answers(81) })
	x.healthy[0].Store(true)
	w.until("one is back", "healthy unhealthy", w.states)
	for _, port := range []int32{80, 81} {
		w.until(fmt.Sprint("it serves port ", port), "0", func() string { return w.answers(port) })
	}
}

// Without cross-zone load balancing an address leads to the instances of its
// zone; a request under way outlives the change.
func TestClassicZones(t *testing.T) {
	w, x := newWorld(t), newInstances(t, nil)
	r := classicRecords(x, "TCP", classicListener("HTTP", 80, "HTTP", x), classicListener("TCP", 81, "TCP", x))
	w.applyClassic(r)
	w.until("both are in service", "healthy healthy", w.states)
	resp, err := http.Get(w.place.url(80) + "slow")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := bufio.NewReader(resp.Body)
	if s, err := body.ReadString(' '); err != nil || s != "begun " {
		t.Fatalf("%q, %v", s, err)
	}
	for zone, want := range map[string]string{"a": "0", "b": "1", "c": "503"} {
		r.in.LoadBalancer.Attributes = nil
		r.in.Interfaces[0].Zone = zone
		w.applyClassic(r)
		if got := w.answers(80); got != want {
			t.Errorf("zone %s: %q", zone, got)
		}
		if want == "503" {
			want = "no answer"
		}
		if got := w.answers(81); got != want {
			t.Errorf("zone %s: %q", zone, got)
		}
	}
	close(x.release)
	if rest, err := io.ReadAll(body); err != nil || len(rest) != 1 {
		t.Errorf("the request under way ends with %q, %v", rest, err)
	}
}

// What is under way at an instance's port is told of the instance, which gets
// nothing new while it drains.
func TestClassicDrains(t *testing.T) {
	w, x := newWorld(t), newInstances(t, nil)
	r := classicRecords(x, "TCP", classicListener("HTTP", 80, "HTTP", x), classicListener("TCP", 81, "TCP", x))
	r.in.Targets[r.tg] = r.in.Targets[r.tg][:1]
	w.applyClassic(r)
	w.until("it is in service", "healthy ", w.states)
	done := make(chan string, 2)
	go func() { done <- w.fetch(80, "/slow") }()
	go func() { done <- w.fetch(81, "/slow") }()
	inFlight := func() string { return fmt.Sprint(w.b.Targets("lb")["lb"]["127.0.0.2:1"].InFlight) }
	w.until("both are under way", "2", inFlight)
	r.in.Targets[r.tg][0].DeregisteringAt = new(time.Unix(2, 0))
	w.applyClassic(r)
	if got := w.answers(80); got != "503" {
		t.Errorf("new requests: %q", got)
	}
	close(x.release)
	for range 2 {
		if got := <-done; got != "begun 0" {
			t.Errorf("a request under way ended with %q", got)
		}
	}
	w.until("nothing is under way", "0", inFlight)
}

// A port that gets another protocol is listened at anew.
func TestClassicPortChangesProtocol(t *testing.T) {
	w, x := newWorld(t), newInstances(t, nil)
	l := classicListener("HTTP", 80, "HTTP", x)
	r := classicRecords(x, "TCP", l)
	w.applyClassic(r)
	w.until("both are in service", "healthy healthy", w.states)
	raw := func() string {
		c, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(w.place.url(80), "http://"), "/"))
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Forwarded-For: x\r\n\r\n")
		line, err := bufio.NewReader(c).ReadString('\n')
		return fmt.Sprint(strings.TrimSpace(line), err)
	}
	if got := raw(); got != "HTTP/1.1 200 OK<nil>" {
		t.Errorf("got %q", got)
	}
	l.Protocol, l.Classic.InstanceProtocol = "TCP", "TCP"
	w.applyClassic(r)
	if got := raw(); got != "HTTP/1.1 200 OK<nil>" {
		t.Errorf("got %q", got)
	}
	w.b.mu.Lock()
	_, streams := w.b.lbs["lb"].listeners[80].server.(carrier)
	w.b.mu.Unlock()
	if !streams {
		t.Error("it still speaks HTTP")
	}
}

// certified is a self-signed certificate and its key in PEM.
func certified(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a.test"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
}

// Instances over TLS must have a key that the policies name, when they do.
func TestClassicBackendAuthentication(t *testing.T) {
	pair, key := certified(t)
	_, other := certified(t)
	w, x := newWorld(t), newInstances(t, &tls.Config{Certificates: []tls.Certificate{pair}})
	l := classicListener("HTTP", 80, "HTTPS", x)
	r := classicRecords(x, "SSL", l)
	w.applyClassic(r)
	w.until("both are in service", "healthy healthy", w.states)
	w.until("both serve without a policy", "0 1", func() string { return w.answers(80) })
	c := r.in.LoadBalancer.Classic
	c.Policies = []model.ClassicPolicy{
		{Name: "k", Type: model.PolicyPublicKey, Attributes: []model.ClassicPolicyAttribute{{Name: "PublicKey", Value: other}}},
		{Name: "a", Type: model.PolicyBackendAuth, Attributes: []model.ClassicPolicyAttribute{{Name: "PublicKeyPolicyName", Value: "k"}}},
	}
	c.BackendPolicies = map[int32][]string{x.port: {"a"}}
	w.applyClassic(r)
	if got := w.fetch(80, "/"); got != "502" {
		t.Errorf("with another key: %q", got)
	}
	c.Policies[0].Attributes[0].Value = strings.ReplaceAll(strings.ReplaceAll(key, "-----BEGIN PUBLIC KEY-----\n", ""), "-----END PUBLIC KEY-----\n", "")
	w.applyClassic(r)
	w.until("both serve with their key", "0 1", func() string { return w.answers(80) })
}

// TLS ends at HTTPS and SSL listeners, as the policy says.
func TestClassicTLS(t *testing.T) {
	pair, _ := certified(t)
	w, x := newWorld(t), newInstances(t, nil)
	secure, stream := classicListener("HTTPS", 443, "HTTP", x), classicListener("SSL", 444, "TCP", x)
	for _, l := range []*model.Listener{secure, stream} {
		l.Certificates = []string{"cert"}
	}
	r := classicRecords(x, "TCP", secure, stream)
	r.in.Certificates = map[string]*tls.Certificate{"cert": &pair}
	w.applyClassic(r)
	w.until("both are in service", "healthy healthy", w.states)
	get := func(port int32, most uint16) string {
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: most, NextProtos: []string{"h2", "http/1.1"}}, DisableKeepAlives: true, ForceAttemptHTTP2: true}
		resp, err := (&http.Client{Transport: tr}).Get(strings.Replace(w.place.url(port), "http:", "https:", 1))
		if err != nil {
			return "refused"
		}
		defer resp.Body.Close()
		return fmt.Sprint(resp.StatusCode, " ", resp.Proto, " ", tls.VersionName(resp.TLS.Version))
	}
	for _, port := range []int32{443, 444} {
		if got := get(port, tls.VersionTLS13); got != "200 HTTP/1.1 TLS 1.2" {
			t.Errorf("port %d: %s", port, got)
		}
		if got := get(port, tls.VersionTLS11); got != "200 HTTP/1.1 TLS 1.1" {
			t.Errorf("port %d: %s", port, got)
		}
	}
	r.in.LoadBalancer.Classic.Policies = []model.ClassicPolicy{{Name: "p", Type: model.PolicySSL, Attributes: []model.ClassicPolicyAttribute{{Name: "Reference-Security-Policy", Value: "ELBSecurityPolicy-TLS-1-2-2017-01"}}}}
	secure.Classic.Policies, stream.Classic.Policies = []string{"p"}, []string{"p"}
	w.applyClassic(r)
	for _, port := range []int32{443, 444} {
		if got := get(port, tls.VersionTLS11); got != "refused" {
			t.Errorf("port %d: %s", port, got)
		}
	}
}

func TestClassicProxyProtocol(t *testing.T) {
	w, x := newWorld(t), newInstances(t, nil)
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	lines := make(chan string, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			_ = c.Close()
			lines <- line
		}
	}()
	li := classicListener("TCP", 81, "TCP", x)
	li.Classic.InstancePort = int32(l.Addr().(*net.TCPAddr).Port)
	r := classicRecords(x, "TCP", li)
	r.in.Targets[r.tg] = r.in.Targets[r.tg][:1]
	r.in.LoadBalancer.Classic.Policies = []model.ClassicPolicy{{Name: "p", Type: model.PolicyProxyProtocol, Attributes: []model.ClassicPolicyAttribute{{Name: "ProxyProtocol", Value: "true"}}}}
	r.in.LoadBalancer.Classic.BackendPolicies = map[int32][]string{li.Classic.InstancePort: {"p"}}
	w.applyClassic(r)
	w.until("it is in service", "healthy ", w.states)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimSuffix(strings.TrimPrefix(w.place.url(81), "http://"), "/"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := <-lines; !strings.HasPrefix(got, "PROXY TCP4 127.0.0.1 127.0.0.1 ") {
		t.Errorf("got %q", got)
	}
}
