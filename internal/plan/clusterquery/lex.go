package clusterquery

import "strings"

// token is a word, an operator's sign or a bracket.
type token struct {
	text string
	at   int
	// quoted words are never operators.
	quoted bool
}

// signs stand without blanks around them. Longer ones come first.
var signs = []string{"&&", "||", "==", "!=", ">=", "<=", "=~", "!~", "(", ")", "[", "]", ",", ">", "<", "!"}

// lex cuts an expression into tokens. After =~ or !~ (or their names) comes a
// pattern, which may hold signs and reaches to the next blank or to the bracket
// that closes one opened before it.
func lex(s string) ([]token, error) {
	var out []token
	depth := 0
	for at := 0; at < len(s); {
		c := s[at]
		if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
			at++
			continue
		}
		if wantsPattern(out) {
			end := patternEnd(s, at, depth)
			out = append(out, token{strings.Trim(s[at:end], `"'`), at, true})
			at = end
			continue
		}
		if c == '"' || c == '\'' {
			end := strings.IndexByte(s[at+1:], c)
			if end < 0 {
				return nil, &SyntaxError{at, "a quotation mark is not closed"}
			}
			out = append(out, token{s[at+1 : at+1+end], at, true})
			at += end + 2
			continue
		}
		if sign := signAt(s[at:]); sign != "" {
			switch sign {
			case "(":
				depth++
			case ")":
				depth--
			}
			out = append(out, token{sign, at, false})
			at += len(sign)
			continue
		}
		end := at
		for end < len(s) && !strings.ContainsRune(" \t\n\r\"'", rune(s[end])) && signAt(s[end:]) == "" {
			end++
		}
		out = append(out, token{s[at:end], at, false})
		at = end
	}
	return out, nil
}

func wantsPattern(before []token) bool {
	if len(before) == 0 {
		return false
	}
	last := before[len(before)-1]
	if last.quoted {
		return false
	}
	op := operatorOf(last.text)
	return op == matches || op == notMatches
}

func signAt(s string) string {
	for _, sign := range signs {
		if strings.HasPrefix(s, sign) {
			return sign
		}
	}
	return ""
}

// patternEnd is where the pattern that begins at ends: at a blank or at the
// bracket that the expression, not the pattern, opened.
func patternEnd(s string, at, depth int) int {
	open := 0
	for i := at; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ' ', '\t', '\n', '\r':
			return i
		case '(':
			open++
		case ')':
			if open == 0 && depth > 0 {
				return i
			}
			open--
		}
	}
	return len(s)
}
