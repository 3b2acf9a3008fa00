package policy

import (
	"slices"
	"strings"
)

// Versions of the language. Only the newer one has variables.
const (
	version2008 = "2008-10-17"
	version2012 = "2012-10-17"
)

// IAM's words for what is wrong with a document.
const (
	msgSyntax  = "Syntax errors in policy."
	msgVersion = "Policy document must be version 2012-10-17 or greater."
	msgJSON    = "This policy contains invalid Json"
	msgLegacy  = "The policy failed legacy parsing"
	msgSid     = "Statement IDs (SID) in a single policy must be unique."
)

// Parse reads, checks and compiles a document. Every error is a *Malformed.
func Parse(text string, kind Kind) (*Document, error) {
	v, err := decodeJSON(text)
	if err != nil && kind == Trust {
		return nil, malformed(msgJSON)
	}
	if err != nil {
		return nil, malformed(msgSyntax)
	}
	top, ok := v.(object)
	if !ok {
		return nil, malformed(msgSyntax)
	}
	d := &Document{text: text, Version: version2008}
	for _, f := range top {
		switch f.name {
		case "Version":
			d.Version, ok = f.value.(string)
			ok = ok && (d.Version == version2008 || d.Version == version2012)
		case "Id":
			d.ID, ok = f.value.(string)
		case "Statement":
			ok = d.parseStatements(f)
		default:
			ok = false
		}
		if !ok {
			return nil, malformed(msgSyntax)
		}
	}
	if len(d.Statements) == 0 {
		return nil, malformed(msgSyntax)
	}
	if err := d.check(kind); err != nil {
		return nil, err
	}
	d.compile()
	return d, nil
}

func (d *Document) parseStatements(f field) bool {
	list, ok := f.value.([]element)
	if !ok {
		list = []element{{f.value, f.start, f.end}}
	}
	for _, e := range list {
		o, ok := e.value.(object)
		if !ok {
			return false
		}
		s, ok := parseStatement(o)
		if !ok {
			return false
		}
		s.Start = e.start + strings.IndexByte(d.text[e.start:e.end], '{')
		s.End = e.end
		d.Statements = append(d.Statements, s)
	}
	return true
}

func parseStatement(o object) (s Statement, ok bool) {
	for _, f := range o {
		switch f.name {
		case "Sid":
			s.Sid, ok = f.value.(string)
		case "Effect":
			s.Effect, s.misspelt, ok = parseEffect(f.value)
		case "Action":
			s.Action, ok = stringList(f.value)
		case "NotAction":
			s.NotAction, ok = stringList(f.value)
		case "Resource":
			s.Resource, ok = stringList(f.value)
		case "NotResource":
			s.NotResource, ok = stringList(f.value)
		case "Principal":
			s.Principal, ok = parsePrincipals(f.value)
		case "NotPrincipal":
			s.NotPrincipal, ok = parsePrincipals(f.value)
		case "Condition":
			s.conditions, ok = parseConditions(f.value)
		default:
			ok = false
		}
		if !ok {
			return s, false
		}
	}
	ok = s.Effect != NoMatch &&
		(s.Action == nil || s.NotAction == nil) &&
		(s.Resource == nil || s.NotResource == nil) &&
		(s.Principal == nil || s.NotPrincipal == nil)
	return s, ok
}

// parseEffect reads an effect. One that is right but for its case is
// misspelt, which IAM reports as a failure of its older parser.
func parseEffect(v any) (e Effect, misspelt, ok bool) {
	s, _ := v.(string)
	switch {
	case strings.EqualFold(s, "Allow"):
		return Allow, s != "Allow", true
	case strings.EqualFold(s, "Deny"):
		return Deny, s != "Deny", true
	}
	return NoMatch, false, false
}

func parsePrincipals(v any) (*Principals, bool) {
	if s, ok := v.(string); ok {
		return &Principals{Any: true}, s == "*"
	}
	o, ok := v.(object)
	if !ok || len(o) == 0 {
		return nil, false
	}
	p := &Principals{}
	for _, f := range o {
		list, ok := stringList(f.value)
		if !ok {
			return nil, false
		}
		switch f.name {
		case "AWS":
			for _, a := range list {
				if a == "*" {
					p.Any = true
				} else {
					p.AWS = append(p.AWS, a)
				}
			}
		case "Service":
			p.Service = list
		case "Federated":
			p.Federated = list
		case "CanonicalUser":
			p.CanonicalUser = list
		default:
			return nil, false
		}
	}
	return p, true
}

func parseConditions(v any) ([]condition, bool) {
	blocks, ok := v.(object)
	if !ok {
		return nil, false
	}
	var out []condition
	for _, block := range blocks {
		keys, ok := block.value.(object)
		if !ok {
			return nil, false
		}
		op, known := parseOperator(block.name)
		if !known && len(keys) > 0 {
			return nil, false
		}
		for _, k := range keys {
			values, ok := scalarList(k.value)
			if !ok {
				return nil, false
			}
			out = append(out, condition{operator: op, name: k.name, key: strings.ToLower(k.name), texts: values})
		}
	}
	return out, true
}

// compile prepares the document for matching.
func (d *Document) compile() {
	vars := d.Version == version2012
	for i := range d.Statements {
		s := &d.Statements[i]
		for _, a := range slices.Concat(s.Action, s.NotAction) {
			s.actions = append(s.actions, compileGlob(strings.ToLower(a), false))
		}
		for _, r := range slices.Concat(s.Resource, s.NotResource) {
			res := compileResource(r, vars)
			s.Keys = res.appendKeys(s.Keys)
			s.resources = append(s.resources, res)
		}
		for j := range s.conditions {
			c := &s.conditions[j]
			c.compile(vars)
			s.Keys = append(s.Keys, c.name)
			for _, p := range c.patterns {
				s.Keys = p.appendKeys(s.Keys)
			}
		}
	}
}
