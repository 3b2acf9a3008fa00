package hostile

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/codec"
)

// place is a value somewhere in an operation's input.
type place struct {
	shape *api.Shape
	// path from the input: member names, "[]" for an element of a list, "{}"
	// for a value of a map.
	path []string
	// member is set where the place is a member of a structure.
	member *api.Member
}

func (p *place) String() string { return strings.Join(p.path, ".") }

// maxPlaces bounds how many places of one input are tried: some models nest
// without end.
const (
	maxPlaces    = 400
	maxPlaceDeep = 10
)

// places lists the values of an input, each structure once on a way.
func places(op *api.Operation) []place {
	var out []place
	var walk func(s *api.Shape, path []string, on []*api.Shape)
	walk = func(s *api.Shape, path []string, on []*api.Shape) {
		if slices.Contains(on, s) {
			return
		}
		if len(path) >= maxPlaceDeep || len(out) >= maxPlaces {
			return
		}
		on = append(slices.Clip(on), s)
		step := func(name string, of *api.Shape, m *api.Member) {
			next := append(slices.Clip(path), name)
			out = append(out, place{of, next, m})
			walk(of, next, on)
		}
		switch s.Kind {
		case api.Structure:
			for i := range s.Members {
				step(s.Members[i].Name, s.Members[i].Type(), &s.Members[i])
			}
		case api.List:
			step("[]", s.ElementShape(), nil)
		case api.Map:
			step("{}", s.ElementShape(), nil)
		default:
		}
	}
	if op.InputShape() != nil {
		walk(op.InputShape(), nil, nil)
	}
	return out
}

// with makes an input that holds what is required and, at a path, the leaf.
// A nil leaf leaves the place out.
func (m *maker) with(s *api.Shape, path []string, leaf any) any {
	if len(path) == 0 {
		return leaf
	}
	step, rest := path[0], path[1:]
	switch s.Kind {
	case api.Structure:
		out := make(map[string]any)
		for i := range s.Members {
			mem := &s.Members[i]
			switch {
			case mem.Name == step:
				if v := m.with(mem.Type(), rest, leaf); v != nil {
					out[mem.Name] = v
				}
			case mem.Required:
				out[mem.Name] = m.value(mem.Name, mem.Type(), maxNesting)
			}
		}
		return out
	case api.List:
		n := 1
		if s.HasMin {
			n = max(n, int(s.Min))
		}
		out := make([]any, 0, n)
		if v := m.with(s.ElementShape(), rest, leaf); v != nil {
			out = append(out, v)
		}
		for len(out) < n {
			out = append(out, m.value("", s.ElementShape(), maxNesting))
		}
		return out
	case api.Map:
		return map[string]any{m.text("", s.KeyShape()): m.with(s.ElementShape(), rest, leaf)}
	default:
		return leaf
	}
}

// beyond makes values that break a shape's constraints, one each.
func beyond(s *api.Shape) map[string]any {
	out := make(map[string]any)
	switch s.Kind {
	case api.String:
		if len(s.Enum) > 0 {
			out["no value of the enumeration"] = "NoSuchValue"
			out["an enumeration in another case"] = swapCase(s.Enum[0])
			if out["an enumeration in another case"] == s.Enum[0] {
				delete(out, "an enumeration in another case")
			}
			return out
		}
		if s.HasMax && s.Max < 1<<20 {
			out["too long"] = strings.Repeat("a", int(s.Max)+1)
			out["too long in runes"] = strings.Repeat("é", int(s.Max)+1)
		}
		if s.HasMin && s.Min > 1 {
			out["too short"] = "a"
		}
		if s.HasMin && s.Min > 0 {
			out["empty"] = ""
		}
		if re := s.Regexp(); re != nil {
			for _, v := range []string{"\x01\n\x02", "!!! \u00fc ???", strings.Repeat("%", 7), "a\nb", "\u2028"} {
				if n := float64(len([]rune(v))); !re.MatchString(v) && (!s.HasMax || n <= s.Max) && (!s.HasMin || n >= s.Min) {
					out["against the pattern"] = v
					break
				}
			}
		}
	case api.Integer, api.Long:
		if s.HasMin {
			out["too small"] = json.Number(strconv.FormatInt(int64(s.Min)-1, 10))
		}
		if s.HasMax && s.Max < 1<<31-1 {
			out["too large"] = json.Number(strconv.FormatInt(int64(s.Max)+1, 10))
		}
	case api.Float, api.Double:
		if s.HasMin {
			out["too small"] = json.Number(strconv.FormatFloat(s.Min-0.5, 'f', -1, 64))
		}
		if s.HasMax {
			out["too large"] = json.Number(strconv.FormatFloat(s.Max+0.5, 'f', -1, 64))
		}
	default:
	}
	return out
}

func swapCase(s string) string {
	if up := strings.ToUpper(s); up != s {
		return up
	}
	return strings.ToLower(s)
}

// tooMany makes a list or map with more elements than may be, or with too few;
// nil where the model does not say or says a great many.
func (m *maker) tooMany(s *api.Shape) map[string]any {
	out := make(map[string]any)
	many := func(n int) any {
		if s.Kind == api.Map {
			v := make(map[string]any)
			for i := range n {
				v["k"+strconv.Itoa(i)] = m.value("", s.ElementShape(), maxNesting)
			}
			return v
		}
		v := make([]any, n)
		for i := range v {
			v[i] = m.value("", s.ElementShape(), maxNesting)
		}
		return v
	}
	if s.Kind != api.List && s.Kind != api.Map {
		return nil
	}
	if s.HasMax && s.Max <= 1000 {
		out["too many"] = many(int(s.Max) + 1)
	}
	if s.HasMin && s.Min > 0 {
		out["too few"] = many(int(s.Min) - 1)
	}
	return out
}

// wrongJSON are values of other kinds than the shape's. The keys of those that
// AWS's decoders never take begin with "!".
func wrongJSON(k api.Kind) map[string]raw {
	const object, array, number, boolean, str = `{"a":1}`, `[1]`, `5`, `true`, `"x"`
	out := map[string]raw{
		"a null": `null`, "1e400": `1e400`, "2^63": `9223372036854775808`, "-2^63-1": `-9223372036854775809`, "1.5": `1.5`, "-0": `-0`,
		"an empty string": `""`, "an escaped NUL": `"\u0000"`, "a lone surrogate": `"\ud800"`, "a reversed pair": `"\udc00\ud800"`,
		"a huge exponent": `1e999999999`, "a long number": raw(strings.Repeat("9", 5000)),
		"!NaN": `NaN`, "!an octal": `012`, "!a bare word": `nul`, "!a bad escape": `"\x41"`, "!a raw newline": "\"a\nb\"", "!not UTF-8": "\"a\xff\"",
		"!an unfinished array": `[1`, "!nothing": ``, "!a comment": `/*x*/1`, "!a single quote": `'x'`,
		"!deep": raw(strings.Repeat("[", 2000) + strings.Repeat("]", 2000)),
	}
	add := func(name string, v raw, wrong bool) {
		if wrong {
			name = "!" + name
		}
		out[name] = v
	}
	scalar := k != api.Structure && k != api.List && k != api.Map && k != api.Document
	add("an object", object, k != api.Structure && k != api.Map && k != api.Document)
	add("an array", array, k != api.List && k != api.Document)
	add("a number", number, !scalar && k != api.Document || k == api.String || k == api.Boolean || k == api.Blob)
	add("a boolean", boolean, k != api.Boolean && k != api.Document)
	add("a string", str, k != api.String && k != api.Document && k != api.Blob)
	return out
}

// wrongText are texts that parameters of the query protocols may have, most of
// which do not fit a type.
var wrongText = []string{
	"", "x", "true", "TRUE", "1", "-1", "1.5", "1e400", "9223372036854775808", "-9223372036854775809", "NaN", "null", "[]", "{}", "0x10", "１", " 5 ", "\x00", "é", "2026-99-99T99:99:99Z",
}

// parameter is the name of a place in the query protocols.
func parameter(op *api.Operation, p *place) string {
	ec2 := op.Service().Protocol == api.EC2Query
	name := ""
	s := op.InputShape()
	var m *api.Member
	for _, step := range p.path {
		part := ""
		switch s.Kind {
		case api.Structure:
			m = s.Member(step)
			part = m.Wire()
			if ec2 {
				part = codec.EC2Name(m)
			}
			s = m.Type()
		case api.List:
			part = or(s.ElementName, "member") + ".1"
			if ec2 || s.Flattened || m != nil && m.Flattened {
				part = "1"
			}
			s, m = s.ElementShape(), nil
		case api.Map:
			part = "entry.1." + or(s.ValueName, "value")
			if ec2 || s.Flattened {
				part = "1." + or(s.ValueName, "value")
			}
			s, m = s.ElementShape(), nil
		default:
		}
		if name != "" {
			name += "."
		}
		name += part
	}
	return name
}
