// Command kill ends a server with kill -9 again and again, in the middle of
// some thousand writes of many kinds, and looks after each start whether all
// that was acknowledged is there, and nothing by half. It tells how many writes
// a second there were, and how long each took to be durable.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"roadstead.dev/bench/internal/report"
	"roadstead.dev/bench/internal/server"
	"roadstead.dev/test/crash"
)

func main() {
	rounds := flag.Int("rounds", 20, "how often the server is killed")
	writers := flag.Int("writers", 32, "how many clients write at once")
	span := flag.Duration("for", 1500*time.Millisecond, "how long they write before the kill, about")
	binary := flag.String("roadstead", "", "the program to measure; empty builds it")
	keep := flag.Bool("keep", false, "print, and leave bench/README.md alone")
	flag.Parse()
	report.Main("kill", *keep, func(ctx context.Context) (string, error) { return run(ctx, *binary, *rounds, *writers, *span) })
}

func run(ctx context.Context, binary string, rounds, writers int, span time.Duration) (_ string, err error) {
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
	sync, err := syncTime(filepath.Join(dir, "sync"))
	if err != nil {
		return "", err
	}
	s := &crash.Server{Binary: binary, DataDir: filepath.Join(dir, "data")}
	if _, err := s.Start(ctx); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Down()) }()
	load := &crash.Load{Writers: writers}
	var rates report.Samples[float64]
	var times, restarts report.Durations
	total := 0
	for n := range rounds {
		r, err := load.Round(ctx, s, span)
		if err != nil {
			return "", fmt.Errorf("round %d: %w\n%s", n+1, err, s.Tail())
		}
		rate := float64(r.Acknowledged) / r.Span.Seconds()
		fmt.Printf("round %2d: %5d acknowledged, %5.0f a second; restart in %s; %d missing\n", n+1, r.Acknowledged, rate, report.Milliseconds(r.Restart), len(r.Missing))
		if len(r.Missing) > 0 {
			return "", fmt.Errorf("round %d lost:\n%s", n+1, strings.Join(r.Missing, "\n"))
		}
		rates.Add(rate)
		restarts.Add(r.Restart)
		total += r.Acknowledged
		for _, d := range r.Times {
			times.Add(d)
		}
	}
	return "## kill -9\n\n" + report.Table(
		[]string{"", ""},
		[]string{"kills, at random moments", fmt.Sprint(rounds)},
		[]string{"acknowledged writes", fmt.Sprint(total)},
		[]string{"of which missing, or there by half", "0"},
		[]string{"writes a second, median (least)", fmt.Sprintf("%.0f (%.0f)", rates.Median(), rates.Min())},
		[]string{"a write, p50 (p99)", report.Milliseconds(times.Median()) + " (" + report.Milliseconds(times.Quantile(0.99)) + ")"},
		[]string{"start after the kill, median (slowest)", report.Milliseconds(restarts.Median()) + " (" + report.Milliseconds(restarts.Max()) + ")"},
		[]string{"a sync on this disk, p50 (p99)", report.Milliseconds(sync.Median()) + " (" + report.Milliseconds(sync.Quantile(0.99)) + ")"},
	) + fmt.Sprintf("\n%d clients write through the API: RegisterTaskDefinition, PutParameter, CreateRepository and DeleteRepository, CreateCluster and DeleteCluster, TagResource, RunTask and StopTask, while the tasks go through their lives on the fake engine. After each start, revisions have no gap and their family counts them, a parameter and its history agree, tags are of one call, and what was created, deleted or started is. A benchmark that finds a write missing fails and writes no table.\n", writers), nil
}

// syncTime is what the disk takes to make a written page durable.
func syncTime(path string) (*report.Durations, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	times := &report.Durations{}
	page := make([]byte, 4096)
	for i := range 300 {
		begun := time.Now()
		if _, err := f.WriteAt(page, int64(i%64)*4096); err != nil {
			return nil, err
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return nil, err
		}
		if i >= 64 { // the file grows until then
			times.Add(time.Since(begun))
		}
	}
	return times, nil
}
