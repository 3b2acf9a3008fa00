// Package validate checks an input against its model: required members,
// lengths, ranges, patterns and enumerations.
package validate

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"roadstead.dev/internal/api"
	"roadstead.dev/internal/gateway/typed"
)

// Rule is a kind of constraint.
type Rule uint8

// The rules.
const (
	Required Rule = iota
	MinLength
	MaxLength
	MinValue
	MaxValue
	Pattern
	Enum
)

// Violation is a value that breaks a constraint.
type Violation struct {
	Rule Rule
	// Path of the members from the input on; list elements are numbers from 1.
	Path []Step
	// Value as text; empty for Required.
	Value string
	Shape *api.Shape
	// Element is set when the value is a list or map and what breaks the rule
	// is an element of it.
	Element bool
}

// Step is a part of a path: a member, or an index or key.
type Step struct {
	Member *api.Member
	Index  int
	Key    string
}

// Check lists the violations of in, a pointer to the generated struct of the
// shape, in the order of the members. It stops at ten, as AWS's lists are
// short too.
func Check(shape *api.Shape, in any) []Violation {
	if shape == nil || in == nil {
		return nil
	}
	c := checker{}
	c.structure(typed.Of(shape), reflect.ValueOf(in).Elem())
	return c.found
}

const maxFound = 10

type checker struct {
	path  []Step
	found []Violation
}

func (c *checker) add(r Rule, n *typed.Node, value string, element bool) {
	if len(c.found) < maxFound {
		c.found = append(c.found, Violation{Rule: r, Path: slices.Clone(c.path), Value: value, Shape: n.Shape, Element: element})
	}
}

func (c *checker) structure(n *typed.Node, v reflect.Value) {
	for i := range n.Fields {
		f := &n.Fields[i]
		fv := v.Field(f.Index)
		if f.Absent(fv) {
			if f.Member.Required {
				c.path = append(c.path, Step{Member: f.Member})
				c.add(Required, f.Node, "", false)
				c.path = c.path[:len(c.path)-1]
			}
			continue
		}
		if f.Member.Streaming {
			continue
		}
		c.path = append(c.path, Step{Member: f.Member})
		c.value(f.Node, f.Value(v))
		c.path = c.path[:len(c.path)-1]
	}
}

func (c *checker) value(n *typed.Node, v reflect.Value) {
	switch n.Shape.Kind {
	case api.Structure:
		c.structure(n, v)
	case api.List:
		c.length(n, v.Len(), v)
		if scalar(n.Elem.Shape.Kind) {
			for i := range v.Len() {
				if rule, bad := breaks(n.Elem, v.Index(i)); bad {
					c.addElement(rule, n.Elem, v)
					return
				}
			}
			return
		}
		for i := range v.Len() {
			c.path = append(c.path, Step{Index: i + 1})
			c.value(n.Elem, v.Index(i))
			c.path = c.path[:len(c.path)-1]
		}
	case api.Map:
		c.length(n, v.Len(), v)
		c.mapping(n, v)
	case api.Blob:
		c.length(n, v.Len(), v)
	case api.String, api.Integer, api.Long, api.Float, api.Double:
		if rule, bad := breaks(n, v); bad {
			c.add(rule, n, text(v), false)
		}
	case api.Boolean, api.Timestamp, api.Document:
	}
}

func (c *checker) mapping(n *typed.Node, v reflect.Value) {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, k := range keys {
		if rule, bad := breaks(n.Key, k); bad {
			c.addElement(rule, n.Key, v)
			return
		}
		e := v.MapIndex(k)
		if scalar(n.Elem.Shape.Kind) {
			if rule, bad := breaks(n.Elem, e); bad {
				c.path = append(c.path, Step{Key: k.String()})
				c.add(rule, n.Elem, text(e), true)
				c.path = c.path[:len(c.path)-1]
			}
			continue
		}
		c.path = append(c.path, Step{Key: k.String()})
		c.value(n.Elem, e)
		c.path = c.path[:len(c.path)-1]
	}
}

func (c *checker) addElement(r Rule, n *typed.Node, whole reflect.Value) {
	c.add(r, n, text(whole), true)
}

func (c *checker) length(n *typed.Node, l int, v reflect.Value) {
	if n.Shape.HasMin && float64(l) < n.Shape.Min {
		c.add(MinLength, n, text(v), false)
	}
	if n.Shape.HasMax && float64(l) > n.Shape.Max {
		c.add(MaxLength, n, text(v), false)
	}
}

func scalar(k api.Kind) bool {
	switch k {
	case api.String, api.Integer, api.Long, api.Float, api.Double:
		return true
	case api.Boolean, api.Blob, api.Timestamp, api.Structure, api.List, api.Map, api.Document:
	}
	return false
}

// breaks tells the first rule that a scalar breaks.
func breaks(n *typed.Node, v reflect.Value) (Rule, bool) {
	s := n.Shape
	switch s.Kind {
	case api.String:
		str := v.String()
		if len(s.Enum) > 0 && !slices.Contains(s.Enum, str) {
			return Enum, true
		}
		if s.HasMin || s.HasMax {
			l := float64(utf8.RuneCountInString(str))
			if s.HasMin && l < s.Min {
				return MinLength, true
			}
			if s.HasMax && l > s.Max {
				return MaxLength, true
			}
		}
		if s.Pattern != "" {
			if re := s.Regexp(); re != nil && !re.MatchString(str) {
				return Pattern, true
			}
		}
	case api.Integer, api.Long:
		return outside(s, float64(v.Int()))
	case api.Float, api.Double:
		return outside(s, v.Float())
	case api.Boolean, api.Blob, api.Timestamp, api.Structure, api.List, api.Map, api.Document:
	}
	return 0, false
}

func outside(s *api.Shape, f float64) (Rule, bool) {
	switch {
	case s.HasMin && f < s.Min:
		return MinValue, true
	case s.HasMax && f > s.Max:
		return MaxValue, true
	}
	return 0, false
}

// text is a value as AWS's messages print it.
func text(v reflect.Value) string {
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Float32, reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return ""
		}
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = text(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.Map:
		var parts []string
		for _, k := range v.MapKeys() {
			parts = append(parts, k.String()+"="+text(v.MapIndex(k)))
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, ", ") + "}"
	default:
		return v.Type().Name()
	}
}

// Number is a bound as AWS prints it.
func Number(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
