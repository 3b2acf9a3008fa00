package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// workload is what is asked of a proxy.
type workload struct {
	name        string
	path        string
	connections int
	headers     []string
	// secure asks over TLS.
	secure bool
	// streams of each connection's HTTP/2, which h2load asks over; 0 for wrk
	// and HTTP/1.1.
	streams int
	// shake makes a TLS connection for each request, with a full handshake or
	// one that resumes a session, by a client of this program's own.
	shake handshake
}

var (
	small       = workload{name: "small responses", path: "/index.html?a=b", connections: 64}
	bodies      = workload{name: "bodies of 1 MB", path: "/bytes/1048576", connections: 8}
	connections = workload{name: "a connection each", path: "/index.html?a=b", connections: 64, headers: []string{"Connection: close"}}
	secure      = workload{name: "small responses over TLS", path: "/index.html?a=b", connections: 64, secure: true}
	multiplexed = workload{name: "HTTP/2", path: "/index.html?a=b", connections: 8, streams: 16, secure: true}
	full        = workload{name: "full handshakes", path: "/index.html?a=b", connections: 16, secure: true, shake: fullHandshake}
	resumed     = workload{name: "resumed handshakes", path: "/index.html?a=b", connections: 16, secure: true, shake: resumedHandshake}
)

// script makes wrk print what the benchmark needs: microseconds, requests,
// failures, and the latencies in microseconds.
const script = `done = function(s, l, r)
	io.write(string.format("\nresult %d %d %d %d %d\n", s.duration, s.requests,
		s.errors.connect + s.errors.read + s.errors.write + s.errors.status + s.errors.timeout,
		l:percentile(50), l:percentile(99)))
end
`

// measure adds one measurement of a proxy to c.
func (b *bench) measure(ctx context.Context, w workload, p *proxy, c *cell) error {
	before, err := p.cpu()
	if err != nil {
		return err
	}
	l, err := b.load(ctx, w, p)
	if err != nil {
		return err
	}
	after, err := p.cpu()
	if err != nil {
		return err
	}
	if l.requests == 0 {
		return fmt.Errorf("no request was answered, %d failed", l.failures)
	}
	c.rate.Add(float64(l.requests) / l.took.Seconds())
	c.perCPU.Add(float64(l.requests) / max(after-before, 10*time.Millisecond).Seconds())
	c.p50.Add(l.p50)
	c.p99.Add(l.p99)
	c.errors += int(l.failures)
	return nil
}

// loaded is what a load found.
type loaded struct {
	took               time.Duration
	requests, failures int64
	p50, p99           time.Duration
}

func (b *bench) load(ctx context.Context, w workload, p *proxy) (loaded, error) {
	switch {
	case w.shake != noHandshake:
		return b.shakes(ctx, w, p)
	case w.streams > 0:
		return b.h2load(ctx, w, p)
	default:
		return b.wrk(ctx, w, p)
	}
}

func (w workload) url(p *proxy) string {
	if w.secure {
		return "https://" + p.secure + w.path
	}
	return "http://" + p.address + w.path
}

// common are the fields of every request.
var common = []string{"Host: shop.example.com", "User-Agent: bench/1.0", "Accept: */*", "Accept-Encoding: gzip"}

func (b *bench) seconds() int { return max(1, int(b.cell/time.Second)) }

func (b *bench) wrk(ctx context.Context, w workload, p *proxy) (l loaded, err error) {
	lua := filepath.Join(b.dir, "wrk.lua")
	if err := os.WriteFile(lua, []byte(script), 0o600); err != nil {
		return l, err
	}
	args := []string{"wrk", "-t", "1", "-c", strconv.Itoa(w.connections), "-d", fmt.Sprintf("%ds", b.seconds()), "-s", lua}
	for _, h := range append(slices.Clip(common), w.headers...) {
		args = append(args, "-H", h)
	}
	out, err := pinned(ctx, append(args, w.url(p))...)
	if err != nil {
		return l, err
	}
	_, line, _ := bytes.Cut(out, []byte("\nresult "))
	var micros, p50, p99 int64
	if _, err := fmt.Sscan(string(line), &micros, &l.requests, &l.failures, &p50, &p99); err != nil {
		return l, fmt.Errorf("wrk answered nothing to read: %w\n%s", err, out)
	}
	l.took, l.p50, l.p99 = time.Duration(micros)*time.Microsecond, time.Duration(p50)*time.Microsecond, time.Duration(p99)*time.Microsecond
	return l, nil
}

// pinned runs a program on the load's core.
func pinned(ctx context.Context, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, "taskset", append([]string{"-c", strconv.Itoa(otherCore)}, args...)...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", args[0], err, out)
	}
	return out, nil
}

// h2load asks over HTTP/2, and logs when each request began, its status and
// how many microseconds it took.
func (b *bench) h2load(ctx context.Context, w workload, p *proxy) (l loaded, err error) {
	log := filepath.Join(b.dir, "h2load.log")
	if err := os.RemoveAll(log); err != nil {
		return l, err
	}
	args := []string{
		"h2load", "-t", "1", "-c", strconv.Itoa(w.connections), "-m", strconv.Itoa(w.streams), "-D", strconv.Itoa(b.seconds()),
		"--warm-up-time", "0", "--log-file", log,
	}
	for _, h := range common {
		args = append(args, "-H", strings.Replace(h, "Host", ":authority", 1))
	}
	if _, err := pinned(ctx, append(args, w.url(p))...); err != nil {
		return l, err
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return l, err
	}
	var all []time.Duration
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return l, fmt.Errorf("h2load logged %q", line)
		}
		micros, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return l, fmt.Errorf("h2load logged %q: %w", line, err)
		}
		if f[1] != "200" {
			l.failures++
			continue
		}
		all = append(all, time.Duration(micros)*time.Microsecond)
	}
	l.took, l.requests = time.Duration(b.seconds())*time.Second, int64(len(all))
	l.p50, l.p99 = percentiles(all)
	return l, nil
}

// percentiles are the median and the 99th. It sorts all.
func percentiles(all []time.Duration) (p50, p99 time.Duration) {
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100]
}

// cpu is the time of the core that the process has used.
func (p *process) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("the process's times are not in %q", stat)
	}
	var total time.Duration
	for _, f := range fields[11:13] { // user and system time, in hundredths
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		total += time.Duration(n) * 10 * time.Millisecond
	}
	return total, nil
}

// memory is what belongs to the process, without what it shares.
func (p *process) memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("no memory in %q", text)
}
