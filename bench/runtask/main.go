// Command runtask measures how long RunTask takes until a client that polls
// sees RUNNING, and StopTask until STOPPED, beside `ctr run` of the same image
// on the same containerd. Each task is a whole one: an interface in the
// default VPC with its security group, awslogs, a task role's credentials.
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
	rounds := flag.Int("n", 40, "how often each is measured")
	many := flag.Int("many", 20, "how many are started at once")
	binary := flag.String("roadstead", "", "the program to measure; empty builds it")
	keep := flag.Bool("keep", false, "print, and leave bench/README.md alone")
	containerd := flag.String("containerd", "", "socket of the containerd to use; empty starts one")
	flag.Parse()
	b := &bench{rounds: *rounds, many: *many}
	report.Main("runtask", *keep, func(ctx context.Context) (string, error) { return b.run(ctx, *binary, *containerd) })
}

type bench struct {
	rounds, many int

	srv   *server.Server
	stack *stack
	ctr   *ctr
}

// run takes turns between Roadstead and its peer, and returns the results.
func (b *bench) run(ctx context.Context, binary, containerd string) (text string, err error) {
	dir, err := os.MkdirTemp("", "roadstead-bench-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err == nil {
			err = os.RemoveAll(dir)
		}
	}()
	if binary == "" {
		if binary, err = server.Build(ctx, dir); err != nil {
			return "", err
		}
	}
	b.srv, err = server.Start(ctx, server.Options{Binary: binary, DataDir: filepath.Join(dir, "data"), Engine: "containerd", Containerd: containerd})
	defer func() {
		if err != nil && b.srv != nil {
			b.srv.Log(os.Stderr)
		}
		if b.srv != nil {
			if derr := b.srv.Down(); err == nil {
				err = derr
			}
		}
	}()
	if err != nil {
		return "", err
	}
	if b.stack, err = newStack(ctx, b.srv); err != nil {
		return "", err
	}
	// The first pulls the image, which is not what is measured.
	if err := b.stack.one(ctx, &measured{}); err != nil {
		return "", err
	}
	if b.ctr, err = newCtr(ctx, b.srv, containerd, b.stack.image); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, b.ctr.close()) }()
	return b.measure(ctx)
}

func (b *bench) measure(ctx context.Context) (string, error) {
	ours := &measured{}
	peers := make([]*report.Durations, len(kinds))
	var stops, waits report.Durations
	for i := range peers {
		peers[i] = &report.Durations{}
	}
	for round := range b.rounds {
		if err := b.stack.one(ctx, ours); err != nil {
			return "", err
		}
		for i, k := range kinds {
			ran, stopped, err := b.ctr.run(ctx, k)
			if err != nil {
				return "", err
			}
			peers[i].Add(ran)
			stops.Add(stopped)
		}
		waits.Add(ours.lastRun)
		fmt.Fprintf(os.Stderr, "\rround %d of %d: RunTask %s", round+1, b.rounds, report.Milliseconds(ours.lastRun))
	}
	fmt.Fprintln(os.Stderr)
	ms := report.Milliseconds
	columns := append([]string{""}, report.Columns()...)
	row := func(name string, s *report.Durations, to time.Duration) []string {
		return append(append([]string{name}, report.Cells(s, ms)...), report.Ratio(to, s.Median()))
	}
	base := ours.run.Median()
	starts := [][]string{row("RunTask until a client sees RUNNING", &ours.run, base)}
	for i, k := range kinds {
		starts = append(starts, row(k.name, peers[i], base))
	}
	text := "## RunTask\n\nFrom a call to what it asked for, one at a time. The last column is how many times the peer's median goes into Roadstead's.\n\n" +
		report.Table(append(columns, "RunTask is × times"), starts...)
	text += "\nWhere RunTask's time goes, by the times in the task's record:\n\n" + report.Table(columns,
		append([]string{"createdAt to pullStartedAt"}, report.Cells(&ours.toPull, ms)...),
		append([]string{"pullStartedAt to pullStoppedAt"}, report.Cells(&ours.pulling, ms)...),
		append([]string{"pullStoppedAt to startedAt"}, report.Cells(&ours.toStart, ms)...),
		append([]string{"createdAt to startedAt"}, report.Cells(&ours.recorded, ms)...))
	text += "\nStopping a program that obeys SIGTERM:\n\n" + report.Table(append(columns, "StopTask is × times"),
		row("StopTask until a client sees STOPPED", &ours.stop, ours.stop.Median()),
		row("`ctr task kill`, `task delete`, `container delete`", &stops, ours.stop.Median()))
	together, err := b.together(ctx)
	return text + together, err
}

// together starts many at once on both sides, twice.
func (b *bench) together(ctx context.Context) (string, error) {
	var ours, peer report.Durations
	for range 2 {
		t, err := b.stack.many(ctx, b.many)
		if err != nil {
			return "", err
		}
		ours.Add(t)
		if t, err = b.ctr.many(ctx, b.many); err != nil {
			return "", err
		}
		peer.Add(t)
	}
	ms := report.Milliseconds
	return fmt.Sprintf("\n%d at once, until all are RUNNING:\n\n", b.many) + report.Table([]string{"", "best of two", "a second", "ratio"},
		[]string{"RunTask, ten in a call", ms(ours.Min()), rate(b.many, ours.Min()), "1.00"},
		[]string{"`ctr run -d`, all at the same time", ms(peer.Min()), rate(b.many, peer.Min()), report.Ratio(ours.Min(), peer.Min())}), nil
}

func rate(n int, t time.Duration) string { return fmt.Sprintf("%.0f", float64(n)/t.Seconds()) }
