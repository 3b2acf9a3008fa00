package policy

import (
	"strings"
	"unicode/utf8"
)

// glob is a compiled pattern: * stands for any number of characters, ? for
// one, and ${…} for the value of a context key.
type glob struct {
	// text is the whole pattern where it has neither wildcard nor variable.
	text  string
	plain bool
	parts []part
	vars  bool
}

type part struct {
	kind    partKind
	literal string // of a literal; of a variable, its key in lower case
	name    string // of a variable, as written
	// fallback of a variable, where hasFallback.
	fallback    string
	hasFallback bool
}

type partKind uint8

const (
	literalPart partKind = iota
	starPart
	questionPart
	varPart
)

// compileGlob compiles s; variables are recognised where vars says so.
func compileGlob(s string, vars bool) glob {
	g := glob{}
	var lit strings.Builder
	flush := func() {
		if lit.Len() > 0 {
			g.parts = append(g.parts, part{kind: literalPart, literal: lit.String()})
			lit.Reset()
		}
	}
	for i := 0; i < len(s); {
		switch {
		case s[i] == '*':
			flush()
			if n := len(g.parts); n == 0 || g.parts[n-1].kind != starPart {
				g.parts = append(g.parts, part{kind: starPart})
			}
			i++
		case s[i] == '?':
			flush()
			g.parts = append(g.parts, part{kind: questionPart})
			i++
		case vars && strings.HasPrefix(s[i:], "${"):
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				lit.WriteByte(s[i])
				i++
				continue
			}
			body := s[i+2 : i+end]
			i += end + 1
			if body == "*" || body == "?" || body == "$" {
				lit.WriteString(body)
				continue
			}
			flush()
			p := part{kind: varPart}
			key, def, ok := strings.Cut(body, ",")
			p.name = strings.TrimSpace(key)
			p.literal = strings.ToLower(p.name)
			if def = strings.TrimSpace(def); ok && len(def) >= 2 && def[0] == '\'' && def[len(def)-1] == '\'' {
				p.fallback, p.hasFallback = def[1:len(def)-1], true
			}
			g.parts = append(g.parts, p)
			g.vars = true
		default:
			lit.WriteByte(s[i])
			i++
		}
	}
	flush()
	switch {
	case len(g.parts) == 0:
		g.plain = true
	case len(g.parts) == 1 && g.parts[0].kind == literalPart:
		g.plain, g.text = true, g.parts[0].literal
	}
	return g
}

// literalGlob matches s alone; variables are expanded, wildcards are not.
func literalGlob(s string, vars bool) glob {
	if !vars || !strings.Contains(s, "${") {
		return glob{text: s, plain: true}
	}
	g := compileGlob(s, true)
	for i := range g.parts {
		switch g.parts[i].kind {
		case starPart:
			g.parts[i] = part{kind: literalPart, literal: "*"}
		case questionPart:
			g.parts[i] = part{kind: literalPart, literal: "?"}
		case literalPart, varPart:
		}
	}
	return g
}

// expand replaces the variables; false where one has no value, or several.
func (g *glob) expand(ctx Context) (glob, bool) {
	if !g.vars {
		return *g, true
	}
	out := glob{parts: make([]part, len(g.parts))}
	for i, p := range g.parts {
		if p.kind == varPart {
			switch v := ctx[p.literal]; {
			case len(v) == 1:
				p = part{kind: literalPart, literal: v[0]}
			case len(v) == 0 && p.hasFallback:
				p = part{kind: literalPart, literal: p.fallback}
			default:
				return glob{}, false
			}
		}
		out.parts[i] = p
	}
	return out, true
}

func (g *glob) appendKeys(keys []string) []string {
	if g.vars {
		for _, p := range g.parts {
			if p.kind == varPart {
				keys = append(keys, p.name)
			}
		}
	}
	return keys
}

// fold is the glob in lower case, variables aside.
func (g glob) fold() glob {
	g.text = strings.ToLower(g.text)
	parts := make([]part, len(g.parts))
	for i, p := range g.parts {
		if p.kind == literalPart {
			p.literal = strings.ToLower(p.literal)
		}
		parts[i] = p
	}
	g.parts = parts
	return g
}

// match tells whether the whole of s fits. The glob has no variables.
func (g *glob) match(s string) bool {
	if g.plain {
		return g.text == s
	}
	if len(g.parts) == 1 && g.parts[0].kind == starPart {
		return true
	}
	return matchParts(g.parts, s)
}

// matchParts is linear but for the retries of the last star, which is all
// that a glob needs: an earlier star never has to give way to a later one.
func matchParts(parts []part, s string) bool {
	i, pos := 0, 0
	star, starPos := -1, 0
	for {
		if i == len(parts) && pos == len(s) {
			return true
		}
		if i < len(parts) {
			switch p := &parts[i]; p.kind {
			case starPart:
				star, starPos = i, pos
				i++
				continue
			case questionPart:
				if pos < len(s) {
					_, n := utf8.DecodeRuneInString(s[pos:])
					pos += n
					i++
					continue
				}
			case literalPart:
				if strings.HasPrefix(s[pos:], p.literal) {
					pos += len(p.literal)
					i++
					continue
				}
			case varPart:
				return false
			}
		}
		if star < 0 || starPos >= len(s) {
			return false
		}
		_, n := utf8.DecodeRuneInString(s[starPos:])
		starPos += n
		i, pos = star+1, starPos
	}
}
