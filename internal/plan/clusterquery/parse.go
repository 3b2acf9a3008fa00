package clusterquery

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

type operator string

const (
	equals           operator = "equals"
	notEquals        operator = "not_equals"
	greaterThan      operator = "greater_than"
	greaterThanEqual operator = "greater_than_equal"
	lessThan         operator = "less_than"
	lessThanEqual    operator = "less_than_equal"
	exists           operator = "exists"
	notExists        operator = "not_exists"
	in               operator = "in"
	notIn            operator = "not_in"
	matches          operator = "matches"
	notMatches       operator = "not_matches"
)

var operators = map[string]operator{
	"==": equals, "!=": notEquals, ">": greaterThan, ">=": greaterThanEqual, "<": lessThan, "<=": lessThanEqual, "=~": matches, "!~": notMatches,
	"equals": equals, "not_equals": notEquals, "greater_than": greaterThan, "greater_than_equal": greaterThanEqual,
	"less_than": lessThan, "less_than_equal": lessThanEqual, "exists": exists, "not_exists": notExists,
	"in": in, "not_in": notIn, "matches": matches, "not_matches": notMatches,
}

func operatorOf(word string) operator { return operators[strings.ToLower(word)] }

// maxDepth bounds the nesting of brackets and negations.
const maxDepth = 64

type parser struct {
	tokens []token
	end    int // the expression's length
	depth  int
	query  *Query
}

// Parse reads an expression. Its errors are *SyntaxError.
func Parse(expression string) (*Query, error) {
	if n := utf8.RuneCountInString(expression); n > MaxLength {
		return nil, &SyntaxError{0, fmt.Sprintf("an expression of %d characters is longer than %d", n, MaxLength)}
	}
	tokens, err := lex(expression)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens, end: len(expression), query: &Query{}}
	if p.query.root, err = p.any(); err != nil {
		return nil, err
	}
	if len(p.tokens) > 0 {
		return nil, p.fail("%q does not belong here", p.tokens[0].text)
	}
	return p.query, nil
}

func (p *parser) fail(format string, args ...any) error {
	at := p.end
	if len(p.tokens) > 0 {
		at = p.tokens[0].at
	}
	return &SyntaxError{at, fmt.Sprintf(format, args...)}
}

// take removes the next token if it is one of words.
func (p *parser) take(words ...string) bool {
	if len(p.tokens) == 0 || p.tokens[0].quoted {
		return false
	}
	for _, w := range words {
		if strings.EqualFold(p.tokens[0].text, w) {
			p.tokens = p.tokens[1:]
			return true
		}
	}
	return false
}

// next is the next token, removed.
func (p *parser) next(what string) (token, error) {
	if len(p.tokens) == 0 {
		return token{}, p.fail("%s is missing", what)
	}
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	return t, nil
}

func (p *parser) any() (node, error) {
	left, err := p.all()
	for err == nil && p.take("or", "||") {
		var right node
		if right, err = p.all(); err == nil {
			left = or{left, right}
		}
	}
	return left, err
}

func (p *parser) all() (node, error) {
	left, err := p.one()
	for err == nil && p.take("and", "&&") {
		var right node
		if right, err = p.one(); err == nil {
			left = and{left, right}
		}
	}
	return left, err
}

func (p *parser) one() (node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.fail("the expression is nested too deeply")
	}
	defer func() { p.depth-- }()
	if p.take("not", "!") {
		of, err := p.one()
		return not{of}, err
	}
	if p.take("(") {
		inner, err := p.any()
		if err == nil && !p.take(")") {
			err = p.fail("a closing bracket is missing")
		}
		return inner, err
	}
	return p.comparison()
}

// comparison reads subject, operator and argument.
func (p *parser) comparison() (node, error) {
	at := p.tokens
	word, err := p.next("a subject")
	if err != nil {
		return nil, err
	}
	s, ok := subjectOf(word.text)
	if !ok {
		p.tokens = at
		return nil, p.fail("%q is no subject", word.text)
	}
	p.query.groups = p.query.groups || s.name == "task:group"
	p.query.counts = p.query.counts || s.name == "runningTasksCount"
	at = p.tokens
	op, err := p.operator()
	if err != nil {
		return nil, err
	}
	if !s.takes(op) {
		p.tokens = at
		return nil, p.fail("%s does not take the operator %s", word.text, op)
	}
	at = p.tokens
	values, err := p.argument(op)
	if err != nil {
		return nil, err
	}
	n, err := compile(s, op, values)
	if err != nil {
		p.tokens = at
		return nil, p.fail("%s", err.Error())
	}
	return n, nil
}

func (p *parser) operator() (operator, error) {
	at := p.tokens
	// !in and !exists are written as one, and read as two.
	if p.take("!") {
		switch {
		case p.take("in"):
			return notIn, nil
		case p.take("exists"):
			return notExists, nil
		}
		p.tokens = at
	}
	word, err := p.next("an operator")
	if err != nil {
		return "", err
	}
	op := operatorOf(word.text)
	if op == "" || word.quoted {
		p.tokens = at
		return "", p.fail("%q is no operator", word.text)
	}
	return op, nil
}

func (p *parser) argument(op operator) ([]string, error) {
	switch op {
	case exists, notExists:
		return nil, nil
	case in, notIn:
		return p.list()
	case equals, notEquals, greaterThan, greaterThanEqual, lessThan, lessThanEqual, matches, notMatches:
	}
	v, err := p.value()
	return []string{v}, err
}

// value is a literal.
func (p *parser) value() (string, error) {
	if len(p.tokens) > 0 && !p.tokens[0].quoted && signAt(p.tokens[0].text) != "" {
		return "", p.fail("an argument is missing")
	}
	t, err := p.next("an argument")
	return t.text, err
}

func (p *parser) list() ([]string, error) {
	if !p.take("[") {
		return nil, p.fail("a list in square brackets is missing")
	}
	var values []string
	for {
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		values = append(values, v)
		if p.take("]") {
			return values, nil
		}
		if !p.take(",") {
			return nil, p.fail("a list in square brackets is not closed")
		}
	}
}

// compile checks the argument once, so that nothing can fail later.
func compile(s subject, op operator, values []string) (node, error) {
	c := comparison{subject: s, op: op, values: values}
	switch op {
	case matches, notMatches:
		re, err := regexp.Compile(`^(?:` + values[0] + `)$`)
		if err != nil {
			return nil, fmt.Errorf("%q is no pattern", values[0])
		}
		c.pattern = re
	case equals, notEquals, greaterThan, greaterThanEqual, lessThan, lessThanEqual, in, notIn, exists, notExists:
		for _, v := range values {
			if !s.kind.fits(v) {
				return nil, fmt.Errorf("%q is no %s", v, s.kind)
			}
		}
	}
	return c, nil
}

// kind is how values compare.
type kind string

const (
	text    kind = "text"
	version kind = "version"
	number  kind = "number"
	date    kind = "date"
	boolean kind = "truth value"
)

// dates are the formats that ECS documents.
var dates = []string{time.RFC3339, "2006-01-02T15:04:05", time.DateOnly}

func parseDate(s string) (time.Time, bool) {
	for _, format := range dates {
		if t, err := time.Parse(format, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

func (k kind) fits(value string) bool {
	switch k {
	case number:
		_, err := strconv.Atoi(value)
		return err == nil
	case date:
		_, ok := parseDate(value)
		return ok
	case boolean:
		return strings.EqualFold(value, "true") || strings.EqualFold(value, "false")
	case text, version:
	}
	return true
}
