package codec

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/typed"
)

// jsonEncoder appends values to b.
type jsonEncoder struct{ b []byte }

// structure writes the members that keep accepts. Lists that are absent are
// written as empty ones where empties is set: AWS's answers always hold the
// lists of their top level.
func (e *jsonEncoder) structure(n *typed.Node, v reflect.Value, empties bool, keep func(*typed.Field) bool) error {
	e.b = append(e.b, '{')
	first := true
	for i := range n.Fields {
		f := &n.Fields[i]
		if keep != nil && !keep(f) {
			continue
		}
		fv := v.Field(f.Index)
		absent := f.Absent(fv)
		if absent && (!empties || f.Node.Shape.Kind != api.List) {
			continue
		}
		if !first {
			e.b = append(e.b, ',')
		}
		first = false
		e.str(f.Member.Wire())
		e.b = append(e.b, ':')
		if absent {
			e.b = append(e.b, "[]"...)
			continue
		}
		if err := e.value(f.Node, timestampFormat(f), f.Value(v)); err != nil {
			return err
		}
	}
	e.b = append(e.b, '}')
	return nil
}

func (e *jsonEncoder) value(n *typed.Node, format string, v reflect.Value) error {
	switch n.Shape.Kind {
	case api.String:
		e.str(v.String())
	case api.Boolean:
		e.b = strconv.AppendBool(e.b, v.Bool())
	case api.Integer, api.Long:
		e.b = strconv.AppendInt(e.b, v.Int(), 10)
	case api.Float:
		e.float(v.Float(), 32)
	case api.Double:
		e.float(v.Float(), 64)
	case api.Blob:
		e.b = append(e.b, '"')
		e.b = base64.StdEncoding.AppendEncode(e.b, v.Bytes())
		e.b = append(e.b, '"')
	case api.Timestamp:
		e.time(v.Interface().(time.Time), format)
	case api.Structure:
		return e.structure(n, v, false, nil)
	case api.List:
		e.b = append(e.b, '[')
		for i := range v.Len() {
			if i > 0 {
				e.b = append(e.b, ',')
			}
			if err := e.value(n.Elem, "", v.Index(i)); err != nil {
				return err
			}
		}
		e.b = append(e.b, ']')
	case api.Map:
		return e.mapping(n, v)
	case api.Document:
		b, err := json.Marshal(v.Interface())
		if err != nil {
			return fmt.Errorf("encode document: %w", err)
		}
		e.b = append(e.b, b...)
	}
	return nil
}

// mapping writes a map in the order of its keys.
func (e *jsonEncoder) mapping(n *typed.Node, v reflect.Value) error {
	e.b = append(e.b, '{')
	for i, k := range sortedKeys(v) {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.str(k.String())
		e.b = append(e.b, ':')
		if err := e.value(n.Elem, "", v.MapIndex(k)); err != nil {
			return err
		}
	}
	e.b = append(e.b, '}')
	return nil
}

func sortedKeys(m reflect.Value) []reflect.Value {
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		switch x, y := a.String(), b.String(); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return keys
}

func (e *jsonEncoder) float(f float64, bits int) {
	switch {
	case math.IsNaN(f):
		e.b = append(e.b, `"NaN"`...)
	case math.IsInf(f, 1):
		e.b = append(e.b, `"Infinity"`...)
	case math.IsInf(f, -1):
		e.b = append(e.b, `"-Infinity"`...)
	case f == math.Trunc(f) && math.Abs(f) < 1e15:
		e.b = strconv.AppendFloat(e.b, f, 'f', 1, bits)
	default:
		e.b = strconv.AppendFloat(e.b, f, 'g', -1, bits)
	}
}

func (e *jsonEncoder) time(t time.Time, format string) {
	switch format {
	case "iso8601", "rfc822":
		e.str(formatTime(t, format))
	default:
		e.b = appendEpoch(e.b, t)
	}
}

// appendEpoch writes seconds since 1970, with milliseconds where there are any.
func appendEpoch(b []byte, t time.Time) []byte {
	ms := t.UnixMilli()
	if ms%1000 == 0 {
		return strconv.AppendInt(b, ms/1000, 10)
	}
	return strconv.AppendFloat(b, float64(ms)/1000, 'f', 3, 64)
}

// formatTime is a timestamp as text; format is iso8601, rfc822 or unixTimestamp.
func formatTime(t time.Time, format string) string {
	t = t.UTC()
	switch format {
	case "rfc822":
		return t.Format("Mon, 02 Jan 2006 15:04:05 GMT")
	case "unixTimestamp":
		return string(appendEpoch(nil, t))
	default:
		if t.UnixMilli()%1000 == 0 {
			return t.Format("2006-01-02T15:04:05Z")
		}
		return t.Format("2006-01-02T15:04:05.000Z")
	}
}

const hexDigits = "0123456789abcdef"

// str writes a JSON string; invalid UTF-8 becomes U+FFFD.
func (e *jsonEncoder) str(s string) {
	e.b = append(e.b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				e.b = append(e.b, s[start:i]...)
				e.b = append(e.b, "\ufffd"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		e.b = append(e.b, s[start:i]...)
		switch c {
		case '"', '\\':
			e.b = append(e.b, '\\', c)
		case '\n':
			e.b = append(e.b, '\\', 'n')
		case '\r':
			e.b = append(e.b, '\\', 'r')
		case '\t':
			e.b = append(e.b, '\\', 't')
		default:
			e.b = append(e.b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	e.b = append(e.b, s[start:]...)
	e.b = append(e.b, '"')
}
