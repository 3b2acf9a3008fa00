package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// maxDepth of nested JSON; a policy needs six.
const maxDepth = 16

var errJSON = errors.New("not one JSON value without repeated keys")

// object is a JSON object in the order it was written.
type object []field

type field struct {
	name  string
	value any // object, []any, string, json.Number, bool or nil
	// start and end of the value in the text; start is at the end of what
	// came before it, so it may point at white space and a colon or comma.
	start, end int
}

// element is an array's value with its place in the text.
type element struct {
	value      any
	start, end int
}

// decodeJSON reads one JSON value. Unlike encoding/json it refuses repeated
// names, as IAM does, and keeps places.
func decodeJSON(text string) (any, error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	v, err := readValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errJSON
	}
	return v, nil
}

func readValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return t, nil
	}
	if depth == maxDepth {
		return nil, errJSON
	}
	switch open {
	case '{':
		o := object{}
		seen := map[string]bool{}
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			name, _ := k.(string)
			if seen[name] {
				return nil, errJSON
			}
			seen[name] = true
			start := int(d.InputOffset())
			v, err := readValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			o = append(o, field{name, v, start, int(d.InputOffset())})
		}
		_, err := d.Token()
		return o, err
	case '[':
		a := []element{}
		for d.More() {
			start := int(d.InputOffset())
			v, err := readValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			a = append(a, element{v, start, int(d.InputOffset())})
		}
		_, err := d.Token()
		return a, err
	}
	return nil, errJSON
}

// stringList reads a string or an array of strings; false where v is neither.
// A present but empty array is a non-nil empty list.
func stringList(v any) ([]string, bool) {
	switch v := v.(type) {
	case string:
		return []string{v}, true
	case []element:
		out := make([]string, 0, len(v))
		for _, e := range v {
			s, ok := e.value.(string)
			if !ok {
				return nil, false
			}
			out = append(out, s)
		}
		return out, true
	}
	return nil, false
}

// scalarList is stringList that takes numbers and booleans for strings, as
// condition values may be.
func scalarList(v any) ([]string, bool) {
	a, ok := v.([]element)
	if !ok {
		a = []element{{value: v}}
	}
	out := make([]string, 0, len(a))
	for _, e := range a {
		switch s := e.value.(type) {
		case string:
			out = append(out, s)
		case json.Number:
			out = append(out, s.String())
		case bool:
			if s {
				out = append(out, "true")
			} else {
				out = append(out, "false")
			}
		default:
			return nil, false
		}
	}
	return out, true
}
