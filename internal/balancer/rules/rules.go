// Package rules compiles the rules of a listener and finds the one that a
// request matches.
package rules

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"

	"roadstead.dev/internal/balancer/h1"
	"roadstead.dev/internal/model"
)

// Rule is what a table is compiled from. The rule with Default set applies
// where no other does.
type Rule struct {
	ARN        string
	Priority   int32
	Default    bool
	Conditions []model.RuleCondition
	Action     model.RuleAction
}

// Table is a compiled set of rules. It never changes.
type Table struct {
	rules []compiled
	index *index // nil where there are few rules
}

type compiled struct {
	conditions []condition
}

// condition holds when any of its values matches.
type condition func(*h1.Request, netip.Addr) bool

// Compile sorts rules in place into the order in which they are tried, the
// default rule last, and compiles their conditions.
func Compile(rules []Rule) (*Table, error) {
	slices.SortStableFunc(rules, func(a, b Rule) int {
		if a.Default != b.Default {
			if a.Default {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.Priority, b.Priority)
	})
	t := &Table{rules: make([]compiled, len(rules))}
	for i, r := range rules {
		if r.Default {
			continue
		}
		for _, c := range r.Conditions {
			f, err := compileCondition(c)
			if err != nil {
				return nil, fmt.Errorf("rule with priority %d: %w", r.Priority, err)
			}
			t.rules[i].conditions = append(t.rules[i].conditions, f)
		}
	}
	if len(rules) > scanned {
		t.index = newIndex(rules)
	}
	return t, nil
}

// Match is the index, in the order that Compile made, of the first rule whose
// conditions all hold; -1 when there is none. Source is the address that the
// connection came from.
func (t *Table) Match(r *h1.Request, source netip.Addr) int {
	if t.index != nil {
		return t.index.match(t, r, source)
	}
	return t.scan(r, source)
}

// scan is Match by trying one rule after the other.
func (t *Table) scan(r *h1.Request, source netip.Addr) int {
	for i := range t.rules {
		if t.rules[i].holds(r, source) {
			return i
		}
	}
	return -1
}

func (c *compiled) holds(r *h1.Request, source netip.Addr) bool {
	for _, f := range c.conditions {
		if !f(r, source) {
			return false
		}
	}
	return true
}

func compileCondition(c model.RuleCondition) (condition, error) {
	if len(c.RegexValues) > 0 {
		return regexCondition(c)
	}
	switch c.Field {
	case model.ConditionPathPattern:
		ps := patterns(c.Values, false)
		return func(r *h1.Request, _ netip.Addr) bool { return anyMatch(ps, r.Path()) }, nil
	case model.ConditionHostHeader:
		ps := patterns(c.Values, true)
		return func(r *h1.Request, _ netip.Addr) bool { return anyMatch(ps, HostOnly(r.Host)) }, nil
	case model.ConditionHTTPHeader:
		return headerCondition(c), nil
	case model.ConditionRequestMethod:
		values := c.Values
		return func(r *h1.Request, _ netip.Addr) bool {
			return slices.Contains(values, string(r.Method))
		}, nil
	case model.ConditionQueryString:
		return queryCondition(c), nil
	case model.ConditionSourceIP:
		return sourceCondition(c)
	default:
		return nil, fmt.Errorf("condition field %q is unknown", c.Field)
	}
}

func headerCondition(c model.RuleCondition) condition {
	name, ps := []byte(c.HeaderName), patterns(c.Values, true)
	return func(r *h1.Request, _ netip.Addr) bool {
		for i := range r.Fields {
			if bytes.EqualFold(r.Fields[i].Name, name) && anyMatch(ps, r.Fields[i].Value) {
				return true
			}
		}
		return false
	}
}

func sourceCondition(c model.RuleCondition) (condition, error) {
	var nets []netip.Prefix
	for _, v := range c.Values {
		p, err := netip.ParsePrefix(v)
		if err != nil {
			return nil, fmt.Errorf("source-ip %q: %w", v, err)
		}
		nets = append(nets, p.Masked())
	}
	return func(_ *h1.Request, source netip.Addr) bool {
		source = source.Unmap()
		for _, n := range nets {
			if n.Contains(source) {
				return true
			}
		}
		return false
	}, nil
}

func queryCondition(c model.RuleCondition) condition {
	type pair struct {
		anyKey     bool
		key, value pattern
	}
	pairs := make([]pair, len(c.QueryStrings))
	for i, q := range c.QueryStrings {
		pairs[i] = pair{q.Key == "", compilePattern(q.Key, true, true), compilePattern(q.Value, true, true)}
	}
	return func(r *h1.Request, _ netip.Addr) bool {
		rest := r.Query()
		for len(rest) > 0 {
			var param []byte
			param, rest, _ = bytes.Cut(rest, []byte{'&'})
			k, v, _ := bytes.Cut(param, []byte{'='})
			k, v = unescape(k), unescape(v)
			for i := range pairs {
				if (pairs[i].anyKey || pairs[i].key.match(k)) && pairs[i].value.match(v) {
					return true
				}
			}
		}
		return false
	}
}

// unescape decodes percent-encoding; what does not decode stays as it is.
func unescape(b []byte) []byte {
	if bytes.IndexByte(b, '%') < 0 {
		return b
	}
	s, err := url.PathUnescape(string(b))
	if err != nil {
		return b
	}
	return []byte(s)
}

// HostOnly is an authority without its port.
func HostOnly(h []byte) []byte {
	for i, b := range slices.Backward(h) {
		switch {
		case b == ':':
			return h[:i]
		case b < '0' || b > '9':
			return h
		}
	}
	return h
}

func patterns(values []string, fold bool) []pattern {
	ps := make([]pattern, len(values))
	for i, v := range values {
		ps[i] = compilePattern(v, fold, false)
	}
	return ps
}

func anyMatch(ps []pattern, s []byte) bool {
	for i := range ps {
		if ps[i].match(s) {
			return true
		}
	}
	return false
}
