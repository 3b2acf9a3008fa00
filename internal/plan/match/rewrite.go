package match

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"roadstead.dev/internal/model"
)

// Rewrite replaces the first match of an expression. It never changes.
type Rewrite struct {
	re    *regexp.Regexp
	parts []part
}

// part is text, or a group of the expression when there is no text.
type part struct {
	text  string
	group int
}

// ErrGroup tells that a replacement names a group that the expression does not have.
var ErrGroup = errors.New("the replacement names a group that the regular expression does not have")

// NewRewrite compiles a transform. That of hosts ignores the case of letters.
func NewRewrite(t model.RuleTransform) (*Rewrite, error) {
	re, err := Compile(t.Regex, t.Type == model.TransformHost)
	if err != nil {
		return nil, fmt.Errorf("transform %s: %w", t.Type, err)
	}
	w := &Rewrite{re: re}
	text := ""
	for s := t.Replace; s != ""; {
		n := 0
		for n+1 < len(s) && s[0] == '$' && s[n+1] >= '0' && s[n+1] <= '9' && n < 2 {
			n++
		}
		if n == 0 {
			text += s[:1]
			s = s[1:]
			continue
		}
		group, _ := strconv.Atoi(s[1 : n+1])
		if group > re.NumSubexp() && n == 2 {
			n, group = 1, group/10 // $10 with fewer groups is $1 and a zero
		}
		if group > re.NumSubexp() {
			return nil, ErrGroup
		}
		if text != "" {
			w.parts = append(w.parts, part{text: text})
			text = ""
		}
		w.parts = append(w.parts, part{group: group})
		s = s[n+1:]
	}
	if text != "" {
		w.parts = append(w.parts, part{text: text})
	}
	return w, nil
}

// Apply rewrites in. It tells whether the expression matched; where it did not
// there is nothing to rewrite.
func (w *Rewrite) Apply(in []byte) (out []byte, matched bool) {
	at := w.re.FindSubmatchIndex(in)
	if at == nil {
		return nil, false
	}
	out = append(out, in[:at[0]]...)
	for _, p := range w.parts {
		if p.text != "" {
			out = append(out, p.text...)
		} else if at[2*p.group] >= 0 {
			out = append(out, in[at[2*p.group]:at[2*p.group+1]]...)
		}
	}
	return append(out, in[at[1]:]...), true
}
