package balancer

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"roadstead.dev/internal/model"
)

// grpcTarget is gRPC-Go's server with its health service; it serves TLS with
// the certificate, unless that is nil.
func grpcTarget(t *testing.T, cert *tls.Certificate) (addr string, h *grpchealth.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var opts []grpc.ServerOption
	if cert != nil {
		opts = append(opts, grpc.Creds(credentials.NewServerTLSFromCert(cert)))
	}
	s := grpc.NewServer(opts...)
	h = grpchealth.NewServer()
	grpc_health_v1.RegisterHealthServer(s, h)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().String(), h
}

// httpTarget answers /health with the status in its query, in the versions
// that p has.
func httpTarget(t *testing.T, secure bool, set func(*http.Protocols)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.Method != http.MethodGet || r.UserAgent() != userAgent || r.Host != r.Context().Value(http.LocalAddrContextKey).(net.Addr).String() {
			w.WriteHeader(444)
			return
		}
		status := 200
		_, _ = fmt.Sscan(r.URL.RawQuery, &status)
		w.WriteHeader(status)
	}))
	s.Config.Protocols = new(http.Protocols)
	set(s.Config.Protocols)
	s.EnableHTTP2 = s.Config.Protocols.HTTP2()
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// Checks of groups of HTTP/2 and of gRPC find what AWS's do.
func TestChecksInHTTP2(t *testing.T) {
	both := httpTarget(t, true, func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true) })
	old := httpTarget(t, true, func(p *http.Protocols) { p.SetHTTP1(true) })
	h2c := httpTarget(t, false, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	oldPlain := httpTarget(t, false, func(p *http.Protocols) { p.SetHTTP1(true) })
	plain, h := grpcTarget(t, nil)
	secure, _ := grpcTarget(t, &both.TLS.Certificates[0])
	h.SetServingStatus("", grpc_health_v1.HealthCheckResponse_SERVING)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	const ok = ""
	for _, c := range []struct {
		name, version, protocol, path, codes string
		addr                                 string
		want                                 string
		logged                               string
	}{
		{"with prior knowledge", "HTTP2", "HTTP", "/health", "200", h2c.Listener.Addr().String(), ok, "h2 200"},
		{"by ALPN", "HTTP2", "HTTPS", "/health", "200", both.Listener.Addr().String(), ok, "h2 200"},
		{"another status", "HTTP2", "HTTP", "/health?503", "200-299", h2c.Listener.Addr().String(), "Target.ResponseCodeMismatch Health checks failed with these codes: [503]", "h2 503 TargetError"},
		{"without HTTP/2", "HTTP2", "HTTP", "/health", "200", oldPlain.Listener.Addr().String(), "Target.FailedHealthChecks Health checks failed", "h2  ConnectionReset"},
		{"without ALPN", "HTTP2", "HTTPS", "/health", "200", old.Listener.Addr().String(), "Target.FailedHealthChecks Health checks failed", "h2  ConnectionReset"},
		{"silent", "HTTP2", "HTTP", "/", "200", silent.Addr().String(), "Target.Timeout Request timed out", "h2  TimedOut"},
		{"the method that nobody has", "GRPC", "HTTP", "/AWS.ALB/healthcheck", "12", plain, ok, "grpc 12"},
		{"the same over TLS", "GRPC", "HTTPS", "/AWS.ALB/healthcheck", "12", secure, ok, "grpc 12"},
		{"gRPC's own health service", "GRPC", "HTTP", "/grpc.health.v1.Health/Check", "0", plain, ok, "grpc 0"},
		{"another gRPC status", "GRPC", "HTTP", "/AWS.ALB/healthcheck", "0-3,5", plain, "Target.ResponseCodeMismatch Health checks failed with these codes: [12]", "grpc 12 GRPCUnexpectedStatus"},
		{"not of gRPC", "GRPC", "HTTP", "/health", "0-99", h2c.Listener.Addr().String(), "Target.FailedHealthChecks Health checks failed", "grpc 444 ResponseCodeMismatch"},
		{"no TLS", "GRPC", "HTTPS", "/AWS.ALB/healthcheck", "12", plain, "Target.FailedHealthChecks Health checks failed", "grpc  ConnectionReset"},
		{"gRPC silent", "GRPC", "HTTP", "/AWS.ALB/healthcheck", "12", silent.Addr().String(), "Target.Timeout Request timed out", "grpc  TimedOut"},
	} {
		t.Run(c.name, func(t *testing.T) {
			hc := model.HealthCheck{Protocol: c.protocol, Path: c.path, HTTPCode: c.codes, GRPCCode: c.codes, TimeoutSeconds: 10}
			p, err := newProbe(hc, c.version, c.addr, func(ctx context.Context, a string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", a)
			})
			if err != nil {
				t.Fatal(err)
			}
			if c.addr == silent.Addr().String() {
				p.timeout = 50 * time.Millisecond
			}
			got := p.run(t.Context())
			if got.OK != (c.want == ok) || !got.OK && got.Reason+" "+got.Description != c.want {
				t.Errorf("got %+v, want %q", got, c.want)
			}
			if logged := strings.TrimSpace(p.kind + " " + got.status + " " + got.reason); logged != c.logged {
				t.Errorf("logged %q, want %q", logged, c.logged)
			}
			if c.addr != silent.Addr().String() && got.reason == "" && got.node != netip.MustParseAddr("127.0.0.1") {
				t.Errorf("node %v", got.node)
			}
		})
	}
}
