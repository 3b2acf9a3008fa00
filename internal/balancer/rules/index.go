package rules

import (
	"maps"
	"math"
	"net/netip"
	"slices"

	"roadstead.dev/internal/balancer/h1"
	"roadstead.dev/internal/model"
	"roadstead.dev/internal/plan/match"
)

// scanned is how many rules are tried one after the other; with more, an index
// tells which of them to try.
const scanned = 8

// index finds the rules that a request can match by the beginning of its path
// or the end of its host. It never changes.
type index struct {
	paths, hosts keys
	// rest are the rules that neither can tell anything about.
	rest []int
}

// keys are texts that a path begins with, or a host ends with, each with the
// rules it stands for in order.
type keys struct {
	byText map[string][]int
	// lengths that texts have, each once.
	lengths []int
}

// anchor are the texts of which a request must have one for a condition to
// hold.
type anchor struct {
	of    *keys
	texts []string
}

// newIndex makes the index of rules that are in order.
func newIndex(rules []Rule) *index {
	x := &index{paths: keys{byText: map[string][]int{}}, hosts: keys{byText: map[string][]int{}}}
	anchors := make([][]anchor, len(rules))
	shared := map[*keys]map[string]int{&x.paths: {}, &x.hosts: {}}
	for i, r := range rules {
		if r.Default {
			continue
		}
		for _, c := range r.Conditions {
			a := x.anchor(c)
			if a.of == nil {
				continue
			}
			anchors[i] = append(anchors[i], a)
			for _, t := range a.texts {
				shared[a.of][t]++
			}
		}
	}
	for i := range rules {
		// What few rules share tells most.
		best, least := anchor{}, math.MaxInt
		for _, a := range anchors[i] {
			n := 0
			for _, t := range a.texts {
				n += shared[a.of][t]
			}
			if n < least {
				best, least = a, n
			}
		}
		if best.of == nil {
			x.rest = append(x.rest, i)
			continue
		}
		for _, t := range best.texts {
			best.of.byText[t] = append(best.of.byText[t], i)
		}
	}
	x.paths.measure()
	x.hosts.measure()
	return x
}

// anchor is that of a condition; without keys when it has none.
func (x *index) anchor(c model.RuleCondition) anchor {
	var of *keys
	switch c.Field {
	case model.ConditionPathPattern:
		of = &x.paths
	case model.ConditionHostHeader:
		of = &x.hosts
	default:
		return anchor{}
	}
	texts := sure(c, of == &x.hosts)
	if slices.Contains(texts, "") {
		return anchor{}
	}
	slices.Sort(texts)
	return anchor{of, slices.Compact(texts)}
}

// sure are, for each value of a condition, what hosts that match it end with, or
// paths begin with.
func sure(c model.RuleCondition, host bool) (texts []string) {
	for _, p := range patterns(c.Values, host) {
		if host {
			texts = append(texts, string(p.ending()))
		} else {
			texts = append(texts, string(p.beginning()))
		}
	}
	for _, v := range c.RegexValues {
		texts = append(texts, match.Sure(v, host))
	}
	return texts
}

func (k *keys) measure() {
	seen := map[int]bool{}
	for t := range k.byText {
		seen[len(t)] = true
	}
	k.lengths = slices.Sorted(maps.Keys(seen))
}

// maxHost is the length of a host above which all rules are tried: no name is
// longer.
const maxHost = 255

// match is what Table.Match is, tried on the rules that the index names alone.
func (x *index) match(t *Table, r *h1.Request, source netip.Addr) int {
	var buf [maxHost]byte
	host, path := HostOnly(r.Host), r.Path()
	if len(host) > maxHost {
		return t.scan(r, source)
	}
	for i, b := range host {
		buf[i] = lower(b)
	}
	host = buf[:len(host)]
	best := math.MaxInt
	try := func(rules []int) {
		for _, i := range rules {
			if i >= best {
				return
			}
			if t.rules[i].holds(r, source) {
				best = i
				return
			}
		}
	}
	for _, n := range x.paths.lengths {
		if n > len(path) {
			break
		}
		try(x.paths.byText[string(path[:n])])
	}
	for _, n := range x.hosts.lengths {
		if n > len(host) {
			break
		}
		try(x.hosts.byText[string(host[len(host)-n:])])
	}
	try(x.rest)
	if best == math.MaxInt {
		return -1
	}
	return best
}
