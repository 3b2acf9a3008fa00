package insights

import (
	"cmp"
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// value is what an expression gives: nothing, a text, a number, a time or a
// truth. What events hold is text; texts that are numbers compare as numbers.
type value struct {
	kind kind
	s    string
	n    float64
}

type kind uint8

const (
	nullKind kind = iota
	textKind
	numberKind
	timeKind // n is in milliseconds
	boolKind // n is 1 or 0
)

func textOf(s string) value    { return value{kind: textKind, s: s} }
func numberOf(n float64) value { return value{kind: numberKind, n: n} }
func timeOf(ms int64) value    { return value{kind: timeKind, n: float64(ms)} }

func boolOf(b bool) value {
	if b {
		return value{kind: boolKind, n: 1}
	}
	return value{kind: boolKind}
}

func (v value) null() bool { return v.kind == nullKind }

// text is the value as it is shown.
func (v value) text() string {
	switch v.kind {
	case textKind:
		return v.s
	case numberKind:
		return strconv.FormatFloat(v.n, 'f', -1, 64)
	case timeKind:
		return timeText(int64(v.n))
	case boolKind:
		if v.n != 0 {
			return "1"
		}
		return "0"
	case nullKind:
	}
	return ""
}

// number is the value as a number, if it is one.
func (v value) number() (float64, bool) {
	switch v.kind {
	case numberKind, timeKind, boolKind:
		return v.n, true
	case textKind:
		s := strings.TrimSpace(v.s)
		if s == "" || strings.ContainsAny(s, "xXpP_iInN") {
			return 0, false
		}
		n, err := strconv.ParseFloat(s, 64)
		return n, err == nil && !math.IsInf(n, 0)
	case nullKind:
	}
	return 0, false
}

// truth is how a filter takes the value.
func (v value) truth() bool {
	if v.kind == textKind {
		return v.s != "" && !strings.EqualFold(v.s, "false") && v.s != "0"
	}
	return v.kind != nullKind && v.n != 0
}

// compare orders values: numbers by size, others as text, nothing first.
func compare(a, b value) int {
	if a.null() || b.null() {
		return cmp.Compare(boolInt(!a.null()), boolInt(!b.null()))
	}
	x, ok1 := a.number()
	y, ok2 := b.number()
	if ok1 && ok2 {
		return cmp.Compare(x, y)
	}
	return strings.Compare(a.text(), b.text())
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// row is a record on its way through a query, or a group of them behind stats.
type row struct {
	rec *Record // nil behind stats
	set map[string]value
	doc map[string]value // the fields of a JSON message, nil until asked for
}

func (r *row) put(name string, v value) {
	if r.set == nil {
		r.set = map[string]value{}
	}
	r.set[name] = v
}

// get is a field of the row.
func (r *row) get(name string) value {
	if v, ok := r.set[name]; ok || r.rec == nil {
		return v
	}
	switch name {
	case "@timestamp":
		return timeOf(r.rec.Timestamp)
	case "@ingestionTime":
		return timeOf(r.rec.Ingestion)
	case "@message":
		return textOf(r.rec.Message)
	case "@logStream":
		return textOf(r.rec.Stream)
	case "@log":
		return textOf(r.rec.Log)
	case "@ptr":
		return textOf(r.rec.Ptr)
	}
	if r.doc == nil {
		r.doc = discover(r.rec.Message)
	}
	return r.doc[name]
}

// maxDiscovered is how many fields are found in an event, as AWS limits them.
const maxDiscovered = 1000

// discover finds the fields of a JSON object in a message, which may have text
// around it: nested ones by their path, a.b.0.
func discover(message string) map[string]value {
	out := map[string]value{}
	start := strings.IndexByte(message, '{')
	if start < 0 {
		return out
	}
	d := json.NewDecoder(strings.NewReader(message[start:]))
	d.UseNumber()
	var doc map[string]any
	if d.Decode(&doc) == nil {
		flatten(out, "", doc)
	}
	return out
}

func flatten(out map[string]value, path string, v any) {
	if len(out) >= maxDiscovered {
		return
	}
	child := func(name string) string {
		if path == "" {
			return name
		}
		return path + "." + name
	}
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			flatten(out, child(k), e)
		}
	case []any:
		for i, e := range v {
			flatten(out, child(strconv.Itoa(i)), e)
		}
	case string:
		out[path] = textOf(v)
	case json.Number:
		out[path] = textOf(v.String())
	case bool:
		out[path] = boolOf(v)
	}
}
