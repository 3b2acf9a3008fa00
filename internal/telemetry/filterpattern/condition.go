package filterpattern

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// lookup gives the value of a selector in an event: a string, float64, bool,
// nil, map or slice, as encoding/json makes them. found is unset where the
// event has no such thing.
type lookup func(selector string) (value any, found bool)

// condition is a parsed boolean expression.
type condition func(lookup) bool

// parser reads conditions: comparisons joined by && and || with parentheses.
// && binds closer.
type parser struct {
	s string
	// selector reads the left side of a comparison.
	selector func(s string) (name, rest string, err error)
	depth    int
}

const maxNesting = 32

func (p *parser) space() { p.s = strings.TrimLeft(p.s, " \t\r\n") }

func (p *parser) eat(token string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.s, token)
	if ok {
		p.s = rest
	}
	return ok
}

func (p *parser) or() (condition, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxNesting {
		return nil, syntax("too many parentheses")
	}
	left, err := p.and()
	for err == nil && p.eat("||") {
		var right condition
		l := left
		if right, err = p.and(); err == nil {
			left = func(v lookup) bool { return l(v) || right(v) }
		}
	}
	return left, err
}

func (p *parser) and() (condition, error) {
	left, err := p.unit()
	for err == nil && p.eat("&&") {
		var right condition
		l := left
		if right, err = p.unit(); err == nil {
			left = func(v lookup) bool { return l(v) && right(v) }
		}
	}
	return left, err
}

func (p *parser) unit() (condition, error) {
	if p.eat("(") {
		c, err := p.or()
		if err == nil && !p.eat(")") {
			err = syntax("a parenthesis is not closed")
		}
		return c, err
	}
	p.space()
	name, rest, err := p.selector(p.s)
	if err != nil {
		return nil, err
	}
	p.s = rest
	return p.comparison(name)
}

// comparison reads the operator and the right side.
func (p *parser) comparison(name string) (condition, error) {
	p.space()
	upper := strings.ToUpper(p.s)
	for _, w := range []struct {
		word string
		test func(v any, found bool) bool
	}{
		{"IS NULL", func(v any, found bool) bool { return found && v == nil }},
		{"IS TRUE", func(v any, _ bool) bool { return v == true }},
		{"IS FALSE", func(v any, _ bool) bool { return v == false }},
		{"NOT EXISTS", func(_ any, found bool) bool { return !found }},
		{"EXISTS", func(_ any, found bool) bool { return found }},
	} {
		if strings.HasPrefix(upper, w.word) {
			p.s = p.s[len(w.word):]
			return func(l lookup) bool { return w.test(l(name)) }, nil
		}
	}
	for _, op := range []string{"!=", "<=", ">=", "=", "<", ">"} {
		if !p.eat(op) {
			continue
		}
		p.space()
		test, err := p.operand(op)
		if err != nil {
			return nil, err
		}
		return func(l lookup) bool {
			v, found := l(name)
			return found && test(v)
		}, nil
	}
	return nil, syntax("an operator is missing at '%s'", p.s)
}

// operand reads the right side of a comparison and makes its test.
func (p *parser) operand(op string) (func(any) bool, error) {
	equality := op == "=" || op == "!="
	if strings.HasPrefix(p.s, "%") {
		re, rest, err := expression(p.s)
		if err != nil || !equality {
			return nil, syntax("a regular expression needs = or !=")
		}
		p.s = rest
		return negate(op, func(v any) bool { return matchExpression(re, v) }), nil
	}
	var text string
	inQuotes := strings.HasPrefix(p.s, `"`)
	if inQuotes {
		var err error
		if text, p.s, err = quoted(p.s); err != nil {
			return nil, err
		}
	} else {
		end := strings.IndexAny(p.s, " \t\r\n&|)},]")
		if end < 0 {
			end = len(p.s)
		}
		text, p.s = p.s[:end], p.s[end:]
		if text == "" {
			return nil, syntax("a value is missing")
		}
	}
	n, isNumber := number(text)
	switch {
	case isNumber && !inQuotes:
		return func(v any) bool {
			f, ok := asNumber(v)
			return ok && compare(op, f, n)
		}, nil
	case !equality:
		return nil, syntax("'%s' is not a number", text)
	}
	return negate(op, func(v any) bool {
		s, ok := asText(v)
		return ok && wildcard(text, s)
	}), nil
}

func negate(op string, test func(any) bool) func(any) bool {
	if op == "=" {
		return test
	}
	return func(v any) bool { return !test(v) }
}

func matchExpression(re *regexp.Regexp, v any) bool {
	s, ok := asText(v)
	return ok && re.MatchString(s)
}

func compare(op string, a, b float64) bool {
	switch op {
	case "=":
		return a == b
	case "!=":
		return a != b
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	default:
		return a >= b
	}
}

func number(s string) (float64, bool) {
	if s == "" || strings.ContainsAny(s, "xXpP_iInN") {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

func asNumber(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case string:
		return number(v)
	}
	return 0, false
}

func asText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// parseJSON reads { $.a = 1 && … }.
func parseJSON(s string) (*Pattern, error) {
	inner, ok := strings.CutSuffix(strings.TrimPrefix(s, "{"), "}")
	if !ok {
		return nil, syntax("a brace is not closed")
	}
	p := &parser{s: inner, selector: jsonSelector}
	c, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.space(); p.s != "" {
		return nil, syntax("unexpected '%s'", p.s)
	}
	return &Pattern{func(m string) bool {
		m = strings.TrimSpace(m)
		if !strings.HasPrefix(m, "{") {
			return false
		}
		var doc any
		if json.Unmarshal([]byte(m), &doc) != nil {
			return false
		}
		return c(func(sel string) (any, bool) { return find(doc, sel) })
	}}, nil
}

// jsonSelector reads $.a.b[0] or $['a'], checking its form.
func jsonSelector(s string) (name, rest string, err error) {
	if !strings.HasPrefix(s, "$") {
		return "", "", syntax("a selector must begin with $, got '%s'", s)
	}
	i := 1
	for i < len(s) {
		switch s[i] {
		case '.':
			n := i + 1
			for n < len(s) && strings.IndexByte(" \t\r\n=!<>.[&|)(", s[n]) < 0 {
				n++
			}
			if n == i+1 {
				return "", "", syntax("a name is missing in '%s'", s)
			}
			i = n
		case '[':
			end := strings.IndexByte(s[i:], ']')
			if end < 2 {
				return "", "", syntax("a bracket is not closed in '%s'", s)
			}
			i += end + 1
		default:
			if i == 1 {
				return "", "", syntax("a selector must go on with . or [, got '%s'", s)
			}
			return s[:i], s[i:], nil
		}
	}
	return s[:i], s[i:], nil
}

// find follows a selector through a document.
func find(doc any, sel string) (any, bool) {
	sel = sel[1:]
	for sel != "" {
		var step string
		if sel[0] == '.' {
			end := strings.IndexAny(sel[1:], ".[")
			if end < 0 {
				end = len(sel) - 1
			}
			step, sel = sel[1:1+end], sel[1+end:]
		} else {
			end := strings.IndexByte(sel, ']')
			step, sel = sel[1:end], sel[end+1:]
		}
		switch v := doc.(type) {
		case map[string]any:
			next, ok := v[strings.Trim(step, `'"`)]
			if !ok {
				return nil, false
			}
			doc = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			doc = v[i]
		default:
			return nil, false
		}
	}
	return doc, true
}
