package metricmath

import (
	"fmt"
	"strconv"
	"strings"
)

// Error is what is wrong with an expression.
type Error struct{ Message string }

func (e *Error) Error() string { return e.Message }

func errorf(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// maxDepth is how deeply expressions may nest, maxLength how long they may be.
const (
	maxDepth  = 50
	maxLength = 2048
)

// maxSeries is how many time series an array holds, and maxPoints how many values
// one of them: what GetMetricData can return. Arrays of arrays would else grow
// without bounds, and short periods be filled over years.
const (
	maxSeries = 500
	maxPoints = 100_800
)

// node is a parsed expression: an operator or a function with its arguments, a
// number, a string or an id.
type node struct {
	kind nodeKind
	text string
	num  float64
	args []node
}

type nodeKind uint8

const (
	nodeNumber nodeKind = iota
	nodeString
	nodeID
	nodeCall
	nodeOperator
	nodeList
)

// Expression is a parsed expression.
type Expression struct{ root node }

// Parse reads an expression.
func Parse(s string) (*Expression, error) {
	if len(s) > maxLength {
		return nil, errorf("The expression is longer than %d characters", maxLength)
	}
	p := parser{rest: s}
	n, err := p.expression(0)
	if err != nil {
		return nil, err
	}
	if t := p.peek(); t != "" {
		return nil, errorf("Unexpected token '%s'", t)
	}
	return &Expression{n}, nil
}

// IDs calls yield with the ids that the expression names; all tells that it
// takes METRICS().
func (e *Expression) IDs(yield func(string)) (all bool) {
	var walk func(n *node)
	walk = func(n *node) {
		switch {
		case n.kind == nodeID && !isKeyword(n.text):
			yield(n.text)
		case n.kind == nodeCall && n.text == "METRICS":
			all = true
		}
		for i := range n.args {
			walk(&n.args[i])
		}
	}
	walk(&e.root)
	return all
}

// isKeyword: REPEAT and LINEAR stand where FILL takes a value.
func isKeyword(s string) bool { return s == "REPEAT" || s == "LINEAR" }

type parser struct {
	rest  string
	depth int
}

// levels are the operators, those that bind least first.
var levels = [][]string{
	{"||", "OR"}, {"&&", "AND"}, {"==", "!=", "<=", ">=", "<", ">"}, {"+", "-"}, {"*", "/"},
}

// peek is the next token, "" at the end.
func (p *parser) peek() string {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	s := p.rest
	if s == "" {
		return ""
	}
	for _, two := range []string{"||", "&&", "==", "!=", "<=", ">="} {
		if strings.HasPrefix(s, two) {
			return two
		}
	}
	switch c := s[0]; {
	case c == '"' || c == '\'':
		if i := strings.IndexByte(s[1:], c); i >= 0 {
			return s[:i+2]
		}
		return s
	case isDigit(c) || c == '.':
		i := 0
		for i < len(s) && (isDigit(s[i]) || s[i] == '.' || s[i] == 'e' || s[i] == 'E' || i > 0 && (s[i] == '+' || s[i] == '-') && (s[i-1] == 'e' || s[i-1] == 'E')) {
			i++
		}
		return s[:i]
	case isLetter(c):
		i := 1
		for i < len(s) && (isLetter(s[i]) || isDigit(s[i])) {
			i++
		}
		return s[:i]
	default:
		return s[:1]
	}
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }

func (p *parser) take(t string) { p.rest = p.rest[len(t):] }

func (p *parser) expect(t string) error {
	if got := p.peek(); got != t {
		if got == "" {
			return errorf("Unexpected end of expression, '%s' is missing", t)
		}
		return errorf("Unexpected token '%s'", got)
	}
	p.take(t)
	return nil
}

func (p *parser) expression(level int) (node, error) {
	if level == len(levels) {
		return p.unary()
	}
	left, err := p.expression(level + 1)
	for err == nil {
		t := p.peek()
		op := ""
		for _, o := range levels[level] {
			if strings.EqualFold(t, o) {
				op = o
			}
		}
		if op == "" {
			return left, nil
		}
		p.take(t)
		var right node
		if right, err = p.expression(level + 1); err == nil {
			left = node{kind: nodeOperator, text: op, args: []node{left, right}}
		}
	}
	return node{}, err
}

func (p *parser) unary() (node, error) {
	if p.depth++; p.depth > maxDepth {
		return node{}, errorf("The expression is nested too deeply")
	}
	defer func() { p.depth-- }()
	if p.peek() == "-" {
		p.take("-")
		n, err := p.unary()
		return node{kind: nodeOperator, text: "neg", args: []node{n}}, err
	}
	base, err := p.primary()
	if err != nil || p.peek() != "^" {
		return base, err
	}
	p.take("^")
	exponent, err := p.unary()
	return node{kind: nodeOperator, text: "^", args: []node{base, exponent}}, err
}

func (p *parser) primary() (node, error) {
	t := p.peek()
	switch {
	case t == "":
		return node{}, errorf("Unexpected end of expression")
	case t == "(":
		p.take(t)
		n, err := p.expression(0)
		if err == nil {
			err = p.expect(")")
		}
		return n, err
	case t == "[":
		p.take(t)
		args, err := p.list("]")
		return node{kind: nodeList, args: args}, err
	case t[0] == '"' || t[0] == '\'':
		if len(t) < 2 || t[len(t)-1] != t[0] {
			return node{}, errorf("Unterminated string %s", t)
		}
		p.take(t)
		return node{kind: nodeString, text: t[1 : len(t)-1]}, nil
	case isDigit(t[0]) || t[0] == '.':
		f, err := strconv.ParseFloat(t, 64)
		if err != nil {
			return node{}, errorf("Unexpected token '%s'", t)
		}
		p.take(t)
		return node{kind: nodeNumber, num: f}, nil
	case isLetter(t[0]):
		p.take(t)
		if p.peek() != "(" {
			return node{kind: nodeID, text: t}, nil
		}
		p.take("(")
		args, err := p.list(")")
		return node{kind: nodeCall, text: strings.ToUpper(t), args: args}, err
	default:
		return node{}, errorf("Unexpected token '%s'", t)
	}
}

// list reads arguments until the token that ends them.
func (p *parser) list(end string) ([]node, error) {
	var args []node
	for p.peek() != end {
		if len(args) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		n, err := p.expression(0)
		if err != nil {
			return nil, err
		}
		args = append(args, n)
	}
	return args, p.expect(end)
}
