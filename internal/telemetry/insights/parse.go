package insights

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxDepth bounds how deep expressions nest.
const maxDepth = 64

// parser reads a query. tok is the next token.
type parser struct {
	lex   lexer
	tok   token
	depth int
	err   error
}

// Parse reads a query. Errors are *SyntaxError.
func Parse(s string) (*Query, error) {
	if !utf8.ValidString(s) {
		return nil, syntax(0, len(s), "the query is not valid UTF-8")
	}
	p := &parser{lex: lexer{s: s}}
	p.advance(false)
	q := &Query{}
	for p.err == nil {
		if c := p.command(); p.err == nil {
			q.commands = append(q.commands, c)
		}
		if p.tok.kind == endToken {
			break
		}
		p.expect("|")
	}
	if p.err != nil {
		return nil, p.err
	}
	return q, nil
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = syntax(p.tok.start, p.tok.end, format, args...)
	}
}

// unexpected complains about the next token.
func (p *parser) unexpected() {
	if p.tok.kind == endToken {
		p.fail("unexpected end of query at offset %d", p.tok.start)
		return
	}
	p.fail("unexpected symbol found %s at offset %d", p.tok.text, p.tok.start)
}

// advance reads the next token; operand as lexer.next has it.
func (p *parser) advance(operand bool) {
	if p.err != nil {
		return
	}
	t, err := p.lex.next(operand)
	if err != nil {
		p.err = err
		return
	}
	p.tok = t
}

func (p *parser) is(symbol string) bool { return p.tok.kind == symbolToken && p.tok.text == symbol }

func (p *parser) isWord(word string) bool {
	return p.tok.kind == nameToken && strings.EqualFold(p.tok.text, word)
}

func (p *parser) expect(symbol string) {
	if !p.is(symbol) {
		p.unexpected()
	}
	p.advance(true)
}

// eat takes the symbol if it is next.
func (p *parser) eat(symbol string) bool {
	if p.err != nil || !p.is(symbol) {
		return false
	}
	p.advance(true)
	return p.err == nil
}

func (p *parser) eatWord(word string) bool {
	if p.err != nil || !p.isWord(word) {
		return false
	}
	p.advance(true)
	return p.err == nil
}

func (p *parser) command() command {
	word := strings.ToLower(p.tok.text)
	if p.tok.kind != nameToken {
		p.unexpected()
		return nil
	}
	known := p.tok
	p.advance(true)
	switch word {
	case "fields":
		return &fieldsCommand{items: p.items()}
	case "display":
		return &fieldsCommand{items: p.items(), only: true}
	case "filter":
		return &filterCommand{p.expression()}
	case "stats":
		return p.stats()
	case "sort", "order":
		p.eatWord("by")
		return p.sort()
	case "limit", "head":
		return p.limit()
	case "dedup":
		return &dedupCommand{p.items()}
	case "parse":
		return p.parse()
	}
	p.tok = known
	p.fail("unexpected symbol found %s at offset %d", known.text, known.start)
	return nil
}

// items are expressions with names, separated by commas.
func (p *parser) items() []expr {
	var out []expr
	for {
		e := p.expression()
		if p.eatWord("as") {
			e.name = p.name()
			e.field = ""
		}
		out = append(out, e)
		if p.err != nil || !p.eat(",") {
			return out
		}
	}
}

func (p *parser) name() string {
	if p.tok.kind != nameToken && p.tok.kind != quotedName {
		p.unexpected()
		return ""
	}
	n := p.tok.text
	p.advance(false)
	return n
}

func (p *parser) sort() command {
	c := &sortCommand{}
	for {
		k := sortKey{by: p.expression()}
		if p.eatWord("desc") {
			k.descending = true
		} else {
			p.eatWord("asc")
		}
		c.keys = append(c.keys, k)
		if p.err != nil || !p.eat(",") {
			return c
		}
	}
}

func (p *parser) limit() command {
	n, err := strconv.Atoi(p.tok.text)
	if p.tok.kind != numberToken || err != nil || n < 1 {
		p.unexpected()
	}
	p.advance(false)
	return &limitCommand{n}
}

// parse reads parse @message "a*b" as x, or a regular expression with names.
func (p *parser) parse() command {
	from := fieldRef("@message")
	if p.tok.kind == nameToken || p.tok.kind == quotedName {
		name := p.name()
		from = fieldRef(name)
		// A slash behind the field begins a regular expression.
		if p.err == nil && p.is("/") {
			p.lex.pos = p.tok.start
			p.advance(true)
		}
	}
	t := p.tok
	var c *parseCommand
	switch t.kind {
	case regexToken:
		c = &parseCommand{from: from, re: p.regex()}
		if p.err == nil {
			c.names = c.re.SubexpNames()[1:]
			if slices.Contains(c.names, "") || len(c.names) == 0 {
				p.tok = t
				p.fail("the groups of a regular expression of parse need names, at offset %d", t.start)
			}
		}
		return c
	case stringToken:
		p.advance(false)
		c = &parseCommand{from: from, re: glob(t.text)}
		if !p.eatWord("as") {
			p.unexpected()
			return nil
		}
		for {
			c.names = append(c.names, p.name())
			if p.err != nil || !p.eat(",") {
				break
			}
		}
		if n := strings.Count(t.text, "*"); p.err == nil && n != len(c.names) {
			p.tok = t
			p.fail("parse has %d wildcards and %d names", n, len(c.names))
		}
		return c
	default:
		p.unexpected()
		return nil
	}
}

// glob is a regular expression for a pattern in which each * stands for a
// part: the last of them for all that is left.
func glob(pattern string) *regexp.Regexp {
	parts := strings.Split(pattern, "*")
	var b strings.Builder
	b.WriteString("(?s)")
	for i, part := range parts {
		b.WriteString(regexp.QuoteMeta(part))
		switch {
		case i == len(parts)-1:
		case i == len(parts)-2 && parts[i+1] == "":
			b.WriteString("(.*)")
		default:
			b.WriteString("(.*?)")
		}
	}
	return regexp.MustCompile(b.String()) // made of quoted parts
}

// regex compiles the regular expression that is next.
func (p *parser) regex() *regexp.Regexp {
	text, flags := p.tok.text, ""
	if strings.Contains(p.tok.flags, "i") {
		flags = "(?i)"
	}
	re, err := regexp.Compile(flags + text)
	if err != nil {
		p.fail("%v", err)
		return nil
	}
	p.advance(false)
	return re
}

// expression reads an expression, the loosest operator first.
func (p *parser) expression() expr {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxDepth {
		p.fail("the query nests too deep at offset %d", p.tok.start)
	}
	start := p.tok.start
	e := p.and()
	for p.err == nil && (p.isWord("or") || p.is("||")) {
		p.advance(true)
		a, b := e, p.and()
		e = expr{eval: func(r *row) value { return boolOf(a.eval(r).truth() || b.eval(r).truth()) }}
	}
	if e.name == "" && p.err == nil {
		e.name = strings.TrimSpace(p.lex.s[start:p.tok.start])
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	for p.err == nil && (p.isWord("and") || p.is("&&")) {
		p.advance(true)
		a, b := e, p.not()
		e = expr{eval: func(r *row) value { return boolOf(a.eval(r).truth() && b.eval(r).truth()) }}
	}
	return e
}

func (p *parser) not() expr {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxDepth {
		p.fail("the query nests too deep at offset %d", p.tok.start)
	}
	if p.eatWord("not") {
		a := p.not()
		return expr{eval: func(r *row) value { return boolOf(!a.eval(r).truth()) }}
	}
	return p.comparison()
}

func (p *parser) comparison() expr {
	a := p.sum()
	if p.err != nil {
		return a
	}
	negated := false
	if p.isWord("not") {
		p.advance(true)
		negated = true
		if !p.isWord("like") && !p.isWord("in") {
			p.unexpected()
			return a
		}
	}
	switch {
	case p.isWord("like") || p.is("=~"):
		p.advance(true)
		return p.like(a, negated)
	case p.isWord("in"):
		p.advance(true)
		return p.in(a, negated)
	}
	for _, op := range []string{"=", "!=", "<=", ">=", "<", ">"} {
		if p.is(op) {
			p.advance(true)
			return expr{eval: comparison(op, a, p.sum())}
		}
	}
	return a
}

func (p *parser) like(a expr, negated bool) expr {
	var re *regexp.Regexp
	switch p.tok.kind {
	case regexToken:
		re = p.regex()
	case stringToken:
		pattern := regexp.QuoteMeta(p.tok.text)
		pattern = strings.ReplaceAll(pattern, "%", ".*")
		re = regexp.MustCompile("(?s)" + pattern) // made of quoted parts
		p.advance(false)
	default:
		p.unexpected()
	}
	if p.err != nil {
		return a
	}
	return expr{eval: like(a, re, negated)}
}

func (p *parser) in(a expr, negated bool) expr {
	p.expect("[")
	var list []expr
	for p.err == nil && !p.is("]") {
		list = append(list, p.sum())
		if !p.eat(",") {
			break
		}
	}
	if !p.is("]") {
		p.unexpected()
	}
	p.advance(false)
	return expr{eval: func(r *row) value {
		v := a.eval(r)
		for _, e := range list {
			if w := e.eval(r); !v.null() && compare(v, w) == 0 {
				return boolOf(!negated)
			}
		}
		return boolOf(negated)
	}}
}

// sum, product and power are arithmetic, the looser first.
func (p *parser) sum() expr { return p.binary(p.product, "+", "-") }

func (p *parser) product() expr {
	return p.binary(func() expr { return p.binary(p.unary, "^") }, "*", "/", "%")
}

func (p *parser) binary(operand func() expr, ops ...string) expr {
	e := operand()
	for p.err == nil {
		op := ""
		for _, o := range ops {
			if p.is(o) {
				op = o
			}
		}
		if op == "" {
			return e
		}
		p.advance(true)
		e = expr{eval: arithmetic(op, e, operand())}
	}
	return e
}

func (p *parser) unary() expr {
	if p.eat("-") {
		p.depth++
		defer func() { p.depth-- }()
		if p.depth > maxDepth {
			p.fail("the query nests too deep at offset %d", p.tok.start)
			return expr{}
		}
		return expr{eval: arithmetic("-", constant(numberOf(0)), p.unary())}
	}
	t := p.tok
	switch t.kind {
	case numberToken:
		n, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			p.unexpected()
		}
		p.advance(false)
		return constant(numberOf(n))
	case stringToken:
		p.advance(false)
		return constant(textOf(t.text))
	case quotedName:
		p.advance(false)
		return fieldRef(t.text)
	case nameToken:
		p.advance(false)
		if p.is("(") {
			return p.call(t)
		}
		return fieldRef(t.text)
	case symbolToken:
		if p.eat("(") {
			e := p.expression()
			if !p.is(")") {
				p.unexpected()
			}
			p.advance(false)
			return expr{eval: e.eval}
		}
	case endToken, regexToken:
	}
	p.unexpected()
	return expr{eval: func(*row) value { return value{} }}
}

// call reads a function's arguments.
func (p *parser) call(name token) expr {
	p.advance(true)
	word := strings.ToLower(name.text)
	switch word {
	case "bin", "datefloor", "dateceil":
		return p.dateCall(word)
	}
	f, known := functions[word]
	if !known {
		p.tok = name
		p.fail("unknown function %s at offset %d", name.text, name.start)
		return expr{}
	}
	var args []expr
	for p.err == nil && !p.is(")") {
		args = append(args, p.expression())
		if !p.eat(",") {
			break
		}
	}
	if !p.is(")") {
		p.unexpected()
	}
	if p.err == nil && (len(args) < f.min || f.max >= 0 && len(args) > f.max) {
		p.tok = name
		p.fail("invalid number of arguments for function %s at offset %d", name.text, name.start)
	}
	p.advance(false)
	return expr{eval: func(r *row) value {
		values := make([]value, len(args))
		for i, a := range args {
			values[i] = a.eval(r)
		}
		return f.call(values)
	}}
}

// dateCall reads bin(5m), or datefloor and dateceil of a field and a period.
func (p *parser) dateCall(word string) expr {
	at := fieldRef("@timestamp")
	if word != "bin" {
		at = p.sum()
		if !p.eat(",") {
			p.unexpected()
		}
	}
	period := p.period()
	if !p.is(")") {
		p.unexpected()
	}
	p.advance(false)
	if p.err != nil {
		return expr{}
	}
	return expr{eval: truncated(at, period, word == "dateceil")}
}

func (p *parser) period() time.Duration {
	n, err := strconv.Atoi(p.tok.text)
	if p.tok.kind != numberToken || err != nil || n < 1 || n > 1_000_000 {
		p.unexpected()
		return time.Hour
	}
	p.advance(false)
	unit, known := units[strings.ToLower(p.tok.text)]
	if p.tok.kind != nameToken || !known {
		p.unexpected()
		return time.Hour
	}
	p.advance(false)
	return time.Duration(n) * unit
}
