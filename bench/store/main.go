// Command store measures how list, describe, run and start-up times and memory
// change with what the store holds, up to 10,000 task definitions, 1,000
// services and 100,000 stopped tasks; and how many commits a second the store
// makes durable, beside bbolt alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"roadstead.dev/bench/internal/report"
	"roadstead.dev/bench/internal/server"
)

func main() {
	starts := flag.Int("starts", 7, "how often the server is started at each scale")
	calls := flag.Int("calls", 200, "how often each operation is called at each scale")
	rounds := flag.Int("rounds", 3, "how often each store is measured")
	span := flag.Duration("for", time.Second, "how long each of these measurements takes")
	binary := flag.String("roadstead", "", "the program to measure; empty builds it")
	keep := flag.Bool("keep", false, "print, and leave bench/README.md alone")
	flag.Parse()
	report.Main("store", *keep, func(ctx context.Context) (string, error) { return run(ctx, *binary, *starts, *calls, *rounds, *span) })
}

func run(ctx context.Context, binary string, starts, calls, rounds int, span time.Duration) (_ string, err error) {
	dir, err := os.MkdirTemp("", "roadstead-bench-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if binary == "" {
		if binary, err = server.Build(ctx, dir); err != nil {
			return "", err
		}
	}
	var points []*point
	for _, share := range []float64{0.01, 0.1, 1} {
		p, err := measure(ctx, binary, filepath.Join(dir, fmt.Sprintf("data-%g", share)), full.of(share), starts, calls)
		if err != nil {
			return "", fmt.Errorf("at %g%%: %w", share*100, err)
		}
		fmt.Printf("at %3g%%: start %s, memory %s\n", share*100, report.Milliseconds(p.start.Median()), p.idle.String())
		points = append(points, p)
	}
	commits, err := commits(dir, rounds, span)
	if err != nil {
		return "", err
	}
	return "## The store\n\n" + curve(points, starts, calls) + "\n### Commits\n\n" + commits, nil
}

func curve(points []*point, starts, calls int) string {
	header := []string{""}
	add := func(name string, cell func(*point) string) []string {
		row := []string{name}
		for _, p := range points {
			row = append(row, cell(p))
		}
		return row
	}
	for _, p := range points {
		header = append(header, fmt.Sprintf("%d definitions, %d services, %d stopped tasks", p.scale.definitions, p.scale.services, p.scale.tasks))
	}
	rows := [][]string{
		add("start, to the first signed answer", func(p *point) string {
			return report.Milliseconds(p.start.Median()) + " (" + report.Milliseconds(p.start.Max()) + ")"
		}),
		add("resident memory, idle", func(p *point) string { return p.idle.String() }),
		add("resident memory, after all calls", func(p *point) string { return p.worked.String() }),
		add("size on disk", func(p *point) string { return report.Megabytes(p.disk) }),
	}
	for _, name := range points[0].operationList {
		rows = append(rows, add(name, func(p *point) string {
			t := p.operations[name]
			return report.Milliseconds(t.Median()) + " (" + report.Milliseconds(t.Quantile(0.99)) + ")"
		}))
	}
	return report.Table(header, rows...) +
		fmt.Sprintf("\nMedians of %d calls through the API, and of %d starts; in brackets the 99th percentile, of starts the slowest. Of the memory, what the process itself allocated comes first; the rest are pages of files, of the program and of the store, which the kernel takes back when it needs the room. Lists have 100 entries a page. No peer keeps its records over a restart, so there is none beside it.\n", calls, starts)
}
