package main

import (
	"context"
	"fmt"
	"strings"

	"roadstead.dev/bench/internal/report"
)

// text measures, and tells it.
func (b *bench) text(ctx context.Context) (string, error) {
	var s strings.Builder
	s.WriteString("## The application load balancer\n\n" +
		"The data plane on one core (GOMAXPROCS=1), beside nginx and HAProxy from Debian (one worker, one thread) and `httputil.ReverseProxy` on the same core, in turns; wrk and the target, which answers without looking at what it is asked, share another core. ")
	fmt.Fprintf(&s, "The median of %d rounds of %s each. All add the same headers. Over TLS all have the same ECDSA certificate (P-256), agree on TLS 1.3 with X25519 and the client's first choice of ciphers that they have in common; wrk asks over HTTP/1.1, h2load over HTTP/2, and a client of the benchmark's own, whose part of the handshakes takes longer than the proxies', over connections that it closes after one request. Where the load's core is the narrower one, the rate by the proxy's own time tells more: requests for each second that it ran.\n", b.rounds, b.cell)
	all := []*proxy{b.roadstead, b.nginx, b.haproxy, b.reverse}
	for _, part := range []struct {
		name string
		w    workload
		of   []*proxy
		by   *proxy // what the others are compared with
	}{
		{"small", small, all, b.nginx},
		{"bodies", bodies, all, b.nginx},
		{"connections", connections, all, b.nginx},
		{"secure", secure, all, b.nginx},
		{"http2", multiplexed, all, b.nginx},
		{"full", full, all, b.nginx},
		{"resumed", resumed, all, b.nginx},
		{"rules", small, []*proxy{b.thousand, b.roadstead}, b.roadstead},
	} {
		if !b.wants(part.name) {
			continue
		}
		cells, err := b.cells(ctx, part.w, part.of...)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&s, "\n### %s\n\n%s", title(part.name), table(part.of, cells, part.by))
	}
	for _, part := range []struct {
		name, title string
		secure      bool
	}{{"websockets", "", false}, {"secure-websockets", " over TLS", true}} {
		if !b.wants(part.name) {
			continue
		}
		fmt.Fprintf(&s, "\n### %d idle WebSockets%s\n\n", b.sockets, part.title)
		var rows [][]string
		for _, p := range all {
			more, err := b.websockets(ctx, p, part.secure)
			if err != nil {
				return "", fmt.Errorf("WebSockets%s, %s: %w\n%s", part.title, p.name, err, p.output())
			}
			rows = append(rows, []string{p.name, report.Megabytes(more), fmt.Sprintf("%.1f KB", float64(more)/1e3/float64(b.sockets))})
		}
		s.WriteString(report.Table([]string{"proxy", "memory", "each"}, rows...))
	}
	return s.String(), nil
}

func title(part string) string {
	switch part {
	case "small":
		return "Small responses: 100 bytes, 64 connections that are kept"
	case "bodies":
		return "Bodies of 1 MB, 8 connections that are kept"
	case "connections":
		return "A connection for each request, 64 at once"
	case "secure":
		return "Small responses over TLS 1.3: 100 bytes, 64 connections that are kept"
	case "http2":
		return "Small responses over HTTP/2: 100 bytes, 8 connections that are kept, 16 streams each"
	case "full":
		return "A TLS 1.3 connection for each request, full handshakes, 16 at once"
	case "resumed":
		return "A TLS 1.3 connection for each request, resumed sessions, 16 at once"
	default:
		return "1,000 rules, of which the last matches"
	}
}

func table(of []*proxy, cells map[*proxy]*cell, by *proxy) string {
	var rows [][]string
	base := cells[by]
	for _, p := range of {
		c := cells[p]
		failures := ""
		if c.errors > 0 {
			failures = fmt.Sprint(c.errors)
		}
		rows = append(rows, []string{
			p.name,
			fmt.Sprintf("%.0f", c.rate.Median()), report.Ratio(c.rate.Median(), base.rate.Median()) + "×",
			fmt.Sprintf("%.0f", c.perCPU.Median()), report.Ratio(c.perCPU.Median(), base.perCPU.Median()) + "×",
			report.Milliseconds(c.p50.Median()), report.Milliseconds(c.p99.Median()), failures,
		})
	}
	return report.Table([]string{"proxy", "requests/s", "to " + by.name, "by its own time", "to " + by.name, "p50", "p99", "failures"}, rows...)
}
