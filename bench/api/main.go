// Command api measures how many requests a second ECS's API answers, and how
// fast, beside moto_server: the same mix of reads and writes from the same
// program, with signed requests over connections that are kept.
//
// Roadstead verifies every signature, makes every write durable before it
// answers, and takes the tasks through their lives on the fake engine. Moto
// does none of that.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"golang.org/x/sync/errgroup"

	"roadstead.dev/bench/internal/report"
	"roadstead.dev/bench/internal/server"
	"roadstead.dev/test/rawaws"
)

func main() {
	rounds := flag.Int("rounds", 3, "how often each is measured")
	span := flag.Duration("for", 4*time.Second, "how long each measurement takes")
	binary := flag.String("roadstead", "", "the program to measure; empty builds it")
	only := flag.String("endpoint", "", "load the server at this URL, and print what it did")
	clients := flag.Int("clients", 32, "with -endpoint: how many clients")
	keep := flag.Bool("keep", false, "print, and leave bench/README.md alone")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if *only != "" {
		err = loadOnly(ctx, *only, *clients, *span)
	} else {
		err = run(ctx, *binary, *rounds, *span, *keep)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench api:", err)
		os.Exit(1)
	}
}

// peer is a server that is measured.
type peer struct {
	name    string
	server  *server.Server
	results map[int]*result // by the number of clients
}

// result of all rounds with one number of clients.
type result struct {
	rates report.Samples[float64]
	times report.Durations
}

var clientCounts = []int{1, 8, 32}

func run(ctx context.Context, binary string, rounds int, span time.Duration, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "roadstead-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if binary == "" {
		if binary, err = server.Build(ctx, dir); err != nil {
			return err
		}
	}
	ours, err := server.Start(ctx, server.Options{Binary: binary, DataDir: filepath.Join(dir, "data"), Engine: "fake"})
	if err != nil {
		return err
	}
	defer func() { _ = ours.Down() }()
	moto, err := server.Moto(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { _ = moto.Stop() }()
	peers := []*peer{{name: "roadstead", server: ours}, {name: "moto_server", server: moto}}
	for round := range rounds {
		for _, n := range clientCounts {
			for i := range peers {
				p := peers[(i+round)%2] // they take turns in going first
				if p.results == nil {
					p.results = map[int]*result{}
				}
				if p.results[n] == nil {
					p.results[n] = &result{}
				}
				name := fmt.Sprintf("r%d-c%d", round, n)
				rate, err := load(ctx, p.server.Endpoint, name, n, span, &p.results[n].times)
				if err != nil {
					return fmt.Errorf("%s with %d clients: %w", p.name, n, err)
				}
				fmt.Printf("round %d, %2d clients: %-12s %7.0f requests/s\n", round+1, n, p.name, rate)
				p.results[n].rates.Add(rate)
			}
		}
	}
	text, err := tell(peers, rounds, span)
	if err != nil || keep {
		fmt.Println(text)
		return err
	}
	return report.Section("api", text)
}

func tell(peers []*peer, rounds int, span time.Duration) (string, error) {
	var rows [][]string
	for _, n := range clientCounts {
		base := peers[1].results[n].rates.Median()
		for _, p := range peers {
			r := p.results[n]
			rows = append(rows, []string{
				p.name, fmt.Sprint(n), fmt.Sprintf("%.0f", r.rates.Median()), report.Ratio(r.rates.Median(), base) + "×",
				report.Milliseconds(r.times.Median()), report.Milliseconds(r.times.Quantile(0.99)), fmt.Sprint(r.times.N()),
			})
		}
	}
	var memory []string
	for _, p := range peers {
		m, err := p.server.Memory()
		if err != nil {
			return "", err
		}
		memory = append(memory, p.name+" "+report.Megabytes(m.RSS))
	}
	return "## Requests per second\n\n" +
		"A mix of ECS operations from one program, which signs each request and keeps its connections. " + described() + "\n\n" +
		report.Table([]string{"server", "clients", "requests/s", "to moto's", "p50", "p99", "requests"}, rows...) +
		fmt.Sprintf("\nThe median of %d rounds of %v each, in turns; client and server share the machine. ", rounds, span) +
		"Roadstead verifies signatures, syncs each write to disk before it answers, and meanwhile takes each task and service through its life on the fake engine; moto_server keeps records in memory and does nothing with them. " +
		"Resident memory at the end: " + strings.Join(memory, ", ") + ".", nil
}

// load runs the mix from n clients for span, and returns the requests a second.
func load(ctx context.Context, endpoint, name string, n int, span time.Duration, times *report.Durations) (rate float64, err error) {
	c := rawaws.New(endpoint, n)
	defer c.Close()
	subnet, group, err := anywhere(ctx, endpoint)
	if err != nil {
		return 0, err
	}
	workers := make([]*worker, n)
	for i := range workers {
		workers[i] = &worker{c: c, name: fmt.Sprintf("%s-%d", name, i), subnet: subnet, group: group, random: rand.New(rand.NewPCG(uint64(i), 1))} //nolint:gosec // a load, not a secret
		if err := workers[i].setUp(ctx); err != nil {
			return 0, err
		}
	}
	var mu sync.Mutex
	total := 0
	begun := time.Now()
	end := begun.Add(span)
	g, gctx := errgroup.WithContext(ctx)
	for _, w := range workers {
		g.Go(func() error {
			var mine []time.Duration
			for now := time.Now(); now.Before(end); {
				if err := pick(w.random).run(w, gctx); err != nil {
					return err
				}
				after := time.Now()
				mine = append(mine, after.Sub(now))
				now = after
			}
			mu.Lock()
			defer mu.Unlock()
			total += len(mine)
			for _, d := range mine {
				times.Add(d)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	rate = float64(total) / time.Since(begun).Seconds()
	for _, w := range workers {
		if err := w.tearDown(ctx); err != nil {
			return 0, err
		}
	}
	return rate, nil
}

// loadOnly is for profiles.
func loadOnly(ctx context.Context, endpoint string, clients int, span time.Duration) error {
	var times report.Durations
	rate, err := load(ctx, endpoint, fmt.Sprintf("p%d", time.Now().UnixNano()), clients, span, &times)
	if err != nil {
		return err
	}
	fmt.Printf("%d clients: %.0f requests/s, p50 %s, p99 %s\n", clients, rate, report.Milliseconds(times.Median()), report.Milliseconds(times.Quantile(0.99)))
	return nil
}

// anywhere is a subnet of the default VPC, and the VPC's default group.
func anywhere(ctx context.Context, endpoint string) (subnet, group string, err error) {
	api := ec2.NewFromConfig((&server.Server{Endpoint: endpoint}).Config())
	subnets, err := api.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	if err != nil {
		return "", "", err
	}
	groups, err := api.DescribeSecurityGroups(ctx, &ec2.DescribeSecurityGroupsInput{GroupNames: []string{"default"}})
	if err != nil {
		return "", "", err
	}
	if len(subnets.Subnets) == 0 || len(groups.SecurityGroups) == 0 {
		return "", "", fmt.Errorf("%s has no default VPC", endpoint)
	}
	return *subnets.Subnets[0].SubnetId, *groups.SecurityGroups[0].GroupId, nil
}
