// Package filterpattern matches log events against CloudWatch Logs filter
// patterns: terms, JSON selectors and space-delimited fields.
//
// See https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
package filterpattern

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// ErrSyntax is wrapped by what Parse returns.
var ErrSyntax = errors.New("invalid filter pattern")

func syntax(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrSyntax, fmt.Sprintf(format, args...))
}

// Pattern is a parsed filter pattern.
type Pattern struct{ match func(message string) bool }

// Match tells whether the pattern selects a message.
func (p *Pattern) Match(message string) bool { return p.match(message) }

// Parse reads a pattern. The empty one matches everything.
func Parse(s string) (*Pattern, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return &Pattern{func(string) bool { return true }}, nil
	case s[0] == '{':
		return parseJSON(s)
	case s[0] == '[':
		return parseFields(s)
	default:
		return parseTerms(s)
	}
}

// term is one unit of an unstructured pattern.
type term struct {
	text string
	re   *regexp.Regexp
}

func (t term) in(message string) bool {
	if t.re != nil {
		return t.re.MatchString(message)
	}
	return strings.Contains(message, t.text)
}

// parseTerms reads words and quoted phrases that must all occur, those behind
// a minus that must not, and those behind a question mark of which one must.
func parseTerms(s string) (*Pattern, error) {
	var all, some, none []term
	for s != "" {
		into := &all
		switch s[0] {
		case '-':
			into, s = &none, s[1:]
		case '?':
			into, s = &some, s[1:]
		}
		t, rest, err := nextTerm(s)
		if err != nil {
			return nil, err
		}
		*into = append(*into, t)
		s = strings.TrimLeft(rest, " \t\n")
	}
	return &Pattern{func(m string) bool {
		for _, t := range none {
			if t.in(m) {
				return false
			}
		}
		for _, t := range all {
			if !t.in(m) {
				return false
			}
		}
		for _, t := range some {
			if t.in(m) {
				return true
			}
		}
		return len(some) == 0
	}}, nil
}

func nextTerm(s string) (term, string, error) {
	switch {
	case s == "":
		return term{}, "", syntax("a term is missing")
	case s[0] == '"':
		text, rest, err := quoted(s)
		return term{text: text}, rest, err
	case s[0] == '%':
		re, rest, err := expression(s)
		return term{re: re}, rest, err
	}
	end := strings.IndexAny(s, " \t\n")
	if end < 0 {
		end = len(s)
	}
	word := s[:end]
	for _, r := range word {
		if !wordRune(r) {
			return term{}, "", syntax("Invalid character(s) in term '%s'", word)
		}
	}
	return term{text: word}, s[end:], nil
}

// wordRune tells the characters that need no quotes.
func wordRune(r rune) bool {
	return r == '_' || r == '.' || r == '/' || r == ':' || r == '@' || r == '*' || r == '#' || r == '-' || r == '$' || r == ',' ||
		r == '\'' || r == '=' || r == '+' || r == ';' ||
		'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r > 0x7f
}

// quoted reads a string in double quotes, in which a backslash keeps the next
// quote or backslash.
func quoted(s string) (text, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			b.WriteByte(s[i])
		case c == '"':
			return b.String(), s[i+1:], nil
		default:
			b.WriteByte(c)
		}
	}
	return "", "", syntax("a quote is not closed")
}

// expression reads a regular expression between percent signs.
func expression(s string) (*regexp.Regexp, string, error) {
	end := strings.IndexByte(s[1:], '%')
	if end < 1 {
		return nil, "", syntax("a regular expression is not closed")
	}
	re, err := regexp.Compile(s[1 : 1+end])
	if err != nil {
		return nil, "", syntax("%v", err)
	}
	return re, s[2+end:], nil
}

// wildcard matches text in which * stands for anything. Without one the whole
// strings must be equal.
func wildcard(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, parts[0])
	if !ok {
		return false
	}
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return strings.HasSuffix(s, parts[len(parts)-1])
}
