package balancer

import (
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"

	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/balance"
)

// shipped keeps what load balancers log.
type shipped struct {
	mu    sync.Mutex
	lines []string
	to    balance.LogOutput
	nodes map[netip.Addr]bool
}

func (s *shipped) Append(_ balance.LoadBalancer, to balance.LogOutput, node netip.Addr, lines []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = to
	if s.nodes == nil {
		s.nodes = map[netip.Addr]bool{}
	}
	s.nodes[node] = true
	s.lines = append(s.lines, strings.Split(strings.TrimSuffix(string(lines), "\n"), "\n")...)
}

func (s *shipped) has(pattern string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		if regexp.MustCompile(pattern).MatchString(l) {
			return "yes"
		}
	}
	return strings.Join(s.lines, "\n")
}

// The log of a classic load balancer tells of requests and of connections as
// AWS documents it.
func TestClassicAccessLog(t *testing.T) {
	logs := &shipped{}
	w, x := newWorldWith(t, Config{Clock: hurried{}, Logs: logs}), newInstances(t, nil)
	r := classicRecords(x, "HTTP", classicListener("HTTP", 80, "HTTP", x), classicListener("TCP", 81, "TCP", x), classicListener("SSL", 82, "TCP", x))
	cert, _ := certified(t)
	r.in.Certificates = map[string]*tls.Certificate{"cert": &cert}
	r.lis[2].Certificates = []string{"cert"}
	lb := r.in.LoadBalancer
	lb.ARN, lb.DNSName = "arn:aws:elasticloadbalancing:us-east-1:1:loadbalancer/my-lb", "my-lb.elb.localhost"
	maps.Copy(lb.Attributes, map[string]string{
		"access_logs.s3.enabled": "true", "access_logs.s3.bucket": "b", "access_logs.s3.prefix": "p", balance.EmitInterval: "60",
	})
	w.applyClassic(r)
	w.until("both are in service", "healthy healthy", w.states)
	const head = `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z my-lb 127\.0\.0\.1:\d+ `
	backend := fmt.Sprintf(`127\.0\.0\.[23]:%d `, x.port)
	const times = `\d\.\d{6} \d\.\d{6} \d\.\d{6} `

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, strings.TrimSuffix(w.place.url(80), "/")+"/a?b", strings.NewReader("12345"))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "shop.example.com"
	req.Header.Set("User-Agent", "test/1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	want := head + backend + times + `200 200 5 1 "POST http://shop\.example\.com:80/a\?b HTTP/1\.1" "test/1" - -$`
	w.until("a request is logged", "yes", func() string { return logs.has(want) })

	const get = "GET / HTTP/1.0\r\n\r\n"
	exchange := func(port int32, secure bool) (sent int) {
		t.Helper()
		addr := strings.Trim(strings.TrimPrefix(w.place.url(port), "http://"), "/")
		c, err := net.Dial("tcp", addr)
		if err == nil && secure {
			c = tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, get); err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(c)
		return len(b)
	}
	for port, session := range map[int32]string{81: `- -`, 82: `TLS_AES_\S+ TLSv1\.3|ECDHE-\S+ TLSv1\.2`} {
		sent := exchange(port, port == 82)
		want := head + backend + times + fmt.Sprintf(`- - %d %d "- - - " "-" (%s)$`, len(get), sent, session)
		w.until(fmt.Sprint("a connection to port ", port, " is logged"), "yes", func() string { return logs.has(want) })
	}

	// Without instances there is no backend.
	for i := range x.healthy {
		x.healthy[i].Store(false)
	}
	w.until("none is in service", "unhealthy unhealthy", w.states)
	if got := w.fetch(80, "/none"); got != "503" {
		t.Error(got)
	}
	w.fetch(81, "/")
	for _, want := range []string{
		head + `- -1 -1 -1 503 0 0 0 "GET http://\S+/none HTTP/1\.1" "Go-http-client/1\.1" - -$`,
		head + `- -1 -1 -1 - - 0 0 "- - - " "-" - -$`,
	} {
		w.until("what reaches nobody is logged", "yes", func() string { return logs.has(want) })
	}
	logs.mu.Lock()
	defer logs.mu.Unlock()
	if o := logs.to; o.Type != model.LogTypeClassicAccess || o.Bucket != "b" || o.Prefix != "p" || o.Minutes != 60 {
		t.Errorf("%+v", o)
	}
	if len(logs.nodes) != 1 || !logs.nodes[netip.MustParseAddr("127.0.0.1")] {
		t.Errorf("%v", logs.nodes)
	}
}
