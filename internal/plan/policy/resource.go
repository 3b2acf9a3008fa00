package policy

import "strings"

// resource is a compiled Resource: the six parts of an ARN, each matched by
// itself so that a wildcard does not reach over a colon, except in the last
// part, which may hold colons of its own.
type resource struct {
	any   bool
	whole *glob // where the text is no ARN of six parts
	parts [6]glob
}

// compileResource compiles a Resource or an ARN condition's value. Parts that
// are left out at the end are any.
func compileResource(s string, vars bool) resource {
	if s == "*" {
		return resource{any: true}
	}
	f := splitARN(s)
	if len(f) < 3 || f[0] != "arn" {
		g := compileGlob(s, vars)
		return resource{whole: &g}
	}
	var r resource
	for i := range r.parts {
		if i < len(f) {
			r.parts[i] = compileGlob(f[i], vars)
		} else {
			r.parts[i] = compileGlob("*", false)
		}
	}
	return r
}

// splitARN is SplitN at colons into six, except for colons inside ${…}.
func splitARN(s string) []string {
	if !strings.Contains(s, "${") {
		return strings.SplitN(s, ":", 6)
	}
	var out []string
	start, depth := 0, 0
	for i := 0; i < len(s) && len(out) < 5; i++ {
		switch s[i] {
		case '{':
			if i > 0 && s[i-1] == '$' {
				depth++
			}
		case '}':
			depth = max(depth-1, 0)
		case ':':
			if depth == 0 {
				out = append(out, s[start:i])
				start = i + 1
			}
		}
	}
	return append(out, s[start:])
}

// match tells whether arn, or "*" for an action without resources, fits.
func (r *resource) match(arn string, ctx Context) bool {
	if r.any {
		return true
	}
	if r.whole != nil {
		g, ok := r.whole.expand(ctx)
		return ok && g.match(arn)
	}
	rest := arn
	for i := range r.parts {
		part := rest
		if i < 5 {
			var ok bool
			if part, rest, ok = strings.Cut(rest, ":"); !ok {
				return false
			}
		}
		p := &r.parts[i]
		if p.vars {
			g, ok := p.expand(ctx)
			if !ok {
				return false
			}
			p = &g
		}
		if !p.match(part) {
			return false
		}
	}
	return true
}

func (r *resource) appendKeys(keys []string) []string {
	if r.whole != nil {
		keys = r.whole.appendKeys(keys)
	}
	for i := range r.parts {
		keys = r.parts[i].appendKeys(keys)
	}
	return keys
}
