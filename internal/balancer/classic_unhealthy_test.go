package balancer

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"roadstead.dev/internal/balancer/l7"
	"roadstead.dev/internal/model"
)

// What is under way with an instance that becomes unhealthy is completed where
// connections drain, and is not where they do not.
func TestClassicUnhealthyInstances(t *testing.T) {
	for delay, want := range map[string]string{"0": "no answer", "300": "begun 0"} {
		t.Run(delay, func(t *testing.T) {
			w, x := newWorld(t), newInstances(t, nil)
			r := classicRecords(x, "HTTP", classicListener("HTTP", 80, "HTTP", x), classicListener("TCP", 81, "TCP", x))
			r.in.Groups[r.tg].Attributes = map[string]string{"deregistration_delay.timeout_seconds": delay}
			r.in.Targets[r.tg] = r.in.Targets[r.tg][:1]
			w.applyClassic(r)
			w.until("it is in service", "healthy ", w.states)
			w.until("it serves", "0", func() string { return w.answers(80) })
			done := make(chan string, 2)
			for _, port := range []int32{80, 81} {
				go func() { done <- w.fetch(port, "/slow") }()
			}
			w.until("both are under way", "2", func() string { return fmt.Sprint(w.b.Targets("lb")["lb"]["127.0.0.2:1"].InFlight) })
			x.healthy[0].Store(false)
			w.until("it is out of service", "unhealthy ", w.states)
			if delay != "0" {
				close(x.release)
			}
			for range 2 {
				// What had begun to answer ends in the middle.
				if got := <-done; got != want && (delay != "0" || got != "begun ") {
					t.Errorf("a request under way ended with %q, want %q", got, want)
				}
			}
			x.healthy[0].Store(true)
			w.until("it is back", "healthy ", w.states)
			for _, port := range []int32{80, 81} {
				w.until("it serves again", "0", func() string { return w.answers(port) })
			}
			if delay == "0" {
				close(x.release)
			}
		})
	}
}

// An instance that is on its way back says so.
func TestClassicComesBack(t *testing.T) {
	w, x := newWorld(t), newInstances(t, nil)
	r := classicRecords(x, "HTTP", classicListener("HTTP", 80, "HTTP", x))
	r.in.Groups[r.tg].HealthCheck.HealthyThreshold = 200
	r.in.Targets[r.tg] = r.in.Targets[r.tg][:1]
	w.applyClassic(r)
	// The first check that succeeds is enough for a new instance.
	w.until("it is in service", "healthy ", w.states)
	x.healthy[0].Store(false)
	w.until("it is out of service", "unhealthy ", w.states)
	x.healthy[0].Store(true)
	w.until("it passes checks", model.DescriptionNotYetHealthy, func() string { return w.b.Targets("lb")["lb"]["127.0.0.2:1"].Health.Description })
}

// The counters of a classic load balancer are those of its zones; checks that
// reach nobody count as connections that failed.
func TestClassicCounts(t *testing.T) {
	w, x := newWorld(t), newInstances(t, nil)
	r := classicRecords(x, "TCP", classicListener("HTTP", 80, "HTTP", x), classicListener("TCP", 81, "TCP", x))
	r.in.Targets[r.tg] = append(r.in.Targets[r.tg][:1], &model.Target{ID: "127.0.0.9", Port: model.ClassicTargetPort})
	r.in.Subnets[1].CIDR = r.in.Subnets[0].CIDR // the other instance is of no zone
	w.applyClassic(r)
	w.until("it is in service", "healthy", func() string { return w.b.Targets("lb")["lb"]["127.0.0.2:1"].Health.State })
	for _, port := range []int32{80, 81} {
		w.until("it serves", http.StatusText(http.StatusOK), func() string {
			if w.fetch(port, "/") != "0" {
				return "not yet"
			}
			return http.StatusText(http.StatusOK)
		})
	}
	at := func(group func(GroupMeasure) bool, zone string, f func(*l7.Stats) int64) (n int64) {
		w.b.Measure(func(m Measure) {
			if group == nil {
				for _, z := range m.Nodes {
					if z.Zone == zone {
						n += f(z.Stats)
					}
				}
				return
			}
			for _, g := range m.Groups {
				for _, z := range g.Nodes {
					if group(g) && z.Zone == zone {
						n += f(z.Stats)
					}
				}
			}
		})
		return n
	}
	requests := func(s *l7.Stats) int64 { return s.Requests.Load() }
	w.until("both count in the zone", "true", func() string { return fmt.Sprint(at(nil, "a", requests) >= 2) })
	if n := at(nil, "", requests); n != 0 {
		t.Errorf("%d requests are of no zone", n)
	}
	streams := func(g GroupMeasure) bool { return g.Spec.Following != nil && g.Spec.Protocol == "TCP" }
	if n := at(streams, "a", func(s *l7.Stats) int64 { return s.ResponseNanos.Load() }); n == 0 {
		t.Error("nobody knows how long connecting took")
	}
	leader := func(g GroupMeasure) bool { return g.Spec.Following == nil }
	w.until("checks fail", "true", func() string {
		return fmt.Sprint(at(leader, "", func(s *l7.Stats) int64 { return s.ConnectionErrors.Load() }) > 0)
	})
}

// An instance whose answer to a check has a body must tell its length.
func TestClassicChecksWantLengths(t *testing.T) {
	for answer, ok := range map[string]bool{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":                            true,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n": true,
		"HTTP/1.1 200 OK\r\n\r\n":                                                   true,
		"HTTP/1.1 200 OK\r\n\r\nok":                                                 false,
	} {
		for version, ok := range map[string]bool{versionClassic: ok, model.VersionHTTP1: true} {
			p, err := newProbe(model.HealthCheck{Protocol: "HTTP", Port: "traffic-port", Path: "/", HTTPCode: "200", TimeoutSeconds: 5}, version, "127.0.0.1:80", func(context.Context, string) (net.Conn, error) {
				here, there := net.Pipe()
				go func() {
					_, _ = there.Read(make([]byte, 4096))
					_, _ = io.WriteString(there, answer)
					_ = there.Close()
				}()
				return here, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := p.run(t.Context()); got.OK != ok {
				t.Errorf("%s, %q: %+v", version, answer, got)
			}
		}
	}
}
