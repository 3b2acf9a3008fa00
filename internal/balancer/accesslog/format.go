// Package accesslog writes what load balancers log of requests, of connections
// and of health checks, in the forms that AWS documents, and keeps it until somebody
// fetches it.
//
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-connection-logs.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-health-check-logs.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-access-logs.html
package accesslog

import (
	"bytes"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"roadstead.dev/internal/model"
)

// Kind tells what is logged.
type Kind string

// The kinds, by the names of their log types in CloudWatch Logs.
const (
	Access     Kind = model.LogTypeALBAccess
	Connection Kind = model.LogTypeALBConnection
	Checks     Kind = model.LogTypeALBChecks
	Classic    Kind = model.LogTypeClassicAccess
	Network    Kind = model.LogTypeNLBAccess
)

// field is one value of an entry T.
type field[T any] struct {
	name string
	// quoted fields have double quotes round them in plain text.
	quoted bool
	// extra fields are written only where they were asked for.
	extra  bool
	append func(b []byte, e *T) []byte
}

// Format is how entries are written.
type Format struct {
	// JSON writes objects, otherwise plain text is written.
	JSON bool
	// Fields to write, in order; none means the documented ones.
	Fields []string
	// Delimiter of plain text, a space when it is empty.
	Delimiter string
}

// Fields lists the fields that entries of a kind have, the documented ones in
// their order first.
func Fields(k Kind) []string {
	switch k {
	case Access:
		return names(accessFields)
	case Connection:
		return names(connectionFields)
	case Checks:
		return names(checkFields)
	case Network:
		return names(securedFields)
	default:
		return nil
	}
}

func names[T any](fs []field[T]) []string {
	out := make([]string, len(fs))
	for i, f := range fs {
		out[i] = f.name
	}
	return out
}

// writer writes entries in a format.
type writer[T any] struct {
	fields    []field[T]
	json      bool
	delimiter string
}

func newWriter[T any](known []field[T], f Format) *writer[T] {
	w := &writer[T]{json: f.JSON, delimiter: f.Delimiter}
	if w.delimiter == "" {
		w.delimiter = " "
	}
	for _, k := range known {
		if len(f.Fields) == 0 && !k.extra {
			w.fields = append(w.fields, k)
		}
	}
	for _, name := range f.Fields {
		if i := slices.IndexFunc(known, func(k field[T]) bool { return k.name == name }); i >= 0 {
			w.fields = append(w.fields, known[i])
		}
	}
	return w
}

// append writes an entry with a line feed behind it.
func (w *writer[T]) append(b []byte, e *T) []byte {
	if w.json {
		return w.appendJSON(b, e)
	}
	for i := range w.fields {
		if i > 0 {
			b = append(b, w.delimiter...)
		}
		f := &w.fields[i]
		if f.quoted {
			b = append(b, '"')
		}
		at := len(b)
		b = f.append(b, e)
		if len(b) == at {
			b = append(b, '-')
		}
		if f.quoted {
			b = append(b, '"')
		}
	}
	return append(b, '\n')
}

func (w *writer[T]) appendJSON(b []byte, e *T) []byte {
	b = append(b, '{')
	for i := range w.fields {
		if i > 0 {
			b = append(b, ',')
		}
		f := &w.fields[i]
		b = append(append(append(b, '"'), f.name...), `":"`...)
		at := len(b)
		b = f.append(b, e)
		if len(b) == at {
			b = append(b, '-')
		}
		b = append(escapeBackslashes(b, at), '"')
	}
	return append(b, '}', '\n')
}

// escapeBackslashes makes the escapes of plain text, which have no quotes or
// control characters left, a part of a JSON string.
func escapeBackslashes(b []byte, from int) []byte {
	n := bytes.Count(b[from:], []byte{'\\'})
	if n == 0 {
		return b
	}
	end := len(b)
	b = append(b, make([]byte, n)...)
	for to := len(b); end > from; {
		end, to = end-1, to-1
		b[to] = b[end]
		if b[end] == '\\' {
			to--
			b[to] = '\\'
		}
	}
	return b
}

// appendEscaped writes what came from a client: quotes, backslashes, and all
// but printable ASCII as \x and two digits.
func appendEscaped[S []byte | string](b []byte, s S) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		x := s[i]
		if x < ' ' || x >= utf8.RuneSelf-1 || x == '"' || x == '\\' {
			b = append(b, '\\', 'x', hex[x>>4], hex[x&15])
			continue
		}
		b = append(b, x)
	}
	return b
}

// appendTime writes an instant in ISO 8601, to the microsecond.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = append(digits(b, year, 4), '-')
	b = append(digits(b, int(month), 2), '-')
	b = append(digits(b, day, 2), 'T')
	b = append(digits(b, hour, 2), ':')
	b = append(digits(b, minute, 2), ':')
	b = append(digits(b, second, 2), '.')
	return append(digits(b, t.Nanosecond()/1000, 6), 'Z')
}

// digits writes n with that many digits, nine at most.
func digits(b []byte, n, width int) []byte {
	at := len(b)
	b = append(b, "000000000"[:width]...)
	for i := len(b) - 1; i >= at; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// appendSeconds writes a duration in seconds, to the millisecond.
func appendSeconds(b []byte, d time.Duration) []byte {
	ms := max(d.Milliseconds(), 0)
	b = append(strconv.AppendInt(b, ms/1000, 10), '.')
	return digits(b, int(ms%1000), 3)
}

// appendMicroseconds writes a duration in seconds, to the microsecond; a
// negative one never came to be.
func appendMicroseconds(b []byte, d time.Duration) []byte {
	if d < 0 {
		return append(b, "-1"...)
	}
	us := d.Microseconds()
	b = append(strconv.AppendInt(b, us/1_000_000, 10), '.')
	return digits(b, int(us%1_000_000), 6)
}
