// Command start measures how long a server takes from exec to its first answer
// to a signed request, and what memory it has while idle, beside moto_server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"roadstead.dev/bench/internal/report"
	"roadstead.dev/bench/internal/server"
	"roadstead.dev/internal/engine/containerd/supervise"
	"roadstead.dev/internal/id"
)

func main() {
	rounds := flag.Int("n", 15, "how often each is started")
	idle := flag.Duration("idle", 10*time.Second, "how long a server is left alone before its memory is read")
	binary := flag.String("roadstead", "", "the program to measure; empty builds it")
	keep := flag.Bool("keep", false, "print, and leave bench/README.md alone")
	flag.Parse()
	report.Main("start", *keep, func(ctx context.Context) (string, error) { return run(ctx, *binary, *rounds, *idle) })
}

// contender is one way to start a server.
type contender struct {
	name string
	// prepare is run before each start, and is not measured.
	prepare func() error
	start   func(ctx context.Context) (*server.Server, error)
	// stop ends what start started.
	stop func(*server.Server) error
	// daemon finds the process of the containerd that goes with it.
	daemon func() (int, error)

	took, ready   report.Durations
	memory        server.Memory
	daemonsMemory server.Memory
}

func run(ctx context.Context, binary string, rounds int, idle time.Duration) (text string, err error) {
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
	all, cleanUp, err := contenders(ctx, binary, dir)
	defer func() { err = errors.Join(err, cleanUp()) }()
	if err != nil {
		return "", err
	}
	for round := range rounds {
		for _, c := range all {
			fmt.Fprintf(os.Stderr, "\rround %d of %d: %-60s", round+1, rounds, c.name)
			if err := c.once(ctx, round == rounds-1, idle); err != nil {
				return "", fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	fmt.Fprintln(os.Stderr)
	return table(all), nil
}

// once starts and stops a server. The last time its memory is read.
func (c *contender) once(ctx context.Context, last bool, idle time.Duration) (err error) {
	if err := c.prepare(); err != nil {
		return err
	}
	s, err := c.start(ctx)
	if s != nil {
		defer func() { err = errors.Join(err, c.stop(s)) }()
	}
	if err != nil {
		return err
	}
	c.took.Add(s.Started)
	c.ready.Add(s.Ready)
	if !last {
		return nil
	}
	time.Sleep(idle)
	if c.memory, err = s.Memory(); err != nil || c.daemon == nil {
		return err
	}
	pid, err := c.daemon()
	if err != nil {
		return err
	}
	c.daemonsMemory, err = server.MemoryOf(pid)
	return err
}

func table(all []*contender) string {
	peer := all[len(all)-1]
	var rows [][]string
	for _, c := range all {
		daemon, ready := "", ""
		if c != peer {
			ready = report.Milliseconds(c.ready.Median())
		}
		if c.daemon != nil {
			daemon = report.Megabytes(c.daemonsMemory.RSS)
		}
		rows = append(rows, append(append([]string{c.name}, report.Cells(&c.took, report.Milliseconds)...),
			report.Ratio(peer.took.Median(), c.took.Median()), ready,
			report.Megabytes(c.memory.RSS), report.Megabytes(c.memory.PSS), report.Megabytes(c.memory.Anonymous), daemon))
	}
	return "## Start\n\nFrom exec to the first answer to a signed request (GetCallerIdentity, asked again every millisecond), and the memory of the server's process " +
		"while nothing is asked of it. Ready is when tasks can start, at the median. Anonymous memory is what the process itself made: the rest is the program's own file. " +
		"Where there is a containerd that belongs to the server, its memory stands beside.\n\n" +
		report.Table(append(append([]string{""}, report.Columns()...), "times as fast as moto", "ready", "RSS", "PSS", "anonymous", "its containerd"), rows...)
}

// contenders are Roadstead in its ways to start, and moto last.
func contenders(ctx context.Context, binary, dir string) (all []*contender, cleanUp func() error, err error) {
	shared := supervise.Config{Root: filepath.Join(dir, "containerd"), RunDir: "/run/rsbench" + id.Hex(6), Cgroup: "/rsbench.containerd"}
	cleanUp = func() error { return supervise.Stop(context.WithoutCancel(ctx), shared) }
	if os.Geteuid() != 0 {
		return nil, cleanUp, errors.New("containers need root")
	}
	daemon, err := supervise.Ensure(ctx, shared)
	if err != nil {
		return nil, cleanUp, err
	}
	folder := func(name string) string { return filepath.Join(dir, name) }
	start := func(name, engine, containerd string) func(context.Context) (*server.Server, error) {
		return func(ctx context.Context) (*server.Server, error) {
			return server.Start(ctx, server.Options{Binary: binary, DataDir: folder(name), Engine: engine, Containerd: containerd})
		}
	}
	fresh := func(name string) func() error { return func() error { return os.RemoveAll(folder(name)) } }
	nothing := func() error { return nil }
	down := (*server.Server).Down
	all = []*contender{
		{name: "fake engine, new data folder", prepare: fresh("fake"), start: start("fake", "fake", ""), stop: down},
		{name: "fake engine, again", prepare: nothing, start: start("fake", "fake", ""), stop: down},
		{name: "containers, new data folder, a containerd that runs", prepare: fresh("theirs"), start: start("theirs", "containerd", daemon), stop: down},
		{
			name: "containers, new data folder, starting a containerd", prepare: fresh("own"), start: start("own", "containerd", ""), stop: down,
			daemon: func() (int, error) { return daemonOf(folder("own")) },
		},
		{name: "containers, after `down`", prepare: nothing, start: start("own", "containerd", ""), stop: (*server.Server).Kill},
		{name: "containers, after a crash", prepare: nothing, start: start("own", "containerd", ""), stop: down},
		{name: "moto_server", prepare: nothing, start: func(ctx context.Context) (*server.Server, error) { return server.Moto(ctx, dir) }, stop: (*server.Server).Stop},
	}
	if _, err := exec.LookPath("moto_server"); err != nil {
		return nil, cleanUp, fmt.Errorf("the peer is not installed: %w", err)
	}
	return all, cleanUp, nil
}

// daemonOf is the containerd whose configuration names the data folder.
func daemonOf(dataDir string) (int, error) {
	files, err := filepath.Glob("/run/roadstead/*/containerd/containerd.toml")
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || !strings.Contains(string(b), dataDir+"/") {
			continue
		}
		pid, err := os.ReadFile(filepath.Join(filepath.Dir(f), "containerd.pid"))
		if err != nil {
			return 0, err
		}
		var n int
		_, err = fmt.Sscan(string(pid), &n)
		return n, err
	}
	return 0, errors.New("the server's containerd is not found")
}
