// Command nlb measures what a network load balancer costs a connection: its
// throughput and how many can be opened in a second, beside connections from
// the same client to the same target without it, in turns. All stand in
// namespaces of a VPC of their own, and what is between them is the VPC's
// router, which both ways pass.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"roadstead.dev/bench/internal/report"
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
	flag.IntVar(&o.rounds, "rounds", 5, "how often each is measured")
	flag.DurationVar(&o.cell, "time", time.Second, "how long each is measured each time")
	keep := flag.Bool("keep", false, "print, and leave bench/README.md alone")
	flag.Parse()
	report.Main("nlb", *keep, func(ctx context.Context) (string, error) { return run(ctx, o) })
}

type options struct {
	rounds int
	cell   time.Duration
}

// way is how the client gets to the target.
type way struct {
	name, address string
	secure        bool
	// against is what it is compared with; nil for a direct way.
	against *way
}

// workload is what the client does; unit is what its number counts.
type workload struct{ name, role, unit string }

var workloads = []workload{
	{"one connection", "send", "Gbit/s"},
	{"connections opened, asked once and closed", "open", "a second"},
}

func run(ctx context.Context, o options) (string, error) {
	b, err := start(ctx)
	if err != nil {
		return "", err
	}
	defer b.close()
	var text strings.Builder
	text.WriteString("## Network load balancer\n\nWhat a client in the VPC gets from a target there, directly and through a network load balancer. " +
		"TLS is ended in the load balancer's process, and by the target itself where there is none between. " +
		"The processor time is that of client and target, in which the kernel's forwarding takes place, for a gigabit or a connection; " +
		"the load balancer's process has more of its own where it ends TLS.\n")
	for _, w := range workloads {
		got, cost := map[string]*report.Samples[float64]{}, map[string]*report.Samples[float64]{}
		for round := range o.rounds {
			for i := range b.ways {
				// Each is the first of a round now and then.
				to := b.ways[(i+round)%len(b.ways)]
				if got[to.name] == nil {
					got[to.name], cost[to.name] = new(report.Samples[float64]), new(report.Samples[float64])
				}
				n, err := b.ask(ctx, w, to, o.cell)
				if err != nil {
					return "", fmt.Errorf("%s, %s: %w", w.name, to.name, err)
				}
				got[to.name].Add(n.rate)
				cost[to.name].Add(n.cost)
			}
		}
		var rows [][]string
		for _, to := range b.ways {
			row := []string{to.name, number(got[to.name].Median()), number(got[to.name].Min()), number(got[to.name].Max()), "", number(cost[to.name].Median()), ""}
			if to.against != nil {
				row[4] = strconv.FormatFloat(got[to.name].Median()/got[to.against.name].Median(), 'f', 2, 64)
				row[6] = strconv.FormatFloat(cost[to.name].Median()/cost[to.against.name].Median(), 'f', 2, 64)
			}
			rows = append(rows, row)
		}
		text.WriteString("\n" + report.Table([]string{w.name + ", " + w.unit, "median", "min", "max", "of direct", "µs of processor each", "of direct"}, rows...))
	}
	return text.String(), nil
}

func number(v float64) string {
	if v < 1000 {
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}
