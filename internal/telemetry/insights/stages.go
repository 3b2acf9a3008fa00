package insights

import (
	"regexp"
	"slices"
	"strings"
)

// fieldsCommand computes fields, and shows them beside the others or, as
// display, only them.
type fieldsCommand struct {
	items []expr
	only  bool
}

func (c *fieldsCommand) shape(s shape) shape {
	if c.only {
		s = shape{}
	}
	named := slices.Clone(s.named)
	for _, e := range c.items {
		if !slices.Contains(named, e.name) {
			named = append(named, e.name)
		}
	}
	return shape{named: named, parsed: s.parsed}
}

func (c *fieldsCommand) stage(next stage) stage {
	return &each{next: next, f: func(r *row) bool {
		for _, e := range c.items {
			if e.field == "" {
				r.put(e.name, e.eval(r))
			}
		}
		return true
	}}
}

// each does something to each row, and lets it pass or not.
type each struct {
	next stage
	f    func(*row) bool
}

func (e *each) add(r *row) {
	if e.f(r) {
		e.next.add(r)
	}
}

func (e *each) end() { e.next.end() }

// filterCommand lets rows pass that a condition holds for.
type filterCommand struct{ condition expr }

func (c *filterCommand) shape(s shape) shape { return s }

func (c *filterCommand) stage(next stage) stage {
	return &each{next: next, f: func(r *row) bool { return c.condition.eval(r).truth() }}
}

// parseCommand takes parts of a field into fields of their own.
type parseCommand struct {
	from  expr
	re    *regexp.Regexp
	names []string
}

func (c *parseCommand) shape(s shape) shape {
	parsed := slices.Clone(s.parsed)
	for _, n := range c.names {
		if !slices.Contains(s.named, n) && !slices.Contains(parsed, n) {
			parsed = append(parsed, n)
		}
	}
	return shape{named: s.named, parsed: parsed}
}

func (c *parseCommand) stage(next stage) stage {
	return &each{next: next, f: func(r *row) bool {
		m := c.re.FindStringSubmatch(c.from.eval(r).text())
		for i, n := range c.names {
			if m != nil {
				r.put(n, textOf(m[i+1]))
			} else {
				r.put(n, value{})
			}
		}
		return true
	}}
}

// limitCommand lets the first rows pass.
type limitCommand struct{ n int }

func (c *limitCommand) shape(s shape) shape { return s }

func (c *limitCommand) stage(next stage) stage {
	left := c.n
	return &each{next: next, f: func(*row) bool { left--; return left >= 0 }}
}

// dedupCommand lets the first of the rows pass that agree in fields. Those
// without any of the fields pass, too.
type dedupCommand struct{ by []expr }

func (c *dedupCommand) shape(s shape) shape { return s }

func (c *dedupCommand) stage(next stage) stage {
	seen := map[string]bool{}
	return &each{next: next, f: func(r *row) bool {
		key, complete := keyOf(r, c.by)
		if !complete {
			return true
		}
		first := !seen[key]
		seen[key] = true
		return first
	}}
}

// keyOf joins a row's values; complete tells that none is missing.
func keyOf(r *row, by []expr) (key string, complete bool) {
	var b strings.Builder
	complete = true
	for _, e := range by {
		v := e.eval(r)
		complete = complete && !v.null()
		b.WriteByte(byte('0' + v.kind))
		b.WriteString(v.text())
		b.WriteByte(0)
	}
	return b.String(), complete
}

type sortKey struct {
	by         expr
	descending bool
}

// sortCommand orders rows. It keeps as many as a result may have.
type sortCommand struct{ keys []sortKey }

func (c *sortCommand) shape(s shape) shape { return s }

func (c *sortCommand) stage(next stage) stage { return &sorter{next: next, keys: c.keys} }

type sorter struct {
	next stage
	keys []sortKey
	rows []sorted
}

type sorted struct {
	r      *row
	values []value
}

func (s *sorter) add(r *row) {
	values := make([]value, len(s.keys))
	for i, k := range s.keys {
		values[i] = k.by.eval(r)
	}
	s.rows = append(s.rows, sorted{r, values})
	if len(s.rows) >= 2*MaxLimit {
		s.order()
		clear(s.rows[MaxLimit:])
		s.rows = s.rows[:MaxLimit]
	}
}

func (s *sorter) order() {
	slices.SortStableFunc(s.rows, func(a, b sorted) int {
		for i, k := range s.keys {
			c := compare(a.values[i], b.values[i])
			if k.descending {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
}

func (s *sorter) end() {
	s.order()
	for _, r := range s.rows {
		s.next.add(r.r)
	}
	s.next.end()
}
