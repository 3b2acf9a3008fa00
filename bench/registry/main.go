// Command registry measures how fast images of 200 MB are pushed and pulled,
// one and four at a time, beside Debian's docker-registry: from the same
// program, which speaks the protocol as docker does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"roadstead.dev/bench/internal/report"
	"roadstead.dev/bench/internal/server"
)

func main() {
	rounds := flag.Int("rounds", 3, "how often each is measured")
	binary := flag.String("roadstead", "", "the program to measure; empty builds it")
	keep := flag.Bool("keep", false, "print, and leave bench/README.md alone")
	flag.Parse()
	report.Main("registry", *keep, func(ctx context.Context) (string, error) { return run(ctx, *binary, *rounds) })
}

// imageSize is the bytes of an image's layers.
const imageSize = 200_000_000

// sizes of the layers: a base, what is installed, and the program's own.
var sizes = []int{100_000_000, 60_000_000, 25_000_000, 10_000_000, 5_000_000}

// contents are the layers' bytes: random ones, but for the second, which is
// text.
func contents() [][]byte {
	r := rand.NewChaCha8([32]byte{1})
	out := make([][]byte, len(sizes))
	for i, n := range sizes {
		out[i] = make([]byte, n)
		if i == 1 {
			for j := range out[i] {
				out[i][j] = "a roadstead is a sheltered stretch of water\n"[j%44]
			}
			continue
		}
		_, _ = r.Read(out[i])
	}
	return out
}

type phase struct {
	what string // push or pull
	n    int
}

var phases = []phase{{"push", 1}, {"pull", 1}, {"push", 4}, {"pull", 4}}

type result struct {
	rate report.Samples[float64]       // MB a second
	cpu  report.Samples[time.Duration] // for an image
}

func run(ctx context.Context, binary string, rounds int) (_ string, err error) {
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
	one, err := ours(ctx, binary, dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, one.stop()) }()
	other, err := distribution(ctx, dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, other.stop()) }()
	peers := []*peer{one, other}
	b := &bench{contents: contents(), results: map[string]map[phase]*result{}}
	for round := range rounds {
		for _, ph := range phases {
			for i := range peers {
				if err := b.measure(ctx, peers[(i+round)%2], round, ph); err != nil {
					return "", fmt.Errorf("%s: %s: %w", peers[(i+round)%2].name, ph.what, err)
				}
			}
		}
	}
	return b.tell(peers, rounds)
}

type bench struct {
	contents [][]byte
	results  map[string]map[phase]*result
}

// measure pushes n new images at once, or pulls those that were pushed last.
func (b *bench) measure(ctx context.Context, p *peer, round int, ph phase) error {
	repository := fmt.Sprintf("bench/r%d-n%d", round, ph.n)
	work := func(i int) error {
		got, err := p.client.pull(ctx, repository, fmt.Sprint(i), false)
		if err == nil && got < imageSize {
			err = fmt.Errorf("pulled %d bytes", got)
		}
		return err
	}
	if ph.what == "push" {
		if err := p.prepare(ctx, repository); err != nil {
			return err
		}
		images := make([][]layer, ph.n)
		g := errgroup.Group{}
		for i := range images {
			g.Go(func() error {
				for j, content := range b.contents {
					images[i] = append(images[i], newLayer(fmt.Sprintf("%s:%d layer %d", repository, i, j), content))
				}
				return nil
			})
		}
		_ = g.Wait() // nothing fails
		work = func(i int) error {
			config := newLayer(fmt.Sprintf(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"author":"%s:%d"}`, repository, i), nil)
			return p.client.push(ctx, repository, fmt.Sprint(i), config, images[i])
		}
	}
	unix.Sync() // what was written before is not waited for now
	before, err := usageOf(p.pid)
	if err != nil {
		return err
	}
	begun := time.Now()
	g := errgroup.Group{}
	for i := range ph.n {
		g.Go(func() error { return work(i) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	took := time.Since(begun)
	after, err := usageOf(p.pid)
	if err != nil {
		return err
	}
	if b.results[p.name] == nil {
		b.results[p.name] = map[phase]*result{}
	}
	r := b.results[p.name][ph]
	if r == nil {
		r = &result{}
		b.results[p.name][ph] = r
	}
	rate := float64(ph.n) * imageSize / 1e6 / took.Seconds()
	fmt.Printf("round %d: %s of %d: %-16s %6.0f MB/s\n", round+1, ph.what, ph.n, p.name, rate)
	r.rate.Add(rate)
	r.cpu.Add((after.cpu - before.cpu) / time.Duration(ph.n))
	if ph.what == "pull" && round == 0 {
		if _, err := p.client.pull(ctx, repository, "0", true); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) tell(peers []*peer, rounds int) (string, error) {
	var rows [][]string
	for _, ph := range phases {
		base := b.results[peers[1].name][ph].rate.Median()
		for _, p := range peers {
			r := b.results[p.name][ph]
			rows = append(rows, []string{
				p.name, fmt.Sprintf("%s, %d at once", ph.what, ph.n), fmt.Sprintf("%.0f", r.rate.Median()),
				report.Ratio(r.rate.Median(), base) + "×", fmt.Sprintf("%.0f–%.0f", r.rate.Min(), r.rate.Max()), report.Milliseconds(r.cpu.Median()),
			})
		}
	}
	var memory []string
	for _, p := range peers {
		u, err := usageOf(p.pid)
		if err != nil {
			return "", err
		}
		memory = append(memory, p.name+" "+report.Megabytes(u.peak))
	}
	return "## Images pushed and pulled\n\n" +
		fmt.Sprintf("Images of 200 MB in five layers (100, 60, 25, 10 and 5 MB; the second is text, the others are random), three of which move at a time. A push is POST, PATCH and PUT for each layer; what is pulled is thrown away. The median of %d rounds, in turns.\n\n", rounds) +
		report.Table([]string{"server", "what", "MB/s", "to docker-registry's", "min–max", "CPU for an image"}, rows...) +
		"\nPeak resident memory: " + strings.Join(memory, ", ") + ". Roadstead's includes all of its other APIs. " +
		"Both sync a layer's content to disk before they acknowledge it; Roadstead also syncs the folders that name it and the record that lists it, and authenticates and authorizes each request, which docker-registry is not set to do.", nil
}
