package rules

import "bytes"

// pattern is a compiled wildcard: * stands for any number of characters and ?
// for exactly one.
type pattern struct {
	elems []elem
	fold  bool
	// prefix is set when the pattern is literal characters and one * behind
	// them; literal when it has no wildcard. Both spare the general matching.
	text            []byte
	prefix, literal bool
}

// elem is a literal byte, or a wildcard.
type elem struct {
	b    byte
	kind elemKind
}

type elemKind uint8

const (
	literalByte elemKind = iota
	anyOne
	anyMany
)

// compilePattern compiles s. Fold ignores the case of ASCII letters; escapes
// lets a backslash take the meaning of a wildcard away.
func compilePattern(s string, fold, escapes bool) pattern {
	p := pattern{fold: fold}
	for i := 0; i < len(s); i++ {
		e := elem{b: s[i]}
		switch {
		case escapes && s[i] == '\\' && i+1 < len(s):
			i++
			e.b = s[i]
		case s[i] == '*':
			e.kind = anyMany
		case s[i] == '?':
			e.kind = anyOne
		}
		if fold {
			e.b = lower(e.b)
		}
		if e.kind == anyMany && len(p.elems) > 0 && p.elems[len(p.elems)-1].kind == anyMany {
			continue
		}
		p.elems = append(p.elems, e)
	}
	wild := 0
	for i, e := range p.elems {
		if e.kind == literalByte {
			p.text = append(p.text, e.b)
			continue
		}
		wild++
		p.prefix = e.kind == anyMany && i == len(p.elems)-1
	}
	p.literal = wild == 0
	p.prefix = p.prefix && wild == 1
	return p
}

// beginning is what all that matches begins with.
func (p *pattern) beginning() []byte {
	var b []byte
	for _, e := range p.elems {
		if e.kind != literalByte {
			break
		}
		b = append(b, e.b)
	}
	return b
}

// ending is what all that matches ends with, in lower case where the pattern
// ignores it.
func (p *pattern) ending() []byte {
	at := len(p.elems)
	for at > 0 && p.elems[at-1].kind == literalByte {
		at--
	}
	var b []byte
	for _, e := range p.elems[at:] {
		b = append(b, e.b)
	}
	return b
}

// match tells whether the whole of s matches. It takes time in proportion to
// the product of both lengths at worst.
func (p *pattern) match(s []byte) bool {
	if !p.fold {
		if p.literal {
			return bytes.Equal(s, p.text)
		}
		if p.prefix {
			return bytes.HasPrefix(s, p.text)
		}
	}
	// star is where the latest * stood, and back how far s had been read.
	i, j, star, back := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case j < len(p.elems) && p.elems[j].kind == anyMany:
			star, back = j, i
			j++
		case j < len(p.elems) && p.one(j, s[i]):
			i++
			j++
		case star >= 0:
			back++
			i, j = back, star+1
		default:
			return false
		}
	}
	for j < len(p.elems) && p.elems[j].kind == anyMany {
		j++
	}
	return j == len(p.elems)
}

func (p *pattern) one(j int, b byte) bool {
	if p.elems[j].kind == anyOne {
		return true
	}
	if p.fold {
		b = lower(b)
	}
	return p.elems[j].b == b
}

func lower(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		return b | 0x20
	}
	return b
}
