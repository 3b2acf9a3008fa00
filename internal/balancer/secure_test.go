package balancer

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"roadstead.dev/internal/plan/balance"
)

// Targets that speak TLS are checked and reached, whatever their certificate,
// and one that speaks none is not healthy.
func TestSecureTargets(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+" "+string(body))
	}))
	t.Cleanup(s.Close)
	host, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	n, _ := strconv.Atoi(port)
	a := &app{Target: balance.Target{IP: host, Port: int32(n), RegisteredAt: time.Unix(1, 0)}}
	plain := newApp(t, "plain")
	w := newWorld(t)
	lb := spec(a.Target, plain.Target)
	lb.Groups[0].Protocol, lb.Groups[0].HealthCheck.Protocol = "HTTPS", "HTTPS"
	w.apply(lb)
	w.wait(a, "healthy", "")
	w.wait(plain, "unhealthy", "Target.FailedHealthChecks")
	for range 5 {
		resp, err := http.Post(w.place.url(80), "", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if string(body) != "POST " {
			t.Errorf("got %d %q", resp.StatusCode, body)
		}
	}
}
