// Package insights runs queries of CloudWatch Logs Insights over log events:
// fields, display, filter, parse, stats, sort, dedup and limit.
//
// See https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html
package insights

import (
	"fmt"
	"slices"
	"time"
)

// Record is a log event as a query sees it. Times are in milliseconds since
// 1970.
type Record struct {
	Timestamp, Ingestion int64
	Message              string
	// Stream is the stream's name, Log the account and the group, "123:name".
	Stream, Log string
	// Ptr identifies the event.
	Ptr string
}

// Field is a column of a result with its value.
type Field struct{ Name, Value string }

// SyntaxError says what is wrong with a query, and where: byte offsets.
type SyntaxError struct {
	Message    string
	Start, End int
}

func (e *SyntaxError) Error() string { return e.Message }

// Query is a parsed query.
type Query struct{ commands []command }

// The rows of a result: what a query gives that says nothing, and at most.
const (
	DefaultLimit = 10_000
	MaxLimit     = 100_000
)

// Execution is a query under way. Not safe for concurrent use.
type Execution struct {
	first stage
	out   *collector
	// Scanned counts the records that were added, Matched those that passed
	// the filters before the first aggregation.
	Scanned, Matched int64
}

// Run begins to execute the query, whose result has at most limit rows unless
// it limits itself.
func (q *Query) Run(limit int) *Execution {
	x := &Execution{out: &collector{limit: limit}}
	var shown shape
	aggregated, ordered := false, false
	for _, c := range q.commands {
		shown = c.shape(shown)
		switch c := c.(type) {
		case *statsCommand:
			aggregated = true
		case *sortCommand:
			ordered = true
		case *limitCommand:
			x.out.limit = min(MaxLimit, c.n)
		}
	}
	x.out.columns, x.out.events = shown.columns(), !aggregated
	commands := q.commands
	if !aggregated && !ordered {
		commands = withOrder(commands)
	}
	matched := lastFilter(commands)
	x.first = x.out
	for i, c := range slices.Backward(commands) {
		if i == matched {
			x.first = &counter{next: x.first, n: &x.Matched}
		}
		x.first = c.stage(x.first)
	}
	if matched < 0 {
		x.first = &counter{next: x.first, n: &x.Matched}
	}
	x.first = &counter{next: x.first, n: &x.Scanned}
	return x
}

// withOrder lets events that no command orders come the latest first.
func withOrder(commands []command) []command {
	i := slices.IndexFunc(commands, func(c command) bool {
		switch c.(type) {
		case *limitCommand, *dedupCommand:
			return true
		}
		return false
	})
	if i < 0 {
		i = len(commands)
	}
	latest := &sortCommand{keys: []sortKey{{by: fieldRef("@timestamp"), descending: true}}}
	return slices.Insert(slices.Clone(commands), i, command(latest))
}

// lastFilter is the last filter of records as they are, -1 without one.
func lastFilter(commands []command) int {
	last := -1
	for i, c := range commands {
		switch c.(type) {
		case *filterCommand:
			last = i
		case *statsCommand, *limitCommand, *dedupCommand, *sortCommand:
			return last
		}
	}
	return last
}

// Add gives the query a record. Records may come in any order.
func (x *Execution) Add(r Record) { x.first.add(&row{rec: &r}) }

// Results ends the query and gives its rows, each with the columns that have a
// value.
func (x *Execution) Results() [][]Field {
	x.first.end()
	return x.out.rows
}

// stage takes rows and gives others to the next stage.
type stage interface {
	add(*row)
	end()
}

// command is a parsed command.
type command interface {
	// stage makes what executes the command before next.
	stage(next stage) stage
	// shape is the columns that are shown behind the command.
	shape(shape) shape
}

// shape is the columns of a result.
type shape struct {
	named  []string
	parsed []string
}

func (s shape) columns() []string {
	if s.named == nil {
		return append([]string{"@timestamp", "@message"}, s.parsed...)
	}
	out := slices.Clone(s.named)
	for _, n := range s.parsed {
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// counter counts the rows that pass.
type counter struct {
	next stage
	n    *int64
}

func (c *counter) add(r *row) {
	*c.n++
	c.next.add(r)
}

func (c *counter) end() { c.next.end() }

// collector is the last stage.
type collector struct {
	columns []string
	events  bool // rows are log events, which have a pointer
	limit   int
	rows    [][]Field
}

func (c *collector) add(r *row) {
	if len(c.rows) >= c.limit {
		return
	}
	var fields []Field
	for _, name := range c.columns {
		if v := r.get(name); !v.null() {
			fields = append(fields, Field{name, v.text()})
		}
	}
	if c.events && r.rec != nil {
		fields = append(fields, Field{"@ptr", r.rec.Ptr})
	}
	c.rows = append(c.rows, fields)
}

func (c *collector) end() {}

// timeText is how a time is shown.
func timeText(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05.000")
}

func syntax(start, end int, format string, args ...any) error {
	return &SyntaxError{Message: fmt.Sprintf(format, args...), Start: start, End: end}
}
