package hostile

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// counts is what was sent and answered, by service.
type counts struct {
	mu sync.Mutex
	m  map[string]*count
}

type count struct {
	cases    int
	statuses map[int]int
	codes    map[string]int
	took     time.Duration
	slowest  time.Duration
	slowCase string
}

func (c *counts) add(service, name string, status int, code string, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = make(map[string]*count)
	}
	n := c.m[service]
	if n == nil {
		n = &count{statuses: make(map[int]int), codes: make(map[string]int)}
		c.m[service] = n
	}
	n.cases++
	n.statuses[status]++
	if code != "" {
		n.codes[code]++
	}
	n.took += took
	if took > n.slowest {
		n.slowest, n.slowCase = took, name
	}
}

func (c *counts) print(w io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	total, statuses := 0, make(map[int]int)
	fmt.Fprintf(w, "%-26s %8s %9s  %s\n", "service", "cases", "mean", "answers")
	for _, name := range slices.Sorted(maps.Keys(c.m)) {
		n := c.m[name]
		total += n.cases
		line := ""
		for _, s := range slices.Sorted(maps.Keys(n.statuses)) {
			statuses[s] += n.statuses[s]
			line += fmt.Sprintf(" %d×%d", s, n.statuses[s])
		}
		fmt.Fprintf(w, "%-26s %8d %9s %s\n", name, n.cases, (n.took / time.Duration(n.cases)).Round(time.Microsecond), line)
		fmt.Fprintf(w, "%-26s          slowest %v: %s\n", "", n.slowest.Round(time.Millisecond), n.slowCase)
		codes := slices.SortedFunc(maps.Keys(n.codes), func(a, b string) int { return cmp.Or(cmp.Compare(n.codes[b], n.codes[a]), cmp.Compare(a, b)) })
		line = ""
		for _, code := range codes[:min(8, len(codes))] {
			line += fmt.Sprintf(" %s×%d", code, n.codes[code])
		}
		fmt.Fprintf(w, "%-26s         %s\n", "", line)
	}
	line := ""
	for _, s := range slices.Sorted(maps.Keys(statuses)) {
		line += fmt.Sprintf(" %d×%d", s, statuses[s])
	}
	fmt.Fprintf(w, "%d cases in %v, answers%s, the server's peak memory %d MB\n", total, time.Since(target.begun).Round(time.Second), line, target.peak>>10)
}
