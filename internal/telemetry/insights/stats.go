package insights

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// statsCommand aggregates rows by groups.
type statsCommand struct {
	aggregates []aggregate
	by         []expr
}

// aggregate is one function over the rows of a group.
type aggregate struct {
	name string
	make func() accumulator
}

// accumulator takes the rows of a group and gives the result.
type accumulator interface {
	add(*row)
	result() value
}

// stats reads count(*) as n, avg(x) by bin(5m), y.
func (p *parser) stats() command {
	c := &statsCommand{}
	for {
		c.aggregates = append(c.aggregates, p.aggregate())
		if p.err != nil || !p.eat(",") {
			break
		}
	}
	if p.eatWord("by") {
		c.by = p.items()
	}
	return c
}

func (p *parser) aggregate() aggregate {
	name := p.tok
	word := strings.ToLower(name.text)
	if name.kind != nameToken {
		p.unexpected()
		return aggregate{}
	}
	p.advance(false)
	p.expect("(")
	var of expr
	switch {
	case p.eat("*"):
		of = expr{eval: func(*row) value { return numberOf(1) }}
	case p.is(")"):
		of = expr{eval: func(*row) value { return numberOf(1) }}
	default:
		of = p.expression()
	}
	percentile := math.NaN()
	if p.eat(",") {
		n, err := strconv.ParseFloat(p.tok.text, 64)
		if p.tok.kind != numberToken || err != nil || n < 0 || n > 100 || word != "pct" {
			p.unexpected()
		}
		percentile = n
		p.advance(false)
	}
	if !p.is(")") {
		p.unexpected()
	}
	end := p.tok.end
	p.advance(false)
	a := aggregate{name: p.lex.s[name.start:end]}
	switch word {
	case "count":
		a.make = func() accumulator { return &count{of: of} }
	case "count_distinct":
		a.make = func() accumulator { return &distinct{of: of, seen: map[string]bool{}} }
	case "sum", "avg", "min", "max", "stddev", "median":
		a.make = func() accumulator { return &numbers{of: of, what: word} }
	case "pct":
		if math.IsNaN(percentile) {
			p.fail("pct needs a percentage at offset %d", name.start)
		}
		a.make = func() accumulator { return &numbers{of: of, what: word, percentile: percentile} }
	case "earliest", "latest", "sortsfirst", "sortslast":
		a.make = func() accumulator { return &chosen{of: of, what: word} }
	default:
		p.tok = name
		p.fail("unknown function %s at offset %d", name.text, name.start)
	}
	if p.eatWord("as") {
		a.name = p.name()
	}
	return a
}

func (c *statsCommand) shape(shape) shape {
	s := shape{named: []string{}}
	for _, e := range c.by {
		s.named = append(s.named, e.name)
	}
	for _, a := range c.aggregates {
		s.named = append(s.named, a.name)
	}
	return s
}

// maxGroups bounds the groups of a query; rows of further ones are left out.
const maxGroups = 100_000

func (c *statsCommand) stage(next stage) stage {
	return &grouper{next: next, c: c, groups: map[string]*group{}}
}

type grouper struct {
	next   stage
	c      *statsCommand
	groups map[string]*group
	order  []*group // as they appeared
}

type group struct {
	row          *row
	accumulators []accumulator
}

func (g *grouper) add(r *row) {
	key, _ := keyOf(r, g.c.by)
	found := g.groups[key]
	if found == nil {
		if len(g.groups) == maxGroups {
			return
		}
		found = g.newGroup(r)
		g.groups[key] = found
	}
	for _, a := range found.accumulators {
		a.add(r)
	}
}

func (g *grouper) newGroup(of *row) *group {
	out := &group{row: &row{}}
	if of != nil {
		for _, e := range g.c.by {
			out.row.put(e.name, e.eval(of))
		}
	}
	for _, a := range g.c.aggregates {
		out.accumulators = append(out.accumulators, a.make())
	}
	g.order = append(g.order, out)
	return out
}

func (g *grouper) end() {
	// Without groups there is one result, even of nothing.
	if len(g.c.by) == 0 && len(g.order) == 0 {
		g.newGroup(nil)
	}
	for _, found := range g.order {
		for i, a := range found.accumulators {
			found.row.put(g.c.aggregates[i].name, a.result())
		}
		g.next.add(found.row)
	}
	g.next.end()
}

type count struct {
	of expr
	n  int64
}

func (c *count) add(r *row) {
	if !c.of.eval(r).null() {
		c.n++
	}
}

func (c *count) result() value { return numberOf(float64(c.n)) }

type distinct struct {
	of   expr
	seen map[string]bool
}

func (d *distinct) add(r *row) {
	if v := d.of.eval(r); !v.null() {
		d.seen[v.text()] = true
	}
}

func (d *distinct) result() value { return numberOf(float64(len(d.seen))) }

// numbers are functions of numbers; other values are left out. Only those that
// need all of them keep them.
type numbers struct {
	of         expr
	what       string
	percentile float64

	n              int64
	sum, low, high float64
	mean, squares  float64 // Welford's, for the deviation
	at             bool    // all were times
	all            []float64
}

func (a *numbers) add(r *row) {
	v := a.of.eval(r)
	x, ok := v.number()
	if !ok {
		return
	}
	if a.n == 0 {
		a.low, a.high, a.at = x, x, true
	}
	a.n++
	a.sum += x
	a.low, a.high, a.at = min(a.low, x), max(a.high, x), a.at && v.kind == timeKind
	d := x - a.mean
	a.mean += d / float64(a.n)
	a.squares += d * (x - a.mean)
	if a.what == "pct" || a.what == "median" {
		a.all = append(a.all, x)
	}
}

func (a *numbers) result() value {
	if a.n == 0 {
		if a.what == "sum" {
			return numberOf(0)
		}
		return value{}
	}
	var x float64
	switch a.what {
	case "sum":
		return numberOf(a.sum)
	case "stddev":
		return numberOf(math.Sqrt(a.squares / float64(a.n)))
	case "avg":
		x = a.sum / float64(a.n)
	case "min":
		x = a.low
	case "max":
		x = a.high
	case "median":
		x = rank(a.all, 50)
	case "pct":
		x = rank(a.all, a.percentile)
	}
	if a.at {
		return timeOf(int64(x))
	}
	return numberOf(x)
}

// rank is the value that a percentage of the values is not above.
func rank(all []float64, percentage float64) float64 {
	slices.Sort(all)
	i := int(math.Ceil(percentage/100*float64(len(all)))) - 1
	return all[min(max(i, 0), len(all)-1)]
}

// chosen is the value of one row: the earliest or the latest, or the first or
// the last by the value itself.
type chosen struct {
	of   expr
	what string
	best value
	at   value
}

func (c *chosen) add(r *row) {
	v := c.of.eval(r)
	if v.null() {
		return
	}
	by := v
	if c.what == "earliest" || c.what == "latest" {
		by = r.get("@timestamp")
	}
	order := compare(by, c.at)
	if c.best.null() || (c.what == "earliest" || c.what == "sortsfirst") && order < 0 || (c.what == "latest" || c.what == "sortslast") && order > 0 {
		c.best, c.at = v, by
	}
}

func (c *chosen) result() value { return c.best }
