// Command alb measures the data plane of application load balancers on one
// core, beside nginx, HAProxy and Go's httputil.ReverseProxy on the same one,
// in turns. The load and the target of all of them are on another core.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"

	"roadstead.dev/bench/internal/report"
)

// The cores: what is measured has one of its own.
const (
	proxyCore = 0
	otherCore = 1
)

func main() {
	if len(os.Args) > 1 {
		if role, ok := roles[os.Args[1]]; ok {
			if err := role(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "how often each is measured")
	flag.DurationVar(&o.cell, "time", 2*time.Second, "how long each is measured each time")
	flag.StringVar(&o.only, "only", "", "the one workload to measure: small, bodies, connections, rules, websockets, or one over TLS: secure, http2, full, resumed, secure-websockets")
	flag.IntVar(&o.sockets, "websockets", 10_000, "how many WebSockets lie idle")
	keep := flag.Bool("keep", false, "print, and leave bench/README.md alone")
	flag.Parse()
	report.Main("alb", *keep || o.only != "", func(ctx context.Context) (string, error) { return run(ctx, o) })
}

type options struct {
	rounds, sockets int
	cell            time.Duration
	only            string
}

func (o options) wants(workload string) bool { return o.only == "" || o.only == workload }

func run(ctx context.Context, o options) (_ string, err error) {
	if runtime.NumCPU() < 2 {
		return "", errors.New("this needs two cores: one for the proxies, one for the load and the target")
	}
	dir, err := os.MkdirTemp("", "roadstead-bench-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{options: o, dir: dir}
	defer func() { err = errors.Join(err, b.stop()) }()
	if err := b.start(ctx); err != nil {
		return "", err
	}
	return b.text(ctx)
}

// cells measures a workload on several proxies, in turns.
func (b *bench) cells(ctx context.Context, w workload, of ...*proxy) (map[*proxy]*cell, error) {
	out := map[*proxy]*cell{}
	for round := range b.rounds {
		for i := range of {
			// Each is the first of a round now and then.
			p := of[(i+round)%len(of)]
			if out[p] == nil {
				out[p] = new(cell)
			}
			if err := b.measure(ctx, w, p, out[p]); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", w.name, p.name, err)
			}
		}
	}
	return out, nil
}

// cell is what was measured of one proxy under one workload.
type cell struct {
	rate     report.Samples[float64] // requests a second
	perCPU   report.Samples[float64] // requests a second of the proxy's own time
	p50, p99 report.Samples[time.Duration]
	errors   int
}
