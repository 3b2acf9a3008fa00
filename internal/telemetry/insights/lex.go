package insights

import (
	"strings"
)

// token is a piece of a query. Start and end are byte offsets.
type token struct {
	kind       tokenKind
	text       string
	flags      string // of a regular expression
	start, end int
}

type tokenKind uint8

const (
	endToken tokenKind = iota
	nameToken
	quotedName
	numberToken
	stringToken
	regexToken
	symbolToken
)

// lexer cuts a query into tokens.
type lexer struct {
	s   string
	pos int
}

func (l *lexer) space() {
	for l.pos < len(l.s) {
		switch l.s[l.pos] {
		case ' ', '\t', '\n', '\r':
			l.pos++
		case '#':
			if end := strings.IndexByte(l.s[l.pos:], '\n'); end >= 0 {
				l.pos += end
			} else {
				l.pos = len(l.s)
			}
		default:
			return
		}
	}
}

func letter(c byte) bool {
	return c == '_' || c == '@' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// next reads a token. Operand tells that a value is expected, where a slash
// begins a regular expression and divides nothing.
func (l *lexer) next(operand bool) (token, error) {
	l.space()
	start := l.pos
	if start == len(l.s) {
		return token{kind: endToken, start: start, end: start}, nil
	}
	take := func(k tokenKind, end int) token {
		l.pos = end
		return token{kind: k, text: l.s[start:end], start: start, end: end}
	}
	switch c := l.s[start]; {
	case letter(c):
		end := start + 1
		for end < len(l.s) && (letter(l.s[end]) || digit(l.s[end]) || l.s[end] == '.' && end+1 < len(l.s) && (letter(l.s[end+1]) || digit(l.s[end+1]))) {
			end++
		}
		return take(nameToken, end), nil
	case digit(c) || c == '.' && start+1 < len(l.s) && digit(l.s[start+1]):
		end := start + 1
		for end < len(l.s) && (digit(l.s[end]) || l.s[end] == '.') {
			end++
		}
		return take(numberToken, end), nil
	case c == '"' || c == '\'' || c == '`':
		return l.quoted(c)
	case c == '/' && operand:
		return l.regex()
	}
	for _, op := range []string{"!=", "<=", ">=", "=~", "||", "&&"} {
		if strings.HasPrefix(l.s[start:], op) {
			return take(symbolToken, start+len(op)), nil
		}
	}
	if strings.IndexByte("|,()[]=<>+-*/%^", l.s[start]) >= 0 {
		return take(symbolToken, start+1), nil
	}
	return token{}, syntax(start, start+1, "unexpected symbol found '%c' at offset %d", l.s[start], start)
}

// quoted reads a string, or a name in backquotes. A backslash keeps the next
// quote or backslash.
func (l *lexer) quoted(quote byte) (token, error) {
	start := l.pos
	var b strings.Builder
	for i := start + 1; i < len(l.s); i++ {
		switch c := l.s[i]; {
		case c == '\\' && i+1 < len(l.s) && (l.s[i+1] == quote || l.s[i+1] == '\\'):
			i++
			b.WriteByte(l.s[i])
		case c == quote:
			l.pos = i + 1
			k := stringToken
			if quote == '`' {
				k = quotedName
			}
			return token{kind: k, text: b.String(), start: start, end: l.pos}, nil
		default:
			b.WriteByte(c)
		}
	}
	return token{}, syntax(start, len(l.s), "a quote is not closed at offset %d", start)
}

// regex reads /…/ with flags behind it. A backslash keeps a slash.
func (l *lexer) regex() (token, error) {
	start := l.pos
	var b strings.Builder
	for i := start + 1; i < len(l.s); i++ {
		switch c := l.s[i]; {
		case c == '\\' && i+1 < len(l.s):
			i++
			if l.s[i] != '/' {
				b.WriteByte('\\')
			}
			b.WriteByte(l.s[i])
		case c == '/':
			end := i + 1
			for end < len(l.s) && 'a' <= l.s[end] && l.s[end] <= 'z' {
				end++
			}
			l.pos = end
			return token{kind: regexToken, text: b.String(), flags: l.s[i+1 : end], start: start, end: end}, nil
		default:
			b.WriteByte(c)
		}
	}
	return token{}, syntax(start, len(l.s), "a regular expression is not closed at offset %d", start)
}
