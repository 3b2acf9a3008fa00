// Package match knows the regular expressions of listener rules: those that
// conditions compare with, and those that transforms rewrite by.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html
package match

import (
	"errors"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// ErrUnsupported tells that an expression uses what load balancers do not know.
var ErrUnsupported = errors.New("the regular expression uses an unsupported feature")

// unicodeClass finds \p and \P, and not an escaped backslash before a p.
var unicodeClass = regexp.MustCompile(`^(?:[^\\]|\\[^pP])*\\[pP]`)

// Compile compiles an expression. Fold ignores the case of letters.
// Lookarounds, backreferences, atomic groups, possessive quantifiers,
// subroutines, recursion and Unicode classes are refused.
func Compile(expr string, fold bool) (*regexp.Regexp, error) {
	if unicodeClass.MatchString(expr) {
		return nil, ErrUnsupported
	}
	if fold {
		// Compiled by itself first, so that it cannot end the group early.
		if _, err := regexp.Compile(expr); err != nil {
			return nil, err
		}
		expr = "(?i:" + expr + ")"
	}
	return regexp.Compile(expr)
}

// Sure is what every path that the expression matches begins with; with host,
// what every host without its port that it matches ends with, in lower case.
// Empty when nothing is sure.
func Sure(expr string, host bool) string {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return ""
	}
	if host {
		return ending(re.Simplify())
	}
	return beginning(re.Simplify())
}

func beginning(re *syntax.Regexp) string {
	if re.Op != syntax.OpConcat || len(re.Sub) < 2 || re.Sub[0].Op != syntax.OpBeginText {
		return ""
	}
	l := re.Sub[1]
	if l.Op != syntax.OpLiteral || l.Flags&syntax.FoldCase != 0 {
		return ""
	}
	return string(l.Rune)
}

func ending(re *syntax.Regexp) string {
	if re.Op != syntax.OpConcat || len(re.Sub) < 2 {
		return ""
	}
	last, l := re.Sub[len(re.Sub)-1], re.Sub[len(re.Sub)-2]
	if last.Op != syntax.OpEndText || l.Op != syntax.OpLiteral {
		return ""
	}
	// What ends with a digit may be the end of a port, which the expression
	// sees. Letters beyond ASCII fold into others.
	end := l.Rune[len(l.Rune)-1]
	if end >= '0' && end <= '9' || slices.ContainsFunc(l.Rune, func(r rune) bool { return r == ':' || r >= 0x80 }) {
		return ""
	}
	return strings.ToLower(string(l.Rune))
}
