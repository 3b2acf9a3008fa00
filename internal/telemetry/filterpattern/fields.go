package filterpattern

import (
	"strconv"
	"strings"
)

// parseFields reads [a, b = "x*", ..., c > 1]: names for the space-delimited
// fields of an event, each with conditions on it.
func parseFields(s string) (*Pattern, error) {
	inner, ok := strings.CutSuffix(strings.TrimPrefix(s, "["), "]")
	if !ok {
		return nil, syntax("a bracket is not closed")
	}
	var conditions []condition
	ellipsis := -1
	items := splitFields(inner)
	for i, item := range items {
		item = strings.TrimSpace(item)
		switch item {
		case "...":
			if ellipsis >= 0 {
				return nil, syntax("... may stand once")
			}
			ellipsis = i
			conditions = append(conditions, nil)
			continue
		case "":
			return nil, syntax("a field is missing")
		}
		name, _, err := fieldName(item)
		if err != nil {
			return nil, err
		}
		if name == item {
			conditions = append(conditions, nil)
			continue
		}
		p := &parser{s: item, selector: func(s string) (string, string, error) {
			n, rest, err := fieldName(s)
			if err == nil && n != name {
				err = syntax("a condition on field '%s' names '%s'", name, n)
			}
			return n, rest, err
		}}
		c, err := p.or()
		if err != nil {
			return nil, err
		}
		if p.space(); p.s != "" {
			return nil, syntax("unexpected '%s'", p.s)
		}
		conditions = append(conditions, c)
	}
	return &Pattern{func(m string) bool { return matchFields(conditions, ellipsis, eventFields(m)) }}, nil
}

// matchFields holds each field against its condition. Without an ellipsis an
// event has as many fields as the pattern.
func matchFields(conditions []condition, ellipsis int, fields []string) bool {
	if ellipsis < 0 && len(fields) != len(conditions) || len(fields) < len(conditions)-1 {
		return false
	}
	for i, c := range conditions {
		if c == nil {
			continue
		}
		at := i
		if ellipsis >= 0 && i > ellipsis {
			at = len(fields) - (len(conditions) - i)
		}
		f := fields[at]
		if !c(func(string) (any, bool) { return f, true }) {
			return false
		}
	}
	return true
}

// fieldName reads a field's name.
func fieldName(s string) (name, rest string, err error) {
	i := 0
	for i < len(s) && (s[i] == '_' || s[i] == '-' || s[i] == '.' || 'a' <= s[i] && s[i] <= 'z' || 'A' <= s[i] && s[i] <= 'Z' || '0' <= s[i] && s[i] <= '9') {
		i++
	}
	if i == 0 {
		return "", "", syntax("a field's name is missing at '%s'", s)
	}
	return s[:i], s[i:], nil
}

// splitFields splits at the commas outside quotes, regular expressions and
// parentheses.
func splitFields(s string) []string {
	var out []string
	start, depth := 0, 0
	var quote byte
	for i := range len(s) {
		c := s[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '%':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

// eventFields splits an event at spaces; what is in brackets or double quotes
// is one field.
func eventFields(m string) []string {
	var out []string
	for i := 0; i < len(m); {
		if m[i] == ' ' || m[i] == '\t' {
			i++
			continue
		}
		closing := byte(' ')
		switch m[i] {
		case '[':
			closing = ']'
		case '"':
			closing = '"'
		}
		if closing != ' ' {
			if end := strings.IndexByte(m[i+1:], closing); end >= 0 {
				out = append(out, m[i+1:i+1+end])
				i += end + 2
				continue
			}
		}
		end := strings.IndexAny(m[i:], " \t")
		if end < 0 {
			end = len(m) - i
		}
		out = append(out, m[i:i+end])
		i += end
	}
	return out
}

// Fields names an event's space-delimited fields as TestMetricFilter does: by
// number from 1, where the pattern is of that kind.
func Fields(pattern, message string) map[string]string {
	if !strings.HasPrefix(strings.TrimSpace(pattern), "[") {
		return nil
	}
	out := make(map[string]string)
	for i, f := range eventFields(message) {
		out["$"+strconv.Itoa(i+1)] = f
	}
	return out
}
