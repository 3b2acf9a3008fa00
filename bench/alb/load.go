package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// workload is what wrk asks for.
type workload struct {
	name        string
	path        string
	connections int
	headers     []string
}

var (
	small       = workload{name: "small responses", path: "/index.html?a=b", connections: 64}
	bodies      = workload{name: "bodies of 1 MB", path: "/bytes/1048576", connections: 8}
	connections = workload{name: "a connection each", path: "/index.html?a=b", connections: 64, headers: []string{"Connection: close"}}
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
	lua := filepath.Join(b.dir, "wrk.lua")
	if err := os.WriteFile(lua, []byte(script), 0o600); err != nil {
		return err
	}
	args := []string{
		"-c", strconv.Itoa(otherCore), "wrk", "-t", "1", "-c", strconv.Itoa(w.connections),
		"-d", fmt.Sprintf("%ds", max(1, int(b.cell/time.Second))), "-s", lua,
		"-H", "Host: shop.example.com", "-H", "User-Agent: bench/1.0", "-H", "Accept: */*", "-H", "Accept-Encoding: gzip",
	}
	for _, h := range w.headers {
		args = append(args, "-H", h)
	}
	before, err := p.cpu()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "taskset", append(args, "http://"+p.address+w.path)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("wrk: %w\n%s", err, out)
	}
	after, err := p.cpu()
	if err != nil {
		return err
	}
	_, line, _ := bytes.Cut(out, []byte("\nresult "))
	var micros, requests, failures, p50, p99 int64
	if _, err := fmt.Sscan(string(line), &micros, &requests, &failures, &p50, &p99); err != nil || requests == 0 {
		return fmt.Errorf("wrk answered nothing to read: %w\n%s", err, out)
	}
	c.rate.Add(float64(requests) / (float64(micros) / 1e6))
	c.perCPU.Add(float64(requests) / max(after-before, 10*time.Millisecond).Seconds())
	c.p50.Add(time.Duration(p50) * time.Microsecond)
	c.p99.Add(time.Duration(p99) * time.Microsecond)
	c.errors += int(failures)
	return nil
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
