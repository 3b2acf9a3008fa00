package validate

import (
	"strconv"
	"strings"
	"unicode"

	"roadstead.dev/internal/api"
)

// Message is the sentence that most services answer: "1 validation error
// detected: Value ” at 'clusterName' failed to satisfy constraint: Member
// must have length greater than or equal to 1".
func Message(vs []Violation) string {
	var b strings.Builder
	b.WriteString(strconv.Itoa(len(vs)))
	if len(vs) == 1 {
		b.WriteString(" validation error detected: ")
	} else {
		b.WriteString(" validation errors detected: ")
	}
	for i := range vs {
		if i > 0 {
			b.WriteString("; ")
		}
		v := &vs[i]
		switch {
		case v.Rule == Required:
			b.WriteString("Value null")
		case v.Shape.Sensitive:
			b.WriteString("Value")
		default:
			b.WriteString("Value '" + v.Value + "'")
		}
		b.WriteString(" at '" + v.Where() + "' failed to satisfy constraint: ")
		if v.Element {
			b.WriteString("Member must satisfy constraint: [" + strings.Join(all(v.Shape), ", ") + "]")
		} else {
			b.WriteString(v.Constraint())
		}
	}
	return b.String()
}

// Where is the path of the value: members begin in lower case, elements of
// lists are "1.member".
func (v *Violation) Where() string {
	var b strings.Builder
	for i, s := range v.Path {
		if i > 0 {
			b.WriteByte('.')
		}
		switch {
		case s.Member != nil:
			b.WriteString(lowerFirst(s.Member.Name))
		case s.Key != "":
			b.WriteString(s.Key + ".member")
		default:
			b.WriteString(strconv.Itoa(s.Index) + ".member")
		}
	}
	return b.String()
}

// lowerFirst lowers a name's first letter, or its leading acronym: "DBName"
// is dBName to AWS, so one letter it is.
func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return string(unicode.ToLower(rune(s[0]))) + s[1:]
}

// Constraint is what the value had to satisfy.
func (v *Violation) Constraint() string { return constraint(v.Rule, v.Shape) }

func constraint(r Rule, s *api.Shape) string {
	switch r {
	case Required:
		return "Member must not be null"
	case MinLength:
		return "Member must have length greater than or equal to " + Number(s.Min)
	case MaxLength:
		return "Member must have length less than or equal to " + Number(s.Max)
	case MinValue:
		return "Member must have value greater than or equal to " + Number(s.Min)
	case MaxValue:
		return "Member must have value less than or equal to " + Number(s.Max)
	case Pattern:
		return "Member must satisfy regular expression pattern: " + s.Pattern
	case Enum:
		return "Member must satisfy enum value set: [" + strings.Join(s.Enum, ", ") + "]"
	}
	return ""
}

// all lists the constraints of an element's shape.
func all(s *api.Shape) []string {
	var out []string
	if len(s.Enum) > 0 {
		return []string{constraint(Enum, s)}
	}
	lower, upper := MinLength, MaxLength
	if s.Kind != api.String {
		lower, upper = MinValue, MaxValue
	}
	if s.HasMax {
		out = append(out, constraint(upper, s))
	}
	if s.HasMin {
		out = append(out, constraint(lower, s))
	}
	if s.Pattern != "" {
		out = append(out, constraint(Pattern, s))
	}
	return out
}
